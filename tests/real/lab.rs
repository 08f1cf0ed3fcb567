//! Hosts of the lab for one test, with a home of its own for who uses them.

use std::fmt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// The addresses that the hosts give to domains.
const ADDRESSES: &str = "10.77.0.100-10.77.0.199/24";
/// How long a call of the lab may take.
const LAB_PATIENCE: Duration = Duration::from_secs(900);

/// Hosts that run, and stop when this is dropped.
pub struct Lab {
    run: TempDir,
    home: TempDir,
    count: usize,
}

impl Lab {
    /// The hosts 1 to `count`, up and prepared by `tycoon host install`.
    pub fn prepared(count: usize, profile: &str) -> Self {
        let lab = Self::up(count, profile);
        lab.install().ok();
        lab
    }

    /// The hosts 1 to `count`, as bare as Debian makes a Xen host.
    pub fn up(count: usize, profile: &str) -> Self {
        // Its sockets need a short path.
        let run = tempfile::Builder::new().prefix("lab-").tempdir_in("/tmp").expect("a folder");
        std::fs::set_permissions(run.path(), std::fs::Permissions::from_mode(0o700)).expect("only for us");
        let home = tempfile::Builder::new().prefix("tycoon-real-").tempdir().expect("a home");
        let lab = Self { run, home, count };
        lab.lab(&["up", &count.to_string(), "--profile", profile]).ok();
        lab.write_ssh_config();
        let hosts: Vec<String> = (1..=count)
            .map(|number| {
                format!("    xen-host lab-h{number} {{ ssh \"root@lab-h{number}\"; port 2200 last=2299; }}\n")
            })
            .collect();
        lab.write("hosts.kdl", &format!("site lab {{\n    ssh-config \"ssh_config\"\n{}}}\n", hosts.concat()));
        lab.write("hello.kdl", include_str!("../../examples/hello.kdl"));
        lab.write("one.kdl", &hello_of(1));
        lab
    }

    /// `tycoon host install` for all hosts.
    pub fn install(&self) -> Ran {
        let hosts: Vec<String> = (1..=self.count).map(|number| format!("root@lab-h{number}")).collect();
        let mut arguments =
            vec!["host", "install", "-F", "ssh_config", "--addresses", ADDRESSES, "--program", program()];
        arguments.extend(hosts.iter().map(String::as_str));
        self.bare(&arguments)
    }

    /// Where the test's files are, which is also the home of who uses the hosts.
    pub fn path(&self) -> &Path {
        self.home.path()
    }

    /// Writes a file there.
    pub fn write(&self, name: &str, content: &str) {
        std::fs::write(self.path().join(name), content).expect("the file can be written");
    }

    /// Runs the program with the lab's hosts.
    pub fn tycoon(&self, arguments: &[&str]) -> Ran {
        self.bare(&[&["--hosts", "hosts.kdl"], arguments].concat())
    }

    /// Runs it as it is.
    pub fn bare(&self, arguments: &[&str]) -> Ran {
        let output = self.command(arguments).output().expect("the program starts");
        Ran::of(&format!("tycoon {}", arguments.join(" ")), &output)
    }

