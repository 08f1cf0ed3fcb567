//! A site from nothing, on real hosts: what `docs/operations.md` tells people to do is what is run here, command by
//! command. Bank and service location service are processes on the test's own machine, the hosts' services run on the hosts,
//! and SSH carries the calls between them (the lab has no other way).

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::lab::{Lab, Ran, program};

/// The section of the manual that is run.
const SECTION: &str = "## A site from nothing";
/// How much of it is looked at besides.
const LOOKS: usize = 17;
/// How long something may take to come about.
const PATIENCE: Duration = Duration::from_secs(180);

/// A block of the section.
#[derive(Debug)]
struct Block {
    /// The words after the fence: the kind, who does it, and how.
    words: Vec<String>,
    text: String,
}

/// The fenced blocks of a section of a document.
fn blocks(document: &str, section: &str) -> Vec<Block> {
    let (_, rest) = document.split_once(&format!("{section}\n")).unwrap_or_else(|| panic!("there is no `{section}`"));
    let (mut blocks, mut open) = (Vec::new(), None::<Block>);
    for line in rest.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(words)) => {
                open = Some(Block { words: words.split(' ').map(str::to_owned).collect(), text: String::new() });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => block.text.push_str(&format!("{line}\n")),
            (None, None) if line.starts_with("# ") || line.starts_with("## ") => break,
            (None, None) => {}
        }
    }
    blocks
}

/// A port of this machine that nobody uses.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("its address").port()
}

/// A process that goes with the test.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The people, the services, and the hosts.
struct Town {
    // Stopped in this order: the services, then the ways, then the hosts.
    served: Vec<Served>,
    lab: Lab,
    /// What stands in the manual, and what it is here.
    names: Vec<(String, String)>,
}

impl Town {
    /// Bare hosts, and ways between them and this machine.
    fn build(hosts: usize, profile: &str) -> Self {
        let lab = Lab::up(hosts, profile);
        let path = |name: &str| lab.path().join(name);
        fs::create_dir(path("bin")).expect("a folder");
        symlink(env!("CARGO_BIN_EXE_tycoon"), path("bin/tycoon")).expect("a link");
        let (bank, sls) = (free_port(), free_port());
        let mut names: Vec<(String, String)> = vec![
            ("https://bank.example.org:7401".into(), format!("http://127.0.0.1:{bank}")),
            ("https://sls.example.org:7402".into(), format!("http://127.0.0.1:{sls}")),
            ("0.0.0.0:7401".into(), format!("127.0.0.1:{bank}")),
            ("0.0.0.0:7402".into(), format!("127.0.0.1:{sls}")),
            ("/var/lib/tycoon-bank".into(), path("bank").display().to_string()),
            ("/var/lib/tycoon-sls".into(), path("sls").display().to_string()),
            ("10.0.0.".into(), "10.77.0.".into()),
        ];
        for name in ["bank", "sls"] {
            names.push((format!(" --tls-certificates {name}.pem --tls-key {name}-key.pem"), String::new()));
        }
        let mut served = Vec::new();
        for host in 1..=hosts {
            let port = free_port();
            let way = Command::new("ssh")
                .arg("-F")
                .arg(path("ssh_config"))
                .args(["-N", "-o", "ExitOnForwardFailure=yes", "-o", "ControlPath=none"])
                .args(["-R", &format!("{bank}:127.0.0.1:{bank}"), "-R", &format!("{sls}:127.0.0.1:{sls}")])
                .args(["-L", &format!("{port}:127.0.0.1:7403"), &format!("lab-h{host}")])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn();
            served.push(Served(way.expect("ssh starts")));
            let config = path("ssh_config").display().to_string();
            let root = format!("root@xen{host}.example.org");
            names.push((
                format!("host install {root}"),
                format!("host install -F {config} --program {} --address https://127.0.0.1:{port} {root}", program()),
            ));
            names.push((format!("host uninstall {root}"), format!("host uninstall -F {config} {root}")));
            names.push((root, format!("root@lab-h{host}")));
        }
        Self { served, lab, names }
    }

    /// A line of the manual as it is here.
    fn here(&self, line: &str) -> String {
        self.names.iter().fold(line.to_owned(), |line, (there, here)| line.replace(there, here))
    }

    /// A command line of somebody's, in her own home.
    fn shell(&self, who: &str, line: &str) -> Command {
        let home = self.lab.path().join(who);
        fs::create_dir_all(&home).expect("a home");
        let mut command = Command::new("sh");
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", self.lab.path().join("bin").display());
        command.args(["-c", line]).current_dir(&home).env_clear().stdin(Stdio::null());
        command.env("HOME", &home).env("PATH", path).env("TZ", "UTC");
        command
    }

