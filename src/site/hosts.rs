//! The hosts of an embedded site: simulated ones, which are in this process, and real ones, which it drives over SSH.
//! Both have their markets here.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use tycoon_bank::BankClient;
use tycoon_executor::HostLink;
use tycoon_executor::link::SiteHost;
use tycoon_lang::site::{Host, HostKind, SimulatedHost};
use tycoon_market::auctioneer::{HostConfig, UniqueSale};
use tycoon_market::{AccountId, HostId, HostName, Quantity, Rate, ResourceKind, TimeSpan, UniqueId, UniqueKind};
use tycoon_rpc::{ReplayPolicy, Signer};
use tycoon_xen::client::HostClient;
use tycoon_xen::daemon::{HostDaemon, HostIdentity, HostParts};
use tycoon_xen::hypervisor::Hypervisor;
use tycoon_xen::memory::{MemoryHost, MemoryHostConfig, PrivateNetwork};
use tycoon_xen::storage::AccountImages;

use super::clock::SiteClock;
use super::links::HostOutOfReach;
use crate::exit::Exit;
use crate::failure::Failure;

/// The memory of a simulated control domain, in bytes.
const CONTROL_MEMORY_BYTES: u64 = 1 << 30;
/// What prices are for.
const HOUR: TimeSpan = TimeSpan::from_seconds(3_600);

/// A host as this process has it.
pub struct OpenHost {
    /// What the site says of it.
    pub host: Host,
    /// Its key.
    pub signer: Arc<dyn Signer>,
    /// Its name.
    pub name: HostName,
    /// How it is.
    pub standing: Standing,
}

/// Whether a host can be worked with.
pub enum Standing {
    /// It can.
    Open {
        /// Its market.
        daemon: Arc<HostDaemon>,
        /// The user's way to it.
        link: Arc<dyn HostLink>,
        /// The user's client of its market.
        client: Box<HostClient>,
    },
    /// It cannot be reached.
    OutOfReach {
        /// Why, and what to do.
        reason: String,
    },
}

impl OpenHost {
    /// Its market, where it can be worked with.
    pub const fn daemon(&self) -> Option<&Arc<HostDaemon>> {
        match &self.standing {
            Standing::Open { daemon, .. } => Some(daemon),
            Standing::OutOfReach { .. } => None,
        }
    }

    /// Where it is: how SSH reaches it. A simulated host is nowhere.
    pub fn addresses(&self) -> Vec<String> {
        match &self.host.kind {
            HostKind::Simulated(_) => Vec::new(),
            HostKind::Xen(xen) => vec![format!("ssh://{}", xen.ssh.rsplit('@').next().unwrap_or(&xen.ssh))],
        }
    }

    /// The way to a host out of reach, which says so to whoever wants something of it.
    pub fn out_of_reach(&self, owner: AccountId) -> Option<SiteHost> {
        let Standing::OutOfReach { reason } = &self.standing else { return None };
        Some(SiteHost {
            id: HostId::of(&self.signer.public_key()),
            name: self.name.clone(),
            owner,
            key: self.signer.public_key(),
            is_simulated: matches!(self.host.kind, HostKind::Simulated(_)),
            architecture: String::new(),
            labels: self.host.labels.clone(),
            link: Arc::new(HostOutOfReach { reason: reason.clone() }),
        })
    }
}

/// What a host's market is made of, besides the host.
pub struct Market<'a> {
    /// Where it keeps its state.
    pub database: &'a sled::Db,
    /// Who earns what it charges.
    pub owner: AccountId,
    /// The bank, for the host.
    pub bank: BankClient,
    /// The clock.
    pub clock: Arc<SiteClock>,
}

/// Opens the market of a host on its hypervisor.
pub fn open_market(
    host: &Host,
    name: &HostName,
    signer: &Arc<dyn Signer>,
    hypervisor: Arc<dyn Hypervisor>,
    market: Market<'_>,
) -> Result<Arc<HostDaemon>, Failure> {
    let facts = hypervisor.facts().map_err(|error| failed(host, &error))?;
    let capacity: BTreeMap<ResourceKind, Quantity> = facts.capacity.into_iter().collect();
    let prices = [
        (ResourceKind::Cpu, host.cpu_price),
        (ResourceKind::Memory, host.memory_price),
        (ResourceKind::Disk, host.disk_price),
    ];
    let base_price = prices.map(|(kind, credits)| (kind, Rate::of(credits, HOUR).unwrap_or_default()));
    let bank_key = market.bank.bank();
    let mut config = HostConfig::new(capacity, BTreeMap::from(base_price));
    if !host.ports.is_empty() {
        let ranges = host.ports.iter().map(|(first, last)| (UniqueId::Port(*first), UniqueId::Port(*last)));
        let base_price = Rate::of(host.port_price, HOUR).unwrap_or_default();
        let sale = UniqueSale { ranges: ranges.collect(), base_price, ..UniqueSale::default() };
        config.unique.insert(UniqueKind::TcpPort, sale);
    }
    let daemon = HostDaemon::open(HostParts {
        identity: HostIdentity { name: name.clone(), signer: signer.clone(), owner: market.owner, bank: bank_key },
        tree: tree(market.database, host, "daemon")?,
        log: tree(market.database, host, "log")?,
        config,
        hypervisor,
        bank: market.bank,
        clock: market.clock,
        replay: ReplayPolicy::IN_PROCESS,
    });
    daemon.map(Arc::new).map_err(|error| failed(host, &error))
}

/// The machine of a simulated host, the `number`th of its site. In `images` it keeps what its user has saved as images.
pub fn simulated_machine(
    number: usize,
    host: &Host,
    machine: &SimulatedHost,
    database: &sled::Db,
    images: &Path,
) -> Result<Arc<dyn Hypervisor>, Failure> {
    let config = MemoryHostConfig {
        architecture: machine.architecture.clone(),
        cpus: machine.cpus,
        memory_bytes: machine.memory_bytes.saturating_add(CONTROL_MEMORY_BYTES),
        control_memory_bytes: CONTROL_MEMORY_BYTES,
        disk_bytes: machine.disk_bytes,
        boot_time: machine.boot_time,
        crash_after: machine.crash_after,
        seed: number as u64,
        images: machine.images.iter().cloned().collect(),
        network: PrivateNetwork::numbered(number as u32 + 1),
        ..MemoryHostConfig::default()
    };
    let opened = MemoryHost::open(tree(database, host, "machine")?, config).map_err(|error| failed(host, &error))?;
    let images = AccountImages::open(images.join(&host.address)).map_err(|error| failed(host, &error))?;
    Ok(Arc::new(opened.with_account_images(images)))
}

/// The registered name of a host.
pub fn name_of(host: &Host) -> Result<HostName, Failure> {
    host.address.parse().map_err(|error: tycoon_market::name::NameError| failed(host, &error))
}

fn tree(database: &sled::Db, host: &Host, kind: &str) -> Result<sled::Tree, Failure> {
    database.open_tree(format!("host {} {kind}", host.address)).map_err(|error| failed(host, &error))
}

fn failed(host: &Host, error: &dyn std::error::Error) -> Failure {
    Failure::from_error(Exit::Failed, error).context(&format!("the host {} cannot be opened", host.address))
}
