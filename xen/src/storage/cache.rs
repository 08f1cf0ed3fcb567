//! The images in the host's own cache: those that were uploaded, and the disks of others made ready to be copied.
//!
//! ```text
//!  FOLDER/images/DIGEST/{manifest.json,disk,kernel,ramdisk}   an uploaded image, whole and verified
//!  FOLDER/images/uploads/DIGEST/…                             one that is under way
//!  FOLDER/images/names/NAME.json                              which image an uploaded name means
//!  FOLDER/images/raw/KEY                                      the disk of a qcow2 image, block by block
//! ```

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::command::Interrupt;
use super::folder::{make_folder, read_bounded, remove_file, sync_folder, write_whole};
use super::incoming::{Incoming, IncomingFile};
use super::{failed, refused};
use crate::hypervisor::HypervisorError;
use crate::image::{FileDigest, ImageDigest, ImageManifest, ImagePart, UploadState, is_image_name};
use crate::machine::{DiskFormat, ImageExport};

/// The version of the files. A new version reads the one before.
const VERSION: u32 = 1;
/// No manifest is larger.
const MANIFEST_BYTES_MAX: u64 = 1 << 20;
const MANIFEST: &str = "manifest.json";
const UPLOADING: &str = "uploading an image";
/// What is read at once to compute a digest.
const READ_BYTES: usize = 1 << 20;

/// The cache of images of a machine. Callers hold the lock of the image they change.
#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
    incoming: Incoming,
}

#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    version: u32,
    value: T,
}

/// Which image a name means.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    name: String,
    image: ImageDigest,
}

/// An image that is whole.
#[derive(Debug)]
pub(super) struct WholeImage {
    /// Its name.
    pub(super) name: String,
    /// What its files have, in bytes.
    pub(super) bytes: u64,
    /// When it got its name last.
    pub(super) named_at: SystemTime,
}

impl Cache {
    /// The cache in `folder`, which is made where it is not there.
    pub(super) fn new(folder: PathBuf, incoming: Incoming) -> Result<Self, HypervisorError> {
        for part in ["uploads", "names", "raw"] {
            make_folder(&folder.join(part))?;
        }
        Ok(Self { folder, incoming })
    }

