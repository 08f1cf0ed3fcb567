//! Makes the hypervisor do what the market says: weights, shutdowns, removals.

use std::collections::BTreeMap;

use tycoon_market::auctioneer::AccountState;
use tycoon_market::{HostAccountId, ResourceKind};

use super::{HostDaemon, alone};
use crate::hypervisor::HypervisorError;
use crate::status::DomainStatus;

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
    /// It has this part of all CPU.
    Share(f64),
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
        let _one_at_a_time = alone(&self.enforcing);
        let domains = match self.hypervisor.domains(self.clock.now()) {
            Ok(domains) => domains,
            Err(error) => return self.faults.note(self.clock.now(), "listing the domains", &error),
        };
        let mut by_account: BTreeMap<HostAccountId, Vec<&DomainStatus>> = BTreeMap::new();
        for domain in &domains {
            if let Some(own) = &domain.ownership {
                by_account.entry(HostAccountId::new(own.account, own.pool.clone())).or_default().push(domain);
            }
        }
        for (id, domains) in &by_account {
            match self.duty(id) {
                Duty::Remove => self.remove_all(domains),
                Duty::Stop => self.stop_all(domains),
                Duty::Share(share) => {
                    self.set_weights(share, domains);
                    self.stop_without_address(id, domains);
                }
                Duty::Nothing => {}
            }
        }
        self.note_removed(&by_account);
    }

    fn duty(&self, id: &HostAccountId) -> Duty {
        let state = self.lock();
        match state.auctioneer.state_of(id) {
            None if state.closed.contains_key(id) => Duty::Remove,
            Some(AccountState::Stopped { .. }) => Duty::Stop,
            Some(AccountState::Active | AccountState::Warned { .. }) => {
                let capacity = state.auctioneer.config().capacity_of(ResourceKind::Cpu).amount().max(1) as f64;
                Duty::Share(state.auctioneer.share_of(id, ResourceKind::Cpu).amount() as f64 / capacity)
            }
            None | Some(AccountState::Idle | AccountState::Waiting) => Duty::Nothing,
        }
    }

    fn remove_all(&self, domains: &[&DomainStatus]) {
        for domain in domains {
            let removed = self.hypervisor.remove(&domain.name, self.clock.now());
            self.note_fault("removing", &domain.name, removed);
        }
    }

    fn stop_all(&self, domains: &[&DomainStatus]) {
        for domain in domains.iter().filter(|domain| domain.state.is_active()) {
            let stopped = self.hypervisor.stop(&domain.name, SHUTDOWN_GRACE_MS, self.clock.now());
            self.note_fault("stopping", &domain.name, stopped);
        }
    }

    /// Shuts domains down that use an address which the account holds no more.
    fn stop_without_address(&self, id: &HostAccountId, domains: &[&DomainStatus]) {
        let lacks = |domain: &&&DomainStatus| {
            let spec = domain.spec.as_ref();
            spec.is_some_and(|spec| self.lock().address_not_held(id, spec).is_some())
        };
        let stopped: Vec<&DomainStatus> = domains.iter().filter(lacks).copied().collect();
        self.stop_all(&stopped);
    }

    fn set_weights(&self, share: f64, domains: &[&DomainStatus]) {
        let running = || domains.iter().filter(|domain| domain.state.is_active());
        let vcpus: u64 = running().map(|domain| u64::from(domain.vcpus)).sum();
        for domain in running() {
            let part = f64::from(domain.vcpus) / vcpus.max(1) as f64;
            let weight = (share * part * WEIGHT_OF_ALL).round().clamp(1.0, 65_535.0) as u16;
            if weight != domain.weight {
                let set = self.hypervisor.set_cpu(&domain.name, weight, domain.cap_percent, self.clock.now());
                self.note_fault("setting the CPU weight of", &domain.name, set);
            }
        }
    }

    fn note_fault<T>(&self, what: &str, domain: &str, outcome: Result<T, HypervisorError>) {
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
