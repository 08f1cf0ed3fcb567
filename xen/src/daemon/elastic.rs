//! Memory that follows its allocation: domains that can take more than they need are given what their account buys beyond
//! that, and give it back when it buys less.
//!
//! What an account buys beyond the memory of its domains is divided in proportion to what each can still take. A guest
//! gives memory back by itself, in its own time; one that does not is shut down after the owner's warning time, because
//! nothing else takes memory from a guest. Such a domain starts with its own memory again.

use std::collections::BTreeMap;
use std::time::Duration;

use tycoon_market::{HostAccountId, Quantity, ResourceKind, Timestamp};

use super::{HostDaemon, alone, session};
use crate::events::Happening;
use crate::hypervisor::HypervisorError;
use crate::protocol::HostError;
use crate::status::{DomainState, DomainStatus};

/// Since when each domain has had more memory than it was given.
pub(super) type Overdue = BTreeMap<String, Timestamp>;

/// A step of memory is this part of what a domain can have beyond its own, so that small changes of a price change nothing.
const STEPS: u64 = 64;
/// The least step, in bytes.
const STEP_MIN: u64 = 1 << 20;

/// How often a domain that is to stand still is looked at before that is given up, and the time between.
const LOOKS_MAX: u32 = 20;
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

/// What a domain is to have.
#[derive(Debug, PartialEq)]
pub(super) struct Target<'a> {
    domain: &'a DomainStatus,
    bytes: u64,
    step: u64,
}

impl Target<'_> {
    /// True where it has to change by a step or more.
    const fn is_to_change(&self) -> bool {
        self.domain.memory_bytes.abs_diff(self.bytes) >= self.step
    }

    const fn is_growth(&self) -> bool {
        self.bytes > self.domain.memory_bytes
    }
}

/// What each of the domains of an account that can take more than its own memory is to have, where the account has `memory`.
pub(super) fn targets<'a>(memory: Quantity, domains: &[&'a DomainStatus]) -> Vec<Target<'a>> {
    let takes = |domain: &&'a DomainStatus| {
        let room = room(domain);
        (room > 0 && matches!(domain.state, DomainState::Booting | DomainState::Running)).then_some((*domain, room))
    };
    let elastic: Vec<(&DomainStatus, u64)> = domains.iter().filter_map(takes).collect();
    let held = domains.iter().map(|domain| own(domain)).fold(0, u64::saturating_add);
    let spare = u128::from(memory.amount().saturating_sub(held));
    let rooms: u128 = elastic.iter().map(|(_, room)| u128::from(*room)).sum();
    let target = |(domain, room): (&'a DomainStatus, u64)| {
        let step = (room / STEPS).max(STEP_MIN).min(room);
        let part = u64::try_from(spare * u128::from(room) / rooms.max(1)).unwrap_or(u64::MAX).min(room);
        let part = if part == room { room } else { part - part % step };
        Target { domain, bytes: own(domain).saturating_add(part), step }
    };
    elastic.into_iter().map(target).collect()
}

/// A domain's own memory, in bytes.
fn own(domain: &DomainStatus) -> u64 {
    domain.spec.as_ref().map_or(domain.memory_bytes, |spec| spec.memory_bytes)
}

/// What a domain can have beyond its own memory, in bytes.
fn room(domain: &DomainStatus) -> u64 {
    let spec = domain.spec.as_ref();
    let most = spec.map_or(0, |spec| spec.memory_most_bytes());
    // One that runs as it was before a change takes what it can.
    let most = domain.memory_max_bytes.map_or(most, |can_have| most.min(can_have));
    most.saturating_sub(spec.map_or(0, |spec| spec.memory_bytes))
}

impl HostDaemon {
    /// Gives domains what they are to have, those that shrink first, and shuts down what keeps for too long what it was to
    /// give back. What the host has not free yet is given at one of the next ticks.
    pub(super) fn set_memories(&self, mut targets: Vec<Target<'_>>, overdue: &mut Overdue) {
        targets.retain(Target::is_to_change);
        overdue.retain(|name, _| targets.iter().any(|target| target.domain.name == *name && !target.is_growth()));
        targets.sort_by_key(Target::is_growth);
        let now = self.clock.now();
        let grace = self.lock().auctioneer.config().warning_grace;
        for target in &targets {
            let name = &target.domain.name;
            if !target.is_growth() && now.since(*overdue.entry(name.clone()).or_insert(now)) >= grace {
                overdue.remove(name);
                self.stop_hoarder(target);
                continue;
            }
            match self.hypervisor.set_memory(name, target.bytes, now) {
                Err(HypervisorError::Full { kind: ResourceKind::Memory, .. }) if target.is_growth() => {}
                set => self.note_fault("setting the memory of", name, set),
            }
        }
    }

    /// Starts a domain, which may have to wait until others have given back what they were given beyond their own. True where
    /// it did not run.
    pub(super) fn start_with_room(&self, name: &str) -> Result<bool, HypervisorError> {
        for _ in 0..LOOKS_MAX {
            let started = self.hypervisor.start(name, self.clock.now());
            let is_full = matches!(&started, Err(HypervisorError::Full { kind: ResourceKind::Memory, .. }));
            if !is_full || !self.is_memory_given()? {
                return started;
            }
            self.enforce();
            std::thread::sleep(BETWEEN_LOOKS);
        }
        self.hypervisor.start(name, self.clock.now())
    }

    /// True where any domain has more memory than its own.
    fn is_memory_given(&self) -> Result<bool, HypervisorError> {
        let domains = self.hypervisor.domains(self.clock.now())?;
        Ok(domains.iter().any(|domain| domain.state.is_active() && domain.memory_bytes > own(domain)))
    }

