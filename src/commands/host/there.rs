//! Work on several machines at once, over SSH: one that fails does not stop the others.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use tycoon_executor::ssh::{Exit as Ended, RunLimits, SshConnection};

use super::program::PROGRAM;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::folders::Folders;
use crate::output::Output;
use crate::site::reach;

/// For short commands.
pub const QUICK: RunLimits = RunLimits { time: Duration::from_secs(60), stdout_bytes_max: 1 << 16 };
/// For what may install packages, or wait for services.
pub const LONG: RunLimits = RunLimits { time: Duration::from_secs(1_800), stdout_bytes_max: 1 << 20 };

/// Which machines, and how they are reached.
#[derive(Args, Debug)]
pub struct ThereArgs {
    /// The machines, as for ssh: `root@xen1`, `root@10.0.0.7:2222`
    #[arg(required = true, value_name = "USER@HOST")]
    pub hosts: Vec<String>,
    /// OpenSSH's configuration to use instead of your own
    #[arg(long, short = 'F', value_name = "FILE")]
    pub ssh_config: Option<PathBuf>,
    /// Note the keys of hosts that are seen for the first time, instead of refusing them
    #[arg(long)]
    pub accept_new_host_keys: bool,
}

/// One of the machines.
pub struct Machine<'a> {
    /// As it was named.
    pub host: &'a str,
    /// Which of them it is, from 0.
    pub number: usize,
    /// The way to it.
    pub connection: SshConnection,
    output: &'a Output,
}

/// How the program ended on a machine, when it did not fail.
pub struct Done {
    /// Whether all was done; else some of it.
    pub is_whole: bool,
    /// What it printed.
    pub stdout: String,
}

impl ThereArgs {
    /// Does the work on all machines; what came of it, in their order.
    pub fn on_all<T: Send>(
        &self,
        output: &Output,
        work: impl Fn(&Machine<'_>) -> Result<T, Failure> + Sync,
    ) -> Result<Vec<Result<T, Failure>>, Failure> {
        let folders = Folders::find("hosts")?;
        let on_one = |number: usize, host: &str| {
            let target = reach::target(host, self.ssh_config.as_deref(), &folders, self.accept_new_host_keys)?;
            let connection =
                SshConnection::connect(&target).map_err(|error| Failure::from_error(Exit::Failed, &error))?;
            let machine = Machine { host, number, connection, output };
            machine.say("connected");
            work(&machine)
        };
        let mut outcomes = Vec::with_capacity(self.hosts.len());
        std::thread::scope(|scope| {
            let on_one = &on_one;
            let threads: Vec<_> = self
                .hosts
                .iter()
                .enumerate()
                .map(|(number, host)| scope.spawn(move || on_one(number, host).map_err(|failure| failure.of(host))))
                .collect();
            for thread in threads {
                outcomes.push(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
        });
        Ok(outcomes)
    }
}

/// How a command ended whose parts ended so; failures are told.
pub fn ended<T>(outcomes: &[Result<T, Failure>], is_whole: impl Fn(&T) -> bool, output: &Output) -> Exit {
    for failure in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
        if !output.json {
            output.error(&failure.render(output.stderr));
        }
    }
    let failed = outcomes.iter().filter(|outcome| outcome.is_err()).count();
    match failed {
        0 if outcomes.iter().flatten().all(is_whole) => Exit::Ok,
        failed if failed == outcomes.len() => Exit::Failed,
        _ => Exit::Partly,
    }
}

impl Machine<'_> {
    /// Says something about it.
    pub fn say(&self, text: &str) {
        self.output.message(&format!("{}: {text}", self.host));
    }

    /// Whether a file is there.
    pub fn has(&self, path: &str) -> Result<bool, Failure> {
        let told = self.connection.run(&quoted(&["test", "-e", path]), b"", QUICK);
        told.map(|told| told.exit == Ended::Code(0)).map_err(|error| Failure::from_error(Exit::Failed, &error))
    }

    /// Brings a file of this machine there, for root alone.
    pub fn bring(&self, file: &Path, path: &str) -> Result<(), Failure> {
        let content = std::fs::read(file).map_err(|error| {
            Failure::from_error(Exit::Failed, &error).context(&format!("{} cannot be read", file.display()))
        })?;
        let failed = |error| Failure::from_error(Exit::Failed, &error);
        let mode = if path.ends_with("key.pem") { 0o600 } else { 0o644 };
        let folder = Path::new(path).parent().unwrap_or(Path::new("/")).to_string_lossy();
        self.connection.run_well(&quoted(&["mkdir", "-p", &folder]), b"", QUICK).map_err(failed)?;
        let there = self.connection.run(&quoted(&["sha256sum", path]), b"", QUICK).map_err(failed)?;
        let digest = super::program::digest(&content);
        if String::from_utf8_lossy(&there.stdout).split_whitespace().next() == Some(digest.as_str()) {
            return Ok(());
        }
        self.connection
            .upload(&mut &content[..], content.len() as u64, path, mode, &mut |_| ControlFlow::Continue(()))
            .map_err(failed)?;
        self.say(&format!("brought {path}"));
        Ok(())
    }

    /// Runs the program there, and says what it says.
    pub fn run(&self, words: &[String]) -> Result<Done, Failure> {
        let words: Vec<&str> = std::iter::once(PROGRAM).chain(words.iter().map(String::as_str)).collect();
        let failed = |error| Failure::from_error(Exit::Failed, &error);
        let done = self.connection.run(&quoted(&words), b"", LONG).map_err(failed)?;
        let stdout = String::from_utf8_lossy(&done.stdout).into_owned();
        let lines = done.stderr.lines().chain(stdout.lines()).filter(|line| !line.trim().is_empty());
        if let Ended::Code(code @ (0 | 4)) = done.exit {
            lines.for_each(|line| self.say(line));
            return Ok(Done { is_whole: code == 0, stdout });
        }
        // What the program said there before it failed, and then its error, which is ours to tell.
        let (mut error, mut is_error) = (Vec::new(), false);
        for line in lines {
            match line.strip_prefix("error: ") {
                Some(message) if !is_error => {
                    is_error = true;
                    error.push(message);
                }
                _ if is_error => error.push(line),
                _ => self.say(line),
            }
        }
        let message = if is_error { error.join("\n") } else { format!("the program there {}", done.exit) };
        Err(Failure::new(Exit::Failed, message))
    }
}

/// A command line for a shell.
fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("'{}'", word.replace('\'', r"'\''"))).collect::<Vec<_>>().join(" ")
}
