//! What a host remembers; `store` keeps it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tycoon_market::auctioneer::Auctioneer;
use tycoon_market::ids::EscrowId;
use tycoon_market::{AccountId, Credits, HostAccountId, TimeSpan, Timestamp};

use super::charges::ChargeBook;
use super::keep::KeptAlive;
use super::keys::KeyBook;
use super::shared::Shared;
use super::statements::StatementNotes;
use crate::events::HostEvent;
use crate::policy::OwnerPolicy;

/// The version of the state's form.
pub(super) const VERSION: u32 = 5;
/// For how long it is remembered what came of a closed account: 30 days.
const CLOSED_MEMORY: TimeSpan = TimeSpan::from_seconds(30 * 86_400);
/// Closed pools of one account that are remembered at most.
const CLOSED_OF_ACCOUNT_MAX: usize = 64;
/// Closed pools that are remembered at most.
const CLOSED_MAX: usize = 16_384;

/// What a host remembers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    pub(super) version: u32,
    /// When this memory begins. What was before, another memory may have known, which is lost.
    pub(super) founded_at: Timestamp,
    /// The market.
    pub(super) auctioneer: Auctioneer,
    /// What is remembered of each host account beside its money.
    pub(super) accounts: Shared<BTreeMap<HostAccountId, AccountNotes>>,
    /// Accounts that were closed: what came of them, so that closing again has the same answer.
    pub(super) closed: Shared<BTreeMap<HostAccountId, ClosedNotes>>,
    /// Whose keys are whose.
    pub(super) keys: Shared<KeyBook>,
    /// The CPU time of each domain, by its hypervisor name, when it was last charged; `None` before the first look,
    /// when nobody knows what was used since when.
    pub(super) cpu_marks: Option<BTreeMap<String, TimeSpan>>,
    /// What the bank is to be told of each escrow.
    pub(super) statements: Shared<BTreeMap<EscrowId, StatementNotes>>,
    /// Domains that are started again when they end, by the hypervisor's names for them.
    #[serde(default)]
    pub(super) kept_alive: BTreeMap<String, KeptAlive>,
    /// What the owner has set by command.
    #[serde(default)]
    pub(super) policy: OwnerPolicy,
    /// Whom she keeps out.
    #[serde(default)]
    pub(super) banned: BTreeSet<AccountId>,
    /// All that was ever charged.
    #[serde(default)]
    pub(super) earned: Credits,
    /// The number of the last event that was told.
    #[serde(default)]
    pub(super) last_event: u64,
    /// What was charged lately, which is kept beside the state.
    #[serde(skip)]
    pub(super) charges: ChargeBook,
    /// What has happened and is not on disk yet.
    #[serde(skip)]
    pub(super) news: Vec<HostEvent>,
    /// The accounts and keys that were looked through last for what can be forgotten. Not kept.
    #[serde(skip)]
    pub(super) looked_through: LookedThrough,
    /// The CPU of each account when it was told last. Not kept.
    #[serde(skip)]
    pub(super) told_shares: Shared<BTreeMap<HostAccountId, u64>>,
}

/// What is remembered of a host account beside its money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AccountNotes {
    /// When it was opened.
    pub(super) opened_at: Timestamp,
    /// The newest generation of a plan that changed it.
    pub(super) generation: u64,
}

/// What came of an account that was closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClosedNotes {
    /// When.
    pub(super) closed_at: Timestamp,
    /// The newest generation of a plan that changed it.
    pub(super) generation: u64,
    /// All that was charged.
    pub(super) charged: Credits,
    /// All that goes back.
    pub(super) refunded: Credits,
    /// Its escrows.
    pub(super) escrows: Vec<EscrowId>,
    /// True where nothing of it is left on the hypervisor.
    pub(super) is_removed: bool,
}

/// The accounts and keys that were looked through last. Two states are the same where they know the same.
#[derive(Clone, Debug, Default)]
pub(super) struct LookedThrough {
    accounts: Shared<BTreeMap<HostAccountId, AccountNotes>>,
    keys: Shared<KeyBook>,
}

