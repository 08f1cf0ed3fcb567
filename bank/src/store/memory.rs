//! A store in memory: for tests, simulations, and counting everything anew.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tycoon_market::{AccountId, EscrowId, HostId, PoolName, PublicKey, Timestamp, TransferId};

use super::{Head, Store, StoreError, deadlines, due_by};
use crate::ledger::{Account, Books, Changes, Due, Entry, Escrow, Line, LinePlace, Reservation, Transfer, View};

#[derive(Debug, Default)]
struct Rows {
    head: Option<Head>,
    books: Option<Books>,
    accounts: BTreeMap<AccountId, Account>,
    keys: BTreeMap<PublicKey, AccountId>,
    transfers: BTreeMap<(AccountId, TransferId), Transfer>,
    reservations: BTreeMap<(AccountId, TransferId), Reservation>,
    escrows: BTreeMap<EscrowId, Escrow>,
    lines: BTreeMap<(AccountId, LinePlace), Line>,
    entries: BTreeMap<(AccountId, u64), Entry>,
}

/// A store that is gone with the process.
#[derive(Debug, Default)]
pub struct MemoryStore(RwLock<Rows>);

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    // A panic while the lock was held cannot leave half a change: rows are whole values.
    fn read(&self) -> RwLockReadGuard<'_, Rows> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Rows> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn from_after<K: Copy>(after: Option<&K>) -> (Bound<K>, Bound<K>) {
    (after.map_or(Bound::Unbounded, |key| Bound::Excluded(*key)), Bound::Unbounded)
}

impl View for MemoryStore {
    fn books(&self) -> Result<Option<Books>, StoreError> {
        Ok(self.read().books.clone())
    }

    fn account(&self, id: &AccountId) -> Result<Option<Account>, StoreError> {
        Ok(self.read().accounts.get(id).cloned())
    }

    fn account_of_key(&self, key: &PublicKey) -> Result<Option<AccountId>, StoreError> {
        Ok(self.read().keys.get(key).copied())
    }

    fn transfer(&self, payer: &AccountId, id: &TransferId) -> Result<Option<Transfer>, StoreError> {
        Ok(self.read().transfers.get(&(*payer, *id)).cloned())
    }

    fn reservation(&self, payer: &AccountId, id: &TransferId) -> Result<Option<Reservation>, StoreError> {
        Ok(self.read().reservations.get(&(*payer, *id)).cloned())
    }

    fn escrow(&self, id: &EscrowId) -> Result<Option<Escrow>, StoreError> {
        Ok(self.read().escrows.get(id).cloned())
    }
}

impl Store for MemoryStore {
    fn head(&self) -> Result<Head, StoreError> {
        Ok(self.read().head.unwrap_or(Head::EMPTY))
    }

    fn apply(&self, head: &Head, changes: &Changes) -> Result<(), StoreError> {
        let mut rows = self.write();
        let changes = changes.clone();
        rows.head = Some(*head);
        rows.books = changes.books.or(rows.books.take());
        rows.accounts.extend(changes.accounts);
        for (key, account) in changes.keys {
            match account {
                Some(account) => rows.keys.insert(key, account),
                None => rows.keys.remove(&key),
            };
        }
        rows.transfers.extend(changes.transfers);
        rows.reservations.extend(changes.reservations);
        rows.escrows.extend(changes.escrows);
        rows.lines.extend(changes.lines.into_iter().map(|(payer, line)| ((payer, line.place()), line)));
        for (id, entries) in changes.entries {
            rows.entries.extend(entries.into_iter().map(|entry| ((id, entry.number), entry)));
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn clear(&self) -> Result<(), StoreError> {
        *self.write() = Rows::default();
        Ok(())
    }

    fn entries(&self, account: &AccountId, before: u64, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let rows = self.read();
        let range = rows.entries.range((*account, 0)..(*account, before));
        Ok(range.rev().take(limit).map(|(_, entry)| entry.clone()).collect())
    }

    fn escrows_of_payer(
        &self,
        payer: &AccountId,
        pool: Option<&PoolName>,
        after: Option<&EscrowId>,
        limit: usize,
    ) -> Result<Vec<Escrow>, StoreError> {
        let rows = self.read();
        let escrows = rows.escrows.range(from_after(after)).map(|(_, escrow)| escrow);
        let of_payer =
            escrows.filter(|escrow| escrow.order.payer == *payer && pool.is_none_or(|pool| escrow.order.pool == *pool));
        Ok(of_payer.take(limit).cloned().collect())
    }

    fn escrows_of_host(
        &self,
        host: &HostId,
        after: Option<&EscrowId>,
        limit: usize,
    ) -> Result<Vec<Escrow>, StoreError> {
        let rows = self.read();
        let escrows = rows.escrows.range(from_after(after)).map(|(_, escrow)| escrow);
        Ok(escrows.filter(|escrow| escrow.order.host == *host).take(limit).cloned().collect())
    }

    fn lines(
        &self,
        payer: &AccountId,
        after: &LinePlace,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<Line>, StoreError> {
        let rows = self.read();
        let after = (Bound::Excluded((*payer, *after)), Bound::Unbounded);
        let lines = rows.lines.range(after).take_while(|((id, place), _)| id == payer && place.at < before);
        Ok(lines.take(limit).map(|(_, line)| line.clone()).collect())
    }

    fn due(&self, at: Timestamp, limit: usize) -> Result<Vec<Due>, StoreError> {
        let rows = self.read();
        let deadlines = deadlines(rows.escrows.values(), rows.reservations.values(), rows.accounts.values());
        let mut due = due_by(at, deadlines);
        due.truncate(limit);
        Ok(due)
    }

    fn children(
        &self,
        parent: &AccountId,
        after: Option<&AccountId>,
        limit: usize,
    ) -> Result<Vec<Account>, StoreError> {
        let rows = self.read();
        let accounts = rows.accounts.range(from_after(after)).map(|(_, account)| account);
        Ok(accounts.filter(|account| account.parent == Some(*parent)).take(limit).cloned().collect())
    }

    fn reservations(
        &self,
        after: Option<&(AccountId, TransferId)>,
        limit: usize,
    ) -> Result<Vec<Reservation>, StoreError> {
        let rows = self.read();
        let reservations = rows.reservations.range(from_after(after)).map(|(_, reservation)| reservation);
        Ok(reservations.take(limit).cloned().collect())
    }

    fn accounts(&self, after: Option<&AccountId>, limit: usize) -> Result<Vec<Account>, StoreError> {
        let rows = self.read();
        let accounts = rows.accounts.range(from_after(after)).map(|(_, account)| account);
        Ok(accounts.take(limit).cloned().collect())
    }

    fn escrows(&self, after: Option<&EscrowId>, limit: usize) -> Result<Vec<Escrow>, StoreError> {
        let rows = self.read();
        let escrows = rows.escrows.range(from_after(after)).map(|(_, escrow)| escrow);
        Ok(escrows.take(limit).cloned().collect())
    }
}
