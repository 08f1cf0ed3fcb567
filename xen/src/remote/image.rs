//! Who takes images in on a host: those of its owner, and those of accounts.

use std::collections::BTreeSet;
use std::io::Read as _;

use sha2::{Digest as _, Sha256};
use tycoon_market::AccountId;

use super::frame::DATA_BYTES_MAX;
use crate::hypervisor::{HypervisorError, KEEPING_AS_IMAGE};
use crate::image::{FileDigest, ImageDigest, ImageFile, ImageManifest, ImagePart, UploadState};
use crate::machine::DiskFormat;
use crate::save::VolumeStream;
use crate::storage::MachineStorage;

/// Takes images in on a host, piece by piece. What has come stays, whatever stops an upload.
pub trait ImageReceiver: Send + Sync {
    /// Begins to receive an image, or says how much of it is there. A complete image gets the name of the manifest.
    fn begin(&self, manifest: &ImageManifest) -> Result<UploadState, HypervisorError>;

    /// Appends to a file of an image that was begun. `offset` is where the file ends; returns where it ends now.
    fn append(&self, image: ImageDigest, part: ImagePart, offset: u64, bytes: &[u8]) -> Result<u64, HypervisorError>;

    /// Compares the digests of all files; from now on the host provides the image.
    fn finish(&self, image: ImageDigest) -> Result<(), HypervisorError>;
}

/// On which terms an account may bring an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UploadTerms {
    /// What all its images on the host may have together, in bytes.
    pub upload_bytes: u64,
    /// The images that its domains here are made from: they are not given up for new ones.
    pub in_use: BTreeSet<String>,
    /// The accounts that have domains here. What others brought goes after a while.
    pub settled: BTreeSet<AccountId>,
}

/// Keeps images of accounts, those of each apart from all others: names, bytes and digests of one account's mean nothing
/// to another. See [`ImageReceiver`].
pub trait AccountImageStore: Send + Sync {
    /// Begins to receive an image of an account, or says how much of it is there.
    fn begin(
        &self,
        account: &AccountId,
        terms: &UploadTerms,
        manifest: &ImageManifest,
    ) -> Result<UploadState, HypervisorError>;

    /// Appends to a file of an image of the account that was begun.
    fn append(
        &self,
        account: &AccountId,
        image: ImageDigest,
        part: ImagePart,
        offset: u64,
        bytes: &[u8],
    ) -> Result<u64, HypervisorError>;

    /// Compares the digests of all files; from now on the host provides the image to the account.
    fn finish(&self, account: &AccountId, image: ImageDigest) -> Result<(), HypervisorError>;
}

/// Keeps the blocks of a volume as the disk of the image `name`. The volume is read twice, by `open`: once for its digest,
/// and once to be kept, where an image of this content is not there yet. `tick` is called after every piece, and ends it with
/// an error. True where such an image was not there.
pub(crate) fn keep(
    receiver: &dyn ImageReceiver,
    name: &str,
    open: &dyn Fn() -> Result<VolumeStream, HypervisorError>,
    tick: &mut dyn FnMut() -> Result<(), HypervisorError>,
) -> Result<bool, HypervisorError> {
    let mut piece = vec![0; DATA_BYTES_MAX];
    let mut read = |stream: &mut VolumeStream, tick: &mut dyn FnMut() -> Result<(), HypervisorError>| {
        let count = stream.content.read(&mut piece).map_err(unreadable)?;
        tick()?;
        Ok::<Vec<u8>, HypervisorError>(piece[..count].to_vec())
    };
    let mut stream = open()?;
    let bytes = stream.bytes;
    let mut hash = Sha256::new();
    loop {
        let part = read(&mut stream, tick)?;
        if part.is_empty() {
            break;
        }
        hash.update(&part);
    }
    let manifest = ImageManifest {
        name: name.to_owned(),
        format: DiskFormat::Raw,
        disk: ImageFile { bytes, sha256: FileDigest::new(hash.finalize().into()) },
        kernel: None,
        ramdisk: None,
        kernel_args: Vec::new(),
    };
    manifest
        .check()
        .map_err(|error| HypervisorError::Refused { operation: KEEPING_AS_IMAGE.into(), reason: error.to_string() })?;
    let state = receiver.begin(&manifest)?;
    if state.is_complete {
        return Ok(false);
    }
    let image = manifest.digest();
    // What an attempt that was cut off has kept is the same where the content is.
    let known = state.offsets.iter().find(|(part, _)| *part == ImagePart::Disk).map_or(0, |(_, offset)| *offset);
    let mut stream = open()?;
    let mut offset = 0;
    loop {
        let part = read(&mut stream, tick)?;
        if part.is_empty() {
            break;
        }
        let end = offset + part.len() as u64;
        if end > known {
            // Less than a piece, so that it fits.
            let skipped = known.saturating_sub(offset) as usize;
            receiver.append(image, ImagePart::Disk, offset + skipped as u64, &part[skipped..])?;
        }
        offset = end;
    }
    receiver.finish(image)?;
    Ok(true)
}

/// What is wrong with a volume that cannot be read.
pub(crate) fn unreadable(error: std::io::Error) -> HypervisorError {
    let told = error.get_ref().and_then(|source| source.downcast_ref::<HypervisorError>()).cloned();
    told.unwrap_or_else(|| HypervisorError::Failed { operation: "reading a volume".into(), reason: error.to_string() })
}

impl ImageReceiver for MachineStorage {
    fn begin(&self, manifest: &ImageManifest) -> Result<UploadState, HypervisorError> {
        self.begin_upload(manifest)
    }

    fn append(&self, image: ImageDigest, part: ImagePart, offset: u64, bytes: &[u8]) -> Result<u64, HypervisorError> {
        self.append_upload(image, part, offset, bytes)
    }

    fn finish(&self, image: ImageDigest) -> Result<(), HypervisorError> {
        self.finish_upload(image)
    }
}
