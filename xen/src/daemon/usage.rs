//! What the domains of each account use, measured from one look at the hypervisor to the next.

use std::collections::BTreeMap;

use tycoon_market::auctioneer::Usage;
use tycoon_market::{HostAccountId, Quantity, TimeSpan};

use super::state::State;
use crate::status::DomainStatus;

impl State {
    /// What each account used since the last look, and what it has now. Looking again begins anew.
    pub(super) fn measure(&mut self, domains: &[DomainStatus]) -> BTreeMap<HostAccountId, Usage> {
        let before = self.cpu_marks.take();
        let mut usage: BTreeMap<HostAccountId, Usage> = BTreeMap::new();
        let mut marks = BTreeMap::new();
        for domain in domains {
            let Some(own) = &domain.ownership else { continue };
            let used = usage.entry(HostAccountId::new(own.account, own.pool.clone())).or_default();
            let cpu = before.as_ref().map_or(TimeSpan::ZERO, |marks| used_since(marks.get(&domain.name), domain));
            used.cpu_time = TimeSpan::from_micros(used.cpu_time.micros().saturating_add(cpu.micros()));
            add_space(used, domain);
            marks.insert(domain.name.clone(), domain.cpu_time);
        }
        self.cpu_marks = Some(marks);
        usage
    }
}

/// What an account has of memory and disk.
pub(super) fn usage_of(id: &HostAccountId, domains: &[DomainStatus]) -> Usage {
    let mut used = Usage::default();
    let is_its = |domain: &&DomainStatus| {
        domain.ownership.as_ref().is_some_and(|own| (own.account, &own.pool) == (id.account, &id.pool))
    };
    domains.iter().filter(is_its).for_each(|domain| add_space(&mut used, domain));
    used
}

fn add_space(used: &mut Usage, domain: &DomainStatus) {
    used.memory = plus(used.memory, if domain.state.is_active() { domain.memory_bytes } else { 0 });
    used.disk = plus(used.disk, disk_bytes(domain));
}

/// The CPU time since `mark`. A domain without one is new, and one that has used less than then was made anew.
fn used_since(mark: Option<&TimeSpan>, domain: &DomainStatus) -> TimeSpan {
    match mark {
        Some(mark) if *mark <= domain.cpu_time => domain.cpu_time.saturating_sub(*mark),
        _ => domain.cpu_time,
    }
}

fn plus(quantity: Quantity, bytes: u64) -> Quantity {
    Quantity::from_bytes(quantity.amount().saturating_add(bytes))
}

/// The disk space of a domain's volumes.
pub(super) fn disk_bytes(domain: &DomainStatus) -> u64 {
    domain.volumes.iter().fold(0, |sum, (_, bytes)| sum.saturating_add(*bytes))
}
