//! Rows in one tree of a sled database that the caller opened. Behind each row's key stands a CRC-32 of the row, so that
//! a damaged row is found when it is read.

use sled::{Db, IVec, Tree};

use super::StoreError;
use super::keyed::{Batch, Keyed, Row, Rows};

/// An index in a sled tree.
pub type SledStore = Keyed<SledRows>;

/// Rows in a sled tree.
#[derive(Clone, Debug)]
pub struct SledRows(Tree);

fn failed(error: sled::Error) -> StoreError {
    match error {
        sled::Error::Corruption { .. } => StoreError::Damaged(error.to_string()),
        error => StoreError::Failed(error.to_string()),
    }
}

impl SledStore {
    /// The index in the tree `name` of `database`.
    pub fn open(database: &Db, name: &str) -> Result<Self, StoreError> {
        database.open_tree(name).map(|tree| Self(SledRows(tree))).map_err(failed)
    }

    /// The index in `tree`, which nothing else may use.
    pub const fn in_tree(tree: Tree) -> Self {
        Self(SledRows(tree))
    }
}

fn checked(key: &[u8], bytes: &IVec) -> Result<Vec<u8>, StoreError> {
    let damaged = |what: &str| StoreError::Damaged(format!("the row {} {what}", key.escape_ascii()));
    let Some((sum, row)) = bytes.split_first_chunk::<4>() else { return Err(damaged("is cut short")) };
    if crc32fast::hash(row) != u32::from_be_bytes(*sum) {
        return Err(damaged("does not have its checksum"));
    }
    Ok(row.to_vec())
}

fn row(found: sled::Result<(IVec, IVec)>) -> Result<Row, StoreError> {
    let (key, bytes) = found.map_err(failed)?;
    let row = checked(&key, &bytes)?;
    Ok((key.to_vec(), row))
}

impl Rows for SledRows {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.get(key).map_err(failed)?.map(|bytes| checked(key, &bytes)).transpose()
    }

    fn range(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        if start >= end {
            return Ok(Vec::new());
        }
        self.0.range(start..end).take(limit).map(row).collect()
    }

    fn range_back(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        if start >= end {
            return Ok(Vec::new());
        }
        self.0.range(start..end).rev().take(limit).map(row).collect()
    }

    fn write(&self, batch: Batch) -> Result<(), StoreError> {
        let mut writes = sled::Batch::default();
        for (key, row) in batch.put {
            writes.insert(key, [&crc32fast::hash(&row).to_be_bytes()[..], &row].concat());
        }
        for key in batch.removed {
            writes.remove(key);
        }
        self.0.apply_batch(writes).map_err(failed)
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.0.flush().map(|_| ()).map_err(failed)
    }

    fn clear(&self) -> Result<(), StoreError> {
        self.0.clear().map_err(failed)
    }
}
