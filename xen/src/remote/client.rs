//! A hypervisor at the other end of a stream.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tycoon_market::Timestamp;

use super::connection::{Connection, NoAnswer};
use super::console::{self, OpenError};
use super::local::{LocalImage, LocalImages};
use super::message::{Call, Hello, Reply, VOLUMES_SINCE};
use super::stream::{ConnectError, Connector, Stream, greet};
use super::upload::{self, UploadError, UploadObserver, UploadProgress};
use super::volume::{self, Wanted};
use crate::hypervisor::{ConsoleStream, HostFacts, Hypervisor, HypervisorError, KEEPING_AS_IMAGE};
use crate::listening::listens_here;
use crate::save::VolumeStream;
use crate::spec::{DomainSpec, Ownership};
use crate::status::{DomainStatus, Kept};

/// How long what may take, and how often it is tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patience {
    /// The greeting on a new stream.
    pub greeting: Duration,
    /// After so long without anything to send, a ping is sent.
    pub ping: Duration,
    /// A host of which nothing is heard for so long is taken for gone: several pings.
    pub silence: Duration,
    /// Facts, domains, weights, definitions.
    pub short: Duration,
    /// A start, a removal, the opening of a console; a stop beyond its grace.
    pub long: Duration,
    /// Images and volumes: all their bytes are copied.
    pub copying: Duration,
    /// The pauses between attempts to connect; one attempt more than there are pauses.
    pub pauses: Vec<Duration>,
    /// How long a host that could not be reached is not tried again; those who call meanwhile hear the same.
    pub rest: Duration,
    /// The same for what does not pass by itself, such as a wrong key.
    pub long_rest: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            greeting: seconds(30),
            ping: seconds(15),
            silence: seconds(60),
            short: seconds(60),
            long: seconds(300),
            copying: seconds(3_600),
            pauses: vec![Duration::from_millis(300), seconds(2)],
            rest: seconds(5),
            long_rest: seconds(60),
        }
    }
}

impl Patience {
    fn with(&self, call: &Call) -> Duration {
        match call {
            Call::Facts
            | Call::Domains { .. }
            | Call::Domain { .. }
            | Call::Define { .. }
            | Call::Listens { .. }
            | Call::SetCpu { .. }
            | Call::SetMemory { .. } => self.short,
            Call::Start { .. } | Call::Suspend { .. } | Call::Remove { .. } | Call::Keep { .. } => self.long,
            Call::Stop { grace_ms, .. } => self.long.saturating_add(Duration::from_millis(*grace_ms)),
            Call::EnsureImage { .. } | Call::EnsureVolumes { .. } => self.copying,
        }
    }
}

/// A hypervisor somewhere else. Any number of threads may use it at once.
///
/// It connects when it is first asked. When the connection breaks, it connects again and asks once more, changes too:
/// every change says what shall be, so that doing it twice is doing it once. Only the answer "something had to be done"
/// may then be lost. What does not come about is [`HypervisorError::Failed`], with the host's name and what is known.
pub struct RemoteHypervisor {
    connector: Arc<dyn Connector>,
    patience: Patience,
    images: Arc<LocalImages>,
    observer: Option<Arc<dyn UploadObserver>>,
    /// One image is sent at a time: two would only share the way.
    uploading: Mutex<()>,
    state: Mutex<State>,
    closed: Condvar,
}

#[derive(Default)]
struct State {
    connection: Option<Arc<Connection>>,
    failure: Option<(ConnectError, Instant)>,
    is_connecting: bool,
    is_closed: bool,
}

impl fmt::Debug for RemoteHypervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteHypervisor").field("host", &self.connector.host()).finish_non_exhaustive()
    }
}

impl RemoteHypervisor {
    /// The hypervisor that streams of `connector` lead to.
    pub fn over(connector: Arc<dyn Connector>) -> Self {
        Self {
            connector,
            patience: Patience::default(),
            images: Arc::default(),
            observer: None,
            uploading: Mutex::default(),
            state: Mutex::default(),
            closed: Condvar::new(),
        }
    }

    /// With images that lie here: the host can provide them too, for it is sent what it lacks.
    pub fn with_images(self, images: Arc<LocalImages>) -> Self {
        Self { images, ..self }
    }

    /// With somebody who watches uploads and may break them off.
    pub fn with_observer(self, observer: Arc<dyn UploadObserver>) -> Self {
        Self { observer: Some(observer), ..self }
    }

    /// With other patience.
    pub fn with_patience(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }

