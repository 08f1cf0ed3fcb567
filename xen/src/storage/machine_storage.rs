//! The storage of a [`Machine`]: a record per domain, volumes in its stores, addresses of its bridges, seeds.
//!
//! ```text
//!  FOLDER/domains/NAME/record.json   what the domain has; written before anything is made
//!                     /seed.iso      its seed disk
//!  FOLDER/images/                    see the module `cache`
//!  FOLDER/account-images/ACCOUNT/    the same, of what an account has brought for itself
//!  FOLDER/locks/                     one file for each domain, and one for what domains share: addresses and space
//! ```
//!
//! Who needs both locks takes that of the domain first.

use std::collections::BTreeSet;

use super::account_images::AccountImages;
use super::cache::{self, Cache};
use super::command::Interrupt;
use super::folder::{Held, Locks, make_folder, read_bounded, remove_file, write_whole};
use super::incoming::Incoming;
use super::machine_addresses::own_addresses;
use super::record::{Place, Records, StoredDomain, StoredVolume, VolumeState};
use super::seed::Seed;
use super::{
    AttachedDisk, BootFiles, DomainRecord, Interface, Storage, addresses, failed, fill, images, loopback, overlay,
    qcow2, refused, stores,
};
use crate::hypervisor::HypervisorError;
use crate::machine::{ImageExport, Machine};
use crate::memory::{fault_of, missing_volume};
use crate::own_image;
use crate::spec::{DomainSpec, Ownership, PortForward};
use crate::status::Kept;

/// The volume that is made from the image.
const ROOT: &str = "root";
/// The lock of what domains share. No domain has this name: theirs have a `.` in them.
pub(super) const SHARED_LOCK: &str = "shared";
/// The lock of the cache of images.
pub(super) const IMAGES_LOCK: &str = "images";
const SEED_FILE: &str = "seed.iso";
/// The longest name of a volume or an interface.
const PART_BYTES_MAX: usize = 64;
/// No seed disk is larger.
const SEED_BYTES_MAX: u64 = 16 << 20;

/// The storage of a machine.
#[derive(Debug)]
pub struct MachineStorage {
    pub(super) machine: Machine,
    pub(super) records: Records,
    pub(super) locks: Locks,
    pub(super) cache: Cache,
    pub(super) account_images: AccountImages,
    pub(super) interrupt: Interrupt,
}

impl MachineStorage {
    /// Ports of the machine lead to one domain each: the one that is defined last, because the market has given it the port.
    fn take_ports(&self, name: &str, spec: &DomainSpec) -> Result<(), HypervisorError> {
        let ports: BTreeSet<u16> = spec.forwarded_ports().collect();
        if ports.is_empty() {
            return Ok(());
        }
        let is_taken = |forward: &PortForward| ports.contains(&forward.port);
        for mut other in self.records.all()?.into_iter().filter(|other| other.name != name) {
            if other.interfaces.iter().any(|it| it.forwards.iter().any(is_taken)) {
                other.interfaces.iter_mut().for_each(|it| it.forwards.retain(|forward| !is_taken(forward)));
                self.records.save(&other)?;
            }
        }
        Ok(())
    }

    /// The storage of this machine; its folder is made where it does not exist.
    pub fn open(machine: Machine) -> Result<Self, HypervisorError> {
        if !machine.folder.is_absolute() {
            let reason = format!("the folder `{}` is not an absolute path", machine.folder.display());
            return Err(refused("opening the storage of this host", reason));
        }
        make_folder(&machine.folder)?;
        let records = Records::new(machine.folder.join("domains"))?;
        let locks = Locks::new(machine.folder.join("locks"))?;
        let cache = Cache::new(machine.folder.join("images"), Incoming::default())?;
        let account_images = AccountImages::open(machine.folder.join("account-images"))?;
        Ok(Self { machine, records, locks, cache, account_images, interrupt: Interrupt::default() })
    }

