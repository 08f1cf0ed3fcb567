//! What is said on the wire: the bodies of the calls and their answers. `docs/bank.md` lists the calls.

use serde::{Deserialize, Serialize};
use tycoon_market::{
    AccountId, Credits, EscrowId, HostId, PoolName, PublicKey, Receipt, TimeSpan, Timestamp, TransferId,
};
use tycoon_rpc::Problem;

use crate::ledger::{AccountKind, AllowanceTerms, Escrow, Transfer};
use crate::transfer_receipt::TransferReceipt;

pub use crate::ledger::TransferOrder as TransferRequest;

/// The most items of a page.
pub const PAGE_MAX: usize = 500;
/// The items of a page where the caller does not say.
pub const PAGE_DEFAULT: usize = 100;

/// What everybody may know about the bank.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BankInfo {
    /// The key that signs replies and receipts.
    pub key: PublicKey,
    /// The present epoch.
    pub epoch: u64,
    /// The present time by the bank's clock.
    pub time: Timestamp,
    /// The account of the issuer.
    pub issuer: AccountId,
    /// How long a host may be silent before an escrow lapses.
    pub silence_max: TimeSpan,
}

/// Asks for an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountRequest {
    /// Its first key.
    pub key: PublicKey,
    /// Whom it belongs to.
    pub kind: AccountKind,
    /// What its holder calls it.
    #[serde(default)]
    pub label: String,
    /// What it has at first; the caller's account pays it.
    #[serde(default)]
    pub deposit: Credits,
    /// True for a sub-account of the caller's account.
    #[serde(default)]
    pub sub: bool,
}

impl AccountRequest {
    /// A plain account with nothing on it.
    pub fn new(key: PublicKey, kind: AccountKind, label: &str) -> Self {
        Self { key, kind, label: label.to_owned(), deposit: Credits::ZERO, sub: false }
    }
}

/// Asks to close an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloseRequest {
    /// Who receives what it has.
    pub to: AccountId,
}

/// Asks for an allowance of a sub-account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllowanceRequest {
    /// What is granted; `null` to end it.
    pub allowance: Option<AllowanceTerms>,
}

/// Asks for several transfers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransfersRequest {
    /// The transfers, in their order.
    pub transfers: Vec<TransferRequest>,
    /// True where none shall be made unless all are.
    #[serde(default)]
    pub linked: bool,
}

/// A transfer that was made, and the bank's proof of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paid {
    /// The transfer; its `balance` is what the payer has after it.
    pub transfer: Transfer,
    /// The signed receipt.
    pub receipt: TransferReceipt,
}

/// What came of one of several transfers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TransferOutcome {
    /// It was made.
    Paid(Box<Paid>),
    /// It was refused.
    Problem(Problem),
}

/// Asks for new credits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssueRequest {
    /// The issuer's own id. Asking for the same again gives the same answer.
    pub id: TransferId,
    /// The account that receives them.
    pub to: AccountId,
    /// How much, in micro-credits.
    pub amount: Credits,
    /// What for.
    #[serde(default)]
    pub memo: String,
}

/// An escrow and its receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EscrowInfo {
    /// The escrow as it is now.
    pub escrow: Escrow,
    /// Its receipt, with the payer's present keys.
    pub receipt: Receipt,
}

/// What a host claimed of an escrow beyond what it may have, and was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedClaim {
    /// The escrow.
    pub escrow: EscrowId,
    /// Who pays it.
    pub payer: AccountId,
    /// The payer's pool.
    pub pool: PoolName,
    /// The host.
    pub host: HostId,
    /// What it claimed last, in all.
    pub claimed: Credits,
    /// The most that it may have had by then.
    pub granted: Credits,
    /// When that was.
    pub at: Timestamp,
    /// How often it was refused such a claim since the bank was started.
    pub times: u64,
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where the next page begins; `None` on the last one.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// The page of at most `limit` of `items`, of which there may be one more; `cursor` names the last item shown.
    pub(crate) fn of(mut items: Vec<T>, limit: usize, cursor: impl Fn(&T) -> String) -> Self {
        let next = (items.len() > limit).then(|| items.get(limit.saturating_sub(1)).map(cursor)).flatten();
        items.truncate(limit);
        Self { items, next }
    }
}
