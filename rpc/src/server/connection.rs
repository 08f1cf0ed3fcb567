//! One connection: heads and bodies in, replies out, within the bounds.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use http::{HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, info, warn};

use super::body::{Outgoing, pump};
use super::metrics::ServerMetrics;
use super::{Published, ServerSettings};
use crate::events::EventStream;
use crate::problem::Problem;
use crate::service::{Answering, Begun, PeerAddress};

/// The least buffer that hyper takes for a connection, in bytes.
const BUFFER_BYTES_MIN: usize = 8192;
/// What a connection over the bound is told, without reading its request.
const REFUSAL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// What all connections of a server share.
pub struct Shared {
    pub(super) settings: ServerSettings,
    pub(super) metrics: Arc<ServerMetrics>,
    published: Published,
    in_flight: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    seats: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// A connection's place among those of its address.
pub(super) struct Seat {
    seats: Arc<Mutex<HashMap<IpAddr, usize>>>,
    address: IpAddr,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = seats.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                seats.remove(&self.address);
            }
        }
    }
}

impl Shared {
    pub(super) fn new(settings: ServerSettings, published: Published, metrics: Arc<ServerMetrics>) -> Self {
        let in_flight = Arc::new(Semaphore::new(settings.in_flight_max.max(1)));
        let streams = Arc::new(Semaphore::new(settings.streams_max));
        Self { settings, metrics, published, in_flight, streams, seats: Arc::default() }
    }

