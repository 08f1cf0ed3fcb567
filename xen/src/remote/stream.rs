//! The way to a host: whatever carries bytes there and back.

use std::fmt;
use std::io::{self, Read, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::frame::{self, Frame, FrameError, PREAMBLE};
use super::message::Hello;

/// A stream to a host, in both directions.
pub struct Stream {
    /// What the host says. It ends when the host ends, and after `close`.
    pub reader: Box<dyn Read + Send>,
    /// What is said to the host. Dropping it is an orderly end.
    pub writer: Box<dyn Write + Send>,
    /// Ends both directions at once, so that whoever waits in `reader` or `writer` is let go. It may be called more
    /// than once, and from any thread.
    pub close: Arc<dyn Fn() + Send + Sync>,
    /// What the far end wrote about its own troubles, such as the error output of its command, for error messages.
    pub complaint: Arc<dyn Fn() -> Option<String> + Send + Sync>,
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stream")
    }
}

/// Why there is no stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ConnectError {
    /// What is wrong, and what to do about it.
    pub message: String,
    /// True where it will not pass by itself, such as a wrong key: trying again soon is of no use.
    pub is_lasting: bool,
}

/// Opens streams to one host.
pub trait Connector: Send + Sync {
    /// The host's name, for error messages.
    fn host(&self) -> &str;

    /// True where the host is this machine: its domains can be reached from here.
    fn is_here(&self) -> bool {
        false
    }

    /// Opens a stream on which a [`super::Session`] serves. It returns within a bounded time. Streams may share one
    /// connection; where that is broken, a new one is made.
    fn open(&self) -> Result<Stream, ConnectError>;
}

/// Says hello on a stream and hears the other side's; the other side's, or why there is no session.
pub(super) fn greet(stream: &mut Stream, patience: Duration) -> Result<Hello, ConnectError> {
    let passing = |message: String| ConnectError { message, is_lasting: false };
    let watchdog = Watchdog::start(stream.close.clone(), patience)
        .map_err(|error| passing(format!("no thread can be started: {error}")))?;
    let result = exchange(&mut *stream.reader, &mut *stream.writer);
    let was_late = watchdog.stop();
    match result {
        Err(_) if was_late => {
            let complaint = (stream.complaint)().map(|text| format!(": {text}")).unwrap_or_default();
            Err(passing(format!("no session began within {} s{complaint}", patience.as_secs_f64())))
        }
        Err(error) => {
            let complaint = (stream.complaint)();
            Err(passing(complaint.map_or_else(|| error.to_string(), |text| format!("no session began: {text}"))))
        }
        Ok(theirs) => match Hello::ours().version_with(&theirs) {
            Ok(_) => Ok(theirs),
            Err(message) => Err(ConnectError { message, is_lasting: true }),
        },
    }
}

fn exchange(reader: &mut dyn Read, writer: &mut dyn Write) -> Result<Hello, FrameError> {
    let mut greeting = PREAMBLE.to_vec();
    greeting.extend(frame::of_message(&Hello::ours())?);
    // Where the far end is gone already, what it said before is worth more than that it takes nothing any more.
    let written = frame::write(writer, &greeting);
    frame::read_preamble(reader)?;
    let theirs = match frame::read(reader)? {
        Some(Frame::Message(message)) => frame::parse(&message)?,
        Some(Frame::Data(_)) => return Err(FrameError::Nonsense("data before the first message".into())),
        None => return Err(FrameError::Cut),
    };
    written?;
    Ok(theirs)
}

/// Closes a stream where nothing moves for too long.
pub(super) struct Watchdog {
    state: Arc<(Mutex<Watch>, Condvar)>,
    patience: Duration,
}

struct Watch {
    deadline: Instant,
    is_stopped: bool,
    has_struck: bool,
}

impl Watchdog {
    /// Strikes after `patience`.
    pub(super) fn start(close: Arc<dyn Fn() + Send + Sync>, patience: Duration) -> io::Result<Self> {
        let watch = Watch { deadline: Instant::now() + patience, is_stopped: false, has_struck: false };
        let state = Arc::new((Mutex::new(watch), Condvar::new()));
        let shared = state.clone();
        let guard = move || {
            let (watch, changed) = &*shared;
            let mut watch = watch.lock().unwrap_or_else(PoisonError::into_inner);
            while !watch.is_stopped {
                let left = watch.deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    watch.has_struck = true;
                    drop(watch);
                    close();
                    return;
                }
                watch = changed.wait_timeout(watch, left).unwrap_or_else(PoisonError::into_inner).0;
            }
        };
        thread::Builder::new().name("stream watchdog".into()).spawn(guard)?;
        Ok(Self { state, patience })
    }

    /// Something moved: the time begins anew.
    pub(super) fn touch(&self) {
        self.watch().deadline = Instant::now() + self.patience;
    }

    /// True where it was too late.
    pub(super) fn stop(self) -> bool {
        self.watch().has_struck
    }

    fn watch(&self) -> MutexGuard<'_, Watch> {
        self.state.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.watch().is_stopped = true;
        self.state.1.notify_all();
    }
}
