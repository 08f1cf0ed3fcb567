//! The host's side of a stream.

use std::fmt;
use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use thiserror::Error;

use super::frame::{self, Frame, FrameError, PREAMBLE};
use super::image::ImageReceiver;
use super::message::{Call, Fault, FromClient, FromHost, Hello, Reply};
use super::{console, upload, volume};
use crate::hypervisor::{Hypervisor, HypervisorError};

/// How much a session does at once, and how long it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionLimits {
    /// Calls that are done side by side, 1 or more.
    pub workers: usize,
    /// Calls that may be under way or wait. A client that sends more is cut off.
    pub calls_max: usize,
    /// A client that says nothing for so long is taken for gone. Clients ping far more often.
    pub silence_max: Duration,
    /// The longest message of a client, in bytes.
    pub message_bytes_max: usize,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            workers: 4,
            calls_max: 64,
            silence_max: Duration::from_secs(300),
            message_bytes_max: frame::MESSAGE_BYTES_MAX,
        }
    }
}

impl SessionLimits {
    /// For somebody of whom nothing is known but the account: one call at a time, and no message that is longer than a
    /// question needs.
    pub const STRANGER: Self =
        Self { workers: 1, calls_max: 64, silence_max: Duration::from_secs(120), message_bytes_max: 16 << 10 };
}

