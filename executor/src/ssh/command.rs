//! Short commands, and files that are put in place.

use std::io::{ErrorKind, Read, Write as _};
use std::ops::ControlFlow;
use std::thread;
use std::time::{Duration, Instant};

use super::channel::Exit;
use super::connection::SshConnection;
use super::error::SshError;

/// What a command may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunLimits {
    /// How long it may take.
    pub time: Duration,
    /// How much it may write, in bytes.
    pub stdout_bytes_max: usize,
}

impl Default for RunLimits {
    fn default() -> Self {
        Self { time: Duration::from_secs(60), stdout_bytes_max: 1 << 20 }
    }
}

/// What a command did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// How it ended.
    pub exit: Exit,
    /// What it wrote.
    pub stdout: Vec<u8>,
    /// The last of what it wrote as errors.
    pub stderr: String,
}

impl SshConnection {
    /// Runs a command to its end, with `stdin` as its input. That it fails is no error here: see [`Output::exit`].
    pub fn run(&self, command: &str, stdin: &[u8], limits: RunLimits) -> Result<Output, SshError> {
        let deadline = Instant::now() + limits.time;
        let channel = self.exec(command)?;
        let (mut reader, mut writer, status) = (channel.reader, channel.writer, channel.status);
        let late = || SshError::TimedOut { host: self.host().to_owned(), what: "a command", after: limits.time };
        thread::scope(|scope| {
            // A command that does not read its input to the end is not at fault.
            let send = move || drop(writer.write_all(stdin));
            let sender = thread::Builder::new().spawn_scoped(scope, send).map_err(|error| SshError::Channel {
                host: self.host().to_owned(),
                command: command.to_owned(),
                reason: format!("no thread can be started: {error}"),
            });
            let result = sender.and_then(|_| {
                let mut stdout = Vec::new();
                let mut piece = [0; 16 << 10];
                loop {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Err(late());
                    }
                    // Only a time of zero is refused.
                    let _ = reader.set_timeout(Some(left));
                    match reader.read(&mut piece) {
                        Ok(0) => break,
                        Ok(count) if stdout.len() + count > limits.stdout_bytes_max => {
                            return Err(SshError::TooMuchOutput {
                                host: self.host().to_owned(),
                                command: command.to_owned(),
                                bytes_max: limits.stdout_bytes_max,
                            });
                        }
                        Ok(count) => stdout.extend_from_slice(&piece[..count]),
                        Err(error) if error.kind() == ErrorKind::Interrupted => {}
                        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                        // Why it broke is in the status.
                        Err(_) => break,
                    }
                }
                let left = deadline.saturating_duration_since(Instant::now());
                let exit = status.wait(left).ok_or_else(late)??;
                Ok(Output { exit, stdout, stderr: status.stderr() })
            });
            // However it ended, whoever still sends is let go.
            status.close();
            result
        })
    }

    /// Runs a command that has to succeed; what it wrote.
    pub fn run_well(&self, command: &str, stdin: &[u8], limits: RunLimits) -> Result<Vec<u8>, SshError> {
        let output = self.run(command, stdin, limits)?;
        match output.exit {
            Exit::Code(0) => Ok(output.stdout),
            exit => Err(SshError::Command {
                host: self.host().to_owned(),
                command: command.to_owned(),
                ended: exit.to_string(),
                stderr: output.stderr,
            }),
        }
    }

    /// Puts a file in its place on the host, whole or not at all: `content`, of exactly `bytes`, goes to a file beside
    /// it, which gets the permissions `mode` (as in `0o755`) and then the name. `progress` is told how many bytes were
    /// sent, and may break off.
    pub fn upload(
        &self,
        content: &mut (dyn Read + Send),
        bytes: u64,
        path: &str,
        mode: u32,
        progress: &mut (dyn FnMut(u64) -> ControlFlow<()> + Send),
    ) -> Result<(), SshError> {
        let (place, beside) = (quoted(path), quoted(&format!("{path}.part")));
        // A connection that breaks looks to the host like the end of the content, so the length is checked.
        let command = format!(
            "umask 077 && cat > {beside} && \
             {{ [ \"$(wc -c < {beside})\" -eq {bytes} ] || {{ rm -f {beside}; echo 'it did not arrive whole' >&2; false; }}; }} && \
             chmod {:o} {beside} && sync {beside} && mv -f {beside} {place}",
            mode & 0o7777
        );
        let channel = self.exec(&command)?;
        let (reader, mut writer, status) = (channel.reader, channel.writer, channel.status);
        let failed = |ended: String| SshError::Command {
            host: self.host().to_owned(),
            command: command.clone(),
            ended,
            stderr: status.stderr(),
        };
        let mut piece = vec![0; 64 << 10];
        let mut sent = 0;
        let interrupted = loop {
            let count = match content.read(&mut piece) {
                Ok(0) => break None,
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => break Some(format!("was broken off: the content cannot be read: {error}")),
            };
            if writer.write_all(&piece[..count]).is_err() {
                // The command has ended, or the connection; the status knows.
                break None;
            }
            sent += count as u64;
            if progress(sent).is_break() {
                break Some("was broken off".to_owned());
            }
        };
        if let Some(ended) = interrupted {
            status.close();
            return Err(failed(ended));
        }
        drop(writer);
        let exit = status.wait(UPLOAD_PATIENCE).unwrap_or_else(|| {
            Err(SshError::TimedOut {
                host: self.host().to_owned(),
                what: "putting a file in place",
                after: UPLOAD_PATIENCE,
            })
        })?;
        drop(reader);
        match exit {
            Exit::Code(0) => Ok(()),
            exit => Err(failed(exit.to_string())),
        }
    }
}

/// How long a host may take to write out what was sent.
const UPLOAD_PATIENCE: Duration = Duration::from_secs(300);

/// A word for a shell, whatever is in it.
pub(super) fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}
