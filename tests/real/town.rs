//! A site of several people on the hosts of the lab: what the manual tells them to do is what is run here, command by
//! command. Bank and service location service are processes on the test's own machine, the hosts' services run on the hosts,
//! and SSH carries the calls between them (the lab has no other way).

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
/// How long something may take to come about.
const PATIENCE: Duration = Duration::from_secs(180);

/// A block of the section.
#[derive(Debug)]
pub struct Block {
    /// The words after the fence: the kind, who does it, and how.
    pub words: Vec<String>,
    pub text: String,
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

/// A service, or the way to a host: a process that can be killed and started again, and goes with the test.
struct Party {
    name: String,
    /// The operator's command line that starts it.
    line: String,
    child: Option<Child>,
}

impl Party {
    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Party {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The people, the services, and the hosts.
pub struct Town {
    // They end before the hosts do.
    parties: Vec<Party>,
    pub lab: Lab,
    hosts: usize,
    /// What stands in the manual, and what it is here.
    names: Vec<(String, String)>,
}

impl Town {
    /// Bare hosts, and ways between them and this machine.
    pub fn build(hosts: usize, profile: &str) -> Self {
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
        let mut ways = Vec::new();
        for host in 1..=hosts {
            let port = free_port();
            ways.push((
                format!("way{host}"),
                format!(
                    "exec ssh -F {} -N -o ExitOnForwardFailure=yes -o ControlPath=none -R {bank}:127.0.0.1:{bank} \
                     -R {sls}:127.0.0.1:{sls} -L {port}:127.0.0.1:7403 lab-h{host}",
                    path("ssh_config").display()
                ),
            ));
            let config = path("ssh_config").display().to_string();
            let root = format!("root@xen{host}.example.org");
            names.push((
                format!("host install {root}"),
                format!("host install -F {config} --program {} --address https://127.0.0.1:{port} {root}", program()),
            ));
            names.push((format!("host uninstall {root}"), format!("host uninstall -F {config} {root}")));
            names.push((root, format!("root@lab-h{host}")));
        }
        let mut town = Self { parties: Vec::new(), lab, hosts, names };
        for (name, line) in ways {
            town.parties.push(Party { name: name.clone(), line, child: None });
            town.start(&name);
        }
        town
    }

    /// A site of the manual's operator and groups, with `hosts` hosts that are its members. No pool is up yet.
    pub fn with_groups(hosts: usize) -> Self {
        let mut town = Self::build(hosts, "fast");
        let manual = manual();
        let nothing = |_: &Town, _: &str, _: &Ran| false;
        let install = manual.iter().position(|block| block.text.contains("tycoon host install")).expect("the hosts");
        let groups = manual.iter().position(|block| block.words == ["sh", "physics"]).expect("a group");
        let pools = manual.iter().position(|block| block.text.contains("pool physics")).expect("a pool");
        follow(&mut town, &manual[..install], nothing);
        for line in manual[install].text.lines().take(hosts) {
            town.install(line);
        }
        follow(&mut town, &manual[groups..pools], nothing);
        town
    }

    fn party(&mut self, name: &str) -> &mut Party {
        let party = self.parties.iter_mut().find(|party| party.name == name);
        party.unwrap_or_else(|| panic!("there is no party {name}"))
    }

    /// Kills a service, or cuts the way between a host and everybody else: `bank`, `sls`, `way1`.
    pub fn kill(&mut self, name: &str) {
        self.party(name).kill();
    }

    /// Starts it, or starts it again.
    pub fn start(&mut self, name: &str) {
        let line = self.party(name).line.clone();
        let begun = Instant::now();
        loop {
            let log = fs::File::create(self.lab.path().join(format!("{name}.log"))).expect("a log");
            let mut command = self.shell("operator", &line);
            let mut child = command.stdout(Stdio::null()).stderr(log).spawn().expect("it starts");
            // A way is refused for as long as the host has not noticed the end of the one before.
            std::thread::sleep(Duration::from_secs(3));
            if child.try_wait().expect("it can be waited for").is_none() {
                self.party(name).child = Some(child);
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{name} does not start");
        }
    }

    /// A line of the manual as it is here.
    pub fn here(&self, line: &str) -> String {
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
    pub fn run(&self, who: &str, line: &str) -> Ran {
        let here = self.here(line);
        let begun = Instant::now();
        let output = self.shell(who, &here).output().expect("the shell starts");
        let ran = Ran::of(&format!("{who}: {here}"), &output);
        println!("({} s) {ran}", begun.elapsed().as_secs());
        ran
    }

    /// Starts what somebody types, without waiting for its end.
    pub fn begin(&self, who: &str, line: &str) -> Child {
        let mut command = self.shell(who, &format!("exec {}", self.here(line)));
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the shell starts")
    }

    /// Its JSON.
    #[track_caller]
    pub fn json(&self, who: &str, line: &str) -> Value {
        let ran = self.run(who, &format!("{line} --json")).ok();
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("no JSON ({error}):\n{ran}"))
    }

    /// Starts a service, which says where it is; the key that it says is what the manual calls it.
    pub fn serve(&mut self, line: &str) {
        let kind = line.split(' ').nth(1).expect("what is served").to_owned();
        let said = self.lab.path().join(format!("{kind}.log"));
        self.parties.push(Party { name: kind.clone(), line: format!("exec {}", self.here(line)), child: None });
        self.start(&kind);
        let key = self.until(&format!("that the {kind} opens"), || {
            let said = fs::read_to_string(&said).expect("its log");
            let (_, key) = said.split_once(&format!(" --{kind}-key '"))?;
            Some(key.split('\'').next()?.to_owned())
        });
        self.names.push((format!("ssh-ed25519 AAAA…{kind}"), key));
    }

    /// Asks again and again until something is so.
    #[track_caller]
    pub fn until<T>(&self, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
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
    pub fn install(&self, line: &str) {
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

    /// The hypervisor's names of the domains of a pool, with their hosts.
    pub fn running(&self, pool: &str) -> Vec<(usize, String)> {
        let on = |host: usize| self.lab.running(host).into_iter().map(move |name| (host, name));
        (1..=self.hosts).flat_map(on).filter(|(_, name)| name.starts_with(&format!("{pool}."))).collect()
    }

    /// The domains of a pool run, and answer.
    #[track_caller]
    pub fn is_up(&self, who: &str, count: usize) {
        assert_eq!(self.running(who).len(), count, "{:?}", self.running(who));
        let status = self.json(who, &format!("tycoon status {who}"));
        for domain in status["domains"].as_array().expect("domains") {
            assert_eq!(domain["state"], "running", "{domain}");
            let address = domain["address"].as_str().expect("an address");
            let ping = format!("for i in $(seq 60); do ping -c 1 -W 1 {address} >/dev/null && exit 0; done; exit 1");
            self.lab.on(1, &ping);
        }
    }

    /// Runs a script in somebody's domain, as she would by `ssh`, through a host that reaches it.
    pub fn inside(&self, who: &str, address: &str, script: &str) -> Ran {
        let config = self.lab.path().join("ssh_config").display().to_string();
        let key = self.json(who, "tycoon user show");
        let key = key["key_file"].as_str().expect("a key").to_owned();
        let way = format!("ProxyCommand=ssh -F {config} -o ControlPath=none -W %h:%p lab-h1");
        let mut command = Command::new("ssh");
        command.args(["-F", "none", "-i", &key, "-o", &way, "-o", "IdentitiesOnly=yes", "-o", "LogLevel=ERROR"]);
        command.args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]);
        let output = command.args([&format!("root@{address}"), script]).stdin(Stdio::null()).output();
        Ran::of(&format!("{who} in {address}: {script}"), &output.expect("ssh starts"))
    }

    /// The balance of somebody, and what is set aside for hosts, in micro-credits.
    #[track_caller]
    pub fn money(&self, who: &str) -> (i64, i64) {
        let shown = self.json(who, "tycoon bank balance");
        let micros = |name: &str| shown[name].as_i64().unwrap_or_else(|| panic!("{name} in {shown}"));
        (micros("balance_micro"), micros("set_aside_micro"))
    }

    /// Takes over what a line of the manual brings to light: keys and accounts, which the manual has names for.
    fn learn(&mut self, who: &str, line: &str, ran: &Ran) -> bool {
        let (there, here) = match line {
            "tycoon site init" => ("ssh-ed25519 AAAA…site".to_owned(), ran.stdout.trim().to_owned()),
            "tycoon user export" => (format!("ssh-ed25519 AAAA…{who}"), ran.stdout.trim().to_owned()),
            _ if line.starts_with("tycoon bank create-account") => {
                let label = if line.contains("physics") { "physics" } else { "biology" };
                let account = self.json(label, "tycoon user show");
                let account = account["account"].as_str().expect("an account").to_owned();
                (format!("ACCOUNT-OF-{}", label.to_uppercase()), account)
            }
            _ => return false,
        };
        self.names.push((there, here));
        true
    }
}

/// The blocks of the section.
pub fn manual() -> Vec<Block> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md");
    blocks(&fs::read_to_string(path).expect("the manual"), SECTION)
}

/// Does what the blocks say; how much was learnt, and looked at besides.
pub fn follow(town: &mut Town, blocks: &[Block], look: impl Fn(&Town, &str, &Ran) -> bool) -> usize {
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
                    looks += usize::from(town.learn(who, line, &ran) || look(town, line, &ran));
                }
            }
            _ => panic!("nobody knows what to do with {block:?}"),
        }
    }
    looks
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