    /// What it is the storage of.
    pub const fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Ends what takes long, such as copies of images.
    pub fn interrupt(&self) -> Interrupt {
        self.interrupt.clone()
    }

    fn hold(&self, name: &str) -> Result<Held, HypervisorError> {
        // Also checks the name.
        self.records.folder(name)?;
        self.locks.hold(name)
    }

    /// Does something while the lock of a domain is held. Where it fails and there is no such domain, no lock file stays
    /// either: whoever asks for what is refused, again and again under other names, leaves nothing.
    pub(super) fn holding<T>(
        &self,
        name: &str,
        act: impl FnOnce() -> Result<T, HypervisorError>,
    ) -> Result<T, HypervisorError> {
        let held = self.hold(name)?;
        let done = act();
        if done.is_err() && matches!(self.records.load(name), Ok(None)) {
            held.remove();
        }
        done
    }

    /// The domain of this owner, or a new one that is not on disk yet.
    pub(super) fn own_or_new(
        &self,
        name: &str,
        ownership: &Ownership,
    ) -> Result<(StoredDomain, bool), HypervisorError> {
        match self.records.load(name)? {
            Some(domain) if domain.is_of(ownership) => Ok((domain, false)),
            Some(_) => Err(HypervisorError::NameTaken(name.to_owned())),
            None => Ok((StoredDomain::new(name.to_owned(), ownership.clone()), true)),
        }
    }

    /// What a name means to the owner of a domain: what the machine exports, what the account has brought for itself,
    /// what was uploaded for everybody.
    fn image_for(&self, ownership: &Ownership, image: &str) -> Result<ImageExport, HypervisorError> {
        if !self.exports(image)
            && let Some(own) = self.account_images.find(&ownership.account, image)?
        {
            return Ok(own);
        }
        images::find(&self.machine, &self.cache, image)
    }

    /// The image with this name on the host.
    fn image_on_host(&self, name: &str) -> Result<ImageExport, HypervisorError> {
        match own_image::parse(name) {
            Some((account, image)) if !self.exports(name) => {
                let own = self.account_images.find(&account, image)?;
                own.ok_or_else(|| HypervisorError::NoImage(name.to_owned()))
            }
            _ => images::find(&self.machine, &self.cache, name),
        }
    }

    /// True where the machine itself exports an image of this name.
    pub(super) fn exports(&self, image: &str) -> bool {
        self.machine.images.iter().any(|export| export.name == image)
    }

    /// Refuses what the cache of images has no room for. The file system keeps a reserve, and what it has promised.
    pub(super) fn check_cache_space(&self, bytes: u64) -> Result<(), HypervisorError> {
        let free = stores::free_in_folder(&self.machine, self.cache.folder(), &self.records.all()?)?;
        let promised = self.cache.promised_bytes()?.saturating_add(self.account_images.promised_bytes()?);
        stores::fits(free.saturating_sub(promised), bytes)
    }

    fn remove_unused_bases(&self) -> Result<(), HypervisorError> {
        let _images = self.locks.hold(IMAGES_LOCK)?;
        stores::remove_unused_bases(&self.machine, &self.records.all()?)
    }

    fn need(&self, name: &str) -> Result<StoredDomain, HypervisorError> {
        self.records.load(name)?.ok_or_else(|| HypervisorError::NoDomain(name.to_owned()))
    }

    /// Finishes what was under way when a process or the machine died: volumes that may be half are removed, growing
    /// ones grow.
    fn settle(&self, domain: &mut StoredDomain) -> Result<(), HypervisorError> {
        if domain.volumes.iter().all(|volume| volume.state == VolumeState::Ready) {
            return Ok(());
        }
        for volume in domain.volumes.iter().filter(|volume| volume.state == VolumeState::Making) {
            stores::delete(volume)?;
        }
        domain.volumes.retain(|volume| volume.state != VolumeState::Making);
        for volume in &mut domain.volumes {
            stores::grow(&domain.name, volume, &self.interrupt)?;
            finish_growth(volume);
        }
        self.records.save(domain)
    }

