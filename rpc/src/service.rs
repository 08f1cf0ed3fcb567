//! Services, and how a request gets to one.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use http::{Request, Response};
use thiserror::Error;

/// From where a request came, as the network says: an extension of requests that a server took. Behind a proxy it is what
/// the proxy says; it is absent where that says nothing, and within one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddress(pub IpAddr);

/// An answer that is still being made. It holds up no thread for longer than a look at the disk takes.
pub type Answering = Pin<Box<dyn Future<Output = Response<Vec<u8>>> + Send>>;

/// How a service takes a request of whoever has few threads and many requests.
pub enum Begun {
    /// It has answered: what there was to do took no longer than handing it to somebody else.
    Answered(Response<Vec<u8>>),
    /// It answers so.
    Answering(Answering),
    /// The answer may hold a thread up: it is for [`Service::handle`], on one that may wait.
    Waits(Request<Vec<u8>>),
}

/// Something that answers requests. It never fails: what goes wrong is an answer too.
pub trait Service: Send + Sync {
    /// The answer to `request`.
    fn handle(&self, request: Request<Vec<u8>>) -> Response<Vec<u8>>;

    /// The same for whoever has few threads and many requests.
    fn begin(self: Arc<Self>, request: Request<Vec<u8>>) -> Begun {
        Begun::Waits(request)
    }
}

impl<S: Service + ?Sized> Service for Arc<S> {
    fn handle(&self, request: Request<Vec<u8>>) -> Response<Vec<u8>> {
        (**self).handle(request)
    }

    fn begin(self: Arc<Self>, request: Request<Vec<u8>>) -> Begun {
        (*self).clone().begin(request)
    }
}

/// Why no response came back. Whether the request arrived is not known.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TransportError {
    /// The service could not be reached.
    #[error("{service} cannot be reached: {reason}")]
    Unreachable {
        /// The service's name or address.
        service: String,
        /// Why.
        reason: String,
    },
    /// No response came in time.
    #[error("{service} did not answer within {seconds} s")]
    TimedOut {
        /// The service's name or address.
        service: String,
        /// How long was waited.
        seconds: u64,
    },
    /// The response was larger than what is read.
    #[error("the response of {service} is too large: {reason}")]
    TooLarge {
        /// The service's name or address.
        service: String,
        /// What was too large.
        reason: String,
    },
}

/// Something that carries a request to a service and brings the response back.
pub trait Transport: Send + Sync {
    /// Sends `request`, whose target is a path and a query without authority, and waits for the response.
    fn send(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, TransportError>;
}

impl<T: Transport + ?Sized> Transport for Arc<T> {
    fn send(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, TransportError> {
        (**self).send(request)
    }
}

/// The transport to a service in the same process.
#[derive(Clone, Debug)]
pub struct InProcess<S>(pub S);

impl<S: Service> Transport for InProcess<S> {
    fn send(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, TransportError> {
        Ok(self.0.handle(request))
    }
}
