//! Who takes images in on a host.

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
