//! What an owner may ask her host: the words of the calls under `/v1/owner`, which only her keys may make.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tycoon_market::auctioneer::HostConfig;
use tycoon_market::ids::EscrowId;
use tycoon_market::{AccountId, Credits, PoolName, Timestamp};

use crate::market::AccountReport;
use crate::policy::{OwnerPolicy, PolicyName};

/// `GET /v1/owner`: what the owner has set, and how her host does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OwnerReport {
    /// What was set by command.
    pub policy: OwnerPolicy,
    /// What holds now, from file, command and defaults together.
    pub config: HostConfig,
    /// What will hold from the next interval on.
    pub next_config: HostConfig,
    /// True while nobody new is admitted.
    pub is_draining: bool,
    /// Accounts that are kept out.
    pub banned: BTreeSet<AccountId>,
    /// Up to when time is accounted for.
    pub accounted_at: Timestamp,
    /// Money.
    pub income: Income,
    /// What went wrong lately.
    pub faults: Vec<FaultReport>,
}

/// What the host has earned from the escrows that it knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Income {
    /// Charged to accounts that are open, or whose last statement the bank has not acknowledged yet.
    pub charged: Credits,
    /// Of that, what the bank has paid to the owner's account.
    pub paid: Credits,
    /// Of that, what is still in escrow. It is paid within the hour, and at once by a withdrawal.
    pub due: Credits,
    /// All that was ever charged, closed accounts included.
    pub ever_charged: Credits,
}

/// Something that went wrong, once or several times, and is tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultReport {
    /// When it last did.
    pub at: Timestamp,
    /// What was tried.
    pub what: String,
    /// Why it failed.
    pub reason: String,
    /// How often.
    pub times: u64,
}

/// `PUT /v1/owner/policy`: sets and resets what the command has set. All of it or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyRequest {
    /// New values, by name.
    #[serde(default)]
    pub set: BTreeMap<PolicyName, String>,
    /// Names whose value goes back to that of the file, or the usual one.
    #[serde(default)]
    pub reset: BTreeSet<PolicyName>,
}

/// `PUT /v1/owner/draining`: admits nobody new, or does again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrainRequest {
    /// True to drain.
    pub draining: bool,
}

/// `POST /v1/owner/evictions`: puts host accounts out: one, or all of an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvictRequest {
    /// Whose.
    pub account: AccountId,
    /// Of which pool; all where there is none.
    #[serde(default)]
    pub pool: Option<PoolName>,
}

/// The answer: what is put out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvictReport {
    /// The pools.
    pub pools: Vec<PoolName>,
}

/// `PUT /v1/owner/bans`: keeps an account out, or lets it in again. What it has here is put out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BanRequest {
    /// Who.
    pub account: AccountId,
    /// True to keep it out.
    pub banned: bool,
}

/// `POST /v1/owner/withdrawals`: draws what is charged from all escrows now. The answer says what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WithdrawReport {
    /// What the bank paid by it.
    pub paid: Credits,
    /// Escrows of which the bank has not heard: it is told again.
    pub pending: Vec<EscrowId>,
    /// Money afterwards.
    pub income: Income,
}

/// `GET /v1/owner/accounts`: everybody's accounts, in pages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AccountsPage {
    /// The accounts.
    pub accounts: Vec<AccountReport>,
    /// Where the next page begins: `?after=`; none on the last.
    pub next: Option<String>,
}
