//! The last gate before a hypervisor: what the market of a host asks for is checked once more, by the process that has
//! the rights to do it. It knows nothing of money. It sees to it that a call cannot touch what is not Tycoon's, cannot
//! take a domain from one account and give it to another, and cannot name what no honest daemon names: so that whoever
//! takes over the daemon, which speaks with the network, has the domains of the market and not the machine.
//!
//! Beside the market, accounts themselves come here, over SSH: [`AccountGate`] is what each of them finds.

mod account;

pub use account::AccountGate;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tycoon_market::Timestamp;

use crate::hypervisor::{ConsoleStream, HostFacts, Hypervisor, HypervisorError};
use crate::save::VolumeStream;
use crate::spec::{DomainSpec, Ownership, hypervisor_name};
use crate::spec_check;
use crate::status::{DomainStatus, Kept};

/// The longest grace of a shutdown, in milliseconds: ten minutes.
const GRACE_MAX_MS: u64 = 600_000;
/// The highest cap, in percent of one CPU: a thousand CPUs.
const CAP_PERCENT_MAX: u32 = 100_000;

/// A hypervisor behind the gate.
pub struct Enforcer {
    hypervisor: Arc<dyn Hypervisor>,
    /// The latest time that a call has brought: for those that bring none.
    latest: AtomicI64,
}

impl Enforcer {
    /// The gate before `hypervisor`.
    pub const fn new(hypervisor: Arc<dyn Hypervisor>) -> Self {
        Self { hypervisor, latest: AtomicI64::new(i64::MIN) }
    }

    /// The time, in a call that brings none.
    fn latest(&self, operation: &'static str) -> Result<Timestamp, HypervisorError> {
        match self.latest.load(Ordering::SeqCst) {
            i64::MIN => Err(HypervisorError::Failed {
                operation: operation.into(),
                reason: "the market of this host has not told the time yet; try again in a moment".to_owned(),
            }),
            latest => Ok(Timestamp::from_micros(latest)),
        }
    }

    /// The domain of a name, in a call that brings no time.
    fn look(&self, name: &str) -> Result<Option<DomainStatus>, HypervisorError> {
        self.hypervisor.domain(name, self.latest("looking at the domain")?)
    }

    fn note(&self, now: Timestamp) {
        self.latest.fetch_max(now.micros(), Ordering::SeqCst);
    }

    fn own(
        &self,
        operation: &'static str,
        name: &str,
        now: Timestamp,
    ) -> Result<Option<DomainStatus>, HypervisorError> {
        self.note(now);
        let Some(domain) = self.hypervisor.domain(name, now)? else { return Ok(None) };
        match &domain.ownership {
            Some(own) if own.hypervisor_name() == name => Ok(Some(domain)),
            _ => Err(refused(operation, format!("the domain `{name}` is not Tycoon's"))),
        }
    }

    /// The spec is one that an honest daemon sends, it is what the ownership says, and whatever has the name already has
    /// the same owner and no newer plan.
    fn check(&self, operation: &'static str, spec: &DomainSpec, ownership: &Ownership) -> Result<(), HypervisorError> {
        spec_check::check(spec).map_err(|reason| refused(operation, reason))?;
        if spec.path != ownership.path || spec.digest() != ownership.digest {
            return Err(refused(operation, format!("the owner's mark is not that of `{}`", spec.path)));
        }
        let name = hypervisor_name(&ownership.account, &ownership.pool, &ownership.path);
        let Some(domain) = self.look(&name)? else { return Ok(()) };
        let Some(own) = &domain.ownership else { return Err(HypervisorError::NameTaken(name)) };
        if (own.account, &own.pool, &own.path) != (ownership.account, &ownership.pool, &ownership.path) {
            return Err(HypervisorError::NameTaken(name));
        }
        if own.generation > ownership.generation {
            let (asked, known) = (ownership.generation, own.generation);
            return Err(refused(operation, format!("plan {asked} is older than plan {known}, which made `{name}`")));
        }
        Ok(())
    }
}

/// As much of a foreign name as is shown.
fn shown(name: &str) -> String {
    name.chars().take(80).collect()
}

fn refused(operation: &'static str, reason: String) -> HypervisorError {
    HypervisorError::Refused { operation: operation.into(), reason }
}

