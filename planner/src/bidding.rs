//! What to bid on each host: reservations at the price they take, and the rest by best response on CPU.
//!
//! A pool without a `bid` of its own asks for these minima: its memory, its disk, and a tenth of a CPU per
//! virtual CPU. Of CPU it wants at most its virtual CPUs, and of memory, where domains can take more than they need,
//! at most that. All rates here are floats in pico-credits per second;
//! they become integer money only in the plan.

use std::collections::BTreeMap;

use tycoon_market::best_response::{HostOffer, Problem, solve};
use tycoon_market::{Quantity, ResourceKind};

use crate::world::Offer;

/// The least CPU that a domain is content with, in micro-CPUs for each virtual CPU.
const LEAST_CPU_PER_VCPU: u64 = 100_000;
/// How much more than its price is bid for a reservation. A minimum costs price × amount however much is bid; who bids
/// more than that is displaced later when others want the same, and does not run dry when the price rises.
const RESERVATION_MARGIN: f64 = 1.25;
/// How much more than the computed rate is bid where that is less, so that rounding never leaves it short.
const ROUNDING_MARGIN: f64 = 1.01;
/// Nobody can buy all of a resource: the price of the last part has no bound. This much can be planned.
const LARGEST_SHARE: f64 = 0.95;
/// How many CPUs a GiB of memory is worth where an owner's prices do not say.
const CPUS_FOR_A_GIB: f64 = 0.25;
/// A rate that is never zero: where nothing has a price, something is bid all the same.
const LEAST_RATE: f64 = 1.0;

/// What the domains of a pool need of one host, all together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Need {
    /// How many domains they are.
    pub domains: u32,
    /// Their virtual CPUs.
    pub vcpus: u64,
    /// The memory in bytes that they have at any rate.
    pub memory_bytes: u64,
    /// The memory in bytes that they can use at most, beyond that.
    pub elastic_bytes: u64,
    /// Their disks in bytes.
    pub disk_bytes: u64,
}

impl Need {
    /// The need of both.
    pub fn plus(self, other: Self) -> Self {
        Self {
            domains: self.domains.saturating_add(other.domains),
            vcpus: self.vcpus.saturating_add(other.vcpus),
            memory_bytes: self.memory_bytes.saturating_add(other.memory_bytes),
            elastic_bytes: self.elastic_bytes.saturating_add(other.elastic_bytes),
            disk_bytes: self.disk_bytes.saturating_add(other.disk_bytes),
        }
    }

    /// What is left of the need without `other`.
    pub fn minus(self, other: Self) -> Self {
        Self {
            domains: self.domains.saturating_sub(other.domains),
            vcpus: self.vcpus.saturating_sub(other.vcpus),
            memory_bytes: self.memory_bytes.saturating_sub(other.memory_bytes),
            elastic_bytes: self.elastic_bytes.saturating_sub(other.elastic_bytes),
            disk_bytes: self.disk_bytes.saturating_sub(other.disk_bytes),
        }
    }

    /// The larger of both, resource by resource.
    pub fn max(self, other: Self) -> Self {
        Self {
            domains: self.domains.max(other.domains),
            vcpus: self.vcpus.max(other.vcpus),
            memory_bytes: self.memory_bytes.max(other.memory_bytes),
            elastic_bytes: self.elastic_bytes.max(other.elastic_bytes),
            disk_bytes: self.disk_bytes.max(other.disk_bytes),
        }
    }

    /// The least that has to be held of each resource.
    pub fn minima(&self) -> BTreeMap<ResourceKind, Quantity> {
        BTreeMap::from([
            (ResourceKind::Cpu, Quantity::new(least_cpu(self))),
            (ResourceKind::Memory, Quantity::from_bytes(self.memory_bytes)),
            (ResourceKind::Disk, Quantity::from_bytes(self.disk_bytes)),
        ])
    }

    /// The most memory that is of use.
    fn memory_most(&self) -> Quantity {
        Quantity::from_bytes(self.memory_bytes.saturating_add(self.elastic_bytes))
    }

    /// The most that is of use of each resource.
    pub fn maxima(&self) -> BTreeMap<ResourceKind, Quantity> {
        BTreeMap::from([
            (ResourceKind::Cpu, Quantity::from_cpus(self.vcpus)),
            (ResourceKind::Memory, self.memory_most()),
            (ResourceKind::Disk, Quantity::from_bytes(self.disk_bytes)),
        ])
    }
}

