//! Which hosts a domain can be on at all, and why not on the others.

use tycoon_lang::pool;
use tycoon_market::{Quantity, ResourceKind};
use tycoon_xen::spec::DomainSpec;

use crate::bidding::Need;
use crate::world::HostView;

/// Why a domain cannot be on a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// Nothing can be done on the host now.
    Closed(String),
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
    /// The pool allows no more of its domains on one host.
    MaxPerHost(u32),
    /// The pool avoids the host.
    Avoided,
    /// A requirement of the pool does not hold there.
    Requirement(String),
}

impl Misfit {
    /// The reason for people, as the rest of a sentence that starts with the host.
    pub fn reason(&self) -> String {
        match self {
            Self::Closed(why) => why.clone(),
            Self::NoImage(image) => format!("has no image `{image}`"),
            Self::TooLittle { kind, available, needed } => {
                format!("has {} of {kind} left, and {} is needed", kind.show(*available), kind.show(*needed))
            }
            Self::TooFewCpus { cpus, vcpus } => format!("has {cpus} CPUs, and {vcpus} are needed"),
            Self::MaxPerHost(most) => format!("has {most} domains of the pool already, the most `max-per-host` allows"),
            Self::Avoided => "is avoided by the pool".into(),
            Self::Requirement(text) => format!("does not meet `{text}`"),
        }
    }
}

/// What one domain needs.
pub fn need_of(spec: &DomainSpec) -> Need {
    Need { domains: 1, vcpus: u64::from(spec.vcpus), memory_bytes: spec.memory_bytes, disk_bytes: spec.disk_bytes() }
}

/// The first reason why a host cannot have `spec` beside what the pool has there (`present`), or none.
pub fn misfit(host: &HostView, present: &Need, spec: &DomainSpec, placement: &pool::Placement) -> Option<Misfit> {
    if let Some(why) = &host.closed {
        return Some(Misfit::Closed(why.clone()));
    }
    if placement.avoid.iter().any(|name| name == host.name.as_str()) {
        return Some(Misfit::Avoided);
    }
    if let Some(text) = unmet_requirement(host, placement) {
        return Some(Misfit::Requirement(text));
    }
    if let Some(most) = placement.max_per_host
        && present.domains >= most
    {
        return Some(Misfit::MaxPerHost(most));
    }
    if !host.images.contains(&spec.image) {
        return Some(Misfit::NoImage(spec.image.clone()));
    }
    let cpus = host.offers.get(&ResourceKind::Cpu).map_or(0, |offer| offer.capacity.amount() / 1_000_000);
    if u64::from(spec.vcpus) > cpus {
        return Some(Misfit::TooFewCpus { cpus, vcpus: spec.vcpus });
    }
    too_little(host, &present.plus(need_of(spec)))
}

/// The first resource of which the host has too little for `need`, or none.
pub fn too_little(host: &HostView, need: &Need) -> Option<Misfit> {
    need.minima().into_iter().find_map(|(kind, needed)| {
        let offer = host.offers.get(&kind);
        let available = offer.map_or(Quantity::ZERO, |offer| offer.available);
        let is_sold = offer.is_some_and(|offer| crate::bidding::rate_for(kind, offer, needed).is_some());
        (needed > available || !is_sold).then_some(Misfit::TooLittle { kind, available, needed })
    })
}

fn unmet_requirement(_host: &HostView, _placement: &pool::Placement) -> Option<String> {
    None
}
