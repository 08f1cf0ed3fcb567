//! Files of images on their way in: they stay open, and the digest of what has come is computed as it comes, so that nothing
//! is read again when all is there. Who comes back to a file that another process, or an earlier run, has begun reads it.

use std::collections::VecDeque;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use sha2::{Digest as _, Sha256};

use crate::image::FileDigest;

/// How many files are kept open; of more, the one that was written to longest ago is closed.
const OPEN_MAX: usize = 16;
/// After so many bytes the disk begins to take what has come, so that little is left for it at the end.
const SYNC_BYTES: u64 = 64 << 20;

/// The files that come in.
#[derive(Clone, Debug, Default)]
pub(super) struct Incoming(Arc<Mutex<VecDeque<IncomingFile>>>);

impl Incoming {
    fn all(&self) -> MutexGuard<'_, VecDeque<IncomingFile>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file at `path`, of which `length` bytes are there: nobody else has written to it or removed it.
    pub(super) fn take(&self, path: &Path, length: u64) -> Option<IncomingFile> {
        let mut all = self.all();
        let place = all.iter().position(|file| file.path == path)?;
        all.remove(place).filter(|file| file.is_at(length))
    }

    /// Keeps a file open for what comes next.
    pub(super) fn keep(&self, file: IncomingFile) {
        let mut all = self.all();
        all.push_back(file);
        if all.len() > OPEN_MAX {
            all.pop_front();
        }
    }
}

/// One of them.
#[derive(Debug)]
pub(super) struct IncomingFile {
    path: PathBuf,
    file: File,
    /// What it has, and what it is to have, in bytes.
    length: u64,
    wanted: u64,
    /// When it was written to last: another time is another's writing.
    changed: (i64, i64),
    /// Of what has come; `None` where not all of it came by this.
    hash: Option<Sha256>,
    /// Brings what has come to the disk, and up to where that was begun.
    syncing: Option<JoinHandle<io::Result<()>>>,
    synced: u64,
}

impl IncomingFile {
    /// The file at `path`, which is made where it is not there. It is to have `wanted` bytes.
    pub(super) fn open(path: PathBuf, wanted: u64) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path)?;
        let about = file.metadata()?;
        let (length, changed) = (about.len(), changed(&about));
        let hash = (length == 0).then(Sha256::new);
        Ok(Self { path, file, length, wanted, changed, hash, syncing: None, synced: length })
    }

    /// What it has, in bytes.
    pub(super) const fn length(&self) -> u64 {
        self.length
    }

    /// What it is to have, in bytes.
    pub(super) const fn wanted(&self) -> u64 {
        self.wanted
    }

    fn is_at(&self, length: u64) -> bool {
        let is_ours = |now: Metadata| now.nlink() > 0 && now.len() == length && changed(&now) == self.changed;
        self.length == length && self.file.metadata().is_ok_and(is_ours)
    }

    /// Appends what comes next. Where that fails, the file ends where it ended before.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.length).inspect_err(|_| {
            // Else the next bytes would have to know how far these came.
            let _ = self.file.set_len(self.length);
        })?;
        self.length += bytes.len() as u64;
        self.changed = changed(&self.file.metadata()?);
        if let Some(hash) = &mut self.hash {
            hash.update(bytes);
        }
        if self.length - self.synced >= SYNC_BYTES && self.syncing.as_ref().is_none_or(JoinHandle::is_finished) {
            self.settle()?;
            let file = self.file.try_clone()?;
            // Without the thread, all of it is brought to the disk at the end.
            self.syncing = thread::Builder::new().name("image sync".into()).spawn(move || file.sync_data()).ok();
            self.synced = self.length;
        }
        Ok(())
    }

    /// The digest of its content, which is on disk then; `None` where not all of it came by this.
    pub(super) fn finish(mut self) -> io::Result<Option<FileDigest>> {
        self.settle()?;
        self.file.sync_all()?;
        Ok(self.hash.take().map(|hash| FileDigest::new(hash.finalize().into())))
    }

    /// Waits for what is being brought to the disk: what that could not take is told only once.
    fn settle(&mut self) -> io::Result<()> {
        let Some(syncing) = self.syncing.take() else { return Ok(()) };
        syncing.join().unwrap_or_else(|_| Err(io::Error::other("a fault of Tycoon; please report it")))
    }
}

fn changed(about: &Metadata) -> (i64, i64) {
    (about.ctime(), about.ctime_nsec())
}

impl Drop for IncomingFile {
    fn drop(&mut self) {
        // Who opens it next would not hear of it.
        if self.settle().is_err() {
            let _ = fs::remove_file(&self.path);
        }
    }
}
