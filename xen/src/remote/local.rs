//! Images that lie where the client is, and their digests.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::image::{FileDigest, ImageFile, ImageManifest, ImagePart};
use crate::machine::ImageExport;

/// The longest list of digests that is read, in bytes.
const NOTES_BYTES_MAX: u64 = 4 << 20;
/// How much of a file is read at once, in bytes.
const PIECE_BYTES: usize = 1 << 20;

/// The images of a client, by name. Digests are computed once for each file, and again when its length, its time of
/// change, or the file itself is another.
#[derive(Debug, Default)]
pub struct LocalImages {
    images: BTreeMap<String, ImageExport>,
    notes: Mutex<Notes>,
    kept_in: Option<PathBuf>,
}

/// An image and where its files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalImage {
    /// What it is.
    pub manifest: ImageManifest,
    /// Where its files are.
    files: ImageExport,
}

impl LocalImage {
    /// Where a file of it is; none where it has no such file.
    pub fn path(&self, part: ImagePart) -> Option<&Path> {
        match part {
            ImagePart::Disk => Some(&self.files.disk),
            ImagePart::Kernel => self.files.kernel.as_deref(),
            ImagePart::Ramdisk => self.files.ramdisk.as_deref(),
        }
    }
}

/// Why an image of the client's cannot be sent.
#[derive(Debug, thiserror::Error)]
#[error("the file {} of the image `{image}` cannot be read: {source}", .path.display())]
pub struct LocalImageError {
    /// The image.
    image: String,
    /// The file.
    path: PathBuf,
    /// Why.
    source: io::Error,
}

/// Digests that are known, by path.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Notes(BTreeMap<PathBuf, Note>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    state: FileState,
    sha256: FileDigest,
}

/// What tells that a file is still the same, without reading it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct FileState {
    bytes: u64,
    modified_s: i64,
    modified_ns: i64,
    inode: u64,
}

impl LocalImages {
    /// These images; of two with one name the later counts.
    pub fn new(images: impl IntoIterator<Item = ImageExport>) -> Self {
        let images = images.into_iter().map(|image| (image.name.clone(), image)).collect();
        Self { images, ..Self::default() }
    }

    /// Keeps digests in a file, so that they need not be computed by every process. A file that is damaged or missing
    /// costs time and nothing else.
    pub fn with_notes_in(self, path: &Path) -> Self {
        let mut text = Vec::new();
        let read = File::open(path).and_then(|file| file.take(NOTES_BYTES_MAX).read_to_end(&mut text));
        let notes = read.ok().and_then(|_| serde_json::from_slice(&text).ok()).unwrap_or_default();
        Self { notes: Mutex::new(notes), kept_in: Some(path.to_owned()), ..self }
    }

    /// The names, ordered.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.images.keys().map(String::as_str)
    }

    /// The image with this name, with its digests; none where there is none. It reads files that are new or changed.
    pub fn get(&self, name: &str) -> Result<Option<LocalImage>, LocalImageError> {
        let Some(image) = self.images.get(name) else { return Ok(None) };
        let file = |path: &Path| {
            let failed = |source| LocalImageError { image: name.to_owned(), path: path.to_owned(), source };
            self.file(path).map_err(failed)
        };
        let manifest = ImageManifest {
            name: name.to_owned(),
            format: image.format,
            disk: file(&image.disk)?,
            kernel: image.kernel.as_deref().map(file).transpose()?,
            ramdisk: image.ramdisk.as_deref().map(file).transpose()?,
            kernel_args: image.kernel_args.clone(),
        };
        Ok(Some(LocalImage { manifest, files: image.clone() }))
    }

    fn file(&self, path: &Path) -> io::Result<ImageFile> {
        let mut file = File::open(path)?;
        let state = state_of(&file)?;
        // Whoever else needs a digest meanwhile waits, and finds it noted.
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(note) = notes.0.get(path).filter(|note| note.state == state) {
            return Ok(ImageFile { bytes: state.bytes, sha256: note.sha256 });
        }
        let mut hash = Sha256::new();
        let mut piece = vec![0; PIECE_BYTES];
        let mut bytes = 0;
        loop {
            match file.read(&mut piece) {
                Ok(0) => break,
                Ok(count) => {
                    hash.update(&piece[..count]);
                    bytes += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if state_of(&file)? != state || bytes != state.bytes {
            return Err(io::Error::other("it is being changed; wait until whatever writes it has ended"));
        }
        let sha256 = FileDigest::new(hash.finalize().into());
        notes.0.insert(path.to_owned(), Note { state, sha256 });
        if let Some(place) = &self.kept_in {
            // What cannot be kept is computed again.
            let _ = keep(&notes, place);
        }
        Ok(ImageFile { bytes, sha256 })
    }
}

fn state_of(file: &File) -> io::Result<FileState> {
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is no ordinary file"));
    }
    Ok(FileState {
        bytes: metadata.len(),
        modified_s: metadata.mtime(),
        modified_ns: metadata.mtime_nsec(),
        inode: metadata.ino(),
    })
}

fn keep(notes: &Notes, place: &Path) -> io::Result<()> {
    if let Some(folder) = place.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let beside = place.with_extension("part");
    std::fs::write(&beside, serde_json::to_vec(notes)?)?;
    std::fs::rename(beside, place)
}
