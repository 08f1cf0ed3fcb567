//! Hypervisors at the other end of SSH: the session protocol through a real server.

use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tycoon_executor::ssh::{ExecChannel, SshConnection, SshTarget};
use tycoon_market::{TimeSpan, Timestamp};
use tycoon_xen::conformance::{Surroundings, check_all};
use tycoon_xen::hypervisor::{Hypervisor, HypervisorError};
use tycoon_xen::memory::{MemoryHost, MemoryHostConfig, TINY_IMAGE};
use tycoon_xen::remote::{ConnectError, Connector, Patience, RemoteHypervisor, Session, Stream};

use super::server::Server;

/// Streams over SSH. What runs on the host is `cat`, twice, into pipes on whose other ends a session serves.
struct OverSsh {
    target: SshTarget,
    connection: Mutex<Option<SshConnection>>,
    session: Session,
    folder: PathBuf,
    streams: AtomicUsize,
}

impl OverSsh {
    fn to(server: &Server, session: Session) -> Arc<Self> {
        let (target, folder) = (server.target(), server.path(""));
        Arc::new(Self { target, connection: Mutex::new(None), session, folder, streams: AtomicUsize::new(0) })
    }

    fn exec(&self, command: &str) -> Result<ExecChannel, ConnectError> {
        let failed = |error: tycoon_executor::ssh::SshError| ConnectError {
            message: error.to_string(),
            is_lasting: error.is_lasting(),
        };
        let mut connection = self.connection.lock().unwrap();
        if !connection.as_ref().is_some_and(SshConnection::is_open) {
            *connection = Some(SshConnection::connect(&self.target).map_err(failed)?);
        }
        connection.as_ref().unwrap().exec(command).map_err(failed)
    }
}

impl Connector for OverSsh {
    fn host(&self) -> &str {
        &self.target.host
    }

    fn open(&self) -> Result<Stream, ConnectError> {
        let number = self.streams.fetch_add(1, Ordering::SeqCst);
        let [input, output] = ["in", "out"].map(|name| self.folder.join(format!("{name}{number}")));
        assert!(Command::new("mkfifo").args([&input, &output]).status().unwrap().success());
        let channel = self.exec(&format!("cat {} & exec cat > {}", output.display(), input.display()))?;
        let session = self.session.clone();
        thread::spawn(move || {
            let reader = File::open(input).unwrap();
            let writer = OpenOptions::new().write(true).open(output).unwrap();
            drop(session.serve(reader, writer));
        });
        let status = Arc::new(channel.status);
        let of_complaint = status.clone();
        Ok(Stream {
            reader: Box::new(channel.reader),
            writer: Box::new(channel.writer),
            close: Arc::new(move || status.close()),
            complaint: Arc::new(move || {
                let end = of_complaint.wait(Duration::from_millis(500))?;
                let stderr = of_complaint.stderr();
                Some(match (stderr.trim(), end) {
                    ("", Ok(exit)) => exit.to_string(),
                    ("", Err(error)) => error.to_string(),
                    (text, _) => text.to_owned(),
                })
            }),
        })
    }
}

fn memory_host() -> Arc<MemoryHost> {
    let tree = sled::Config::new().temporary(true).open().unwrap().open_tree("host").unwrap();
    let images = [TINY_IMAGE.to_owned()].into_iter().collect();
    Arc::new(MemoryHost::open(tree, MemoryHostConfig { images, ..MemoryHostConfig::default() }).unwrap())
}

struct Remote {
    way: Arc<OverSsh>,
    now: Cell<Timestamp>,
}

impl Surroundings for Remote {
    fn open(&self) -> Result<Box<dyn Hypervisor>, HypervisorError> {
        Ok(Box::new(RemoteHypervisor::over(self.way.clone())))
    }

    fn now(&self) -> Timestamp {
        self.now.get()
    }

    fn pass(&self, span: TimeSpan) {
        self.now.set(self.now.get().plus(span));
    }
}

#[test]
fn a_host_over_ssh_keeps_all_rules_of_a_hypervisor() {
    let Some(server) = Server::start("") else { return };
    let way = OverSsh::to(&server, Session::new(memory_host()));
    let remote = Remote { way, now: Cell::new(Timestamp::from_seconds(0)) };
    let broken = check_all(&remote);
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn a_cut_connection_is_made_anew_and_the_call_asked_again() {
    let Some(server) = Server::start("") else { return };
    let way = OverSsh::to(&server, Session::new(memory_host()));
    let quick = Patience { pauses: vec![Duration::from_millis(50); 20], ..Patience::default() };
    let remote = RemoteHypervisor::over(way.clone()).with_patience(quick);
    let facts = remote.facts().unwrap();
    for _ in 0..3 {
        server.signal_children("-KILL");
        assert_eq!(remote.facts(), Ok(facts.clone()));
    }
    assert!(way.streams.load(Ordering::SeqCst) >= 4);
}

#[test]
fn a_host_without_the_program_says_what_its_shell_says() {
    struct Missing(Arc<OverSsh>);
    impl Connector for Missing {
        fn host(&self) -> &str {
            self.0.host()
        }

        fn open(&self) -> Result<Stream, ConnectError> {
            let channel = self.0.exec("no-such-program host session")?;
            let status = Arc::new(channel.status);
            let of_complaint = status.clone();
            Ok(Stream {
                reader: Box::new(channel.reader),
                writer: Box::new(channel.writer),
                close: Arc::new(move || status.close()),
                complaint: Arc::new(move || {
                    of_complaint.wait(Duration::from_secs(10))?.ok()?;
                    Some(of_complaint.stderr().trim().to_owned())
                }),
            })
        }
    }
    let Some(server) = Server::start("") else { return };
    let way = OverSsh::to(&server, Session::new(memory_host()));
    let remote = RemoteHypervisor::over(Arc::new(Missing(way)));
    let error = remote.facts().unwrap_err().to_string();
    assert!(error.starts_with("asking for the host's facts failed: host 127.0.0.1: no session began: "), "{error}");
    assert!(error.contains("no-such-program"), "{error}");
}

#[test]
fn a_changed_key_is_a_hard_stop_here_too() {
    let Some(server) = Server::start("") else { return };
    let way = OverSsh::to(&server, Session::new(memory_host()));
    let stranger = std::fs::read_to_string(server.path("stranger.pub")).unwrap();
    std::fs::write(server.path("known_hosts"), format!("[127.0.0.1]:{} {stranger}", server.port())).unwrap();
    let remote = RemoteHypervisor::over(way.clone());
    let error = remote.facts().unwrap_err().to_string();
    assert!(error.contains("THE KEY OF [127.0.0.1]:") && error.contains("HAS CHANGED"), "{error}");
    assert_eq!(way.streams.load(Ordering::SeqCst), 1, "it was tried again");
}
