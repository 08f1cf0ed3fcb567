//! Which hosts a domain can be on at all, and why not on the others.

use std::collections::BTreeMap;

use tycoon_lang::pool;
use tycoon_market::{Quantity, ResourceKind};
use tycoon_xen::spec::DomainSpec;

use crate::bidding::Need;
use crate::facts::Facts;
use crate::world::HostView;

/// A domain that is to have a host, and what its pool says about where.
pub struct Candidate<'a> {
    /// The domain as described.
    pub domain: &'a pool::Domain,
    /// What it should be.
    pub spec: DomainSpec,
    /// The limits that count it: numbers into [`Rules::limits`].
    limits: Vec<usize>,
    /// The scheduler that chooses its host.
    scheduler: Option<&'a pool::Scheduler>,
}

/// What a pool says about where its domains may be.
pub struct Rules<'a> {
    pool: &'a pool::Pool,
    /// Each `max-per-host`, and whose domains it counts.
    limits: Vec<Limit>,
}

struct Limit {
    most: u32,
    /// The component or group whose domains it counts; empty for the whole pool.
    prefix: String,
}

/// What a pool has, or will have, on one host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// All its domains there together.
    pub need: Need,
    /// How many domains each limit counts there.
    counted: BTreeMap<usize, u32>,
    /// The ports of the host that lead to its domains, and to how many each.
    ports: BTreeMap<u16, u32>,
}

impl Room {
    /// Adds a domain.
    pub fn add(&mut self, candidate: &Candidate<'_>) {
        self.need = self.need.plus(need_of(&candidate.spec));
        for limit in &candidate.limits {
            *self.counted.entry(*limit).or_insert(0) += 1;
        }
        for port in candidate.spec.forwarded_ports() {
            *self.ports.entry(port).or_insert(0) += 1;
        }
    }

    /// Takes a domain away.
    pub fn remove(&mut self, candidate: &Candidate<'_>) {
        self.need = self.need.minus(need_of(&candidate.spec));
        for limit in &candidate.limits {
            if let Some(count) = self.counted.get_mut(limit) {
                *count = count.saturating_sub(1);
            }
        }
        for port in candidate.spec.forwarded_ports() {
            if let Some(count) = self.ports.get_mut(&port) {
                *count = count.saturating_sub(1);
            }
        }
    }

    /// The ports of the host that lead to its domains.
    pub fn ports(&self) -> impl Iterator<Item = u16> {
        self.ports.iter().filter(|(_, count)| **count > 0).map(|(port, _)| *port)
    }
}

impl<'a> Rules<'a> {
    /// The rules of a pool.
    pub fn of(pool: &'a pool::Pool) -> Self {
        let whole = pool.placement.max_per_host.map(|most| Limit { most, prefix: String::new() });
        let groups = pool
            .groups
            .iter()
            .filter_map(|group| Some(Limit { most: group.placement.max_per_host?, prefix: group.path.clone() }));
        let mut components: BTreeMap<&str, u32> = BTreeMap::new();
        for domain in &pool.domains {
            if let Some(most) = domain.placement.max_per_host {
                components.insert(component_path(domain), most);
            }
        }
        let components = components.into_iter().map(|(prefix, most)| Limit { most, prefix: prefix.to_owned() });
        Self { pool, limits: whole.into_iter().chain(groups).chain(components).collect() }
    }

