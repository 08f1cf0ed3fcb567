//! The side that answers: it checks what comes in, hands it on, and signs what goes out.

use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderValue, Request, Response, StatusCode, header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tycoon_market::{PublicKey, Timestamp};

use crate::clock::Clock;
use crate::keys::Signer;
use crate::limits::Limits;
use crate::problem::Problem;
use crate::query::Query;
use crate::replay::{ReplayError, ReplayGuard, ReplayPolicy};
use crate::request::{self, Signed};
use crate::signature::{SIGNATURE, SIGNATURE_INPUT, SignatureError, once};
use crate::{PROTOCOL_HEADER, PROTOCOL_VERSIONS, reply};

/// The gate of a service.
pub struct Receiver {
    signer: Arc<dyn Signer>,
    clock: Arc<dyn Clock>,
    guard: Mutex<ReplayGuard>,
    limits: Limits,
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
        let guard = Mutex::new(ReplayGuard::new(policy, clock.now()));
        Self { signer, clock, guard, limits }
    }

    /// The key that signs the replies.
    pub fn public_key(&self) -> PublicKey {
        self.signer.public_key()
    }

    /// Checks `request`, lets `answer` answer it, and signs the reply. `knows` says whether a sender has a replay
    /// buffer of her own.
    ///
    /// A request without any signature passes too; `answer` refuses it by asking for [`Call::sender`].
    pub fn serve(
        &self,
        request: Request<Vec<u8>>,
        knows: impl FnOnce(&PublicKey) -> bool,
        answer: impl FnOnce(&Call<'_>) -> Result<Response<Vec<u8>>, Problem>,
    ) -> Response<Vec<u8>> {
        let now = self.clock.now();
        let answered = self.admit(&request, now, knows).and_then(|call| answer(&call));
        let mut response = answered.unwrap_or_else(|problem| problem.response());
        match reply::sign(&mut response, &request, &*self.signer, now) {
            Ok(()) => response,
            Err(error) => {
                Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "call.unsignable", "The answer could not be signed")
                    .detail(error)
                    .response()
            }
        }
    }

    fn admit<'a>(
        &self,
        request: &'a Request<Vec<u8>>,
        now: Timestamp,
        knows: impl FnOnce(&PublicKey) -> bool,
    ) -> Result<Call<'a>, Problem> {
        let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
        let excess = self.limits.excess(request.headers(), request.body()).or_else(|| {
            let most = self.limits.target_bytes_max;
            (target > most).then(|| format!("the path and query have {target} bytes; at most {most} are read"))
        });
        if let Some(excess) = excess {
            return Err(
                Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "call.too-large", "The call is too large").detail(excess)
            );
        }
        let query = Query::parse(request.uri().query().unwrap_or_default()).map_err(malformed)?;
        let is_signed = request.headers().contains_key(SIGNATURE) || request.headers().contains_key(SIGNATURE_INPUT);
        if !is_signed {
            return Ok(Call { request, query, signed: None, now });
        }
        let signed = request::verify(request, &self.signer.public_key()).map_err(refused_signature)?;
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
        let mut guard = self.guard.lock().unwrap_or_else(PoisonError::into_inner);
        guard.accept(signed.sender, known, signed.created, signed.nonce, now).map_err(refused_replay)?;
        drop(guard);
        Ok(Call { request, query, signed: Some(signed), now })
    }
}

fn unauthorized(code: &str, title: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, code, title)
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
