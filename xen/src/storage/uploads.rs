//! Images that clients send, in pieces. An upload goes on where it stopped, whatever stopped it: the connection, this
//! program, the machine.

use tycoon_market::AccountId;

use super::machine_storage::{IMAGES_LOCK, MachineStorage};
use super::refused;
use crate::hypervisor::HypervisorError;
use crate::image::{ImageDigest, ImageManifest, ImagePart, UploadState};
use crate::own_image;
use crate::remote::image::{AccountImageStore, UploadTerms};

const UPLOADING: &str = "uploading an image";

impl MachineStorage {
    /// Begins the upload of an image, or tells how far it is. Where the image is there already, it gets the name of the
    /// manifest. It is refused where the disk has no room for it, or the machine itself exports an image of this name.
    pub fn begin_upload(&self, manifest: &ImageManifest) -> Result<UploadState, HypervisorError> {
        manifest.check().map_err(|error| refused(UPLOADING, error.to_string()))?;
        if self.exports(&manifest.name) {
            let reason = format!("this host itself provides an image `{}`; choose another name", manifest.name);
            return Err(refused(UPLOADING, reason));
        }
        if own_image::parse(&manifest.name).is_some() {
            let reason = format!("`{}` names an image that an account brings for itself", manifest.name);
            return Err(refused(UPLOADING, reason));
        }
        let _images = self.locks.hold(IMAGES_LOCK)?;
        let (state, needed) = self.cache.state(manifest)?;
        if state.is_complete {
            self.cache.name(manifest)?;
            return Ok(state);
        }
        if !self.cache.is_begun(manifest)? {
            // What it needs is promised from now on.
            self.check_cache_space(needed)?;
        }
        self.cache.begin(manifest)?;
        Ok(state)
    }

    /// Appends a piece to a file of an image whose upload has begun. `offset` is where the file ends; another one fails
    /// and says where that is. Returns where the file ends now.
    pub fn append_upload(
        &self,
        image: ImageDigest,
        part: ImagePart,
        offset: u64,
        bytes: &[u8],
    ) -> Result<u64, HypervisorError> {
        let _images = self.locks.hold(IMAGES_LOCK)?;
        self.cache.append(image, part, offset, bytes)
    }

    /// Verifies what was uploaded; from now on the host provides the image. A file with another digest is removed and
    /// must be sent again. It may be repeated.
    pub fn finish_upload(&self, image: ImageDigest) -> Result<(), HypervisorError> {
        let _images = self.locks.hold(IMAGES_LOCK)?;
        self.cache.finish(image, &self.interrupt)
    }

    /// Removes what there is of an upload that has not been finished. True where there was any.
    pub fn abandon_upload(&self, image: ImageDigest) -> Result<bool, HypervisorError> {
        let _images = self.locks.hold(IMAGES_LOCK)?;
        self.cache.abandon(image)
    }

    /// Removes an uploaded image. Volumes that were made from it stay. True where there was one.
    pub fn remove_image(&self, image: &str) -> Result<bool, HypervisorError> {
        let _images = self.locks.hold(IMAGES_LOCK)?;
        self.cache.remove(image)
    }
}

impl AccountImageStore for MachineStorage {
    fn begin(
        &self,
        account: &AccountId,
        terms: &UploadTerms,
        manifest: &ImageManifest,
    ) -> Result<UploadState, HypervisorError> {
        let (is_exported, has_room) = (|image: &str| self.exports(image), |bytes| self.check_cache_space(bytes));
        self.account_images.begin(account, terms, manifest, is_exported, has_room)
    }

    fn append(
        &self,
        account: &AccountId,
        image: ImageDigest,
        part: ImagePart,
        offset: u64,
        bytes: &[u8],
    ) -> Result<u64, HypervisorError> {
        self.account_images.append(account, image, part, offset, bytes)
    }

    fn finish(&self, account: &AccountId, image: ImageDigest) -> Result<(), HypervisorError> {
        self.account_images.finish(account, image)
    }
}