    /// The steps from what the domain has to what the spec wants: the volumes in the state in which they are begun.
    fn begun(&self, spec: &DomainSpec, domain: &StoredDomain) -> Result<Vec<StoredVolume>, HypervisorError> {
        let mut begun = Vec::new();
        for wanted in &spec.volumes {
            match domain.volume(&wanted.name) {
                Some(volume) if volume.size_bytes >= wanted.size_bytes => {}
                Some(volume) => {
                    let from_bytes = stores::size_bytes(volume)?;
                    let state = VolumeState::Growing { from_bytes, to_bytes: wanted.size_bytes };
                    begun.push(StoredVolume { state, ..volume.clone() });
                }
                None if wanted.existing => {
                    let (operation, reason) = missing_volume(&wanted.name);
                    return Err(refused(operation, reason));
                }
                None => {
                    let store = stores::store(&self.machine, wanted)?;
                    let place = if wanted.name == ROOT {
                        let disk = images::raw_disk(&self.cache, &self.image_for(&domain.ownership, &spec.image)?)?;
                        match wanted.copy_on_write {
                            true => stores::shared_place(store, &domain.name, ROOT, &cache::key(&disk)?)?,
                            false => stores::place(store, &domain.name, ROOT),
                        }
                    } else {
                        // Without an image there is nothing to share.
                        stores::place(store, &domain.name, &wanted.name)
                    };
                    begun.push(StoredVolume {
                        name: wanted.name.clone(),
                        size_bytes: wanted.size_bytes,
                        store: store.name.clone(),
                        place,
                        state: VolumeState::Making,
                        is_adopted: false,
                    });
                }
            }
        }
        Ok(begun)
    }

    /// Takes the space of all steps at once, so that either all of them fit or none begins.
    fn reserve(&self, domain: &mut StoredDomain, begun: &[StoredVolume]) -> Result<(), HypervisorError> {
        let _shared = self.locks.hold(SHARED_LOCK)?;
        let mut growth = Vec::with_capacity(begun.len());
        for volume in begun {
            let store = self.machine.stores.iter().find(|store| store.name == volume.store).ok_or_else(|| {
                let reason = format!("it is in the store `{}`, which this host no longer exports", volume.store);
                refused(format!("growing the volume `{}`", volume.name), reason)
            })?;
            growth.push((store, volume.growth_bytes()));
        }
        stores::check_space(&growth, &self.records.all()?)?;
        domain.volumes.retain(|volume| !begun.iter().any(|begun| begun.name == volume.name));
        domain.volumes.extend(begun.iter().cloned());
        self.records.save(domain)?;
        // Growth is taken by growing itself, which leaves a volume as it was where there is no space.
        begun.iter().filter(|it| it.state == VolumeState::Making).try_for_each(|it| stores::allocate(&domain.name, it))
    }

    /// Makes one volume whole.
    fn finish(&self, ownership: &Ownership, spec: &DomainSpec, volume: &StoredVolume) -> Result<(), HypervisorError> {
        if volume.state != VolumeState::Making {
            return stores::grow(&ownership.hypervisor_name(), volume, &self.interrupt);
        }
        if let Place::Overlay { file, base } = &volume.place {
            let image = images::raw_disk(&self.cache, &self.image_for(ownership, &spec.image)?)?;
            // Nobody removes the base meanwhile: the record that names it is on disk.
            let _images = self.locks.hold(IMAGES_LOCK)?;
            return overlay::make(file, base, &image, volume.size_bytes, &self.interrupt);
        }
        let target = stores::blank(volume, &self.interrupt)?;
        if volume.name == ROOT {
            let image = images::raw_disk(&self.cache, &self.image_for(ownership, &spec.image)?)?;
            return fill::copy_image(&image, &target, volume.size_bytes, &self.interrupt);
        }
        let wanted = spec.volumes.iter().find(|wanted| wanted.name == volume.name);
        match wanted.and_then(|wanted| wanted.filesystem) {
            Some(filesystem) => fill::make_filesystem(filesystem, &volume.name, &target, &self.interrupt),
            None => Ok(()),
        }
    }

