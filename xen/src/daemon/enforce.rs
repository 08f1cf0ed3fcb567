//! Makes the hypervisor do what the market says: weights, memory, shutdowns, removals.

use std::collections::BTreeMap;

use tycoon_market::auctioneer::AccountState;
use tycoon_market::{HostAccountId, Quantity, ResourceKind};

use super::elastic::{self, Target};
use super::{HostDaemon, alone};
use crate::hypervisor::HypervisorError;
use crate::status::{DomainState, DomainStatus};

/// The scheduler weight of all CPU of a host; an account's share of it is divided among its domains.
const WEIGHT_OF_ALL: f64 = 60_000.0;
/// How long a domain may take to shut down when its account is out of money, in milliseconds.
const SHUTDOWN_GRACE_MS: u64 = 60_000;

/// What is to be done with the domains of an account.
enum Duty {
    /// Its account was closed: they go.
    Remove,
    /// It does not pay any more: they are shut down, and keep their disks.
    Stop,
    /// It has so much CPU of so much, and so much memory.
    Share { cpu: Quantity, of: Quantity, memory: Quantity },
    /// Nothing. Either it has no right to run anything, or this memory has never heard of it: then it was lost or
    /// replaced, and nothing is known against the domains.
    Nothing,
}

impl HostDaemon {
    /// Compares every domain with what its account may have, and acts where they differ. What the hypervisor refuses is
    /// noted, and tried again at the next tick.
    ///
    /// The state is not locked while the hypervisor works: calls are answered meanwhile. What is to be done is looked up
    /// anew for each account.
    pub(super) fn enforce(&self) {
        let mut overdue = alone(&self.enforcing);
        let looked_at = self.clock.now();
        let domains = match self.hypervisor.domains(looked_at) {
            Ok(domains) => domains,
            Err(error) => return self.faults.note(self.clock.now(), "listing the domains", &error),
        };
        self.remove_overdue(&domains);
        let mut by_account: BTreeMap<HostAccountId, Vec<&DomainStatus>> = BTreeMap::new();
        for domain in &domains {
            if let Some(own) = domain.ownership.as_ref().filter(|_| domain.kept.is_none()) {
                by_account.entry(HostAccountId::new(own.account, own.pool.clone())).or_default().push(domain);
            }
        }
        let (mut running, mut memories): (Vec<&DomainStatus>, Vec<Target<'_>>) = Default::default();
        for (id, domains) in &by_account {
            match self.duty(id) {
                Duty::Remove => self.remove_all(domains),
                Duty::Stop => self.stop_all(domains),
                Duty::Share { cpu, of, memory } => {
                    running.extend(domains.iter().copied());
                    self.set_weights(cpu, of, domains);
                    self.stop_without_address(id, domains);
                    memories.extend(elastic::targets(memory, domains));
                }
                Duty::Nothing => {}
            }
        }
        self.set_memories(memories, &mut overdue);
        self.note_removed(&by_account);
        self.keep(&domains, &running, looked_at);
    }

    fn duty(&self, id: &HostAccountId) -> Duty {
        let state = self.lock();
        match state.auctioneer.state_of(id) {
            None if state.closed.contains_key(id) => Duty::Remove,
            Some(AccountState::Stopped { .. }) => Duty::Stop,
            Some(AccountState::Active | AccountState::Warned { .. }) => {
                let of = state.auctioneer.config().capacity_of(ResourceKind::Cpu);
                let share = |kind| state.auctioneer.share_of(id, kind);
                Duty::Share { cpu: share(ResourceKind::Cpu), of, memory: share(ResourceKind::Memory) }
            }
            None | Some(AccountState::Idle | AccountState::Waiting) => Duty::Nothing,
        }
    }

    /// Removes domains; what their descriptions keep of their volumes stays for its grace.
    fn remove_all(&self, domains: &[&DomainStatus]) {
        for domain in domains {
            let removed = self.end(domain, &domain.stays_at_end());
            self.note_fault("removing", &domain.name, removed);
        }
    }

    /// Removes kept volumes whose time is over. True where there were any.
    pub(super) fn remove_overdue(&self, domains: &[DomainStatus]) -> bool {
        let now = self.clock.now();
        let is_overdue = |domain: &&DomainStatus| domain.kept.as_ref().is_some_and(|kept| kept.until <= now);
        let overdue: Vec<&DomainStatus> = domains.iter().filter(is_overdue).collect();
        for domain in &overdue {
            let removed = self.hypervisor.remove(&domain.name, now);
            self.note_fault("removing the kept volumes of", &domain.name, removed);
        }
        !overdue.is_empty()
    }

    pub(super) fn stop_all(&self, domains: &[&DomainStatus]) {
        for domain in domains {
            self.note_stopped(&domain.name);
            if !domain.state.is_active() {
                continue;
            }
            let stopped = self.hypervisor.stop(&domain.name, SHUTDOWN_GRACE_MS, self.clock.now());
            self.note_fault("stopping", &domain.name, stopped);
        }
    }

    /// Shuts domains down that use an address or a port which the account holds no more.
    fn stop_without_address(&self, id: &HostAccountId, domains: &[&DomainStatus]) {
        let lacks = |domain: &&&DomainStatus| {
            let spec = domain.spec.as_ref();
            spec.is_some_and(|spec| self.lock().unique_not_held(id, spec).is_some())
        };
        let stopped: Vec<&DomainStatus> = domains.iter().filter(lacks).copied().collect();
        self.stop_all(&stopped);
    }

    /// Divides the share of an account, `cpu` of `of`, among its running domains by their virtual CPUs. Those that are not to
    /// burst have a cap besides, in whole percent of a CPU, and at least one.
    fn set_weights(&self, cpu: Quantity, of: Quantity, domains: &[&DomainStatus]) {
        let uses_cpu = |domain: &&&DomainStatus| domain.state.is_active() && domain.state != DomainState::Paused;
        let running = || domains.iter().filter(uses_cpu);
        let vcpus: u64 = running().map(|domain| u64::from(domain.vcpus)).sum();
        for domain in running() {
            let part = f64::from(domain.vcpus) / vcpus.max(1) as f64;
            let share = cpu.amount() as f64 / of.amount().max(1) as f64;
            let weight = (share * part * WEIGHT_OF_ALL).round().clamp(1.0, 65_535.0) as u16;
            let is_capped = domain.spec.as_ref().is_some_and(|spec| spec.rules.is_capped);
            let cap = if is_capped { cap_percent(cpu, domain.vcpus, vcpus) } else { 0 };
            if (weight, cap) != (domain.weight, domain.cap_percent) {
                let set = self.hypervisor.set_cpu(&domain.name, weight, cap, self.clock.now());
                self.note_fault("setting the CPU weight of", &domain.name, set);
            }
        }
    }

    pub(super) fn note_fault<T>(&self, what: &str, domain: &str, outcome: Result<T, HypervisorError>) {
        if let Err(error) = outcome {
            self.faults.note(self.clock.now(), &format!("{what} {domain}"), &error);
        }
    }

    /// Notes of which closed accounts nothing was found. It is not saved by itself: where it is lost it is seen again.
    fn note_removed(&self, found: &BTreeMap<HostAccountId, Vec<&DomainStatus>>) {
        let mut state = self.lock();
        let is_news =
            |(id, notes): (&HostAccountId, &super::state::ClosedNotes)| notes.is_removed == found.contains_key(id);
        if state.closed.iter().any(is_news) {
            self.store.leave_behind();
            for (id, notes) in state.closed.iter_mut() {
                notes.is_removed = !found.contains_key(id);
            }
        }
    }
}

/// The cap of a domain with `vcpus` of the `all` virtual CPUs among which `cpu` is divided, in whole percent of one CPU.
fn cap_percent(cpu: Quantity, vcpus: u32, all: u64) -> u32 {
    let part = u128::from(cpu.amount()) * u128::from(vcpus) * 100 / u128::from(all.max(1));
    u32::try_from(part / u128::from(Quantity::from_cpus(1).amount())).unwrap_or(u32::MAX).max(1)
}
