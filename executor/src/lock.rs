//! Locks between processes that tell who holds them.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use thiserror::Error;

/// How often a held lock is tried again.
const RETRY: Duration = Duration::from_millis(25);

/// A lock that is held until it is dropped, also when the process is killed.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Why a lock was not taken.
#[derive(Debug, Error)]
pub enum LockError {
    /// Somebody holds it.
    #[error("{what} is in use by {holder}")]
    Held {
        /// What it locks.
        what: String,
        /// Who holds it: `process 4711 (tycoon up pool.kdl)`.
        holder: String,
    },
    /// The lock file cannot be used.
    #[error("the lock file {path} cannot be used")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Lock {
    /// Takes the lock at `path` on `what`, waiting up to `patience`. `me` says who holds it from now on.
    pub fn take(path: &Path, what: &str, me: &str, patience: Duration) -> Result<Self, LockError> {
        let io = |source| LockError::Io { path: path.to_owned(), source };
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(io)?;
        let started = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if started.elapsed() < patience => std::thread::sleep(RETRY),
                Err(TryLockError::WouldBlock) => {
                    let mut holder = String::new();
                    // Who holds it is only a courtesy: a lock file that cannot be read is held all the same.
                    let _ = std::io::Read::by_ref(&mut file).take(1024).read_to_string(&mut holder);
                    let holder = if holder.trim().is_empty() { "another process".into() } else { holder.trim().into() };
                    return Err(LockError::Held { what: what.to_owned(), holder });
                }
                Err(TryLockError::Error(source)) => return Err(io(source)),
            }
        }
        file.set_len(0).map_err(io)?;
        file.seek(SeekFrom::Start(0)).map_err(io)?;
        file.write_all(format!("process {} ({me})\n", std::process::id()).as_bytes()).map_err(io)?;
        Ok(Self { _file: file })
    }
}
