//! Signed calls between the parties of a site: users, hosts, the bank and the service location service.
//!
//! A call is an HTTP request with a JSON body, signed with HTTP Message Signatures (RFC 9421, ed25519) over its
//! method, path, query, body digest, protocol version, recipient, time and nonce. A reply is signed over its status,
//! its body digest and the signature of the request, so that nobody can pass off one reply as another.
//!
//! A [`Service`] turns a request into a response, a [`Transport`] carries one there and back. [`InProcess`] is the
//! transport of a service in the same process; [`Server`] and [`HttpTransport`] carry calls over the network. Start with
//! [`caller`] (the side that asks) and [`receiver`] (the side that answers).

pub mod agent;
pub mod callback;
pub mod caller;
pub mod clock;
pub mod compact;
pub mod component;
pub mod digest;
pub mod events;
pub mod http_transport;
pub mod key_file;
pub mod keys;
pub mod limits;
pub mod nonce;
mod own_certificate;
mod own_form;
pub mod problem;
pub mod query;
pub mod receiver;
pub mod reclaim;
pub mod replay;
pub mod replay_mark;
pub mod reply;
pub mod request;
pub mod retry;
pub mod routes;
pub mod server;
mod server_identity;
pub mod service;
pub mod signature;
pub mod structured;
pub mod trouble;
pub mod verifiers;

pub use caller::{CallError, Caller};
pub use clock::{Clock, FixedClock, SystemClock};
pub use http_transport::{HttpSettings, HttpTransport};
pub use keys::{SecretKey, Signer, SigningError};
pub use limits::Limits;
pub use nonce::{CountedNonces, NonceSource, RandomNonces};
pub use problem::Problem;
pub use query::Query;
pub use receiver::{Call, Receiver};
pub use replay::{AfterRestart, ReplayGuard, ReplayPolicy};
pub use replay_mark::MarkError;
pub use retry::RetryPolicy;
pub use server::{Published, Server, ServerSettings, StopSignals};
pub use service::{Answering, Begun, InProcess, PeerAddress, Service, Transport, TransportError};

/// The protocol version that this program speaks, sent in [`PROTOCOL_HEADER`].
pub const PROTOCOL_VERSION: u32 = 1;

/// The versions that a service answers: its own and the one before, where there was one.
pub const PROTOCOL_VERSIONS: std::ops::RangeInclusive<u32> = 1..=1;

/// The header that carries the protocol version of a request.
pub const PROTOCOL_HEADER: &str = "tycoon-protocol";

/// The header that names the recipient of a request by the fingerprint of its key.
pub const RECIPIENT_HEADER: &str = "tycoon-recipient";