    /// A domain of the pool as a candidate.
    pub fn candidate(&self, domain: &'a pool::Domain, spec: DomainSpec) -> Candidate<'a> {
        let counts = |limit: &Limit| {
            let rest = domain.path.strip_prefix(limit.prefix.as_str());
            limit.prefix.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let limits = self.limits.iter().enumerate().filter(|(_, limit)| counts(limit)).map(|(number, _)| number);
        let by = domain.placement.by.as_ref().or(self.pool.placement.by.as_ref());
        let scheduler = by.and_then(|path| self.pool.schedulers.iter().find(|scheduler| scheduler.path == *path));
        Candidate { domain, spec, limits: limits.collect(), scheduler }
    }

    /// The first reason why a host cannot have `candidate` beside what the pool has there, or none.
    pub fn misfit(&self, host: &HostView, room: &Room, candidate: &Candidate<'_>) -> Option<Misfit> {
        if let Some(why) = &host.closed {
            return Some(Misfit::Closed(why.clone()));
        }
        if let Some(wanted) = &candidate.domain.host
            && wanted != host.name.as_str()
        {
            return Some(Misfit::NotTheNamedHost(wanted.clone()));
        }
        if let Some(scheduler) = candidate.scheduler
            && !scheduler.hosts.is_empty()
            && !scheduler.hosts.iter().any(|name| name == host.name.as_str())
        {
            return Some(Misfit::NotScheduled(scheduler.path.clone()));
        }
        let placements = [&self.pool.placement, &candidate.domain.placement];
        if placements.iter().any(|placement| placement.avoid.iter().any(|name| name == host.name.as_str())) {
            return Some(Misfit::Avoided);
        }
        let facts = Facts { host, spec: &candidate.spec };
        for condition in placements.iter().flat_map(|placement| &placement.require) {
            match condition.holds(&facts) {
                Ok(true) => {}
                Ok(false) => return Some(Misfit::Requirement(condition.text.to_string(), None)),
                Err(error) => return Some(Misfit::Requirement(condition.text.to_string(), Some(error.to_string()))),
            }
        }
        for limit in &candidate.limits {
            let most = self.limits[*limit].most;
            if room.counted.get(limit).copied().unwrap_or(0) >= most {
                return Some(Misfit::MaxPerHost(most));
            }
        }
        if !host.images.contains(&candidate.spec.image) {
            return Some(Misfit::NoImage(candidate.spec.image.clone()));
        }
        let cpus = host.offers.get(&ResourceKind::Cpu).map_or(0, |offer| offer.capacity.amount() / 1_000_000);
        if u64::from(candidate.spec.vcpus) > cpus {
            return Some(Misfit::TooFewCpus { cpus, vcpus: candidate.spec.vcpus });
        }
        if let Some(misfit) = no_port(host, &candidate.spec) {
            return Some(misfit);
        }
        if let Some(port) = candidate.spec.forwarded_ports().find(|port| room.ports().any(|taken| taken == *port)) {
            return Some(Misfit::PortTaken(port));
        }
        too_little(host, &room.need.plus(need_of(&candidate.spec)))
    }

    /// How much dearer a host may be than another to be taken all the same: 2ʷ for each `prefer … weight=w` that
    /// holds there. What cannot be judged does not count.
    pub fn preference(&self, host: &HostView, candidate: &Candidate<'_>) -> f64 {
        let facts = Facts { host, spec: &candidate.spec };
        let wishes = self.pool.placement.prefer.iter().chain(&candidate.domain.placement.prefer);
        // A wish may stand in the pool and come down to the domain: it counts once.
        let mut seen: Vec<&str> = Vec::new();
        let weight: f64 = wishes
            .filter(|(condition, _)| {
                let is_new = !seen.contains(&&*condition.text);
                seen.push(&condition.text);
                is_new && condition.holds(&facts).unwrap_or(false)
            })
            .map(|(_, weight)| weight)
            .sum();
        weight.clamp(-60.0, 60.0).exp2()
    }
}

impl Candidate<'_> {
    /// How its scheduler chooses; the cheapest host where it has none.
    pub fn policy(&self) -> pool::SchedulerPolicy {
        self.scheduler.map_or(pool::SchedulerPolicy::Cheapest, |scheduler| scheduler.policy)
    }
}

/// The path of the component that a domain is an instance of: `web` for `web.0`.
fn component_path(domain: &pool::Domain) -> &str {
    match domain.path.rsplit_once('.') {
        Some((before, last)) if last != domain.component => before,
        _ => &domain.path,
    }
}

/// Why a domain cannot be on a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// Nothing can be done on the host now.
    Closed(String),
    /// The domain stands in another host of the description.
    NotTheNamedHost(String),
    /// The scheduler does not choose from it.
    NotScheduled(String),
    /// The host lacks the image.
    NoImage(String),
    /// Too little of a resource is left.
    TooLittle {
        /// The resource.
        kind: ResourceKind,
        /// What is left for minima.
        available: Quantity,
        /// What would be needed in all.
        needed: Quantity,
    },
    /// The domain has more virtual CPUs than the host has CPUs.
    TooFewCpus {
        /// The host's CPUs.
        cpus: u64,
        /// The domain's virtual CPUs.
        vcpus: u32,
    },
    /// The host sells no such port.
    NoPort(u16),
    /// Another pool holds the port.
    PortHeld(u16),
    /// The port leads to another domain of the pool.
    PortTaken(u16),
    /// The pool allows no more of these domains on one host.
    MaxPerHost(u32),
    /// The pool avoids the host.
    Avoided,
    /// A requirement of the pool does not hold there, or cannot be judged.
    Requirement(String, Option<String>),
}

