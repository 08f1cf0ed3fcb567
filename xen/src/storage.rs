//! Everything of a domain that outlives its running: its record, its volumes, its addresses, its seed disk, and the
//! images it came from. The driver of the hypervisor works on what is here.
//!
//! Nothing of a user's is mounted or parsed in the control domain: images are copied as blocks, in a format that is
//! stated and never guessed; file systems are only made, on fresh volumes.

mod account_images;
mod addresses;
mod blocks;
mod cache;
pub(crate) mod command;
mod fill;
mod folder;
mod handed;
mod images;
mod incoming;
mod iso;
mod loopback;
mod lvm;
mod machine_addresses;
mod machine_storage;
mod overlay;
mod qcow2;
mod qcow2_blocks;
mod record;
mod seed;
mod stores;
mod uploads;

use std::borrow::Cow;
use std::net::Ipv4Addr;
use std::path::PathBuf;

pub use account_images::AccountImages;
pub use command::Interrupt;
pub use handed::{Handed, HandedTo};
pub(crate) use machine_addresses::addresses_of_the_machine;
pub use machine_storage::MachineStorage;

use crate::hypervisor::HypervisorError;
use crate::spec::{DomainSpec, MacAddress, Ownership, PortForward};
use crate::status::Kept;

/// The storage of a host. All methods block; all changes are idempotent and durable on return. `name` is always the
/// hypervisor's name of a domain ([`Ownership::hypervisor_name`]). Several processes may use the storage of one host at
/// once.
pub trait Storage: Send + Sync {
    /// What volumes can have in all, in bytes: what they have now and what is free.
    fn capacity_bytes(&self) -> Result<u64, HypervisorError>;

    /// The names of the images it can provide, ordered, whether in its cache already or not; those of accounts by their
    /// names on the host ([`crate::own_image`]).
    fn images(&self) -> Result<Vec<String>, HypervisorError>;

    /// The image is in the cache. True where it had to be made ready.
    fn ensure_image(&self, image: &str) -> Result<bool, HypervisorError>;

    /// See [`crate::hypervisor::Hypervisor::ensure_volumes`]. The record of the domain is on disk before the first volume
    /// is made.
    fn ensure_volumes(&self, spec: &DomainSpec, ownership: &Ownership) -> Result<bool, HypervisorError>;

    /// Notes what the domain should be, and gives each interface its address and hardware address. What an interface
    /// has already, it keeps. The interfaces come in the order of the spec.
    fn note(&self, spec: &DomainSpec, ownership: &Ownership) -> Result<Vec<Interface>, HypervisorError>;

    /// All records, ordered by name.
    fn records(&self) -> Result<Vec<DomainRecord>, HypervisorError>;

    /// One record.
    fn record(&self, name: &str) -> Result<Option<DomainRecord>, HypervisorError>;

    /// Makes the domain's disks ready to be attached, the seed disk written anew among them, last and read-only.
    fn attach(&self, name: &str) -> Result<Vec<AttachedDisk>, HypervisorError>;

    /// Gives back what [`Storage::attach`] took of the machine, such as loop devices, when the domain is stopped.
    fn detach(&self, name: &str) -> Result<(), HypervisorError>;

    /// What a domain of this owner with this spec boots.
    fn boot_files(&self, spec: &DomainSpec, ownership: &Ownership) -> Result<BootFiles, HypervisorError>;

    /// Volumes, seed, addresses and record of the domain are gone. True where there was anything.
    fn remove(&self, name: &str) -> Result<bool, HypervisorError>;

    /// Of the domain, which is detached, only the volumes of `kept` are left; see
    /// [`crate::hypervisor::Hypervisor::keep`]. [`Storage::note`] ends their being kept.
    fn keep(&self, name: &str, kept: &Kept) -> Result<bool, HypervisorError>;

    /// Reads of a volume at `offset`, in bytes. How many bytes were read: as many as fit, fewer at the end of the volume.
    /// Whether somebody writes it meanwhile is the caller's business.
    fn read_volume(&self, name: &str, volume: &str, offset: u64, buffer: &mut [u8]) -> Result<usize, HypervisorError>;
}

/// What the storage remembers of a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainRecord {
    /// The hypervisor's name of it.
    pub name: String,
    /// Whose it is.
    pub ownership: Ownership,
    /// What it should be; `None` where only volumes were made yet.
    pub spec: Option<DomainSpec>,
    /// Its volumes that exist: names and sizes in bytes.
    pub volumes: Vec<(String, u64)>,
    /// Its interfaces, in the order of the spec.
    pub interfaces: Vec<Interface>,
    /// The names of volumes that were there before it.
    pub adopted: Vec<String>,
    /// What is kept of it, where it was removed.
    pub kept: Option<Kept>,
}

/// An interface of a domain as it is on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name in the domain: `eth0`.
    pub name: String,
    /// Its hardware address.
    pub mac: MacAddress,
    /// The device of the bridge it is on.
    pub bridge: String,
    /// Its address; `None` where the DHCP server of the network gives one.
    pub address: Option<Ipv4Addr>,
    /// The most that may pass in each direction, in bits per second.
    pub bandwidth: Option<u64>,
    /// TCP ports of this host that lead to it.
    pub forwards: Vec<PortForward>,
}

/// A disk ready to be attached to a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachedDisk {
    /// The block device on the host.
    pub device: PathBuf,
    /// True where the domain may not write it.
    pub is_read_only: bool,
}

/// What a domain boots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootFiles {
    /// The kernel.
    pub kernel: PathBuf,
    /// The ramdisk.
    pub ramdisk: Option<PathBuf>,
    /// The kernel's arguments.
    pub arguments: Vec<String>,
}

/// Trying again may help.
fn failed(operation: impl Into<Cow<'static, str>>, reason: String) -> HypervisorError {
    HypervisorError::Failed { operation: operation.into(), reason }
}

/// It cannot be done here.
fn refused(operation: impl Into<Cow<'static, str>>, reason: String) -> HypervisorError {
    HypervisorError::Refused { operation: operation.into(), reason }
}

/// Names for people, in the order they have.
fn listed(names: &[&str]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}