    /// Starts it with the lab's hosts.
    pub fn start(&self, arguments: &[&str]) -> Child {
        let arguments = [&["--hosts", "hosts.kdl"], arguments].concat();
        self.command(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tycoon"));
        command.args(arguments).current_dir(self.path()).env_clear().stdin(Stdio::null());
        command.env("HOME", self.path()).env("PATH", "/usr/local/bin:/usr/bin:/bin").env("TZ", "UTC");
        command
    }

    /// Its JSON.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let ran = self.tycoon(&[arguments, &["--json"]].concat()).ok();
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("no JSON ({error}):\n{ran}"))
    }

    /// Runs a script on a host; it must succeed.
    #[track_caller]
    pub fn on(&self, host: usize, script: &str) -> String {
        self.lab(&["ssh", &host.to_string(), "--", script]).ok().stdout
    }

    /// Runs a script on a host.
    pub fn try_on(&self, host: usize, script: &str) -> Ran {
        self.lab(&["ssh", &host.to_string(), "--", script])
    }

    /// Cuts the power of a host.
    pub fn cut(&self, host: usize) {
        self.lab(&["cut", &host.to_string()]).ok();
    }

    /// Starts a host again.
    pub fn boot(&self, host: usize) {
        self.lab(&["boot", &host.to_string()]).ok();
    }

    /// What there is of domains on a host: everything but what the program notes of itself.
    pub fn traces(&self, host: usize) -> String {
        self.on(
            host,
            "virsh list --all --name | sort; lvs --noheadings -o lv_name; losetup -n -O NAME,BACK-FILE; \
             find /var/lib/tycoon -type f ! -path '*/locks/*' ! -path '*/libvirt/runs*' ! -name 'network.*' | sort; ls /var/lib/tycoon/locks 2>/dev/null | grep -v '^shared$' || true",
        )
    }

    /// The names of the domains that run on a host, besides the control domain.
    pub fn running(&self, host: usize) -> Vec<String> {
        let names = self.on(host, "virsh list --name");
        let mut names: Vec<String> = names
            .lines()
            .map(str::trim)
            .filter(|name| !name.is_empty() && *name != "Domain-0")
            .map(str::to_owned)
            .collect();
        names.sort();
        names
    }

    /// The domains of a pool as `status` tells them: path, host, state and address, ordered by path.
    pub fn domains(&self, pool: &str) -> Vec<Domain> {
        let status = self.json(&["status", pool]);
        let text = |domain: &Value, name: &str| domain[name].as_str().unwrap_or_default().to_owned();
        let domains = status["domains"].as_array().unwrap_or_else(|| panic!("domains in {status}"));
        let mut domains: Vec<Domain> = domains
            .iter()
            .map(|domain| Domain {
                path: text(domain, "domain"),
                host: text(domain, "host"),
                state: text(domain, "state"),
                address: text(domain, "address"),
            })
            .collect();
        domains.sort_by(|a, b| a.path.cmp(&b.path));
        domains
    }

    /// Every domain of the pool runs and answers, and there are `count` of them.
    #[track_caller]
    pub fn is_up(&self, pool: &str, count: usize) -> Vec<Domain> {
        let domains = self.domains(pool);
        assert_eq!(domains.len(), count, "{domains:?}");
        for domain in &domains {
            assert_eq!(domain.state, "running", "{domain:?}");
            self.answers(domain);
        }
        domains
    }

    /// The domain answers ping, on the network of the hosts.
    #[track_caller]
    pub fn answers(&self, domain: &Domain) {
        let script =
            format!("for i in $(seq 60); do ping -c 1 -W 1 {0} >/dev/null && exit 0; done; exit 1", domain.address);
        let ran = self.try_on(1, &script);
        assert_eq!(ran.code, Some(0), "{domain:?} does not answer: {ran}");
    }

    /// Runs a script inside a domain, once it lets its user in.
    pub fn inside(&self, domain: &str, script: &str) -> Ran {
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            let ran = self.tycoon(&["ssh", domain, script]);
            // What ssh says where it did not get in.
            if ran.code != Some(255) || Instant::now() > deadline {
                return ran;
            }
            std::thread::sleep(Duration::from_secs(1));
        }
    }

    /// The balance in micro-credits, after checking that the bank's books add up and that nothing is in escrow.
    #[track_caller]
    pub fn settled_balance(&self) -> i64 {
        let audit = self.json(&["bank", "audit"]);
        assert_eq!((&audit["ok"], &audit["in_escrow_micro"]), (&Value::from(true), &Value::from(0)), "{audit}");
        let balance = self.json(&["bank", "balance"]);
        balance["balance_micro"].as_i64().unwrap_or_else(|| panic!("a balance in {balance}"))
    }

    fn lab(&self, arguments: &[&str]) -> Ran {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/lab");
        let mut command = Command::new(script);
        command.args(arguments).env("TYCOON_LAB_RUN", self.run.path()).stdin(Stdio::null());
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the lab starts");
        let output = wait(child, LAB_PATIENCE);
        Ran::of(&format!("lab {}", arguments.join(" ")), &output)
    }

    /// The way to the hosts as OpenSSH describes it. Their keys and ours are the image's.
    fn write_ssh_config(&self) {
        let image = std::fs::canonicalize(self.run.path().join("base")).expect("the base of the hosts");
        let image: PathBuf = image.parent().expect("the image").to_owned();
        let mut config = String::new();
        for number in 1..=self.count {
            let port = std::fs::read_to_string(self.run.path().join(format!("h{number}.port"))).expect("the port");
            config.push_str(&format!(
                "Host lab-h{number}\n  HostName 127.0.0.1\n  Port {}\n  HostKeyAlias lab-h{number}\n",
                port.trim()
            ));
        }
        config.push_str(&format!(
            "Host lab-*\n  User root\n  IdentityFile {0}/id_ed25519\n  IdentitiesOnly yes\n  IdentityAgent none\n  \
             UserKnownHostsFile {0}/known_hosts\n  StrictHostKeyChecking yes\n",
            image.display()
        ));
        self.write("ssh_config", &config);
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for number in 1..=self.count {
                let ran = self.try_on(number, "virsh list --all; lvs; tail -n 5 /var/log/libvirt/libxl/*.log");
                eprintln!("{ran}");
            }
        }
        self.lab(&["down"]);
    }
}

