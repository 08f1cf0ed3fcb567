//! The client's side of a stream of calls: any number of threads call, each waits for its own answer.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::frame::{self, Frame, FrameError};
use super::message::{Call, FromClient, FromHost, Reply};
use super::stream::Stream;
use crate::hypervisor::HypervisorError;

/// Calls under way at once; others wait for their turn. The host takes twice as many.
const CALLS_MAX: usize = 32;
/// Frames that wait to be sent: all calls, those given up among them, and pings.
const OUTGOING_MAX: usize = 2 * CALLS_MAX;
/// How long the last words of a host are waited for.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A stream of calls.
pub(super) struct Connection {
    outgoing: SyncSender<Vec<u8>>,
    shared: Arc<Shared>,
    close: Arc<dyn Fn() + Send + Sync>,
    silence_max: Duration,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NoAnswer {
    /// The connection is broken. Whether the call was done is not known.
    Broken(String),
    /// The host is there, and has not answered in time.
    Late,
    /// The call cannot be sent at all.
    Unsendable(String),
}

type Answer = Result<Reply, HypervisorError>;

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    next_id: u64,
    waiting: BTreeMap<u64, SyncSender<Answer>>,
    /// Calls given up whose answers may still come; the host works on them.
    given_up: usize,
    last_heard: Instant,
    ended: Option<String>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All who wait are told; nobody waits any more.
    fn end(&self, why: String) {
        let mut state = self.state();
        state.ended.get_or_insert(why);
        // Their receivers find the other end gone.
        state.waiting.clear();
        self.changed.notify_all();
    }
}

impl Connection {
    /// Takes over a stream that was greeted.
    pub(super) fn start(stream: Stream, ping: Duration, silence_max: Duration) -> std::io::Result<Self> {
        let Stream { reader, writer, close, complaint } = stream;
        let (outgoing, queue) = sync_channel(OUTGOING_MAX);
        let state =
            State { next_id: 1, waiting: BTreeMap::new(), given_up: 0, last_heard: Instant::now(), ended: None };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let connection = Self { outgoing, shared: shared.clone(), close, silence_max };
        let of_writer = shared.clone();
        thread::Builder::new().name("host writer".into()).spawn(move || send_all(writer, &queue, ping, &of_writer))?;
        thread::Builder::new().name("host reader".into()).spawn(move || {
            let why = receive_all(reader, &shared);
            shared.end(complaint().map_or(why.clone(), |text| format!("{why}: {text}")));
        })?;
        Ok(connection)
    }

    /// Why it does not work any more, where it does not.
    pub(super) fn broken(&self) -> Option<String> {
        let state = self.shared.state();
        let silence = state.last_heard.elapsed();
        state.ended.clone().or_else(|| (silence > self.silence_max).then(|| silent(silence)))
    }

    /// Calls and waits for the answer.
    pub(super) fn call(&self, call: &Call, patience: Duration) -> Result<Answer, NoAnswer> {
        let deadline = Instant::now() + patience;
        let (tell, told) = sync_channel(1);
        let id = self.register(tell, deadline)?;
        let frame = frame::of_message(&FromClient::Call { id, call: call.clone() }).map_err(|error| {
            self.shared.state().waiting.remove(&id);
            NoAnswer::Unsendable(error.to_string())
        })?;
        match self.outgoing.try_send(frame) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err(self.give_up("the host takes nothing more".into())),
            Err(TrySendError::Disconnected(_)) => {
                // Nothing can be written. What is still to be read says why, so it gets a moment to come.
                let state = self.shared.state();
                let wait = self.shared.changed.wait_timeout_while(state, LAST_WORDS, |state| state.ended.is_none());
                drop(wait);
                return Err(self.give_up("the stream ended".into()));
            }
        }
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match told.recv_timeout(left.min(self.silence_max)) {
                Ok(answer) => return Ok(answer),
                Err(RecvTimeoutError::Disconnected) => return Err(self.why_ended()),
                Err(RecvTimeoutError::Timeout) => {
                    if let Some(why) = self.broken() {
                        return Err(self.give_up(why));
                    }
                    if Instant::now() >= deadline {
                        let mut state = self.shared.state();
                        state.waiting.remove(&id);
                        state.given_up += 1;
                        return Err(NoAnswer::Late);
                    }
                }
            }
        }
    }

    /// Waits for its turn and gets an id.
    fn register(&self, tell: SyncSender<Answer>, deadline: Instant) -> Result<u64, NoAnswer> {
        let mut state = self.shared.state();
        loop {
            if let Some(why) = &state.ended {
                return Err(NoAnswer::Broken(why.clone()));
            }
            if state.waiting.len() + state.given_up < CALLS_MAX {
                let id = state.next_id;
                state.next_id += 1;
                state.waiting.insert(id, tell);
                return Ok(id);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(NoAnswer::Late);
            }
            let (guard, _) = self.shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
            state = guard;
        }
    }

    /// Ends it; whoever waits is told why.
    pub(super) fn end(&self, why: String) {
        self.shared.end(why);
        (self.close)();
    }

    fn give_up(&self, why: String) -> NoAnswer {
        self.end(why);
        self.why_ended()
    }

    fn why_ended(&self) -> NoAnswer {
        NoAnswer::Broken(self.shared.state().ended.clone().unwrap_or_else(|| "the stream ended".into()))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        (self.close)();
    }
}

fn silent(silence: Duration) -> String {
    format!("nothing was heard for {} s", silence.as_secs())
}

/// Sends what is to be sent, and a ping where there is nothing.
fn send_all(mut writer: Box<dyn Write + Send>, queue: &Receiver<Vec<u8>>, ping: Duration, shared: &Shared) {
    loop {
        let frame = match queue.recv_timeout(ping) {
            Ok(frame) => Ok(frame),
            Err(RecvTimeoutError::Timeout) => frame::of_message(&FromClient::Ping),
            Err(RecvTimeoutError::Disconnected) => return,
        };
        if let Err(error) = frame.and_then(|frame| frame::write(&mut *writer, &frame)) {
            // The reader may know better why: what the host said last comes before the end of its stream. So only
            // this side's end is closed, and who waits is told when the reader ends or hears nothing for too long.
            if !matches!(error, FrameError::Broken(_)) {
                shared.end(error.to_string());
            }
            return;
        }
    }
}

/// Hands answers to those who wait for them; why it ended.
fn receive_all(mut reader: Box<dyn Read + Send>, shared: &Shared) -> String {
    loop {
        let message = match frame::read(&mut *reader) {
            Ok(Some(Frame::Message(message))) => message,
            Ok(Some(Frame::Data(_))) => return "it sent data where an answer belongs".into(),
            Ok(None) => return "it ended the connection".into(),
            Err(error) => return error.to_string(),
        };
        let message = match frame::parse(&message) {
            Ok(message) => message,
            Err(error) => return error.to_string(),
        };
        let mut state = shared.state();
        state.last_heard = Instant::now();
        match message {
            FromHost::Here => {}
            FromHost::Answer { id, result } => {
                match state.waiting.remove(&id) {
                    // Who gave up just now hears nothing.
                    Some(tell) => drop(tell.try_send(result)),
                    None => state.given_up = state.given_up.saturating_sub(1),
                }
                shared.changed.notify_all();
            }
            FromHost::Fault(fault) => return fault.message,
            FromHost::Opened
            | FromHost::Closed
            | FromHost::Blocks { .. }
            | FromHost::Whole { .. }
            | FromHost::Have { .. }
            | FromHost::Stored { .. }
            | FromHost::Refused { .. } => {
                return "it sent something of a console or an image where an answer belongs".into();
            }
        }
    }
}
