//! The network side of a service: HTTP/1.1, with or without TLS, around any [`Service`](crate::Service).
//!
//! ```text
//! accept ─▶ connection ─▶ head ─▶ body ─▶ service (here, or on a thread that may wait) ─▶ reply
//!    │                     │       │         │
//!    └ too many: 503       └───────┴ too large, too slow: 413, 408, closed
//!                                            └ too many at once: 503 with Retry-After
//! ```
//!
//! Everything is bounded by [`ServerSettings`]: what is over a bound is refused at once and never waits in a queue.
//! Besides the calls of the service a server answers `/healthz`, `/metrics` and `/openapi.json` ([`Published`]).

mod body;
mod connection;
pub mod metrics;
mod published;
pub mod tls;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use thiserror::Error;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tracing::{debug, info, warn};

use crate::Signer;
use crate::limits::Limits;
pub use connection::Shared;
use metrics::ServerMetrics;
pub use published::Published;
use tls::{TlsError, TlsFiles};

/// The pause after an accept that failed, as it does while the process has no free file descriptor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Stack space of a thread that runs the service, in bytes.
const THREAD_STACK_BYTES: usize = 1 << 20;

/// Where and how a server listens, and its bounds.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// The address; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The certificate and its key, where the server speaks TLS.
    pub tls: Option<TlsFiles>,
    /// The service's own key, where it speaks TLS with a certificate that it makes for that key: for clients that know the
    /// key. Files come first.
    pub own_key: Option<OwnKey>,
    /// True where a proxy in front speaks TLS, so that this server may listen beyond loopback without it.
    pub behind_proxy: bool,
    /// Bounds on one request.
    pub limits: Limits,
    /// Open connections; further ones are refused with 503.
    pub connections_max: usize,
    /// Open connections of one address, behind no proxy.
    pub connections_per_address_max: usize,
    /// Requests that the service works on at a time; further ones are refused with 503.
    pub in_flight_max: usize,
    /// How long the head of a request may take, counted from when it is waited for.
    pub head_timeout: Duration,
    /// How long the body of a request may take.
    pub body_timeout: Duration,
    /// How long the service may take before the caller is told to come back.
    pub answer_timeout: Duration,
    /// Answers that go on (event streams) at a time; further ones are refused with 503.
    pub streams_max: usize,
    /// How long requests that have begun may take to end when the server stops.
    pub stop_timeout: Duration,
}

/// The key of a service.
#[derive(Clone)]
pub struct OwnKey(pub Arc<dyn Signer>);

impl std::fmt::Debug for OwnKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OwnKey")
    }
}

impl ServerSettings {
    /// Whether TLS is spoken.
    pub const fn speaks_tls(&self) -> bool {
        self.tls.is_some() || self.own_key.is_some()
    }

    /// The usual bounds, on `listen`, without TLS.
    pub const fn on(listen: SocketAddr) -> Self {
        Self {
            listen,
            tls: None,
            own_key: None,
            behind_proxy: false,
            limits: Limits::DEFAULT,
            connections_max: 1024,
            connections_per_address_max: 512,
            in_flight_max: 256,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(20),
            answer_timeout: Duration::from_secs(30),
            streams_max: 128,
            stop_timeout: Duration::from_secs(10),
        }
    }
}

