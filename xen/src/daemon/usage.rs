//! What the domains of each account use, measured from one look at the hypervisor to the next.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tycoon_market::auctioneer::Usage;
use tycoon_market::{HostAccountId, Quantity, TimeSpan, Timestamp, UniqueId};

use super::addresses::fixed;
use super::state::State;
use crate::status::DomainStatus;

/// A look at the domains: what the market has to know of them to charge for the time until then.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Look {
    pub(super) at: Timestamp,
    /// After a downtime, how much of it is charged at most.
    pub(super) downtime_limit: Option<TimeSpan>,
    pub(super) domains: Vec<DomainLook>,
}

/// What is seen of a domain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DomainLook {
    /// The hypervisor's name for it.
    pub(super) name: String,
    /// Whose it is.
    pub(super) owner: HostAccountId,
    pub(super) is_active: bool,
    /// What it has of memory and disk that its account has to hold, in bytes.
    pub(super) memory: u64,
    pub(super) disk: u64,
    /// The CPU time it has used since it was made.
    pub(super) cpu_time: TimeSpan,
    /// The addresses that it is to have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) addresses: Vec<UniqueId>,
}

impl Look {
    /// What is seen of `domains`; of those that Tycoon did not make, nothing.
    pub(super) fn of(domains: &[DomainStatus], downtime_limit: Option<TimeSpan>, at: Timestamp) -> Self {
        Self { at, downtime_limit, domains: domains.iter().filter_map(DomainLook::of).collect() }
    }
}

impl DomainLook {
    /// Of kept volumes, which nobody pays for, nothing.
    fn of(domain: &DomainStatus) -> Option<Self> {
        let own = domain.ownership.as_ref().filter(|_| domain.kept.is_none())?;
        let is_active = domain.state.is_active();
        Some(Self {
            name: domain.name.clone(),
            owner: HostAccountId::new(own.account, own.pool.clone()),
            is_active,
            memory: if is_active { domain.held_memory_bytes() } else { 0 },
            disk: disk_bytes(domain),
            cpu_time: domain.cpu_time,
            addresses: domain.spec.iter().flat_map(fixed).collect(),
        })
    }

    /// The CPU time since `mark`. A domain without one is new, and one that has used less than then was made anew.
    fn used_since(&self, mark: Option<&TimeSpan>) -> TimeSpan {
        match mark {
            Some(mark) if *mark <= self.cpu_time => self.cpu_time.saturating_sub(*mark),
            _ => self.cpu_time,
        }
    }

    fn add_space_to(&self, used: &mut Usage) {
        used.memory = plus(used.memory, self.memory);
        used.disk = plus(used.disk, self.disk);
    }
}

impl State {
    /// What each account used since the last look, and what it has now. Looking again begins anew.
    pub(super) fn measure(&mut self, domains: &[DomainLook]) -> BTreeMap<HostAccountId, Usage> {
        let before = self.cpu_marks.take();
        let mut usage: BTreeMap<HostAccountId, Usage> = BTreeMap::new();
        let mut marks = BTreeMap::new();
        for domain in domains {
            let used = usage.entry(domain.owner.clone()).or_default();
            let cpu = before.as_ref().map_or(TimeSpan::ZERO, |marks| domain.used_since(marks.get(&domain.name)));
            used.cpu_time = TimeSpan::from_micros(used.cpu_time.micros().saturating_add(cpu.micros()));
            domain.add_space_to(used);
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
    domains.iter().filter(is_its).filter_map(DomainLook::of).for_each(|look| look.add_space_to(&mut used));
    used
}

fn plus(quantity: Quantity, bytes: u64) -> Quantity {
    Quantity::from_bytes(quantity.amount().saturating_add(bytes))
}

/// The disk space of what is kept for others than `id`, in bytes: it can be sold again when it is gone.
pub(super) fn kept_for_others(id: &HostAccountId, domains: &[DomainStatus]) -> u64 {
    let is_others = |domain: &&DomainStatus| {
        let own = domain.ownership.as_ref();
        domain.kept.is_some() && own.is_some_and(|own| (own.account, &own.pool) != (id.account, &id.pool))
    };
    domains.iter().filter(is_others).map(disk_bytes).fold(0, u64::saturating_add)
}

/// The disk space of a domain's volumes.
pub(super) fn disk_bytes(domain: &DomainStatus) -> u64 {
    domain.volumes.iter().fold(0, |sum, (_, bytes)| sum.saturating_add(*bytes))
}