    /// Runs a line of the manual.
    fn run(&self, who: &str, line: &str) -> Ran {
        let here = self.here(line);
        let begun = Instant::now();
        let output = self.shell(who, &here).output().expect("the shell starts");
        let ran = Ran::of(&format!("{who}: {here}"), &output);
        println!("({} s) {ran}", begun.elapsed().as_secs());
        ran
    }

    /// Its JSON.
    #[track_caller]
    fn json(&self, who: &str, line: &str) -> Value {
        let ran = self.run(who, &format!("{line} --json")).ok();
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("no JSON ({error}):\n{ran}"))
    }

    /// Starts a service, which says where it is; the key that it says is what the manual calls it.
    fn serve(&mut self, line: &str) {
        let kind = line.split(' ').nth(1).expect("what is served").to_owned();
        let said = self.lab.path().join(format!("{kind}.log"));
        let mut command = self.shell("operator", &format!("exec {}", self.here(line)));
        let log = fs::File::create(&said).expect("a log");
        command.stdout(Stdio::null()).stderr(log);
        self.served.push(Served(command.spawn().expect("the service starts")));
        let key = self.until(&format!("that the {kind} opens"), || {
            let said = fs::read_to_string(&said).expect("its log");
            let (_, key) = said.split_once(&format!(" --{kind}-key '"))?;
            Some(key.split('\'').next()?.to_owned())
        });
        self.names.push((format!("ssh-ed25519 AAAA…{kind}"), key));
    }

    /// Asks again and again until something is so.
    #[track_caller]
    fn until<T>(&self, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(found) = ask() {
                return found;
            }
            assert!(begun.elapsed() < PATIENCE, "{what} does not come about");
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    /// Installs as the manual says, where systemd is not the first program: what is printed is done by hand, and then the
    /// same command ends well.
    fn install(&self, line: &str) {
        let first = self.run("operator", line).ended(4).says(&["nothing was started", "made the system user tycoon"]);
        let host = if line.contains("xen1") { 1 } else { 2 };
        let prefix = format!("root@lab-h{host}: ");
        let by_hand: Vec<&str> = first
            .stderr
            .lines()
            .filter_map(|line| line.strip_prefix(&prefix))
            .skip_while(|line| !line.contains("nothing was started"))
            .filter(|line| line.contains(" --settings "))
            .collect();
        assert_eq!(by_hand.len(), 2, "two commands are printed: {first}");
        for (number, command) in by_hand.iter().enumerate() {
            let log = format!("/var/log/tycoon-{number}.log");
            self.lab.on(host, &format!("setsid {command} </dev/null >{log} 2>&1 & echo $! >>/run/tycoon-pids"));
        }
        self.until("that the host is open", || {
            let said = self.lab.try_on(host, "cat /var/log/tycoon-1.log").stdout;
            said.contains("the host is open").then_some(())
        });
        self.run("operator", line).ok().says(&["nothing was changed", "registered with 1 of 1 services"]);
    }

    /// The hypervisor's names of the domains of a pool on both hosts.
    fn running(&self, pool: &str) -> Vec<(usize, String)> {
        let on = |host: usize| self.lab.running(host).into_iter().map(move |name| (host, name));
        [1, 2].into_iter().flat_map(on).filter(|(_, name)| name.starts_with(&format!("{pool}."))).collect()
    }

    /// The domains of a pool run, and answer.
    #[track_caller]
    fn is_up(&self, who: &str, count: usize) {
        assert_eq!(self.running(who).len(), count, "{:?}", self.running(who));
        let status = self.json(who, &format!("tycoon status {who}"));
        for domain in status["domains"].as_array().expect("domains") {
            assert_eq!(domain["state"], "running", "{domain}");
            let address = domain["address"].as_str().expect("an address");
            let ping = format!("for i in $(seq 60); do ping -c 1 -W 1 {address} >/dev/null && exit 0; done; exit 1");
            self.lab.on(1, &ping);
        }
    }

    /// The balance of somebody, and what is set aside for hosts, in micro-credits.
    #[track_caller]
    fn money(&self, who: &str) -> (i64, i64) {
        let shown = self.json(who, "tycoon bank balance");
        let micros = |name: &str| shown[name].as_i64().unwrap_or_else(|| panic!("{name} in {shown}"));
        (micros("balance_micro"), micros("set_aside_micro"))
    }
}

