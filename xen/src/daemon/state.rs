//! What a host remembers, and how it is kept.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tycoon_market::auctioneer::{Auctioneer, HostConfig};
use tycoon_market::ids::EscrowId;
use tycoon_market::{AccountId, Credits, HostAccountId, HostName, PublicKey, TimeSpan, Timestamp};

use super::DaemonError;

/// The key of the state in its tree.
const STATE_KEY: &[u8] = b"state";
/// The version of the state's form.
const VERSION: u32 = 1;

/// What a host remembers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    version: u32,
    /// The market.
    pub(super) auctioneer: Auctioneer,
    /// What is remembered of each host account beside its money.
    pub(super) accounts: BTreeMap<HostAccountId, AccountNotes>,
    /// The newest generation of a plan for each pool, also of pools without an account.
    pub(super) generations: BTreeMap<HostAccountId, u64>,
    /// The accounts of keys, as receipts tell them. A key that is not here has the account of its own hash.
    pub(super) accounts_of_keys: BTreeMap<PublicKey, AccountId>,
    /// The CPU time of each domain, by its hypervisor name, when it was last charged.
    pub(super) cpu_marks: BTreeMap<String, TimeSpan>,
    /// What the bank is to be told of each escrow.
    pub(super) statements: BTreeMap<EscrowId, StatementNotes>,
    /// Accounts that were closed: what came of them, so that closing again has the same answer.
    pub(super) closed: BTreeMap<HostAccountId, ClosedNotes>,
}

/// What is remembered of a host account beside its money.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct AccountNotes {
    /// When it was opened.
    pub(super) opened_at: Timestamp,
}

/// What the bank is to be told of an escrow, and what it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StatementNotes {
    /// What was charged to it.
    pub(super) drawn: Credits,
    /// What goes back of it.
    pub(super) released: Credits,
    /// True where nothing more will be drawn.
    pub(super) closed: bool,
    /// The number of the last statement that was made.
    pub(super) sequence: u64,
    /// What the bank has acknowledged.
    pub(super) acknowledged: Option<(Credits, Credits, bool)>,
    /// When the bank last acknowledged anything.
    pub(super) told_at: Timestamp,
}

impl StatementNotes {
    /// True where the bank does not know the latest.
    pub(super) fn is_news(&self) -> bool {
        self.acknowledged != Some((self.drawn, self.released, self.closed))
    }
}

/// What came of an account that was closed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ClosedNotes {
    /// All that was charged.
    pub(super) charged: Credits,
    /// All that goes back.
    pub(super) refunded: Credits,
    /// Its escrows.
    pub(super) escrows: Vec<EscrowId>,
}

impl State {
    fn new(auctioneer: Auctioneer) -> Self {
        Self {
            version: VERSION,
            auctioneer,
            accounts: BTreeMap::new(),
            generations: BTreeMap::new(),
            accounts_of_keys: BTreeMap::new(),
            cpu_marks: BTreeMap::new(),
            statements: BTreeMap::new(),
            closed: BTreeMap::new(),
        }
    }

    /// The account of a key.
    pub(super) fn account_of(&self, key: &PublicKey) -> AccountId {
        self.accounts_of_keys.get(key).copied().unwrap_or_else(|| AccountId::of(key))
    }
}

/// Keeps the state of one host in a tree: all of it as one value, so that it is never half new.
#[derive(Debug)]
pub(super) struct Store {
    host: HostName,
    tree: sled::Tree,
}

impl Store {
    pub(super) const fn new(host: HostName, tree: sled::Tree) -> Self {
        Self { host, tree }
    }

    /// The state that is kept; a new one, not yet saved, where there is none.
    pub(super) fn open(&self, config: HostConfig, now: Timestamp) -> Result<State, DaemonError> {
        let fresh = Auctioneer::new(config, now)
            .map_err(|error| DaemonError::Config { host: self.host.clone(), reason: error.to_string() })?;
        match self.tree.get(STATE_KEY).map_err(|source| self.failed("read", source))? {
            None => Ok(State::new(fresh)),
            Some(bytes) => serde_json::from_slice(&bytes)
                .map_err(|source| DaemonError::Damaged { host: self.host.clone(), source }),
        }
    }

    /// Saves the state; it is on disk on return.
    pub(super) fn save(&self, state: &State) -> Result<(), DaemonError> {
        let bytes =
            serde_json::to_vec(state).map_err(|source| DaemonError::Damaged { host: self.host.clone(), source })?;
        self.tree.insert(STATE_KEY, bytes).map_err(|source| self.failed("written", source))?;
        self.tree.flush().map_err(|source| self.failed("written", source))?;
        Ok(())
    }

    fn failed(&self, action: &'static str, source: sled::Error) -> DaemonError {
        DaemonError::Store { host: self.host.clone(), action, source }
    }
}
