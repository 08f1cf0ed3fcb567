//! A host of the network with its door over SSH, and users who come in by it: a bank, an enforcer, a host and a real sshd,
//! each a process of its own.
//!
//! sshd runs as the user of the test, with the very snippet that the package installs; only names and paths in it are
//! others, and it listens on loopback. Where the test is root's and nobody else may write to the program and the folders
//! above it, sshd asks the program about every key, as on a real host. Where that cannot be, sshd takes nobody's
//! program: then the same program writes, before each connection, what it says of the keys into a file that sshd reads.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::bank_service::{self, ServedBank, live, text, user};
use crate::environment::{Environment, Ran};
use crate::host_service::{ServedHost, admit, find_hosts, town};
use crate::sls::ServedSls;

const SSHD: &str = "/usr/sbin/sshd";
const SNIPPET: &str = include_str!("../../packaging/ssh/tycoon.conf");
pub const PREAMBLE: &[u8] = b"tycoon session\n";
/// For what should be there at once.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A process that goes with the test.
pub struct Going(pub Child);

impl Going {
    fn stop(mut self) {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").arg(&pid).status().expect("kill runs").success());
        assert!(self.0.wait().expect("it ends").success());
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Who runs the test.
fn own_name() -> String {
    let said = Command::new("id").arg("-un").output().expect("id runs");
    String::from_utf8(said.stdout).expect("a name").trim().to_owned()
}

/// True where sshd runs the program for this user: nobody but root can change it.
fn sshd_trusts(program: &Path) -> bool {
    let program = program.canonicalize().expect("the program is there");
    let is_safe = |path: &Path| fs::metadata(path).is_ok_and(|about| about.uid() == 0 && about.mode() & 0o022 == 0);
    program.ancestors().all(is_safe) && own_name() == "root"
}

/// A host with a door.
pub struct Scene {
    pub environment: Environment,
    pub bank: ServedBank,
    pub host: Option<ServedHost>,
    pub enforcer: Option<Going>,
    pub _sls: Option<ServedSls>,
    pub _sshd: Going,
    pub port: u16,
    pub asks: bool,
}

impl Scene {
    /// A host of which Jane and Bob may buy, with these options more.
    pub fn new(more: &[&str]) -> Option<Self> {
        Self::open(more, false)
    }

    /// The same; where it is listed, a service location service lists it, and it is the site's.
    pub fn open(more: &[&str], is_listed: bool) -> Option<Self> {
        if !Path::new(SSHD).exists() {
            eprintln!("SKIPPED: {SSHD} is not there. Install the package openssh-server to run this test.");
            return None;
        }
        let environment = Environment::new();
        let bank = town(&environment);
        settle(&environment, &bank, "bob");
        let program = PathBuf::from(env!("CARGO_BIN_EXE_tycoon"));
        let asks = sshd_trusts(&program);
        let (sshd, port) = start_sshd(&environment, &program, asks);
        let enforcer = start_enforcer(&environment);
        let me = own_name();
        let place = format!("{me}@127.0.0.1:{port}");
        let host_key = fs::read_to_string(environment.path().join("sshd_key.pub")).expect("the key of the machine");
        let keys = environment.path().join("keys.sock").display().to_string();
        let driver = format!("enforce:{}", environment.path().join("enforce.sock").display());
        let mut arguments = vec!["--driver", &driver, "--ssh", &place, "--ssh-key", host_key.trim()];
        arguments.extend(["--keys-socket", &keys, "--keys-user", "0"]);
        arguments.extend(more);
        let site = user(&environment, "operator", &["site", "init"]).ok().stdout.trim().to_owned();
        let sls = is_listed.then(|| ServedSls::of_site(&environment, "127.0.0.1:0", &site, &[]));
        let of_sls = sls.as_ref().map(|sls| ["--sls".to_owned(), sls.url.clone(), "--sls-key".into(), sls.key.clone()]);
        let of_sls: Vec<&str> = of_sls.iter().flatten().map(String::as_str).collect();
        arguments.extend(&of_sls);
        let host = ServedHost::start(&environment, "host1", &bank, &arguments);
        if is_listed {
            admit(&environment, &of_sls, &site, &["host1"]);
            assert_eq!(find_hosts(&environment, 1), ["host1"]);
        }
        environment.write("ssh_config", "");
        let site = |line: &str| format!("site real {{\n    ssh-config ssh_config\n{line}{IMAGE}}}\n");
        environment.write("hosts.kdl", &site(&host.line));
        environment.write("web.raw", &"a disk ".repeat(40_000));
        environment.write("one.kdl", &crate::environment::HELLO.replace("count=3", "count=1"));
        let host = Some(host);
        Some(Self { environment, bank, host, enforcer: Some(enforcer), _sls: sls, _sshd: sshd, port, asks })
    }

    pub fn run(&self, name: &str, arguments: &[&str]) -> Ran {
        self.refresh();
        user(&self.environment, name, &[&["--site", "hosts.kdl"], arguments].concat())
    }

    pub fn json(&self, name: &str, arguments: &[&str]) -> Value {
        bank_service::json(&self.environment, name, &[&["--site", "hosts.kdl"], arguments].concat())
    }

    fn key(&self, name: &str) -> PathBuf {
        self.environment.path().join(name).join("tycoon/id_ed25519")
    }

    pub fn public_key(&self, name: &str) -> String {
        user(&self.environment, name, &["user", "export"]).ok().stdout.trim().to_owned()
    }

    /// What sshd would hear about a key.
    pub fn line_of(&self, key: &str) -> Ran {
        Ran::of(&self.environment, &["host", "authorized-keys", key], &self.asked(key))
    }

    fn asked(&self, key: &str) -> Output {
        let (sockets, mut words) = (self.sockets(), key.split_whitespace());
        let (kind, blob) = (words.next().expect("a type"), words.next().expect("a key"));
        let mut arguments = vec!["host", "authorized-keys", kind, blob];
        arguments.extend(sockets.iter().map(String::as_str));
        live(&self.environment, &arguments).output().expect("the program starts")
    }

    fn sockets(&self) -> [String; 4] {
        let path = |name: &str| self.environment.path().join(name).display().to_string();
        ["--socket".into(), path("keys.sock"), "--enforcer".into(), path("enforce.sock")]
    }

    /// Where sshd does not ask the program, the program tells it what it would say.
    pub fn refresh(&self) {
        if self.asks {
            return;
        }
        let lines = ["jane", "bob", "spare", "stranger"].map(|name| match fs::read(self.key(name)) {
            Ok(_) => String::from_utf8(self.asked(&self.public_key(name)).stdout).expect("a line"),
            Err(_) => String::new(),
        });
        self.environment.write("authorized_keys", &lines.concat());
    }

    /// OpenSSH's client, with the key of a user and nothing else.
    pub fn ssh(&self, name: &str, options: &[&str], command: &[&str]) -> Command {
        self.refresh();
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]);
        ssh.args([
            "-o",
            "IdentitiesOnly=yes",
            "-o",
            "IdentityAgent=none",
            "-o",
            "BatchMode=yes",
            "-o",
            "LogLevel=ERROR",
        ]);
        ssh.arg("-i").arg(self.key(name)).args(["-p", &self.port.to_string()]).args(options);
        ssh.arg(format!("{}@127.0.0.1", own_name())).args(command);
        ssh.env_remove("SSH_AUTH_SOCK").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        ssh
    }