    /// Has a domain give back what it was given beyond its own memory, before it stands still and could not.
    ///
    /// # Errors
    /// [`HostError::Failed`] where it does not in some seconds.
    pub(super) fn take_back(&self, domain: &DomainStatus) -> Result<(), HostError> {
        let Some(spec) = domain.spec.as_ref().filter(|_| domain.state.is_active() && room(domain) > 0) else {
            return Ok(());
        };
        // A tick meanwhile must not give it more again.
        let _nobody_gives_it_more = alone(&self.enforcing);
        let doing = |error| session::failed("taking back memory from the domain", error);
        for _ in 0..LOOKS_MAX {
            let found = self.hypervisor.domain(&domain.name, self.clock.now()).map_err(doing)?;
            let has = found.filter(|found| found.state != DomainState::Paused).map_or(0, |found| found.memory_bytes);
            if has < spec.memory_bytes.saturating_add(STEP_MIN) {
                return Ok(());
            }
            self.hypervisor.set_memory(&domain.name, spec.memory_bytes, self.clock.now()).map_err(doing)?;
            std::thread::sleep(BETWEEN_LOOKS);
        }
        let reason = "it has not yet given back the memory beyond its own, which it could not do while it stands still; \
                      try again";
        Err(HostError::Failed { operation: format!("suspending `{}`", domain.name), reason: reason.into() })
    }

    fn stop_hoarder(&self, target: &Target<'_>) {
        let Some(own) = &target.domain.ownership else { return };
        let happening = Happening::Hoarded {
            domain: own.path.clone(),
            memory_bytes: target.domain.memory_bytes,
            given_bytes: target.bytes,
        };
        let owner = HostAccountId::new(own.account, own.pool.clone());
        let told = self.change(|state, now| {
            state.tell(&owner, now, happening.clone());
            Ok(())
        });
        self.note_failed("noting that a domain keeps memory", told);
        self.stop_all(&[target.domain]);
    }
}

#[cfg(test)]
mod tests {
    use tycoon_market::TimeSpan;

    use super::*;
    use crate::spec::{Boot, CloudInit, DomainSpec, KeepVolumes, RunRules};

    const MIB: u64 = 1 << 20;

    /// A running domain with `memory` to `most` MiB.
    fn domain(name: &str, state: DomainState, memory: u64, most: Option<u64>) -> DomainStatus {
        let spec = DomainSpec {
            path: name.parse().unwrap(),
            hostname: name.into(),
            vcpus: 1,
            memory_bytes: memory * MIB,
            image: "std:tiny".into(),
            boot: Boot::default(),
            volumes: Vec::new(),
            nics: Vec::new(),
            cloud_init: CloudInit::default(),
            keep_volumes: KeepVolumes::default(),
            save_image: None,
            rules: RunRules { memory_max_bytes: most.map(|most| most * MIB), ..RunRules::default() },
        };
        DomainStatus {
            name: name.into(),
            ownership: None,
            memory_bytes: spec.memory_bytes,
            spec: Some(spec),
            state,
            vcpus: 1,
            memory_max_bytes: None,
            volumes: Vec::new(),
            address: None,
            cpu_time: TimeSpan::ZERO,
            weight: 256,
            cap_percent: 0,
            adopted: Vec::new(),
            kept: None,
            restarts: None,
        }
    }

    fn given(memory: u64, domains: &[DomainStatus]) -> Vec<(String, u64)> {
        let all: Vec<&DomainStatus> = domains.iter().collect();
        let targets = targets(Quantity::from_bytes(memory * MIB), &all);
        targets.iter().map(|target| (target.domain.name.clone(), target.bytes / MIB)).collect()
    }

    fn named(list: &[(&str, u64)]) -> Vec<(String, u64)> {
        list.iter().map(|(name, mib)| ((*name).to_owned(), *mib)).collect()
    }

    #[test]
    fn what_is_bought_beyond_the_domains_own_is_divided_by_what_each_can_take() {
        use DomainState::Running;
        let three = [
            domain("a", Running, 100, Some(200)),
            domain("b", Running, 100, Some(400)),
            domain("c", Running, 100, None),
        ];
        assert_eq!(given(300, &three), named(&[("a", 100), ("b", 100)]), "nothing beyond");
        assert_eq!(given(460, &three), named(&[("a", 139), ("b", 217)]), "in whole steps of a 64th");
        assert_eq!(given(700, &three), named(&[("a", 200), ("b", 400)]), "all that they can take");
        assert_eq!(given(9_000, &three), named(&[("a", 200), ("b", 400)]), "and no more");
        assert_eq!(given(10, &three), named(&[("a", 100), ("b", 100)]), "never less than their own");
    }

    #[test]
    fn what_does_not_run_takes_nothing_and_keeps_its_own() {
        let two = [
            domain("a", DomainState::Running, 100, Some(200)),
            domain("b", DomainState::Stopped, 100, Some(400)),
            domain("c", DomainState::Paused, 100, Some(400)),
        ];
        assert_eq!(given(350, &two), named(&[("a", 150)]));
    }

    #[test]
    fn a_run_that_began_with_less_takes_no_more_than_it_can() {
        let mut one = domain("a", DomainState::Running, 100, Some(400));
        one.memory_max_bytes = Some(200 * MIB);
        assert_eq!(given(1_000, &[one]), named(&[("a", 200)]));
    }

    #[test]
    fn changes_below_a_step_are_none() {
        let one = domain("a", DomainState::Running, 100, Some(164));
        let target = |bytes| Target { domain: &one, bytes, step: MIB };
        assert!(!target(100 * MIB + 1000).is_to_change());
        assert!(target(101 * MIB).is_to_change() && target(101 * MIB).is_growth());
    }
}
