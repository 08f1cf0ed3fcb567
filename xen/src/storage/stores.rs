//! The stores of a machine: which one a volume goes to, what is free there, and what is done to the volumes.

use std::path::{Path, PathBuf};

use tycoon_market::{Quantity, ResourceKind};

use super::command::Interrupt;
use super::folder::Locks;
use super::record::{Place, StoredDomain, StoredVolume, VolumeState};
use super::{blocks, listed, loopback, lvm, overlay, refused};
use crate::hypervisor::HypervisorError;
use crate::machine::{Machine, StoreExport, StoreKind};
use crate::spec::VolumeSpec;

/// The store a volume goes to.
pub(super) fn store<'a>(machine: &'a Machine, volume: &VolumeSpec) -> Result<&'a StoreExport, HypervisorError> {
    let stores = &machine.stores;
    let found = match &volume.store {
        None => stores.first(),
        Some(name) => stores.iter().find(|store| store.name == *name),
    };
    found.ok_or_else(|| {
        let names: Vec<&str> = stores.iter().map(|store| store.name.as_str()).collect();
        let asked = volume.store.as_deref().unwrap_or("default");
        let reason = format!("this host exports no store `{asked}`; it exports: {}", listed(&names));
        refused(format!("making the volume `{}`", volume.name), reason)
    })
}

/// Where a new volume will be.
pub(super) fn place(store: &StoreExport, domain: &str, volume: &str) -> Place {
    match &store.kind {
        StoreKind::Lvm { group } => Place::Lvm { group: group.clone(), volume: lvm::volume_name(domain, volume) },
        StoreKind::Loopback { directory } => Place::Raw { file: loopback::file(directory, domain, volume) },
    }
}

/// Where a new root volume will be that shares with its image, whose content `key` names.
pub(super) fn shared_place(
    store: &StoreExport,
    domain: &str,
    volume: &str,
    key: &str,
) -> Result<Place, HypervisorError> {
    match &store.kind {
        StoreKind::Loopback { directory } => {
            Ok(Place::Overlay { file: overlay::file(directory, domain, volume), base: overlay::base(directory, key) })
        }
        StoreKind::Lvm { .. } => {
            let reason = format!(
                "the store `{}` holds logical volumes, which are copied whole; take a store of files for it, or leave \
                 `copy-on-write` out",
                store.name
            );
            Err(refused(format!("sharing the volume `{volume}` with its image"), reason))
        }
    }
}

/// Removes what volumes shared with images and no volume shares any more.
pub(super) fn remove_unused_bases(machine: &Machine, domains: &[StoredDomain]) -> Result<(), HypervisorError> {
    let used: Vec<&Path> = volumes(domains)
        .filter_map(|volume| match &volume.place {
            Place::Overlay { base, .. } => Some(base.as_path()),
            _ => None,
        })
        .collect();
    machine.stores.iter().try_for_each(|store| match &store.kind {
        StoreKind::Loopback { directory } => overlay::remove_unused(directory, &used),
        StoreKind::Lvm { .. } => Ok(()),
    })
}

/// What several stores may share: their free space counts once.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Backing {
    Group(String),
    FileSystem(u64),
}

/// What can still be promised of the space behind a store.
fn free(store: &StoreExport, domains: &[StoredDomain]) -> Result<(Backing, u64), HypervisorError> {
    match &store.kind {
        StoreKind::Lvm { group } => Ok((Backing::Group(group.clone()), lvm::free_bytes(group)?)),
        StoreKind::Loopback { directory } => {
            let (free, device) = loopback::free_bytes(directory)?;
            let promised = promised(directory, domains);
            Ok((Backing::FileSystem(device), free.saturating_sub(promised)))
        }
    }
}

/// What files in a folder may still take.
fn promised(directory: &Path, domains: &[StoredDomain]) -> u64 {
    let of_volume = volumes(domains).map(|volume| match &volume.place {
        Place::Raw { file } | Place::Overlay { file, .. } if file.starts_with(directory) => {
            loopback::promised_bytes(file, volume.size_bytes)
        }
        _ => 0,
    });
    of_volume.fold(0, u64::saturating_add)
}

