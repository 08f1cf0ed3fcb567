//! The `memory` driver: a faithful Xen host that exists only in this process.
//!
//! It is for the embedded site, for tests and for simulation. It has capacity that runs out, domains that boot, use
//! CPU and shut down in time, volumes, images, addresses, and foreign domains that it never touches. It reads no
//! clock: time is what callers bring, and any gap between two calls is accounted in one closed form. It decides
//! nothing by chance at run time: how busy a guest is follows from the seed and the domain's name.
//!
//! Everything is kept in a sled tree and flushed on every change; opening the tree again gives the identical host.
//! The passage of time alone is not written, for it follows from what is.

mod config;
mod console;
mod cpu;
mod domain;
mod faults;
mod state;
mod store;
mod volume;

use std::collections::BTreeSet;
use std::fs::File;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use tycoon_market::{AccountId, Timestamp};

pub(crate) use domain::{fault_of, missing_volume};

pub use config::{Demand, MemoryHostConfig, PrivateNetwork, TINY_IMAGE};
pub use cpu::{CpuClaim, distribute};
pub use faults::{Fault, FaultPlan, Faulty, Operation};

use crate::hypervisor::{ConsoleStream, HostFacts, Hypervisor, HypervisorError};
use crate::image::{ImageDigest, ImageManifest, ImagePart, UploadState};
use crate::listening::listens_here;
use crate::own_image;
use crate::quiet_volume;
use crate::remote::image::{AccountImageStore, ImageReceiver, UploadTerms, keep};
use crate::save::VolumeStream;
use crate::spec::{DomainSpec, Ownership};
use crate::status::{DomainStatus, Kept};
use crate::storage::AccountImages;
use domain::Life;
use state::State;
use volume::SimulatedVolume;

/// A simulated host.
#[derive(Debug)]
pub struct MemoryHost {
    tree: sled::Tree,
    inner: Arc<Mutex<Inner>>,
    /// What accounts have brought for themselves.
    account_images: Option<AccountImages>,
}

#[derive(Debug)]
struct Inner {
    /// What is, with the time until the last call accounted.
    live: State,
    /// What is on disk; `None` after a write that failed, of which nobody knows how much got there.
    saved: Option<State>,
}

impl Inner {
    /// Writes `state` and makes it what is, once it is on disk.
    fn keep(&mut self, tree: &sled::Tree, state: State) -> Result<(), HypervisorError> {
        let saved = self.saved.take();
        store::write(tree, saved.as_ref(), &state)?;
        self.saved = Some(state.clone());
        self.live = state;
        Ok(())
    }
}

/// A domain that Tycoon did not make, for tests of what must not be touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignDomain {
    /// Its name.
    pub name: String,
    /// Virtual CPUs.
    pub vcpus: u32,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Disk space in bytes.
    pub disk_bytes: u64,
    /// Its address.
    pub address: Option<Ipv4Addr>,
}

impl MemoryHost {
    /// Opens the host that is kept in `tree`, or makes a new one. A `config` that differs from that of the last time
    /// changes the host, where what exists fits into it ([`HypervisorError::Full`] where it does not). Only one
    /// `MemoryHost` may have a tree open at a time.
    pub fn open(tree: sled::Tree, config: MemoryHostConfig) -> Result<Self, HypervisorError> {
        let live = store::open(&tree, config)?;
        let saved = Some(live.clone());
        Ok(Self { tree, inner: Arc::new(Mutex::new(Inner { live, saved })), account_images: None })
    }

    /// The same host with a place for images that accounts bring.
    #[must_use]
    pub fn with_account_images(self, images: AccountImages) -> Self {
        Self { account_images: Some(images), ..self }
    }

    fn account_images(&self) -> Result<&AccountImages, HypervisorError> {
        self.account_images.as_ref().ok_or_else(|| HypervisorError::Refused {
            operation: "bringing an image".into(),
            reason: "this simulated host has no place for images of its guests".to_owned(),
        })
    }

    /// True where an account has brought the image with this name on the host.
    fn was_brought(&self, name: &str) -> Result<bool, HypervisorError> {
        match (&self.account_images, own_image::parse(name)) {
            (Some(images), Some((account, image))) => Ok(images.find(&account, image)?.is_some()),
            _ => Ok(false),
        }
    }

