//! How long a description takes to resolve, as whole processes that end with the same JSON:
//!
//! - pools of 1,000 to 100,000 domains by `count`, and by `each`, with values of their own; the aim is 100,000 below one
//!   second and 1 GiB;
//! - 10,000 instances of one structure, beside jrsonnet and Nickel, which are installed by this benchmark into the cache
//!   folder with `cargo install`, once; where that cannot be had, the comparison is left out and the output says so. The
//!   aim is three times as fast as the faster of them.
//!
//! `cargo bench --bench language` prints medians of the time that passes, means of the time on a core (which tells more
//! where others use the machine), and ratios of both; all three must give equal JSON.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::{Value as Json, json};
use tycoon_lang::tree::Component;
use tycoon_lang::{MemoryLoader, Options, load};

/// How often everything is done.
const RUNS: usize = 9;
/// What takes longer than this is done once.
const LONG: Duration = Duration::from_secs(5);
/// The argument with which this program resolves a file, prints it as JSON, and says what memory it took.
const RESOLVE: &str = "--resolve";
/// What is compared, and in which version.
const JRSONNET: (&str, &str) = ("jrsonnet", "0.5.0-pre98");
const NICKEL: (&str, &str) = ("nickel-lang-cli", "1.18.0");

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, flag, file] = &arguments[..]
        && flag == RESOLVE
    {
        resolve(Path::new(file));
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    println!("{RUNS} runs each, whole processes that end with JSON; medians");
    println!("{:<34} {:>9} {:>12} {:>12} {:>12}", "", "domains", "time", "on a core", "memory");
    for (name, text) in
        [("by count", by_count as fn(usize) -> String), ("by each", by_each), ("by count, a tenth amended", amended)]
    {
        for count in [1_000, 10_000, 100_000] {
            let file = write(folder.path(), "pool.kdl", &text(count));
            let (took, memory, _) = ours(&file);
            println!("{name:<34} {count:>9} {took} {:>8} MiB", memory >> 10);
        }
    }
    beside(folder.path(), 10_000);
}

/// Domains with names, sizes and hosts names of their own.
fn by_count(count: usize) -> String {
    format!(
        "{BASE}pool farm {{\n    domain web extends=Base count={count} {{\n        {OWN}\n    }}\n}}\n",
        OWN = own("index")
    )
}

fn by_each(count: usize) -> String {
    format!(
        "let numbers ($)\"range({count})\"\n{BASE}pool farm {{\n    domain web extends=Base each=numbers {{\n        {OWN}\n    }}\n}}\n",
        OWN = own("each.value")
    )
}

/// The same by count, where every tenth has a line of its own.
fn amended(count: usize) -> String {
    let mut text = by_count(count);
    text.truncate(text.len() - 2);
    for number in (0..count).step_by(10) {
        text.push_str(&format!("    web.{number}.vcpus 4\n"));
    }
    text.push_str("}\n");
    text
}

const BASE: &str = "template Base extends=domain {\n    image \"debian-12\"\n    vcpus 2\n    memory \"1GiB\"\n    root size=\"10GiB\" fs=ext4\n}\n";

fn own(number: &str) -> String {
    format!(
        "hostname (f)\"web-${{{number}}}.example.org\"\n        memory ($)\"if {number} % 100 == 0 then 2GiB else 1GiB\""
    )
}

/// The same structure for jrsonnet.
fn jsonnet(count: usize) -> String {
    format!(
        "local base = {{ image: 'debian-12', vcpus: 2, memory: 1073741824, root: {{ size: 10737418240, fs: 'ext4' }} }};\n\
         {{ ['web-%d' % i]: base + {{\n\
         \x20   hostname: 'web-%d.example.org' % i,\n\
         \x20   memory: if i % 100 == 0 then 2147483648 else super.memory,\n\
         }} for i in std.range(0, {}) }}\n",
        count - 1
    )
}

