//! Files that are replaced whole or not at all, locks between processes, and names that stay in their place.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::failed;
use crate::hypervisor::HypervisorError;

/// How long a lock that somebody else holds is waited for. Copying an image takes minutes.
const LOCK_WAIT: Duration = Duration::from_secs(20 * 60);
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Writes `content` to `path`, whole or not at all, and on disk on return. Only its owner can read it.
pub(super) fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(folder)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    sync_folder(folder)
}

/// The content of a file of at most `bytes_max` bytes; `None` where there is none.
pub(super) fn read_bounded(path: &Path, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut content = Vec::new();
    file.take(bytes_max.saturating_add(1)).read_to_end(&mut content)?;
    if content.len() as u64 > bytes_max {
        return Err(io::Error::other(format!("it is larger than {bytes_max} bytes")));
    }
    Ok(Some(content))
}

/// What was made, renamed or removed in the folder is on disk on return.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// The folder exists, closed to others, and it is on disk.
pub(super) fn make_folder(folder: &Path) -> Result<(), HypervisorError> {
    if folder.is_dir() {
        return Ok(());
    }
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.and_then(|()| folder.parent().map_or(Ok(()), sync_folder))
        .map_err(|error| failed("making a folder", format!("{}: {error}", folder.display())))
}

/// The file is gone. True where it was there.
pub(super) fn remove_file(path: &Path) -> Result<bool, HypervisorError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failed("removing a file", format!("{}: {error}", path.display()))),
    }
}

/// Whether a name can be part of a path without leaving its place, whatever it is for.
pub(super) fn is_safe_name(name: &str, bytes_max: usize) -> bool {
    !name.is_empty()
        && name.len() <= bytes_max
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
}

/// The locks of a folder, one file each. They hold between threads as between processes, and end with their holder.
#[derive(Debug)]
pub(super) struct Locks {
    folder: PathBuf,
}

/// A lock that is held until it is dropped.
#[derive(Debug)]
pub(super) struct Held {
    // The lock is on the open file, and closing it gives the lock back.
    _file: File,
    path: PathBuf,
}

impl Held {
    /// Gives the lock back, and removes its file: what it was for is gone.
    pub(super) fn remove(self) {
        // Without this it only takes the room of an empty file.
        let _ = fs::remove_file(&self.path);
    }
}

impl Locks {
    pub(super) fn new(folder: PathBuf) -> Result<Self, HypervisorError> {
        make_folder(&folder)?;
        Ok(Self { folder })
    }

    /// Waits for the lock `name`, which must be a safe name.
    pub(super) fn hold(&self, name: &str) -> Result<Held, HypervisorError> {
        let path = self.folder.join(name);
        let begin = Instant::now();
        let wrong = |error: &dyn std::fmt::Display| failed("taking a lock", format!("{}: {error}", path.display()));
        loop {
            let file = fs::OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
            let file = file.map_err(|error| wrong(&error))?;
            match file.try_lock() {
                // Whoever held it before may have removed it; then a lock on it says nothing.
                Ok(()) if is_same(&file, &path) => return Ok(Held { _file: file, path }),
                Ok(()) => continue,
                Err(TryLockError::Error(error)) => return Err(wrong(&error)),
                Err(TryLockError::WouldBlock) => {}
            }
            if begin.elapsed() > LOCK_WAIT {
                let minutes = LOCK_WAIT.as_secs() / 60;
                return Err(wrong(&format!("another process has held it for {minutes} minutes; `fuser` tells which")));
            }
            thread::sleep(LOCK_PAUSE);
        }
    }
}

fn is_same(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(held), Ok(named)) => (held.dev(), held.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn names_that_could_leave_their_place_are_not_safe() {
        for bad in ["", ".", "..", "../x", "a/b", "/a", "-a", "a b", "a\n", "a\0", "ä"] {
            assert!(!is_safe_name(bad, 100), "{bad:?}");
        }
        assert!(is_safe_name("hello.web.0-3f9c12ab", 100));
        assert!(!is_safe_name("abc", 2));
    }

    #[test]
    fn one_holds_a_lock_at_a_time_also_where_locks_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (inside, rounds) = (AtomicU32::new(0), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for number in 0..4 {
                let (folder, inside, rounds) = (&folder, &inside, &rounds);
                scope.spawn(move || {
                    let locks = Locks::new(folder.path().to_owned()).unwrap();
                    for round in 0..20 {
                        let held = locks.hold("a").unwrap();
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        rounds.fetch_add(1, Ordering::SeqCst);
                        assert_eq!(inside.fetch_sub(1, Ordering::SeqCst), 1);
                        if (round + number) % 2 == 0 {
                            held.remove();
                        }
                    }
                });
            }
        });
        assert_eq!(rounds.into_inner(), 80);
    }

    #[test]
    fn files_are_read_up_to_their_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        assert_eq!(read_bounded(&path, 3).unwrap(), None);
        write_whole(&path, b"abc").unwrap();
        assert_eq!(read_bounded(&path, 3).unwrap(), Some(b"abc".to_vec()));
        assert!(read_bounded(&path, 2).is_err());
    }
}
