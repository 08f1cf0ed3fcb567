//! The console of a domain: what it wrote lately, where Xen keeps it, then both ways.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek as _, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use virt::stream::Stream;
use virt::sys;

use super::Host;
use super::connection::failed;
use crate::hypervisor::{ConsoleStream, HypervisorError};

/// How much of what was written before is given, in bytes.
const PAST_BYTES: u64 = 16 << 10;
/// How often the stream is asked for more. It does not block: whoever closes the console must not wait for the guest to
/// write something.
const ASK_EVERY: Duration = Duration::from_millis(25);
/// How often it is asked in vain before what was written while nobody read counts as read.
const BACKLOG_ASKED_MAX: u32 = 8;
/// What libvirt returns where a stream has nothing to give or no room to take.
const WOULD_BLOCK: isize = -2;

impl Host {
    pub(super) fn open_console(&self, name: &str) -> Result<ConsoleStream, HypervisorError> {
        const OPERATION: &str = "opening the console";
        self.connection.with(OPERATION, |connect| {
            let Some(seen) = self.own(connect, name)? else {
                return Err(HypervisorError::NoDomain(name.to_owned()).into());
            };
            if seen.id.is_none() {
                return Err(failed(OPERATION, format!("`{name}` does not run")).into());
            }
            let stream = Stream::new(connect, sys::VIR_STREAM_NONBLOCK)?;
            seen.domain.open_console(None, &stream, 0)?;
            let line = Arc::new(Line { stream, is_closed: AtomicBool::new(false) });
            let mut output = Output { line: Arc::clone(&line) };
            let backlog = output.backlog();
            let past = joined(self.past_of(&seen.name), &backlog);
            Ok(ConsoleStream { output: Box::new(Cursor::new(past).chain(output)), input: Box::new(Input { line }) })
        })
    }

    /// What a domain of ours wrote is gone with it.
    pub(super) fn forget_console(&self, name: &str) {
        // Where consoles are not logged there is none.
        let _ = std::fs::remove_file(self.log_of(name));
    }

    /// Where Xen's console daemon logs a domain of ours, whose name has no `/`.
    fn log_of(&self, name: &str) -> PathBuf {
        self.console_logs.join(format!("guest-{name}.log"))
    }

    /// The end of what the domain wrote, where it is logged.
    fn past_of(&self, name: &str) -> Vec<u8> {
        let tail = || -> io::Result<Vec<u8>> {
            let mut file = File::open(self.log_of(name))?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(PAST_BYTES)))?;
            let mut past = Vec::new();
            file.take(PAST_BYTES).read_to_end(&mut past)?;
            Ok(past)
        };
        tail().unwrap_or_default()
    }
}

/// An open console.
struct Line {
    stream: Stream,
    is_closed: AtomicBool,
}

impl Drop for Line {
    fn drop(&mut self) {
        // libvirt lets a console go only where its stream was ended. One that has ended by itself refuses.
        let _ = self.stream.clone().abort();
    }
}

/// What the domain writes. It ends with the domain, and when the input is dropped.
struct Output {
    line: Arc<Line>,
}

/// What is typed.
struct Input {
    line: Arc<Line>,
}

impl Output {
    /// What was written while nobody read and waits in the terminal's buffer: it comes at once, with all the log has of it.
    fn backlog(&mut self) -> Vec<u8> {
        let mut backlog = Vec::new();
        let mut chunk = [0; 4096];
        let mut asked_in_vain = 0;
        while asked_in_vain < BACKLOG_ASKED_MAX && backlog.len() < PAST_BYTES as usize {
            match self.line.stream.recv(&mut chunk) {
                Ok(WOULD_BLOCK) => {
                    asked_in_vain += 1;
                    std::thread::sleep(ASK_EVERY);
                }
                Ok(count) if count > 0 => backlog.extend_from_slice(&chunk[..count.cast_unsigned().min(chunk.len())]),
                // Whoever reads on finds out.
                Ok(_) | Err(_) => break,
            }
        }
        backlog
    }
}

/// What was written before, in one piece: the log has the backlog too, and perhaps more that will be read.
fn joined(mut logged: Vec<u8>, backlog: &[u8]) -> Vec<u8> {
    if backlog.is_empty() {
        return logged;
    }
    match logged.windows(backlog.len()).rposition(|part| part == backlog) {
        Some(at) => logged.truncate(at + backlog.len()),
        None => logged.extend_from_slice(backlog),
    }
    logged
}

impl Read for Output {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while !self.line.is_closed.load(Ordering::Acquire) {
            match self.line.stream.recv(buffer) {
                Ok(WOULD_BLOCK) => std::thread::sleep(ASK_EVERY),
                Ok(count) => return Ok(usize::try_from(count).unwrap_or(0)),
                // The domain has ended, or the connection has: there is nothing more to read.
                Err(_) => return Ok(0),
            }
        }
        Ok(0)
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.line.is_closed.store(true, Ordering::Release);
    }
}

impl Write for Input {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        while !self.line.is_closed.load(Ordering::Acquire) {
            match self.line.stream.send(bytes) {
                Ok(WOULD_BLOCK) => std::thread::sleep(ASK_EVERY),
                Ok(count) => return Ok(usize::try_from(count).unwrap_or(0)),
                Err(error) => return Err(io::Error::new(io::ErrorKind::BrokenPipe, error.message().to_owned())),
            }
        }
        Err(io::Error::new(io::ErrorKind::BrokenPipe, "the console is closed"))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        self.line.is_closed.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_log_and_the_terminal_both_have_is_given_once() {
        for (logged, backlog, past) in [
            ("boot\nlogin: ", "login: ", "boot\nlogin: "),
            ("boot\nlogin: ", "", "boot\nlogin: "),
            // Not logged at all, or not from the beginning.
            ("", "login: ", "login: "),
            ("boot\n", "login: ", "boot\nlogin: "),
            // Written after the backlog was read: it is still to be read.
            ("boot\nlogin: root\n", "login: ", "boot\nlogin: "),
        ] {
            assert_eq!(joined(logged.into(), backlog.as_bytes()), past.as_bytes(), "{logged:?} and {backlog:?}");
        }
    }
}