/// The rates to bid on one host, in pico-credits per second, and what they are expected to bring.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HostRates {
    /// By resource.
    pub rates: BTreeMap<ResourceKind, f64>,
    /// What of each resource that brings while everybody is busy.
    pub expected: BTreeMap<ResourceKind, Quantity>,
}

impl HostRates {
    /// All resources together.
    pub fn total(&self) -> f64 {
        self.rates.values().sum()
    }
}

/// The budget does not reach for the least that the pool is content with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TooLittle {
    /// The rate that would do, in pico-credits per second.
    pub needed: f64,
}

/// The rate that holds `amount` of a resource at today's bids, in pico-credits per second; `None` where no money
/// buys that much. From share = b / (p·R + Σb): b = share·(p·R + others) / (1 − share).
pub fn rate_for(kind: ResourceKind, offer: &Offer, amount: Quantity) -> Option<f64> {
    let share = amount.amount() as f64 / offer.capacity.amount() as f64;
    if !share.is_finite() || share > LARGEST_SHARE {
        return None;
    }
    Some((share * price_of_all(kind, offer) / (1.0 - share)).max(LEAST_RATE))
}

/// The rate that is bid to reserve `amount` of memory or disk, in pico-credits per second; `None` where the host has
/// less in all. The price of the reservation and a margin, and no more than what would hold it as a share.
fn reservation_rate(kind: ResourceKind, offer: &Offer, amount: Quantity) -> Option<f64> {
    let share = amount.amount() as f64 / offer.capacity.amount() as f64;
    if !share.is_finite() || share > 1.0 {
        return None;
    }
    let priced = share * price_of_all(kind, offer) * RESERVATION_MARGIN;
    let held = rate_for(kind, offer, amount).map_or(f64::INFINITY, |rate| rate * ROUNDING_MARGIN);
    Some(priced.min(held).max(LEAST_RATE))
}

/// What is bid for something whose price is `price`, both in pico-credits per second.
pub fn with_margin(price: f64) -> f64 {
    (price * RESERVATION_MARGIN).max(LEAST_RATE)
}

/// True where a host could give `amount` of a resource to one pool, were it free.
pub fn can_hold(kind: ResourceKind, offer: &Offer, amount: Quantity) -> bool {
    if kind.is_reserved() { amount <= offer.capacity } else { rate_for(kind, offer, amount).is_some() }
}

/// The base price of the whole resource and all others' bids, in pico-credits per second.
fn price_of_all(kind: ResourceKind, offer: &Offer) -> f64 {
    let units = offer.capacity.amount() as f64 / kind.price_unit().amount() as f64;
    offer.base_price.picos_per_second() as f64 * units + offer.others.picos_per_second() as f64
}

/// What of its wishes a host is compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    /// All the CPU that the domains can use.
    Full,
    /// The least CPU that they are content with: for a budget that reaches no further.
    Least,
}

/// What the need would cost on a host, in pico-credits per second; `None` where the host cannot give it. Used to
/// compare hosts.
///
/// The cost rises faster and faster with the share s that is wanted, also beyond what can be bought: there the price of
/// the next part is the last one that can be paid, times (s / largest share)². So equal domains are the cheapest where
/// they are spread evenly, however many they are.
pub fn cost_rate(offers: &BTreeMap<ResourceKind, Offer>, need: &Need, aim: Aim) -> Option<f64> {
    let cpu_offer = offers.get(&ResourceKind::Cpu)?;
    let cpu = match aim {
        Aim::Least => rate_for(ResourceKind::Cpu, cpu_offer, Quantity::new(least_cpu(need)))?,
        Aim::Full => rising_cost(ResourceKind::Cpu, cpu_offer, need.vcpus as f64 * 1e6),
    };
    let mut reserved = reservation_rates(offers, need)?;
    if let (Aim::Full, Some(memory)) = (aim, offers.get(&ResourceKind::Memory))
        && need.elastic_bytes > 0
    {
        let all = rising_cost(ResourceKind::Memory, memory, need.memory_most().amount() as f64);
        reserved.entry(ResourceKind::Memory).and_modify(|least| *least = least.max(all));
    }
    Some(cpu + reserved.values().sum::<f64>())
}

