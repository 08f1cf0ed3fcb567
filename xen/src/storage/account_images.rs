//! Images that accounts bring to a host for themselves, each account's in a folder of its own: what one brings is not
//! there for another, not even where she knows its digest.
//!
//! They are disks in raw form and nothing else: a kernel would be read by the control domain when it makes the domain,
//! and other forms by QEMU. A domain made from such an image boots by the machine's boot loader, or a kernel that the
//! machine exports.
//!
//! They are kept as long as there is room in what the account's bids reserve. What a domain was made from stays; of the
//! others, the oldest goes first. An account without domains loses its images some days after it brought the last.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use tycoon_market::AccountId;

use super::cache::{self, Cache};
use super::command::Interrupt;
use super::folder::{Locks, make_folder};
use super::incoming::Incoming;
use super::{failed, refused};
use crate::hypervisor::HypervisorError;
use crate::image::{ImageDigest, ImageManifest, ImagePart, UploadState};
use crate::machine::{DiskFormat, ImageExport};
use crate::own_image::{NAME_BYTES_MAX, name_on_host};
use crate::remote::image::UploadTerms;

const UPLOADING: &str = "bringing an image";
/// How long images of an account without domains stay: as long as disks stay after an account ran dry.
const KEPT_UNUSED: Duration = Duration::from_secs(7 * 86_400);

/// The images of all accounts.
#[derive(Debug)]
pub struct AccountImages {
    folder: PathBuf,
    locks: Locks,
    interrupt: Interrupt,
    incoming: Incoming,
}

impl AccountImages {
    /// Those that are kept in a folder, which is made where it does not exist.
    pub fn open(folder: PathBuf) -> Result<Self, HypervisorError> {
        make_folder(&folder)?;
        let locks = Locks::new(folder.join("locks"))?;
        Ok(Self { folder, locks, interrupt: Interrupt::default(), incoming: Incoming::default() })
    }

    /// The account's place. It is made when something is put there.
    fn place(&self, account: &AccountId) -> PathBuf {
        self.folder.join(account.to_string())
    }

    /// The account's images; `None` where it has never brought any.
    fn existing(&self, account: &AccountId) -> Result<Option<Cache>, HypervisorError> {
        let place = self.place(account);
        if place.is_dir() { Cache::new(place, self.incoming.clone()).map(Some) } else { Ok(None) }
    }

    /// The accounts that have a place here.
    fn accounts(&self) -> Result<Vec<AccountId>, HypervisorError> {
        let wrong = |error: std::io::Error| failed("looking for images", format!("{}: {error}", self.folder.display()));
        let mut accounts = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(wrong)? {
            let name = entry.map_err(wrong)?.file_name();
            accounts.extend(name.to_str().and_then(|name| name.parse::<AccountId>().ok()));
        }
        Ok(accounts)
    }

    /// The account's image of this name.
    pub fn find(&self, account: &AccountId, image: &str) -> Result<Option<ImageExport>, HypervisorError> {
        match self.existing(account)? {
            Some(cache) => cache.find(image),
            None => Ok(None),
        }
    }

    /// The images of all accounts, by their names on the host.
    pub fn names(&self) -> Result<Vec<String>, HypervisorError> {
        let mut names = Vec::new();
        for account in self.accounts()? {
            if let Some(cache) = self.existing(&account)? {
                names.extend(cache.names()?.iter().map(|image| name_on_host(&account, image)));
            }
        }
        Ok(names)
    }

    /// What all uploads that are under way still need, in bytes.
    pub(super) fn promised_bytes(&self) -> Result<u64, HypervisorError> {
        let mut promised: u64 = 0;
        for account in self.accounts()? {
            if let Some(cache) = self.existing(&account)? {
                promised = promised.saturating_add(cache.promised_bytes()?);
            }
        }
        Ok(promised)
    }

    /// Begins an upload, or says how far it is. `is_exported` tells whether the machine itself has an image of a name,
    /// and `has_room` refuses bytes for which the disk has none.
    pub fn begin(
        &self,
        account: &AccountId,
        terms: &UploadTerms,
        manifest: &ImageManifest,
        is_exported: impl FnOnce(&str) -> bool,
        has_room: impl FnOnce(u64) -> Result<(), HypervisorError>,
    ) -> Result<UploadState, HypervisorError> {
        check(manifest)?;
        if is_exported(&manifest.name) {
            let reason = format!("this host itself provides an image `{}`; choose another name", manifest.name);
            return Err(refused(UPLOADING, reason));
        }
        self.forget_departed(terms)?;
        let bytes = manifest.disk.bytes;
        if bytes > terms.upload_bytes {
            let most = terms.upload_bytes;
            let reason = format!(
                "the image has {bytes} bytes, and what this account's bids reserve of this host's disk has room for \
                 images of {most} bytes; bid for more disk here first"
            );
            return Err(refused(UPLOADING, reason));
        }
        let _own = self.locks.hold(&account.to_string())?;
        let cache = Cache::new(self.place(account), self.incoming.clone())?;
        let (state, needed) = cache.state(manifest)?;
        if state.is_complete {
            cache.name(manifest)?;
            return Ok(state);
        }
        let image = manifest.digest();
        for (other, begun) in cache.under_way()? {
            // Another content of the same name was given up by whoever brings this one.
            if other != image && begun.name == manifest.name {
                cache.abandon(other)?;
            }
        }
        make_room(&cache, terms, manifest)?;
        if !cache.is_begun(manifest)? {
            has_room(needed)?;
        }
        cache.begin(manifest)?;
        Ok(state)
    }

