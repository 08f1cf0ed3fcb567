//! Makes the hypervisor do what the market says: weights, shutdowns, removals.

use std::collections::BTreeMap;

use tycoon_market::auctioneer::AccountState;
use tycoon_market::{HostAccountId, ResourceKind};

use super::HostDaemon;
use super::state::State;
use crate::status::DomainStatus;

/// The scheduler weight of all CPU of a host; an account's share of it is divided among its domains.
const WEIGHT_OF_ALL: f64 = 60_000.0;
/// How long a domain may take to shut down when its account is out of money, in milliseconds.
const SHUTDOWN_GRACE_MS: u64 = 60_000;

impl HostDaemon {
    /// Compares every domain with what its account may have, and acts where they differ. What the hypervisor
    /// refuses is tried again at the next tick.
    pub(super) fn enforce(&self, state: &mut State) {
        let now = self.clock.now();
        let Ok(domains) = self.hypervisor.domains(now) else { return };
        let mut by_account: BTreeMap<HostAccountId, Vec<&DomainStatus>> = BTreeMap::new();
        for domain in &domains {
            if let Some(own) = &domain.ownership {
                by_account.entry(HostAccountId::new(own.account, own.pool.clone())).or_default().push(domain);
            }
        }
        for (id, domains) in &by_account {
            match state.auctioneer.account(id).map(|view| view.state) {
                None if state.closed.contains_key(id) => self.remove_all(domains),
                // Domains of an account that this daemon has never heard of: its state was lost or replaced. Nothing
                // is known against them, so that nothing is done to them.
                None => {}
                Some(AccountState::Stopped { .. }) => self.stop_all(domains),
                Some(AccountState::Active | AccountState::Warned { .. }) => self.set_weights(state, id, domains),
                Some(AccountState::Idle | AccountState::Waiting) => {}
            }
        }
    }

    fn remove_all(&self, domains: &[&DomainStatus]) {
        for domain in domains {
            // Tried again at the next tick where it fails.
            let _ = self.hypervisor.remove(&domain.name, self.clock.now());
        }
    }

    fn stop_all(&self, domains: &[&DomainStatus]) {
        for domain in domains.iter().filter(|domain| domain.state.is_active()) {
            let _ = self.hypervisor.stop(&domain.name, SHUTDOWN_GRACE_MS, self.clock.now());
        }
    }

    fn set_weights(&self, state: &State, id: &HostAccountId, domains: &[&DomainStatus]) {
        let capacity = state.auctioneer.config().capacity_of(ResourceKind::Cpu).amount().max(1) as f64;
        let share = super::market::reserved(state, id, ResourceKind::Cpu).amount() as f64 / capacity;
        let running = || domains.iter().filter(|domain| domain.state.is_active());
        let vcpus: u32 = running().map(|domain| domain.vcpus).sum();
        for domain in running() {
            let part = f64::from(domain.vcpus) / f64::from(vcpus.max(1));
            let weight = (share * part * WEIGHT_OF_ALL).round().clamp(1.0, 65_535.0) as u16;
            if weight != domain.weight {
                let _ = self.hypervisor.set_cpu(&domain.name, weight, domain.cap_percent, self.clock.now());
            }
        }
    }
}