    /// A place for one more connection of `address`; `None` where it has as many as it may.
    pub(super) fn seat(&self, address: IpAddr) -> Option<Seat> {
        let most = if self.settings.behind_proxy { usize::MAX } else { self.settings.connections_per_address_max };
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        let count = seats.entry(address).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Seat { seats: self.seats.clone(), address })
    }

    /// The answer to one request.
    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: SocketAddr,
        stopped: watch::Receiver<bool>,
    ) -> Response<Outgoing> {
        let began = Instant::now();
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let response = match self.read(request, peer).await {
            Ok((request, place)) => self.clone().work(request, place).await,
            Err(problem) => refusal(&problem),
        };
        let (status, took) = (response.status(), began.elapsed());
        self.metrics.answered(&method, status, took);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let status = status.as_u16();
        // Neither headers nor bodies are logged: they hold signatures and other people's business.
        match status {
            500.. => warn!(%peer, %method, path, status, micros, "request"),
            400.. => info!(%peer, %method, path, status, micros, "request"),
            _ => debug!(%peer, %method, path, status, micros, "request"),
        }
        self.outgoing(response, stopped)
    }

    /// The response as it goes out: whole, or going on.
    fn outgoing(&self, mut response: Response<Vec<u8>>, stopped: watch::Receiver<bool>) -> Response<Outgoing> {
        let stream = response.extensions_mut().remove::<EventStream>();
        let Some(events) = stream.and_then(|stream| stream.take()) else {
            return response.map(Outgoing::whole);
        };
        let Ok(place) = self.streams.clone().try_acquire_owned() else {
            let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "call.too-many-streams", "Too many streams")
                .detail(format_args!("{} event streams are open already", self.settings.streams_max))
                .help("come back a little later, or ask again and again instead");
            return refusal(&problem).map(Outgoing::whole);
        };
        response.map(|_| Outgoing::going_on(pump(events, place, stopped)))
    }

    /// Reads a request whole, and takes a place among those that are worked on.
    async fn read(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> Result<(Request<Vec<u8>>, OwnedSemaphorePermit), Problem> {
        let limits = &self.settings.limits;
        let too_large = |what: String| {
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "call.too-large", "The call is too large").detail(what)
        };
        let (mut head, body) = request.into_parts();
        if let Some(excess) = limits.excess_of_head(&head.uri, &head.headers) {
            return Err(too_large(excess));
        }
        let most = limits.body_bytes_max;
        let body_too_large = || too_large(format!("the body has more than {most} bytes"));
        if body.size_hint().lower() > most as u64 {
            return Err(body_too_large());
        }
        let place = self.in_flight.clone().try_acquire_owned().map_err(|_| {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "call.overloaded", "The service is overloaded")
                .detail(format_args!("it works on {} requests already", self.settings.in_flight_max))
                .help("come back a little later; repeating the call is harmless")
        })?;
        let collected = tokio::time::timeout(self.settings.body_timeout, Limited::new(body, most).collect()).await;
        let body = match collected {
            Ok(Ok(body)) => Vec::from(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(body_too_large()),
            Ok(Err(error)) => {
                return Err(Problem::new(StatusCode::BAD_REQUEST, "call.malformed", "The call is malformed")
                    .detail(format_args!("the body cannot be read: {error}")));
            }
            Err(_) => {
                let seconds = self.settings.body_timeout.as_secs();
                return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "call.too-slow", "The call is too slow")
                    .detail(format_args!("the body did not arrive within {seconds} s")));
            }
        };
        head.uri = origin_form(&head.uri);
        if let Some(address) = self.origin(&head.headers, peer) {
            head.extensions.insert(PeerAddress(address));
        }
        Ok((Request::from_parts(head, body), place))
    }

    /// From where a request came. A proxy in front adds the address at the end of `X-Forwarded-For`; what stands before
    /// that, anybody may have written.
    fn origin(&self, headers: &http::HeaderMap, peer: SocketAddr) -> Option<IpAddr> {
        if !self.settings.behind_proxy {
            return Some(peer.ip().to_canonical());
        }
        let said = headers.get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?;
        Some(said.rsplit(',').next()?.trim().parse::<IpAddr>().ok()?.to_canonical())
    }

    /// Lets the service answer: here, or, where that may hold a thread up, on one that may wait.
    async fn work(self: Arc<Self>, request: Request<Vec<u8>>, place: OwnedSemaphorePermit) -> Response<Vec<u8>> {
        let timeout = self.settings.answer_timeout;
        self.metrics.in_flight(1);
        let shared = self.clone();
        // The place is held for as long as the work takes, also where nobody waits for it any more.
        let ended = move |response| {
            shared.metrics.in_flight(-1);
            drop(place);
            response
        };
        let failed = || {
            refusal(
                &Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "call.failed", "The service failed")
                    .detail("whether the call was carried out is not known")
                    .help("repeat it with the same id: what was done is not done twice"),
            )
        };
        // A service that panics must not take the other requests of the connection with it.
        let begun = catch_unwind(AssertUnwindSafe(|| self.published.begin(request)));
        let answered = match begun {
            Err(_) => return ended(failed()),
            Ok(Begun::Answered(response)) => return ended(response),
            Ok(Begun::Answering(answering)) => {
                let working = Working::of(async move { ended(answering.await) });
                tokio::time::timeout(timeout, working).await
            }
            Ok(Begun::Waits(request)) => {
                let work = move || ended(self.published.answer(request, &self.metrics));
                let working = tokio::task::spawn_blocking(work);
                tokio::time::timeout(timeout, async { working.await.map_err(|_| Failed) }).await
            }
        };
        match answered {
            Ok(Ok(response)) => response,
            Ok(Err(_)) => failed(),
            Err(_) => refusal(
                &Problem::new(StatusCode::SERVICE_UNAVAILABLE, "call.slow", "The service is slow")
                    .detail(format_args!(
                        "it had no answer within {} s, and may still carry out the call",
                        timeout.as_secs()
                    ))
                    .help("repeat it with the same id: what was done is not done twice"),
            ),
        }
    }
}

/// A service that failed over a request.
struct Failed;

/// An answer that is being made, by the task of its connection: a task of its own for each would have to be woken twice, by
/// threads that wake each other. Where nobody waits for it any more, because the connection is gone or the time is up, it
/// gets its own task after all: what has begun is brought to its end.
struct Working(Option<Answering>);