    /// Appends to an upload of the account.
    pub fn append(
        &self,
        account: &AccountId,
        image: ImageDigest,
        part: ImagePart,
        offset: u64,
        bytes: &[u8],
    ) -> Result<u64, HypervisorError> {
        let _own = self.locks.hold(&account.to_string())?;
        self.begun(account)?.append(image, part, offset, bytes)
    }

    /// Verifies an upload of the account.
    pub fn finish(&self, account: &AccountId, image: ImageDigest) -> Result<(), HypervisorError> {
        let _own = self.locks.hold(&account.to_string())?;
        self.begun(account)?.finish(image, &self.interrupt)
    }

    fn begun(&self, account: &AccountId) -> Result<Cache, HypervisorError> {
        self.existing(account)?.ok_or_else(|| refused(UPLOADING, "no upload has begun; begin it".to_owned()))
    }

    /// Removes the images of accounts that have no domains here and have brought nothing for long.
    fn forget_departed(&self, terms: &UploadTerms) -> Result<(), HypervisorError> {
        for account in self.accounts()? {
            if terms.settled.contains(&account) {
                continue;
            }
            let place = self.place(&account);
            let is_old = || {
                let is_old = |part: &str| {
                    let changed = fs::metadata(place.join(part)).and_then(|about| about.modified());
                    changed.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > KEPT_UNUSED))
                };
                is_old("names") && is_old("uploads")
            };
            // Nobody waits for an account that is at work.
            if !is_old() {
                continue;
            }
            let held = self.locks.hold(&account.to_string())?;
            if is_old() {
                cache::remove_folder(&place)?;
                held.remove();
            }
        }
        Ok(())
    }
}

/// Gives up what the account does not need until the image fits beside the others into what the account may have. What it
/// takes the name of goes when it is whole, and is not counted.
fn make_room(cache: &Cache, terms: &UploadTerms, manifest: &ImageManifest) -> Result<(), HypervisorError> {
    let (image, bytes) = (manifest.digest(), manifest.disk.bytes);
    loop {
        let mut whole = cache.whole()?;
        whole.retain(|found| found.name != manifest.name);
        let mut under_way = cache.under_way()?;
        under_way.retain(|(other, _)| *other != image);
        let begun = under_way.iter().map(|(_, begun)| begun.disk.bytes);
        let used = whole.iter().map(|found| found.bytes).chain(begun).fold(0_u64, u64::saturating_add);
        if used.saturating_add(bytes) <= terms.upload_bytes {
            return Ok(());
        }
        // An upload that nobody goes on with goes before what is whole.
        if let Some((other, _)) = under_way.first() {
            cache.abandon(*other)?;
            continue;
        }
        let spare = whole.iter().filter(|found| !terms.in_use.contains(&found.name));
        let Some(oldest) = spare.min_by_key(|found| found.named_at) else {
            let most = terms.upload_bytes;
            let reason = format!(
                "the image has {bytes} bytes, and the images of this account's domains here have {used} already; what \
                 its bids reserve of this host's disk has room for {most} in all; bid for more disk here first"
            );
            return Err(refused(UPLOADING, reason));
        };
        cache.remove(&oldest.name)?;
    }
}

/// What an account may bring: a disk in raw form.
fn check(manifest: &ImageManifest) -> Result<(), HypervisorError> {
    manifest.check().map_err(|error| refused(UPLOADING, error.to_string()))?;
    let name = &manifest.name;
    if name.len() > NAME_BYTES_MAX {
        let reason = format!("the name of the image has {} bytes; {NAME_BYTES_MAX} are possible", name.len());
        return Err(refused(UPLOADING, reason));
    }
    if manifest.format != DiskFormat::Raw {
        let reason = format!(
            "the disk of the image `{name}` is in QEMU's form, and this host takes only raw ones of its guests: \
             `qemu-img convert -O raw` makes one"
        );
        return Err(refused(UPLOADING, reason));
    }
    if manifest.kernel.is_some() || manifest.ramdisk.is_some() || !manifest.kernel_args.is_empty() {
        let reason = format!(
            "the image `{name}` brings a kernel of its own, and this host takes only disks of its guests: leave kernel, \
             ramdisk and kernel-args out; the domain boots the kernel inside the disk, or one that the host exports"
        );
        return Err(refused(UPLOADING, reason));
    }
    Ok(())
}
