//! One domain of a simulated host.
//!
//! ```text
//!  Stopped | Crashed --start--> Active{Booting} --boot time--> Active{Running}
//!                                    |                              |  | stop
//!                                    |   +-------- crash -----------+  v         (and Active{Paused} until a start)
//!                                    +-> Crashed        Active{ShuttingDown} --guest's time or grace--> Stopped
//! ```

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use tycoon_market::{Quantity, TimeSpan};

use crate::spec::{Addressing, DomainSpec, Ownership};
use crate::status::{DomainState, DomainStatus, Kept};

/// The scheduler weight of a new domain, as in Xen.
pub(super) const DEFAULT_WEIGHT: u16 = 256;

/// A name on the host: a domain, or the volumes of one that is not defined yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Domain {
    /// Whose it is; `None` for a foreign one.
    pub ownership: Option<Ownership>,
    /// What it is at its next start; `None` where only volumes exist.
    pub definition: Option<Definition>,
    /// Names and sizes of its volumes, in the order in which they were made.
    pub volumes: Vec<(String, u64)>,
    pub life: Life,
    pub cpu: CpuMeter,
    pub weight: u16,
    pub cap_percent: u32,
    /// What it would use of its virtual CPUs, in millionths.
    pub demand_ppm: u32,
    /// The names of volumes that were there before it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub adopted: BTreeSet<String>,
    /// What is kept of it, where it was removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<Kept>,
    /// When it crashes, in microseconds of uptime, unless it ends before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crash_at: Option<u64>,
}

/// What a domain is at its next start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Definition {
    /// What it was defined from; `None` for a foreign domain.
    pub spec: Option<DomainSpec>,
    pub vcpus: u32,
    pub memory_bytes: u64,
    pub interfaces: Vec<Interface>,
}

/// A network interface with the address it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Interface {
    pub name: String,
    pub is_dhcp: bool,
    pub address: Ipv4Addr,
}

impl Interface {
    /// The address that DHCP gave to the interface `name`, where it has one.
    pub(super) fn lease(interfaces: &[Self], name: &str) -> Option<Ipv4Addr> {
        interfaces.iter().find(|interface| interface.is_dhcp && interface.name == name).map(|lease| lease.address)
    }
}

/// Whether a domain runs, and as what. A running domain keeps its virtual CPUs and interfaces until it stops.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "life", rename_all = "kebab-case")]
pub(super) enum Life {
    Stopped,
    Crashed,
    Active { phase: Phase, vcpus: u32, memory_bytes: u64, interfaces: Vec<Interface> },
}

/// How far a running domain is. Times are the host's uptime in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Phase {
    Booting { until: u64 },
    Running,
    Paused,
    ShuttingDown { until: u64 },
}

/// CPU time used, exact: what is less than a microsecond is carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CpuMeter {
    micros: u64,
    /// In micro-CPUs × microseconds, less than a million.
    remainder: u64,
}

impl CpuMeter {
    /// Counts `micros` microseconds at `part` of CPU. Counting a time in pieces gives what counting it at once does.
    pub(super) fn count(&mut self, part: Quantity, micros: u64) {
        const MILLION: u128 = 1_000_000;
        let total = u128::from(part.amount()) * u128::from(micros) + u128::from(self.remainder);
        self.micros = self.micros.saturating_add(u64::try_from(total / MILLION).unwrap_or(u64::MAX));
        self.remainder = (total % MILLION) as u64;
    }
}

impl Domain {
    /// A domain of which nothing exists yet.
    pub(super) const fn new(ownership: Option<Ownership>, demand_ppm: u32) -> Self {
        Self {
            ownership,
            definition: None,
            volumes: Vec::new(),
            life: Life::Stopped,
            cpu: CpuMeter { micros: 0, remainder: 0 },
            weight: DEFAULT_WEIGHT,
            cap_percent: 0,
            demand_ppm,
            adopted: BTreeSet::new(),
            kept: None,
            crash_at: None,
        }
    }

