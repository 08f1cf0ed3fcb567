//! What can be wrong with a journal.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why the journal could not be read or written.
#[derive(Debug, Error)]
pub enum JournalError {
    /// A record or file is not what was written. Nothing was changed.
    #[error("the journal is damaged: {}, byte {offset}: {what}; {help}", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// Bytes from its start.
        offset: u64,
        /// What is wrong there.
        what: String,
        /// What to do.
        help: &'static str,
    },
    /// The index holds records that the journal does not.
    #[error(
        "the journal in {} ends at record {journal}, but the index holds record {index}: records are missing; \
         restore the journal from its latest copy, or, if there is none, remove the index and start a new epoch",
        folder.display()
    )]
    RecordsMissing {
        /// The journal.
        folder: PathBuf,
        /// Its last record.
        journal: u64,
        /// The index's last record.
        index: u64,
    },
    /// The index was made from a journal with another history.
    #[error(
        "the journal in {} has another record {record} than the one the index was made from; \
         one of them was restored from a copy: restore the journal that belongs to the index, or, if this journal is \
         the right one, remove the index and start a new epoch",
        folder.display()
    )]
    OtherHistory {
        /// The journal.
        folder: PathBuf,
        /// The record that differs.
        record: u64,
    },
    /// Another process writes this journal.
    #[error("another process uses the journal in {}; only one may", folder.display())]
    InUse {
        /// The journal.
        folder: PathBuf,
    },
    /// The operating system failed.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The disk did not take a record. What was half written is taken back, so that a later write may succeed.
    #[error("cannot write {}; nothing was recorded", path.display())]
    NotWritten {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// An earlier write failed in a way that leaves the file's content unknown.
    #[error(
        "the journal cannot be written since an earlier failure ({0}); restart the bank, which checks what is on disk"
    )]
    Broken(String),
    /// The record is longer than what is read back.
    #[error("the record has {0} bytes, which is more than a journal takes")]
    TooLong(usize),
}

/// What is to be done about damage inside the journal.
pub(super) const RESTORE: &str = "restore this file from a copy; the records before it are intact";
