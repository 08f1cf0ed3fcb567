//! The driver of real Xen hosts, by libvirt.
//!
//! Three things know of a domain, and none of them doubles another: libvirt has its definition, with whose it is and
//! what it was made from in a metadata element (`marks`); the [`Storage`] has its volumes, addresses and record; a small
//! file has what libvirt forgets (`runs`): the CPU time of earlier runs, pending shutdowns, crashes. A domain whose
//! metadata is missing, or names another, is foreign and never touched.
//!
//! ```text
//!            define            start: attach disks, define with them, create
//!  (volumes) ------> stopped  ----------------------------------------------> running
//!                       ^                                                      |  | stop
//!                       +-- gone by itself, or destroyed after the grace <-----+  v
//!                                                  asked again and again <- shutting down
//! ```
//!
//! A domain counts as running once libvirt says so. How far its boot has got nobody outside can tell honestly: a
//! paravirtualised guest shows no sign that all images share.
//!
//! All of it may be used by several threads, and by several processes, at once. Every operation looks at what is before
//! it acts; where the connection breaks on the way, it is opened again and the operation begins anew, once.

mod act;
mod connection;
mod console;
mod document;
mod events;
mod look;
mod marks;
mod neighbours;
mod runs;
mod shutdown;
mod xml;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use tycoon_market::Timestamp;

pub use events::{DomainEvent, DomainEventKind, Subscription, Waited};

use crate::guard::Guard;
use crate::hypervisor::{ConsoleStream, HostFacts, Hypervisor, HypervisorError};
use crate::listening::listens_here;
use crate::machine::Machine;
use crate::quiet_volume::{self, Blocks};
use crate::save::VolumeStream;
use crate::spec::{DomainSpec, Ownership};
use crate::status::{DomainStatus, Kept};
use crate::storage::Storage;
use connection::Connection;
use document::Kind;
use runs::RunsFile;
use shutdown::Shutdowns;

/// Where Xen's console daemon keeps what guests wrote, if it is told to (`xenconsoled --log=guest`).
const CONSOLE_LOGS: &str = "/var/log/xen/console";

/// A host that libvirt drives.
pub struct LibvirtHost {
    host: Arc<Host>,
    shutdowns: Shutdowns,
}

/// What all parts of the driver work on.
struct Host {
    connection: Connection,
    storage: Arc<dyn Storage>,
    runs: RunsFile,
    reserved_memory_bytes: u64,
    console_logs: PathBuf,
    /// What binds interfaces on a real host; the simulated ones of libvirt's test driver have none.
    guard: Option<Guard>,
    busy: Busy,
}

impl LibvirtHost {
    /// Connects to the hypervisor of the machine.
    ///
    /// # Errors
    /// What is missing, with its remedy: Xen, libvirt, its driver for Xen, the right to use it.
    pub fn open(machine: &Machine, storage: Arc<dyn Storage>) -> Result<Self, HypervisorError> {
        let connection = Connection::open(&machine.hypervisor)?;
        let guard = (connection.kind() == Kind::Xen).then(|| Guard::new(&machine.folder));
        let host = Arc::new(Host {
            connection,
            storage,
            runs: RunsFile::open(&machine.folder.join("libvirt"))?,
            reserved_memory_bytes: machine.reserved_memory_bytes,
            console_logs: PathBuf::from(CONSOLE_LOGS),
            guard,
            busy: Busy::default(),
        });
        let shutdowns = Shutdowns::begin(&host)?;
        Ok(Self { host, shutdowns })
    }

    /// What happens to domains from now on, ours and foreign. There is one subscription at a time.
    ///
    /// # Errors
    /// libvirt cannot be reached; somebody has subscribed already.
    pub fn events(&self) -> Result<Subscription, HypervisorError> {
        self.host.connection.with("subscribing to events", |connect| Ok(Subscription::open(connect)?))
    }
}

impl Hypervisor for LibvirtHost {
    fn facts(&self) -> Result<HostFacts, HypervisorError> {
        self.host.facts()
    }

