//! A store over rows that are ordered by their keys, whatever keeps them: a sled tree, a table of PostgreSQL.
//!
//! Every row is JSON, but for packs. Keys begin with a letter for the kind of row:
//!
//! | key | row |
//! |---|---|
//! | `v` | the form of the index |
//! | `h` | the head: the last record that the index holds |
//! | `b` | the totals |
//! | `a` account | account |
//! | `c` parent, account | – (sub-accounts) |
//! | `k` public key | the account it acts for |
//! | `t` payer, transfer | transfer; where rows are packed, those from this one on (`transfer_packs.rs`) |
//! | `r` payer, transfer | reservation |
//! | `e` escrow | escrow |
//! | `p` payer, pool, 0, escrow | – (escrows of a payer by pool) |
//! | `o` host, escrow | – (escrows of a host) |
//! | `d` time, kind, id | what is to be done then |
//! | `n` account, number | entries of the account's history that came together, the first of which has the number; packed: `entry_packs.rs` |
//! | `s` payer, time, record, escrow | line of the payer's statement |

use serde::Serialize;
use serde::de::DeserializeOwned;
use tycoon_market::{AccountId, EscrowId, HostId, PoolName, PublicKey, TimeSpan, Timestamp, TransferId};

use super::{Head, Store, StoreError, entry_packs, transfer_packs};
use crate::ledger::{Account, Books, Changes, Due, Entry, Escrow, Line, LinePlace, Reservation, Transfer, View};

const FORM: &[u8] = b"v";
const HEAD: &[u8] = b"h";
const BOOKS: &[u8] = b"b";
/// The forms of the index that this program reads; another is made anew.
const FORM_PLAIN: u32 = 2;
const FORM_PACKED: u32 = 3;
/// Entries of a history in one row at most: few rows are quickly written, and little of a row is read in vain.
const ENTRIES_PER_ROW: usize = 64;
/// Rows of a history that are read at a time.
const HISTORY_ROWS: usize = 16;

/// Rows to be written together.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Rows that are put, by key.
    pub put: Vec<(Vec<u8>, Vec<u8>)>,
    /// Keys whose rows are removed, after the others are put.
    pub removed: Vec<Vec<u8>>,
}

impl Batch {
    fn put<T: Serialize>(&mut self, key: Vec<u8>, row: &T) -> Result<(), StoreError> {
        let json = serde_json::to_vec(row).map_err(|error| StoreError::Failed(error.to_string()))?;
        self.put.push((key, json));
        Ok(())
    }
}

/// A key and its row.
pub type Row = (Vec<u8>, Vec<u8>);

/// What keeps rows.
pub trait Rows: Send + Sync {
    /// True where each row and byte has its price, and nobody looks at rows but the index: then transfers and entries of
    /// histories are packed.
    const IS_PACKED: bool;

