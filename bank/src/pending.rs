//! What the journal holds and the index does not yet.
//!
//! An index writes many rows at once for little more than a few, so that what is journaled is gathered first. While that
//! goes into the index, which takes as long as many syncs of the journal, the next is gathered: nobody who pays waits for
//! the index. Whoever reads a single row sees it all the same; lists are made of the index alone, once
//! everything is in it.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tycoon_market::{AccountId, EscrowId, HostId, PoolName, PublicKey, Timestamp, TransferId};

use crate::ledger::{Account, Books, Changes, Due, Entry, Escrow, Line, LinePlace, Reservation, Transfer, View};
use crate::store::{Head, Store, StoreError, deadlines, due_by};

/// Rows that are gathered before any goes into the index. So many accounts change again and again meanwhile, and so many
/// transfers and entries stand together in the index, that few rows are written there.
const ROWS_ENOUGH: usize = 16_384;
/// Rows that are gathered at most while the index is still busy with those before: then it is waited for.
const ROWS_MAX: usize = 4 * ROWS_ENOUGH;

/// Changes of records behind the index.
#[derive(Debug, Default)]
pub(crate) struct Pending(RwLock<Layers>);

/// What the index lacks. The later layer counts where a row is in both.
#[derive(Debug, Default)]
struct Layers {
    /// What comes in.
    gathered: Gathered,
    /// What is on its way into the index.
    going: Option<Arc<Gathered>>,
}

impl Layers {
    /// The layers, the later one first.
    fn each(&self) -> impl Iterator<Item = &Gathered> {
        [&self.gathered].into_iter().chain(self.going.as_deref())
    }
}

#[derive(Debug, Default)]
pub(crate) struct Gathered {
    /// The last record of these; `None` where there are none.
    head: Option<Head>,
    changes: Changes,
    /// Nothing of these is due before; `None` where nothing is due ever.
    first_due: Option<Timestamp>,
}

impl Gathered {
    /// What is to go into the index, up to which record.
    pub(crate) const fn due(&self) -> Option<(&Head, &Changes)> {
        match &self.head {
            Some(head) => Some((head, &self.changes)),
            None => None,
        }
    }

    /// How many rows these are.
    pub(crate) fn rows(&self) -> usize {
        self.changes.rows()
    }
}

/// How much is gathered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fill {
    /// Little: it is not worth while yet to write it.
    Little,
    /// Enough to go into the index, when that has time.
    Enough,
    /// As much as is kept.
    Full,
}

impl Pending {
    fn read(&self) -> RwLockReadGuard<'_, Layers> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Layers> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds what was journaled up to the record `head`, and says how much there is.
    pub(crate) fn add(&self, head: &Head, changes: Changes) -> Fill {
        let mut layers = self.write();
        let gathered = &mut layers.gathered;
        gathered.head = Some(*head);
        gathered.first_due = [gathered.first_due, first_due(&changes)].into_iter().flatten().min();
        gathered.changes.absorb(changes);
        match gathered.changes.rows() {
            ROWS_MAX.. => Fill::Full,
            ROWS_ENOUGH.. => Fill::Enough,
            _ => Fill::Little,
        }
    }

    /// What was gathered, which is to go into the index now; `None` where there is nothing. It is seen until it is
    /// [`gone`](Self::gone), which what went before must be.
    pub(crate) fn go(&self) -> Option<Arc<Gathered>> {
        let mut layers = self.write();
        layers.gathered.head?;
        let going = Arc::new(std::mem::take(&mut layers.gathered));
        layers.going = Some(going.clone());
        Some(going)
    }

    /// Forgets what was going: the index has it.
    pub(crate) fn gone(&self) {
        let gone = self.write().going.take();
        // Takes its time, during which others read.
        drop(gone);
    }

    /// Forgets everything: the index has it, or is made anew from the journal.
    pub(crate) fn clear(&self) {
        *self.write() = Layers::default();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.head().is_none()
    }

    /// The last record of all.
    fn head(&self) -> Option<Head> {
        self.read().each().find_map(|layer| layer.head)
    }
}