impl PartialEq for LookedThrough {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl LookedThrough {
    fn is_of(&self, accounts: &Shared<BTreeMap<HostAccountId, AccountNotes>>, keys: &Shared<KeyBook>) -> bool {
        self.accounts.is_same(accounts) && self.keys.is_same(keys)
    }
}

impl State {
    pub(super) fn new(auctioneer: Auctioneer, now: Timestamp) -> Self {
        Self {
            version: VERSION,
            founded_at: now,
            auctioneer,
            accounts: Shared::default(),
            closed: Shared::default(),
            keys: Shared::default(),
            cpu_marks: None,
            statements: Shared::default(),
            kept_alive: BTreeMap::new(),
            policy: OwnerPolicy::default(),
            banned: BTreeSet::new(),
            earned: Credits::ZERO,
            last_event: 0,
            charges: ChargeBook::default(),
            news: Vec::new(),
            looked_through: LookedThrough::default(),
            told_shares: Shared::default(),
        }
    }

    /// The newest generation of a plan that changed the pool, where that is remembered.
    pub(super) fn generation(&self, id: &HostAccountId) -> Option<u64> {
        let open = self.accounts.get(id).map(|notes| notes.generation);
        open.or_else(|| self.closed.get(id).map(|notes| notes.generation))
    }

    /// Notes that a plan of this generation has changed the pool. Of a pool of which nothing is remembered nothing is
    /// noted: else anybody could fill the memory with names.
    pub(super) fn note_generation(&mut self, id: &HostAccountId, generation: u64) {
        if self.generation(id).is_none_or(|known| generation <= known) {
            return;
        }
        if let Some(notes) = self.accounts.get_mut(id) {
            notes.generation = generation;
        } else if let Some(notes) = self.closed.get_mut(id) {
            notes.generation = generation;
        }
    }

    /// True where the bank knows all of an escrow that it has to know, or does not want to know more.
    pub(super) fn is_settled(&self, escrow: &EscrowId) -> bool {
        self.statements.get(escrow).is_none_or(StatementNotes::is_settled)
    }

    /// True where time passing changes nothing that has to be kept: no account is open.
    pub(super) fn is_idle(&self) -> bool {
        self.accounts.is_empty()
    }

    /// True where the two differ in nothing but the time and what follows from it, on a market without accounts.
    pub(super) fn differs_in_time_only(&self, next: &Self) -> bool {
        self.is_idle()
            && next.is_idle()
            && (self.founded_at, &self.closed, &self.keys, &self.statements)
                == (next.founded_at, &next.closed, &next.keys, &next.statements)
            && (&self.policy, &self.banned, self.last_event) == (&next.policy, &next.banned, next.last_event)
            && self.auctioneer.config() == next.auctioneer.config()
            && self.auctioneer.is_draining() == next.auctioneer.is_draining()
    }

    /// Forgets what is of no use any more: closed accounts after a time, or where there are too many, once their domains
    /// are removed and their money is settled; and the keys of accounts that have nothing here. True where there was
    /// anything.
    pub(super) fn forget(&mut self, now: Timestamp) -> bool {
        // Nearly always nobody has come or gone since the last tick: then there is nothing that was not there then.
        if self.closed.is_empty() && self.looked_through.is_of(&self.accounts, &self.keys) {
            return false;
        }
        let known = self.closed.len();
        let mut done: Vec<(Timestamp, HostAccountId)> = self
            .closed
            .iter()
            .filter(|(_, notes)| notes.is_removed && notes.escrows.iter().all(|escrow| self.is_settled(escrow)))
            .map(|(id, notes)| (notes.closed_at, id.clone()))
            .collect();
        // The newest first.
        done.sort_by(|one, other| other.cmp(one));
        let mut of_account: BTreeMap<AccountId, usize> = BTreeMap::new();
        for (place, (closed_at, id)) in done.into_iter().enumerate() {
            let count = of_account.entry(id.account).or_default();
            *count += 1;
            if *count > CLOSED_OF_ACCOUNT_MAX || place >= CLOSED_MAX || now.since(closed_at) > CLOSED_MEMORY {
                self.closed.remove(&id);
            }
        }
        let here: BTreeSet<AccountId> = self.accounts.keys().chain(self.closed.keys()).map(|id| id.account).collect();
        let has_forgotten_keys = self.keys.has_others(&here);
        if has_forgotten_keys {
            self.keys.retain(&here);
        }
        self.looked_through = LookedThrough { accounts: self.accounts.clone(), keys: self.keys.clone() };
        has_forgotten_keys || self.closed.len() != known
    }
}
