//! The transport over the network: HTTP/1.1, with TLS beyond loopback.
//!
//! Who answers is proven by the signature of the reply, not by TLS: TLS keeps others from reading along. So a service
//! may have a certificate of its own making: one for the key that it is known by ([`HttpSettings::known_key`]), or any,
//! whose file is given as [`HttpSettings::trusted`].

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, mpsc as blocking};
use std::time::Duration;

use http::{Request, Response, Uri, header};
use reqwest::redirect;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use thiserror::Error;
use tokio::sync::mpsc;
use tycoon_market::PublicKey;

use crate::events::{EVENT_STREAM, Event, EventParser};
use crate::limits::Limits;
use crate::problem::Problem;
use crate::server::tls::{self, TlsError};
use crate::server_identity::{Believed, ServerIdentity};
use crate::service::{Transport, TransportError};

/// How long an idle connection is kept; shorter than servers keep it, so that it is not closed while it is used.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a stream of events may be silent: services send a comment more often than that.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// How long a stream of events may last.
const STREAM_TIME_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// How a client speaks to services.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// How long a connection may take to come about.
    pub connect_timeout: Duration,
    /// How long a call may take in all.
    pub call_timeout: Duration,
    /// Bounds on replies.
    pub limits: Limits,
    /// The forward proxy through which calls go: `http://proxy.example.org:3128`. None is used where none is given,
    /// whatever the environment says.
    pub proxy: Option<String>,
    /// A PEM file with the certificates that are trusted; those that the operating system trusts where there is none.
    pub trusted: Option<PathBuf>,
    /// The key of the service, where it is known: the certificate that the service made for it is taken, too.
    pub known_key: Option<PublicKey>,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            call_timeout: Duration::from_secs(40),
            limits: Limits::DEFAULT,
            proxy: None,
            trusted: None,
            known_key: None,
        }
    }
}

