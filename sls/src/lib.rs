//! The service location service (SLS): where hosts say that they exist, and users find them.
//!
//! A host signs a [`record`] of itself and registers it every 30 seconds; what is not heard of again is dropped after
//! 120 seconds. The state is soft: an SLS that loses it has it again half a minute later, and it scales by running
//! several, with which every host registers and whose answers a [`client`] merges. An SLS is not trusted: records are
//! signed by their hosts and clients check every one; the worst that it can do is to conceal a host.
//!
//! [`registry`] holds the rules and is pure, [`store`] lets a restarted SLS be useful at once, and [`service`] answers
//! calls. The host's side is in [`announce`] (the registrations) and [`challenge`] (the proof that it answers where it
//! says).

pub mod announce;
pub mod challenge;
pub mod client;
pub mod facts;
pub mod fields;
pub mod filter;
pub mod order;
pub mod query;
pub mod reach;
pub mod record;
pub mod registry;
pub mod roll;
pub mod service;
pub mod store;
pub mod uptime;
pub mod verify;

pub use announce::{AnnouncePolicy, Announcing};
pub use client::SlsClient;
pub use filter::Filter;
pub use query::{HostQuery, Sort};
pub use reach::{Reach, Standing};
pub use record::{HostRecord, PublishedOffer, PublishedUnique, RecordError, SignedRecord, VerifiedRecord};
pub use registry::{Policy, RegisterError, Registry};
pub use service::SlsService;