    /// The disk of the image that the root volume of a domain was made from, where its owner has brought that.
    fn brought_image_of(&self, name: &str) -> Result<Option<File>, HypervisorError> {
        let Some(images) = &self.account_images else { return Ok(None) };
        let made_from = self.inner().live.domains.get(name).and_then(|domain| {
            let spec = domain.definition.as_ref().and_then(|definition| definition.spec.as_ref());
            let image = spec.map(|spec| &spec.image).or(domain.kept.as_ref().map(|kept| &kept.image))?;
            Some((domain.ownership.as_ref()?.account, image.clone()))
        });
        let Some((account, image)) = made_from else { return Ok(None) };
        // One that gave way to others since is not there any more.
        Ok(images.find(&account, &image)?.and_then(|image| File::open(&image.disk).ok()))
    }

    /// The domain ends by a fault of its own, as a kernel panic would end it. True where it ran. For tests.
    pub fn crash(&self, name: &str, now: Timestamp) -> Result<bool, HypervisorError> {
        self.change(Some(now), |state| state.end(name, Life::Crashed))
    }

    /// The domain shuts itself down, as by `poweroff` inside it. True where it ran. For tests.
    pub fn power_off_inside(&self, name: &str, now: Timestamp) -> Result<bool, HypervisorError> {
        self.change(Some(now), |state| state.end(name, Life::Stopped))
    }

    /// The whole host loses its power and comes back: no domain runs, everything defined is still there. For tests.
    pub fn power_cycle(&self, now: Timestamp) -> Result<(), HypervisorError> {
        self.change(Some(now), |state| {
            state.domains.values_mut().for_each(|domain| domain.life = Life::Stopped);
            Ok(())
        })
    }

    /// Somebody starts a domain on this host without Tycoon. For tests.
    pub fn add_foreign(&self, foreign: &ForeignDomain, now: Timestamp) -> Result<(), HypervisorError> {
        self.change(Some(now), |state| state.add_foreign(foreign))
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        // The state is replaced as a whole, so a thread that panicked left none half changed.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<T>(&self, now: Timestamp, look: impl FnOnce(&State) -> T) -> Result<T, HypervisorError> {
        let mut inner = self.inner();
        if inner.live.advance(now) {
            let state = inner.live.clone();
            inner.keep(&self.tree, state)?;
        }
        Ok(look(&inner.live))
    }

    /// Does `act` on a copy and keeps the copy once it is on disk: all of it or, on an error, nothing.
    fn change<T>(
        &self,
        now: Option<Timestamp>,
        act: impl FnOnce(&mut State) -> Result<T, HypervisorError>,
    ) -> Result<T, HypervisorError> {
        let mut inner = self.inner();
        let was_put_back = now.is_some_and(|now| inner.live.advance(now));
        let mut next = inner.live.clone();
        let result = act(&mut next);
        let outcome = if result.is_ok() { next } else { inner.live.clone() };
        if was_put_back || outcome != inner.live {
            inner.keep(&self.tree, outcome)?;
        }
        result
    }
}

impl Hypervisor for MemoryHost {
    fn facts(&self) -> Result<HostFacts, HypervisorError> {
        let mut facts = self.inner().live.facts();
        if let Some(images) = &self.account_images {
            facts.images.extend(images.names()?);
            facts.images.sort_unstable();
        }
        Ok(facts)
    }

    fn domains(&self, now: Timestamp) -> Result<Vec<DomainStatus>, HypervisorError> {
        self.read(now, |state| state.domains.iter().map(|(name, domain)| domain.status(name)).collect())
    }

    fn domain(&self, name: &str, now: Timestamp) -> Result<Option<DomainStatus>, HypervisorError> {
        self.read(now, |state| state.domains.get(name).map(|domain| domain.status(name)))
    }

    fn ensure_image(&self, image: &str) -> Result<bool, HypervisorError> {
        let was_brought = self.was_brought(image)?;
        self.change(None, |state| state.ensure_image(image, was_brought))
    }

    fn ensure_volumes(&self, spec: &DomainSpec, ownership: &Ownership) -> Result<bool, HypervisorError> {
        self.change(None, |state| state.ensure_volumes(spec, ownership))
    }

    fn open_console(&self, name: &str) -> Result<ConsoleStream, HypervisorError> {
        console::open(name, &self.inner().live)
    }

    fn define(&self, spec: &DomainSpec, ownership: &Ownership, now: Timestamp) -> Result<bool, HypervisorError> {
        self.change(Some(now), |state| state.define(spec, ownership))
    }

    fn start(&self, name: &str, now: Timestamp) -> Result<bool, HypervisorError> {
        self.change(Some(now), |state| state.start(name))
    }