    /// The row of `key`.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// The first `limit` rows from `start` to before `end`.
    fn range(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Row>, StoreError>;

    /// The last `limit` rows from `start` to before `end`, the last first.
    fn range_back(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Row>, StoreError>;

    /// Writes a batch, all or nothing.
    fn write(&self, batch: Batch) -> Result<(), StoreError>;

    /// Makes what was written last through a crash.
    fn flush(&self) -> Result<(), StoreError>;

    /// Removes all rows.
    fn clear(&self) -> Result<(), StoreError>;

    /// See [`Store::reopen`].
    fn reopen(&self) -> Result<bool, StoreError> {
        Ok(false)
    }
}

/// An index in ordered rows.
#[derive(Clone, Debug)]
pub struct Keyed<R>(pub(super) R);

impl<R: Rows> Keyed<R> {
    /// The index in `rows`, which nothing else may use.
    pub const fn over(rows: R) -> Self {
        Self(rows)
    }

    /// What keeps the rows.
    pub const fn rows(&self) -> &R {
        &self.0
    }

    const FORM: u32 = if R::IS_PACKED { FORM_PACKED } else { FORM_PLAIN };

    fn row<T: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, StoreError> {
        self.0.get(key)?.map(|bytes| decode(key, &bytes)).transpose()
    }

    fn escrow_of_index(&self, key: &[u8]) -> Result<Escrow, StoreError> {
        let id = last_id(key)?;
        let escrow = self.escrow(&id)?;
        escrow.ok_or_else(|| StoreError::Damaged(format!("the escrow {id} is listed but absent")))
    }

    /// The escrows whose ids end the keys that begin with `prefix`, from after `after`.
    fn listed(&self, prefix: &[u8], after: Option<&EscrowId>, limit: usize) -> Result<Vec<Escrow>, StoreError> {
        let start = start_after(prefix, after.map(|id| &id.as_bytes()[..]));
        let keys = self.0.range(&start, &end_of(prefix), limit)?;
        keys.iter().map(|(key, _)| self.escrow_of_index(key)).collect()
    }

    fn decoded<T: DeserializeOwned>(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<T>, StoreError> {
        self.0.range(start, end, limit)?.iter().map(|(key, bytes)| decode(key, bytes)).collect()
    }
}

fn decode<T: DeserializeOwned>(key: &[u8], bytes: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(bytes)
        .map_err(|error| StoreError::Damaged(format!("the row {} cannot be read: {error}", key.escape_ascii())))
}

/// The entries in a row of a history that is not packed. The first programs wrote each into a row of its own, without brackets.
fn entries_of_row(key: &[u8], bytes: &[u8]) -> Result<Vec<Entry>, StoreError> {
    if bytes.starts_with(b"[") { decode(key, bytes) } else { decode(key, bytes).map(|entry| vec![entry]) }
}

/// The escrow id at the end of a key.
fn last_id(key: &[u8]) -> Result<EscrowId, StoreError> {
    let id = key.last_chunk::<16>().copied().map(EscrowId::from_bytes);
    id.ok_or_else(|| StoreError::Damaged(format!("the key {} is cut short", key.escape_ascii())))
}

/// The first key with `prefix`, or the first after `prefix` and `after`.
pub(super) fn start_after(prefix: &[u8], after: Option<&[u8]>) -> Vec<u8> {
    match after {
        Some(after) => [prefix, after, &[0]].concat(),
        None => prefix.to_vec(),
    }
}

/// The first key after all that begin with `prefix`.
pub(super) fn end_of(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            break;
        }
    }
    end
}

fn account_key(id: &AccountId) -> Vec<u8> {
    [b"a", &id.as_bytes()[..]].concat()
}

fn child_prefix(parent: &AccountId) -> Vec<u8> {
    [b"c", &parent.as_bytes()[..]].concat()
}

fn key_key(key: &PublicKey) -> Vec<u8> {
    [b"k", &key.as_bytes()[..]].concat()
}

pub(super) fn transfer_key(kind: &[u8], payer: &AccountId, id: &TransferId) -> Vec<u8> {
    [kind, &payer.as_bytes()[..], &id.as_bytes()[..]].concat()
}

fn escrow_key(id: &EscrowId) -> Vec<u8> {
    [b"e", &id.as_bytes()[..]].concat()
}

fn pool_prefix(payer: &AccountId, pool: &PoolName) -> Vec<u8> {
    [b"p", &payer.as_bytes()[..], pool.as_str().as_bytes(), &[0]].concat()
}

fn host_prefix(host: &HostId) -> Vec<u8> {
    [b"o", &host.as_bytes()[..]].concat()
}

/// Times after 1970 sort by their bytes.
fn time_bytes(at: Timestamp) -> [u8; 8] {
    u64::try_from(at.micros()).unwrap_or(0).to_be_bytes()
}

fn due_key(at: Timestamp, due: &Due) -> Vec<u8> {
    let (kind, id) = match due {
        Due::Escrow(id) => (b"e", id.as_bytes().to_vec()),
        Due::Reservation(payer, id) => (b"r", [&payer.as_bytes()[..], &id.as_bytes()[..]].concat()),
        Due::Allowance(id) => (b"a", id.as_bytes().to_vec()),
    };
    [b"d", &time_bytes(at)[..], kind, &id].concat()
}

fn entry_key(account: &AccountId, number: u64) -> Vec<u8> {
    [b"n", &account.as_bytes()[..], &number.to_be_bytes()[..]].concat()
}

fn line_prefix(payer: &AccountId) -> Vec<u8> {
    [b"s", &payer.as_bytes()[..]].concat()
}

fn line_key(payer: &AccountId, place: &LinePlace) -> Vec<u8> {
    [&line_prefix(payer)[..], &time_bytes(place.at), &place.record.to_be_bytes(), place.escrow.as_bytes()].concat()
}

impl<R: Rows> View for Keyed<R> {
    fn books(&self) -> Result<Option<Books>, StoreError> {
        self.row(BOOKS)
    }

