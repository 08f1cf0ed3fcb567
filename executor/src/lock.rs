//! Locks between processes that tell who holds them.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use thiserror::Error;

/// How often a held lock is tried again.
const RETRY: Duration = Duration::from_millis(25);
/// After how long it is told what is waited for.
const TOLD_AFTER: Duration = Duration::from_secs(1);
/// The longest text that says who holds a lock, in bytes.
const HOLDER_BYTES_MAX: u64 = 1024;

/// How a lock is waited for.
pub struct Patience<'a> {
    /// For how long.
    pub longest: Duration,
    /// True once nobody wants to wait any more.
    pub is_stopped: &'a dyn Fn() -> bool,
    /// Hears once, after a second, what is waited for.
    pub tell: &'a dyn Fn(&str),
}

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
    /// The wait for it was ended.
    #[error("interrupted while {what} was in use by {holder}")]
    Stopped {
        /// What it locks.
        what: String,
        /// Who holds it.
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
        Self::take_with(path, what, me, &Patience { longest: patience, is_stopped: &|| false, tell: &|_| {} })
    }

    /// The same, by somebody who hears what is waited for, and who may end the wait.
    pub fn take_with(path: &Path, what: &str, me: &str, patience: &Patience<'_>) -> Result<Self, LockError> {
        let io = |source| LockError::Io { path: path.to_owned(), source };
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(io)?;
        let started = Instant::now();
        let mut is_told = false;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(source)) => return Err(io(source)),
            }
            let what = what.to_owned();
            if (patience.is_stopped)() {
                return Err(LockError::Stopped { what, holder: holder(&mut file) });
            }
            if started.elapsed() >= patience.longest {
                return Err(LockError::Held { what, holder: holder(&mut file) });
            }
            if !is_told && started.elapsed() >= TOLD_AFTER {
                is_told = true;
                (patience.tell)(&format!("waiting for {what}, which is in use by {}", holder(&mut file)));
            }
            std::thread::sleep(RETRY);
        }
        file.set_len(0).map_err(io)?;
        file.seek(SeekFrom::Start(0)).map_err(io)?;
        file.write_all(format!("process {} ({me})\n", std::process::id()).as_bytes()).map_err(io)?;
        Ok(Self { _file: file })
    }
}

/// Who holds a lock. It is only a courtesy: a lock file that cannot be read is held all the same.
fn holder(file: &mut File) -> String {
    let mut holder = String::new();
    let _ = file.seek(SeekFrom::Start(0));
    let _ = io::Read::by_ref(file).take(HOLDER_BYTES_MAX).read_to_string(&mut holder);
    if holder.trim().is_empty() { "another process".into() } else { holder.trim().into() }
}