/// The rate that brings `amount` of a resource, and beyond what can be bought one that rises on, in pico-credits per second.
fn rising_cost(kind: ResourceKind, offer: &Offer, amount: f64) -> f64 {
    let share = amount / offer.capacity.amount().max(1) as f64;
    let can_be_bought = share.min(LARGEST_SHARE);
    let price = price_of_all(kind, offer).max(LEAST_RATE);
    let last_price = price / (1.0 - LARGEST_SHARE).powi(2);
    let beyond = last_price * LARGEST_SHARE / 3.0 * ((share.max(LARGEST_SHARE) / LARGEST_SHARE).powi(3) - 1.0);
    can_be_bought * price / (1.0 - can_be_bought) + beyond
}

/// True where the need could use more CPU than one pool can buy on the host.
pub fn is_crowded(offers: &BTreeMap<ResourceKind, Offer>, need: &Need) -> bool {
    let capacity = offers.get(&ResourceKind::Cpu).map_or(0, |cpu| cpu.capacity.amount());
    need.vcpus as f64 * 1e6 > capacity as f64 * LARGEST_SHARE
}

/// The least CPU of a need in micro-CPUs.
const fn least_cpu(need: &Need) -> u64 {
    need.vcpus.saturating_mul(LEAST_CPU_PER_VCPU)
}

/// The rates that hold the need's memory and disk.
fn reservation_rates(offers: &BTreeMap<ResourceKind, Offer>, need: &Need) -> Option<BTreeMap<ResourceKind, f64>> {
    let minima = need.minima();
    [ResourceKind::Memory, ResourceKind::Disk]
        .into_iter()
        .map(|kind| Some((kind, reservation_rate(kind, offers.get(&kind)?, *minima.get(&kind)?)?)))
        .collect()
}

/// The memory of one host that domains can take beyond what they need.
struct Elastic {
    /// Which of the hosts.
    host: usize,
    /// The least and the most that is of use, in bytes.
    least: Quantity,
    most: Quantity,
}

impl Elastic {
    /// What a share of the host's memory is, as far as it is of use.
    fn bought(&self, hosts: &[(&BTreeMap<ResourceKind, Offer>, Need)], share: f64) -> Quantity {
        let capacity = hosts[self.host].0.get(&ResourceKind::Memory).map_or(0, |memory| memory.capacity.amount());
        Quantity::new((capacity as f64 * share).round() as u64).min(self.most)
    }

    /// The rate that reserves the least.
    fn reserved(&self, rates: &[BTreeMap<ResourceKind, f64>]) -> f64 {
        rates[self.host].get(&ResourceKind::Memory).copied().unwrap_or_default()
    }
}

/// All of a host's memory in micro-CPUs, by what its owner asks for both: who could spend the same on either is as glad of either.
fn memory_in_micro_cpus(memory: &Offer, cpu: &Offer) -> f64 {
    let units = memory.capacity.amount() as f64 / ResourceKind::Memory.price_unit().amount() as f64;
    let (of_memory, of_cpu) = (memory.base_price.picos_per_second() as f64, cpu.base_price.picos_per_second() as f64);
    let for_one = if of_memory > 0.0 && of_cpu > 0.0 { of_memory / of_cpu } else { CPUS_FOR_A_GIB };
    units * for_one * 1e6
}

