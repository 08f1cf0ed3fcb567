//! What every hypervisor driver does. One trait; the drivers are `memory` (a faithful host in the process) and,
//! on real hosts, libvirt.
//!
//! A driver knows nothing of accounts' rights, money or plans: the daemon checks those before it asks. It keeps
//! the [`Ownership`] that it is given with each domain, and tells foreign domains (without one) apart.

use std::borrow::Cow;
use std::io::{Read, Write};
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tycoon_market::{Quantity, ResourceKind, Timestamp};

use crate::save::VolumeStream;
use crate::spec::{DomainSpec, Ownership};
use crate::status::{DomainStatus, Kept};

/// What a host is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFacts {
    /// The machine's architecture: `x86_64`.
    pub architecture: String,
    /// Hypervisor and version, for people: `Xen 4.17.5`, `simulated`.
    pub hypervisor: String,
    /// True for a host that exists only in this process.
    pub is_simulated: bool,
    /// What domains can have in all: what the machine has, less what the control domain and foreign domains need.
    pub capacity: Vec<(ResourceKind, Quantity)>,
    /// The names of the images it can provide, ordered; whether they are in its cache already or not.
    pub images: Vec<String>,
}

/// Why a driver failed.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HypervisorError {
    /// No domain has this name.
    #[error("there is no domain `{0}`")]
    NoDomain(String),
    /// A domain of somebody else has this name.
    #[error("the domain `{0}` exists and belongs to somebody else")]
    NameTaken(String),
    /// Another domain has this address, or the host needs it itself.
    #[error("the address {0} is taken on this host")]
    AddressTaken(Ipv4Addr),
    /// No image has this name.
    #[error("there is no image `{0}`")]
    NoImage(String),
    /// Not enough of a resource is left.
    #[error("{available} of {kind} is left, and {asked} is needed", available = kind.show(*available), asked = kind.show(*asked))]
    Full {
        /// The resource.
        kind: ResourceKind,
        /// What is left.
        available: Quantity,
        /// What was asked.
        asked: Quantity,
    },
    /// What was asked cannot be done here, now or later.
    #[error("{operation} is refused: {reason}")]
    Refused {
        /// What was asked.
        operation: Cow<'static, str>,
        /// What is wrong with it.
        reason: String,
    },
    /// The operation failed; trying again may help.
    #[error("{operation} failed: {reason}")]
    Failed {
        /// What was tried.
        operation: Cow<'static, str>,
        /// What went wrong.
        reason: String,
    },
}

/// A hypervisor with its storage. All methods block; all changes are idempotent and durable on return. A change
/// that is refused leaves everything as it was.
pub trait Hypervisor: Send + Sync {
    /// What this host is and has.
    fn facts(&self) -> Result<HostFacts, HypervisorError>;

    /// All domains, ours and foreign, ordered by name; also those of which only volumes exist. `now` lets a simulated host catch up with time.
    fn domains(&self, now: Timestamp) -> Result<Vec<DomainStatus>, HypervisorError>;

    /// One domain by its hypervisor name.
    fn domain(&self, name: &str, now: Timestamp) -> Result<Option<DomainStatus>, HypervisorError>;

    /// The image is in the cache. True where it had to be fetched.
    fn ensure_image(&self, image: &str) -> Result<bool, HypervisorError>;

    /// The volumes of the domain exist with the sizes of the spec (they grow, and never shrink). True where any
    /// had to be made or grown. On failure no half volume is left. A new `root` volume is made from the spec's image,
    /// which must be in the cache. Volumes that the spec no longer names stay until the domain is removed.
    fn ensure_volumes(&self, spec: &DomainSpec, ownership: &Ownership) -> Result<bool, HypervisorError>;

    /// The domain is defined as the spec says; a running one takes the changes it can take while running
    /// (memory, of which it keeps what the spec allows; ownership), the others at its next start. True where anything changed.
    fn define(&self, spec: &DomainSpec, ownership: &Ownership, now: Timestamp) -> Result<bool, HypervisorError>;