/// What files in a folder that is no store can have, besides what stores on the same file system have promised.
pub(super) fn free_in_folder(
    machine: &Machine,
    folder: &Path,
    domains: &[StoredDomain],
) -> Result<u64, HypervisorError> {
    let (mut free, device) = loopback::free_bytes(folder)?;
    for store in &machine.stores {
        if let StoreKind::Loopback { directory } = &store.kind
            && loopback::free_bytes(directory)?.1 == device
        {
            free = free.saturating_sub(promised(directory, domains));
        }
    }
    Ok(free)
}

fn volumes(domains: &[StoredDomain]) -> impl Iterator<Item = &StoredVolume> {
    domains.iter().flat_map(|domain| &domain.volumes)
}

fn used(store: &StoreExport, domains: &[StoredDomain]) -> u64 {
    let of_store = volumes(domains).filter(|volume| volume.store == store.name);
    of_store.map(|volume| volume.size_bytes).fold(0, u64::saturating_add)
}

/// What volumes can have in all.
pub(super) fn capacity_bytes(machine: &Machine, domains: &[StoredDomain]) -> Result<u64, HypervisorError> {
    let mut backings: Vec<(Backing, u64, u64, u64)> = Vec::new();
    for store in &machine.stores {
        let (backing, free) = free(store, domains)?;
        let (used, limit) = (used(store, domains), store.limit_bytes.unwrap_or(u64::MAX));
        match backings.iter_mut().find(|(other, ..)| *other == backing) {
            None => backings.push((backing, free, used, limit)),
            Some((_, free_of_all, used_of_all, limit_of_all)) => {
                // Reserves differ by nothing, promises by the folder: the smaller number holds for both.
                *free_of_all = free.min(*free_of_all);
                *used_of_all = used.saturating_add(*used_of_all);
                *limit_of_all = limit.saturating_add(*limit_of_all);
            }
        }
    }
    let capacity = |(_, free, used, limit): &(Backing, u64, u64, u64)| free.saturating_add(*used).min(*limit);
    Ok(backings.iter().map(capacity).fold(0, u64::saturating_add))
}

/// Refuses growth that the stores have no room for. `growth` is what each new or growing volume needs more.
pub(super) fn check_space(growth: &[(&StoreExport, u64)], domains: &[StoredDomain]) -> Result<(), HypervisorError> {
    let mut checked: Vec<(Backing, u64, u64)> = Vec::new();
    for (store, bytes) in growth {
        let of_store = growth.iter().filter(|(other, _)| other.name == store.name);
        let asked = of_store.map(|(_, bytes)| *bytes).fold(0, u64::saturating_add);
        check_limit(store, asked, domains)?;
        let needed = match &store.kind {
            StoreKind::Lvm { group } => lvm::needed_bytes(group, *bytes)?,
            StoreKind::Loopback { .. } => *bytes,
        };
        let (backing, free) = free(store, domains)?;
        match checked.iter_mut().find(|(other, ..)| *other == backing) {
            None => checked.push((backing, free, needed)),
            Some((_, _, sum)) => *sum = sum.saturating_add(needed),
        }
    }
    checked.into_iter().try_for_each(|(_, free, needed)| fits(free, needed))
}

/// Refuses what a store would take beyond its limit.
pub(super) fn check_limit(store: &StoreExport, bytes: u64, domains: &[StoredDomain]) -> Result<(), HypervisorError> {
    store.limit_bytes.map_or(Ok(()), |limit| fits(limit.saturating_sub(used(store, domains)), bytes))
}

pub(super) fn fits(available: u64, asked: u64) -> Result<(), HypervisorError> {
    if asked <= available {
        return Ok(());
    }
    let (available, asked) = (Quantity::from_bytes(available), Quantity::from_bytes(asked));
    Err(HypervisorError::Full { kind: ResourceKind::Disk, available, asked })
}