    /// A session of a user, whose frames the test writes.
    pub fn raw(&self, name: &str) -> Raw {
        let mut child = self.ssh(name, &[], &[]).stdin(Stdio::piped()).spawn().expect("ssh starts");
        let (input, output) = (child.stdin.take(), child.stdout.take().expect("its output"));
        Raw { child: Going(child), input, output: BufReader::new(output) }
    }

    /// A session that has begun.
    pub fn greeted(&self, name: &str) -> Raw {
        let mut raw = self.raw(name);
        raw.write(PREAMBLE);
        raw.say(&json!({ "protocol": 1, "oldest_protocol": 1, "program": "a test" }));
        raw.hear_greeting();
        raw
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.environment.path().join("sshd.log")).unwrap_or_default()
    }

    pub fn end(mut self) {
        if let Some(host) = self.host.take() {
            host.stop();
        }
        if let Some(enforcer) = self.enforcer.take() {
            enforcer.stop();
        }
    }
}

pub const IMAGE: &str = "    image-source web { name \"lab:web\"; disk \"web.raw\"; }\n";

/// Another user with money.
fn settle(environment: &Environment, bank: &ServedBank, name: &str) {
    user(environment, name, &["init", "--bank", &bank.url, "--bank-key", &bank.key]).ok();
    let key = user(environment, name, &["user", "export"]).ok().stdout;
    let account = bank_service::json(environment, "issuer", &["bank", "create-account", key.trim()]);
    bank_service::json(environment, "issuer", &["bank", "issue", text(&account, "account"), "1000"]);
}