/// What is looked at beside what the manual says: after lines that begin so.
fn look(town: &mut Town, who: &str, line: &str, ran: &Ran) -> bool {
    let name = |there: &str, here: &str, town: &mut Town| town.names.push((there.to_owned(), here.trim().to_owned()));
    match line {
        "tycoon site init" => name("ssh-ed25519 AAAA…site", &ran.stdout, town),
        "tycoon user export" => name(&format!("ssh-ed25519 AAAA…{who}"), &ran.stdout, town),
        _ if line.starts_with("tycoon bank create-account") => {
            let label = if line.contains("physics") { "physics" } else { "biology" };
            let account = town.json(label, "tycoon user show");
            let account = account["account"].as_str().expect("an account").to_owned();
            name(&format!("ACCOUNT-OF-{}", label.to_uppercase()), &account, town);
        }
        "tycoon sls list" => {
            town.until("that both hosts are verified", || {
                let listed = town.run("operator", "tycoon sls list verified --json").ok().stdout;
                (serde_json::from_str::<Value>(&listed).ok()?.as_array()?.len() == 2).then_some(())
            });
        }
        "tycoon site list" => assert_eq!(ran.stdout.matches("verified (direct)").count(), 2, "{ran}"),
        "tycoon up physics.kdl --yes" => town.is_up("physics", 2),
        "tycoon up biology.kdl --yes" => {
            town.is_up("biology", 1);
            town.is_up("physics", 2);
        }
        _ if line.starts_with("tycoon host set xen2 memory-price") => {
            town.until("that biology is put out", || town.running("biology").is_empty().then_some(()));
            assert_eq!(town.running("physics").len(), 2, "physics can pay");
        }
        _ if line.starts_with("tycoon host set xen2 --reset") => {
            // Prices hold from the next interval on.
            town.until("that biology can pay again", || {
                (town.run("biology", "tycoon plan biology.kdl").code == Some(0)).then_some(())
            });
        }
        _ if line.starts_with("tycoon host history") => {
            for word in ["stopped", "disks go in"] {
                assert!(ran.stdout.contains(word), "`{word}` is not in the history: {ran}");
            }
        }
        "tycoon down biology --yes" => assert_eq!(town.money("biology").1, 0, "nothing of hers is set aside"),
        "tycoon down physics --yes" => {
            assert_eq!(town.running("physics"), Vec::new());
            assert_eq!(town.money("physics").1, 0, "nothing of hers is set aside");
        }
        "tycoon host withdraw all" => {
            let paid = |who: &str, allowance: i64| allowance - town.money(who).0;
            let (physics, biology) = (paid("physics", 200_000_000), paid("biology", 100_000_000));
            assert!(physics > 0 && biology > 0, "both paid something: {physics}, {biology}");
            // What she issued herself, less what she granted, with what her hosts earned.
            assert_eq!(town.money("operator"), (700_000_000 + physics + biology, 0), "{ran}");
        }
        _ if line.starts_with("tycoon host uninstall") => {
            // As it was started by hand, it is ended by hand.
            assert!(ran.stderr.contains("ended the market; end `tycoon host enforce`"), "{ran}");
            town.lab.on(1, "kill $(head -n 1 /run/tycoon-pids)");
            town.lab.on(
                1,
                "! id tycoon 2>/dev/null; ! ls /etc/tycoon/host.kdl 2>/dev/null; test -f /var/lib/tycoon-host/host_key",
            );
        }
        _ if line.starts_with("tycoon bank audit") => {
            assert!(ran.stdout.contains("1000"), "{ran}");
        }
        _ => return false,
    }
    true
}

/// The blocks of the section.
fn manual() -> Vec<Block> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md");
    blocks(&fs::read_to_string(path).expect("the manual"), SECTION)
}

/// Does what the blocks say; how much was looked at besides.
fn follow(town: &mut Town, blocks: &[Block]) -> usize {
    let mut looks = 0;
    for block in blocks {
        let words: Vec<&str> = block.words.iter().map(String::as_str).collect();
        match words[..] {
            ["kdl", who, file] => {
                let home: PathBuf = town.lab.path().join(who);
                fs::create_dir_all(&home).expect("a home");
                fs::write(home.join(file), &block.text).expect("the file can be written");
            }
            ["sh", "operator", "serves"] => block.text.lines().for_each(|line| town.serve(line)),
            ["sh", who] => {
                for line in block.text.lines() {
                    if line.starts_with("tycoon host install") {
                        town.install(line);
                        continue;
                    }
                    let ran = town.run(who, line).ok();
                    looks += usize::from(look(town, who, line, &ran));
                }
            }
            _ => panic!("nobody knows what to do with {block:?}"),
        }
    }
    looks
}

#[test]
#[ignore = "needs the lab: `make test`"]
fn a_site_from_nothing_as_the_manual_says() {
    let mut town = Town::build(2, "fast");
    let before = [town.lab.traces(1), town.lab.traces(2)];
    let looks = follow(&mut town, &manual());
    assert_eq!(looks, LOOKS, "every look was taken: the manual has what is looked at");
    // On the host that left nothing stays of the pools, nor on the one that is still there.
    assert_eq!(without_images(&town.lab.traces(1)), without_images(&before[0]));
    assert_eq!(without_images(&town.lab.traces(2)), without_images(&before[1]));
}

