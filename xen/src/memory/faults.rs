//! Faults on purpose: any hypervisor that fails where a seeded plan says so.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};
use tycoon_market::Timestamp;

use crate::hypervisor::{ConsoleStream, HostFacts, Hypervisor, HypervisorError};
use crate::save::VolumeStream;
use crate::spec::{DomainSpec, Ownership};
use crate::status::{DomainStatus, Kept};

/// The operations of a [`Hypervisor`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// [`Hypervisor::facts`].
    Facts,
    /// [`Hypervisor::domains`].
    Domains,
    /// [`Hypervisor::domain`].
    Domain,
    /// [`Hypervisor::ensure_image`].
    EnsureImage,
    /// [`Hypervisor::ensure_volumes`].
    EnsureVolumes,
    /// [`Hypervisor::define`].
    Define,
    /// [`Hypervisor::start`].
    Start,
    /// [`Hypervisor::stop`].
    Stop,
    /// [`Hypervisor::suspend`].
    Suspend,
    /// [`Hypervisor::remove`].
    Remove,
    /// [`Hypervisor::keep`].
    Keep,
    /// [`Hypervisor::set_cpu`].
    SetCpu,
    /// [`Hypervisor::set_memory`].
    SetMemory,
}

impl Operation {
    /// All operations.
    pub const ALL: [Self; 13] = [
        Self::Facts,
        Self::Domains,
        Self::Domain,
        Self::EnsureImage,
        Self::EnsureVolumes,
        Self::Define,
        Self::Start,
        Self::Stop,
        Self::Suspend,
        Self::Remove,
        Self::Keep,
        Self::SetCpu,
        Self::SetMemory,
    ];

    /// What is being done, for errors: `starting the domain`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Facts => "asking for the host's facts",
            Self::Domains => "listing the domains",
            Self::Domain => "looking at the domain",
            Self::EnsureImage => "fetching the image",
            Self::EnsureVolumes => "making volumes",
            Self::Define => "defining the domain",
            Self::Start => "starting the domain",
            Self::Stop => "stopping the domain",
            Self::Suspend => "suspending the domain",
            Self::Remove => "removing the domain",
            Self::Keep => "keeping volumes of the domain",
            Self::SetCpu => "setting the CPU weight",
            Self::SetMemory => "setting the memory",
        }
    }
}

/// How a call fails. The caller hears the same in both cases, as in life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing was done.
    Before,
    /// It was done, and an error reported all the same.
    After,
}

/// Which calls fail, and how. The first rule that says so decides.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FaultPlan {
    seed: u64,
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq)]
struct Rule {
    /// `None` for calls of any operation.
    operation: Option<Operation>,
    when: When,
    fault: Fault,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum When {
    /// The call with this number, from 1: among those of the rule's operation, or among all.
    Call(u64),
    /// With this probability in 2⁻³².
    Sometimes(u64),
}

impl FaultPlan {
    /// A plan without faults; `seed` decides those that are added with a probability.
    pub const fn seeded(seed: u64) -> Self {
        Self { seed, rules: Vec::new() }
    }

    /// The `number`th call of `operation` fails, counted from 1.
    pub fn at(mut self, operation: Operation, number: u64, fault: Fault) -> Self {
        self.rules.push(Rule { operation: Some(operation), when: When::Call(number), fault });
        self
    }

    /// The `number`th call of all fails, counted from 1: with every number in turn, every call of a run is tried.
    pub fn at_call(mut self, number: u64, fault: Fault) -> Self {
        self.rules.push(Rule { operation: None, when: When::Call(number), fault });
        self
    }

    /// Each call of `operation` fails with a probability from 0 to 1. Whether a call does follows from the seed, the
    /// operation and the number of the call alone, not from what happens in between.
    pub fn sometimes(mut self, operation: Operation, probability: f64, fault: Fault) -> Self {
        let threshold = (probability.clamp(0.0, 1.0) * (1_u64 << 32) as f64) as u64;
        self.rules.push(Rule { operation: Some(operation), when: When::Sometimes(threshold), fault });
        self
    }

    /// The fault of a call: the `number`th of its operation and the `total`th of all.
    fn fault(&self, operation: Operation, number: u64, total: u64) -> Option<Fault> {
        let strikes = |(index, rule): &(usize, &Rule)| match rule.when {
            When::Call(call) => match rule.operation {
                Some(wanted) => wanted == operation && call == number,
                None => call == total,
            },
            When::Sometimes(threshold) => {
                rule.operation == Some(operation) && u64::from(self.draw(*index, number)) < threshold
            }
        };
        self.rules.iter().enumerate().find(strikes).map(|(_, rule)| rule.fault)
    }

    fn draw(&self, rule: usize, number: u64) -> u32 {
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        random.set_stream(rule as u64);
        random.set_word_pos(u128::from(number));
        random.next_u32()
    }
}

/// A hypervisor that fails where its plan says so, and otherwise does what the one inside does.
pub struct Faulty<H> {
    inner: H,
    plan: FaultPlan,
    calls: Mutex<Vec<Operation>>,
}

impl<H: Hypervisor> Faulty<H> {
    /// Puts a plan of faults before a hypervisor.
    pub const fn new(inner: H, plan: FaultPlan) -> Self {
        Self { inner, plan, calls: Mutex::new(Vec::new()) }
    }

    /// The hypervisor inside, without faults.
    pub const fn inner(&self) -> &H {
        &self.inner
    }

