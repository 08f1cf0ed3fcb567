//! A site in this process: bank, service location service and simulated hosts, for whoever has no real site yet. It is
//! the same code as the services, without the network. Which hosts it has says a description: `embedded.kdl` beside
//! this file, or the one given by `--site`.
//!
//! Its state is under the XDG state directory, by the site's name. One process at a time has it open. The simulated hosts live on while no
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
use tycoon_executor::HostLink;
use tycoon_executor::link::{BankLink, LinkError, SiteHost};
use tycoon_executor::lock::Lock;
use tycoon_lang::site::{SimulatedHost, Site};
use tycoon_market::auctioneer::HostConfig;
use tycoon_market::ids::TransferId;
use tycoon_market::{AccountId, HostName, Quantity, Rate, ResourceKind, TimeSpan};
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

/// How long another process may have the site open before it is said who has.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
/// Time that passed while nobody looked is led through in steps of this: the bank returns escrows of which it hears
/// nothing for a day, so that hosts have to report more often than that.
const CATCH_UP_STEP: TimeSpan = TimeSpan::from_seconds(12 * 3_600);

/// A site in this process, open.
pub struct EmbeddedSite {
    description: Site,
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
        description: Site,
        folders: &Folders,
        identity: &Identity,
        surroundings: &Surroundings,
        command: &str,
        output: &Output,
    ) -> Result<Self, Failure> {
        let folder = StateFolder::at(folders.site())?;
        let what = format!("the site `{}`", description.name);
        let lock = Lock::take(&folder.lock_file(), &what, command, LOCK_PATIENCE)
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
        for (number, host) in description.hosts.iter().enumerate() {
            let signer: Arc<dyn Signer> = keys.of(&host.address);
            let daemon = open_host(number, host, &database, &signer, owner, bank_of(signer.clone()), &clock)?;
            let transport: Arc<dyn Transport> = Arc::new(InProcess(daemon.clone()));
            let client = HostClient::new(callers.caller(user.clone(), &signer, transport));
            let link: Arc<dyn HostLink> = Arc::new(HostOfCaller::new(client, daemon.clone(), identity.account()));
            hosts.push((daemon, link));
        }
        let site = Self {
            description,
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
            Failure::from_error(Exit::Failed, &error).context("the site's bank cannot open your account")
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
            amount: self.description.opening_balance,
            memo: "opening balance".into(),
        };
        bank_of(keys.of("issuer")).issue(&request).map_err(failed)?;
        output.message(&format!(
            "made a site `{}` of {} simulated hosts; its bank gave you {} credits",
            self.description.name,
            self.hosts.len(),
            self.description.opening_balance
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
        for ((daemon, _), host) in self.hosts.iter().zip(&self.description.hosts) {
            let record = daemon
                .record(host.labels.clone(), Vec::new())
                .map_err(|error| Failure::from_error(Exit::Failed, &error))?;
            let signed = daemon.sign(&record).map_err(|error| Failure::from_error(Exit::Failed, &error))?;
            for outcome in sls_of(keys.of(&host.address)).register(&signed) {
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
        Failure::from_error(Exit::Failed, error).context("the books of the site's bank cannot be opened").help(format!(
            "nothing was changed. Restore {} from a backup; or move it aside, and a new site is made",
            folder.path().display()
        ))
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
        Failure::from_error(Exit::Failed, error)
            .context(&format!("the simulated host {} cannot be opened", host.address))
    };
    let tree = |kind: &str| database.open_tree(format!("host {} {kind}", host.address)).map_err(|error| failed(&error));
    let machine = MemoryHostConfig {
        architecture: host.architecture.clone(),
        cpus: host.cpus,
        memory_bytes: host.memory_bytes.saturating_add(CONTROL_MEMORY_BYTES),
        control_memory_bytes: CONTROL_MEMORY_BYTES,
        disk_bytes: host.disk_bytes,
        boot_time: host.boot_time,
        seed: number as u64,
        images: host.images.iter().cloned().collect(),
        network: PrivateNetwork::numbered(number as u32 + 1),
        ..MemoryHostConfig::default()
    };
    let hypervisor = Arc::new(MemoryHost::open(tree("machine")?, machine).map_err(|error| failed(&error))?);
    let facts = hypervisor.facts().map_err(|error| failed(&error))?;
    let capacity: BTreeMap<ResourceKind, Quantity> = facts.capacity.into_iter().collect();
    let prices = [
        (ResourceKind::Cpu, host.cpu_price),
        (ResourceKind::Memory, host.memory_price),
        (ResourceKind::Disk, host.disk_price),
    ];
    let base_price = prices.map(|(kind, credits)| (kind, Rate::of(credits, HOUR).unwrap_or_default()));
    let name: HostName = host.address.parse().map_err(|error: tycoon_market::name::NameError| failed(&error))?;
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

/// The memory of a simulated control domain, in bytes.
const CONTROL_MEMORY_BYTES: u64 = 1 << 30;
/// What prices are for.
const HOUR: TimeSpan = TimeSpan::from_seconds(3_600);

impl tycoon_executor::Site for EmbeddedSite {
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