impl Misfit {
    /// True where asking for less, or for fewer, could help.
    pub const fn is_about_room(&self) -> bool {
        matches!(self, Self::TooLittle { .. } | Self::TooFewCpus { .. } | Self::MaxPerHost(_))
    }

    /// The reason for people, as the rest of a sentence that starts with the host.
    pub fn reason(&self) -> String {
        match self {
            Self::Closed(why) => why.clone(),
            Self::NotTheNamedHost(wanted) => format!("is not {wanted}, where the description puts it"),
            Self::NotScheduled(scheduler) => format!("is not among the hosts of `{scheduler}`"),
            Self::NoImage(image) => format!("has no image `{image}`"),
            Self::TooLittle { kind, available, needed } if needed <= available => {
                format!("cannot sell {} of {kind} to one pool: that is nearly all it has", kind.show(*needed))
            }
            Self::TooLittle { kind, available, needed } => {
                format!("has {} of {kind} left, and {} is needed", kind.show(*available), kind.show(*needed))
            }
            Self::TooFewCpus { cpus, vcpus } => format!("has {cpus} CPUs, and {vcpus} are needed"),
            Self::NoPort(port) => format!("does not sell its TCP port {port}"),
            Self::PortHeld(port) => format!("has its TCP port {port} held by another pool"),
            Self::PortTaken(port) => format!("has its TCP port {port} lead to another domain of the pool"),
            Self::MaxPerHost(most) => format!("would have more than {most} of them, the most `max-per-host` allows"),
            Self::Avoided => "is avoided by the pool".into(),
            Self::Requirement(text, None) => format!("does not meet `{text}`"),
            Self::Requirement(text, Some(why)) => format!("does not meet `{text}`: {why}"),
        }
    }
}

/// What one domain needs.
pub fn need_of(spec: &DomainSpec) -> Need {
    Need {
        domains: 1,
        vcpus: u64::from(spec.vcpus),
        memory_bytes: spec.memory_bytes,
        elastic_bytes: spec.memory_most_bytes().saturating_sub(spec.memory_bytes),
        disk_bytes: spec.disk_bytes(),
    }
}

/// The first port of the host that is to lead to the domain and that the pool cannot have, or none.
pub fn no_port(host: &HostView, spec: &DomainSpec) -> Option<Misfit> {
    let port = spec.forwarded_ports().find(|port| !host.ports.offers(*port))?;
    Some(if host.ports.is_held(port) { Misfit::PortHeld(port) } else { Misfit::NoPort(port) })
}

/// The first resource of which the host has too little for `need`, or none.
pub fn too_little(host: &HostView, need: &Need) -> Option<Misfit> {
    need.minima().into_iter().find_map(|(kind, needed)| {
        let offer = host.offers.get(&kind);
        let available = offer.map_or(Quantity::ZERO, |offer| offer.available);
        let is_sold = offer.is_some_and(|offer| crate::bidding::can_hold(kind, offer, needed));
        (needed > available || !is_sold).then_some(Misfit::TooLittle { kind, available, needed })
    })
}