/// When the first of what changes is to be done.
fn first_due(changes: &Changes) -> Option<Timestamp> {
    let Changes { escrows, reservations, accounts, .. } = changes;
    deadlines(escrows.values(), reservations.values(), accounts.values()).map(|(deadline, _)| deadline).min()
}

/// An index and what is pending, as one.
pub(crate) struct Whole<'a> {
    store: &'a dyn Store,
    pending: &'a Pending,
    /// True where lists may be read from the index, because all that concerns the reader is in it.
    lists: bool,
}

impl<'a> Whole<'a> {
    /// Both together. Lists are refused with [`StoreError::Pending`] while something is pending, unless `lists`.
    pub(crate) const fn of(store: &'a dyn Store, pending: &'a Pending, lists: bool) -> Self {
        Self { store, pending, lists }
    }

    fn listed(&self) -> Result<&dyn Store, StoreError> {
        if self.lists || self.pending.is_empty() { Ok(self.store) } else { Err(StoreError::Pending) }
    }

    /// The row that is pending, where one is, else that of the index.
    fn row<T>(
        &self,
        pending: impl Fn(&Changes) -> Option<T>,
        indexed: impl FnOnce(&dyn Store) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        // Not held any more while the index is read, which may take its time.
        let found = self.pending.read().each().find_map(|layer| pending(&layer.changes));
        found.map_or_else(|| indexed(self.store), Ok)
    }
}

impl View for Whole<'_> {
    fn books(&self) -> Result<Option<Books>, StoreError> {
        self.row(Changes::books, |store| store.books())
    }

    fn account(&self, id: &AccountId) -> Result<Option<Account>, StoreError> {
        self.row(|changes| changes.account(id), |store| store.account(id))
    }

    fn account_of_key(&self, key: &PublicKey) -> Result<Option<AccountId>, StoreError> {
        self.row(|changes| changes.account_of_key(key), |store| store.account_of_key(key))
    }

    fn transfer(&self, payer: &AccountId, id: &TransferId) -> Result<Option<Transfer>, StoreError> {
        self.row(|changes| changes.transfer(payer, id), |store| store.transfer(payer, id))
    }

    fn reservation(&self, payer: &AccountId, id: &TransferId) -> Result<Option<Reservation>, StoreError> {
        self.row(|changes| changes.reservation(payer, id), |store| store.reservation(payer, id))
    }

    fn escrow(&self, id: &EscrowId) -> Result<Option<Escrow>, StoreError> {
        self.row(|changes| changes.escrow(id), |store| store.escrow(id))
    }
}