    /// The calls so far, in order, with those that failed.
    pub fn calls(&self) -> Vec<Operation> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn call<T>(
        &self,
        operation: Operation,
        act: impl FnOnce(&H) -> Result<T, HypervisorError>,
    ) -> Result<T, HypervisorError> {
        let (number, total) = {
            let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
            calls.push(operation);
            (calls.iter().filter(|call| **call == operation).count() as u64, calls.len() as u64)
        };
        let failed = || HypervisorError::Failed {
            operation: operation.word().into(),
            reason: format!("a fault was planned for call {number} of it"),
        };
        match self.plan.fault(operation, number, total) {
            None => act(&self.inner),
            Some(Fault::Before) => Err(failed()),
            // What it says itself, success or refusal, is lost, as when the connection breaks before the answer.
            Some(Fault::After) => act(&self.inner).and_then(|_| Err(failed())).map_err(|_| failed()),
        }
    }
}

impl<H> fmt::Debug for Faulty<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faulty").field("plan", &self.plan).finish_non_exhaustive()
    }
}

impl<H: Hypervisor> Hypervisor for Faulty<H> {
    fn facts(&self) -> Result<HostFacts, HypervisorError> {
        self.call(Operation::Facts, H::facts)
    }

    fn domains(&self, now: Timestamp) -> Result<Vec<DomainStatus>, HypervisorError> {
        self.call(Operation::Domains, |host| host.domains(now))
    }

    fn domain(&self, name: &str, now: Timestamp) -> Result<Option<DomainStatus>, HypervisorError> {
        self.call(Operation::Domain, |host| host.domain(name, now))
    }

    fn ensure_image(&self, image: &str) -> Result<bool, HypervisorError> {
        self.call(Operation::EnsureImage, |host| host.ensure_image(image))
    }

    fn ensure_volumes(&self, spec: &DomainSpec, ownership: &Ownership) -> Result<bool, HypervisorError> {
        self.call(Operation::EnsureVolumes, |host| host.ensure_volumes(spec, ownership))
    }

    fn open_console(&self, name: &str) -> Result<ConsoleStream, HypervisorError> {
        self.inner.open_console(name)
    }

    fn open_volume(&self, name: &str, volume: &str) -> Result<VolumeStream, HypervisorError> {
        self.inner.open_volume(name, volume)
    }

    fn keep_as_image(&self, name: &str, volume: &str, image: &str) -> Result<bool, HypervisorError> {
        self.inner.keep_as_image(name, volume, image)
    }

    fn define(&self, spec: &DomainSpec, ownership: &Ownership, now: Timestamp) -> Result<bool, HypervisorError> {
        self.call(Operation::Define, |host| host.define(spec, ownership, now))
    }

    fn start(&self, name: &str, now: Timestamp) -> Result<bool, HypervisorError> {
        self.call(Operation::Start, |host| host.start(name, now))
    }

    fn stop(&self, name: &str, grace_ms: u64, now: Timestamp) -> Result<bool, HypervisorError> {
        self.call(Operation::Stop, |host| host.stop(name, grace_ms, now))
    }

    fn suspend(&self, name: &str, now: Timestamp) -> Result<bool, HypervisorError> {
        self.call(Operation::Suspend, |host| host.suspend(name, now))
    }

    fn remove(&self, name: &str, now: Timestamp) -> Result<bool, HypervisorError> {
        self.call(Operation::Remove, |host| host.remove(name, now))
    }

    fn keep(&self, name: &str, kept: &Kept, now: Timestamp) -> Result<bool, HypervisorError> {
        self.call(Operation::Keep, |host| host.keep(name, kept, now))
    }

    fn listens(&self, name: &str, port: u16, now: Timestamp) -> Result<bool, HypervisorError> {
        self.inner.listens(name, port, now)
    }

    fn set_cpu(&self, name: &str, weight: u16, cap_percent: u32, now: Timestamp) -> Result<(), HypervisorError> {
        self.call(Operation::SetCpu, |host| host.set_cpu(name, weight, cap_percent, now))
    }

    fn set_memory(&self, name: &str, memory_bytes: u64, now: Timestamp) -> Result<(), HypervisorError> {
        self.call(Operation::SetMemory, |host| host.set_memory(name, memory_bytes, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_calls_fail_exactly_once() {
        let plan = FaultPlan::seeded(0).at(Operation::Start, 2, Fault::After).at_call(5, Fault::Before);
        assert_eq!(plan.fault(Operation::Start, 1, 1), None);
        assert_eq!(plan.fault(Operation::Start, 2, 2), Some(Fault::After));
        assert_eq!(plan.fault(Operation::Stop, 2, 3), None);
        assert_eq!(plan.fault(Operation::Stop, 3, 5), Some(Fault::Before));
    }

    #[test]
    fn probabilities_hold_and_follow_from_the_seed() {
        let struck = |seed, probability| {
            let plan = FaultPlan::seeded(seed).sometimes(Operation::Define, probability, Fault::Before);
            (1..=2000).filter(|&number| plan.fault(Operation::Define, number, number).is_some()).collect::<Vec<_>>()
        };
        assert_eq!(struck(1, 0.0).len(), 0);
        assert_eq!(struck(1, 1.0).len(), 2000);
        assert_eq!(struck(1, 0.25), struck(1, 0.25));
        assert_ne!(struck(1, 0.25), struck(2, 0.25));
        assert!((400..=600).contains(&struck(1, 0.25).len()));
    }
}
