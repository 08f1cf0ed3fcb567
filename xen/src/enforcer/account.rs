//! The gate before what belongs to one account: what a stranger's SSH session gets to see of a host.
//!
//! | asked for | answer |
//! |---|---|
//! | facts | of the machine, with the images that mean something to the account |
//! | all domains, one domain | the account's own; others are not there |
//! | console | of the account's own domains |
//! | the blocks of a volume | of the account's own domains, while nobody writes them |
//! | a volume becomes an image | of the account's own domains, into the account's own place |
//! | an image is brought | into the account's own place, within what its bids reserve |
//! | everything else | refused: domains are made, started, changed and removed through the market, which is paid |
//!
//! Whose a domain is, is looked up every time in what the hypervisor keeps with it. Names that come from the client are
//! only compared with those of the account's own domains, and never handed on.

use std::collections::BTreeSet;
use std::sync::Arc;

use tycoon_market::{AccountId, Timestamp};

use super::{Enforcer, refused, shown};
use crate::hypervisor::{ConsoleStream, HostFacts, Hypervisor, HypervisorError};
use crate::image::{ImageDigest, ImageManifest, ImagePart, UploadState};
use crate::own_image;
use crate::remote::image::{AccountImageStore, ImageReceiver, UploadTerms};
use crate::remote::{Session, SessionLimits};
use crate::save::VolumeStream;
use crate::spec::{DomainSpec, Ownership};
use crate::status::{DomainStatus, Kept};

/// A host as one account sees it.
pub struct AccountGate {
    enforcer: Arc<Enforcer>,
    account: AccountId,
}

impl AccountGate {
    /// The host behind `enforcer`, for `account`.
    pub const fn new(enforcer: Arc<Enforcer>, account: AccountId) -> Self {
        Self { enforcer, account }
    }

    /// A session for the account, which may bring images of `upload_bytes` in all where the host has a place for them.
    pub fn session(self, images: Option<Arc<dyn AccountImageStore>>, upload_bytes: u64) -> Session {
        let gate = Arc::new(self);
        let session = Session::new(gate.clone()).with_limits(SessionLimits::STRANGER);
        match images {
            Some(store) => session.with_images(Arc::new(AccountReceiver { gate, store, upload_bytes })),
            None => session,
        }
    }

    /// The account's own domains. The time is the market's: what the client says it is would be the time of everybody.
    fn own(&self) -> Result<Vec<DomainStatus>, HypervisorError> {
        let mut domains = self.everybodys()?;
        domains.retain(|domain| self.is_own(domain));
        Ok(domains)
    }

    fn everybodys(&self) -> Result<Vec<DomainStatus>, HypervisorError> {
        self.enforcer.hypervisor.domains(self.enforcer.latest("listing the domains")?)
    }

    fn is_own(&self, domain: &DomainStatus) -> bool {
        let own = domain.ownership.as_ref();
        own.is_some_and(|own| own.account == self.account && own.hypervisor_name() == domain.name)
    }
}

fn of_the_market<T>(operation: &'static str) -> Result<T, HypervisorError> {
    let reason = "in a session of an account, domains are looked at and nothing more; they are made, started, changed \
                  and removed through the market of the host: `tycoon up`, `tycoon down`";
    Err(refused(operation, reason.to_owned()))
}

impl Hypervisor for AccountGate {
    fn facts(&self) -> Result<HostFacts, HypervisorError> {
        let mut facts = self.enforcer.hypervisor.facts()?;
        facts.images = own_image::visible(&facts.images, Some(&self.account));
        Ok(facts)
    }

    fn domains(&self, _: Timestamp) -> Result<Vec<DomainStatus>, HypervisorError> {
        self.own()
    }

    fn domain(&self, name: &str, _: Timestamp) -> Result<Option<DomainStatus>, HypervisorError> {
        Ok(self.own()?.into_iter().find(|domain| domain.name == name))
    }

    fn ensure_image(&self, _: &str) -> Result<bool, HypervisorError> {
        of_the_market("fetching the image")
    }

    fn ensure_volumes(&self, _: &DomainSpec, _: &Ownership) -> Result<bool, HypervisorError> {
        of_the_market("making volumes")
    }

    fn define(&self, _: &DomainSpec, _: &Ownership, _: Timestamp) -> Result<bool, HypervisorError> {
        of_the_market("defining the domain")
    }

    fn start(&self, _: &str, _: Timestamp) -> Result<bool, HypervisorError> {
        of_the_market("starting the domain")
    }

    fn stop(&self, _: &str, _: u64, _: Timestamp) -> Result<bool, HypervisorError> {
        of_the_market("stopping the domain")
    }

    fn suspend(&self, _: &str, _: Timestamp) -> Result<bool, HypervisorError> {
        of_the_market("suspending the domain")
    }

    fn remove(&self, _: &str, _: Timestamp) -> Result<bool, HypervisorError> {
        of_the_market("removing the domain")
    }

    fn keep(&self, _: &str, _: &Kept, _: Timestamp) -> Result<bool, HypervisorError> {
        of_the_market("keeping volumes of the domain")
    }

    fn listens(&self, _: &str, _: u16, _: Timestamp) -> Result<bool, HypervisorError> {
        of_the_market("looking whether the domain listens")
    }

    fn set_cpu(&self, _: &str, _: u16, _: u32, _: Timestamp) -> Result<(), HypervisorError> {
        of_the_market("setting the CPU weight")
    }

    fn set_memory(&self, _: &str, _: u64, _: Timestamp) -> Result<(), HypervisorError> {
        of_the_market("setting the memory")
    }

    fn open_console(&self, name: &str) -> Result<ConsoleStream, HypervisorError> {
        match self.own()?.iter().find(|domain| domain.name == name) {
            Some(domain) => self.enforcer.hypervisor.open_console(&domain.name),
            None => Err(refused("opening the console", none_such(name))),
        }
    }

    fn open_volume(&self, name: &str, volume: &str) -> Result<VolumeStream, HypervisorError> {
        match self.own()?.iter().find(|domain| domain.name == name) {
            Some(domain) => self.enforcer.open_volume(&domain.name, volume),
            None => Err(refused("reading a volume", none_such(name))),
        }
    }
}

fn none_such(name: &str) -> String {
    format!("this account has no domain {:?} on this host", shown(name))
}

/// Takes in what an account brings.
struct AccountReceiver {
    gate: Arc<AccountGate>,
    store: Arc<dyn AccountImageStore>,
    upload_bytes: u64,
}

impl ImageReceiver for AccountReceiver {
    fn begin(&self, manifest: &ImageManifest) -> Result<UploadState, HypervisorError> {
        let domains = self.gate.everybodys()?;
        let specs = domains.iter().filter(|domain| self.gate.is_own(domain)).filter_map(|domain| domain.spec.as_ref());
        let in_use: BTreeSet<String> = specs.map(|spec| spec.image.clone()).collect();
        let settled: BTreeSet<AccountId> =
            domains.iter().filter_map(|domain| Some(domain.ownership.as_ref()?.account)).collect();
        let terms = UploadTerms { upload_bytes: self.upload_bytes, in_use, settled };
        self.store.begin(&self.gate.account, &terms, manifest)
    }

    fn append(&self, image: ImageDigest, part: ImagePart, offset: u64, bytes: &[u8]) -> Result<u64, HypervisorError> {
        self.store.append(&self.gate.account, image, part, offset, bytes)
    }

    fn finish(&self, image: ImageDigest) -> Result<(), HypervisorError> {
        self.store.finish(&self.gate.account, image)
    }
}
