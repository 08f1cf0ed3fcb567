//! The side that asks: it signs requests and believes only signed replies.

use std::sync::Arc;

use http::{HeaderValue, Method, Request, Response, header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tycoon_market::PublicKey;

use crate::clock::{Clock, SystemClock};
use crate::keys::Signer;
use crate::limits::Limits;
use crate::nonce::{NoRandomness, NonceSource, RandomNonces};
use crate::problem::Problem;
use crate::retry::{RetryPolicy, asked_pause};
use crate::service::{Transport, TransportError};
use crate::signature::SignatureError;
use crate::{query, reply, request};

/// Why a call has no answer.
#[derive(Debug, Error)]
pub enum CallError {
    /// The service refused, and signed its refusal.
    #[error("{0}")]
    Refused(Problem),
    /// No response came back.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// A response came that the service did not sign.
    #[error("the reply (HTTP status {status}) cannot be trusted")]
    Untrusted {
        /// Its HTTP status.
        status: u16,
        /// What it said, made printable; nobody vouches for it.
        said: Problem,
        /// What is wrong with its signature.
        source: SignatureError,
    },
    /// The reply is signed but cannot be understood.
    #[error("the reply to {call} cannot be understood")]
    Unreadable {
        /// The method and path.
        call: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The reply is larger than what is read.
    #[error("the reply is too large: {0}")]
    TooLarge(String),
    /// The request could not be written.
    #[error("the request cannot be written: {0}")]
    Unwritable(String),
    /// No nonce could be made.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

impl CallError {
    /// The signed refusal, where there is one.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused(problem) => Some(problem),
            _ => None,
        }
    }

    /// True where the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Refused(problem) => problem.is_transient(),
            Self::Transport(_) => true,
            Self::Untrusted { status, .. } => matches!(status, 429 | 502 | 503 | 504),
            _ => false,
        }
    }
}

/// Asks a service whose key is not known yet who it is: reads `path` without a signature, and believes the answer where
/// the key that `key_of` finds in it signed the reply. Whether it is the right key, the user must say.
pub fn introduce<Res: DeserializeOwned>(
    transport: &dyn Transport,
    path: &str,
    limits: &Limits,
    key_of: impl FnOnce(&Res) -> PublicKey,
) -> Result<Res, CallError> {
    let unwritable = |error: http::Error| CallError::Unwritable(error.to_string());
    let request = Request::get(path).body(Vec::new()).map_err(unwritable)?;
    let head = Request::get(path).body(()).map_err(unwritable)?;
    let response = transport.send(request)?;
    if let Some(excess) = limits.excess(response.headers(), response.body()) {
        return Err(CallError::TooLarge(excess));
    }
    let unreadable = |source| CallError::Unreadable { call: format!("GET {path}"), source };
    let untrusted = |source| CallError::Untrusted {
        status: response.status().as_u16(),
        said: Problem::of_response(&response),
        source,
    };
    if !response.status().is_success() {
        return Err(untrusted(SignatureError::Unsigned(request::LABEL)));
    }
    let answer = serde_json::from_slice(response.body()).map_err(unreadable)?;
    reply::verify(&response, &head, &key_of(&answer)).map_err(untrusted)?;
    Ok(answer)
}

/// Calls one service with one key.
#[derive(Clone)]
pub struct Caller {
    signer: Arc<dyn Signer>,
    recipient: PublicKey,
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
    nonces: Arc<dyn NonceSource>,
    limits: Limits,
    retries: RetryPolicy,
}

impl Caller {
    /// A caller with the machine's clock and random nonces; `recipient` is the key of the service.
    pub fn new(signer: Arc<dyn Signer>, recipient: PublicKey, transport: Arc<dyn Transport>) -> Self {
        Self {
            signer,
            recipient,
            transport,
            clock: Arc::new(SystemClock),
            nonces: Arc::new(RandomNonces),
            limits: Limits::DEFAULT,
            retries: RetryPolicy::NEVER,
        }
    }

    /// The same caller with another clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The same caller with other nonces.
    #[must_use]
    pub fn with_nonces(mut self, nonces: Arc<dyn NonceSource>) -> Self {
        self.nonces = nonces;
        self
    }

    /// The same caller with other limits on replies.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The same caller that asks again where a call may succeed later.
    #[must_use]
    pub fn with_retries(mut self, retries: RetryPolicy) -> Self {
        self.retries = retries;
        self
    }

    /// The key that signs the calls.
    pub fn public_key(&self) -> PublicKey {
        self.signer.public_key()
    }