/// Serves a hypervisor to the client at the other end of a stream.
#[derive(Clone)]
pub struct Session {
    hypervisor: Arc<dyn Hypervisor>,
    images: Option<Arc<dyn ImageReceiver>>,
    limits: SessionLimits,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// Why a session ended before its client ended it. The client has been told, where it could be.
#[derive(Debug, Error)]
pub enum SessionError {
    /// What came makes no sense, or nothing can be sent.
    #[error("the client's stream cannot be used")]
    Stream(#[from] FrameError),
    /// The client is of another time.
    #[error("no protocol is spoken by both sides: {0}")]
    Version(String),
    /// The client does what it must not.
    #[error("{0}")]
    Misuse(String),
    /// Nothing was heard of the client for too long.
    #[error("nothing was heard of the client for {} s", .0.as_secs())]
    Silent(Duration),
    /// The machine gives no thread.
    #[error("no thread can be started")]
    Threads(#[source] std::io::Error),
}

/// What is sent to the client, by any thread.
#[derive(Clone)]
pub(super) struct Outbox(Arc<Mutex<Box<dyn Write + Send>>>);

impl Outbox {
    pub(super) fn send(&self, frame: &[u8]) -> Result<(), FrameError> {
        let mut writer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        frame::write(&mut **writer, frame)
    }

    pub(super) fn say(&self, message: &FromHost) -> Result<(), FrameError> {
        self.send(&frame::of_message(message)?)
    }
}

/// What comes from the client, read by a thread of its own so that waiting for it can end.
pub(super) type Inbox = Receiver<Result<Option<Frame>, FrameError>>;

impl Session {
    /// A session with `hypervisor`.
    pub fn new(hypervisor: Arc<dyn Hypervisor>) -> Self {
        Self { hypervisor, images: None, limits: SessionLimits::default() }
    }

    /// With a place for images of its clients.
    pub fn with_images(self, images: Arc<dyn ImageReceiver>) -> Self {
        Self { images: Some(images), ..self }
    }

    /// With other limits.
    pub fn with_limits(self, limits: SessionLimits) -> Self {
        Self { limits, ..self }
    }

    /// Serves until the client ends the stream; calls that are under way then are finished first. After an error the
    /// thread that reads may still wait for `reader`: whoever owns the stream closes it. A `writer` that can block for
    /// ever, such as a socket, wants a time limit of its own.
    pub fn serve(
        &self,
        reader: impl Read + Send + 'static,
        writer: impl Write + Send + 'static,
    ) -> Result<(), SessionError> {
        let outbox = Outbox(Arc::new(Mutex::new(Box::new(writer))));
        let result = self.converse(reader, &outbox);
        if let Err(error) = &result {
            let mut message = error.to_string();
            if let SessionError::Stream(source) = error {
                message = source.to_string();
            }
            // Where the client cannot hear it any more, nobody wants to know.
            let _ = outbox.say(&FromHost::Fault(Fault { message }));
        }
        result
    }

    fn converse(&self, mut reader: impl Read + Send + 'static, outbox: &Outbox) -> Result<(), SessionError> {
        let mut greeting = PREAMBLE.to_vec();
        greeting.extend(frame::of_message(&Hello::ours())?);
        outbox.send(&greeting)?;
        // One frame is handed over while the next is read, and no more.
        let (hand_over, inbox) = sync_channel(0);
        let message_bytes_max = self.limits.message_bytes_max;
        let read = move || {
            if let Err(error) = frame::read_preamble(&mut reader) {
                let _ = hand_over.send(Err(error));
                return;
            }
            loop {
                let frame = frame::read_within(&mut reader, message_bytes_max);
                let is_last = !matches!(frame, Ok(Some(_)));
                if hand_over.send(frame).is_err() || is_last {
                    return;
                }
            }
        };
        thread::Builder::new().name("session reader".into()).spawn(read).map_err(SessionError::Threads)?;
        let Some(hello) = self.next(&inbox)? else { return Ok(()) };
        let Frame::Message(hello) = hello else {
            return Err(SessionError::Misuse("data came before the first message".into()));
        };
        let hello: Hello = frame::parse(&hello)?;
        Hello::ours().version_with(&hello).map_err(SessionError::Version)?;
        self.serve_calls(&inbox, outbox)
    }

    fn next(&self, inbox: &Inbox) -> Result<Option<Frame>, SessionError> {
        match inbox.recv_timeout(self.limits.silence_max) {
            Ok(frame) => Ok(frame?),
            Err(RecvTimeoutError::Timeout) => Err(SessionError::Silent(self.limits.silence_max)),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
        }
    }

    fn serve_calls(&self, inbox: &Inbox, outbox: &Outbox) -> Result<(), SessionError> {
        let mut workers: Option<Workers> = None;
        let result = loop {
            let message = match self.next(inbox) {
                Ok(Some(Frame::Message(message))) => message,
                Ok(Some(Frame::Data(_))) => break Err(SessionError::Misuse("data came where a call belongs".into())),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            };
            let done = match frame::parse(&message) {
                Ok(FromClient::Ping) => outbox.say(&FromHost::Here).map_err(SessionError::from),
                Ok(FromClient::Call { id, call }) => {
                    let started = match workers.take() {
                        Some(workers) => Ok(workers),
                        None => Workers::start(self, outbox),
                    };
                    started.and_then(|started| workers.insert(started).take_on(id, call))
                }
                Ok(FromClient::Console { name }) if workers.is_none() => {
                    break console::serve(&*self.hypervisor, &name, inbox, outbox);
                }
                Ok(FromClient::Upload { manifest }) if workers.is_none() => {
                    let (images, silence_max) = (self.images.as_ref(), self.limits.silence_max);
                    break upload::serve(images, &manifest, inbox, outbox, silence_max);
                }
                Ok(FromClient::Volume { name, volume, offset }) if workers.is_none() => {
                    break volume::serve(&*self.hypervisor, &name, &volume, offset, inbox, outbox);
                }
                Ok(FromClient::KeepAsImage { name, volume, image }) if workers.is_none() => {
                    let (images, what) = (self.images.as_ref(), (name.as_str(), volume.as_str(), image.as_str()));
                    break volume::serve_as_image(&*self.hypervisor, images, what, inbox, outbox);
                }
                Ok(
                    FromClient::Console { .. }
                    | FromClient::Upload { .. }
                    | FromClient::Volume { .. }
                    | FromClient::KeepAsImage { .. },
                ) => {
                    let reason = "a stream of calls cannot become one of a console, an image or a volume; open another";
                    Err(SessionError::Misuse(reason.into()))
                }
                Ok(FromClient::File { .. } | FromClient::Complete) => {
                    Err(SessionError::Misuse("a piece of an image came before its manifest".into()))
                }
                Err(error) => Err(error.into()),
            };
            if let Err(error) = done {
                break Err(error);
            }
        };
        if let Some(workers) = workers {
            workers.finish();
        }
        result
    }
}

/// Tells whoever wants a session why there is none.
pub(super) fn refuse(writer: &mut dyn Write, why: &str) -> Result<(), FrameError> {
    let mut words = PREAMBLE.to_vec();
    words.extend(frame::of_message(&Hello::ours())?);
    words.extend(frame::of_message(&FromHost::Fault(Fault { message: why.to_owned() }))?);
    frame::write(writer, &words)
}

/// The threads that do calls.
struct Workers {
    jobs: SyncSender<(u64, Call)>,
    under_way: Arc<AtomicUsize>,
    calls_max: usize,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Workers {
    fn start(session: &Session, outbox: &Outbox) -> Result<Self, SessionError> {
        let calls_max = session.limits.calls_max;
        let (jobs, queue) = sync_channel::<(u64, Call)>(calls_max);
        let queue = Arc::new(Mutex::new(queue));
        let under_way = Arc::new(AtomicUsize::new(0));
        let mut threads = Vec::new();
        for _ in 0..session.limits.workers.max(1) {
            let (queue, under_way, outbox) = (queue.clone(), under_way.clone(), outbox.clone());
            let hypervisor = session.hypervisor.clone();
            let work = move || {
                loop {
                    // The lock is held while waiting: whoever has it takes the next call.
                    let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok((id, call)) = job else { return };
                    let answer = answer(&*hypervisor, id, &call);
                    under_way.fetch_sub(1, Ordering::SeqCst);
                    // A client that is gone is noticed by the thread that reads.
                    let _ = outbox.send(&answer);
                }
            };
            let thread = thread::Builder::new().name("session worker".into()).spawn(work);
            threads.push(thread.map_err(SessionError::Threads)?);
        }
        Ok(Self { jobs, under_way, calls_max, threads })
    }

    fn take_on(&self, id: u64, call: Call) -> Result<(), SessionError> {
        let under_way = self.under_way.fetch_add(1, Ordering::SeqCst);
        let too_many = || SessionError::Misuse(format!("more than {} calls at once", self.calls_max));
        if under_way >= self.calls_max {
            return Err(too_many());
        }
        self.jobs.try_send((id, call)).map_err(|error| match error {
            TrySendError::Full(_) => too_many(),
            TrySendError::Disconnected(_) => SessionError::Misuse("the session is ending".into()),
        })
    }

    fn finish(self) {
        drop(self.jobs);
        for thread in self.threads {
            // A worker catches what a driver throws.
            let _ = thread.join();
        }
    }
}

/// The frame that answers a call.
fn answer(hypervisor: &dyn Hypervisor, id: u64, call: &Call) -> Vec<u8> {
    let failed = |reason: String| HypervisorError::Failed { operation: call.operation().into(), reason };
    let result = catch_unwind(AssertUnwindSafe(|| perform(hypervisor, call)))
        .unwrap_or_else(|_| Err(failed("a fault of the host's Tycoon; please report it".into())));
    frame::of_message(&FromHost::Answer { id, result }).unwrap_or_else(|error| {
        let result = Err(failed(format!("the answer cannot be sent: {error}")));
        // Short and of plain texts, so that it can always be written.
        frame::of_message(&FromHost::Answer { id, result }).unwrap_or_default()
    })
}

fn perform(host: &dyn Hypervisor, call: &Call) -> Result<Reply, HypervisorError> {
    Ok(match call {
        Call::Facts => Reply::Facts(host.facts()?),
        Call::Domains { now } => Reply::Domains(host.domains(*now)?),
        Call::Domain { name, now } => Reply::Domain(Box::new(host.domain(name, *now)?)),
        Call::EnsureImage { image } => Reply::Ensured(host.ensure_image(image)?),
        Call::EnsureVolumes { spec, ownership } => Reply::Ensured(host.ensure_volumes(spec, ownership)?),
        Call::Define { spec, ownership, now } => Reply::Ensured(host.define(spec, ownership, *now)?),
        Call::Start { name, now } => Reply::Ensured(host.start(name, *now)?),
        Call::Stop { name, grace_ms, now } => Reply::Ensured(host.stop(name, *grace_ms, *now)?),
        Call::Keep { name, kept, now } => Reply::Ensured(host.keep(name, kept, *now)?),
        Call::Suspend { name, now } => Reply::Ensured(host.suspend(name, *now)?),
        Call::Remove { name, now } => Reply::Ensured(host.remove(name, *now)?),
        Call::Listens { name, port, now } => Reply::Ensured(host.listens(name, *port, *now)?),
        Call::SetCpu { name, weight, cap_percent, now } => {
            host.set_cpu(name, *weight, *cap_percent, *now)?;
            Reply::Done
        }
        Call::SetMemory { name, memory_bytes, now } => {
            host.set_memory(name, *memory_bytes, *now)?;
            Reply::Done
        }
    })
}
