//! How long the main job takes, as whole processes: a cold `tycoon plan examples/hello.kdl`, `up` and `down`, each in a
//! home of its own. Beside them, in the same run, what they cannot be faster than: a process of this program that does
//! nothing, and as many `fdatasync` calls on the same disk as `up` makes.
//!
//! `cargo bench --bench main_job` prints medians, extremes and ratios.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How often everything is done.
const RUNS: usize = 15;
/// Calls of `fdatasync` that an `up` of three machines makes at least: two for each of its steps and its plan, and one
/// for each escrow.
const SYNCS_OF_UP: usize = 42;

fn main() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/hello.kdl");
    let example = example.to_str().expect("a path in UTF-8");
    let mut floor = Vec::new();
    let mut plan = Vec::new();
    let mut up = Vec::new();
    let mut again = Vec::new();
    let mut down = Vec::new();
    let mut disk = Vec::new();
    for _ in 0..RUNS {
        let home = tempfile::tempdir_in(target_folder()).expect("a temporary folder");
        let run = |arguments: &[&str]| run(home.path(), arguments);
        floor.push(run(&["--version"]));
        plan.push(run(&["plan", example]));
        up.push(run(&["up", example]));
        again.push(run(&["up", example]));
        down.push(run(&["down", "hello"]));
        disk.push(sync(home.path()));
    }
    println!("{RUNS} runs, each in a new home; milliseconds as median (least to most)");
    let floor = report("tycoon --version", floor);
    let disk = report(&format!("{SYNCS_OF_UP} times fdatasync"), disk);
    let plan = report("tycoon plan hello.kdl, the first time", plan);
    let up = report("tycoon up hello.kdl", up);
    report("tycoon up hello.kdl, again", again);
    report("tycoon down hello", down);
    println!(
        "ratios: plan / --version = {:.1}; up / (--version + disk) = {:.1}",
        ratio(plan, floor),
        ratio(up, floor + disk)
    );
    println!("aims: plan below 100 ms, up below 1000 ms");
}

/// The disk that is measured is the one programs are built on; a memory file system would flatter.
fn target_folder() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_tycoon")).parent().expect("the program is in a folder")
}

fn run(home: &Path, arguments: &[&str]) -> Duration {
    let started = Instant::now();
    let status = Command::new(env!("CARGO_BIN_EXE_tycoon"))
        .args(arguments)
        .env_clear()
        .env("HOME", home)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("the program starts");
    assert!(status.success(), "tycoon {arguments:?} failed");
    started.elapsed()
}

fn sync(home: &Path) -> Duration {
    let mut file = File::create(home.join("sync")).expect("a file");
    let started = Instant::now();
    for _ in 0..SYNCS_OF_UP {
        file.write_all(&[0; 512]).and_then(|()| file.sync_data()).expect("the disk takes it");
    }
    started.elapsed()
}

fn report(what: &str, mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    let (least, median, most) = (times[0], times[times.len() / 2], times[times.len() - 1]);
    println!("{what:<40} {:>8.1} ({:.1} to {:.1})", milliseconds(median), milliseconds(least), milliseconds(most));
    median
}

fn ratio(one: Duration, other: Duration) -> f64 {
    one.as_secs_f64() / other.as_secs_f64()
}