impl Working {
    fn of(answering: impl Future<Output = Response<Vec<u8>>> + Send + 'static) -> Self {
        Self(Some(Box::pin(answering)))
    }
}

impl Future for Working {
    type Output = Result<Response<Vec<u8>>, Failed>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(answering) = &mut self.0 else { return Poll::Ready(Err(Failed)) };
        // A panic ends the request, as it would end a task of its own, and not the connection.
        let polled = catch_unwind(AssertUnwindSafe(|| answering.as_mut().poll(context)));
        if !matches!(polled, Ok(Poll::Pending)) {
            self.0 = None;
        }
        match polled {
            Ok(polled) => polled.map(Ok),
            Err(_) => Poll::Ready(Err(Failed)),
        }
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        // Where there is no runtime any more, the process ends.
        if let (Some(answering), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(answering);
        }
    }
}

/// A problem of the server's own. It is not signed: nothing is promised with it.
fn refusal(problem: &Problem) -> Response<Vec<u8>> {
    let mut response = problem.response();
    if response.status() == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// The target as signatures know it: path and query, without scheme and authority.
fn origin_form(uri: &Uri) -> Uri {
    let target = uri.path_and_query().cloned();
    target.map_or_else(|| Uri::from_static("/"), Uri::from)
}

/// Tells a connection over the bound to come back, and closes it.
pub(super) async fn refuse(mut stream: TcpStream) {
    // Who does not listen to the refusal loses nothing.
    let _ = stream.write_all(REFUSAL).await;
    let _ = stream.shutdown().await;
}

/// Serves one connection until it is closed.
pub(super) async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    acceptor: Option<TlsAcceptor>,
    shared: Arc<Shared>,
    stopped: watch::Receiver<bool>,
) {
    // Replies are small: waiting to send them together only delays them.
    let _ = stream.set_nodelay(true);
    shared.metrics.connections(1);
    match acceptor {
        None => talk(stream, peer, &shared, stopped).await,
        Some(acceptor) => match tokio::time::timeout(shared.settings.head_timeout, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => talk(stream, peer, &shared, stopped).await,
            Ok(Err(error)) => debug!(%peer, %error, "no TLS connection came about"),
            Err(_) => debug!(%peer, "the TLS handshake took too long"),
        },
    }
    shared.metrics.connections(-1);
}

async fn talk<S: AsyncRead + AsyncWrite + Unpin + Send>(
    stream: S,
    peer: SocketAddr,
    shared: &Arc<Shared>,
    mut stopped: watch::Receiver<bool>,
) {
    let limits = &shared.settings.limits;
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(shared.settings.head_timeout)
        .max_headers(limits.headers_max)
        .max_buf_size((limits.header_bytes_max + limits.target_bytes_max).max(BUFFER_BYTES_MIN));
    let ending = stopped.clone();
    let answering = service_fn(|request| {
        let (shared, ending) = (shared.clone(), ending.clone());
        async move { Ok::<_, Infallible>(shared.answer(request, peer, ending).await) }
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), answering));
    // A sender that is gone stops too: then the server was dropped.
    let stop = async { stopped.wait_for(|stopped| *stopped).await.map(|_| ()) };
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = stop => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%peer, %error, "the connection ended early");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_is_brought_to_its_end() {
        let ((go, gate), (done, ended)) = (oneshot::channel::<()>(), oneshot::channel());
        let mut working = Working::of(async move {
            let _ = gate.await;
            let _ = done.send(());
            Response::new(Vec::new())
        });
        let begun = std::future::poll_fn(|context| Poll::Ready(Pin::new(&mut working).poll(context).is_pending()));
        assert!(begun.await, "it waits");
        drop(working);
        go.send(()).unwrap();
        assert_eq!(ended.await, Ok(()));
    }

    #[tokio::test]
    async fn a_panic_is_the_end_of_the_request_only() {
        let working = Working::of(async { panic!("the service fails") });
        assert!(working.await.is_err());
        assert!(Working::of(async { Response::new(Vec::new()) }).await.is_ok());
    }
}