/// Takes the space of a new volume.
pub(super) fn allocate(domain: &str, volume: &StoredVolume) -> Result<(), HypervisorError> {
    match &volume.place {
        Place::Lvm { group, volume: name } => lvm::allocate(group, name, domain, volume.size_bytes),
        Place::Raw { file } => loopback::allocate(file, volume.size_bytes),
        // It takes space when it is written; until then the space is promised to it.
        Place::Overlay { file, .. } => overlay::delete(file).map(|_| ()),
    }
}

/// Blanks a new volume, and returns where it can be written.
pub(super) fn blank(volume: &StoredVolume, interrupt: &Interrupt) -> Result<PathBuf, HypervisorError> {
    match &volume.place {
        Place::Lvm { group, volume: name } => {
            lvm::blank_all(group, name, interrupt)?;
            lvm::activate(group, name)
        }
        // A new file is blank.
        Place::Raw { file } | Place::Overlay { file, .. } => Ok(file.clone()),
    }
}

/// What a volume really has: at least what was asked for.
pub(super) fn size_bytes(volume: &StoredVolume) -> Result<u64, HypervisorError> {
    match &volume.place {
        Place::Lvm { group, volume: name } => lvm::size_bytes(group, name),
        Place::Raw { file } => loopback::size_bytes(file),
        Place::Overlay { file, .. } => overlay::size_bytes(file),
    }
}

/// Lets a volume grow to the size that its state names.
pub(super) fn grow(domain: &str, volume: &StoredVolume, interrupt: &Interrupt) -> Result<(), HypervisorError> {
    let VolumeState::Growing { to_bytes, .. } = volume.state else { return Ok(()) };
    match &volume.place {
        Place::Lvm { group, volume: name } => lvm::grow(group, name, domain, to_bytes, interrupt),
        Place::Raw { file } => loopback::grow(file, to_bytes),
        Place::Overlay { file, .. } => overlay::grow(file, to_bytes),
    }
}

/// The volume is gone.
pub(super) fn delete(volume: &StoredVolume) -> Result<(), HypervisorError> {
    match &volume.place {
        Place::Lvm { group, volume: name } => lvm::delete(group, name).map(|_| ()),
        Place::Raw { file } => loopback::delete(file).map(|_| ()),
        Place::Overlay { file, .. } => overlay::delete(file).map(|_| ()),
    }
}

/// The block device of a volume.
pub(super) fn attach(locks: &Locks, volume: &StoredVolume) -> Result<PathBuf, HypervisorError> {
    match &volume.place {
        Place::Lvm { group, volume: name } => lvm::activate(group, name),
        Place::Raw { file } => loopback::attach(file, false),
        Place::Overlay { file, .. } => overlay::attach(locks, file),
    }
}

/// Reads of a volume at `offset`; fewer bytes than asked for at its end.
pub(super) fn read(volume: &StoredVolume, offset: u64, buffer: &mut [u8]) -> Result<usize, HypervisorError> {
    let left = usize::try_from(volume.size_bytes.saturating_sub(offset)).unwrap_or(usize::MAX);
    let count = left.min(buffer.len());
    let wanted = &mut buffer[..count];
    match &volume.place {
        Place::Lvm { group, volume: name } => blocks::of_device(&lvm::activate(group, name)?, offset, wanted)?,
        // Behind a loop device or not: what the device writes is in the file.
        Place::Raw { file } => blocks::of_file(file, offset, wanted)?,
        Place::Overlay { file, base } => overlay::read(file, base, offset, wanted)?,
    }
    Ok(count)
}

/// Gives back what [`attach`] took.
pub(super) fn detach(volume: &StoredVolume) -> Result<(), HypervisorError> {
    match &volume.place {
        Place::Lvm { .. } => Ok(()),
        Place::Raw { file } => loopback::detach(file),
        Place::Overlay { file, .. } => overlay::detach(file),
    }
}