/// The bids for several hosts out of one budget of `budget` pico-credits per second.
///
/// Memory and disk are reserved first, at the rate they take. What is left goes to CPU by best response: the split
/// that brings the most CPU in all, with at least a tenth of a CPU and at most one CPU for each virtual CPU. Memory
/// that domains can take beyond what they need competes with it, at its worth in CPUs by the prices of the host's owner.
/// Money that no bid has a use for stays unspent.
///
/// # Errors
/// [`TooLittle`] where the reservations and the CPU minima cost more than the budget. Hosts that cannot give what
/// is needed at any price must have been left out before; they count as needing an unbounded budget.
pub fn bid(hosts: &[(&BTreeMap<ResourceKind, Offer>, Need)], budget: f64) -> Result<Vec<HostRates>, TooLittle> {
    let unbounded = TooLittle { needed: f64::INFINITY };
    let mut all_rates = Vec::with_capacity(hosts.len());
    let mut problem = Vec::with_capacity(hosts.len());
    let (mut reserved, mut minima) = (0.0, 0.0);
    for (offers, need) in hosts {
        let rates = reservation_rates(offers, need).ok_or(unbounded)?;
        reserved += rates.values().sum::<f64>();
        all_rates.push(rates);
        let cpu = offers.get(&ResourceKind::Cpu).ok_or(unbounded)?;
        let capacity = cpu.capacity.amount() as f64;
        let least = Quantity::new(least_cpu(need));
        minima += rate_for(ResourceKind::Cpu, cpu, least).ok_or(unbounded)?;
        // The worth of all of a host's CPU is its number of CPUs: utility counts CPUs.
        problem.push(HostOffer {
            min_share: Some(least.amount() as f64 / capacity),
            ..part_of(ResourceKind::Cpu, cpu, capacity, need.vcpus as f64 * 1e6)
        });
    }
    if reserved + minima > budget {
        return Err(TooLittle { needed: reserved + minima });
    }
    let mut elastic = Vec::new();
    for (host, (offers, need)) in hosts.iter().enumerate().filter(|(_, (_, need))| need.elastic_bytes > 0) {
        let (Some(memory), Some(cpu)) = (offers.get(&ResourceKind::Memory), offers.get(&ResourceKind::Cpu)) else {
            continue;
        };
        let most = need.memory_most();
        // With a little more than is of use, so that rounded rates do not buy a little less.
        let a_little_more = most.amount() as f64 * (1.0 + 1e-4);
        problem.push(part_of(ResourceKind::Memory, memory, memory_in_micro_cpus(memory, cpu), a_little_more));
        elastic.push(Elastic { host, least: Quantity::from_bytes(need.memory_bytes), most });
    }
    let short = TooLittle { needed: reserved + minima * ROUNDING_MARGIN };
    let mut problem = Problem { budget: budget - reserved, hosts: problem };
    let first = solve(&problem).map_err(|_| short)?;
    // Where a share is bought that covers the reservation, the reservation's money is free: with it, shares only grow.
    let of_memory = first.bids.iter().zip(&first.shares).skip(hosts.len());
    let freed: f64 = elastic
        .iter()
        .zip(of_memory)
        .filter(|(part, (rate, share))| part.bought(hosts, **share) > part.least && **rate > part.reserved(&all_rates))
        .map(|(part, _)| part.reserved(&all_rates))
        .sum();
    problem.budget += freed;
    let solution = if freed > 0.0 { solve(&problem).map_err(|_| short)? } else { first };
    let parts: Vec<(f64, f64)> = solution.bids.iter().copied().zip(solution.shares.iter().copied()).collect();
    let (of_cpu, of_memory) = parts.split_at(hosts.len().min(parts.len()));
    let bids = hosts.iter().zip(all_rates).zip(of_cpu);
    let mut bids: Vec<HostRates> = bids
        .map(|(((offers, need), mut rates), (cpu_rate, cpu_share))| {
            let capacity = offers.get(&ResourceKind::Cpu).map_or(0, |cpu| cpu.capacity.amount());
            let expected_cpu = Quantity::new((capacity as f64 * cpu_share).round() as u64);
            rates.insert(ResourceKind::Cpu, cpu_rate.max(LEAST_RATE));
            let mut expected = need.minima();
            expected.insert(ResourceKind::Cpu, expected_cpu.min(Quantity::from_cpus(need.vcpus)));
            HostRates { rates, expected }
        })
        .collect();
    for (part, (rate, share)) in elastic.into_iter().zip(of_memory) {
        let bought = part.bought(hosts, *share);
        // A share below what is reserved brings nothing.
        if bought > part.least {
            let HostRates { rates, expected } = &mut bids[part.host];
            rates.entry(ResourceKind::Memory).and_modify(|reserved| *reserved = reserved.max(*rate));
            expected.insert(ResourceKind::Memory, bought);
        }
    }
    Ok(bids)
}

/// A host's offer of a resource whose whole is worth `worth`, of which no more than `most` is of use.
fn part_of(kind: ResourceKind, offer: &Offer, worth: f64, most: f64) -> HostOffer {
    let others = offer.others.picos_per_second() as f64;
    HostOffer {
        weight: worth,
        others,
        base_price: (price_of_all(kind, offer) - others).max(LEAST_RATE),
        min_share: None,
        max_share: Some((most / offer.capacity.amount() as f64).min(LARGEST_SHARE)),
    }
}
