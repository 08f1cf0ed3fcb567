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

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use thiserror::Error;
use tycoon_bank::client::BankClient;
use tycoon_market::auctioneer::HostConfig;
use tycoon_market::{AccountId, HostId, HostName, PublicKey};
use tycoon_rpc::{Clock, Limits, Receiver, ReplayPolicy, Signer};

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
    /// How much of the time that the daemon was down is charged; `None` for all of it, as for a simulated host,
    /// whose domains live on while nobody looks.
    pub downtime_limit: Option<tycoon_market::TimeSpan>,
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
    /// Opens the host whose state is in the tree, or makes a new one, and accounts for the time since it was last
    /// open.
    pub fn open(parts: HostParts) -> Result<Self, DaemonError> {
        let HostParts { identity, tree, config, hypervisor, bank, clock, replay, downtime_limit } = parts;
        let id = HostId::of(&identity.signer.public_key());
        let store = Store::new(identity.name.clone(), tree);
        let state = store.open(config, clock.now())?;
        let receiver = Receiver::new(identity.signer.clone(), clock.clone(), replay, Limits::DEFAULT);
        let daemon = Self { identity, id, hypervisor, bank, clock, receiver, store, state: Mutex::new(state) };
        daemon.account_for_time(downtime_limit)?;
        Ok(daemon)
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

    /// Charges for the time since the last tick, divides anew, enforces that, and tells the bank.
    pub fn tick(&self) -> Result<(), DaemonError> {
        self.account_for_time(None)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is only replaced by one that was saved, so that a panic elsewhere leaves it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