/// Where systemd is, one command does all; a new program comes in while a domain runs; and who is there is not left alone.
#[test]
#[ignore = "needs the lab: `make test`"]
fn a_debian_machine_joins_a_site_is_upgraded_and_leaves() {
    let mut town = Town::build(1, "debian");
    let before = town.lab.traces(1);
    let manual = manual();
    let services = manual.iter().position(|block| block.text.contains("tycoon host install")).expect("the hosts");
    follow(&mut town, &manual[..services]);
    let install = manual[services].text.lines().next().expect("a line").to_owned();
    let dry = town.run("operator", &format!("{install} --dry-run")).ok();
    assert!(dry.stderr.contains("would bring this program"), "{dry}");
    town.lab.on(1, "test ! -e /usr/local/bin/tycoon && test ! -e /etc/tycoon");
    town.run("operator", &install).ok().says(&[
        "started tycoon-host-enforce.service and tycoon-host.service",
        "registered with 1 of 1 services",
        "roll 1 with 1 hosts is published",
    ]);
    town.run("operator", &install).ok().says(&["nothing was changed", "admitted already: xen1"]);
    town.run("operator", &format!("{install} --cpu-price 0.6 --dry-run"))
        .ok()
        .says(&["would write /etc/tycoon/host-policy.kdl"]);

    town.run("operator", "tycoon bank issue \"$(tycoon user export)\" 100").ok();
    let pool = "pool own {\n    budget 10 for=\"1h\"\n    domain web { image \"std:tiny\"; memory \"128MiB\"; }\n}\n";
    fs::write(town.lab.path().join("operator/own.kdl"), pool).expect("the file can be written");
    town.run("operator", "tycoon up own.kdl --yes").ok();
    let domain = || town.lab.on(1, "virsh list | grep own.web");
    let running = domain();
    let new = town.lab.path().join("tycoon-new");
    fs::copy(program(), &new).expect("a copy");
    let mut file = fs::OpenOptions::new().append(true).open(&new).expect("the copy");
    std::io::Write::write_all(&mut file, b"new").expect("a byte more");
    drop(file);
    let pids = || town.lab.on(1, "systemctl show --property=MainPID tycoon-host tycoon-host-enforce");
    let older = pids();
    let config = town.lab.path().join("ssh_config").display().to_string();
    let upgrade = format!("tycoon host upgrade -F {config} --program {} root@lab-h1", new.display());
    town.run("operator", &upgrade).ok().says(&["restarted tycoon-host-enforce.service and tycoon-host.service"]);
    assert_ne!(pids(), older, "both run the new program");
    assert_eq!(domain(), running, "the domain runs on");
    town.run("operator", &upgrade).ok().says(&["the program is there already", "nothing was changed"]);

    let uninstall = format!("tycoon host uninstall -F {config} root@lab-h1");
    town.run("operator", &uninstall).ended(1).says(&["1 host account(s)", "the domain own.web"]);
    town.run("operator", "tycoon down own --yes").ok();
    town.run("operator", &format!("{uninstall} --purge"))
        .ok()
        .says(&["removed /var/lib/tycoon-host", "site revoke xen1"]);
    town.run("operator", &uninstall).ok().says(&["nothing was changed"]);
    town.lab.on(1, "! systemctl cat tycoon-host 2>/dev/null; ! id tycoon 2>/dev/null; test -f /etc/tycoon/machine.kdl");
    assert_eq!(without_images(&town.lab.traces(1)), without_images(&before));
    town.run("operator", "tycoon bank audit --store sled:/var/lib/tycoon-bank/books").ok().says(&["It adds up"]);
}

/// The traces of a host without the image that its preparation makes.
fn without_images(traces: &str) -> BTreeMap<String, ()> {
    let is_made = |line: &str| line.contains("/std-tiny/") || line.trim().is_empty();
    traces.lines().filter(|line| !is_made(line)).map(|line| (line.trim().to_owned(), ())).collect()
}

#[test]
fn blocks_of_a_section_are_found() {
    let found = blocks(
        "# T\n```sh no\nx\n```\n## S\ntext\n```sh me\na\nb\n```\n### sub\n```kdl me f\nc\n```\n## next\n```sh no\n```\n",
        "## S",
    );
    let texts: Vec<_> = found.iter().map(|block| (block.words.join(" "), block.text.as_str())).collect();
    assert_eq!(texts, [("sh me".to_owned(), "a\nb\n"), ("kdl me f".to_owned(), "c\n")]);
}
