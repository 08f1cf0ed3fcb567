//! A store in one tree of a sled database that the caller opened.
//!
//! Every row is JSON behind a CRC-32 of it, so that a damaged row is found when it is read. Keys begin with a letter
//! for the kind of row:
//!
//! | key | row |
//! |---|---|
//! | `h` | the head: the last record that the index holds |
//! | `b` | the totals |
//! | `a` account | account |
//! | `k` public key | the account it acts for |
//! | `t` payer, transfer | transfer |
//! | `e` escrow | escrow |
//! | `p` payer, pool, 0, escrow | – (escrows of a payer by pool) |
//! | `o` host, escrow | – (escrows of a host) |
//! | `l` deadline, escrow | – (open escrows by when they lapse) |
//! | `n` account, number | entry of the account's history |

use serde::Serialize;
use serde::de::DeserializeOwned;
use sled::{Batch, Db, IVec, Tree};
use tycoon_market::{AccountId, EscrowId, HostId, PoolName, PublicKey, Timestamp, TransferId};

use super::{Head, Store, StoreError};
use crate::ledger::{Account, Books, Changes, Entry, Escrow, Transfer, View};

const HEAD: &[u8] = b"h";
const BOOKS: &[u8] = b"b";

/// An index in a sled tree.
#[derive(Clone, Debug)]
pub struct SledStore(Tree);

fn failed(error: sled::Error) -> StoreError {
    match error {
        sled::Error::Corruption { .. } => StoreError::Damaged(error.to_string()),
        error => StoreError::Failed(error.to_string()),
    }
}

impl SledStore {
    /// The index in the tree `name` of `database`.
    pub fn open(database: &Db, name: &str) -> Result<Self, StoreError> {
        database.open_tree(name).map(Self).map_err(failed)
    }

    /// The index in `tree`, which nothing else may use.
    pub const fn in_tree(tree: Tree) -> Self {
        Self(tree)
    }

    fn row<T: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, StoreError> {
        self.0.get(key).map_err(failed)?.map(|bytes| decode(key, &bytes)).transpose()
    }

    fn escrow_of_index(&self, key: &[u8]) -> Result<Escrow, StoreError> {
        let id = last_id(key)?;
        let escrow = self.escrow(&id)?;
        escrow.ok_or_else(|| StoreError::Damaged(format!("the escrow {id} is listed but absent")))
    }

    /// The keys that begin with `prefix` and end with an escrow id after `after`.
    fn listed(&self, prefix: &[u8], after: Option<&EscrowId>, limit: usize) -> Result<Vec<Escrow>, StoreError> {
        let start = match after {
            Some(id) => just_after([prefix, id.as_bytes()].concat()),
            None => prefix.to_vec(),
        };
        let keys = self.0.range(start..).keys().take(limit);
        let mut escrows = Vec::new();
        for key in keys {
            let key = key.map_err(failed)?;
            if !key.starts_with(prefix) {
                break;
            }
            escrows.push(self.escrow_of_index(&key)?);
        }
        Ok(escrows)
    }

    fn rows<T: DeserializeOwned>(&self, prefix: &[u8], start: Vec<u8>, limit: usize) -> Result<Vec<T>, StoreError> {
        let mut rows = Vec::new();
        for row in self.0.range(start..).take(limit) {
            let (key, bytes) = row.map_err(failed)?;
            if !key.starts_with(prefix) {
                break;
            }
            rows.push(decode(&key, &bytes)?);
        }
        Ok(rows)
    }
}

fn encode<T: Serialize>(row: &T) -> Result<Vec<u8>, StoreError> {
    let json = serde_json::to_vec(row).map_err(|error| StoreError::Failed(error.to_string()))?;
    Ok([&crc32fast::hash(&json).to_be_bytes()[..], &json].concat())
}

fn decode<T: DeserializeOwned>(key: &[u8], bytes: &IVec) -> Result<T, StoreError> {
    let damaged = |what: &str| StoreError::Damaged(format!("the row {} {what}", key.escape_ascii()));
    let Some((sum, json)) = bytes.split_first_chunk::<4>() else { return Err(damaged("is cut short")) };
    if crc32fast::hash(json) != u32::from_be_bytes(*sum) {
        return Err(damaged("does not have its checksum"));
    }
    serde_json::from_slice(json).map_err(|error| damaged(&format!("cannot be read: {error}")))
}

/// The escrow id at the end of a key.
fn last_id(key: &[u8]) -> Result<EscrowId, StoreError> {
    let id = key.last_chunk::<16>().copied().map(EscrowId::from_bytes);
    id.ok_or_else(|| StoreError::Damaged(format!("the key {} is cut short", key.escape_ascii())))
}

