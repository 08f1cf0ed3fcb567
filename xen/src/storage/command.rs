//! Runs the programs of the host: with arguments and never through a shell, for a bounded time, and with bounded
//! output. What they write to stderr becomes the reason of the error.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::hypervisor::HypervisorError;

/// Where programs are looked for. What else is in the environment of this process does not reach them.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The most that is kept of what a program writes to stdout.
const STDOUT_BYTES_MAX: u64 = 16 << 20;
/// The most that is kept of what a program writes to stderr.
const STDERR_BYTES_MAX: u64 = 4 << 10;
/// The longest pause between two looks at a program that runs.
const PAUSE_MAX: Duration = Duration::from_millis(50);
/// How long the output of a program that has ended is waited for: a process it left behind may hold it open.
const OUTPUT_WAIT: Duration = Duration::from_secs(2);
/// How long a program has that states nothing else.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Interrupts what takes long: programs and copies end soon after [`Interrupt::set`], with an error, and leave nothing
/// half-made.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Ends what runs, and lets nothing long begin.
    pub fn set(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether it was set.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// A program with its arguments.
#[derive(Debug)]
pub(crate) struct Command {
    program: &'static str,
    arguments: Vec<OsString>,
    timeout: Duration,
    interrupt: Interrupt,
    stdout: Option<File>,
}

impl Command {
    pub(crate) fn new(program: &'static str) -> Self {
        Self { program, arguments: Vec::new(), timeout: TIMEOUT, interrupt: Interrupt::default(), stdout: None }
    }

    pub(crate) fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    pub(crate) fn args<A: AsRef<OsStr>>(self, arguments: impl IntoIterator<Item = A>) -> Self {
        arguments.into_iter().fold(self, Self::arg)
    }

    pub(crate) fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    pub(crate) fn interrupt(mut self, interrupt: &Interrupt) -> Self {
        self.interrupt = interrupt.clone();
        self
    }

    /// What it writes to stdout goes to this file, as much as it is, and is not returned.
    pub(crate) fn stdout_to(mut self, file: File) -> Self {
        self.stdout = Some(file);
        self
    }

    /// Runs it to its end and returns what it wrote to stdout. `operation` is what it is run for.
    pub(crate) fn run(mut self, operation: impl Into<Cow<'static, str>>) -> Result<String, HypervisorError> {
        self.output().map_err(|reason| HypervisorError::Failed { operation: operation.into(), reason })
    }

    fn output(&mut self) -> Result<String, String> {
        let program = self.program;
        let stdout = self.stdout.take();
        let is_kept = stdout.is_none();
        let mut child = std::process::Command::new(program)
            .args(&self.arguments)
            .env_clear()
            .env("PATH", PATH)
            .env("LC_ALL", "C.UTF-8")
            // Else it warns of files that are open in this process, which are none of its business.
            .env("LVM_SUPPRESS_FD_WARNINGS", "1")
            .stdin(Stdio::null())
            .stdout(stdout.map_or_else(Stdio::piped, Stdio::from))
            .stderr(Stdio::piped())
            // A group of its own, so that what it starts ends with it.
            .process_group(0)
            .spawn()
            .map_err(|error| cannot_start(program, &error))?;
        let stdout = child.stdout.take().map(|stdout| collect(stdout, STDOUT_BYTES_MAX));
        let stderr = child.stderr.take().map(|stderr| collect(stderr, STDERR_BYTES_MAX));
        let status = self.wait(&mut child)?;
        let taken = |end: Option<Receiver<Vec<u8>>>| end.and_then(|end| end.recv_timeout(OUTPUT_WAIT).ok());
        if !status.success() {
            let stderr = taken(stderr).unwrap_or_default();
            let said = String::from_utf8_lossy(&stderr);
            let said = said.trim();
            let said = if said.is_empty() { "it said nothing" } else { said };
            return Err(format!("`{program}` ended with {status}: {said}"));
        }
        if !is_kept {
            return Ok(String::new());
        }
        let stdout = taken(stdout).ok_or_else(|| format!("`{program}` did not end its output"))?;
        if stdout.len() as u64 >= STDOUT_BYTES_MAX {
            return Err(format!("`{program}` wrote more than {STDOUT_BYTES_MAX} bytes"));
        }
        String::from_utf8(stdout).map_err(|_| format!("`{program}` wrote bytes that are no text"))
    }

    fn wait(&self, child: &mut Child) -> Result<ExitStatus, String> {
        let program = self.program;
        let begin = Instant::now();
        let mut pause = Duration::from_millis(1);
        loop {
            let cause = match child.try_wait() {
                Ok(Some(status)) => return Ok(status),
                Ok(None) if self.interrupt.is_set() => format!("`{program}` was interrupted"),
                Ok(None) if begin.elapsed() < self.timeout => {
                    thread::sleep(pause);
                    pause = (pause * 2).min(PAUSE_MAX);
                    continue;
                }
                Ok(None) => format!("`{program}` did not end within {} s and was stopped", self.timeout.as_secs()),
                Err(error) => format!("cannot wait for `{program}`: {error}"),
            };
            end(child);
            return Err(cause);
        }
    }
}

/// Kills the program and what it started.
fn end(child: &mut Child) {
    let group = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(group) = group {
        // What has ended already needs no signal.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// Reads all that comes, and keeps the beginning.
fn collect(mut source: impl Read + Send + 'static, bytes_max: u64) -> Receiver<Vec<u8>> {
    let (sender, receiver) = sync_channel(1);
    thread::spawn(move || {
        let mut kept = Vec::new();
        // What cannot be read is missing in the output, and the exit status decides.
        let _ = source.by_ref().take(bytes_max).read_to_end(&mut kept);
        let _ = io::copy(&mut source, &mut io::sink());
        let _ = sender.send(kept);
    });
    receiver
}

fn cannot_start(program: &str, error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::NotFound {
        let package = package_of(program);
        return format!("the program `{program}` is missing; `apt install {package}` brings it");
    }
    format!("cannot start `{program}`: {error}")
}

/// The package of Debian that a program is in.
fn package_of(program: &str) -> &str {
    match program {
        "lvs" | "vgs" | "lvcreate" | "lvremove" | "lvextend" | "lvchange" => "lvm2",
        "losetup" | "prlimit" | "setpriv" => "util-linux",
        "mkswap" => "util-linux",
        "mkfs.ext4" | "mke2fs" => "e2fsprogs",
        "mkfs.xfs" => "xfsprogs",
        "nft" => "nftables",
        "qemu-img" | "qemu-nbd" => "qemu-utils",
        "ldd" => "libc-bin",
        "chroot" => "coreutils",
        "xz" => "xz-utils",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_fails_says_why() {
        let error = Command::new("cat").arg("/no/such/file").run("reading").unwrap_err().to_string();
        assert!(error.starts_with("reading failed: `cat` ended with exit status: 1"), "{error}");
        assert!(error.contains("No such file"), "{error}");
    }

    #[test]
    fn a_missing_program_names_its_package() {
        assert!(cannot_start("lvs", &io::ErrorKind::NotFound.into()).ends_with("`apt install lvm2` brings it"));
    }

    #[test]
    fn a_program_that_does_not_end_is_stopped() {
        let command = Command::new("sleep").arg("1000").timeout(Duration::from_millis(20));
        let error = command.run("waiting").unwrap_err().to_string();
        assert!(error.contains("did not end within"), "{error}");
    }

    #[test]
    fn an_interrupt_stops_a_program() {
        let interrupt = Interrupt::default();
        interrupt.set();
        let error = Command::new("sleep").arg("1000").interrupt(&interrupt).run("waiting").unwrap_err();
        assert!(error.to_string().contains("was interrupted"), "{error}");
    }

    #[test]
    fn the_environment_does_not_reach_a_program() {
        let environment = Command::new("env").run("looking").unwrap();
        assert!(environment.lines().all(|line| ["PATH=", "LC_ALL=", "LVM_"].iter().any(|name| line.starts_with(name))));
    }
}
