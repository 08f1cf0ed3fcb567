//! The mark of a replay guard: the time up to which requests may have been accepted, kept on disk.
//!
//! A guard that is restarted has forgotten what it accepted. It refuses whatever was created up to the mark, and takes
//! everything later: so nothing counts twice, and nobody has to wait longer than a second. Requests are signed with whole
//! seconds, so the mark is written once a second at most.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use thiserror::Error;
use tycoon_market::Timestamp;

/// The longest text of a mark, in bytes.
const MARK_BYTES_MAX: u64 = 64;

/// Why a mark cannot be read or written.
#[derive(Debug, Error)]
pub enum MarkError {
    /// The file could not be read or written.
    #[error("cannot {doing} the replay mark {}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The file does not hold a mark.
    #[error(
        "the replay mark {} is damaged; remove it, and the service waits for {} after its start",
        path.display(), crate::ReplayPolicy::NETWORK.skew
    )]
    Damaged {
        /// The file.
        path: PathBuf,
    },
}

/// Where a mark is kept.
pub trait MarkStore: Send + Sync {
    /// Keeps `mark`, and returns when it is on disk.
    fn save(&self, mark: Timestamp) -> Result<(), MarkError>;
}

/// A mark in a file: one line with microseconds since 1970.
#[derive(Clone, Debug)]
pub struct MarkFile(PathBuf);

impl MarkFile {
    /// The mark in the file `path`, and what it is; `None` where there is no file.
    pub fn open(path: PathBuf) -> Result<(Self, Option<Timestamp>), MarkError> {
        let mut text = String::new();
        let read = File::open(&path).and_then(|file| file.take(MARK_BYTES_MAX).read_to_string(&mut text));
        match read {
            Ok(_) => match text.trim_end().parse() {
                Ok(micros) => Ok((Self(path), Some(Timestamp::from_micros(micros)))),
                Err(_) => Err(MarkError::Damaged { path }),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok((Self(path), None)),
            Err(source) => Err(MarkError::Io { doing: "read", path, source }),
        }
    }
}

impl MarkStore for MarkFile {
    fn save(&self, mark: Timestamp) -> Result<(), MarkError> {
        let path = &self.0;
        replace(path, format!("{}\n", mark.micros()).as_bytes()).map_err(|source| MarkError::Io {
            doing: "write",
            path: path.clone(),
            source,
        })
    }
}

/// Replaces a file as a whole.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let next = path.with_extension("new");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&next)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&next, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_reads_back_and_damage_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mark");
        let (file, mark) = MarkFile::open(path.clone()).unwrap();
        assert_eq!(mark, None);
        file.save(Timestamp::from_seconds(7)).unwrap();
        file.save(Timestamp::from_seconds(8)).unwrap();
        assert_eq!(MarkFile::open(path.clone()).unwrap().1, Some(Timestamp::from_seconds(8)));
        fs::write(&path, "soon\n").unwrap();
        let damaged = MarkFile::open(path).unwrap_err().to_string();
        assert!(damaged.contains("remove it"), "{damaged}");
    }
}
