//! Escrows: money set aside for one host account.
//!
//! ```text
//!   open ──statement──▶ open      the host draws (to the beneficiary) and releases (to the payer)
//!     │
//!     ├──statement, closed──▶ closed by the host: what was not drawn went back to the payer
//!     └──24 h without statement, or 24 h after the longest duration──▶ lapsed: likewise
//! ```

use serde::{Deserialize, Serialize};
use tycoon_market::{
    AccountId, Credits, EscrowId, HostId, PoolName, PublicKey, Rate, Receipt, ReceiptTerms, Statement, TimeSpan,
    Timestamp,
};

use super::Account;

/// The longest that a host may be silent before what it has not drawn returns to the payer: 24 hours.
pub const SILENCE_MAX: TimeSpan = TimeSpan::from_seconds(24 * 3600);

/// What a payer orders.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EscrowOrder {
    /// The client's own id. Ordering the same again gives the same answer.
    pub id: EscrowId,
    /// The account that pays.
    pub payer: AccountId,
    /// The payer's pool.
    pub pool: PoolName,
    /// The host.
    pub host: HostId,
    /// The host's key, which signs its statements; `host` is its hash.
    pub host_key: PublicKey,
    /// The account that receives what the host draws.
    pub beneficiary: AccountId,
    /// The money to set aside.
    pub amount: Credits,
    /// How long the host may draw.
    pub longest: TimeSpan,
    /// The fastest that the host may draw.
    pub highest_rate: Rate,
}

/// How an escrow ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EscrowEnd {
    /// The host closed it.
    Closed,
    /// The host was silent too long.
    Lapsed,
}

/// An escrow. What is neither drawn nor released is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Escrow {
    /// What was ordered.
    pub order: EscrowOrder,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// What the host has drawn so far.
    pub drawn: Credits,
    /// What has returned to the payer so far.
    pub released: Credits,
    /// The host's latest statement.
    pub statement: Option<Statement>,
    /// When the host was last heard of: at the latest statement, or the opening.
    pub heard_at: Timestamp,
    /// How it ended; `None` while it is open.
    pub end: Option<EscrowEnd>,
}

impl Escrow {
    /// A new escrow.
    pub fn open(order: EscrowOrder, at: Timestamp) -> Self {
        Self {
            order,
            opened_at: at,
            drawn: Credits::ZERO,
            released: Credits::ZERO,
            statement: None,
            heard_at: at,
            end: None,
        }
    }

    /// What is neither drawn nor released.
    pub fn held(&self) -> Credits {
        let held = self.order.amount.micros() - self.drawn.micros() - self.released.micros();
        Credits::from_micros(held)
    }

    /// When it lapses unless the host is heard of; `None` once it has ended.
    pub fn lapses_at(&self) -> Option<Timestamp> {
        let last = self.heard_at.min(self.opened_at.plus(self.order.longest));
        self.end.is_none().then(|| last.plus(SILENCE_MAX))
    }

    /// The most that the host may have drawn by `at`: the highest rate since the opening, for the longest duration.
    pub fn drawable_by(&self, at: Timestamp) -> Credits {
        let elapsed = at.since(self.opened_at).min(self.order.longest);
        let (fastest, _) = self.order.highest_rate.charge(elapsed, 0);
        fastest.min(self.order.amount)
    }

    /// What the bank's receipt for it says. `payer` is the paying account.
    pub fn receipt_terms(&self, bank: PublicKey, epoch: u64, payer: &Account) -> ReceiptTerms {
        ReceiptTerms {
            bank,
            epoch,
            escrow: self.order.id,
            payer: self.order.payer,
            payer_keys: payer.acting_keys(),
            pool: self.order.pool.clone(),
            host: self.order.host,
            beneficiary: self.order.beneficiary,
            amount: self.order.amount,
            longest: self.order.longest,
            highest_rate: self.order.highest_rate,
            opened_at: self.opened_at,
            issued_at: self.opened_at.max(payer.keys_changed_at),
        }
    }

    /// The receipt, signed by `sign`, the bank's key. While the payer's keys and the epoch stay, it is always the same.
    pub fn receipt(
        &self,
        bank: PublicKey,
        epoch: u64,
        payer: &Account,
        sign: impl FnOnce(&[u8]) -> [u8; 64],
    ) -> Receipt {
        Receipt::sign(self.receipt_terms(bank, epoch, payer), sign)
    }
}