    /// Where it is.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    fn image_folder(&self, image: ImageDigest) -> PathBuf {
        self.folder.join(image.to_string())
    }

    fn upload_folder(&self, image: ImageDigest) -> PathBuf {
        self.folder.join("uploads").join(image.to_string())
    }

    /// The names of uploaded images, ordered.
    pub(super) fn names(&self) -> Result<Vec<String>, HypervisorError> {
        let wrong = |error: io::Error| failed("looking for images", format!("{}: {error}", self.folder.display()));
        let mut names = Vec::new();
        for entry in fs::read_dir(self.folder.join("names")).map_err(wrong)? {
            let file = entry.map_err(wrong)?.file_name();
            if let Some(name) = file.to_str().and_then(|file| file.strip_suffix(".json"))
                && self.find(name)?.is_some()
            {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    /// The uploaded image of this name.
    pub(super) fn find(&self, name: &str) -> Result<Option<ImageExport>, HypervisorError> {
        if !is_image_name(name) {
            return Ok(None);
        }
        let Some(named) = read::<Named>(&self.name_file(name))? else { return Ok(None) };
        let folder = self.image_folder(named.image);
        let Some(manifest) = read::<ImageManifest>(&folder.join(MANIFEST))? else { return Ok(None) };
        let file = |part: ImagePart| folder.join(part.word());
        Ok(Some(ImageExport {
            name: name.to_owned(),
            disk: file(ImagePart::Disk),
            format: manifest.format,
            kernel: manifest.kernel.map(|_| file(ImagePart::Kernel)),
            ramdisk: manifest.ramdisk.map(|_| file(ImagePart::Ramdisk)),
            kernel_args: manifest.kernel_args,
        }))
    }

    fn name_file(&self, name: &str) -> PathBuf {
        self.folder.join("names").join(format!("{name}.json"))
    }

    /// How far an upload is, and what it still needs, in bytes.
    pub(super) fn state(&self, manifest: &ImageManifest) -> Result<(UploadState, u64), HypervisorError> {
        let image = manifest.digest();
        if read::<ImageManifest>(&self.image_folder(image).join(MANIFEST))?.is_some() {
            let offsets = manifest.files().map(|(part, file)| (part, file.bytes)).collect();
            return Ok((UploadState { is_complete: true, offsets }, 0));
        }
        let mut offsets = Vec::new();
        let mut needed: u64 = 0;
        for (part, file) in manifest.files() {
            let path = self.upload_folder(image).join(part.word());
            let there = match fs::metadata(&path) {
                Ok(there) => there.len().min(file.bytes),
                Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
                Err(error) => return Err(at(&path, &error)),
            };
            needed = needed.saturating_add(file.bytes - there);
            offsets.push((part, there));
        }
        Ok((UploadState { is_complete: false, offsets }, needed))
    }

    /// The uploads that are under way.
    pub(super) fn under_way(&self) -> Result<Vec<(ImageDigest, ImageManifest)>, HypervisorError> {
        let folder = self.folder.join("uploads");
        let mut begun = Vec::new();
        for entry in fs::read_dir(&folder).map_err(|error| at(&folder, &error))? {
            let path = entry.map_err(|error| at(&folder, &error))?.path().join(MANIFEST);
            if let Some(manifest) = read::<ImageManifest>(&path)? {
                begun.push((manifest.digest(), manifest));
            }
        }
        Ok(begun)
    }

    /// What all uploads that are under way still need, in bytes.
    pub(super) fn promised_bytes(&self) -> Result<u64, HypervisorError> {
        let mut promised: u64 = 0;
        for (_, manifest) in self.under_way()? {
            promised = promised.saturating_add(self.state(&manifest)?.1);
        }
        Ok(promised)
    }

    /// The images that are whole, one for each name.
    pub(super) fn whole(&self) -> Result<Vec<WholeImage>, HypervisorError> {
        let mut whole = Vec::new();
        for name in self.names()? {
            let path = self.name_file(&name);
            let Some(named) = read::<Named>(&path)? else { continue };
            let Some(manifest) = read::<ImageManifest>(&self.image_folder(named.image).join(MANIFEST))? else {
                continue;
            };
            let named_at = fs::metadata(&path).and_then(|about| about.modified()).map_err(|error| at(&path, &error))?;
            let bytes = manifest.files().fold(0_u64, |sum, (_, file)| sum.saturating_add(file.bytes));
            whole.push(WholeImage { name, bytes, named_at });
        }
        Ok(whole)
    }

    /// Whether an upload is under way.
    pub(super) fn is_begun(&self, manifest: &ImageManifest) -> Result<bool, HypervisorError> {
        Ok(read::<ImageManifest>(&self.upload_folder(manifest.digest()).join(MANIFEST))?.is_some())
    }

    /// Notes an upload. What is there of it stays.
    pub(super) fn begin(&self, manifest: &ImageManifest) -> Result<(), HypervisorError> {
        let folder = self.upload_folder(manifest.digest());
        make_folder(&folder)?;
        write(&folder.join(MANIFEST), manifest)
    }

    /// Gives a complete image the name of the manifest.
    pub(super) fn name(&self, manifest: &ImageManifest) -> Result<(), HypervisorError> {
        let before = read::<Named>(&self.name_file(&manifest.name))?.map(|named| named.image);
        let image = manifest.digest();
        write(&self.name_file(&manifest.name), &Named { name: manifest.name.clone(), image })?;
        match before {
            Some(before) if before != image => self.remove_nameless(before),
            _ => Ok(()),
        }
    }

    /// Removes the files of an image that no name means.
    fn remove_nameless(&self, image: ImageDigest) -> Result<(), HypervisorError> {
        let folder = self.image_folder(image);
        let disk = folder.join(ImagePart::Disk.word());
        for name in self.names()? {
            if self.find(&name)?.is_some_and(|other| other.disk == disk) {
                return Ok(());
            }
        }
        if disk.exists() {
            remove_file(&self.raw_file(&disk)?)?;
        }
        remove_folder(&folder)?;
        Ok(())
    }

    fn upload(&self, image: ImageDigest) -> Result<(PathBuf, ImageManifest), HypervisorError> {
        let folder = self.upload_folder(image);
        let manifest = read::<ImageManifest>(&folder.join(MANIFEST))?;
        let manifest =
            manifest.ok_or_else(|| refused(UPLOADING, format!("no upload of {image} has begun; begin it")))?;
        Ok((folder, manifest))
    }

    /// Appends bytes to a file of an upload, at `offset`, which must be where it ends. Returns where it ends now.
    pub(super) fn append(
        &self,
        image: ImageDigest,
        part: ImagePart,
        offset: u64,
        bytes: &[u8],
    ) -> Result<u64, HypervisorError> {
        let word = part.word();
        let path = self.upload_folder(image).join(word);
        let mut file = match self.incoming.take(&path, offset) {
            Some(file) => file,
            None => self.open_part(image, part)?,
        };
        let (there, wanted) = (file.length(), file.wanted());
        if offset.saturating_add(bytes.len() as u64) > wanted {
            return Err(refused(UPLOADING, format!("the {word} has {wanted} bytes, and more were sent")));
        }
        if there != offset {
            let reason = format!("{there} bytes of the {word} are there, and the next ones sent have offset {offset}");
            return Err(failed(UPLOADING, reason));
        }
        file.append(bytes).map_err(|error| at(&path, &error))?;
        let end = file.length();
        self.incoming.keep(file);
        Ok(end)
    }

    /// A file of an upload that has begun.
    fn open_part(&self, image: ImageDigest, part: ImagePart) -> Result<IncomingFile, HypervisorError> {
        let (folder, manifest) = self.upload(image)?;
        let word = part.word();
        let wanted = manifest.files().find(|(of, _)| *of == part).map(|(_, file)| file.bytes);
        let wanted = wanted.ok_or_else(|| refused(UPLOADING, format!("the image has no {word}")))?;
        let path = folder.join(word);
        IncomingFile::open(path.clone(), wanted).map_err(|error| at(&path, &error))
    }

    /// The digest of a whole file of an upload, which is on disk then.
    fn digest_of(&self, path: &Path, bytes: u64, interrupt: &Interrupt) -> Result<FileDigest, HypervisorError> {
        let as_it_came = self.incoming.take(path, bytes).map(IncomingFile::finish);
        match as_it_came.transpose().map_err(|error| at(path, &error))?.flatten() {
            Some(digest) => Ok(digest),
            None => read_digest(path, interrupt),
        }
    }

    /// Verifies an upload and puts it in its place. A file that is wrong is removed, and must be sent again.
    pub(super) fn finish(&self, image: ImageDigest, interrupt: &Interrupt) -> Result<(), HypervisorError> {
        if let Some(manifest) = read::<ImageManifest>(&self.image_folder(image).join(MANIFEST))? {
            return self.name(&manifest);
        }
        let (folder, manifest) = self.upload(image)?;
        for (part, file) in manifest.files() {
            let path = folder.join(part.word());
            let there = fs::metadata(&path).map_or(0, |there| there.len());
            if there != file.bytes {
                let (word, bytes) = (part.word(), file.bytes);
                return Err(failed(
                    UPLOADING,
                    format!("{there} of {bytes} bytes of the {word} are there; send the rest"),
                ));
            }
        }
        for (part, file) in manifest.files() {
            let path = folder.join(part.word());
            let digest = self.digest_of(&path, file.bytes, interrupt)?;
            if digest != file.sha256 {
                remove_file(&path)?;
                let (word, wanted) = (part.word(), file.sha256);
                let reason =
                    format!("the {word} arrived with the SHA-256 {digest} and should have {wanted}; send it again");
                return Err(failed(UPLOADING, reason));
            }
        }
        if manifest.format == DiskFormat::Qcow2 {
            super::qcow2::check(&folder.join(ImagePart::Disk.word()))?;
        }
        sync_folder(&folder).map_err(|error| at(&folder, &error))?;
        fs::rename(&folder, self.image_folder(image)).map_err(|error| at(&folder, &error))?;
        sync_folder(&self.folder).map_err(|error| at(&self.folder, &error))?;
        self.name(&manifest)
    }

    /// Forgets an upload that is under way. True where there was one.
    pub(super) fn abandon(&self, image: ImageDigest) -> Result<bool, HypervisorError> {
        remove_folder(&self.upload_folder(image))
    }

    /// Removes the uploaded image of this name, and its files where no other name means it. True where there was one.
    pub(super) fn remove(&self, name: &str) -> Result<bool, HypervisorError> {
        if !is_image_name(name) {
            return Ok(false);
        }
        let path = self.name_file(name);
        let Some(named) = read::<Named>(&path)? else { return Ok(false) };
        remove_file(&path)?;
        self.remove_nameless(named.image)?;
        Ok(true)
    }

    /// Where the disk of a qcow2 image is, or will be, block by block.
    pub(super) fn raw_file(&self, disk: &Path) -> Result<PathBuf, HypervisorError> {
        Ok(self.folder.join("raw").join(key(disk)?))
    }
}

/// What names the content of a file: another content is another key.
pub(super) fn key(disk: &Path) -> Result<String, HypervisorError> {
    let about = fs::metadata(disk).map_err(|error| at(disk, &error))?;
    let hash = Sha256::new()
        .chain_update(disk.as_os_str().as_encoded_bytes())
        .chain_update([0])
        .chain_update(about.len().to_be_bytes())
        .chain_update(about.mtime().to_be_bytes())
        .chain_update(about.mtime_nsec().to_be_bytes())
        .finalize();
    Ok(ImageDigest::new(hash.into()).to_string())
}

fn read_digest(path: &Path, interrupt: &Interrupt) -> Result<FileDigest, HypervisorError> {
    let mut file = File::open(path).map_err(|error| at(path, &error))?;
    let mut hash = Sha256::new();
    let mut block = vec![0; READ_BYTES];
    loop {
        if interrupt.is_set() {
            return Err(failed(UPLOADING, "it was interrupted".to_owned()));
        }
        let length = file.read(&mut block).map_err(|error| at(path, &error))?;
        if length == 0 {
            // What was verified is what is on disk.
            file.sync_all().map_err(|error| at(path, &error))?;
            return Ok(FileDigest::new(hash.finalize().into()));
        }
        hash.update(&block[..length]);
    }
}

/// The folder is gone with all that is in it. True where it was there.
pub(super) fn remove_folder(folder: &Path) -> Result<bool, HypervisorError> {
    match fs::remove_dir_all(folder) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(at(folder, &error)),
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, HypervisorError> {
    let Some(content) = read_bounded(path, MANIFEST_BYTES_MAX).map_err(|error| at(path, &error))? else {
        return Ok(None);
    };
    let damaged = |error: &dyn std::fmt::Display| {
        failed(
            "reading the cache of images",
            format!("{} is damaged: {error}; remove it and upload again", path.display()),
        )
    };
    let read: Versioned<T> = serde_json::from_slice(&content).map_err(|error| damaged(&error))?;
    if read.version != VERSION {
        return Err(damaged(&format!("it has version {}, and this program reads version {VERSION}", read.version)));
    }
    Ok(Some(read.value))
}

fn write<T: Serialize>(path: &Path, value: &T) -> Result<(), HypervisorError> {
    let content = serde_json::to_vec_pretty(&Versioned { version: VERSION, value });
    let content = content.map_err(|error| failed("writing the cache of images", error.to_string()))?;
    write_whole(path, &content).map_err(|error| at(path, &error))
}

fn at(path: &Path, error: &io::Error) -> HypervisorError {
    failed("using the cache of images", format!("{}: {error}", path.display()))
}
