//! A home, a clock and a seed for one test, and the program run in it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// 2026-01-01 00:00:00 UTC.
const START: u64 = 1_767_225_600;

/// The pool that most tests use.
pub const HELLO: &str = include_str!("../../examples/hello.kdl");

/// A home of its own.
pub struct Environment {
    folder: TempDir,
    now: u64,
    variables: Vec<(String, String)>,
}

impl Environment {
    /// A new home with `hello.kdl` in it.
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("tycoon-test-").tempdir().expect("a temporary folder");
        let environment = Self { folder, now: START, variables: Vec::new() };
        environment.write("hello.kdl", HELLO);
        environment
    }

    /// The folder that commands run in, which is also the home.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The folder of the embedded site.
    pub fn site(&self) -> PathBuf {
        self.path().join(".local/state/tycoon/sites/embedded")
    }

    /// Writes a file.
    pub fn write(&self, name: &str, content: &str) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("the folder can be made");
        std::fs::write(path, content).expect("the file can be written");
    }

    /// Lets time pass.
    pub fn pass(&mut self, seconds: u64) {
        self.now += seconds;
    }

    /// Sets a variable for every command from now on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// A command that is ready to run.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tycoon"));
        command
            .args(arguments)
            .current_dir(self.path())
            .env_clear()
            .env("HOME", self.path())
            .env("PATH", "/usr/bin:/bin")
            .env("TZ", "UTC")
            .env("TYCOON_CLOCK", self.now.to_string())
            .env("TYCOON_SEED", "7")
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    /// Runs a command.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.ran(arguments, self.command(arguments))
    }

    /// Runs a command that is ended at its `count`th write of `what` as if it were killed.
    #[track_caller]
    pub fn run_and_crash(&self, arguments: &[&str], what: &str, count: u64) -> Ran {
        let mut command = self.command(arguments);
        command.env("TYCOON_CRASH_AFTER", format!("{what}:{count}"));
        self.ran(arguments, command)
    }

    /// Starts a command.
    pub fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts")
    }

    #[track_caller]
    pub fn ran(&self, arguments: &[&str], mut command: Command) -> Ran {
        let output = command.output().expect("the program starts");
        Ran::of(self, arguments, &output)
    }

    /// Runs a command that must succeed, and reads its JSON.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let mut all = arguments.to_vec();
        all.push("--json");
        let ran = self.run(&all);
        assert_eq!(ran.code, Some(0), "{ran}");
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("no JSON ({error}):\n{ran}"))
    }

    /// The balance in micro-credits, after checking that the bank's books add up.
    #[track_caller]
    pub fn audited_balance(&self) -> i64 {
        let audit = self.json(&["bank", "audit"]);
        let micros = |name: &str| audit[name].as_i64().expect("an amount");
        assert_eq!(audit["ok"], true, "{audit}");
        let held = micros("in_accounts_micro") + micros("in_escrow_micro");
        assert_eq!(held, micros("issued_micro"), "credits were lost or made: {audit}");
        self.json(&["bank", "balance"])["balance_micro"].as_i64().expect("a balance")
    }

    /// The domains of a pool and their states, in the order of their names.
    #[track_caller]
    pub fn domains(&self, pool: &str) -> Vec<(String, String)> {
        let all = self.json(&["status"]);
        let pools = all.as_array().expect("a list of pools");
        let domains = pools.iter().filter(|found| found["pool"] == pool).flat_map(|found| {
            found["domains"].as_array().expect("a list of domains").iter().map(|domain| {
                let text = |name: &str| domain[name].as_str().expect("a text").to_owned();
                (text("domain"), text("state"))
            })
        });
        domains.collect()
    }
}

/// What a command printed, and how it ended.
pub struct Ran {
    /// The exit code; none where a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    arguments: String,
}

impl Ran {
    /// What came of a finished command; the home's path is written `HOME`.
    pub fn of(environment: &Environment, arguments: &[&str], output: &Output) -> Self {
        let home = environment.path().to_string_lossy().into_owned();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&home, "HOME");
        Self {
            code: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
            arguments: arguments.join(" "),
        }
    }

    /// The same, after checking that it succeeded.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{self}");
        self
    }

    /// The same, after checking its exit code.
    #[track_caller]
    pub fn ends_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "$ tycoon {}", self.arguments)?;
        write!(f, "{}", self.stdout)?;
        if !self.stderr.is_empty() {
            writeln!(f, "--- stderr\n{}", in_order(&self.stderr))?;
        }
        match self.code {
            Some(0) => Ok(()),
            Some(code) => writeln!(f, "--- exit code {code}"),
            None => writeln!(f, "--- ended by a signal"),
        }
    }
}

/// Messages with the lines of domains that came up or went side by side in the order of their names.
fn in_order(messages: &str) -> String {
    let mut lines: Vec<&str> = messages.trim_end().lines().collect();
    for group in lines.chunk_by_mut(|a, b| a.starts_with('✓') == b.starts_with('✓')) {
        if group[0].starts_with('✓') {
            group.sort_unstable();
        }
    }
    lines.join("\n")
}
