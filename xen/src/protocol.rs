//! What a client may ask a host, over a session whose account the host already knows.
//!
//! Every request is an idempotent *ensure*: the host reads the world, acts only where it differs, and answers
//! what it found afterwards. No request names an account: a session belongs to one, and the host adds it, so
//! that nobody can reach what is another's.

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tycoon_market::{PoolName, UniqueId};

use crate::spec::{DomainPath, DomainSpec};
use crate::status::DomainStatus;

/// The version of this protocol. A host speaks its own version and the one before.
pub const PROTOCOL_VERSION: u32 = 1;

/// A request to a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// What domains of this account are there, of one pool or of all?
    Inspect {
        /// The pool; all pools of the account where there is none.
        pool: Option<PoolName>,
    },
    /// The image is in the host's cache.
    EnsureImage {
        /// The image's name.
        image: String,
    },
    /// The domain's volumes exist, new ones blank or made from their image.
    EnsureVolumes {
        /// The pool.
        pool: PoolName,
        /// The generation of the plan that asks.
        generation: u64,
        /// The domain the volumes are for.
        spec: DomainSpec,
    },
    /// The domain is defined as its spec says.
    EnsureDomain {
        /// The pool.
        pool: PoolName,
        /// The generation of the plan that asks.
        generation: u64,
        /// The domain.
        spec: DomainSpec,
    },
    /// The domain runs.
    EnsureRunning {
        /// The pool.
        pool: PoolName,
        /// The generation of the plan that asks.
        generation: u64,
        /// The domain.
        path: DomainPath,
    },
    /// The domain does not run: it is asked to shut down, and destroyed where it does not in time.
    EnsureStopped {
        /// The pool.
        pool: PoolName,
        /// The generation of the plan that asks.
        generation: u64,
        /// The domain.
        path: DomainPath,
        /// How long it may take to shut down, in milliseconds.
        grace_ms: u64,
    },
    /// The domain stands still in memory until it is asked to run. One that does not run is refused.
    EnsureSuspended {
        /// The pool.
        pool: PoolName,
        /// The generation of the plan that asks.
        generation: u64,
        /// The domain.
        path: DomainPath,
    },
    /// Something in the domain listens. The host only looks; who asks, asks again.
    EnsureListening {
        /// The pool.
        pool: PoolName,
        /// The domain.
        path: DomainPath,
        /// The TCP port.
        port: u16,
    },
    /// The domain is gone, and its volumes but for those that are to be kept.
    EnsureAbsent {
        /// The pool.
        pool: PoolName,
        /// The generation of the plan that asks.
        generation: u64,
        /// The domain.
        path: DomainPath,
        /// The names of its volumes that stay for the host's grace, unpaid, as far as they exist.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        keep: Vec<String>,
    },
    /// Of a domain that was removed no volumes are kept any more. A domain that is there is refused.
    EnsureNothingKept {
        /// The pool.
        pool: PoolName,
        /// The domain.
        path: DomainPath,
    },
}

/// A host's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// The domains asked about.
    Domains {
        /// Their states, ordered by pool and path.
        domains: Vec<DomainStatus>,
    },
    /// The world is as asked.
    Ensured {
        /// False where nothing had to be done.
        changed: bool,
        /// The domain afterwards; `None` where none is left or none was asked about.
        domain: Option<DomainStatus>,
    },
}

/// A host's answer to a [`Request`] over HTTP, `POST /v1/domains`: a refusal is an answer too, signed like every other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DomainsReply {
    /// It is as asked.
    Done(Answer),
    /// It is not.
    Refused(HostError),
}

/// Why a host did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
#[serde(tag = "error", rename_all = "kebab-case")]
pub enum HostError {
    /// The account has no host account for the pool here, or it is closed.
    #[error("there is no account for pool `{pool}` on this host")]
    NoAccount {
        /// The pool.
        pool: PoolName,
    },
    /// The account has no money left, or was outbid: its domains may be stopped and removed, not started.
    #[error("the account for pool `{pool}` does not pay for domains here: it is out of funds, or was outbid")]
    NotPaid {
        /// The pool.
        pool: PoolName,
    },
    /// What is asked is more than what the account's bid reserves.
    #[error("the bid reserves {reserved} of {resource}, and {asked} would be needed")]
    BeyondReservation {
        /// The resource's word.
        resource: String,
        /// What is reserved, for people.
        reserved: String,
        /// What was asked in all, for people.
        asked: String,
    },
    /// An address that the host sells, and the account does not hold.
    #[error("the account for pool `{pool}` does not hold `{id}` of this host; bid on it first")]
    NotHeld {
        /// The pool.
        pool: PoolName,
        /// The address.
        id: UniqueId,
    },
    /// A newer plan has been here.
    #[error("a newer plan (generation {current}) has changed this pool; this one is generation {asked}")]
    StaleGeneration {
        /// The newest generation seen.
        current: u64,
        /// The generation that asked.
        asked: u64,
    },
    /// The host has no image of this name.
    #[error("there is no image `{image}` on this host; it has: {}", available.join(", "))]
    NoImage {
        /// The image.
        image: String,
        /// The images there are.
        available: Vec<String>,
    },
    /// The domain does not exist.
    #[error("there is no domain `{path}` in pool `{pool}` on this host")]
    NoDomain {
        /// The pool.
        pool: PoolName,
        /// The domain.
        path: DomainPath,
    },
    /// Nothing in the domain listens yet.
    #[error("nothing listens on TCP port {port} of `{path}` yet")]
    NotListening {
        /// The domain.
        path: DomainPath,
        /// The port.
        port: u16,
    },
    /// A domain that is not ours has the name.
    #[error("a domain named `{name}` exists on this host and is not Tycoon's; rename or remove it there")]
    NameTaken {
        /// The hypervisor's name.
        name: String,
    },
    /// The host lacks memory or disk.
    #[error("the host has {available} of {resource} left, and {asked} is needed")]
    Full {
        /// The resource's word.
        resource: String,
        /// What is left, for people.
        available: String,
        /// What was asked, for people.
        asked: String,
    },
    /// The owner does not take new domains now.
    #[error("the owner is draining this host: it takes no new domains")]
    Draining,
    /// The owner keeps the account out.
    #[error("the owner of this host keeps this account out: its domains may be stopped and removed, not started")]
    Banned,
    /// The request itself is wrong.
    #[error("{reason}")]
    BadRequest {
        /// What is wrong with it.
        reason: String,
    },
    /// The hypervisor or the storage failed; trying again may help.
    #[error("{operation} failed: {reason}")]
    Failed {
        /// What was tried.
        operation: String,
        /// What went wrong.
        reason: String,
    },
}

impl HostError {
    /// True where the same request may succeed later without any change.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Failed { .. } | Self::NotListening { .. })
    }
}