    /// Leaves of a failed call what was there before it. A volume that cannot be removed now stays in the record, and
    /// the next call removes it.
    fn roll_back(&self, domain: &mut StoredDomain, before: Option<&StoredDomain>, begun: &[StoredVolume]) {
        let was_there = |name: &str| before.is_some_and(|before| before.volume(name).is_some());
        domain.volumes.retain(|volume| {
            let is_new = begun.iter().any(|it| it.name == volume.name) && !was_there(&volume.name);
            !is_new || stores::delete(volume).is_err()
        });
        for volume in &mut domain.volumes {
            let is_whole = match volume.state {
                // What did not grow is as it was.
                VolumeState::Growing { from_bytes, .. } => {
                    stores::size_bytes(volume).is_ok_and(|size| size == from_bytes)
                }
                VolumeState::Ready => was_there(&volume.name),
                VolumeState::Making => false,
            };
            if is_whole {
                volume.state = VolumeState::Ready;
            } else if !was_there(&volume.name) {
                volume.state = VolumeState::Making;
            }
        }
        if begun.iter().any(|it| matches!(it.place, Place::Overlay { .. })) {
            // What is left of this goes with the next volume that shared it.
            let _ = self.records.save(domain).and_then(|()| self.remove_unused_bases());
        }
        // The error that matters is the one that led here; what is left of this is settled by the next call.
        let _ = match before {
            None if domain.volumes.is_empty() => self.records.remove(&domain.name).map(|_| ()),
            _ => self.records.save(domain),
        };
    }
}

impl Storage for MachineStorage {
    fn capacity_bytes(&self) -> Result<u64, HypervisorError> {
        stores::capacity_bytes(&self.machine, &self.records.all()?)
    }

    fn images(&self) -> Result<Vec<String>, HypervisorError> {
        let exported = self.machine.images.iter().map(|image| image.name.clone());
        let names: BTreeSet<String> = exported.chain(self.cache.names()?).chain(self.account_images.names()?).collect();
        Ok(names.into_iter().collect())
    }

    fn ensure_image(&self, image: &str) -> Result<bool, HypervisorError> {
        let export = self.image_on_host(image)?;
        match images::raw_disk(&self.cache, &export) {
            Err(HypervisorError::NoImage(_)) => {}
            other => return other.map(|_| false),
        }
        let raw = self.cache.raw_file(&export.disk)?;
        // Two that need it make it once.
        let _image = self.locks.hold(IMAGES_LOCK)?;
        if raw.is_file() {
            return Ok(false);
        }
        self.check_cache_space(qcow2::check(&export.disk)?)?;
        qcow2::convert(&export.disk, &raw, &self.interrupt)?;
        Ok(true)
    }

    fn ensure_volumes(&self, spec: &DomainSpec, ownership: &Ownership) -> Result<bool, HypervisorError> {
        let name = checked_name(spec, ownership, "making volumes")?;
        self.holding(&name, || {
            let (mut domain, is_new) = self.own_or_new(&name, ownership)?;
            self.settle(&mut domain)?;
            let begun = self.begun(spec, &domain)?;
            if begun.is_empty() {
                return Ok(false);
            }
            let before = (!is_new).then(|| domain.clone());
            let done = self.reserve(&mut domain, &begun).and_then(|()| {
                for step in &begun {
                    self.finish(ownership, spec, step)?;
                    if let Some(volume) = domain.volumes.iter_mut().find(|volume| volume.name == step.name) {
                        finish_growth(volume);
                    }
                }
                self.records.save(&domain)
            });
            if let Err(error) = done {
                self.roll_back(&mut domain, before.as_ref(), &begun);
                return Err(error);
            }
            Ok(true)
        })
    }

