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

mod enforce;
mod market;
mod service;
mod session;
mod state;
mod statements;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use thiserror::Error;
use tycoon_bank::client::BankClient;
use tycoon_market::auctioneer::HostConfig;
use tycoon_market::{AccountId, HostId, HostName, PublicKey, TimeSpan, Timestamp};
use tycoon_rpc::{Clock, Limits, Receiver, ReplayPolicy, Signer};
use tycoon_sls::record::{HostRecord, PublishedOffer, RecordError, SignedRecord};

use crate::hypervisor::{Hypervisor, HypervisorError};
use state::{State, Store};

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
    state: Mutex<State>,
}

impl HostDaemon {
    /// Opens the host whose state is in the tree, or makes a new one. [`HostDaemon::resume`] then accounts for the time
    /// since it was last open.
    pub fn open(parts: HostParts) -> Result<Self, DaemonError> {
        let HostParts { identity, tree, config, hypervisor, bank, clock, replay } = parts;
        let id = HostId::of(&identity.signer.public_key());
        let store = Store::new(identity.name.clone(), tree);
        let state = store.open(config, clock.now())?;
        let receiver = Receiver::new(identity.signer.clone(), clock.clone(), replay, Limits::DEFAULT);
        Ok(Self { identity, id, hypervisor, bank, clock, receiver, store, state: Mutex::new(state) })
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
    /// there is no limit, as for a simulated host, whose domains live on while nobody looks.
    pub fn resume(&self, downtime_limit: Option<TimeSpan>) -> Result<(), DaemonError> {
        self.account_for_time(downtime_limit)
    }

    /// Up to when time is accounted for.
    pub fn accounted_at(&self) -> Timestamp {
        self.lock().auctioneer.accounted_at()
    }

    /// True where no account is open and the bank knows everything, so that time passing means nothing.
    pub fn is_idle(&self) -> bool {
        let state = self.lock();
        state.accounts.is_empty() && state.statements.values().all(|notes| !notes.is_news())
    }

    /// What the host says of itself to a service location service.
    pub fn record(&self, labels: BTreeMap<String, String>, addresses: Vec<String>) -> Result<HostRecord, DaemonError> {
        let facts = self.hypervisor.facts().map_err(|error| self.hypervisor_failed(error))?;
        let now = self.clock.now();
        let offers = self.lock().auctioneer.offers().into_iter().map(|(kind, offer)| {
            let published = PublishedOffer {
                capacity: offer.capacity,
                available: offer.available,
                base_price: offer.base_price,
                bids: offer.bids,
            };
            (kind, published)
        });
        Ok(HostRecord {
            host: self.id,
            name: self.name().clone(),
            key: self.key(),
            addresses,
            owner: self.identity.owner,
            labels,
            architecture: facts.architecture,
            hypervisor: facts.hypervisor,
            is_simulated: facts.is_simulated,
            offers: offers.collect(),
            images: facts.images,
            ssh_host_key: None,
            software_version: env!("CARGO_PKG_VERSION").to_owned(),
            load: tycoon_market::Quantity::ZERO,
            sequence: u64::try_from(now.micros()).unwrap_or(0),
            issued_at: now,
        })
    }

    /// Signs a record of this host.
    pub fn sign(&self, record: &HostRecord) -> Result<SignedRecord, RecordError> {
        SignedRecord::sign(record, &*self.identity.signer)
    }

    /// Charges for the time since the last tick, divides anew, enforces that, and tells the bank.
    pub fn tick(&self) -> Result<(), DaemonError> {
        self.account_for_time(None)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is only replaced by one that was saved, so that a panic elsewhere leaves it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
