//! Volumes that were on the machine beside Tycoon's: its owner hands them over to a domain that is to come, which finds them
//! as if an earlier domain of its name had left them.
//!
//! What is handed over becomes the domain's altogether. It gets the name, the place and the tags of a volume that was made
//! here, and is deleted like one: there is nothing that could be mistaken for the owner's afterwards. Whoever dies on the way
//! does the same again: each step finds what the one before has done.

use std::fs::{self, File, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tycoon_market::Timestamp;

use super::machine_storage::{MachineStorage, SHARED_LOCK};
use super::record::{Place, StoredDomain, StoredVolume, VolumeState};
use super::{failed, folder, loopback, lvm, qcow2, refused, stores};
use crate::hypervisor::HypervisorError;
use crate::machine::{StoreExport, StoreKind};
use crate::spec::{Ownership, VolumeSpec};
use crate::status::Kept;

const HANDING: &str = "handing a volume over";
/// The blocks of a disk.
const BLOCK_BYTES: u64 = 512;

/// A volume that is handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handed {
    /// Its name inside the domain.
    pub name: String,
    /// Where it is now: the device of a logical volume, or a file, block by block.
    pub source: PathBuf,
}

/// To whom, and for how long.
#[derive(Clone, Debug)]
pub struct HandedTo {
    /// The domain, which must not be there.
    pub owner: Ownership,
    /// The image that its root volume is of; what its description will say.
    pub image: String,
    /// When the host deletes them, if the domain has not taken them up by then.
    pub until: Timestamp,
}

impl MachineStorage {
    /// Makes volumes of the machine's owner those of a domain that is to come. Returns them as they are kept.
    ///
    /// # Errors
    /// [`HypervisorError::Refused`] where one is in use, is in none of the machine's stores, or is another domain's; then all
    /// are as they were. [`HypervisorError::Failed`] where a disk or LVM refuses something: then the same call goes on.
    pub fn hand_over(&self, to: &HandedTo, volumes: &[Handed]) -> Result<Vec<VolumeSpec>, HypervisorError> {
        let name = to.owner.hypervisor_name();
        self.holding(&name, || {
            let _shared = self.locks.hold(SHARED_LOCK)?;
            let (mut domain, is_new) = self.own_or_new(&name, &to.owner)?;
            if !is_new && domain.kept.is_none() {
                let reason = format!("`{name}` is there, with volumes of its own; take it down first");
                return Err(refused(HANDING, reason));
            }
            let all = self.records.all()?;
            let mut found = Vec::with_capacity(volumes.len());
            for (number, volume) in volumes.iter().enumerate() {
                let is_twice = volumes[..number].iter().any(|other| other.name == volume.name);
                if is_twice || domain.volume(&volume.name).is_some() {
                    return Err(refused(HANDING, format!("`{name}` has a volume `{}` already", volume.name)));
                }
                let named = |error| HypervisorError::Refused {
                    operation: format!("{HANDING}, {}", volume.source.display()).into(),
                    reason: match error {
                        HypervisorError::Refused { reason, .. } | HypervisorError::Failed { reason, .. } => reason,
                        other => other.to_string(),
                    },
                };
                let looked_at = self.look_at(&name, volume, &all).map_err(named)?;
                stores::check_limit(looked_at.store, looked_at.size_bytes, &all)?;
                found.push(looked_at);
            }
            let mut kept = domain.kept.take().unwrap_or_else(|| Kept {
                until: to.until,
                image: to.image.clone(),
                volumes: Vec::new(),
            });
            kept.until = kept.until.max(to.until);
            for source in found {
                source.take(&name)?;
                let store = self.name_of(source.store);
                kept.volumes.push(VolumeSpec { store, ..VolumeSpec::plain(&source.name, source.size_bytes) });
                domain.volumes.push(source.stored());
            }
            if volumes.iter().any(|volume| volume.name == "root") {
                kept.image.clone_from(&to.image);
            }
            let handed = kept.volumes.clone();
            domain.kept = Some(kept);
            self.records.save(&domain)?;
            Ok(handed)
        })
    }

    /// A store as descriptions name it: the first needs no name.
    fn name_of(&self, store: &StoreExport) -> Option<String> {
        let is_first = self.machine.stores.first().is_some_and(|first| first.name == store.name);
        (!is_first).then(|| store.name.clone())
    }