/// Why a service cannot be spoken to.
#[derive(Debug, Error)]
pub enum HttpSetupError {
    /// The address is not one.
    #[error("`{url}` is not the address of a service: {reason}; write for example https://bank.example.org:7401")]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Without TLS only this machine is spoken to.
    #[error("`{url}` leads to another machine without TLS, where others can read along; use https://")]
    NoTls {
        /// What was given.
        url: String,
    },
    /// The trusted certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Rustls(#[from] rustls::Error),
    /// The proxy is none.
    #[error("`{proxy}` is not the address of a proxy; write for example http://proxy.example.org:3128")]
    Proxy {
        /// What was given.
        proxy: String,
    },
    /// The client cannot be made.
    #[error("the HTTP client cannot be made: {0}")]
    Client(String),
    /// The client's thread cannot be started.
    #[error("the thread of the HTTP client cannot be started")]
    Thread(#[source] std::io::Error),
}

/// A request on its way, and where its response is waited for.
struct Job {
    request: Request<Vec<u8>>,
    answer: Awaited,
}

/// What is waited for.
enum Awaited {
    /// The whole response.
    Whole(blocking::SyncSender<Result<Response<Vec<u8>>, TransportError>>),
    /// Its body, piece by piece, as it comes.
    Pieces(mpsc::Sender<Result<Piece, TransportError>>),
}

/// A part of a response that goes on.
enum Piece {
    /// A response that does not go on: a refusal.
    Whole(Response<Vec<u8>>),
    /// Bytes of the body.
    Bytes(Vec<u8>),
}

/// The way to one service at an address.
///
/// The network is driven by a thread of its own, so that calls may be made from any thread, also from tasks.
#[derive(Debug)]
pub struct HttpTransport {
    service: String,
    jobs: mpsc::UnboundedSender<Job>,
    call_timeout: Duration,
}

impl HttpTransport {
    /// The way to the service at `url`: `https://host:port`, or `http://` on this machine.
    pub fn new(url: &str, settings: &HttpSettings) -> Result<Self, HttpSetupError> {
        let base = base(url)?;
        let client = client(settings)?;
        let (jobs, queue) = mpsc::unbounded_channel();
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(HttpSetupError::Thread)?;
        let (service, limits, call_timeout) = (base.clone(), settings.limits, settings.call_timeout);
        let connect_seconds = settings.connect_timeout.as_secs();
        let link = Arc::new(Link { base, client, limits, seconds: call_timeout.as_secs(), connect_seconds });
        std::thread::Builder::new()
            .name("tycoon-http".to_owned())
            .spawn(move || runtime.block_on(carry_all(queue, link)))
            .map_err(HttpSetupError::Thread)?;
        Ok(Self { service, jobs, call_timeout })
    }
}

/// The events of a service as they come: an iterator that waits for the next one, and ends where the stream ends.
pub struct EventReader {
    pieces: mpsc::Receiver<Result<Piece, TransportError>>,
    parser: EventParser,
    ready: std::collections::VecDeque<Event>,
    service: String,
    /// The client's thread works as long as somebody may send it something.
    _jobs: mpsc::UnboundedSender<Job>,
}

impl HttpTransport {
    /// Opens a stream of events. It must not be called, nor read, from a task.
    pub fn events(&self, request: Request<Vec<u8>>) -> Result<EventReader, StreamError> {
        let gone = || TransportError::Unreachable {
            service: self.service.clone(),
            reason: "the client's thread has ended".to_owned(),
        };
        let (answer, mut pieces) = mpsc::channel(64);
        self.jobs.send(Job { request, answer: Awaited::Pieces(answer) }).map_err(|_| gone())?;
        // The first piece says that the stream is open.
        match pieces.blocking_recv().ok_or_else(gone)?? {
            Piece::Whole(response) => Err(StreamError::Refused(Problem::of_response(&response))),
            Piece::Bytes(_) => Ok(EventReader {
                pieces,
                parser: EventParser::default(),
                ready: std::collections::VecDeque::new(),
                service: self.service.clone(),
                _jobs: self.jobs.clone(),
            }),
        }
    }
}

/// Why there is no stream of events.
#[derive(Debug, Error)]
pub enum StreamError {
    /// The service refuses.
    #[error("{0}")]
    Refused(Problem),
    /// It cannot be reached.
    #[error(transparent)]
    Transport(#[from] TransportError),
}

impl Iterator for EventReader {
    type Item = Result<Event, TransportError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(Ok(event));
            }
            match self.pieces.blocking_recv()? {
                Err(error) => return Some(Err(error)),
                Ok(Piece::Whole(_)) => return None,
                Ok(Piece::Bytes(bytes)) => match self.parser.push(&bytes) {
                    Ok(events) => self.ready.extend(events),
                    Err(error) => {
                        let (service, reason) = (self.service.clone(), error.to_string());
                        return Some(Err(TransportError::TooLarge { service, reason }));
                    }
                },
            }
        }
    }
}