    fn note(&self, spec: &DomainSpec, ownership: &Ownership) -> Result<Vec<Interface>, HypervisorError> {
        let name = checked_name(spec, ownership, "defining the domain")?;
        self.holding(&name, || {
            let (mut domain, is_new) = self.own_or_new(&name, ownership)?;
            let _shared = self.locks.hold(SHARED_LOCK)?;
            let interfaces = addresses::assign(&self.machine, &own_addresses()?, &self.records.all()?, &name, spec)?;
            self.take_ports(&name, spec)?;
            // A seed that could not be written is refused now and not at the start.
            Seed::new(&self.machine, &name, spec, &interfaces)?;
            let before = domain.clone();
            domain.ownership = ownership.clone();
            domain.spec = Some(spec.clone());
            domain.interfaces = interfaces;
            domain.kept = None;
            if is_new || domain != before {
                self.records.save(&domain)?;
            }
            Ok(DomainRecord::from(domain).interfaces)
        })
    }

    fn records(&self) -> Result<Vec<DomainRecord>, HypervisorError> {
        Ok(self.records.all()?.into_iter().map(DomainRecord::from).collect())
    }

    fn record(&self, name: &str) -> Result<Option<DomainRecord>, HypervisorError> {
        Ok(self.records.load(name)?.map(DomainRecord::from))
    }

    fn attach(&self, name: &str) -> Result<Vec<AttachedDisk>, HypervisorError> {
        // What is not there needs no lock.
        self.need(name)?;
        let _held = self.hold(name)?;
        let mut domain = self.need(name)?;
        self.settle(&mut domain)?;
        let Some(spec) = domain.spec.clone() else { return Err(HypervisorError::NoDomain(name.to_owned())) };
        let mut disks = Vec::with_capacity(spec.volumes.len() + 1);
        for wanted in &spec.volumes {
            let volume = domain.volume(&wanted.name).filter(|volume| volume.size_bytes >= wanted.size_bytes);
            let volume = volume.ok_or_else(|| {
                let reason = format!("its volume `{}` does not exist in the size that it needs", wanted.name);
                failed("attaching the disks of the domain", reason)
            })?;
            disks.push(AttachedDisk { device: stores::attach(&self.locks, volume)?, is_read_only: false });
        }
        let seed = Seed::new(&self.machine, name, &spec, &domain.interfaces)?.disk();
        let path = self.records.folder(name)?.join(SEED_FILE);
        if !read_bounded(&path, SEED_BYTES_MAX).is_ok_and(|before| before.as_ref() == Some(&seed)) {
            // The device of the former seed still has the former file.
            loopback::detach(&path)?;
            write_whole(&path, &seed)
                .map_err(|error| failed("writing the seed disk", format!("{}: {error}", path.display())))?;
        }
        disks.push(AttachedDisk { device: loopback::attach(&path, true)?, is_read_only: true });
        Ok(disks)
    }

    fn detach(&self, name: &str) -> Result<(), HypervisorError> {
        if self.records.load(name)?.is_none() {
            return Ok(());
        }
        let _held = self.hold(name)?;
        let Some(domain) = self.records.load(name)? else { return Ok(()) };
        domain.volumes.iter().try_for_each(stores::detach)?;
        loopback::detach(&self.records.folder(name)?.join(SEED_FILE))
    }

    fn boot_files(&self, spec: &DomainSpec, ownership: &Ownership) -> Result<BootFiles, HypervisorError> {
        images::boot_files(&self.machine, &self.image_for(ownership, &spec.image)?, spec)
    }

    fn remove(&self, name: &str) -> Result<bool, HypervisorError> {
        let held = self.hold(name)?;
        let Some(mut domain) = self.records.load(name)? else {
            // A process may have died before it wrote the record, or after it removed it.
            self.records.remove(name)?;
            held.remove();
            return Ok(false);
        };
        let shares = domain.volumes.iter().any(|volume| matches!(volume.place, Place::Overlay { .. }));
        while let Some(volume) = domain.volumes.last() {
            stores::delete(volume)?;
            domain.volumes.pop();
        }
        loopback::detach(&self.records.folder(name)?.join(SEED_FILE))?;
        if shares {
            // Before the record goes, so that whoever dies here does it again.
            self.records.save(&domain)?;
            self.remove_unused_bases()?;
        }
        self.records.remove(name)?;
        held.remove();
        Ok(true)
    }

