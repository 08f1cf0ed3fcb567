//! The embedded site: bank, service location service and four simulated hosts in this process, for whoever has no
//! site yet. It is the same code as the services, without the network.
//!
//! Its state is under the XDG state directory. One process at a time has it open. The simulated hosts live on while no
//! process has it open: when it is opened, the time since the last time is accounted for.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tycoon_bank::audit::{Audit, audit};
use tycoon_bank::journal::Check;
use tycoon_bank::ledger::AccountKind;
use tycoon_bank::store::SledStore;
use tycoon_bank::{Bank, BankClient, BankService, Options, Registration, api};
use tycoon_executor::link::{BankLink, LinkError, SiteHost};
use tycoon_executor::lock::Lock;
use tycoon_executor::{HostLink, Site};
use tycoon_market::auctioneer::HostConfig;
use tycoon_market::ids::TransferId;
use tycoon_market::{AccountId, Credits, HostName, Quantity, Rate, ResourceKind, TimeSpan};
use tycoon_rpc::nonce::{CountedNonces, NonceSource, RandomNonces};
use tycoon_rpc::{Caller, Clock, InProcess, ReplayPolicy, SecretKey, Signer, Transport};
use tycoon_sls::client::{NamedCaller, SlsClient};
use tycoon_sls::query::HostQuery;
use tycoon_sls::registry::Policy;
use tycoon_sls::service::SlsService;
use tycoon_xen::client::HostClient;
use tycoon_xen::daemon::{HostDaemon, HostIdentity, HostParts};
use tycoon_xen::hypervisor::Hypervisor as _;
use tycoon_xen::memory::{MemoryHost, MemoryHostConfig, PrivateNetwork};

use super::clock::SiteClock;
use super::links::{BankOfCaller, HostOfCaller};
use super::store::{self, StateFolder};
use super::world::Surroundings;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::folders::Folders;
use crate::identity::Identity;
use crate::output::Output;

/// What a new account gets from the embedded bank.
const OPENING_BALANCE: Credits = match Credits::from_whole(1_000) {
    Some(credits) => credits,
    None => Credits::ZERO,
};
/// How long another process may have the site open before it is said who has.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
/// Time that passed while nobody looked is led through in steps of this: the bank returns escrows of which it hears
/// nothing for a day, so that hosts have to report more often than that.
const CATCH_UP_STEP: TimeSpan = TimeSpan::from_seconds(12 * 3_600);

/// A simulated host: its size and what it costs.
struct SimulatedHost {
    name: &'static str,
    cpus: u32,
    memory_gib: u64,
    disk_gib: u64,
    /// Credits per hour of one CPU, one GiB of memory and one GiB of disk.
    prices: (f64, f64, f64),
    rack: &'static str,
}

/// The hosts of every embedded site.
const HOSTS: [SimulatedHost; 4] = [
    SimulatedHost { name: "sim1", cpus: 4, memory_gib: 8, disk_gib: 100, prices: (0.50, 0.10, 0.002), rack: "a" },
    SimulatedHost { name: "sim2", cpus: 8, memory_gib: 16, disk_gib: 200, prices: (0.60, 0.10, 0.002), rack: "a" },
    SimulatedHost { name: "sim3", cpus: 2, memory_gib: 4, disk_gib: 50, prices: (0.30, 0.08, 0.001), rack: "b" },
    SimulatedHost { name: "sim4", cpus: 16, memory_gib: 64, disk_gib: 1_000, prices: (1.00, 0.20, 0.004), rack: "b" },
];

/// The embedded site, open.
pub struct EmbeddedSite {
    account: AccountId,
    clock: Arc<SiteClock>,
    database: sled::Db,
    bank: Arc<Bank>,
    bank_link: BankOfCaller,
    sls: SlsClient,
    sls_service: Arc<SlsService>,
    hosts: Vec<(Arc<HostDaemon>, Arc<dyn HostLink>)>,
    journal: PathBuf,
    // Last, so that everything is closed before others may open it.
    _lock: Lock,
}

/// The keys of the site's parties, made from its seed.
struct Keys {
    seed: [u8; 32],
}

impl Keys {
    fn of(&self, party: &str) -> Arc<SecretKey> {
        let seed = Sha256::new().chain_update(b"tycoon embedded site\0").chain_update(self.seed).chain_update(party);
        Arc::new(SecretKey::from_seed(&seed.finalize().into()))
    }
}