impl Transport for HttpTransport {
    fn send(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, TransportError> {
        let gone =
            |reason: &str| TransportError::Unreachable { service: self.service.clone(), reason: reason.to_owned() };
        let (answer, answered) = blocking::sync_channel(1);
        self.jobs
            .send(Job { request, answer: Awaited::Whole(answer) })
            .map_err(|_| gone("the client's thread has ended"))?;
        // The client keeps the time; this is for a thread that does not come back.
        match answered.recv_timeout(self.call_timeout.saturating_add(Duration::from_secs(5))) {
            Ok(answer) => answer,
            Err(_) => Err(gone("the client's thread does not answer")),
        }
    }
}

struct Link {
    base: String,
    client: reqwest::Client,
    limits: Limits,
    seconds: u64,
    connect_seconds: u64,
}

async fn carry_all(mut queue: mpsc::UnboundedReceiver<Job>, link: Arc<Link>) {
    while let Some(Job { request, answer }) = queue.recv().await {
        let link = link.clone();
        tokio::spawn(async move {
            // Nobody waits any more: then nobody misses the answer.
            match answer {
                Awaited::Whole(answer) => drop(answer.send(link.carry(request).await)),
                Awaited::Pieces(answer) => {
                    if let Err(error) = link.carry_on(request, &answer).await {
                        let _ = answer.send(Err(error)).await;
                    }
                }
            }
        });
    }
}

impl Link {
    /// Carries a request there, and the body of its response back as it comes, until either side ends it.
    async fn carry_on(
        &self,
        request: Request<Vec<u8>>,
        answer: &mpsc::Sender<Result<Piece, TransportError>>,
    ) -> Result<(), TransportError> {
        let failed = |error: reqwest::Error| self.failed(&error);
        let (head, body) = request.into_parts();
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
        let url = format!("{}{target}", self.base);
        let mut request = self.client.request(head.method, url).headers(head.headers).body(body);
        request = request.timeout(STREAM_TIME_MAX);
        let slow = |_| self.timed_out();
        let patience = Duration::from_secs(self.seconds);
        let mut response = tokio::time::timeout(patience, request.send()).await.map_err(slow)?.map_err(failed)?;
        let kind = response.headers().get(header::CONTENT_TYPE);
        if !response.status().is_success() || kind.is_none_or(|kind| kind.as_bytes() != EVENT_STREAM.as_bytes()) {
            let body = tokio::time::timeout(patience, self.body(&mut response)).await.map_err(slow)??;
            let mut whole = Response::new(body);
            *whole.status_mut() = response.status();
            *whole.headers_mut() = std::mem::take(response.headers_mut());
            let _ = answer.send(Ok(Piece::Whole(whole))).await;
            return Ok(());
        }
        let mut piece = Vec::new();
        // Where nobody waits any more, the stream is closed.
        while answer.send(Ok(Piece::Bytes(piece))).await.is_ok() {
            let silent = TransportError::TimedOut { service: self.base.clone(), seconds: SILENCE_MAX.as_secs() };
            let next = tokio::select! {
                next = tokio::time::timeout(SILENCE_MAX, response.chunk()) => next,
                () = answer.closed() => break,
            };
            match next.map_err(|_| silent)?.map_err(failed)? {
                Some(bytes) => piece = bytes.to_vec(),
                None => break,
            }
        }
        Ok(())
    }