    /// Ends the connection. Whoever waits for an answer, or calls later, hears that it is closed.
    pub fn close(&self) {
        let mut state = self.state();
        state.is_closed = true;
        let connection = state.connection.take();
        drop(state);
        self.closed.notify_all();
        if let Some(connection) = connection {
            connection.end("it was closed here".into());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection, made where there is none. One thread connects; the others wait for what comes of it.
    fn connection(&self) -> Result<Arc<Connection>, ConnectError> {
        let mut state = self.state();
        while state.is_connecting {
            state = self.closed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.is_closed {
            return Err(ConnectError { message: "the connection was closed here".into(), is_lasting: true });
        }
        if let Some(connection) = state.connection.as_ref().filter(|connection| connection.broken().is_none()) {
            return Ok(connection.clone());
        }
        if let Some((error, until)) = &state.failure
            && Instant::now() < *until
        {
            return Err(error.clone());
        }
        let old = state.connection.take();
        state.is_connecting = true;
        drop(state);
        drop(old);
        let result = self.connect();
        let mut state = self.state();
        state.is_connecting = false;
        state.failure = result.as_ref().err().map(|error| {
            let rest = if error.is_lasting { self.patience.long_rest } else { self.patience.rest };
            (error.clone(), Instant::now() + rest)
        });
        if let Ok(connection) = &result
            && !state.is_closed
        {
            state.connection = Some(connection.clone());
        }
        self.closed.notify_all();
        result
    }

    fn connect(&self) -> Result<Arc<Connection>, ConnectError> {
        let stream = greeted_with_pauses(&*self.connector, &self.patience, &|pause| self.rest(pause))?.0;
        Connection::start(stream, self.patience.ping, self.patience.silence)
            .map(Arc::new)
            .map_err(|error| ConnectError { message: format!("no thread: {error}"), is_lasting: false })
    }

    /// Waits before the next attempt to connect. True where it is closed meanwhile.
    fn rest(&self, pause: Duration) -> bool {
        let wait = self.closed.wait_timeout_while(self.state(), pause, |state| !state.is_closed);
        wait.unwrap_or_else(PoisonError::into_inner).0.is_closed
    }

    fn greeted(&self) -> Result<Stream, ConnectError> {
        Ok(greeted(&*self.connector, &self.patience)?.0)
    }

    fn failed(&self, call: &str, reason: &str) -> HypervisorError {
        HypervisorError::Failed {
            operation: call.to_owned().into(),
            reason: format!("host {}: {reason}", self.connector.host()),
        }
    }

    fn ask(&self, call: &Call) -> Result<Reply, HypervisorError> {
        let failed = |reason: &str| self.failed(call.operation(), reason);
        let patience = self.patience.with(call);
        let mut has_tried = false;
        loop {
            let connection = self.connection().map_err(|error| failed(&error.message))?;
            match connection.call(call, patience) {
                Ok(answer) => return answer,
                Err(NoAnswer::Broken(_)) if !has_tried => has_tried = true,
                Err(NoAnswer::Broken(why)) => {
                    return Err(failed(&format!(
                        "the connection broke twice ({why}); whether it is done is not known"
                    )));
                }
                Err(NoAnswer::Late) => {
                    let seconds = patience.as_secs_f64();
                    return Err(failed(&format!("no answer within {seconds} s; the host may still be at it")));
                }
                Err(NoAnswer::Unsendable(why)) => return Err(failed(&format!("it cannot be asked: {why}"))),
            }
        }
    }

    /// The host has the image. True where it had to be sent. An upload that breaks goes on where it ended, as long as
    /// every attempt gets anything across.
    fn upload(&self, image: &LocalImage) -> Result<bool, HypervisorError> {
        let name = &image.manifest.name;
        let operation = format!("sending the image `{name}`");
        let failed = |reason: &str| self.failed(&operation, reason);
        let _turn = self.uploading.lock().unwrap_or_else(PoisonError::into_inner);
        let mut watch = |sent_bytes| {
            let total_bytes = image.manifest.files().fold(0_u64, |sum, (_, file)| sum.saturating_add(file.bytes));
            let progress = UploadProgress { host: self.connector.host(), image: name, sent_bytes, total_bytes };
            let is_closed = self.state().is_closed;
            match &self.observer {
                _ if is_closed => ControlFlow::Break(()),
                Some(observer) => observer.progress(&progress),
                None => ControlFlow::Continue(()),
            }
        };
        let mut idle_attempts = 0;
        loop {
            let greeted = greeted_with_pauses(&*self.connector, &self.patience, &|pause| self.rest(pause));
            let stream = greeted.map_err(|error| failed(&error.message))?.0;
            match upload::send(stream, image, self.patience.silence, &mut watch) {
                Ok(is_new) => return Ok(is_new),
                Err(UploadError::Broken(_, true)) => idle_attempts = 0,
                Err(UploadError::Broken(_, false)) if idle_attempts < self.patience.pauses.len() => idle_attempts += 1,
                Err(UploadError::Broken(why, false)) => {
                    let reason = format!("the connection broke ({why}); what has arrived stays there, so try again");
                    return Err(failed(&reason));
                }
                Err(UploadError::Refused(error)) => return Err(error),
                Err(UploadError::Cancelled) => {
                    return Err(failed("it was broken off; what has arrived stays there for the next time"));
                }
                Err(UploadError::File(reason)) => return Err(failed(&reason)),
            }
        }
    }

    /// The host has an image that lies here. True where it had to be sent; false too where no such image lies here.
    pub fn bring(&self, image: &str) -> Result<bool, HypervisorError> {
        let local = self.images.get(image).map_err(|error| self.failed("fetching the image", &error.to_string()))?;
        Ok(local.map(|local| self.upload(&local)).transpose()?.unwrap_or(false))
    }

    fn ensure(&self, call: &Call) -> Result<bool, HypervisorError> {
        match self.ask(call)? {
            Reply::Ensured(is_changed) => Ok(is_changed),
            other => Err(self.nonsense(call, &other)),
        }
    }

    fn set(&self, call: &Call) -> Result<(), HypervisorError> {
        match self.ask(call)? {
            Reply::Done => Ok(()),
            other => Err(self.nonsense(call, &other)),
        }
    }

    fn nonsense(&self, call: &Call, reply: &Reply) -> HypervisorError {
        let kind = match reply {
            Reply::Facts(_) => "facts",
            Reply::Domains(_) => "a list of domains",
            Reply::Domain(_) => "a domain",
            Reply::Ensured(_) => "yes or no",
            Reply::Done => "done",
        };
        self.failed(call.operation(), &format!("the answer makes no sense: it is {kind}"))
    }
}

/// A stream on which both sides have said who they are.
fn greeted(connector: &dyn Connector, patience: &Patience) -> Result<(Stream, Hello), ConnectError> {
    let mut stream = connector.open()?;
    let theirs = greet(&mut stream, patience.greeting)?;
    Ok((stream, theirs))
}

/// The same, tried for as often as patience says. `rest` waits between two attempts, and says whether to give up.
fn greeted_with_pauses(
    connector: &dyn Connector,
    patience: &Patience,
    rest: &dyn Fn(Duration) -> bool,
) -> Result<(Stream, Hello), ConnectError> {
    let mut pauses = patience.pauses.iter();
    loop {
        match (greeted(connector, patience), pauses.next()) {
            (Ok(greeted), _) => return Ok(greeted),
            (Err(error), Some(pause)) if !error.is_lasting => {
                if rest(*pause) {
                    return Err(error);
                }
            }
            (Err(error), _) => return Err(error),
        }
    }
}

/// A stream to a host that knows of volumes; `operation` is what is wanted of it.
fn stream_for_volumes(
    connector: &dyn Connector,
    patience: &Patience,
    operation: &'static str,
) -> Result<Stream, HypervisorError> {
    let host = connector.host();
    let rest = |pause| {
        std::thread::sleep(pause);
        false
    };
    let (stream, theirs) = greeted_with_pauses(connector, patience, &rest).map_err(|error| {
        HypervisorError::Failed { operation: operation.into(), reason: format!("host {host}: {}", error.message) }
    })?;
    if theirs.protocol >= VOLUMES_SINCE {
        return Ok(stream);
    }
    (stream.close)();
    let program: String = theirs.program.chars().filter(|c| !c.is_control()).take(60).collect();
    Err(HypervisorError::Refused {
        operation: operation.into(),
        reason: format!(
            "host {host} has {program}, which is too old to send volumes; its owner installs a newer Tycoon there"
        ),
    })
}

impl Hypervisor for RemoteHypervisor {
    fn facts(&self) -> Result<HostFacts, HypervisorError> {
        match self.ask(&Call::Facts)? {
            Reply::Facts(mut facts) => {
                facts.images.extend(self.images.names().map(str::to_owned));
                facts.images.sort_unstable();
                facts.images.dedup();
                Ok(facts)
            }
            other => Err(self.nonsense(&Call::Facts, &other)),
        }
    }

    fn domains(&self, now: Timestamp) -> Result<Vec<DomainStatus>, HypervisorError> {
        let call = Call::Domains { now };
        match self.ask(&call)? {
            Reply::Domains(domains) => Ok(domains),
            other => Err(self.nonsense(&call, &other)),
        }
    }

    fn domain(&self, name: &str, now: Timestamp) -> Result<Option<DomainStatus>, HypervisorError> {
        let call = Call::Domain { name: name.to_owned(), now };
        match self.ask(&call)? {
            Reply::Domain(domain) => Ok(*domain),
            other => Err(self.nonsense(&call, &other)),
        }
    }

    fn ensure_image(&self, image: &str) -> Result<bool, HypervisorError> {
        let call = Call::EnsureImage { image: image.to_owned() };
        let was_sent = self.bring(image)?;
        Ok(self.ensure(&call)? || was_sent)
    }

    fn ensure_volumes(&self, spec: &DomainSpec, ownership: &Ownership) -> Result<bool, HypervisorError> {
        let (spec, ownership) = (Box::new(spec.clone()), Box::new(ownership.clone()));
        self.ensure(&Call::EnsureVolumes { spec, ownership })
    }

    fn define(&self, spec: &DomainSpec, ownership: &Ownership, now: Timestamp) -> Result<bool, HypervisorError> {
        let (spec, ownership) = (Box::new(spec.clone()), Box::new(ownership.clone()));
        self.ensure(&Call::Define { spec, ownership, now })
    }

    fn start(&self, name: &str, now: Timestamp) -> Result<bool, HypervisorError> {
        self.ensure(&Call::Start { name: name.to_owned(), now })
    }

    fn stop(&self, name: &str, grace_ms: u64, now: Timestamp) -> Result<bool, HypervisorError> {
        self.ensure(&Call::Stop { name: name.to_owned(), grace_ms, now })
    }

    fn suspend(&self, name: &str, now: Timestamp) -> Result<bool, HypervisorError> {
        self.ensure(&Call::Suspend { name: name.to_owned(), now })
    }

    fn remove(&self, name: &str, now: Timestamp) -> Result<bool, HypervisorError> {
        self.ensure(&Call::Remove { name: name.to_owned(), now })
    }

    fn keep(&self, name: &str, kept: &Kept, now: Timestamp) -> Result<bool, HypervisorError> {
        self.ensure(&Call::Keep { name: name.to_owned(), kept: Box::new(kept.clone()), now })
    }

    fn listens(&self, name: &str, port: u16, now: Timestamp) -> Result<bool, HypervisorError> {
        if self.connector.is_here() {
            return listens_here(self, name, port, now);
        }
        self.ensure(&Call::Listens { name: name.to_owned(), port, now })
    }

    fn set_cpu(&self, name: &str, weight: u16, cap_percent: u32, now: Timestamp) -> Result<(), HypervisorError> {
        self.set(&Call::SetCpu { name: name.to_owned(), weight, cap_percent, now })
    }

    fn set_memory(&self, name: &str, memory_bytes: u64, now: Timestamp) -> Result<(), HypervisorError> {
        self.set(&Call::SetMemory { name: name.to_owned(), memory_bytes, now })
    }

    fn open_console(&self, name: &str) -> Result<ConsoleStream, HypervisorError> {
        let failed = |reason: &str| self.failed("opening the console", reason);
        let stream = self.greeted().map_err(|error| failed(&error.message))?;
        console::open(stream, name, self.patience.long).map_err(|error| match error {
            OpenError::Refused(error) => error,
            OpenError::Stream(error) => failed(&error.to_string()),
            OpenError::Late => failed(&format!("no answer within {} s", self.patience.long.as_secs_f64())),
        })
    }

    fn open_volume(&self, name: &str, volume: &str) -> Result<VolumeStream, HypervisorError> {
        let (connector, patience) = (self.connector.clone(), self.patience.clone());
        let open = move || stream_for_volumes(&*connector, &patience, "reading a volume");
        let wanted = Wanted {
            name: name.to_owned(),
            volume: volume.to_owned(),
            silence_max: self.patience.silence,
            idle_attempts_max: self.patience.pauses.len(),
        };
        volume::open(Box::new(open), wanted)
    }

    fn keep_as_image(&self, name: &str, volume: &str, image: &str) -> Result<bool, HypervisorError> {
        let stream = stream_for_volumes(&*self.connector, &self.patience, KEEPING_AS_IMAGE)?;
        volume::keep_as_image(stream, (name, volume, image), self.patience.copying)
    }
}
