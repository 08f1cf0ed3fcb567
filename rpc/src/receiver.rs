//! The side that answers: it checks what comes in, hands it on, and signs what goes out.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderValue, Request, Response, StatusCode, header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tycoon_market::{PublicKey, Timestamp};

use crate::clock::Clock;
use crate::events::EventStream;
use crate::keys::Signer;
use crate::limits::Limits;
use crate::problem::Problem;
use crate::query::Query;
use crate::replay::{ReplayError, ReplayGuard, ReplayPolicy};
use crate::replay_mark::{MarkError, MarkStore};
use crate::reply::SharedSignatures;
use crate::request::{self, Signed};
use crate::signature::{SIGNATURE, SIGNATURE_INPUT, SignatureError, once};
use crate::trouble::{of_disk, with_causes};
use crate::verifiers::Verifiers;
use crate::{PROTOCOL_HEADER, PROTOCOL_VERSIONS};

/// Requests of one sender that are worked on at a time, unless told otherwise; further ones are refused.
pub const IN_FLIGHT_PER_SENDER_MAX: usize = 64;

/// The gate of a service.
pub struct Receiver {
    signer: Arc<dyn Signer>,
    clock: Arc<dyn Clock>,
    guard: Mutex<Gate>,
    verifiers: Verifiers,
    shared_signatures: SharedSignatures,
    limits: Limits,
    marks: Option<Arc<dyn MarkStore>>,
    in_flight: Mutex<HashMap<PublicKey, usize>>,
    in_flight_max: usize,
}

struct Gate {
    guard: ReplayGuard,
    /// Up to where the mark on disk reaches.
    marked: Timestamp,
    /// True where the mark could not be moved the last time.
    is_stuck: bool,
}

/// A sender's place among her requests that are worked on.
struct Place<'a> {
    receiver: &'a Receiver,
    sender: PublicKey,
}

impl fmt::Debug for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place(of {})", self.sender.fingerprint())
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut in_flight = self.receiver.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = in_flight.get_mut(&self.sender) {
            *count -= 1;
            if *count == 0 {
                in_flight.remove(&self.sender);
            }
        }
    }
}

/// A request that passed the gate.
#[derive(Debug)]
pub struct Call<'a> {
    /// The request.
    pub request: &'a Request<Vec<u8>>,
    /// Its query.
    pub query: Query,
    /// Its signature; `None` for a request without one.
    pub signed: Option<Signed>,
    /// When it arrived.
    pub now: Timestamp,
    /// Held until the request is answered.
    _place: Option<Place<'a>>,
}

impl Call<'_> {
    /// Who signed the request; a refusal for one that is not signed.
    pub fn sender(&self) -> Result<PublicKey, Problem> {
        self.signed.as_ref().map(|signed| signed.sender).ok_or_else(|| {
            unauthorized("call.unsigned", "The call must be signed")
                .detail("the request has no signature labelled `tycoon`")
        })
    }

    /// The parts of the path between its slashes.
    pub fn path(&self) -> Vec<&str> {
        self.request.uri().path().split('/').filter(|part| !part.is_empty()).collect()
    }

    /// The body, read as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        serde_json::from_slice(self.request.body()).map_err(|error| {
            Problem::new(StatusCode::BAD_REQUEST, "call.malformed", "The call is malformed")
                .detail(format_args!("the body is not what this call takes: {error}"))
        })
    }

    /// The value of a name in the query, read as a `T`.
    pub fn query<T: std::str::FromStr<Err: std::fmt::Display>>(&self, name: &str) -> Result<Option<T>, Problem> {
        self.query.read(name).map_err(malformed)
    }

    /// The refusal of a path or method that the service does not have.
    pub fn no_such_call(&self) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "call.not-found", "There is no such call").detail(format_args!(
            "{} {}",
            self.request.method(),
            self.request.uri().path()
        ))
    }
}

/// `value` as a JSON response.
pub fn json<T: Serialize>(value: &T) -> Result<Response<Vec<u8>>, Problem> {
    let body = serde_json::to_vec(value).map_err(|error| {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "call.unencodable", "The answer could not be written")
            .detail(error)
    })?;
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