    fn keep(&self, name: &str, kept: &Kept) -> Result<bool, HypervisorError> {
        let held = self.hold(name)?;
        let Some(mut domain) = self.records.load(name)? else {
            held.remove();
            return Ok(false);
        };
        self.settle(&mut domain)?;
        let before = domain.clone();
        let (goes, left) = left_behind(domain, kept);
        if left.volumes.is_empty() {
            drop(held);
            return self.remove(name);
        }
        // What goes is in the record until it is gone; that the rest is kept is known from here on.
        if left != before {
            let volumes = left.volumes.iter().chain(&goes).cloned().collect();
            self.records.save(&StoredDomain { volumes, ..left.clone() })?;
        }
        goes.iter().try_for_each(stores::delete)?;
        let seed = self.records.folder(name)?.join(SEED_FILE);
        loopback::detach(&seed)?;
        remove_file(&seed)?;
        if !goes.is_empty() {
            self.records.save(&left)?;
        }
        if goes.iter().any(|volume| matches!(volume.place, Place::Overlay { .. })) {
            self.remove_unused_bases()?;
        }
        Ok(left != before)
    }

    fn read_volume(&self, name: &str, volume: &str, offset: u64, buffer: &mut [u8]) -> Result<usize, HypervisorError> {
        let domain = self.need(name)?;
        let found = domain.volume(volume).filter(|found| found.state == VolumeState::Ready).ok_or_else(|| {
            let shown: String = volume.chars().take(PART_BYTES_MAX).collect();
            refused("reading a volume", format!("`{name}` has no volume {shown:?} that is whole"))
        })?;
        stores::read(found, offset, buffer)
    }
}

/// The volumes that go, and what is left of a domain of which only those of `kept` stay.
fn left_behind(domain: StoredDomain, kept: &Kept) -> (Vec<StoredVolume>, StoredDomain) {
    let kept = domain.kept.clone().unwrap_or_else(|| kept.clone()).only(|name| kept.has(name));
    let kept = kept.only(|name| domain.volume(name).is_some());
    let (stays, goes) = domain.volumes.into_iter().partition::<Vec<_>, _>(|volume| kept.has(&volume.name));
    let volumes = stays.into_iter().map(|volume| StoredVolume { is_adopted: true, ..volume }).collect();
    let left = StoredDomain { volumes, kept: Some(kept), ..StoredDomain::new(domain.name, domain.ownership) };
    (goes, left)
}

fn finish_growth(volume: &mut StoredVolume) {
    if let VolumeState::Growing { to_bytes, .. } = volume.state {
        volume.size_bytes = to_bytes;
    }
    volume.state = VolumeState::Ready;
}

fn checked_name(spec: &DomainSpec, ownership: &Ownership, operation: &'static str) -> Result<String, HypervisorError> {
    let fault = fault_of(spec, ownership).or_else(|| {
        let names = spec.volumes.iter().map(|volume| &volume.name).chain(spec.nics.iter().map(|nic| &nic.name));
        let bad = names.into_iter().find(|name| !super::folder::is_safe_name(name, PART_BYTES_MAX))?;
        let shown: String = bad.chars().take(PART_BYTES_MAX).collect();
        Some(format!(
            "`{}` cannot name a volume or an interface: use 1 to {PART_BYTES_MAX} letters, digits, `-`, `_` and `.`, \
             with a letter or a digit first",
            shown.escape_debug()
        ))
    });
    match fault {
        Some(reason) => Err(refused(operation, reason)),
        None => Ok(ownership.hypervisor_name()),
    }
}
