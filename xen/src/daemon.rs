//! The daemon of one host: it runs the auctioneer, sells what the hypervisor has, and enforces what was sold.
//!
//! ```text
//!   signed calls (money, bids) ──→ service ─┐
//!   sessions (domains) ──────────→ session ─┼─→ HostDaemon ─→ auctioneer (pure) ─→ state, on disk
//!   time ────────────────────────→ tick ────┘        │
//!                                                    ├─→ hypervisor: weights, caps, stop, remove
//!                                                    └─→ bank: signed cumulative statements
//! ```
//!
//! What was decided is on disk before anything is answered or enforced. Enforcement looks at what should be and at
//! what is, never at what was last done: after a crash, or when a call to the hypervisor failed, the next tick puts
//! it right. The same holds for statements to the bank: they are cumulative, and sent until they are acknowledged.
//!
//! Neither hypervisor nor bank is waited for with the state locked, so that a slow one delays only who needs it.
//! The locks are always taken in this order: `telling`, `measuring`, `restarting`, `enforcing` or `takings`, then the state.

mod addresses;
mod books;
mod calls;
mod charges;
mod counters;
mod elastic;
mod enforce;
mod entry;
mod faults;
mod funding;
mod jobs;
mod keep;
mod keys;
mod log;
mod market;
mod news;
mod owner;
mod packed_charges;
mod packs;
mod published;
mod schemas;
mod service;
mod session;
mod shared;
mod state;
mod statements;
mod store;
mod usage;
mod volumes;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use thiserror::Error;
use tycoon_bank::client::BankClient;
use tycoon_market::auctioneer::{Event, HostConfig};
use tycoon_market::{AccountId, HostAccountId, HostId, HostName, PublicKey, TimeSpan, Timestamp};
use tycoon_rpc::{Clock, Limits, Receiver, ReplayPolicy, Signer};
use tycoon_sls::record::{HostRecord, RecordError, SignedRecord};

pub use counters::MarketFigures;
pub use entry::SshPlace;
pub use faults::HostFault;
pub use service::{KEY_REMOVED, NO_ACCOUNT, UNDER_WAY, openapi};
pub use store::SaveHook;

use crate::hypervisor::{HostFacts, Hypervisor, HypervisorError};
use crate::own_image;
use counters::Counters;
use faults::Faults;
use jobs::Jobs;
use news::News;
use session::Taking;
use state::State;
use store::Store;

/// Who a host is and whom it trusts.
pub struct HostIdentity {
    /// Its name.
    pub name: HostName,
    /// Its key.
    pub signer: Arc<dyn Signer>,
    /// Who earns what it charges.
    pub owner: AccountId,
    /// The key of the bank whose receipts it takes.
    pub bank: PublicKey,
}

/// What a daemon is made of.
pub struct HostParts {
    /// Who it is.
    pub identity: HostIdentity,
    /// Where its state is kept.
    pub tree: sled::Tree,
    /// Where it is kept what came in since that was written, and what happened: of the same database.
    pub log: sled::Tree,
    /// What it sells, and how.
    pub config: HostConfig,
    /// What runs the domains.
    pub hypervisor: Arc<dyn Hypervisor>,
    /// The bank.
    pub bank: BankClient,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// How calls are kept from being replayed.
    pub replay: ReplayPolicy,
}

