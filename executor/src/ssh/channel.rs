//! A command on a host: its input, its output, and how it ended.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::connection::Handle;
use super::error::SshError;

/// How much of a command's error output is kept, in bytes: the last of it.
pub(super) const STDERR_BYTES_KEPT: usize = 16 << 10;

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By a signal of this name.
    Signal(String),
    /// The host does not say.
    Unknown,
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "ended with code {code}"),
            Self::Signal(name) => write!(f, "was ended by the signal {name}"),
            Self::Unknown => f.write_str("ended, and the host does not say how"),
        }
    }
}

/// A command under way. Its parts may be used by different threads; the connection stays open while any is there.
#[derive(Debug)]
pub struct ExecChannel {
    /// What the command writes.
    pub reader: ExecReader,
    /// What the command reads. Dropping it tells the command that there is no more.
    pub writer: ExecWriter,
    /// How it ends.
    pub status: ExecStatus,
}

impl ExecChannel {
    /// The channel whose other side is `socket`'s.
    pub(super) fn new(socket: UnixStream, outcome: Arc<Outcome>, connection: Handle) -> io::Result<Self> {
        let part = || -> io::Result<Part> {
            Ok(Part { socket: socket.try_clone()?, outcome: outcome.clone(), wake: Wake(connection.clone()) })
        };
        Ok(Self { reader: ExecReader(part()?), writer: ExecWriter(part()?), status: ExecStatus(part()?) })
    }
}

/// Fields are dropped in this order: the thread is woken when it can see that a part is gone.
#[derive(Debug)]
struct Part {
    socket: UnixStream,
    outcome: Arc<Outcome>,
    wake: Wake,
}

/// Wakes the thread of the connection when it is dropped.
#[derive(Debug)]
struct Wake(Handle);

impl Drop for Wake {
    fn drop(&mut self) {
        self.0.wake();
    }
}

/// What a command writes. It ends when the command closes its output, and when the connection breaks:
/// [`ExecStatus::wait`] tells which.
#[derive(Debug)]
pub struct ExecReader(Part);

impl ExecReader {
    /// How long a read waits; for ever where there is none. A read that took too long fails as `WouldBlock`.
    pub fn set_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.0.socket.set_read_timeout(timeout)
    }
}

impl Read for ExecReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.socket.read(buffer)
    }
}

impl Drop for ExecReader {
    fn drop(&mut self) {
        // It may be closed already.
        let _ = self.0.socket.shutdown(Shutdown::Read);
    }
}

/// What a command reads.
#[derive(Debug)]
pub struct ExecWriter(Part);

impl Write for ExecWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        // Nothing is kept back.
        Ok(())
    }
}

impl Drop for ExecWriter {
    fn drop(&mut self) {
        // It may be closed already.
        let _ = self.0.socket.shutdown(Shutdown::Write);
    }
}

/// How a command ends.
#[derive(Debug)]
pub struct ExecStatus(Part);

impl ExecStatus {
    /// Waits until the command has ended; `None` where it has not in this time.
    pub fn wait(&self, patience: Duration) -> Option<Result<Exit, SshError>> {
        let known = self.0.outcome.known();
        let wait = self.0.outcome.changed.wait_timeout_while(known, patience, |known| known.end.is_none());
        wait.unwrap_or_else(PoisonError::into_inner).0.end.clone()
    }

    /// The last of what the command wrote as errors, as far as it is here.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.0.outcome.known().stderr).into_owned()
    }

    /// Ends the channel, whatever the command does: reads and writes end at once. Commands that read or write notice.
    pub fn close(&self) {
        let mut known = self.0.outcome.known();
        known.is_unwanted = true;
        drop(known);
        // It may be closed already.
        let _ = self.0.socket.shutdown(Shutdown::Both);
        self.0.wake.0.wake();
    }
}

/// What is known of a command, by the thread of its connection and by those who wait for it.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    known: Mutex<Known>,
    changed: Condvar,
}

#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) end: Option<Result<Exit, SshError>>,
    pub(super) stderr: Vec<u8>,
    pub(super) is_unwanted: bool,
}

impl Outcome {
    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn end(&self, end: Result<Exit, SshError>) {
        self.known().end.get_or_insert(end);
        self.changed.notify_all();
    }

    pub(super) fn note_stderr(&self, bytes: &[u8]) {
        let mut known = self.known();
        known.stderr.extend_from_slice(bytes);
        let surplus = known.stderr.len().saturating_sub(STDERR_BYTES_KEPT);
        known.stderr.drain(..surplus);
    }
}