impl Hypervisor for Enforcer {
    fn facts(&self) -> Result<HostFacts, HypervisorError> {
        self.hypervisor.facts()
    }

    fn domains(&self, now: Timestamp) -> Result<Vec<DomainStatus>, HypervisorError> {
        self.note(now);
        self.hypervisor.domains(now)
    }

    fn domain(&self, name: &str, now: Timestamp) -> Result<Option<DomainStatus>, HypervisorError> {
        self.note(now);
        self.hypervisor.domain(name, now)
    }

    fn ensure_image(&self, image: &str) -> Result<bool, HypervisorError> {
        if !spec_check::is_exported_name(image) {
            return Err(refused("fetching the image", "this is not the name of an image".to_owned()));
        }
        self.hypervisor.ensure_image(image)
    }

    fn ensure_volumes(&self, spec: &DomainSpec, ownership: &Ownership) -> Result<bool, HypervisorError> {
        self.check("making volumes", spec, ownership)?;
        self.hypervisor.ensure_volumes(spec, ownership)
    }

    fn define(&self, spec: &DomainSpec, ownership: &Ownership, now: Timestamp) -> Result<bool, HypervisorError> {
        self.note(now);
        self.check("defining the domain", spec, ownership)?;
        self.hypervisor.define(spec, ownership, now)
    }

    fn start(&self, name: &str, now: Timestamp) -> Result<bool, HypervisorError> {
        self.own("starting the domain", name, now)?;
        self.hypervisor.start(name, now)
    }

    fn stop(&self, name: &str, grace_ms: u64, now: Timestamp) -> Result<bool, HypervisorError> {
        self.own("stopping the domain", name, now)?;
        self.hypervisor.stop(name, grace_ms.min(GRACE_MAX_MS), now)
    }

    fn suspend(&self, name: &str, now: Timestamp) -> Result<bool, HypervisorError> {
        self.own("suspending the domain", name, now)?;
        self.hypervisor.suspend(name, now)
    }

    fn remove(&self, name: &str, now: Timestamp) -> Result<bool, HypervisorError> {
        self.own("removing the domain", name, now)?;
        self.hypervisor.remove(name, now)
    }

    fn keep(&self, name: &str, kept: &Kept, now: Timestamp) -> Result<bool, HypervisorError> {
        const OPERATION: &str = "keeping volumes of the domain";
        spec_check::check_kept(kept).map_err(|reason| refused(OPERATION, reason))?;
        self.own(OPERATION, name, now)?;
        self.hypervisor.keep(name, kept, now)
    }

    fn listens(&self, name: &str, port: u16, now: Timestamp) -> Result<bool, HypervisorError> {
        self.own("looking whether the domain listens", name, now)?;
        self.hypervisor.listens(name, port, now)
    }

    fn set_cpu(&self, name: &str, weight: u16, cap_percent: u32, now: Timestamp) -> Result<(), HypervisorError> {
        if weight == 0 || cap_percent > CAP_PERCENT_MAX {
            let reason = format!("a weight of {weight} with a cap of {cap_percent} % is out of bounds");
            return Err(refused("setting the CPU weight", reason));
        }
        self.own("setting the CPU weight", name, now)?;
        self.hypervisor.set_cpu(name, weight, cap_percent, now)
    }

    fn set_memory(&self, name: &str, memory_bytes: u64, now: Timestamp) -> Result<(), HypervisorError> {
        self.own("setting the memory", name, now)?;
        self.hypervisor.set_memory(name, memory_bytes, now)
    }

    fn open_console(&self, name: &str) -> Result<ConsoleStream, HypervisorError> {
        match self.look(name)?.and_then(|domain| domain.ownership) {
            Some(own) if own.hypervisor_name() == name => {}
            _ => return Err(refused("opening the console", format!("the domain `{name}` is not Tycoon's"))),
        }
        self.hypervisor.open_console(name)
    }

    fn open_volume(&self, name: &str, volume: &str) -> Result<VolumeStream, HypervisorError> {
        const OPERATION: &str = "reading a volume";
        match self.look(name)?.and_then(|domain| domain.ownership) {
            Some(own) if own.hypervisor_name() == name => {}
            _ => return Err(refused(OPERATION, format!("the domain {:?} is not Tycoon's", shown(name)))),
        }
        self.hypervisor.open_volume(name, volume)
    }
}