/// Makes callers that have the site's clock.
struct Callers {
    clock: Arc<SiteClock>,
    nonces: Arc<dyn NonceSource>,
}

impl Callers {
    fn caller(&self, signer: Arc<dyn Signer>, service: &Arc<dyn Signer>, transport: Arc<dyn Transport>) -> Caller {
        Caller::new(signer, service.public_key(), transport)
            .with_clock(self.clock.clone())
            .with_nonces(self.nonces.clone())
    }
}

impl EmbeddedSite {
    /// Opens the site of this user, or makes it.
    pub fn open(
        folders: &Folders,
        identity: &Identity,
        surroundings: &Surroundings,
        command: &str,
        output: &Output,
    ) -> Result<Self, Failure> {
        let folder = StateFolder::at(folders.embedded_site())?;
        let lock = Lock::take(&folder.lock_file(), "the embedded site", command, LOCK_PATIENCE)
            .map_err(|error| Failure::from_lock(&error))?;
        let seed = folder.prepare(surroundings.seed)?;
        let database = store::open_database(&folder)?;
        let keys = Keys { seed };
        let clock = Arc::new(SiteClock::new(surroundings.clock.clone()));
        // Nonces keep calls apart. In one process nobody can replay any, and tests want the same run every time.
        let nonces: Arc<dyn NonceSource> = match surroundings.seed {
            Some(seed) => Arc::new(CountedNonces::new(seed)),
            None => Arc::new(RandomNonces),
        };
        let callers = Callers { clock: clock.clone(), nonces };
        let bank_key: Arc<dyn Signer> = keys.of("bank");
        let bank = open_bank(&folder, &database, &keys, &clock, output)?;
        let registration = Registration::Open;
        let bank_service: Arc<dyn Transport> = Arc::new(InProcess(BankService::new(
            bank.clone(),
            bank_key.clone(),
            clock.clone(),
            ReplayPolicy::IN_PROCESS,
            registration,
        )));
        let sls_key: Arc<dyn Signer> = keys.of("sls");
        let sls_service = Arc::new(
            SlsService::open(sls_key.clone(), clock.clone(), ReplayPolicy::IN_PROCESS, Policy::default(), None)
                .map_err(|error| Failure::from_error(Exit::Failed, &error))?,
        );
        let sls_transport: Arc<dyn Transport> = Arc::new(InProcess(sls_service.clone()));
        let sls_of = |signer: Arc<dyn Signer>| {
            let caller = callers.caller(signer, &sls_key, sls_transport.clone());
            SlsClient::new(vec![NamedCaller { name: "the embedded site".into(), caller }])
        };
        let user: Arc<dyn Signer> = identity.key.clone();
        let bank_of = |signer| BankClient::new(callers.caller(signer, &bank_key, bank_service.clone()));
        let owner = AccountId::of(&keys.of("owner").public_key());
        let mut hosts = Vec::new();
        for (number, host) in HOSTS.iter().enumerate() {
            let signer: Arc<dyn Signer> = keys.of(host.name);
            let daemon = open_host(number, host, &database, &signer, owner, bank_of(signer.clone()), &clock)?;
            let transport: Arc<dyn Transport> = Arc::new(InProcess(daemon.clone()));
            let client = HostClient::new(callers.caller(user.clone(), &signer, transport));
            let link: Arc<dyn HostLink> = Arc::new(HostOfCaller::new(client, daemon.clone(), identity.account()));
            hosts.push((daemon, link));
        }
        let site = Self {
            account: identity.account(),
            clock,
            database,
            bank,
            bank_link: BankOfCaller::new(bank_of(user.clone()), identity.account()),
            sls: sls_of(user),
            sls_service,
            hosts,
            journal: folder.bank_journal(),
            _lock: lock,
        };
        site.open_accounts(&keys, &bank_of, output)?;
        site.catch_up()?;
        site.register(&keys, &sls_of)?;
        Ok(site)
    }

