//! The console of a domain: what it wrote lately, where Xen keeps it, then both ways.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek as _, SeekFrom, Write};
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
            let past = self.past_of(&seen.name);
            let stream = Stream::new(connect, sys::VIR_STREAM_NONBLOCK)?;
            seen.domain.open_console(None, &stream, 0)?;
            let line = Arc::new(Line { stream, is_closed: AtomicBool::new(false) });
            let output = Output { line: Arc::clone(&line) };
            Ok(ConsoleStream { output: Box::new(Cursor::new(past).chain(output)), input: Box::new(Input { line }) })
        })
    }

    /// The end of what the domain wrote, where it is logged. A domain's name has no `/`.
    fn past_of(&self, name: &str) -> Vec<u8> {
        let tail = || -> io::Result<Vec<u8>> {
            let mut file = File::open(self.console_logs.join(format!("guest-{name}.log")))?;
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