    fn stop(&self, name: &str, grace_ms: u64, now: Timestamp) -> Result<bool, HypervisorError> {
        self.change(Some(now), |state| state.stop(name, grace_ms))
    }

    fn suspend(&self, name: &str, now: Timestamp) -> Result<bool, HypervisorError> {
        self.change(Some(now), |state| state.suspend(name))
    }

    fn remove(&self, name: &str, now: Timestamp) -> Result<bool, HypervisorError> {
        self.change(Some(now), |state| state.remove(name))
    }

    fn keep(&self, name: &str, kept: &Kept, now: Timestamp) -> Result<bool, HypervisorError> {
        self.change(Some(now), |state| state.keep(name, kept))
    }

    fn listens(&self, name: &str, port: u16, now: Timestamp) -> Result<bool, HypervisorError> {
        listens_here(self, name, port, now)
    }

    fn set_cpu(&self, name: &str, weight: u16, cap_percent: u32, now: Timestamp) -> Result<(), HypervisorError> {
        self.change(Some(now), |state| state.set_cpu(name, weight, cap_percent))
    }

    fn set_memory(&self, name: &str, memory_bytes: u64, now: Timestamp) -> Result<(), HypervisorError> {
        self.change(Some(now), |state| state.set_memory(name, memory_bytes))
    }

    fn open_volume(&self, name: &str, volume: &str) -> Result<VolumeStream, HypervisorError> {
        let image = if volume == "root" { self.brought_image_of(name)? } else { None };
        quiet_volume::open(SimulatedVolume::new(&self.inner, name, volume, image), name, volume)
    }

    fn keep_as_image(&self, name: &str, volume: &str, image: &str) -> Result<bool, HypervisorError> {
        let domains: Vec<DomainStatus> = {
            let inner = self.inner();
            inner.live.domains.iter().map(|(name, domain)| domain.status(name)).collect()
        };
        let owner = |domain: &DomainStatus| domain.ownership.as_ref().map(|own| own.account);
        let account = domains.iter().find(|domain| domain.name == name).and_then(owner);
        let account = account.ok_or_else(|| HypervisorError::NoDomain(name.chars().take(80).collect()))?;
        let its = domains.iter().filter(|domain| owner(domain) == Some(account));
        let in_use: BTreeSet<String> =
            its.filter_map(|domain| domain.spec.as_ref()).map(|spec| spec.image.clone()).collect();
        let settled = domains.iter().filter_map(owner).collect();
        // Nobody but its user has a simulated host.
        let terms = UploadTerms { upload_bytes: self.inner().live.host.config.disk_bytes, in_use, settled };
        let open = || self.open_volume(name, volume);
        keep(&SimulatedReceiver { host: self, account, terms }, image, &open, &mut || Ok(()))
    }
}

/// Takes in what an account keeps of its own volumes.
struct SimulatedReceiver<'a> {
    host: &'a MemoryHost,
    account: AccountId,
    terms: UploadTerms,
}

impl ImageReceiver for SimulatedReceiver<'_> {
    fn begin(&self, manifest: &ImageManifest) -> Result<UploadState, HypervisorError> {
        AccountImageStore::begin(self.host, &self.account, &self.terms, manifest)
    }

    fn append(&self, image: ImageDigest, part: ImagePart, offset: u64, bytes: &[u8]) -> Result<u64, HypervisorError> {
        AccountImageStore::append(self.host, &self.account, image, part, offset, bytes)
    }

    fn finish(&self, image: ImageDigest) -> Result<(), HypervisorError> {
        AccountImageStore::finish(self.host, &self.account, image)
    }
}

impl AccountImageStore for MemoryHost {
    fn begin(
        &self,
        account: &AccountId,
        terms: &UploadTerms,
        manifest: &ImageManifest,
    ) -> Result<UploadState, HypervisorError> {
        let is_exported = |image: &str| self.inner().live.host.config.provides(image);
        self.account_images()?.begin(account, terms, manifest, is_exported, |_| Ok(()))
    }

    fn append(
        &self,
        account: &AccountId,
        image: ImageDigest,
        part: ImagePart,
        offset: u64,
        bytes: &[u8],
    ) -> Result<u64, HypervisorError> {
        self.account_images()?.append(account, image, part, offset, bytes)
    }

    fn finish(&self, account: &AccountId, image: ImageDigest) -> Result<(), HypervisorError> {
        self.account_images()?.finish(account, image)
    }
}