/// A domain as `status` tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain {
    pub path: String,
    pub host: String,
    pub state: String,
    pub address: String,
}

/// `hello.kdl` with another number of domains.
pub fn hello_of(count: usize) -> String {
    include_str!("../../examples/hello.kdl").replace("count=3", &format!("count={count}"))
}

/// The program as it is installed on hosts: without what only a debugger needs, for the way is slow.
pub fn program() -> &'static str {
    static STRIPPED: OnceLock<String> = OnceLock::new();
    STRIPPED.get_or_init(|| {
        let built = env!("CARGO_BIN_EXE_tycoon");
        let stripped = format!("{built}-stripped");
        let half = format!("{stripped}.{}", std::process::id());
        let status = Command::new("strip").args(["-o", &half, built]).status().expect("strip starts");
        assert!(status.success(), "the program cannot be stripped");
        std::fs::rename(&half, &stripped).expect("the stripped program has its name");
        stripped
    })
}

/// What a child wrote, once it has ended; it is killed where it takes too long.
pub fn wait(mut child: Child, patience: Duration) -> Output {
    let begun = Instant::now();
    let mut out = child.stdout.take().expect("its output");
    let mut err = child.stderr.take().expect("its messages");
    let reading = |stream: &mut dyn std::io::Read| {
        let mut bytes = Vec::new();
        // What cannot be read is missing in the report, and nowhere else.
        let _ = stream.read_to_end(&mut bytes);
        bytes
    };
    std::thread::scope(|scope| {
        let stdout = scope.spawn(move || reading(&mut out));
        let stderr = scope.spawn(move || reading(&mut err));
        let status = loop {
            match child.try_wait().expect("the child can be waited for") {
                Some(status) => break status,
                None if begun.elapsed() > patience => {
                    child.kill().expect("the child can be killed");
                    break child.wait().expect("the child ends");
                }
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        Output { status, stdout: stdout.join().expect("its output"), stderr: stderr.join().expect("its messages") }
    })
}

/// What a command did.
pub struct Ran {
    pub command: String,
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn of(command: &str, output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            command: command.to_owned(),
            code: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    /// It must have succeeded.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.ended(0)
    }

    /// It must have ended with this code.
    #[track_caller]
    pub fn ended(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    /// It must have said all of this, on either stream.
    #[track_caller]
    pub fn says(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.stdout.contains(word) || self.stderr.contains(word), "`{word}` is not said:\n{self}");
        }
        self
    }
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "$ {} → {:?}\n--- stdout\n{}\n--- stderr\n{}", self.command, self.code, self.stdout, self.stderr)
    }
}