    /// Opens the accounts of the owner and of the user, who gets an opening balance.
    fn open_accounts(
        &self,
        keys: &Keys,
        bank_of: &dyn Fn(Arc<dyn Signer>) -> BankClient,
        output: &Output,
    ) -> Result<(), Failure> {
        let failed = |error: tycoon_rpc::CallError| {
            Failure::from_error(Exit::Failed, &error).context("the embedded bank cannot open your account")
        };
        let unreadable = |error: tycoon_bank::BankError| Failure::from_error(Exit::Failed, &error);
        let found = self.bank.read(|store| store.account(&self.account)).map_err(unreadable)?;
        // An account without any entry is one whose opening was cut short: its balance is still to come.
        if found.is_some_and(|account| account.entries > 0) {
            return Ok(());
        }
        let owner = keys.of("owner");
        let owner_key = owner.public_key();
        bank_of(owner).open_account(owner_key, AccountKind::Owner, "owner of the simulated hosts").map_err(failed)?;
        let user = self.bank_link.client();
        user.open_account(user.public_key(), AccountKind::User, "").map_err(failed)?;
        let mut id = [0; 16];
        id.copy_from_slice(&Sha256::digest(self.account.as_bytes())[..16]);
        let request = api::IssueRequest {
            id: TransferId::from_bytes(id),
            to: self.account,
            amount: OPENING_BALANCE,
            memo: "opening balance".into(),
        };
        bank_of(keys.of("issuer")).issue(&request).map_err(failed)?;
        output.message(&format!(
            "made an embedded site of {} simulated hosts; its bank gave you {} credits",
            HOSTS.len(),
            OPENING_BALANCE
        ));
        Ok(())
    }

    /// Leads the site through the time since it was last open.
    fn catch_up(&self) -> Result<(), Failure> {
        let failed = |error: tycoon_xen::daemon::DaemonError| Failure::from_error(Exit::Failed, &error);
        let now = self.clock.machine_now();
        let busy: Vec<&Arc<HostDaemon>> =
            self.hosts.iter().map(|(daemon, _)| daemon).filter(|daemon| !daemon.is_idle()).collect();
        let Some(mut time) = busy.iter().map(|daemon| daemon.accounted_at()).min() else { return Ok(()) };
        while now.since(time) > CATCH_UP_STEP {
            time = time.plus(CATCH_UP_STEP);
            self.clock.lead(time);
            for daemon in busy.iter().filter(|daemon| daemon.accounted_at() < time) {
                daemon.tick().map_err(failed)?;
            }
        }
        self.clock.release();
        busy.iter().try_for_each(|daemon| daemon.resume(None)).map_err(failed)
    }

    /// Registers every host.
    fn register(&self, keys: &Keys, sls_of: &dyn Fn(Arc<dyn Signer>) -> SlsClient) -> Result<(), Failure> {
        for ((daemon, _), host) in self.hosts.iter().zip(&HOSTS) {
            let labels =
                BTreeMap::from([("site".to_owned(), "embedded".to_owned()), ("rack".to_owned(), host.rack.to_owned())]);
            let record =
                daemon.record(labels, Vec::new()).map_err(|error| Failure::from_error(Exit::Failed, &error))?;
            let signed = daemon.sign(&record).map_err(|error| Failure::from_error(Exit::Failed, &error))?;
            for outcome in sls_of(keys.of(host.name)).register(&signed) {
                outcome.map_err(|error| Failure::from_error(Exit::Failed, &error))?;
            }
        }
        Ok(())
    }

    /// Counts all money anew from the bank's journal.
    pub fn audit(&self) -> Result<Audit, Failure> {
        let index =
            SledStore::open(&self.database, BANK_TREE).map_err(|error| Failure::from_error(Exit::Failed, &error))?;
        audit(&self.journal, Some(&index)).map_err(|error| Failure::from_error(Exit::Failed, &error))
    }

    /// The user's client of the bank.
    pub const fn bank_client(&self) -> &BankClient {
        self.bank_link.client()
    }

    /// Puts on disk what is not there yet.
    pub fn close(&self) -> Result<(), Failure> {
        self.bank.flush().map_err(|error| Failure::from_error(Exit::Failed, &error))?;
        self.sls_service.flush().map_err(|error| Failure::from_error(Exit::Failed, &error))?;
        self.database.flush().map_err(|error| Failure::from_error(Exit::Failed, &error))?;
        Ok(())
    }
}

/// The tree of the bank's index.
const BANK_TREE: &str = "bank";