    fn account(&self, id: &AccountId) -> Result<Option<Account>, StoreError> {
        self.row(&account_key(id))
    }

    fn account_of_key(&self, key: &PublicKey) -> Result<Option<AccountId>, StoreError> {
        self.row(&key_key(key))
    }

    fn transfer(&self, payer: &AccountId, id: &TransferId) -> Result<Option<Transfer>, StoreError> {
        if R::IS_PACKED { transfer_packs::find(&self.0, payer, id) } else { self.row(&transfer_key(b"t", payer, id)) }
    }

    fn reservation(&self, payer: &AccountId, id: &TransferId) -> Result<Option<Reservation>, StoreError> {
        self.row(&transfer_key(b"r", payer, id))
    }

    fn escrow(&self, id: &EscrowId) -> Result<Option<Escrow>, StoreError> {
        self.row(&escrow_key(id))
    }
}

/// The rows of `changes` up to the record `head`, over the index `before`.
fn batch<R: Rows>(before: &Keyed<R>, head: &Head, changes: &Changes) -> Result<Batch, StoreError> {
    let mut batch = Batch::default();
    let nothing = ();
    batch.put(FORM.to_vec(), &Keyed::<R>::FORM)?;
    batch.put(HEAD.to_vec(), head)?;
    if let Some(books) = &changes.books {
        batch.put(BOOKS.to_vec(), books)?;
    }
    // What was due before and is not, or is later, is removed; what is due now is put.
    let due = |was: Option<Timestamp>, is: Option<Timestamp>, what: Due, batch: &mut Batch| {
        if was == is {
            return Ok(());
        }
        batch.removed.extend(was.map(|was| due_key(was, &what)));
        is.map_or(Ok(()), |is| batch.put(due_key(is, &what), &what))
    };
    for (id, account) in &changes.accounts {
        let was = before.account(id)?.and_then(|account| account.allowance).map(|allowance| allowance.next_at);
        due(was, account.allowance.map(|allowance| allowance.next_at), Due::Allowance(*id), &mut batch)?;
        if let Some(parent) = &account.parent {
            batch.put([child_prefix(parent), id.as_bytes().to_vec()].concat(), &nothing)?;
        }
        batch.put(account_key(id), account)?;
    }
    for (key, account) in &changes.keys {
        match account {
            Some(account) => batch.put(key_key(key), account)?,
            None => batch.removed.push(key_key(key)),
        }
    }
    if R::IS_PACKED {
        transfer_packs::put(&before.0, &changes.transfers, &mut batch)?;
    } else {
        for ((payer, id), transfer) in &changes.transfers {
            batch.put(transfer_key(b"t", payer, id), transfer)?;
        }
    }
    for ((payer, id), reservation) in &changes.reservations {
        let was = before.reservation(payer, id)?.and_then(|was| was.due_at());
        due(was, reservation.due_at(), Due::Reservation(*payer, *id), &mut batch)?;
        batch.put(transfer_key(b"r", payer, id), reservation)?;
    }
    for (id, escrow) in &changes.escrows {
        let was = before.escrow(id)?;
        due(was.as_ref().and_then(Escrow::lapses_at), escrow.lapses_at(), Due::Escrow(*id), &mut batch)?;
        if was.is_none() {
            let order = &escrow.order;
            batch.put([pool_prefix(&order.payer, &order.pool), id.as_bytes().to_vec()].concat(), &nothing)?;
            batch.put([host_prefix(&order.host), id.as_bytes().to_vec()].concat(), &nothing)?;
        }
        batch.put(escrow_key(id), escrow)?;
    }
    for (account, entries) in &changes.entries {
        for together in entries.chunks(ENTRIES_PER_ROW) {
            let first = together.first().map_or(0, |entry| entry.number);
            let key = entry_key(account, first);
            if R::IS_PACKED {
                batch.put.push((key, entry_packs::written(together)?));
            } else {
                batch.put(key, &together)?;
            }
        }
    }
    for (payer, line) in &changes.lines {
        batch.put(line_key(payer, &line.place()), line)?;
    }
    Ok(batch)
}

impl<R: Rows> Store for Keyed<R> {
    fn head(&self) -> Result<Head, StoreError> {
        let Some(head) = self.row(HEAD)? else { return Ok(Head::EMPTY) };
        match self.row::<u32>(FORM)? {
            Some(form) if form == Self::FORM => Ok(head),
            _ => Err(StoreError::Damaged("it has the form of another version of this program".to_owned())),
        }
    }

