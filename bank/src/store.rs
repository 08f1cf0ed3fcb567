//! Stores: indexes of the ledger that are made from the journal and can be made again.

mod compact;
mod entry_packs;
pub mod keyed;
pub mod memory;
pub mod postgres;
pub mod sled;
mod transfer_packs;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tycoon_market::{AccountId, EscrowId, HostId, PoolName, Timestamp, TransferId};

pub use self::keyed::Keyed;
pub use self::memory::MemoryStore;
pub use self::postgres::PostgresStore;
pub use self::sled::SledStore;
use crate::journal::RecordHash;
use crate::ledger::{Account, Changes, Due, Entry, Escrow, Line, LinePlace, Reservation, View};

/// Why a store could not be read or written.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StoreError {
    /// A row is not what was written. The index must be made again from the journal.
    #[error("the bank's index is damaged: {0}")]
    Damaged(String),
    /// The database failed.
    #[error("the bank's index cannot be used: {0}")]
    Failed(String),
    /// A list is asked for while the index does not have everything yet; whoever keeps it puts the rest in and asks again.
    #[error("the bank's index does not have everything yet")]
    Pending,
    /// The database is not there now, and may come back.
    #[error("the bank's database cannot be reached: {0}")]
    Unavailable(String),
    /// The disk did not take something.
    #[error("the bank's index cannot be written: {detail}")]
    NotTaken {
        /// What is the matter, for callers.
        why: &'static str,
        /// What the operating system said.
        detail: String,
    },
}

/// The end of what has been journaled, or of what an index holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The number of the last record; 0 before the first.
    pub record: u64,
    /// Its hash; all zeros before the first.
    pub hash: RecordHash,
    /// Its time.
    pub at: Timestamp,
}

impl Head {
    /// The head of an empty journal.
    pub const EMPTY: Self = Self { record: 0, hash: RecordHash::ZERO, at: Timestamp::from_micros(0) };
}

/// An index of the ledger.
///
/// Reads see whole changes of whole records. What was applied may be lost in a crash, but only from its end.
pub trait Store: View + Send + Sync {
    /// The last record that the index holds.
    fn head(&self) -> Result<Head, StoreError>;

    /// Makes `changes` up to the record `head`, all or nothing.
    fn apply(&self, head: &Head, changes: &Changes) -> Result<(), StoreError>;

    /// Makes what was applied last through a crash.
    fn flush(&self) -> Result<(), StoreError>;

    /// Empties the index.
    fn clear(&self) -> Result<(), StoreError>;

    /// Opens the index again after it failed, perhaps without the latest changes; false where it cannot be opened again.
    fn reopen(&self) -> Result<bool, StoreError> {
        Ok(false)
    }

    /// Entries of an account's history with numbers below `before`, the latest first.
    fn entries(&self, account: &AccountId, before: u64, limit: usize) -> Result<Vec<Entry>, StoreError>;

    /// Escrows paid by `payer` for `pool` (or any pool), by ascending id, from after `after`.
    fn escrows_of_payer(
        &self,
        payer: &AccountId,
        pool: Option<&PoolName>,
        after: Option<&EscrowId>,
        limit: usize,
    ) -> Result<Vec<Escrow>, StoreError>;

    /// Escrows that pay `host`, by ascending id, from after `after`.
    fn escrows_of_host(&self, host: &HostId, after: Option<&EscrowId>, limit: usize)
    -> Result<Vec<Escrow>, StoreError>;

    /// Lines of a payer's statement in their order, from after `after` to before the time `before`.
    fn lines(
        &self,
        payer: &AccountId,
        after: &LinePlace,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<Line>, StoreError>;

    /// True where there ever was an escrow that pays `host`.
    fn is_paid(&self, host: &HostId) -> Result<bool, StoreError> {
        Ok(!self.escrows_of_host(host, None, 1)?.is_empty())
    }

    /// What is to be done at or before `at`, the earliest first as far as the index knows.
    fn due(&self, at: Timestamp, limit: usize) -> Result<Vec<Due>, StoreError>;

    /// Accounts by ascending id, from after `after`.
    fn accounts(&self, after: Option<&AccountId>, limit: usize) -> Result<Vec<Account>, StoreError>;

    /// Sub-accounts of `parent` by ascending id, from after `after`.
    fn children(&self, parent: &AccountId, after: Option<&AccountId>, limit: usize)
    -> Result<Vec<Account>, StoreError>;

    /// All reservations by payer and id, from after `after`.
    fn reservations(
        &self,
        after: Option<&(AccountId, TransferId)>,
        limit: usize,
    ) -> Result<Vec<Reservation>, StoreError>;

    /// All escrows by ascending id, from after `after`.
    fn escrows(&self, after: Option<&EscrowId>, limit: usize) -> Result<Vec<Escrow>, StoreError>;
}

/// What of these rows is to be done, and when.
pub(crate) fn deadlines<'a>(
    escrows: impl Iterator<Item = &'a Escrow>,
    reservations: impl Iterator<Item = &'a Reservation>,
    accounts: impl Iterator<Item = &'a Account>,
) -> impl Iterator<Item = (Timestamp, Due)> {
    let escrows = escrows.filter_map(|escrow| Some((escrow.lapses_at()?, Due::Escrow(escrow.order.id))));
    let reservations = reservations.filter_map(|reservation| {
        let order = &reservation.order;
        Some((reservation.due_at()?, Due::Reservation(order.payer, order.id)))
    });
    let allowances = accounts.filter_map(|account| Some((account.allowance?.next_at, Due::Allowance(account.id))));
    escrows.chain(reservations).chain(allowances)
}

/// What of that is to be done at or before `at`, the earliest first.
pub(crate) fn due_by(at: Timestamp, deadlines: impl Iterator<Item = (Timestamp, Due)>) -> Vec<Due> {
    let mut due: Vec<_> = deadlines.filter(|(deadline, _)| *deadline <= at).collect();
    due.sort_unstable();
    due.into_iter().map(|(_, due)| due).collect()
}