    /// What is left of it where only the volumes of `kept` stay; `None` where none of them exists.
    pub(super) fn left_behind(&self, kept: &Kept) -> Option<Self> {
        let kept = self.kept.clone().unwrap_or_else(|| kept.clone()).only(|name| kept.has(name));
        let exists = |name: &str| self.volumes.iter().any(|(volume, _)| volume == name);
        let kept = kept.only(exists);
        let mut left = Self::new(self.ownership.clone(), self.demand_ppm);
        left.volumes = self.volumes.iter().filter(|(name, _)| kept.has(name)).cloned().collect();
        left.adopted = left.volumes.iter().map(|(name, _)| name.clone()).collect();
        left.kept = Some(kept);
        (!left.volumes.is_empty()).then_some(left)
    }

    pub(super) const fn is_active(&self) -> bool {
        matches!(self.life, Life::Active { .. })
    }

    /// The memory it holds now, in bytes.
    pub(super) const fn held_memory_bytes(&self) -> u64 {
        match self.life {
            Life::Active { memory_bytes, .. } => memory_bytes,
            Life::Stopped | Life::Crashed => 0,
        }
    }

    pub(super) fn disk_bytes(&self) -> u64 {
        self.volumes.iter().fold(0, |sum, (_, size)| sum.saturating_add(*size))
    }

    /// The addresses it holds: those of its definition, and while it runs those it runs with.
    pub(super) fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> {
        let running = match &self.life {
            Life::Active { interfaces, .. } => interfaces.as_slice(),
            Life::Stopped | Life::Crashed => &[],
        };
        let defined = self.definition.as_ref().map_or(&[][..], |definition| &definition.interfaces);
        running.iter().chain(defined).map(|interface| interface.address)
    }

    /// The most CPU it uses where there is enough.
    pub(super) fn cpu_limit(&self) -> Quantity {
        let Life::Active { vcpus, phase, .. } = self.life else { return Quantity::ZERO };
        if phase == Phase::Paused {
            return Quantity::ZERO;
        }
        let demand = u64::from(vcpus) * u64::from(self.demand_ppm);
        // One percent of a CPU is ten thousand micro-CPUs.
        let cap = if self.cap_percent == 0 { u64::MAX } else { u64::from(self.cap_percent) * 10_000 };
        Quantity::new(demand.min(cap))
    }

    /// When its phase ends by itself, in microseconds of uptime.
    pub(super) fn phase_end(&self) -> Option<u64> {
        match self.life {
            Life::Active { phase: Phase::Booting { until }, .. } => {
                Some(self.crash_at.map_or(until, |crash_at| crash_at.min(until)))
            }
            Life::Active { phase: Phase::ShuttingDown { until }, .. } => Some(until),
            Life::Active { phase: Phase::Running, .. } => self.crash_at,
            Life::Active { phase: Phase::Paused, .. } | Life::Stopped | Life::Crashed => None,
        }
    }

    /// Ends its phase where that is due at `uptime`.
    pub(super) fn end_phase(&mut self, uptime: u64) {
        if let Life::Active { phase, .. } = &mut self.life {
            match *phase {
                Phase::Booting { .. } | Phase::Running if self.crash_at.is_some_and(|at| at <= uptime) => {
                    self.life = Life::Crashed;
                }
                Phase::Booting { until } if until <= uptime => *phase = Phase::Running,
                Phase::ShuttingDown { until } if until <= uptime => self.life = Life::Stopped,
                Phase::Booting { .. } | Phase::Running | Phase::Paused | Phase::ShuttingDown { .. } => {}
            }
        }
    }