impl Receiver {
    /// The gate of the service that signs with `signer`, started now.
    pub fn new(signer: Arc<dyn Signer>, clock: Arc<dyn Clock>, policy: ReplayPolicy, limits: Limits) -> Self {
        let guard = ReplayGuard::new(policy, clock.now());
        let gate = Gate { guard, marked: Timestamp::from_micros(i64::MIN), is_stuck: false };
        Self {
            signer,
            clock,
            guard: Mutex::new(gate),
            verifiers: Verifiers::default(),
            shared_signatures: SharedSignatures::default(),
            limits,
            marks: None,
            in_flight: Mutex::default(),
            in_flight_max: IN_FLIGHT_PER_SENDER_MAX,
        }
    }

    /// The same gate, which keeps in `marks` up to where it accepted, and takes what is later than `mark`, the last one
    /// kept, at once after a restart.
    #[must_use]
    pub fn with_marks(mut self, marks: Arc<dyn MarkStore>, mark: Option<Timestamp>) -> Self {
        self.marks = Some(marks);
        let gate = self.guard.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(mark) = mark {
            gate.guard.set_mark(mark);
            gate.marked = mark;
        }
        self
    }

    /// The same gate with another bound on the requests of one sender that are worked on at a time.
    #[must_use]
    pub const fn with_in_flight_max(mut self, in_flight_max: usize) -> Self {
        self.in_flight_max = in_flight_max;
        self
    }

    /// Whether calls can be accepted; why not, otherwise.
    pub fn check(&self) -> Result<(), String> {
        let mut gate = self.guard.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(marks) = self.marks.as_ref().filter(|_| gate.is_stuck) else { return Ok(()) };
        // Nobody may call any more, so that it is tried here too.
        marks.save(gate.marked).map_err(|error| with_causes(&error))?;
        gate.is_stuck = false;
        Ok(())
    }

    /// The key that signs the replies.
    pub fn public_key(&self) -> PublicKey {
        self.signer.public_key()
    }

    /// Checks `request`, lets `answer` answer it, and signs the reply. `knows` says whether a sender has a share
    /// of her own of what is remembered against replays.
    ///
    /// A request without any signature passes too; `answer` refuses it by asking for [`Call::sender`].
    pub fn serve(
        &self,
        request: Request<Vec<u8>>,
        knows: impl FnOnce(&PublicKey) -> bool,
        answer: impl FnOnce(&Call<'_>) -> Result<Response<Vec<u8>>, Problem>,
    ) -> Response<Vec<u8>> {
        let call = self.admit(&request, knows);
        let answered = call.and_then(|call| answer(&call));
        self.reply(&request, answered)
    }

    /// The signed reply to `request`.
    pub fn reply(&self, request: &Request<Vec<u8>>, answered: Result<Response<Vec<u8>>, Problem>) -> Response<Vec<u8>> {
        let mut response = answered.unwrap_or_else(|problem| problem.response());
        if matches!(response.status(), StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS)
            && !response.headers().contains_key(header::RETRY_AFTER)
        {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if response.extensions().get::<EventStream>().is_some() {
            // What is still to come cannot be signed now.
            return response;
        }
        match self.shared_signatures.sign(&mut response, request, &*self.signer, self.clock.now()) {
            Ok(()) => response,
            Err(error) => {
                Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "call.unsignable", "The answer could not be signed")
                    .detail(error)
                    .response()
            }
        }
    }

    /// Checks `request`: what [`serve`](Self::serve) begins with. Its sender has a place among those that are worked on for
    /// as long as the call is kept.
    pub fn admit<'a>(
        &'a self,
        request: &'a Request<Vec<u8>>,
        knows: impl FnOnce(&PublicKey) -> bool,
    ) -> Result<Call<'a>, Problem> {
        let now = self.clock.now();
        let excess = self
            .limits
            .excess(request.headers(), request.body())
            .or_else(|| self.limits.excess_of_head(request.uri(), request.headers()));
        if let Some(excess) = excess {
            return Err(
                Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "call.too-large", "The call is too large").detail(excess)
            );
        }
        let query = Query::parse(request.uri().query().unwrap_or_default()).map_err(malformed)?;
        let is_signed = request.headers().contains_key(SIGNATURE) || request.headers().contains_key(SIGNATURE_INPUT);
        if !is_signed {
            return Ok(Call { request, query, signed: None, now, _place: None });
        }
        let signed = request::verify(request, &self.signer.public_key(), &self.verifiers).map_err(refused_signature)?;
        let version = once(request.headers(), PROTOCOL_HEADER).map_err(refused_signature)?.unwrap_or_default();
        if !version.parse().is_ok_and(|version: u32| PROTOCOL_VERSIONS.contains(&version)) {
            let versions = format!("{} to {}", PROTOCOL_VERSIONS.start(), PROTOCOL_VERSIONS.end());
            return Err(Problem::new(
                StatusCode::BAD_REQUEST,
                "call.version",
                "The protocol version is not spoken here",
            )
            .detail(format_args!("this service speaks {versions}"))
            .help("update the older of the two programs"));
        }
        let known = knows(&signed.sender);
        // Before the guard, which remembers what it lets through: what is refused here may be sent again as it is.
        let place = self.place(signed.sender)?;
        let mut gate = self.guard.lock().unwrap_or_else(PoisonError::into_inner);
        gate.guard.accept(signed.sender, known, signed.created, signed.nonce, now).map_err(refused_replay)?;
        if let Some(marks) = &self.marks
            && signed.created > gate.marked
        {
            let mark = signed.created;
            let saved = marks.save(mark);
            gate.is_stuck = saved.is_err();
            saved.map_err(|error| unmarked(&error))?;
            gate.marked = mark;
        }
        drop(gate);
        Ok(Call { request, query, signed: Some(signed), now, _place: Some(place) })
    }

    /// A place among the requests of `sender` that are worked on.
    fn place(&self, sender: PublicKey) -> Result<Place<'_>, Problem> {
        let mut in_flight = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        let count = in_flight.entry(sender).or_default();
        if *count >= self.in_flight_max {
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "call.too-many", "Too many calls at a time")
                .detail(format_args!("{} calls of this key are worked on already", self.in_flight_max))
                .help("wait for their answers"));
        }
        *count += 1;
        Ok(Place { receiver: self, sender })
    }
}