    fn domains(&self, _: Timestamp) -> Result<Vec<DomainStatus>, HypervisorError> {
        let domains = self.host.domains()?;
        // Another process may have asked a domain to shut down, and be gone.
        if domains.iter().any(|domain| domain.state == crate::status::DomainState::ShuttingDown) {
            self.shutdowns.look();
        }
        Ok(domains)
    }

    fn domain(&self, name: &str, _: Timestamp) -> Result<Option<DomainStatus>, HypervisorError> {
        self.host.domain(name)
    }

    fn ensure_image(&self, image: &str) -> Result<bool, HypervisorError> {
        self.host.storage.ensure_image(image)
    }

    fn ensure_volumes(&self, spec: &DomainSpec, ownership: &Ownership) -> Result<bool, HypervisorError> {
        self.host.ensure_volumes(spec, ownership)
    }

    fn define(&self, spec: &DomainSpec, ownership: &Ownership, _: Timestamp) -> Result<bool, HypervisorError> {
        self.host.define(spec, ownership)
    }

    fn start(&self, name: &str, _: Timestamp) -> Result<bool, HypervisorError> {
        self.host.start(name)
    }

    fn stop(&self, name: &str, grace_ms: u64, _: Timestamp) -> Result<bool, HypervisorError> {
        let was_asked = self.host.stop(name, grace_ms)?;
        if was_asked {
            self.shutdowns.look();
        }
        Ok(was_asked)
    }

    fn suspend(&self, name: &str, _: Timestamp) -> Result<bool, HypervisorError> {
        self.host.suspend(name)
    }

    fn remove(&self, name: &str, _: Timestamp) -> Result<bool, HypervisorError> {
        self.host.remove(name)
    }

    fn keep(&self, name: &str, kept: &Kept, _: Timestamp) -> Result<bool, HypervisorError> {
        self.host.keep(name, kept)
    }

    fn listens(&self, name: &str, port: u16, now: Timestamp) -> Result<bool, HypervisorError> {
        listens_here(self, name, port, now)
    }

    fn set_cpu(&self, name: &str, weight: u16, cap_percent: u32, _: Timestamp) -> Result<(), HypervisorError> {
        self.host.set_cpu(name, weight, cap_percent)
    }

    fn set_memory(&self, name: &str, memory_bytes: u64, _: Timestamp) -> Result<(), HypervisorError> {
        self.host.set_memory(name, memory_bytes)
    }

    fn open_console(&self, name: &str) -> Result<ConsoleStream, HypervisorError> {
        self.host.open_console(name)
    }

    fn open_volume(&self, name: &str, volume: &str) -> Result<VolumeStream, HypervisorError> {
        let blocks = StoredBlocks { host: self.host.clone(), name: name.to_owned(), volume: volume.to_owned() };
        quiet_volume::open(blocks, name, volume)
    }
}

/// The blocks of a volume, as libvirt tells of its domain and the storage has them.
struct StoredBlocks {
    host: Arc<Host>,
    name: String,
    volume: String,
}

impl Blocks for StoredBlocks {
    fn domain(&self) -> Result<Option<DomainStatus>, HypervisorError> {
        self.host.domain(&self.name)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, HypervisorError> {
        self.host.storage.read_volume(&self.name, &self.volume, offset, buffer)
    }
}

/// The domains that are being changed by a thread of this process: changes of one domain are made one after another.
#[derive(Default)]
struct Busy {
    names: Mutex<BTreeSet<String>>,
    is_freed: Condvar,
}

/// The right to change a domain.
struct Turn<'a> {
    busy: &'a Busy,
    name: String,
}

impl Busy {
    /// Waits until nobody else changes the domain.
    fn turn(&self, name: &str) -> Turn<'_> {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let mut names =
            self.is_freed.wait_while(names, |names| names.contains(name)).unwrap_or_else(PoisonError::into_inner);
        names.insert(name.to_owned());
        Turn { busy: self, name: name.to_owned() }
    }

    /// The right to change the domain, where nobody else changes it.
    fn turn_now(&self, name: &str) -> Option<Turn<'_>> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.insert(name.to_owned()).then(|| Turn { busy: self, name: name.to_owned() })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.busy.names.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
        self.busy.is_freed.notify_all();
    }
}
