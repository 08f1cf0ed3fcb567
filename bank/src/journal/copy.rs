//! Copies of a journal: backups while it is written, and old segments put away.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::segment::Segment;
use super::{Check, JournalError, create_folder, read, segments};
use crate::store::Head;

/// The file in a journal's folder that names the folder with the segments that were put away.
const ARCHIVE_FILE: &str = "archive";
/// The longest path that is read from it, in bytes.
const PATH_BYTES_MAX: u64 = 4096;

/// The folder of the segments that were put away; `None` where none were.
pub(super) fn archive_of(folder: &Path) -> Result<Option<PathBuf>, JournalError> {
    use std::io::Read as _;
    let file = folder.join(ARCHIVE_FILE);
    let mut text = String::new();
    match File::open(&file).and_then(|opened| opened.take(PATH_BYTES_MAX).read_to_string(&mut text)) {
        Ok(_) => Ok(Some(PathBuf::from(text.trim_end_matches('\n')))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(JournalError::Io { doing: "read", path: file, source }),
    }
}

/// Copies the journal in `from`, which may be written meanwhile, into the folder `to`, which must hold none. What was
/// told when the copy began is in it. Returns the last record.
pub fn copy(from: &Path, to: &Path) -> Result<Head, JournalError> {
    create_folder(to)?;
    if !segments(to)?.is_empty() {
        let source = io::Error::new(io::ErrorKind::AlreadyExists, "there is a journal in it");
        return Err(JournalError::Io { doing: "copy into", path: to.to_owned(), source });
    }
    for segment in segments(from)? {
        copy_file(&segment, to)?;
    }
    sync_folder(to)?;
    let (end, last) = read::<JournalError>(to, &Head::EMPTY, Check::Everything, &mut |_| Ok(()))?;
    if end.torn > 0 {
        // A record that was being written while it was copied: nobody had been told of it.
        let cut = OpenOptions::new().write(true).open(&last).and_then(|file| {
            file.set_len(end.length)?;
            file.sync_all()
        });
        cut.map_err(|source| JournalError::Io { doing: "cut", path: last, source })?;
    }
    Ok(end.head)
}

/// Puts all segments but the last `keep` (one at least) of the journal in `folder` away into the folder `to`, which is
/// remembered: the whole journal is still read where it is needed. Returns how many were put away.
pub fn archive(folder: &Path, to: &Path, keep: usize) -> Result<usize, JournalError> {
    let io = |doing, path: &Path| {
        let path = path.to_owned();
        move |source| JournalError::Io { doing, path, source }
    };
    create_folder(to)?;
    let to = to.canonicalize().map_err(io("find", to))?;
    let file = folder.join(ARCHIVE_FILE);
    match archive_of(folder)? {
        Some(other) if other != to => {
            let source =
                io::Error::other(format!("older segments are in {}; all must be in one folder", other.display()));
            return Err(JournalError::Io { doing: "archive into", path: to, source });
        }
        Some(_) => {}
        None => {
            let text = to.to_str().ok_or_else(|| io::Error::other("its path is not text")).map_err(io("use", &to))?;
            let begun = folder.join("archive.begun");
            let written = (|| {
                fs::write(&begun, format!("{text}\n"))?;
                File::open(&begun)?.sync_all()?;
                fs::rename(&begun, &file)
            })();
            written.map_err(io("write", &file))?;
            sync_folder(folder)?;
        }
    }
    let here: Vec<Segment> =
        segments(folder)?.into_iter().filter(|segment| segment.path.parent() == Some(folder)).collect();
    let away = here.len().saturating_sub(keep.max(1));
    for segment in &here[..away] {
        let copied = copy_file(segment, &to)?;
        sync_folder(&to)?;
        let same = fs::read(&segment.path).and_then(|bytes| Ok(fs::read(&copied)? == bytes));
        if !same.map_err(io("compare", &copied))? {
            let source = io::Error::other("the copy differs");
            return Err(JournalError::Io { doing: "archive", path: segment.path.clone(), source });
        }
        fs::remove_file(&segment.path).map_err(io("remove", &segment.path))?;
        sync_folder(folder)?;
    }
    Ok(away)
}

fn copy_file(segment: &Segment, to: &Path) -> Result<PathBuf, JournalError> {
    let target = to.join(segment.path.file_name().unwrap_or_default());
    let copied = (|| {
        let mut from = File::open(&segment.path)?;
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&target)?;
        io::copy(&mut from, &mut file)?;
        file.sync_all()
    })();
    copied.map_err(|source| JournalError::Io { doing: "copy to", path: target.clone(), source })?;
    Ok(target)
}

fn sync_folder(folder: &Path) -> Result<(), JournalError> {
    let synced = File::open(folder).and_then(|opened| opened.sync_all());
    synced.map_err(|source| JournalError::Io { doing: "sync", path: folder.to_owned(), source })
}