    async fn carry(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, TransportError> {
        let failed = |error: reqwest::Error| self.failed(&error);
        let (head, body) = request.into_parts();
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
        let url = format!("{}{target}", self.base);
        let mut response =
            self.client.request(head.method, url).headers(head.headers).body(body).send().await.map_err(failed)?;
        let mut answer = Response::new(self.body(&mut response).await?);
        *answer.status_mut() = response.status();
        *answer.headers_mut() = std::mem::take(response.headers_mut());
        Ok(answer)
    }

    /// The body, within the bounds.
    async fn body(&self, response: &mut reqwest::Response) -> Result<Vec<u8>, TransportError> {
        let too_large = |reason: String| TransportError::TooLarge { service: self.base.clone(), reason };
        let most = self.limits.body_bytes_max;
        let is_over = |bytes: usize| bytes > most;
        let announced = response.content_length().unwrap_or(0);
        if announced > most as u64 {
            return Err(too_large(format!("it announces {announced} bytes; at most {most} are read")));
        }
        let mut body = Vec::with_capacity(announced as usize);
        while let Some(chunk) = response.chunk().await.map_err(|error| self.failed(&error))? {
            if is_over(body.len() + chunk.len()) {
                return Err(too_large(format!("it has more than {most} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn timed_out(&self) -> TransportError {
        TransportError::TimedOut { service: self.base.clone(), seconds: self.seconds }
    }

    fn failed(&self, error: &reqwest::Error) -> TransportError {
        let service = self.base.clone();
        if error.is_timeout() && error.is_connect() {
            let reason = format!("no connection came about within {} s", self.connect_seconds);
            return TransportError::Unreachable { service, reason };
        }
        if error.is_timeout() {
            return self.timed_out();
        }
        // The innermost cause says it best: "connection refused", not "error sending request".
        let mut cause: &dyn std::error::Error = error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        TransportError::Unreachable { service, reason: cause.to_string() }
    }
}

/// Scheme and authority of a service's address, checked.
fn base(url: &str) -> Result<String, HttpSetupError> {
    let wrong = |reason: &str| HttpSetupError::Url { url: url.to_owned(), reason: reason.to_owned() };
    let uri: Uri =
        url.trim_end_matches('/').parse().map_err(|error: http::uri::InvalidUri| wrong(&error.to_string()))?;
    let authority = uri.authority().ok_or_else(|| wrong("it has no host"))?;
    if uri.path().len() > 1 || uri.query().is_some() {
        return Err(wrong("nothing may follow the host and port"));
    }
    if authority.as_str().contains('@') {
        return Err(wrong("it must not have a user name"));
    }
    match uri.scheme_str() {
        Some("https") => {}
        Some("http") if is_loopback(authority.host()) => {}
        Some("http") => return Err(HttpSetupError::NoTls { url: url.to_owned() }),
        _ => return Err(wrong("it must begin with https:// (or, on this machine, http://)")),
    }
    Ok(format!("{}://{authority}", uri.scheme_str().unwrap_or_default()))
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn client(settings: &HttpSettings) -> Result<reqwest::Client, HttpSetupError> {
    let mut builder = reqwest::Client::builder()
        .http1_only()
        .no_proxy()
        // A service that moved says so to its operator; a redirect would carry signed requests elsewhere.
        .redirect(redirect::Policy::none())
        .retry(reqwest::retry::never())
        .connect_timeout(settings.connect_timeout)
        .timeout(settings.call_timeout)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .tcp_nodelay(true)
        .default_headers(std::iter::once((header::USER_AGENT, USER_AGENT)).collect());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions =
        rustls::ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let roots = match &settings.trusted {
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in tls::certificates(path)? {
                roots.add(certificate)?;
            }
            roots
        }
        None => system_roots(),
    };
    let mut config = match &settings.known_key {
        Some(key) => {
            let roots = Arc::new(roots);
            let others = (!roots.is_empty()).then(|| {
                WebPkiServerVerifier::builder_with_provider(roots, provider.clone())
                    .build()
                    .map_err(|error| HttpSetupError::Client(error.to_string()))
            });
            let verifier = ServerIdentity::new(Believed::known(key, others.transpose()?), provider);
            versions.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth()
        }
        None => versions.with_root_certificates(roots).with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    builder = builder.tls_backend_preconfigured(config);
    if let Some(proxy) = &settings.proxy {
        let wrong = |_| HttpSetupError::Proxy { proxy: proxy.clone() };
        builder = builder.proxy(reqwest::Proxy::all(proxy).map_err(wrong)?);
    }
    builder.build().map_err(|error| HttpSetupError::Client(error.to_string()))
}

/// What this program calls itself.
const USER_AGENT: http::HeaderValue = http::HeaderValue::from_static(concat!("tycoon/", env!("CARGO_PKG_VERSION")));

/// The certificates that the operating system trusts; those that cannot be read are left out, as other programs do.
fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_machine_is_spoken_to_with_tls_only() {
        for url in ["https://bank.example.org:7401", "http://127.0.0.1:1", "http://[::1]:1/", "http://localhost:1"] {
            assert!(base(url).is_ok(), "{url}");
        }
        assert!(matches!(base("http://bank.example.org"), Err(HttpSetupError::NoTls { .. })));
        for url in ["bank.example.org", "ftp://x", "https://x/path", "https://x?y", "https://u@x", "https://", ""] {
            assert!(matches!(base(url), Err(HttpSetupError::Url { .. })), "{url}");
        }
    }
}
