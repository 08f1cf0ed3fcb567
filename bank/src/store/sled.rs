//! Rows in one tree of a sled database, which the caller opened, or which is opened here. Behind each row's key stands a
//! CRC-32 of the row, so that a damaged row is found when it is read.
//!
//! A database whose disk refused something answers with that error for ever: it must be opened again, which only who
//! opened it can do.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use sled::{Db, IVec, Tree};
use tycoon_rpc::reclaim;
use tycoon_rpc::trouble::of_disk;

use super::StoreError;
use super::keyed::{Batch, Keyed, Row, Rows};

/// An index in a sled tree.
pub type SledStore = Keyed<SledRows>;

/// The tree of the index in a database of its own.
const TREE: &str = "bank";

/// Rows in a sled tree.
#[derive(Debug)]
pub struct SledRows {
    /// `None` where it was closed and could not be opened again.
    tree: RwLock<Option<Tree>>,
    /// Where the database is, if it is opened here.
    folder: Option<PathBuf>,
}

fn failed(error: sled::Error) -> StoreError {
    match error {
        sled::Error::Corruption { .. } => StoreError::Damaged(error.to_string()),
        sled::Error::Io(error) => StoreError::NotTaken { why: of_disk(&error), detail: error.to_string() },
        error => StoreError::Failed(error.to_string()),
    }
}

fn open_tree(folder: &Path) -> sled::Result<Tree> {
    sled::Config::new().path(folder).flush_every_ms(None).open()?.open_tree(TREE)
}

impl SledStore {
    /// The index in the tree `name` of `database`.
    pub fn open(database: &Db, name: &str) -> Result<Self, StoreError> {
        database.open_tree(name).map(Self::in_tree).map_err(failed)
    }

    /// The index in a database in `folder`, which nothing else may use.
    pub fn open_folder(folder: &Path) -> sled::Result<Self> {
        let tree = RwLock::new(Some(open_tree(folder)?));
        Ok(Self(SledRows { tree, folder: Some(folder.to_owned()) }))
    }

    /// The index in `tree`, which nothing else may use.
    pub const fn in_tree(tree: Tree) -> Self {
        Self(SledRows { tree: RwLock::new(Some(tree)), folder: None })
    }
}

impl SledRows {
    fn tree(&self) -> Result<Tree, StoreError> {
        let tree = self.tree.read().unwrap_or_else(PoisonError::into_inner);
        tree.clone().ok_or_else(|| StoreError::Failed("it is closed since its disk refused something".to_owned()))
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
    const IS_PACKED: bool = true;

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.tree()?.get(key).map_err(failed)?.map(|bytes| checked(key, &bytes)).transpose()
    }

    fn range(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        if start >= end {
            return Ok(Vec::new());
        }
        self.tree()?.range(start..end).take(limit).map(row).collect()
    }

    fn range_back(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        if start >= end {
            return Ok(Vec::new());
        }
        self.tree()?.range(start..end).rev().take(limit).map(row).collect()
    }

    fn write(&self, batch: Batch) -> Result<(), StoreError> {
        let rows = batch.put.len() + batch.removed.len();
        let mut writes = sled::Batch::default();
        for (key, row) in batch.put {
            writes.insert(key, [&crc32fast::hash(&row).to_be_bytes()[..], &row].concat());
        }
        for key in batch.removed {
            writes.remove(key);
        }
        self.tree()?.apply_batch(writes).map_err(failed)?;
        reclaim::after_writing(rows);
        Ok(())
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.tree()?.flush().map(|_| ()).map_err(failed)
    }

    fn clear(&self) -> Result<(), StoreError> {
        self.tree()?.clear().map_err(failed)
    }

    fn reopen(&self) -> Result<bool, StoreError> {
        let Some(folder) = &self.folder else { return Ok(false) };
        let mut tree = self.tree.write().unwrap_or_else(PoisonError::into_inner);
        // The old one holds a lock on its files.
        *tree = None;
        let opened = match open_tree(folder) {
            // The journal has everything that stood in it.
            Err(sled::Error::Corruption { .. }) => {
                fs::remove_dir_all(folder).map_err(|error| failed(error.into()))?;
                open_tree(folder)
            }
            opened => opened,
        };
        *tree = Some(opened.map_err(failed)?);
        Ok(true)
    }
}