    /// What a volume is, where it may be handed over.
    fn look_at<'a>(
        &'a self,
        domain: &str,
        volume: &Handed,
        all: &[StoredDomain],
    ) -> Result<Source<'a>, HypervisorError> {
        match lvm::owners_volume(&volume.source) {
            Ok(Some(logical)) => self.look_at_logical(domain, volume, logical),
            Ok(None) => self.look_at_file(domain, volume, all),
            // A call that did not end may have given it its new name.
            Err(error) => self.begun_before(domain, volume).ok_or(error),
        }
    }

    fn begun_before(&self, domain: &str, volume: &Handed) -> Option<Source<'_>> {
        let renamed = |store: &StoreExport| {
            let StoreKind::Lvm { group } = &store.kind else { return None };
            let name = lvm::volume_name(domain, &volume.name);
            let size_bytes = lvm::size_bytes(group, &name).ok()?;
            Some((From::Logical { group: group.clone(), volume: name }, size_bytes))
        };
        let found = self.machine.stores.iter().find_map(|store| Some((store, renamed(store)?)));
        let (store, (from, size_bytes)) = found?;
        let place = stores::place(store, domain, &volume.name);
        Some(Source { name: volume.name.clone(), store, place, size_bytes, from })
    }

    fn look_at_logical(
        &self,
        domain: &str,
        volume: &Handed,
        logical: lvm::OwnersVolume,
    ) -> Result<Source<'_>, HypervisorError> {
        let is_here = |store: &&StoreExport| matches!(&store.kind, StoreKind::Lvm { group } if *group == logical.group);
        let store = self.machine.stores.iter().find(is_here).ok_or_else(|| {
            let group = &logical.group;
            refused(HANDING, format!("this host exports no store in the volume group `{group}`; `store` does that"))
        })?;
        let place = stores::place(store, domain, &volume.name);
        if logical.is_open {
            return Err(refused(HANDING, "it is in use; unmount it, and end what has it".to_owned()));
        }
        // What carries the domain's own tag was begun by a call that did not end.
        if logical.domains.iter().any(|other| other != domain) {
            return Err(refused(HANDING, format!("it is the volume of `{}` already", logical.domains.join("`, `"))));
        }
        let from = From::Logical { group: logical.group, volume: logical.volume };
        Ok(Source { name: volume.name.clone(), store, place, size_bytes: logical.size_bytes, from })
    }

    fn look_at_file(&self, domain: &str, volume: &Handed, all: &[StoredDomain]) -> Result<Source<'_>, HypervisorError> {
        let wrong = |error: io::Error| refused(HANDING, error.to_string());
        let device = |path: &Path| fs::metadata(path).map(|about| about.dev());
        let stores = || {
            let files = self.machine.stores.iter().filter_map(|store| match &store.kind {
                StoreKind::Loopback { directory } => Some((store, directory)),
                StoreKind::Lvm { .. } => None,
            });
            files.filter(|(_, directory)| folder::make_folder(directory).is_ok())
        };
        // A call that did not end may have moved it.
        let moved = stores().map(|(store, directory)| (store, loopback::file(directory, domain, &volume.name)));
        let moved = moved.into_iter().find(|(_, file)| !volume.source.exists() && file.is_file());
        let (store, file) = match moved {
            Some(moved) => moved,
            None => {
                let file = fs::canonicalize(&volume.source).map_err(wrong)?;
                let on = device(&file).map_err(wrong)?;
                let store = stores().find(|(_, directory)| device(directory).is_ok_and(|its| its == on));
                let (store, _) = store.ok_or_else(|| {
                    let reason = "it is on no file system on which this host exports a store of files; move it to one";
                    refused(HANDING, reason.to_owned())
                })?;
                (store, file)
            }
        };
        let is_there = |stored: &StoredVolume| matches!(&stored.place, Place::Raw { file: other } | Place::Overlay { file: other, .. } if *other == file);
        if let Some(other) = all.iter().find(|other| other.volumes.iter().any(is_there)) {
            return Err(refused(HANDING, format!("it is the volume of `{}` already", other.name)));
        }
        let about = fs::metadata(&file).map_err(wrong)?;
        if about.nlink() > 1 {
            return Err(refused(HANDING, "it has other names too, by which it could still be changed".to_owned()));
        }
        if !about.is_file() {
            return Err(refused(HANDING, "it is neither a file nor the device of a logical volume".to_owned()));
        }
        if about.len() == 0 || about.len() % BLOCK_BYTES != 0 {
            let bytes = about.len();
            return Err(refused(HANDING, format!("it has {bytes} bytes; a disk has whole blocks of {BLOCK_BYTES}")));
        }
        let mut begin = [0; 4];
        File::open(&file).and_then(|mut file| file.read_exact(&mut begin)).map_err(wrong)?;
        if begin == qcow2::MAGIC {
            let reason = "it is in QEMU's format; make a raw one of it with `qemu-img convert -O raw`".to_owned();
            return Err(refused(HANDING, reason));
        }
        if loopback::is_attached(&file)? {
            return Err(refused(HANDING, "a loop device is on it; unmount it, and `losetup --detach` that".to_owned()));
        }
        let place = stores::place(store, domain, &volume.name);
        Ok(Source { name: volume.name.clone(), store, place, size_bytes: about.len(), from: From::File(file) })
    }
}

/// A volume on its way.
struct Source<'a> {
    name: String,
    store: &'a StoreExport,
    place: Place,
    size_bytes: u64,
    from: From,
}

/// Where it is.
enum From {
    Logical { group: String, volume: String },
    File(PathBuf),
}

impl Source<'_> {
    /// It is where the domain's volumes are.
    fn take(&self, domain: &str) -> Result<(), HypervisorError> {
        match (&self.from, &self.place) {
            (From::Logical { group, volume }, Place::Lvm { volume: wanted, .. }) => {
                lvm::take_over(group, volume, wanted, domain)
            }
            (From::File(from), Place::Raw { file }) if from != file => {
                let wrong = |error: io::Error| failed(HANDING, format!("{}: {error}", from.display()));
                let (before, after) = (from.parent(), file.parent());
                after.map_or(Ok(()), folder::make_folder)?;
                fs::set_permissions(from, Permissions::from_mode(0o600)).map_err(wrong)?;
                fs::rename(from, file).map_err(wrong)?;
                [before, after].into_iter().flatten().try_for_each(folder::sync_folder).map_err(wrong)
            }
            _ => Ok(()),
        }
    }

    fn stored(self) -> StoredVolume {
        StoredVolume {
            name: self.name,
            size_bytes: self.size_bytes,
            store: self.store.name.clone(),
            place: self.place,
            state: VolumeState::Ready,
            is_adopted: true,
        }
    }
}