fn start_enforcer(environment: &Environment) -> Going {
    let path = |name: &str| environment.path().join(name).display().to_string();
    let (store, socket) = (path("machine"), path("enforce.sock"));
    let me = fs::metadata(environment.path()).expect("a folder").uid().to_string();
    let arguments = ["host", "enforce", "--driver", "memory", "--store", &store, "--socket", &socket, "--user", &me];
    let mut enforcer = Going(live(environment, &arguments).stderr(Stdio::piped()).spawn().expect("it starts"));
    let mut stderr = BufReader::new(enforcer.0.stderr.take().expect("its messages"));
    let mut line = String::new();
    while !line.contains("ready at") {
        line.clear();
        assert!(stderr.read_line(&mut line).expect("its messages can be read") > 0, "the enforcer did not start");
    }
    // Nobody reads what it says from now on: a full pipe would hold it up.
    std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
    enforcer
}

/// sshd with the snippet, on a port of its own.
fn start_sshd(environment: &Environment, program: &Path, asks: bool) -> (Going, u16) {
    let me = own_name();
    if me == "root" {
        // sshd insists on this folder when it is started by root.
        fs::create_dir_all("/run/sshd").expect("the folder can be made");
    }
    let path = |name: &str| environment.path().join(name).display().to_string();
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", &path("sshd_key")]).status();
    assert!(made.expect("ssh-keygen runs").success());
    let (of_tycoon, who, file) = ("AuthorizedKeysCommand /usr/bin/tycoon", "CommandUser tycoon-keys", "KeysFile none");
    for line in ["Match User tycoon", of_tycoon, who, file] {
        assert!(SNIPPET.contains(line), "the snippet says nothing of `{line}`");
    }
    let asking = format!(
        "AuthorizedKeysCommand {} host authorized-keys --socket {} --enforcer {}",
        program.display(),
        path("keys.sock"),
        path("enforce.sock")
    );
    let snippet = SNIPPET.replace("Match User tycoon", &format!("Match User {me}"));
    let snippet = if asks {
        let snippet = snippet.replace("AuthorizedKeysCommand /usr/bin/tycoon host authorized-keys", &asking);
        snippet.replace("CommandUser tycoon-keys", &format!("CommandUser {me}"))
    } else {
        let snippet = snippet.replace(&format!("{of_tycoon} host authorized-keys %t %k"), "AuthorizedKeysCommand none");
        let snippet = snippet.replace("    AuthorizedKeysCommandUser tycoon-keys\n", "");
        snippet.replace(file, &format!("KeysFile {}", path("authorized_keys")))
    };
    for _ in 0..5 {
        // Another process may take the port in between; then sshd does not start, and another one is tried.
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = free.local_addr().expect("its number").port();
        drop(free);
        // What would be allowed without the snippet; and a home of its own, for bash reads `~/.bashrc` for commands too.
        let all = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nPidFile none\nStrictModes no\nUsePAM no\nMaxStartups 100\n\
             PermitRootLogin yes\nAllowTcpForwarding yes\nAllowAgentForwarding yes\nPermitTTY yes\nX11Forwarding yes\n\
             Subsystem sftp internal-sftp\n\
             SetEnv HOME={}\n{snippet}",
            path("sshd_key"),
            environment.path().display()
        );
        environment.write("sshd_config", &all);
        let log = fs::File::create(environment.path().join("sshd.log")).expect("a log");
        let mut sshd = Command::new(SSHD);
        sshd.args(["-D", "-e", "-f"]).arg(environment.path().join("sshd_config"));
        let sshd = sshd.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().expect("sshd starts");
        let mut sshd = Going(sshd);
        let deadline = Instant::now() + PATIENCE;
        while sshd.0.try_wait().expect("it can be looked at").is_none() && Instant::now() < deadline {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return (sshd, port);
            }
            std::thread::yield_now();
        }
    }
    panic!("sshd does not start: {}", fs::read_to_string(environment.path().join("sshd.log")).expect("its log"));
}