/// The first key after `key`.
fn just_after(mut key: Vec<u8>) -> Vec<u8> {
    key.push(0);
    key
}

fn account_key(id: &AccountId) -> Vec<u8> {
    [b"a", &id.as_bytes()[..]].concat()
}

fn key_key(key: &PublicKey) -> Vec<u8> {
    [b"k", &key.as_bytes()[..]].concat()
}

fn transfer_key(payer: &AccountId, id: &TransferId) -> Vec<u8> {
    [b"t", &payer.as_bytes()[..], &id.as_bytes()[..]].concat()
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

fn deadline_key(deadline: Timestamp, id: &EscrowId) -> Vec<u8> {
    // Times after 1970 sort by their bytes.
    let micros = u64::try_from(deadline.micros()).unwrap_or(0);
    [b"l", &micros.to_be_bytes()[..], &id.as_bytes()[..]].concat()
}

fn entry_key(account: &AccountId, number: u64) -> Vec<u8> {
    [b"n", &account.as_bytes()[..], &number.to_be_bytes()[..]].concat()
}

impl View for SledStore {
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
        self.row(&transfer_key(payer, id))
    }

    fn escrow(&self, id: &EscrowId) -> Result<Option<Escrow>, StoreError> {
        self.row(&escrow_key(id))
    }
}

impl Store for SledStore {
    fn head(&self) -> Result<Head, StoreError> {
        Ok(self.row(HEAD)?.unwrap_or(Head::EMPTY))
    }

    fn apply(&self, head: &Head, changes: &Changes) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        batch.insert(HEAD, encode(head)?);
        if let Some(books) = &changes.books {
            batch.insert(BOOKS, encode(books)?);
        }
        for (id, account) in &changes.accounts {
            batch.insert(account_key(id), encode(account)?);
        }
        for (key, account) in &changes.keys {
            match account {
                Some(account) => batch.insert(key_key(key), encode(account)?),
                None => batch.remove(key_key(key)),
            }
        }
        for ((payer, id), transfer) in &changes.transfers {
            batch.insert(transfer_key(payer, id), encode(transfer)?);
        }
        for (id, escrow) in &changes.escrows {
            let before = self.escrow(id)?;
            if let Some(deadline) = before.as_ref().and_then(Escrow::lapses_at) {
                batch.remove(deadline_key(deadline, id));
            }
            if before.is_none() {
                let order = &escrow.order;
                batch.insert([pool_prefix(&order.payer, &order.pool), id.as_bytes().to_vec()].concat(), &[]);
                batch.insert([host_prefix(&order.host), id.as_bytes().to_vec()].concat(), &[]);
            }
            if let Some(deadline) = escrow.lapses_at() {
                batch.insert(deadline_key(deadline, id), &[]);
            }
            batch.insert(escrow_key(id), encode(escrow)?);
        }
        for (account, entry) in &changes.entries {
            batch.insert(entry_key(account, entry.number), encode(entry)?);
        }
        self.0.apply_batch(batch).map_err(failed)
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.0.flush().map(|_| ()).map_err(failed)
    }

    fn clear(&self) -> Result<(), StoreError> {
        self.0.clear().map_err(failed)
    }

    fn entries(&self, account: &AccountId, before: u64, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let range = self.0.range(entry_key(account, 0)..entry_key(account, before)).rev().take(limit);
        range.map(|row| row.map_err(failed).and_then(|(key, bytes)| decode(&key, &bytes))).collect()
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
        for key in self.0.scan_prefix(&prefix).keys() {
            let id = last_id(&key.map_err(failed)?)?;
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

    fn lapsing(&self, at: Timestamp, limit: usize) -> Result<Vec<EscrowId>, StoreError> {
        let end = deadline_key(at.plus(tycoon_market::TimeSpan::from_micros(1)), &EscrowId::from_bytes([0; 16]));
        let range = self.0.range(b"l".to_vec()..end).keys().take(limit);
        range.map(|key| last_id(&key.map_err(failed)?)).collect()
    }

    fn accounts(&self, after: Option<&AccountId>, limit: usize) -> Result<Vec<Account>, StoreError> {
        self.rows(b"a", after.map_or_else(|| b"a".to_vec(), |id| just_after(account_key(id))), limit)
    }

    fn escrows(&self, after: Option<&EscrowId>, limit: usize) -> Result<Vec<Escrow>, StoreError> {
        self.rows(b"e", after.map_or_else(|| b"e".to_vec(), |id| just_after(escrow_key(id))), limit)
    }
}