    fn apply(&self, head: &Head, changes: &Changes) -> Result<(), StoreError> {
        self.0.write(batch(self, head, changes)?)
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.0.flush()
    }

    fn clear(&self) -> Result<(), StoreError> {
        self.0.clear()
    }

    fn reopen(&self) -> Result<bool, StoreError> {
        self.0.reopen()
    }

    fn entries(&self, account: &AccountId, before: u64, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let (start, mut end) = (entry_key(account, 0), entry_key(account, before));
        let mut found = Vec::new();
        while found.len() < limit {
            let rows = self.0.range_back(&start, &end, HISTORY_ROWS)?;
            for (key, bytes) in &rows {
                let together = if R::IS_PACKED { entry_packs::read(key, bytes)? } else { entries_of_row(key, bytes)? };
                found.extend(together.into_iter().rev().filter(|entry| entry.number < before));
            }
            let Some((earliest, _)) = rows.into_iter().next_back() else { break };
            end = earliest;
        }
        found.truncate(limit);
        Ok(found)
    }

    fn lines(
        &self,
        payer: &AccountId,
        after: &LinePlace,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<Line>, StoreError> {
        let start = start_after(&line_key(payer, after), Some(&[]));
        self.decoded(&start, &line_key(payer, &LinePlace::before(before)), limit)
    }

    fn escrows_of_payer(
        &self,
        payer: &AccountId,
        pool: Option<&PoolName>,
        after: Option<&EscrowId>,
        limit: usize,
    ) -> Result<Vec<Escrow>, StoreError> {
        if let Some(pool) = pool {
            return self.listed(&pool_prefix(payer, pool), after, limit);
        }
        // Without a pool the index is not in the order of ids: all ids of the payer are read, then the page.
        let prefix = [b"p", &payer.as_bytes()[..]].concat();
        let mut ids = Vec::new();
        for (key, _) in self.0.range(&prefix, &end_of(&prefix), usize::MAX)? {
            let id = last_id(&key)?;
            if after.is_none_or(|after| id > *after) {
                ids.push(id);
            }
        }
        ids.sort_unstable();
        ids.truncate(limit);
        ids.iter().map(|id| self.escrow_of_index(id.as_bytes())).collect()
    }

    fn escrows_of_host(
        &self,
        host: &HostId,
        after: Option<&EscrowId>,
        limit: usize,
    ) -> Result<Vec<Escrow>, StoreError> {
        self.listed(&host_prefix(host), after, limit)
    }

    fn due(&self, at: Timestamp, limit: usize) -> Result<Vec<Due>, StoreError> {
        let end = [b"d", &time_bytes(at.plus(TimeSpan::from_micros(1)))[..]].concat();
        self.decoded(b"d", &end, limit)
    }

    fn accounts(&self, after: Option<&AccountId>, limit: usize) -> Result<Vec<Account>, StoreError> {
        self.decoded(&start_after(b"a", after.map(|id| &id.as_bytes()[..])), &end_of(b"a"), limit)
    }

    fn children(
        &self,
        parent: &AccountId,
        after: Option<&AccountId>,
        limit: usize,
    ) -> Result<Vec<Account>, StoreError> {
        let prefix = child_prefix(parent);
        let start = start_after(&prefix, after.map(|id| &id.as_bytes()[..]));
        let keys = self.0.range(&start, &end_of(&prefix), limit)?;
        let account = |key: &[u8]| {
            let account_key = [b"a", &key[prefix.len()..]].concat();
            let account = self.row(&account_key)?;
            account.ok_or_else(|| StoreError::Damaged(format!("{} is listed but absent", account_key.escape_ascii())))
        };
        keys.iter().map(|(key, _)| account(key)).collect()
    }

    fn escrows(&self, after: Option<&EscrowId>, limit: usize) -> Result<Vec<Escrow>, StoreError> {
        self.decoded(&start_after(b"e", after.map(|id| &id.as_bytes()[..])), &end_of(b"e"), limit)
    }

    fn reservations(
        &self,
        after: Option<&(AccountId, TransferId)>,
        limit: usize,
    ) -> Result<Vec<Reservation>, StoreError> {
        let after = after.map(|(payer, id)| [&payer.as_bytes()[..], &id.as_bytes()[..]].concat());
        self.decoded(&start_after(b"r", after.as_deref()), &end_of(b"r"), limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Cause;
    use tycoon_market::Credits;

    /// Rows in memory.
    #[derive(Default)]
    struct MapRows<const IS_PACKED: bool>(std::sync::Mutex<std::collections::BTreeMap<Vec<u8>, Vec<u8>>>);

    impl<const IS_PACKED: bool> Rows for MapRows<IS_PACKED> {
        const IS_PACKED: bool = IS_PACKED;

        fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
            Ok(self.0.lock().unwrap().get(key).cloned())
        }

        fn range(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
            let rows = self.0.lock().unwrap();
            let range = rows.range(start.to_vec()..end.to_vec()).take(limit);
            Ok(range.map(|(key, row)| (key.clone(), row.clone())).collect())
        }

        fn range_back(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
            let mut rows = self.range(start, end, usize::MAX)?;
            rows.reverse();
            rows.truncate(limit);
            Ok(rows)
        }

        fn write(&self, batch: Batch) -> Result<(), StoreError> {
            let mut rows = self.0.lock().unwrap();
            rows.extend(batch.put);
            batch.removed.iter().for_each(|key| drop(rows.remove(key)));
            Ok(())
        }

        fn flush(&self) -> Result<(), StoreError> {
            Ok(())
        }

        fn clear(&self) -> Result<(), StoreError> {
            self.0.lock().unwrap().clear();
            Ok(())
        }
    }

    fn account() -> AccountId {
        AccountId::from_bytes([7; 16])
    }

    fn entry(number: u64) -> Entry {
        Entry {
            number,
            at: Timestamp::from_seconds(1),
            record: number,
            change: Credits::from_micros(1),
            balance: Credits::from_micros(1),
            cause: Cause::Deposit { account: account() },
        }
    }

    fn a_history_is_read_back<R: Rows>(store: &Keyed<R>, parts: &[(u64, u64)]) {
        for (first, last) in parts {
            let entries = [(account(), (*first..=*last).map(entry).collect())].into();
            store.apply(&Head::EMPTY, &Changes { entries, ..Changes::default() }).unwrap();
        }
        for (before, limit) in [(u64::MAX, 1_000), (u64::MAX, 3), (152, 5), (151, 70), (66, 1_000), (2, 4), (1, 4)] {
            let found = store.entries(&account(), before, limit).unwrap();
            let expected: Vec<Entry> =
                (1..=160).rev().filter(|number| *number < before).take(limit).map(entry).collect();
            assert_eq!(found, expected, "{limit} before {before}");
        }
    }

    #[test]
    fn a_history_is_read_back_across_rows_and_from_rows_of_one_entry() {
        let store = Keyed::over(MapRows::<false>::default());
        let old = serde_json::to_vec(&entry(1)).unwrap();
        store.0.write(Batch { put: vec![(entry_key(&account(), 1), old)], ..Batch::default() }).unwrap();
        a_history_is_read_back(&store, &[(2, 150), (151, 151), (152, 160)]);
    }

    #[test]
    fn a_packed_history_is_read_back_across_rows() {
        let store = super::super::SledStore::in_tree(
            sled::Config::new().temporary(true).open().unwrap().open_tree("history").unwrap(),
        );
        a_history_is_read_back(&store, &[(1, 1), (2, 150), (151, 151), (152, 160)]);
        a_history_is_read_back(&Keyed::over(MapRows::<true>::default()), &[(1, 160)]);
    }

    #[test]
    fn an_index_of_another_form_is_not_read() {
        let (plain, packed) = (Keyed::over(MapRows::<false>::default()), Keyed::over(MapRows::<true>::default()));
        let head = Head { record: 7, ..Head::EMPTY };
        plain.apply(&head, &Changes::default()).unwrap();
        packed.apply(&head, &Changes::default()).unwrap();
        assert_eq!((plain.head(), packed.head()), (Ok(head), Ok(head)));
        std::mem::swap(&mut *plain.0.0.lock().unwrap(), &mut *packed.0.0.lock().unwrap());
        assert!(matches!(plain.head(), Err(StoreError::Damaged(_))));
        assert!(matches!(packed.head(), Err(StoreError::Damaged(_))));
    }

    #[test]
    fn the_end_of_a_prefix_comes_after_all_that_begin_with_it() {
        assert_eq!(end_of(b"a"), b"b");
        assert_eq!(end_of(&[b'a', 7, 255]), [b'a', 8]);
        assert!(end_of(b"a").as_slice() > [b'a', 255, 255].as_slice());
    }
}