fn unauthorized(code: &str, title: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, code, title)
}

fn unmarked(error: &MarkError) -> Problem {
    tracing::error!(error = with_causes(error), "the replay mark is not kept, so nothing can be accepted");
    let why = match error {
        MarkError::Io { source, .. } => of_disk(source),
        MarkError::Damaged { .. } => "its mark is damaged",
    };
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "call.unmarked", "The service cannot work")
        .detail(format_args!("it cannot remember which calls it accepted: {why}; nothing was done"))
        .help("try again later; its operator finds the reason in its log")
}

fn malformed(error: impl std::fmt::Display) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "call.malformed", "The call is malformed").detail(error)
}

fn refused_signature(error: SignatureError) -> Problem {
    match error {
        SignatureError::Recipient { .. } => {
            Problem::new(StatusCode::MISDIRECTED_REQUEST, "call.recipient", "The call is meant for somebody else")
                .detail(error)
                .help("compare the service's key with the one in your configuration; if it was replaced on purpose, pin the new one")
        }
        error => unauthorized("call.signature", "The call's signature is not accepted").detail(error),
    }
}

fn refused_replay(error: ReplayError) -> Problem {
    let (status, code) = match error {
        ReplayError::TooOld { .. } => (StatusCode::UNAUTHORIZED, "call.too-old"),
        ReplayError::FromTheFuture { .. } => (StatusCode::UNAUTHORIZED, "call.from-the-future"),
        ReplayError::Seen => (StatusCode::UNAUTHORIZED, "call.seen"),
        ReplayError::Restarting { .. } => (StatusCode::SERVICE_UNAVAILABLE, "call.restarting"),
        ReplayError::Busy { .. } => (StatusCode::TOO_MANY_REQUESTS, "call.busy"),
    };
    let problem = Problem::new(status, code, "The call is not fresh").detail(error);
    match error {
        ReplayError::Restarting { wait } => problem.with("wait_micros", wait.micros()),
        _ => problem,
    }
}
