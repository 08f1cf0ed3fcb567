//! A console over a stream: data frames in both directions. The host ends it by ending the stream or with a fault.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::thread;
use std::time::Duration;

use super::frame::{self, DATA_BYTES_MAX, Frame, FrameError};
use super::message::{FromClient, FromHost};
use super::serve::{Inbox, Outbox, SessionError};
use super::stream::{Stream, Watchdog};
use crate::hypervisor::{ConsoleStream, Hypervisor, HypervisorError};

/// How often the host says something on a quiet console, so that a client that is gone is noticed by whatever carries
/// the stream.
const SIGN_OF_LIFE: Duration = Duration::from_secs(30);
/// How much is read of a console at once, in bytes.
const PIECE_BYTES: usize = 16 << 10;

/// Serves the console of a domain until it, or the client, ends.
pub(super) fn serve(
    hypervisor: &dyn Hypervisor,
    name: &str,
    inbox: &Inbox,
    outbox: &Outbox,
) -> Result<(), SessionError> {
    let ConsoleStream { mut output, mut input } = match hypervisor.open_console(name) {
        Ok(console) => console,
        Err(error) => return Ok(outbox.say(&FromHost::Refused { error })?),
    };
    outbox.say(&FromHost::Opened)?;
    let (ended, has_ended) = std::sync::mpsc::channel::<()>();
    let shown = outbox.clone();
    let show = move || {
        let mut piece = [0; PIECE_BYTES];
        loop {
            let sent = match output.read(&mut piece) {
                Ok(0) => break,
                Ok(count) => frame::of_data(&piece[..count]).and_then(|frame| shown.send(&frame)),
                Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
                Err(error) => Err(error.into()),
            };
            if sent.is_err() {
                break;
            }
        }
        let _ = shown.say(&FromHost::Closed);
        drop(ended);
    };
    // A console of a running domain can be silent for ever, so nobody waits for this thread: it ends with the domain,
    // or with the first that it cannot send.
    thread::Builder::new().name("session console".into()).spawn(show).map_err(SessionError::Threads)?;
    let mut quiet = Duration::ZERO;
    let step = Duration::from_millis(200);
    loop {
        match inbox.recv_timeout(step) {
            Ok(frame) => match frame? {
                // Nobody types any more. Whoever still reads is told that this is an end, and no broken connection.
                None => return Ok(outbox.say(&FromHost::Closed)?),
                // What cannot be typed any more is lost with the domain; its end is told by its output.
                Some(Frame::Data(typed)) => drop(input.write_all(&typed).and_then(|()| input.flush())),
                Some(Frame::Message(message)) => match frame::parse(&message)? {
                    FromClient::Ping => outbox.say(&FromHost::Here)?,
                    _ => return Err(SessionError::Misuse("a call came on a console; open another stream".into())),
                },
            },
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
            Err(RecvTimeoutError::Timeout) => {
                if has_ended.try_recv() == Err(std::sync::mpsc::TryRecvError::Disconnected) {
                    return Ok(());
                }
                quiet += step;
                if quiet >= SIGN_OF_LIFE {
                    quiet = Duration::ZERO;
                    outbox.say(&FromHost::Here)?;
                }
            }
        }
    }
}

/// Asks for a console on a fresh stream that was greeted already.
pub(super) fn open(mut stream: Stream, name: &str, patience: Duration) -> Result<ConsoleStream, OpenError> {
    let watchdog = Watchdog::start(stream.close.clone(), patience).map_err(FrameError::from)?;
    let answer = ask(&mut stream, name);
    if watchdog.stop() {
        return Err(OpenError::Late);
    }
    match answer? {
        FromHost::Opened => {}
        FromHost::Refused { error } => return Err(OpenError::Refused(error)),
        FromHost::Fault(fault) => {
            let operation = "opening the console".into();
            return Err(OpenError::Refused(HypervisorError::Failed { operation, reason: fault.message }));
        }
        other => return Err(OpenError::Stream(FrameError::Nonsense(format!("{other:?} instead of a console")))),
    }
    let guard = Arc::new(CloseOnDrop(stream.close));
    let output = Output { reader: stream.reader, rest: Vec::new(), used: 0, has_ended: false, _guard: guard.clone() };
    Ok(ConsoleStream { output: Box::new(output), input: Box::new(Input { writer: stream.writer, _guard: guard }) })
}

/// Why there is no console.
pub(super) enum OpenError {
    /// The host does not want.
    Refused(HypervisorError),
    /// The stream does not do.
    Stream(FrameError),
    /// It took too long.
    Late,
}

impl From<FrameError> for OpenError {
    fn from(error: FrameError) -> Self {
        Self::Stream(error)
    }
}

fn ask(stream: &mut Stream, name: &str) -> Result<FromHost, FrameError> {
    let question = frame::of_message(&FromClient::Console { name: name.to_owned() })?;
    frame::write(&mut *stream.writer, &question)?;
    match frame::read(&mut *stream.reader)? {
        Some(Frame::Message(message)) => frame::parse(&message),
        Some(Frame::Data(_)) => Err(FrameError::Nonsense("data before the answer".into())),
        None => Err(FrameError::Cut),
    }
}

/// Closes the stream when both ends of the console are gone.
struct CloseOnDrop(Arc<dyn Fn() + Send + Sync>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// What the domain writes.
struct Output {
    reader: Box<dyn Read + Send>,
    rest: Vec<u8>,
    used: usize,
    has_ended: bool,
    _guard: Arc<CloseOnDrop>,
}

impl Read for Output {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.used == self.rest.len() && !self.has_ended {
            match frame::read(&mut *self.reader).map_err(io::Error::other)? {
                Some(Frame::Data(data)) => (self.rest, self.used) = (data, 0),
                Some(Frame::Message(message)) => match frame::parse(&message).map_err(io::Error::other)? {
                    FromHost::Here => {}
                    FromHost::Closed => self.has_ended = true,
                    FromHost::Fault(fault) => return Err(io::Error::other(fault)),
                    other => return Err(io::Error::other(format!("{other:?} came on a console"))),
                },
                None => return Err(io::Error::new(ErrorKind::UnexpectedEof, "the connection to the host ended")),
            }
        }
        let count = buffer.len().min(self.rest.len() - self.used);
        buffer[..count].copy_from_slice(&self.rest[self.used..self.used + count]);
        self.used += count;
        Ok(count)
    }
}

/// What is typed.
struct Input {
    writer: Box<dyn Write + Send>,
    _guard: Arc<CloseOnDrop>,
}

impl Write for Input {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(DATA_BYTES_MAX);
        let frame = frame::of_data(&bytes[..count]).map_err(io::Error::other)?;
        frame::write(&mut *self.writer, &frame).map_err(io::Error::other)?;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}
