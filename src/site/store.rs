//! The files of the embedded site: its folder, its seed, its database.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::files;
use crate::folders;

/// The version of the folder's form.
const VERSION: &str = "1";
/// The site is not opened with less free space than this, in bytes: money moves only where it can be written down.
const LEAST_FREE_BYTES: u64 = 8 << 20;

/// The folder of the embedded site.
pub struct StateFolder {
    path: PathBuf,
}

impl StateFolder {
    /// The folder at `path`, made where there is none.
    pub fn at(path: PathBuf) -> Result<Self, Failure> {
        folders::make(&path)?;
        Ok(Self { path })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The lock that who opens the site holds.
    pub fn lock_file(&self) -> PathBuf {
        self.path.join("lock")
    }

    /// The folder of the bank's journal.
    pub fn bank_journal(&self) -> PathBuf {
        self.path.join("bank-journal")
    }

    /// Checks the folder and returns the seed of the site's keys; a new one where the site is new.
    pub fn prepare(&self, test_seed: Option<u64>) -> Result<[u8; 32], Failure> {
        self.check_space()?;
        let version_file = self.path.join("version");
        match std::fs::read_to_string(&version_file) {
            Ok(version) if version.trim() == VERSION => {}
            Ok(version) => {
                return Err(Failure::new(
                    Exit::Failed,
                    format!(
                        "the embedded site in {} has the form {:?}; this program reads {VERSION}",
                        self.path.display(),
                        version.trim()
                    ),
                )
                .help("use the program that made it, or move the folder aside to begin a new site"));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                files::write(&version_file, format!("{VERSION}\n").as_bytes(), 0o600)?;
            }
            Err(error) => return Err(unreadable(&version_file, &error)),
        }
        let seed_file = self.path.join("seed");
        match std::fs::read(&seed_file) {
            Ok(bytes) => bytes.try_into().map_err(|_| {
                Failure::new(Exit::Failed, format!("the seed {} is damaged: it must have 32 bytes", seed_file.display()))
                    .help(format!(
                        "the keys of the embedded site are made from it. Restore it from a backup; or move {} aside, and a new site is made",
                        self.path.display()
                    ))
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let seed: [u8; 32] = match test_seed {
                    Some(seed) => Sha256::digest(format!("tycoon site {seed}")).into(),
                    None => random_seed()?,
                };
                files::write(&seed_file, &seed, 0o600)?;
                Ok(seed)
            }
            Err(error) => Err(unreadable(&seed_file, &error)),
        }
    }

    fn check_space(&self) -> Result<(), Failure> {
        let Ok(filesystem) = rustix::fs::statvfs(&self.path) else { return Ok(()) };
        let free = filesystem.f_bavail.saturating_mul(filesystem.f_frsize);
        if free >= LEAST_FREE_BYTES {
            return Ok(());
        }
        Err(Failure::new(
            Exit::Failed,
            format!(
                "the disk is full: {} has {} KiB left, and {} KiB are needed",
                self.path.display(),
                free >> 10,
                LEAST_FREE_BYTES >> 10
            ),
        )
        .help("free some space, or move the state elsewhere with XDG_STATE_HOME; nothing was changed"))
    }
}

/// Opens the database. It is made of what a crash or a disk may have damaged: whatever it does then is told plainly.
pub fn open_database(folder: &StateFolder) -> Result<sled::Db, Failure> {
    open_database_at(&folder.path().join("database"), folder.path(), 32 << 20)
}

/// Opens the database at `path`, which belongs to what is kept in `folder`, with `cache` bytes of it in memory.
pub fn open_database_at(path: &Path, folder: &Path, cache: u64) -> Result<sled::Db, Failure> {
    let damaged = |reason: String| {
        Failure::new(Exit::Failed, format!("the database {} cannot be opened: {reason}", path.display())).help(format!(
            "nothing was changed. Restore {0} from a backup; or move it aside, and a new one is made:\n  mv {0} {0}.damaged",
            folder.display()
        ))
    };
    let config = sled::Config::new().path(path).cache_capacity(cache).flush_every_ms(None);
    // The database is known to panic on some kinds of damage; that must not look like a fault of this program.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let opened = catch_unwind(AssertUnwindSafe(|| config.open()));
    std::panic::set_hook(hook);
    match opened {
        Ok(Ok(database)) => Ok(database),
        Ok(Err(error)) => Err(damaged(error.to_string())),
        Err(_) => Err(damaged("it is damaged".into())),
    }
}

fn random_seed() -> Result<[u8; 32], Failure> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| Failure::from_error(Exit::Failed, &error))?;
    Ok(seed)
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::from_error(Exit::Failed, error).context(&format!("{} cannot be read", path.display()))
}