/// Why a server does not start.
#[derive(Debug, Error)]
pub enum ServerError {
    /// Without TLS only this machine is served.
    #[error(
        "{address} can be reached from other machines, and the server has no TLS certificate; give it one, say that a \
         proxy in front of it speaks TLS, or listen on 127.0.0.1"
    )]
    NoTls {
        /// The address.
        address: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// The threads of the server cannot be started.
    #[error("cannot start the threads of the server")]
    Threads {
        /// What the operating system said.
        source: io::Error,
    },
    /// The certificate or its key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// A server that listens. Dropping it stops it.
pub struct Server {
    runtime: Option<Runtime>,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    accepting: Option<tokio::task::JoinHandle<()>>,
    stop_timeout: Duration,
    metrics: Arc<ServerMetrics>,
}

impl Server {
    /// Listens, and serves what is published from now on.
    pub fn start(settings: ServerSettings, published: Published) -> Result<Self, ServerError> {
        let listen = settings.listen;
        if !settings.speaks_tls() && !settings.behind_proxy && !listen.ip().is_loopback() {
            return Err(ServerError::NoTls { address: listen });
        }
        let acceptor = match (&settings.tls, &settings.own_key) {
            (Some(files), _) => Some(tls::acceptor(files)?),
            (None, Some(own)) => Some(tls::own_acceptor(&own.0)?),
            (None, None) => None,
        };
        // One may look at the disk while the other goes on.
        let workers = thread::available_parallelism().map_or(2, |cores| cores.get().max(2));
        let runtime = Builder::new_multi_thread()
            .worker_threads(workers)
            .max_blocking_threads(settings.in_flight_max.max(1))
            .thread_stack_size(THREAD_STACK_BYTES)
            .thread_name("tycoon-server")
            .enable_all()
            .build()
            .map_err(|source| ServerError::Threads { source })?;
        let at = |source| ServerError::Listen { address: listen, source };
        let listener = runtime.block_on(TcpListener::bind(listen)).map_err(at)?;
        let address = listener.local_addr().map_err(at)?;
        let (stop, stopped) = watch::channel(false);
        let stop_timeout = settings.stop_timeout;
        let metrics = Arc::new(ServerMetrics::default());
        let shared = Arc::new(Shared::new(settings, published, metrics.clone()));
        let accepting = runtime.spawn(accept(listener, acceptor, shared, stopped));
        Ok(Self { runtime: Some(runtime), address, stop, accepting: Some(accepting), stop_timeout, metrics })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has counted.
    pub fn metrics(&self) -> &ServerMetrics {
        &self.metrics
    }

    /// Takes note, from now on, of a wish that the process stop (SIGTERM or SIGINT). To be called before anybody is told
    /// that the server is there: whoever has been told may have it stopped at once.
    pub fn heed_signals(&self) -> Result<StopSignals, ServerError> {
        let failed = |source| ServerError::Threads { source };
        let _inside = self.runtime.as_ref().map(Runtime::enter);
        Ok(StopSignals {
            terminate: signal(SignalKind::terminate()).map_err(failed)?,
            interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
        })
    }

    /// Waits until the process is asked to stop, then stops.
    pub fn run_until(self, mut signals: StopSignals) {
        if let Some(runtime) = &self.runtime {
            runtime.block_on(async {
                tokio::select! {
                    _ = signals.terminate.recv() => {}
                    _ = signals.interrupt.recv() => {}
                }
            });
        }
        self.stop();
    }

    /// Takes no more connections, lets the requests that have begun end, and returns.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let Some(runtime) = self.runtime.take() else { return };
        // Nobody listens where the accepting task has ended already.
        let _ = self.stop.send(true);
        if let Some(accepting) = self.accepting.take() {
            // The task keeps its own time; it fails only if it panicked, and then there is nothing to wait for.
            let _ = runtime.block_on(accepting);
        }
        runtime.shutdown_timeout(self.stop_timeout);
    }
}

/// A wish that the process stop.
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

async fn accept(
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    shared: Arc<Shared>,
    mut stopped: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(shared.settings.connections_max));
    let mut connections = JoinSet::new();
    info!(address = %shared.settings.listen, tls = acceptor.is_some(), "listening");
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.changed() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let address: IpAddr = peer.ip();
        let place = places.clone().try_acquire_owned().ok();
        let Some((place, seat)) = place.zip(shared.seat(address)) else {
            shared.metrics.refused();
            debug!(%peer, "too many connections");
            if acceptor.is_none() {
                connections.spawn(connection::refuse(stream));
            }
            continue;
        };
        let (shared, acceptor, stopped) = (shared.clone(), acceptor.clone(), stopped.clone());
        connections.spawn(async move {
            connection::serve(stream, peer, acceptor, shared, stopped).await;
            drop((place, seat));
        });
    }
    drop(listener);
    info!("stopping");
    let all_ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(shared.settings.stop_timeout, all_ended).await.is_err() {
        warn!("some requests did not end in time and are cut off");
    }
}
