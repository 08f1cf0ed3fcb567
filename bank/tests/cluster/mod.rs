//! A PostgreSQL cluster of a test's own, from Debian's package, in a temporary folder: it listens on a socket in that
//! folder only, and is stopped when the test ends.
#![allow(dead_code, reason = "each test file uses its part")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

/// Where Debian puts the programs of PostgreSQL.
const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";

/// A running cluster.
pub struct Cluster {
    folder: TempDir,
    /// PostgreSQL does not run as root: then it runs as this user.
    user: Option<&'static str>,
    databases: AtomicU32,
}

impl Cluster {
    /// Makes and starts a cluster.
    pub fn start() -> Self {
        assert!(
            Path::new(PROGRAMS).join("initdb").exists(),
            "PostgreSQL 15 is not installed; `make packages` installs it (apt-get install postgresql-15)"
        );
        let folder = tempfile::Builder::new().prefix("tycoon-postgres-").tempdir().unwrap();
        let is_root = run(Command::new("id").arg("-u")).stdout == b"0\n";
        let user = is_root.then_some("postgres");
        if let Some(user) = user {
            run(Command::new("chown").arg(user).arg(folder.path()));
        }
        let cluster = Self { folder, user, databases: AtomicU32::new(0) };
        let data = cluster.data();
        run(cluster
            .program("initdb")
            .args(["--auth=trust", "--username=bank", "--no-sync", "--encoding=UTF8", "-D"])
            .arg(&data));
        cluster.control(&["start"]);
        cluster
    }

    /// Where its files are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// One of PostgreSQL's programs, to be run by the user that may.
    pub fn program(&self, name: &str) -> Command {
        let program = Path::new(PROGRAMS).join(name);
        let mut command = match self.user {
            None => Command::new(program),
            Some(user) => {
                let mut command = Command::new("setpriv");
                command.args(["--reuid", user, "--regid", user, "--clear-groups", "--"]).arg(program);
                command
            }
        };
        command.current_dir(self.folder.path()).env_remove("PGHOST").env_remove("PGPORT");
        command
    }

    fn control(&self, arguments: &[&str]) {
        let options = format!(
            "-c listen_addresses='' -c shared_buffers=64MB -c max_connections=300 -k {}",
            self.folder.path().display()
        );
        let log = self.folder.path().join("log");
        let mut command = self.program("pg_ctl");
        command.args(arguments).arg("-D").arg(self.data()).arg("-l").arg(log).args(["-o", &options, "--wait"]);
        run(&mut command);
    }

    /// Ends it as a power cut would, and starts it again.
    pub fn crash_and_restart(&self) {
        self.control(&["restart", "--mode=immediate"]);
    }

    /// The address of a new, empty database.
    pub fn database(&self) -> String {
        let name = format!("bank{}", self.databases.fetch_add(1, Ordering::SeqCst));
        let socket = self.folder.path().display().to_string();
        run(self.program("createdb").args(["--host", &socket, "--username=bank", &name]));
        format!("postgres://bank@{}/{name}", socket.replace('/', "%2F"))
    }

    /// Lets `psql` do something in a database.
    pub fn sql(&self, database: &str, statement: &str) {
        run(self.program("psql").args([database, "--quiet", "--set=ON_ERROR_STOP=1", "--command", statement]));
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let mut command = self.program("pg_ctl");
        // A cluster that does not stop is named by the test runner as a leak.
        let _ = command.args(["stop", "--mode=immediate", "--wait", "-D"]).arg(self.data()).output();
    }
}

fn run(command: &mut Command) -> Output {
    // What `pg_ctl start` leaves running would hold a pipe open: it writes to files.
    let files = tempfile::tempdir().unwrap();
    let (out, err) = (files.path().join("out"), files.path().join("err"));
    let status = command
        .stdin(std::process::Stdio::null())
        .stdout(std::fs::File::create(&out).unwrap())
        .stderr(std::fs::File::create(&err).unwrap())
        .status()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (stdout, stderr) = (std::fs::read(out).unwrap(), std::fs::read(err).unwrap());
    assert!(
        status.success(),
        "{command:?}: {status}\n{}{}",
        String::from_utf8_lossy(&stdout),
        String::from_utf8_lossy(&stderr)
    );
    Output { status, stdout, stderr }
}