    /// The key of the service.
    pub fn recipient(&self) -> PublicKey {
        self.recipient
    }

    /// Reads `path` with a query.
    pub fn get<Res: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<Res, CallError> {
        self.call::<(), Res>(Method::GET, path, query, None)
    }

    /// Posts `body` to `path`.
    pub fn post<Req: Serialize + ?Sized, Res: DeserializeOwned>(
        &self,
        path: &str,
        body: &Req,
    ) -> Result<Res, CallError> {
        self.call(Method::POST, path, &[], Some(body))
    }

    /// Posts `body` to `path` without a signature: what it says is proven by itself. The reply is signed by the service,
    /// but not bound to this call.
    pub fn post_unsigned<Req: Serialize + ?Sized, Res: DeserializeOwned>(
        &self,
        path: &str,
        body: &Req,
    ) -> Result<Res, CallError> {
        let unwritable = |error: &dyn std::fmt::Display| CallError::Unwritable(error.to_string());
        let body = serde_json::to_vec(body).map_err(|error| unwritable(&error))?;
        let request = Request::post(path)
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/json")
            .body(body)
            .map_err(|error| unwritable(&error))?;
        let response = self.send(request, &mut None)?;
        if !response.status().is_success() {
            return Err(CallError::Refused(Problem::of_response(&response)));
        }
        let call = || format!("POST {path}");
        serde_json::from_slice(response.body()).map_err(|source| CallError::Unreadable { call: call(), source })
    }

    /// Makes one signed call and checks the signed reply.
    pub fn call<Req: Serialize + ?Sized, Res: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Req>,
    ) -> Result<Res, CallError> {
        let call = format!("{method} {path}");
        let mut attempt = 1;
        let began = std::time::Instant::now();
        let response = loop {
            let mut asked = None;
            let request = self.signed(method.clone(), path, query, body)?;
            let error = match self.send(request, &mut asked) {
                Ok(response) if response.status().is_success() => break response,
                Ok(response) => CallError::Refused(Problem::of_response(&response)),
                Err(error) => error,
            };
            let is_silent = matches!(error, CallError::Transport(_)) && began.elapsed() >= self.retries.silence_max;
            if attempt >= self.retries.attempts_max || is_silent || !error.is_transient() {
                return Err(error);
            }
            attempt += 1;
            let [.., a, b, c, d] = self.nonces.nonce()?;
            std::thread::sleep(self.retries.pause(attempt, u32::from_be_bytes([a, b, c, d]), asked));
        };
        serde_json::from_slice(response.body()).map_err(|source| CallError::Unreadable { call, source })
    }

    /// The signed request of a call, ready to be sent.
    pub fn signed<Req: Serialize + ?Sized>(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Req>,
    ) -> Result<Request<Vec<u8>>, CallError> {
        let unwritable = |error: &dyn std::fmt::Display| CallError::Unwritable(error.to_string());
        let target = match query {
            [] => path.to_owned(),
            pairs => format!("{path}?{}", query::encode(pairs.iter().copied())),
        };
        let bytes = match body {
            Some(body) => serde_json::to_vec(body).map_err(|error| unwritable(&error))?,
            None => Vec::new(),
        };
        let mut request =
            Request::builder().method(method).uri(target).body(bytes).map_err(|error| unwritable(&error))?;
        request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        if body.is_some() {
            request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let nonce = self.nonces.nonce()?;
        request::sign(&mut request, &*self.signer, &self.recipient, self.clock.now(), nonce)
            .map_err(|error| unwritable(&error))?;
        Ok(request)
    }

    /// Sends a signed request and checks who signed the response; notes the pause that it asks for, signed or not.
    fn send(
        &self,
        request: Request<Vec<u8>>,
        asked: &mut Option<std::time::Duration>,
    ) -> Result<Response<Vec<u8>>, CallError> {
        let mut head = Request::new(());
        *head.method_mut() = request.method().clone();
        *head.uri_mut() = request.uri().clone();
        *head.headers_mut() = request.headers().clone();
        let response = self.transport.send(request)?;
        *asked = asked_pause(response.headers());
        if let Some(excess) = self.limits.excess(response.headers(), response.body()) {
            return Err(CallError::TooLarge(excess));
        }
        match reply::verify(&response, &head, &self.recipient) {
            Ok(()) => Ok(response),
            Err(source) => Err(CallError::Untrusted {
                status: response.status().as_u16(),
                said: Problem::of_response(&response),
                source,
            }),
        }
    }
}