/// Why a host cannot do its work.
#[derive(Debug, Error)]
pub enum DaemonError {
    /// Its state cannot be read or written.
    #[error("the state of host {host} cannot be {action}")]
    Store {
        /// The host.
        host: HostName,
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        #[source]
        source: sled::Error,
    },
    /// Its state is not what was written.
    #[error("the state of host {host} is damaged")]
    Damaged {
        /// The host.
        host: HostName,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// Its state was written by another version of this program.
    #[error("the state of host {host} has version {found}, and this program reads version {known}; use a newer one")]
    Version {
        /// The host.
        host: HostName,
        /// The version of what is there.
        found: u32,
        /// The version that is understood.
        known: u32,
    },
    /// Its configuration cannot be used.
    #[error("the configuration of host {host} cannot be used: {reason}")]
    Config {
        /// The host.
        host: HostName,
        /// What is wrong with it.
        reason: String,
    },
    /// Its hypervisor does not answer.
    #[error("the hypervisor of host {host} fails")]
    Hypervisor {
        /// The host.
        host: HostName,
        /// Why.
        #[source]
        source: HypervisorError,
    },
}

/// The daemon of one host.
pub struct HostDaemon {
    identity: HostIdentity,
    id: HostId,
    hypervisor: Arc<dyn Hypervisor>,
    bank: BankClient,
    clock: Arc<dyn Clock>,
    receiver: Receiver,
    store: Store,
    settings: Mutex<HostConfig>,
    state: Mutex<State>,
    /// Held from looking at CPU times until they are charged: what of the time since then is charged at most, where the
    /// daemon was down meanwhile.
    measuring: Mutex<Option<TimeSpan>>,
    /// True where a downtime is not charged yet, of which only a part is to be: nobody else lets time pass before.
    owes_time: AtomicBool,
    /// Held while the hypervisor is made to do what the market says; the domains that have yet to give memory back.
    enforcing: Mutex<elastic::Overdue>,
    /// Held while a domain that ended by itself is started again, so that nobody stops it meanwhile.
    restarting: Mutex<()>,
    /// When the domains were looked at last.
    looked_at: Mutex<Timestamp>,
    /// Held while the bank is told what was charged.
    telling: Mutex<()>,
    /// How often the bank did not answer when it was told.
    silences: AtomicU64,
    /// What sessions are taking at this moment, by a number of their own.
    takings: Mutex<BTreeMap<u64, Taking>>,
    faults: Faults,
    /// The keys of the owner, where others than the first key of her account.
    owner_keys: Vec<PublicKey>,
    /// What she says of the host.
    labels: BTreeMap<String, String>,
    /// Where sessions of accounts reach the host over SSH.
    ssh: Option<SshPlace>,
    /// What the hypervisor said last of itself.
    facts: Mutex<Option<HostFacts>>,
    news: News,
    jobs: Jobs,
    counters: Counters,
}

/// What nobody else has in hand. What these locks guard is replaced as a whole, or the process ends with it, so that a
/// panic elsewhere leaves it whole.
fn alone<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl HostDaemon {
    /// Opens the host whose state is in the tree, or makes a new one. [`HostDaemon::resume`] then accounts for the time
    /// since it was last open. What the owner has set anew since then (see [`HostConfig`]) holds from the next
    /// tick on; the time before is charged at the old prices.
    pub fn open(parts: HostParts) -> Result<Self, DaemonError> {
        let HostParts { identity, tree, log, config, hypervisor, bank, clock, replay } = parts;
        let id = HostId::of(&identity.signer.public_key());
        let store = Store::new(identity.name.clone(), tree, log);
        let mut state = store.open(&config, clock.now())?;
        if state.is_idle() {
            // Nobody is charged, so that there is nothing to wait for.
            let settings = state.settings(&config);
            state.adopt_settings(&settings, clock.now());
        }
        let events = store.events()?;
        // What a crash kept from being told has the last numbers.
        let news = News::of(events, state.last_event.saturating_sub(state.news.len() as u64));
        let looked_at = Mutex::new(state.auctioneer.accounted_at());
        let receiver = Receiver::new(identity.signer.clone(), clock.clone(), replay, Limits::DEFAULT);
        Ok(Self {
            identity,
            id,
            hypervisor,
            bank,
            clock,
            receiver,
            store,
            settings: Mutex::new(config),
            state: Mutex::new(state),
            measuring: Mutex::default(),
            owes_time: AtomicBool::new(false),
            enforcing: Mutex::default(),
            restarting: Mutex::default(),
            looked_at,
            telling: Mutex::default(),
            silences: AtomicU64::new(0),
            takings: Mutex::default(),
            faults: Faults::default(),
            owner_keys: Vec::new(),
            labels: BTreeMap::new(),
            ssh: None,
            facts: Mutex::default(),
            news,
            jobs: Jobs::default(),
            counters: Counters::default(),
        })
    }

    /// The same host with its gate changed.
    #[must_use]
    pub fn with_receiver(mut self, change: impl FnOnce(Receiver) -> Receiver) -> Self {
        self.receiver = change(self.receiver);
        self
    }

    /// The same host with something that is called before each change is written and after it is on disk: for tests that
    /// end the process there.
    #[must_use]
    pub fn with_save_hook(mut self, hook: Option<SaveHook>) -> Self {
        if let Some(hook) = hook {
            self.store.set_hook(hook);
        }
        self
    }

    /// The same host with these keys of its owner, in place of the first key of her account.
    #[must_use]
    pub fn with_owner_keys(mut self, keys: Vec<PublicKey>) -> Self {
        self.owner_keys = keys;
        self
    }

    /// The same host with what its owner says of it.
    #[must_use]
    pub fn with_labels(mut self, labels: BTreeMap<String, String>) -> Self {
        self.labels = labels;
        self
    }

    /// What the host says of itself now. The hypervisor is asked.
    fn facts(&self) -> Result<HostFacts, DaemonError> {
        let facts = self.hypervisor.facts().map_err(|error| self.hypervisor_failed(error))?;
        *alone(&self.facts) = Some(facts.clone());
        Ok(facts)
    }

    /// What the hypervisor said last of itself. It is asked where it has never said anything.
    fn known_facts(&self) -> Result<HostFacts, DaemonError> {
        let known = alone(&self.facts).clone();
        known.map_or_else(|| self.facts(), Ok)
    }

    /// Its id.
    pub const fn id(&self) -> HostId {
        self.id
    }

    /// Its name.
    pub const fn name(&self) -> &HostName {
        &self.identity.name
    }

    /// Its key.
    pub fn key(&self) -> PublicKey {
        self.identity.signer.public_key()
    }

    /// Accounts for the time that the daemon was down: at most `downtime_limit` of it is charged; all of it where
    /// there is no limit, as for a simulated host, whose domains live on while nobody looks. Where that fails, the limit
    /// holds until the time is charged.
    pub fn resume(&self, downtime_limit: Option<TimeSpan>) -> Result<(), DaemonError> {
        *alone(&self.measuring) = downtime_limit;
        self.owes_time.store(downtime_limit.is_some(), Ordering::Relaxed);
        let accounted = self.account_for_time(|| None);
        self.tell();
        accounted
    }

    /// Up to when time is accounted for.
    pub fn accounted_at(&self) -> Timestamp {
        self.lock().auctioneer.accounted_at()
    }

    /// True where no account is open and the bank knows everything, so that time passing means nothing.
    pub fn is_idle(&self) -> bool {
        let state = self.lock();
        state.is_idle() && state.statements.keys().all(|escrow| state.is_settled(escrow))
    }

    /// The same host, which sessions of accounts reach over SSH at this place.
    #[must_use]
    pub fn with_ssh(mut self, place: Option<SshPlace>) -> Self {
        self.ssh = place;
        self
    }

    /// The account of a key that may open sessions here: it has a host account, had one lately, or has domains here. It
    /// need not be funded, for whoever ran out of money must reach her data.
    pub fn account_of_key(&self, key: &PublicKey) -> Result<Option<AccountId>, DaemonError> {
        let (account, is_known) = {
            let state = self.lock();
            (state.keys.account_of(key), state.keys.knows(key))
        };
        if is_known {
            return Ok(account);
        }
        let domains = self.hypervisor.domains(self.clock.now()).map_err(|error| self.hypervisor_failed(error))?;
        let has_domains = |account: &AccountId| {
            domains.iter().any(|domain| domain.ownership.as_ref().is_some_and(|own| own.account == *account))
        };
        Ok(account.filter(has_domains))
    }

    /// What went wrong lately and is tried again, the latest last. It is forgotten when the daemon ends.
    pub fn faults(&self) -> Vec<HostFault> {
        self.faults.list()
    }

    /// The owner sets everything anew: what is sold, base prices, times and limits.
    pub fn configure(&self, config: HostConfig) -> Result<(), DaemonError> {
        config.check().map_err(|error| DaemonError::Config { host: self.name().clone(), reason: error.to_string() })?;
        *alone(&self.settings) = config;
        self.tick()
    }

    /// The owner admits nobody new any more, or does again. Who runs goes on.
    pub fn set_draining(&self, draining: bool) -> Result<(), DaemonError> {
        let changed = self.change(|state, now| Ok(books::apply(state, Event::SetDraining { draining }, now)?));
        changed.map_err(|error| self.not_refused(error))
    }

    /// The owner puts an account out: it is warned, stopped and deleted like one that is displaced. False where there
    /// is no such account.
    pub fn evict(&self, account: &HostAccountId) -> Result<bool, DaemonError> {
        let changed = self.change(|state, now| {
            let is_there = state.auctioneer.account(account).is_some();
            if is_there {
                books::apply(state, Event::Evict { account: account.clone() }, now)?;
            }
            Ok(is_there)
        });
        self.enforce();
        changed.map_err(|error| self.not_refused(error))
    }

    /// What the host says of itself to a service location service.
    pub fn record(&self, labels: BTreeMap<String, String>, addresses: Vec<String>) -> Result<HostRecord, DaemonError> {
        let facts = self.facts()?;
        let now = self.clock.now();
        let (offers, prices, unique) = {
            let state = self.lock();
            (published::offers(&state), published::prices(&state), published::unique(&state))
        };
        let record = HostRecord {
            host: self.id,
            name: self.name().clone(),
            key: self.key(),
            addresses,
            owner: self.identity.owner,
            labels,
            architecture: facts.architecture,
            hypervisor: facts.hypervisor,
            is_simulated: facts.is_simulated,
            offers,
            prices,
            unique,
            images: own_image::visible(&facts.images, None),
            ssh: self.ssh.as_ref().map(|place| place.address.clone()),
            ssh_host_key: self.ssh.as_ref().and_then(|place| place.host_key).map(|key| key.to_string()),
            software_version: env!("CARGO_PKG_VERSION").to_owned(),
            load: tycoon_market::Quantity::ZERO,
            sequence: u64::try_from(now.micros()).unwrap_or(0),
            issued_at: now,
        };
        Ok(record.fitted())
    }

    /// Signs a record of this host.
    pub fn sign(&self, record: &HostRecord) -> Result<SignedRecord, RecordError> {
        SignedRecord::sign(record, &*self.identity.signer)
    }

    /// The time from one tick to the next that its owner wants.
    pub fn interval(&self) -> TimeSpan {
        self.lock().auctioneer.config().interval
    }

    /// Whether the host can do its work: its state can be written, and its hypervisor answers.
    pub fn check_health(&self) -> Result<(), DaemonError> {
        self.facts().map(drop)
    }

    /// Charges for the time since the last tick, divides anew, enforces that, and tells the bank.
    pub fn tick(&self) -> Result<(), DaemonError> {
        let ticked = self.beat(|| None);
        self.tell();
        ticked
    }

    /// A tick that leaves what the bank is to be told to [`HostDaemon::tell`]. The clock may be set anew by `follow`,
    /// which says how much of the time since the last tick is charged at most. Nobody else sees the clock before the time
    /// is charged. Where the hypervisor does not answer, `follow` is not called.
    pub fn beat(&self, follow: impl FnOnce() -> Option<TimeSpan>) -> Result<(), DaemonError> {
        let began = std::time::Instant::now();
        let ticked = self.account_for_time(follow);
        self.counters.ticked(began.elapsed(), ticked.is_ok());
        self.pack_charges();
        ticked
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        alone(&self.state)
    }
}