/// The same structure for Nickel.
fn nickel(count: usize) -> String {
    format!(
        "let base = {{\n\
         \x20 image | default = \"debian-12\", vcpus | default = 2, memory | default = 1073741824,\n\
         \x20 root = {{ size | default = 10737418240, fs | default = \"ext4\" }},\n\
         }} in\n\
         std.array.range 0 {count}\n\
         |> std.array.map (fun i => {{\n\
         \x20 field = \"web-%{{std.to_string i}}\",\n\
         \x20 value = base & {{\n\
         \x20   hostname = \"web-%{{std.to_string i}}.example.org\",\n\
         \x20   memory = if i % 100 == 0 then 2147483648 else 1073741824,\n\
         \x20 }},\n\
         }})\n\
         |> std.record.from_array\n"
    )
}

fn beside(folder: &Path, count: usize) {
    let (took, memory, wanted) = ours(&write(folder, "pool.kdl", &by_count(count)));
    println!("\n{count} instances of one structure");
    println!("{:<34} {took} {:>8} MiB", "tycoon", memory >> 10);
    let peers = [
        (JRSONNET, "jrsonnet", write(folder, "pool.jsonnet", &jsonnet(count)), &[][..]),
        (NICKEL, "nickel", write(folder, "pool.ncl", &nickel(count)), &["export", "--format", "json"][..]),
    ];
    let mut fastest: Option<Took> = None;
    for ((package, version), program, file, arguments) in peers {
        let program = match tool(package, version, program) {
            Ok(program) => program,
            Err(why) => {
                println!("LEFT OUT {package} {version}: {why}");
                continue;
            }
        };
        let mut found = Json::Null;
        let theirs = measured(
            || {
                let output = Command::new(&program).args(arguments).arg(&file).output().expect("the peer starts");
                assert!(output.status.success(), "{package} failed: {}", String::from_utf8_lossy(&output.stderr));
                output.stdout
            },
            |printed| found = serde_json::from_slice(&printed).expect("the peer prints JSON"),
        );
        assert_eq!(plain(&found), plain(&wanted), "{package} gives something else");
        println!("{:<34} {theirs} {}", format!("{package} {version}"), took.in_terms_of(theirs));
        fastest = Some(fastest.filter(|known| known.on_a_core <= theirs.on_a_core).unwrap_or(theirs));
    }
    if let Some(fastest) = fastest {
        println!("the faster of them takes {} as long; the aim is 3", took.in_terms_of(fastest));
    }
}

/// How long something took: the time that passed, and that on a core.
#[derive(Clone, Copy)]
struct Took {
    passed: Duration,
    on_a_core: Duration,
}

impl Took {
    fn in_terms_of(self, other: Self) -> String {
        let ratio = |mine: Duration, theirs: Duration| theirs.as_secs_f64() / mine.as_secs_f64();
        let (passed, core) = (ratio(self.passed, other.passed), ratio(self.on_a_core, other.on_a_core));
        format!("{passed:>6.1} times ours, on a core {core:.1} times")
    }
}

impl std::fmt::Display for Took {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:>9} ms {:>9} ms", self.passed.as_millis(), self.on_a_core.as_millis())
    }
}

/// Runs a process several times; what it printed is looked at outside the time.
fn measured(mut run: impl FnMut() -> Vec<u8>, mut look: impl FnMut(Vec<u8>)) -> Took {
    let before = children_on_a_core();
    let mut times = Vec::new();
    while times.len() < RUNS {
        let start = Instant::now();
        let printed = run();
        times.push(start.elapsed());
        look(printed);
        if start.elapsed() > LONG {
            break;
        }
    }
    let on_a_core = (children_on_a_core() - before) / u32::try_from(times.len()).expect("a few runs");
    Took { passed: median(times), on_a_core }
}

/// The time on a core of all processes that were started and have ended.
fn children_on_a_core() -> Duration {
    let status = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    // The name stands in brackets and may contain anything; the times are the 14th and 15th fields after it, in
    // hundredths of a second.
    let fields = status.rsplit_once(')').expect("a name in brackets").1.split_whitespace();
    let ticks = fields.skip(13).take(2).map(|field| field.parse::<u64>().expect("a number"));
    Duration::from_millis(ticks.sum::<u64>() * 10)
}