/// A session in frames.
pub struct Raw {
    pub child: Going,
    pub input: Option<ChildStdin>,
    pub output: BufReader<ChildStdout>,
}

impl Raw {
    /// What cannot be written any more shows in the answer.
    pub fn write(&mut self, bytes: &[u8]) {
        let input = self.input.as_mut().expect("the input is open");
        let _ = input.write_all(bytes).and_then(|()| input.flush());
    }

    pub fn say(&mut self, message: &Value) {
        self.write(&frame(b'm', message.to_string().as_bytes()));
    }

    pub fn call(&mut self, call: &Value) -> Value {
        self.say(&json!({ "call": { "id": 1, "call": call } }));
        self.hear().expect("an answer")["answer"]["result"].clone()
    }

    pub fn hear_greeting(&mut self) {
        let mut preamble = vec![0; PREAMBLE.len()];
        self.output.read_exact(&mut preamble).expect("the session begins");
        assert_eq!(preamble, PREAMBLE, "{}", String::from_utf8_lossy(&preamble));
        assert_eq!(self.hear().expect("a greeting")["protocol"], 2);
    }

    /// The next frame; `None` at the end. Data comes as a text.
    pub fn hear(&mut self) -> Option<Value> {
        let mut header = [0; 5];
        self.output.read_exact(&mut header).ok()?;
        let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]);
        let mut content = vec![0; length as usize];
        self.output.read_exact(&mut content).ok()?;
        if header[0] == b'd' {
            return Some(Value::String(String::from_utf8_lossy(&content).into_owned()));
        }
        serde_json::from_slice(&content).ok()
    }

    /// All that comes until the end, and that it comes.
    pub fn rest(mut self) -> String {
        drop(self.input.take());
        let mut said = Vec::new();
        let _ = self.output.read_to_end(&mut said);
        let _ = self.child.0.wait();
        String::from_utf8_lossy(&said).into_owned()
    }
}

pub fn frame(kind: u8, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).expect("a short content");
    [&[kind][..], &length.to_be_bytes(), content].concat()
}

pub struct Console {
    pub child: Going,
    pub output: BufReader<ChildStdout>,
}

impl Console {
    pub fn read_line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("it can be read");
        line
    }
}

impl Scene {
    pub fn start_console(&self, name: &str, domain: &str) -> Console {
        self.refresh();
        let mut command = live(&self.environment, &["--site", "hosts.kdl", "console", domain]);
        let home = self.environment.path().join(name);
        command.env("XDG_CONFIG_HOME", &home).env("XDG_STATE_HOME", &home);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.expect("the console starts");
        let output = BufReader::new(child.stdout.take().expect("its output"));
        Console { child: Going(child), output }
    }
}

pub fn file(content: &[u8]) -> Value {
    use sha2::Digest as _;
    let digest: String = sha2::Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    json!({ "bytes": content.len(), "sha256": digest })
}

/// The manifest of an image with a disk of this content, with other values in place of some.
pub fn manifest(name: &str, disk: &[u8], more: Value) -> Value {
    let mut manifest = json!({
        "name": name, "format": "raw", "disk": file(disk), "kernel": null, "ramdisk": null, "kernel_args": [],
    });
    for (field, value) in more.as_object().cloned().unwrap_or_default() {
        manifest[field] = value;
    }
    manifest
}

impl Scene {
    /// Brings an image; the last that the host says of it.
    pub fn upload(&self, name: &str, manifest: &Value, disk: &[u8]) -> Value {
        let mut session = self.greeted(name);
        session.say(&json!({ "upload": { "manifest": manifest } }));
        let first = session.hear().expect("an answer");
        if first["have"].is_null() || disk.is_empty() {
            return first;
        }
        session.say(&json!({ "file": { "part": "disk", "offset": 0 } }));
        session.write(&frame(b'd', disk));
        session.say(&json!("complete"));
        session.hear().expect("an answer")
    }
}
