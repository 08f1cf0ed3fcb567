//! Accounts and the keys that act for them.

use serde::{Deserialize, Serialize};
use tycoon_market::{AccountId, Credits, PublicKey, TimeSpan, Timestamp};

use super::{Allowance, Refusal};

pub use tycoon_market::receipt::PAYER_KEYS_MAX as KEYS_MAX;

/// Escrows that one account may have open at a time.
pub const ESCROWS_OPEN_MAX: u64 = 10_000;
/// The longest label of an account and the longest memo of a transfer, in characters.
pub const TEXT_CHARS_MAX: usize = 200;

/// Whom an account belongs to. It says what people see; only an issuer can do what others cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AccountKind {
    /// Somebody who pays for hosts.
    User,
    /// Somebody who earns with hosts.
    Owner,
    /// The daemon of a host.
    Host,
    /// The operator of the site, who puts credits into circulation.
    Issuer,
}

/// What a key may do for its account. Each role may do what the ones after it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyRole {
    /// May look.
    Reader,
    /// May spend, within its limit.
    Spender,
    /// May change the keys.
    Owner,
}

/// The most that a key may spend in a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpendingLimit {
    /// The amount.
    pub amount: Credits,
    /// The period. It begins with the first spending after the end of the one before.
    pub period: TimeSpan,
}

/// A key of an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountKey {
    /// The key.
    #[serde(deserialize_with = "PublicKey::deserialize_stored")]
    pub key: PublicKey,
    /// What it may do.
    pub role: KeyRole,
    /// How much it may spend; `None` for as much as there is.
    pub limit: Option<SpendingLimit>,
    /// What it has spent in the present period.
    pub spent: Credits,
    /// When the present period began.
    pub period_began: Timestamp,
}

impl AccountKey {
    /// A key that has not spent anything.
    pub const fn new(key: PublicKey, role: KeyRole, limit: Option<SpendingLimit>) -> Self {
        Self { key, role, limit, spent: Credits::ZERO, period_began: Timestamp::from_micros(0) }
    }

    /// Counts a spending of `amount` at `at`, or refuses it where it exceeds the limit.
    pub(crate) fn spend(&mut self, amount: Credits, at: Timestamp) -> Result<(), Refusal> {
        let Some(limit) = self.limit else { return Ok(()) };
        if at.since(self.period_began) >= limit.period {
            self.spent = Credits::ZERO;
            self.period_began = at;
        }
        match self.spent.checked_add(amount) {
            Some(spent) if spent <= limit.amount => {
                self.spent = spent;
                Ok(())
            }
            _ => Err(Refusal::OverLimit { amount, left: limit.amount.saturating_sub_at_zero(self.spent), limit }),
        }
    }
}

/// An account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its id, the hash of its first key.
    pub id: AccountId,
    /// Whom it belongs to.
    pub kind: AccountKind,
    /// What its holder calls it; may be empty.
    pub label: String,
    /// Its keys, one at least, [`KEYS_MAX`] at most, in ascending order.
    pub keys: Vec<AccountKey>,
    /// When the keys last changed.
    pub keys_changed_at: Timestamp,
    /// The money on it, never negative.
    pub balance: Credits,
    /// The money of its open escrows that is neither drawn nor released.
    pub set_aside: Credits,
    /// How many escrows it has open.
    pub escrows_open: u64,
    /// The money of its open reservations.
    #[serde(default)]
    pub reserved: Credits,
    /// How many reservations it has open.
    #[serde(default)]
    pub reservations_open: u64,
    /// The account that it is a sub-account of. Whoever owns that one owns this one too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<AccountId>,
    /// What its parent grants it again and again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowance: Option<Allowance>,
    /// How many accounts it has opened.
    #[serde(default)]
    pub accounts_opened: u64,
    /// How many of them are sub-accounts that are not closed.
    #[serde(default)]
    pub children: u64,
    /// When it was closed; `None` while it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<Timestamp>,
    /// The number of entries of its history.
    pub entries: u64,
    /// When it was opened.
    pub opened_at: Timestamp,
}

impl Account {
    /// The entry of `key` among the account's keys.
    pub fn key(&self, key: &PublicKey) -> Option<&AccountKey> {
        self.keys.iter().find(|entry| entry.key == *key)
    }

    /// True where `key` may do what `role` may.
    pub fn allows(&self, key: &PublicKey, role: KeyRole) -> bool {
        self.key(key).is_some_and(|entry| entry.role >= role)
    }

    /// The keys that may act for the account at a host: those that may spend, in ascending order.
    pub fn acting_keys(&self) -> Vec<PublicKey> {
        let acting = self.keys.iter().filter(|entry| entry.role >= KeyRole::Spender);
        acting.map(|entry| entry.key).collect()
    }
}