    /// The domain runs. True where it had to be started, or had to go on after it was suspended. Its memory is taken from
    /// now on, and its volumes must exist.
    fn start(&self, name: &str, now: Timestamp) -> Result<bool, HypervisorError>;

    /// The domain is asked to shut down and destroyed where it does not within `grace_ms` milliseconds. True where
    /// it ran. On return it is stopped or still shutting down; after the grace it is stopped. A call for a domain
    /// that is shutting down already can only shorten its grace.
    fn stop(&self, name: &str, grace_ms: u64, now: Timestamp) -> Result<bool, HypervisorError>;

    /// The domain stands still in memory: it keeps that and uses no CPU, until it is started. True where it ran. One that does
    /// not run is refused; one that is about to come up or to shut down fails, and can be asked again.
    fn suspend(&self, name: &str, now: Timestamp) -> Result<bool, HypervisorError>;

    /// The domain, its definition and its volumes are gone; a running one is destroyed first. True where there was
    /// anything. Foreign domains are refused.
    fn remove(&self, name: &str, now: Timestamp) -> Result<bool, HypervisorError>;

    /// The domain and its definition are gone, a running one is destroyed first, and of its volumes only those of `kept`
    /// are left, as they are, marked with their owner. True where anything changed. What is kept already keeps its time.
    /// The next domain of the same owner and name finds them: [`Hypervisor::ensure_volumes`] leaves them as they are,
    /// and [`Hypervisor::define`] ends their being kept. Where none of them exists this is [`Hypervisor::remove`].
    /// Foreign domains are refused.
    fn keep(&self, name: &str, kept: &Kept, now: Timestamp) -> Result<bool, HypervisorError>;

    /// True where the domain runs and something listens on this TCP port of its address, as seen from the host; on a simulated
    /// host, where nothing listens anywhere, it has only to run.
    fn listens(&self, name: &str, port: u16, now: Timestamp) -> Result<bool, HypervisorError>;

    /// Sets the scheduler weight (1 to 65535) and cap (percent of one CPU, 0 for none) of a domain, at once where it
    /// runs and for its next start where it does not.
    fn set_cpu(&self, name: &str, weight: u16, cap_percent: u32, now: Timestamp) -> Result<(), HypervisorError>;

    /// Sets the memory of a domain in bytes, at once where it runs and for its next start where it does not. One that runs
    /// and is given more while its account buys more starts with its own memory again.
    fn set_memory(&self, name: &str, memory_bytes: u64, now: Timestamp) -> Result<(), HypervisorError>;

    /// The console of a running domain: what it wrote lately, as far as the host has kept it, then what it writes.
    /// It ends when the domain does.
    fn open_console(&self, name: &str) -> Result<ConsoleStream, HypervisorError>;

    /// The blocks of a volume, of a domain that writes none: one that has ended, is suspended, or was removed and has left
    /// the volume. Others are refused. Where the domain runs before the last block is read, reading ends with an error;
    /// nothing is changed or locked by it. The bytes are those of the volume, and nobody looks at what they mean.
    fn open_volume(&self, name: &str, volume: &str) -> Result<VolumeStream, HypervisorError>;

    /// Keeps the blocks of a volume, which can be opened, as the disk of an image of this name among those of the domain's
    /// owner. True where she had no image with this content. Drivers that have no place for such images refuse it.
    fn keep_as_image(&self, name: &str, volume: &str, image: &str) -> Result<bool, HypervisorError> {
        let reason = format!("volume `{volume}` of `{name}`, as `{image}`: there is no place for images of users here");
        Err(HypervisorError::Refused { operation: KEEPING_AS_IMAGE.into(), reason })
    }
}

/// What [`Hypervisor::keep_as_image`] does, for errors.
pub const KEEPING_AS_IMAGE: &str = "keeping a volume as an image";

/// The two ends of a console.
pub struct ConsoleStream {
    /// What the domain writes.
    pub output: Box<dyn Read + Send>,
    /// What is typed.
    pub input: Box<dyn Write + Send>,
}