fn open_bank(
    folder: &StateFolder,
    database: &sled::Db,
    keys: &Keys,
    clock: &Arc<SiteClock>,
    output: &Output,
) -> Result<Arc<Bank>, Failure> {
    let failed = |error: &dyn std::error::Error| {
        Failure::from_error(Exit::Failed, error).context("the books of the embedded bank cannot be opened").help(
            format!(
                "nothing was changed. Restore {} from a backup; or move it aside, and a new embedded site is made",
                folder.path().display()
            ),
        )
    };
    let mut options = Options::new(folder.bank_journal());
    options.check = Check::Tail;
    options.hook = super::world::bank_hook();
    let store = Arc::new(SledStore::open(database, BANK_TREE).map_err(|error| failed(&error))?);
    let issuer = keys.of("issuer").public_key();
    let (bank, recovery) =
        Bank::open(options, store, keys.of("bank"), clock.clone(), issuer).map_err(|error| failed(&error))?;
    if let Some(cut) = &recovery.cut {
        output.message(&format!("note: the last record of the bank's journal was torn and was cut: {cut:?}"));
    }
    if let Some(reason) = &recovery.rebuilt
        && !recovery.founded
    {
        output.message(&format!("note: the index of the bank was made anew from its journal ({reason})"));
    }
    Ok(Arc::new(bank))
}

fn open_host(
    number: usize,
    host: &SimulatedHost,
    database: &sled::Db,
    signer: &Arc<dyn Signer>,
    owner: AccountId,
    bank: BankClient,
    clock: &Arc<SiteClock>,
) -> Result<Arc<HostDaemon>, Failure> {
    let failed = |error: &dyn std::error::Error| {
        Failure::from_error(Exit::Failed, error).context(&format!("the simulated host {} cannot be opened", host.name))
    };
    let tree = |kind: &str| database.open_tree(format!("{}.{kind}", host.name)).map_err(|error| failed(&error));
    let machine = MemoryHostConfig {
        cpus: host.cpus,
        memory_bytes: (host.memory_gib + 1) << 30,
        disk_bytes: host.disk_gib << 30,
        seed: number as u64,
        images: IMAGES.iter().map(|image| (*image).to_owned()).collect(),
        network: PrivateNetwork::numbered(number as u32 + 1),
        ..MemoryHostConfig::default()
    };
    let hypervisor = Arc::new(MemoryHost::open(tree("machine")?, machine).map_err(|error| failed(&error))?);
    let facts = hypervisor.facts().map_err(|error| failed(&error))?;
    let capacity: BTreeMap<ResourceKind, Quantity> = facts.capacity.into_iter().collect();
    let (cpu, memory, disk) = host.prices;
    let prices = [(ResourceKind::Cpu, cpu), (ResourceKind::Memory, memory), (ResourceKind::Disk, disk)];
    let base_price = prices.map(|(kind, credits)| (kind, Rate::from_credits_per_hour(credits)));
    let name: HostName = host.name.parse().map_err(|error: tycoon_market::name::NameError| failed(&error))?;
    let bank_key = bank.bank();
    let daemon = HostDaemon::open(HostParts {
        identity: HostIdentity { name, signer: signer.clone(), owner, bank: bank_key },
        tree: tree("daemon")?,
        config: HostConfig::new(capacity, BTreeMap::from(base_price)),
        hypervisor,
        bank,
        clock: clock.clone(),
        replay: ReplayPolicy::IN_PROCESS,
    });
    daemon.map(Arc::new).map_err(|error| failed(&error))
}

/// The images that the simulated hosts pretend to have, besides the tiny one that every host has.
const IMAGES: [&str; 3] = ["alma-9", "debian-12", "ubuntu-24.04"];

impl Site for EmbeddedSite {
    fn account(&self) -> AccountId {
        self.account
    }

    fn bank(&self) -> &dyn BankLink {
        &self.bank_link
    }

    fn hosts(&self) -> Result<Vec<SiteHost>, LinkError> {
        let found = self
            .sls
            .hosts(&HostQuery::default())
            .map_err(|problem| LinkError::Unreachable { reason: format!("{problem}: {}", problem.source) })?;
        let known = found.hosts.iter().filter(|seen| seen.is_live).filter_map(|seen| {
            let record = seen.record();
            let (_, link) = self.hosts.iter().find(|(daemon, _)| daemon.id() == record.host)?;
            Some(SiteHost {
                id: record.host,
                name: record.name.clone(),
                owner: record.owner,
                key: record.key,
                is_simulated: record.is_simulated,
                architecture: record.architecture.clone(),
                labels: record.labels.clone(),
                link: link.clone(),
            })
        });
        Ok(known.collect())
    }

    fn clock(&self) -> &dyn Clock {
        &*self.clock
    }
}