/// JSON with all numbers as they are compared: some print whole numbers as `1.0`.
fn plain(value: &Json) -> Json {
    match value {
        Json::Number(number) => json!(number.as_f64()),
        Json::Array(items) => items.iter().map(plain).collect(),
        Json::Object(object) => object.iter().map(|(name, value)| (name.clone(), plain(value))).collect(),
        other => other.clone(),
    }
}

/// The time of resolving a file in a process of its own, the most memory it took in KiB, and what it printed.
fn ours(file: &Path) -> (Took, u64, Json) {
    let program = std::env::current_exe().expect("this program has a path");
    let (mut memory, mut printed) = (0, Json::Null);
    let took = measured(
        || {
            let output = Command::new(&program)
                .args([RESOLVE.as_ref(), file.as_os_str()])
                .stdin(Stdio::null())
                .output()
                .expect("this program starts");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{said}");
            memory = memory.max(said.trim().parse().expect("a number of KiB"));
            output.stdout
        },
        |text| printed = serde_json::from_slice(&text).expect("JSON"),
    );
    (took, memory, printed)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("the file can be written");
    path
}

/// Resolves a file, prints it as JSON, and says on stderr what memory it took.
fn resolve(file: &Path) {
    let text = std::fs::read(file).expect("the file can be read");
    let loader = MemoryLoader::new().with("pool.kdl", text);
    let loaded = match load("pool.kdl", &loader, &Options::default()) {
        Ok(loaded) => loaded,
        Err(failure) => panic!("{}", failure.to_text()),
    };
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    serde_json::to_writer(&mut out, &Farm(&loaded.tree)).expect("standard output takes it");
    out.flush().expect("standard output takes it");
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = most.and_then(|rest| rest.trim().strip_suffix(" kB")).expect("a number of kB");
    eprintln!("{kibibytes}");
}

/// The domains of a pool by their names.
struct Farm<'a>(&'a Component);

impl Serialize for Farm<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let domains = self.0.children.iter().filter(|child| &*child.kind == "domain");
        serializer.collect_map(domains.map(|domain| (domain.label().replace('.', "-"), Domain(domain))))
    }
}

/// What is compared of a domain.
struct Domain<'a>(&'a Component);

impl Serialize for Domain<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(Some(5))?;
        object.serialize_entry("hostname", self.0.value("hostname"))?;
        object.serialize_entry("image", self.0.value("image"))?;
        object.serialize_entry("memory", &self.0.value("memory").as_bytes())?;
        object.serialize_entry("vcpus", &self.0.value("vcpus").as_integer())?;
        object.serialize_entry("root", &self.0.child("root").map(Root))?;
        object.end()
    }
}

/// What is compared of its volume.
struct Root<'a>(&'a Component);

impl Serialize for Root<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(Some(2))?;
        object.serialize_entry("size", &self.0.value("size").as_bytes())?;
        object.serialize_entry("fs", self.0.value("fs"))?;
        object.end()
    }
}

/// A program of a crate, built once into the cache folder.
fn tool(package: &str, version: &str, program: &str) -> Result<PathBuf, String> {
    let home = std::env::var_os("HOME").map(PathBuf::from).ok_or("HOME is not set")?;
    let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(|| home.join(".cache"), PathBuf::from);
    let root = cache.join("tycoon/tools");
    let path = root.join("bin").join(program);
    if path.exists() {
        return Ok(path);
    }
    println!("building {package} {version} into the cache folder (some minutes, once)");
    let output = Command::new("cargo")
        .args(["install", package, "--version", version, "--locked", "--quiet", "--root"])
        .arg(&root)
        // In a directory of its own: the tool's crates are not ours.
        .env_remove("CARGO_TARGET_DIR")
        .output()
        .map_err(|error| error.to_string())?;
    if output.status.success() && path.exists() {
        return Ok(path);
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(text.lines().last().unwrap_or("it failed without a word").to_owned())
}