    /// How it shows itself.
    pub(super) fn status(&self, name: &str) -> DomainStatus {
        let defined = self.definition.as_ref();
        let (state, vcpus, memory_bytes, interfaces) = match &self.life {
            Life::Active { phase, vcpus, memory_bytes, interfaces } => {
                let state = match phase {
                    Phase::Booting { .. } => DomainState::Booting,
                    Phase::Running => DomainState::Running,
                    Phase::Paused => DomainState::Paused,
                    Phase::ShuttingDown { .. } => DomainState::ShuttingDown,
                };
                (state, *vcpus, *memory_bytes, interfaces.as_slice())
            }
            life @ (Life::Stopped | Life::Crashed) => (
                if *life == Life::Crashed { DomainState::Crashed } else { DomainState::Stopped },
                defined.map_or(0, |definition| definition.vcpus),
                defined.map_or(0, |definition| definition.memory_bytes),
                defined.map_or(&[][..], |definition| &definition.interfaces),
            ),
        };
        DomainStatus {
            name: name.to_owned(),
            ownership: self.ownership.clone(),
            spec: defined.and_then(|definition| definition.spec.clone()),
            state,
            vcpus,
            memory_bytes,
            memory_max_bytes: None,
            volumes: self.volumes.clone(),
            address: interfaces.first().map(|interface| interface.address),
            cpu_time: TimeSpan::from_micros(self.cpu.micros),
            weight: self.weight,
            cap_percent: self.cap_percent,
            adopted: self.adopted.iter().cloned().collect(),
            kept: self.kept.clone(),
            restarts: None,
        }
    }
}

/// Why there is no volume that must be there already: what was tried, and what is wrong.
pub(crate) fn missing_volume(name: &str) -> (&'static str, String) {
    let reason = format!(
        "the volume `{name}` is to exist already, and this host has kept none of that name for the domain; nothing was made"
    );
    ("making volumes", reason)
}

/// What is wrong with a spec by itself, whatever the host.
pub(crate) fn fault_of(spec: &DomainSpec, ownership: &Ownership) -> Option<String> {
    /// What Xen gives to one domain at most.
    const VCPUS_MAX: u32 = 128;
    if spec.path != ownership.path {
        return Some(format!("the spec is for `{}` and the ownership for `{}`", spec.path, ownership.path));
    }
    if spec.vcpus == 0 || spec.vcpus > VCPUS_MAX {
        return Some(format!("{} virtual CPUs; 1 to {VCPUS_MAX} are possible", spec.vcpus));
    }
    if spec.memory_bytes == 0 {
        return Some("no memory; a domain needs some".to_owned());
    }
    if let Some(volume) = spec.volumes.iter().find(|volume| volume.size_bytes == 0) {
        return Some(format!("volume `{}` has no size", volume.name));
    }
    if let Some(name) = twice(spec.volumes.iter().map(|volume| volume.name.as_str())) {
        return Some(format!("there are two volumes `{name}`"));
    }
    if let Some(name) = twice(spec.nics.iter().map(|nic| nic.name.as_str())) {
        return Some(format!("there are two network interfaces `{name}`"));
    }
    spec.nics.iter().find_map(|nic| match nic.address {
        Addressing::Static { prefix, .. } if prefix > 32 => {
            Some(format!("the network prefix of `{}` is {prefix} bits; 32 is the most", nic.name))
        }
        Addressing::Static { address, .. } if !is_usable(address) => {
            Some(format!("no machine can have the address {address} of `{}`", nic.name))
        }
        Addressing::Static { .. } | Addressing::Dhcp => None,
    })
}

fn is_usable(address: Ipv4Addr) -> bool {
    // 0.0.0.0/8 and 240.0.0.0/4 name no machine either.
    let first = address.octets()[0];
    first != 0 && first < 240 && !address.is_loopback() && !address.is_multicast()
}

fn twice<'a>(names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut seen = std::collections::BTreeSet::new();
    names.into_iter().find(|name| !seen.insert(*name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_in_pieces_is_cpu_time_at_once() {
        let part = Quantity::new(333_333);
        let (mut whole, mut pieces) = (CpuMeter::default(), CpuMeter::default());
        whole.count(part, 1_000_003);
        for _ in 0..1_000_003 {
            pieces.count(part, 1);
        }
        assert_eq!(pieces, whole);
        assert_eq!(whole.micros, 333_333);
    }

    #[test]
    fn a_thousand_years_do_not_overflow() {
        let mut meter = CpuMeter::default();
        for _ in 0..3 {
            meter.count(Quantity::from_cpus(128), u64::MAX);
        }
        assert_eq!(meter.micros, u64::MAX);
    }
}
