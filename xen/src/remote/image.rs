//! Who takes images in on a host: those of its owner, and those of accounts.

use std::collections::BTreeSet;

use tycoon_market::AccountId;

use crate::hypervisor::HypervisorError;
use crate::image::{ImageDigest, ImageManifest, ImagePart, UploadState};
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