impl Store for Whole<'_> {
    fn head(&self) -> Result<Head, StoreError> {
        self.pending.head().map_or_else(|| self.store.head(), Ok)
    }

    fn apply(&self, head: &Head, changes: &Changes) -> Result<(), StoreError> {
        self.store.apply(head, changes)
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.store.flush()
    }

    fn clear(&self) -> Result<(), StoreError> {
        self.store.clear()
    }

    fn entries(&self, account: &AccountId, before: u64, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.listed()?.entries(account, before, limit)
    }

    fn escrows_of_payer(
        &self,
        payer: &AccountId,
        pool: Option<&PoolName>,
        after: Option<&EscrowId>,
        limit: usize,
    ) -> Result<Vec<Escrow>, StoreError> {
        self.listed()?.escrows_of_payer(payer, pool, after, limit)
    }

    fn escrows_of_host(
        &self,
        host: &HostId,
        after: Option<&EscrowId>,
        limit: usize,
    ) -> Result<Vec<Escrow>, StoreError> {
        self.listed()?.escrows_of_host(host, after, limit)
    }

    fn lines(
        &self,
        payer: &AccountId,
        after: &LinePlace,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<Line>, StoreError> {
        self.listed()?.lines(payer, after, before, limit)
    }

    /// Asked before every call, so that it does not wait for the index: what is pending is looked through, where anything
    /// may be due.
    fn due(&self, at: Timestamp, limit: usize) -> Result<Vec<Due>, StoreError> {
        let is_any_pending = self.pending.read().each().any(|layer| layer.first_due.is_some_and(|first| first <= at));
        if !is_any_pending && self.store.due(at, 1)?.is_empty() {
            return Ok(Vec::new());
        }
        let (mut pending, mut touched) = (Vec::new(), BTreeSet::new());
        for layer in self.pending.read().each() {
            let Changes { escrows, reservations, accounts, .. } = &layer.changes;
            let later = due_by(at, deadlines(escrows.values(), reservations.values(), accounts.values()));
            // What a later layer has touched is told by that one.
            pending.extend(later.into_iter().filter(|due| !touched.contains(due)));
            touched.extend(escrows.keys().map(|id| Due::Escrow(*id)));
            touched.extend(reservations.keys().map(|(payer, id)| Due::Reservation(*payer, *id)));
            touched.extend(accounts.keys().map(|id| Due::Allowance(*id)));
        }
        // What the index says of what has changed since is old.
        let mut due = self.store.due(at, limit.saturating_add(touched.len()))?;
        due.retain(|due| !touched.contains(due));
        due.extend(pending);
        due.truncate(limit);
        Ok(due)
    }

    fn is_paid(&self, host: &HostId) -> Result<bool, StoreError> {
        let is_of_host = |escrow: &Escrow| escrow.order.host == *host;
        let is_paid = self.pending.read().each().any(|layer| layer.changes.escrows.values().any(is_of_host));
        if is_paid { Ok(true) } else { self.store.is_paid(host) }
    }

    fn accounts(&self, after: Option<&AccountId>, limit: usize) -> Result<Vec<Account>, StoreError> {
        self.listed()?.accounts(after, limit)
    }

    fn children(
        &self,
        parent: &AccountId,
        after: Option<&AccountId>,
        limit: usize,
    ) -> Result<Vec<Account>, StoreError> {
        self.listed()?.children(parent, after, limit)
    }

    fn reservations(
        &self,
        after: Option<&(AccountId, TransferId)>,
        limit: usize,
    ) -> Result<Vec<Reservation>, StoreError> {
        self.listed()?.reservations(after, limit)
    }

    fn escrows(&self, after: Option<&EscrowId>, limit: usize) -> Result<Vec<Escrow>, StoreError> {
        self.listed()?.escrows(after, limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;

    #[test]
    fn a_row_is_seen_before_the_index_has_it_and_a_list_waits_for_the_index() {
        let (store, pending) = (MemoryStore::new(), Pending::default());
        let key = tycoon_rpc::Signer::public_key(&tycoon_rpc::SecretKey::from_seed(&[1; 32]));
        let id = AccountId::of(&key);
        let head = Head { record: 1, ..Head::EMPTY };
        let changes = Changes { keys: [(key, Some(id))].into(), ..Changes::default() };
        assert_eq!(pending.add(&head, changes), Fill::Little, "one row is not enough to write");
        let whole = Whole::of(&store, &pending, false);
        assert_eq!(whole.account_of_key(&key), Ok(Some(id)));
        assert_eq!(whole.head(), Ok(head));
        assert_eq!(store.account_of_key(&key), Ok(None));
        assert_eq!(whole.accounts(None, 10), Err(StoreError::Pending));
        let going = pending.go().expect("there is something to go");
        assert!(going.due().is_some_and(|(last, _)| *last == head));
        assert!(pending.go().is_none(), "there is nothing else");
        assert_eq!(whole.account_of_key(&key), Ok(Some(id)), "it is seen on its way");
        assert_eq!(whole.accounts(None, 10), Err(StoreError::Pending));
        let later = Head { record: 2, ..head };
        pending.add(&later, Changes { keys: [(key, None)].into(), ..Changes::default() });
        assert_eq!((whole.account_of_key(&key), whole.head()), (Ok(None), Ok(later)), "the later change counts");
        pending.gone();
        assert_eq!((whole.account_of_key(&key), whole.head()), (Ok(None), Ok(later)), "and stays");
        pending.clear();
        assert_eq!(whole.accounts(None, 10), Ok(Vec::new()));
    }
}
