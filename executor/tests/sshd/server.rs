//! A private server: its keys, its user's keys and its settings are in a folder that goes with it.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tycoon_executor::ssh::{SshConnection, SshTarget};

/// Where Debian puts it.
const SSHD: &str = "/usr/sbin/sshd";

/// A server of OpenSSH.
pub(crate) struct Server {
    folder: TempDir,
    port: u16,
    child: Child,
}

impl Server {
    /// A server with these lines more in its settings; none where OpenSSH's server is not installed, which is said.
    pub(crate) fn start(settings: &str) -> Option<Self> {
        Self::start_with_keys(settings, &["ed25519"])
    }

    /// A server with host keys of several kinds: `host_KIND`, and the first also as `host`.
    pub(crate) fn start_with_keys(settings: &str, kinds: &[&str]) -> Option<Self> {
        if !Path::new(SSHD).exists() {
            eprintln!("SKIPPED: {SSHD} is not there. Install the package openssh-server to run this test.");
            return None;
        }
        // sshd insists on this folder when it is started by root.
        if rustix::process::geteuid().is_root() {
            fs::create_dir_all("/run/sshd").unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        for name in ["user", "stranger"] {
            keygen(&folder.path().join(name), &["-t", "ed25519", "-N", ""]);
        }
        let mut host_keys = String::new();
        for kind in kinds {
            let path = folder.path().join(format!("host_{kind}"));
            keygen(&path, &["-t", kind, "-N", ""]);
            host_keys.push_str(&format!("HostKey {}\n", path.display()));
        }
        let first = folder.path().join(format!("host_{}.pub", kinds[0]));
        fs::copy(first, folder.path().join("host.pub")).unwrap();
        fs::copy(folder.path().join("user.pub"), folder.path().join("authorized_keys")).unwrap();
        // A home of its own: bash reads `~/.bashrc` for commands that come over SSH, and what people have in theirs may
        // be slow, or wait for a lock that a command killed by a test has left.
        //
        // Another process may take the port in between; then sshd does not start, and another port is tried.
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let path = folder.path().display();
            let all = format!(
                "Port {port}\nListenAddress 127.0.0.1\n{host_keys}AuthorizedKeysFile {path}/authorized_keys\n\
                 PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
                 PermitRootLogin yes\nLogLevel VERBOSE\nMaxStartups 100\nSetEnv HOME={path}\n{settings}\n"
            );
            fs::write(folder.path().join("sshd_config"), all).unwrap();
            let mut child = launch(folder.path());
            let deadline = Instant::now() + Duration::from_secs(10);
            while child.try_wait().unwrap().is_none() && Instant::now() < deadline {
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Some(Self { folder, port, child });
                }
                std::thread::yield_now();
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        panic!("sshd does not start: {}", fs::read_to_string(folder.path().join("log")).unwrap());
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The target with everything right.
    pub(crate) fn target(&self) -> SshTarget {
        let known = self.path("known_hosts");
        let key = fs::read_to_string(self.path("host.pub")).unwrap();
        fs::write(&known, format!("[127.0.0.1]:{} {key}", self.port)).unwrap();
        let user = Command::new("id").arg("-un").output().unwrap();
        let mut target = SshTarget::new(String::from_utf8(user.stdout).unwrap().trim(), "127.0.0.1", self.port);
        target.identities = vec![self.path("user")];
        target.known_hosts = vec![known];
        target
    }

    pub(crate) fn connect(&self) -> SshConnection {
        SshConnection::connect(&self.target()).unwrap_or_else(|error| panic!("{error}\n{}", self.log()))
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// True where connections are being served.
    pub(crate) fn has_children(&self) -> bool {
        !descendants(self.child.id()).is_empty()
    }

    /// Sends a signal to the processes that serve connections, as a cut network or a stuck machine would end or stop
    /// them.
    pub(crate) fn signal_children(&self, signal: &str) {
        for child in descendants(self.child.id()) {
            let _ = Command::new("kill").args([signal, &child.to_string()]).stderr(Stdio::null()).status();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.signal_children("-KILL");
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn launch(folder: &Path) -> Child {
    let log = fs::File::create(folder.join("log")).unwrap();
    Command::new(SSHD)
        .args(["-D", "-e", "-f"])
        .arg(folder.join("sshd_config"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// Makes a pair of keys.
pub(crate) fn keygen(path: &Path, options: &[&str]) {
    let status = Command::new("ssh-keygen").arg("-q").args(options).arg("-f").arg(path).stdin(Stdio::null()).status();
    assert!(status.unwrap().success());
}

/// All processes below one, the nearest first.
fn descendants(of: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let mut parents = vec![of];
    while let Some(parent) = parents.pop() {
        let path = format!("/proc/{parent}/task/{parent}/children");
        let children = fs::read_to_string(path).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|child| child.parse().ok()) {
            found.push(child);
            parents.push(child);
        }
    }
    found
}
