//! The whole state of a simulated host, and what every operation does to it. Pure: durability is the driver's.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use tycoon_market::{Quantity, ResourceKind, TimeSpan, Timestamp};

use super::config::MemoryHostConfig;
use super::cpu::{CpuClaim, distribute};
use super::domain::{Definition, Domain, Interface, Life, Phase, fault_of, missing_volume};
use crate::hypervisor::{HostFacts, HypervisorError};
use crate::own_image;
use crate::spec::{Addressing, DomainSpec, Ownership};
use crate::status::Kept;

type Result<T, E = HypervisorError> = std::result::Result<T, E>;

/// A host and its domains by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub host: Host,
    pub domains: BTreeMap<String, Domain>,
}

/// The host without its domains.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Host {
    pub config: MemoryHostConfig,
    pub clock: Clock,
    /// The images in its cache.
    pub cached_images: BTreeSet<String>,
}

/// The host's own time, driven by the times that callers bring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Clock {
    /// The latest time a caller brought.
    seen: Option<Timestamp>,
    /// How long the host has been up, in microseconds.
    pub uptime: u64,
}

/// A step back by up to this is taken for calls that overtook each other, and the later time stands. A longer one is
/// a clock that was put right, and time goes on from there.
const OVERTAKING_MAX: TimeSpan = TimeSpan::from_seconds(60);

impl Clock {
    /// The time passed, in microseconds, and whether the clock was put back.
    fn passed(&mut self, now: Timestamp) -> (u64, bool) {
        let seen = self.seen.unwrap_or(now);
        if seen.since(now) > OVERTAKING_MAX {
            self.seen = Some(now);
            return (0, true);
        }
        self.seen = Some(seen.max(now));
        (now.since(seen).micros(), false)
    }
}

impl State {
    pub(super) const fn new(config: MemoryHostConfig) -> Self {
        let clock = Clock { seen: None, uptime: 0 };
        Self { host: Host { config, clock, cached_images: BTreeSet::new() }, domains: BTreeMap::new() }
    }

    /// Lets the time until `now` pass: CPU is used, boots and shutdowns end. Between two such ends nothing changes
    /// how CPU is distributed, so the work depends on the number of domains and not on the time. True where the
    /// clock was put back, which no later call could find out again.
    pub(super) fn advance(&mut self, now: Timestamp) -> bool {
        let (mut left, was_put_back) = self.host.clock.passed(now);
        while left > 0 {
            let uptime = self.host.clock.uptime;
            let next_end = self.domains.values().filter_map(Domain::phase_end).filter(|end| *end > uptime).min();
            let step = next_end.map_or(left, |end| left.min(end - uptime));
            self.use_cpu(step);
            self.host.clock.uptime = uptime.saturating_add(step);
            self.end_phases();
            left -= step;
        }
        was_put_back
    }

    fn use_cpu(&mut self, micros: u64) {
        let active = || self.domains.values().filter(|domain| domain.is_active());
        let claims: Vec<CpuClaim> =
            active().map(|domain| CpuClaim { weight: domain.weight, limit: domain.cpu_limit() }).collect();
        let parts = distribute(self.host.config.domain_cpus(), &claims);
        for (domain, part) in self.domains.values_mut().filter(|domain| domain.is_active()).zip(parts) {
            domain.cpu.count(part, micros);
        }
    }

    fn end_phases(&mut self) {
        let uptime = self.host.clock.uptime;
        self.domains.values_mut().for_each(|domain| domain.end_phase(uptime));
    }

    pub(super) fn facts(&self) -> HostFacts {
        let config = &self.host.config;
        let foreign = || self.domains.values().filter(|domain| domain.ownership.is_none());
        let sum = |part: fn(&Domain) -> u64| foreign().map(part).fold(0, u64::saturating_add);
        let cpus = sum(|domain| u64::from(domain.definition.as_ref().map_or(0, |definition| definition.vcpus)));
        let memory = sum(|domain| domain.definition.as_ref().map_or(0, |definition| definition.memory_bytes));
        let disk = sum(Domain::disk_bytes);
        let mut images = config.images.clone();
        images.insert(super::config::TINY_IMAGE.to_owned());
        HostFacts {
            architecture: config.architecture.clone(),
            hypervisor: "simulated".to_owned(),
            is_simulated: true,
            capacity: vec![
                (ResourceKind::Cpu, config.domain_cpus().saturating_sub(Quantity::from_cpus(cpus))),
                (ResourceKind::Memory, Quantity::from_bytes(config.domain_memory_bytes().saturating_sub(memory))),
                (ResourceKind::Disk, Quantity::from_bytes(config.disk_bytes.saturating_sub(disk))),
            ],
            images: images.into_iter().collect(),
        }
    }

    pub(super) fn ensure_image(&mut self, image: &str, was_brought: bool) -> Result<bool> {
        if !self.host.config.provides(image) && !was_brought {
            return Err(HypervisorError::NoImage(image.to_owned()));
        }
        Ok(self.host.cached_images.insert(image.to_owned()))
    }

    pub(super) fn ensure_volumes(&mut self, spec: &DomainSpec, ownership: &Ownership) -> Result<bool> {
        let name = checked_name(spec, ownership, "making volumes")?;
        let existing = self.own_or_new(&name, ownership)?;
        let mut domain = existing.cloned().unwrap_or_else(|| self.new_domain(&name, ownership));
        let mut growth: u64 = 0;
        let mut is_changed = false;
        for volume in &spec.volumes {
            match domain.volumes.iter_mut().find(|(existing, _)| *existing == volume.name) {
                Some((_, size)) if *size >= volume.size_bytes => continue,
                Some((_, size)) => {
                    growth = growth.saturating_add(volume.size_bytes - *size);
                    *size = volume.size_bytes;
                }
                None if volume.existing => {
                    let (operation, reason) = missing_volume(&volume.name);
                    return Err(HypervisorError::Refused { operation: operation.into(), reason });
                }
                None => {
                    let own = own_image::name_on_host(&ownership.account, &spec.image);
                    let is_cached = |image: &String| self.host.cached_images.contains(image);
                    if volume.name == "root" && !is_cached(&spec.image) && !is_cached(&own) {
                        return Err(HypervisorError::NoImage(spec.image.clone()));
                    }
                    growth = growth.saturating_add(volume.size_bytes);
                    domain.volumes.push((volume.name.clone(), volume.size_bytes));
                }
            }
            is_changed = true;
        }
        let used = self.domains.values().map(Domain::disk_bytes).fold(0, u64::saturating_add);
        fits(ResourceKind::Disk, self.host.config.disk_bytes.saturating_sub(used), growth)?;
        if is_changed {
            self.domains.insert(name, domain);
        }
        Ok(is_changed)
    }

    pub(super) fn define(&mut self, spec: &DomainSpec, ownership: &Ownership) -> Result<bool> {
        let name = checked_name(spec, ownership, "defining the domain")?;
        let existing = self.own_or_new(&name, ownership)?;
        let mut domain = existing.cloned().unwrap_or_else(|| self.new_domain(&name, ownership));
        let definition = Definition {
            vcpus: spec.vcpus,
            memory_bytes: spec.memory_bytes,
            interfaces: self.interfaces(&name, spec, &domain)?,
            spec: Some(spec.clone()),
        };
        let before = domain.clone();
        domain.ownership = Some(ownership.clone());
        domain.definition = Some(definition);
        domain.kept = None;
        if let Life::Active { memory_bytes, .. } = &mut domain.life {
            let wanted = spec.memory_with(*memory_bytes);
            fits(ResourceKind::Memory, self.free_memory_bytes(), wanted.saturating_sub(*memory_bytes))?;
            *memory_bytes = wanted;
        }
        let is_changed = domain != before || !self.domains.contains_key(&name);
        self.domains.insert(name, domain);
        Ok(is_changed)
    }

    /// The interfaces of a spec with their addresses: those that DHCP gave before stay.
    fn interfaces(&self, name: &str, spec: &DomainSpec, domain: &Domain) -> Result<Vec<Interface>> {
        let network = self.host.config.network;
        let mut taken: BTreeMap<Ipv4Addr, &str> = BTreeMap::new();
        for (other, domain) in self.domains.iter().filter(|(other, _)| other.as_str() != name) {
            taken.extend(domain.addresses().map(|address| (address, other.as_str())));
        }
        // Static addresses first: DHCP must go round them.
        for nic in &spec.nics {
            if let Addressing::Static { address, .. } = nic.address
                && (network.is_reserved(address) || taken.insert(address, name).is_some())
            {
                return Err(HypervisorError::AddressTaken(address));
            }
        }
        let leases = domain.definition.as_ref().map_or(&[][..], |definition| &definition.interfaces);
        let kept = |nic: &str| Interface::lease(leases, nic);
        let mut interfaces = Vec::with_capacity(spec.nics.len());
        // Leases that stay are taken before new ones are looked for.
        for nic in &spec.nics {
            if let (Addressing::Dhcp, Some(address)) = (&nic.address, kept(&nic.name)) {
                if taken.contains_key(&address) {
                    // A static address of this same spec claims the lease.
                    return Err(HypervisorError::AddressTaken(address));
                }
                taken.insert(address, name);
            }
        }
        for nic in &spec.nics {
            let (is_dhcp, address) = match nic.address {
                Addressing::Static { address, .. } => (false, Some(address)),
                Addressing::Dhcp => (true, kept(&nic.name).or_else(|| network.lowest_free(&taken))),
            };
            let address = address.ok_or_else(|| HypervisorError::Failed {
                operation: "giving the domain an address".into(),
                reason: format!("all addresses of {}/{} are in use", network.base, network.prefix),
            })?;
            taken.insert(address, name);
            interfaces.push(Interface { name: nic.name.clone(), is_dhcp, address });
        }
        Ok(interfaces)
    }

    pub(super) fn start(&mut self, name: &str) -> Result<bool> {
        const OPERATION: &str = "starting the domain";
        let uptime = self.host.clock.uptime;
        let boot_micros = self.host.config.boot_time.micros();
        let crash_after = self.host.config.crash_after.map(TimeSpan::micros);
        let free = self.free_memory_bytes();
        let domain = self.own(name)?;
        match &mut domain.life {
            Life::Active { phase: Phase::Booting { .. } | Phase::Running, .. } => return Ok(false),
            Life::Active { phase: phase @ Phase::Paused, .. } => {
                *phase = Phase::Running;
                return Ok(true);
            }
            Life::Active { phase: Phase::ShuttingDown { .. }, .. } => {
                let reason = format!("`{name}` is still shutting down");
                return Err(HypervisorError::Failed { operation: OPERATION.into(), reason });
            }
            Life::Stopped | Life::Crashed => {}
        }
        let Some(Definition { spec: Some(spec), vcpus, memory_bytes, interfaces }) = domain.definition.clone() else {
            return Err(HypervisorError::NoDomain(name.to_owned()));
        };
        let lacks =
            |name: &str, size: u64| !domain.volumes.iter().any(|(has, size_is)| has == name && *size_is >= size);
        if let Some(volume) = spec.volumes.iter().find(|volume| lacks(&volume.name, volume.size_bytes)) {
            let reason = format!("its volume `{}` does not exist in the size that it needs", volume.name);
            return Err(HypervisorError::Failed { operation: OPERATION.into(), reason });
        }
        fits(ResourceKind::Memory, free, memory_bytes)?;
        let phase = Phase::Booting { until: uptime.saturating_add(boot_micros) };
        domain.life = Life::Active { phase, vcpus, memory_bytes, interfaces };
        domain.crash_at = crash_after.map(|micros| uptime.saturating_add(micros.max(1)));
        domain.end_phase(uptime);
        Ok(true)
    }

    pub(super) fn stop(&mut self, name: &str, grace_ms: u64) -> Result<bool> {
        let uptime = self.host.clock.uptime;
        let grace = grace_ms.saturating_mul(1000);
        let shutdown_micros = self.host.config.shutdown_time.micros();
        let domain = self.own(name)?;
        let was_asked_to = match &mut domain.life {
            Life::Stopped | Life::Crashed => false,
            Life::Active { phase: Phase::ShuttingDown { until }, .. } => {
                let earlier = uptime.saturating_add(grace).min(*until);
                std::mem::replace(until, earlier) != earlier
            }
            Life::Active { phase, .. } => {
                *phase = Phase::ShuttingDown { until: uptime.saturating_add(grace.min(shutdown_micros)) };
                true
            }
        };
        domain.end_phase(uptime);
        Ok(was_asked_to)
    }

    pub(super) fn suspend(&mut self, name: &str) -> Result<bool> {
        const OPERATION: &str = "suspending the domain";
        let failed = |reason: String| Err(HypervisorError::Failed { operation: OPERATION.into(), reason });
        match &mut self.own_defined(name)?.life {
            Life::Active { phase: Phase::Paused, .. } => Ok(false),
            Life::Active { phase: phase @ Phase::Running, .. } => {
                *phase = Phase::Paused;
                Ok(true)
            }
            Life::Active { phase: Phase::Booting { .. }, .. } => failed(format!("`{name}` is still booting")),
            Life::Active { phase: Phase::ShuttingDown { .. }, .. } => failed(format!("`{name}` is shutting down")),
            Life::Stopped | Life::Crashed => {
                let reason = format!("`{name}` does not run");
                Err(HypervisorError::Refused { operation: OPERATION.into(), reason })
            }
        }
    }

    pub(super) fn remove(&mut self, name: &str) -> Result<bool> {
        match self.own(name) {
            Ok(_) => Ok(self.domains.remove(name).is_some()),
            Err(HypervisorError::NoDomain(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) fn keep(&mut self, name: &str, kept: &Kept) -> Result<bool> {
        let left = match self.own(name) {
            Ok(domain) => domain.left_behind(kept),
            Err(HypervisorError::NoDomain(_)) => return Ok(false),
            Err(error) => return Err(error),
        };
        let Some(left) = left else { return self.remove(name) };
        let is_changed = self.domains.get(name) != Some(&left);
        self.domains.insert(name.to_owned(), left);
        Ok(is_changed)
    }

    pub(super) fn set_cpu(&mut self, name: &str, weight: u16, cap_percent: u32) -> Result<()> {
        let domain = self.own_defined(name)?;
        if weight == 0 {
            let reason = "the weight is 0; weights are 1 to 65535".to_owned();
            return Err(HypervisorError::Refused { operation: "setting the CPU weight".into(), reason });
        }
        domain.weight = weight;
        domain.cap_percent = cap_percent;
        Ok(())
    }

    pub(super) fn set_memory(&mut self, name: &str, bytes: u64) -> Result<()> {
        let free = self.free_memory_bytes();
        let domain = self.own_defined(name)?;
        if bytes == 0 {
            let reason = "a domain needs some memory".to_owned();
            return Err(HypervisorError::Refused { operation: "setting the memory".into(), reason });
        }
        if let Life::Active { memory_bytes, .. } = &mut domain.life {
            fits(ResourceKind::Memory, free, bytes.saturating_sub(*memory_bytes))?;
            *memory_bytes = bytes;
            let spec = domain.definition.as_ref().and_then(|defined| defined.spec.as_ref());
            if spec.is_some_and(DomainSpec::is_elastic) {
                return Ok(());
            }
        }
        if let Some(definition) = &mut domain.definition {
            definition.memory_bytes = bytes;
        }
        Ok(())
    }

    /// Ends a domain, ours or foreign, as `life`. True where it ran.
    pub(super) fn end(&mut self, name: &str, life: Life) -> Result<bool> {
        let domain = self.domains.get_mut(name).ok_or_else(|| HypervisorError::NoDomain(name.to_owned()))?;
        let was_active = domain.is_active();
        if was_active {
            domain.life = life;
        }
        Ok(was_active)
    }

    /// Adds a running domain that is not Tycoon's.
    pub(super) fn add_foreign(&mut self, foreign: &super::ForeignDomain) -> Result<()> {
        if self.domains.contains_key(&foreign.name) {
            return Err(HypervisorError::NameTaken(foreign.name.clone()));
        }
        fits(ResourceKind::Memory, self.free_memory_bytes(), foreign.memory_bytes)?;
        let disk = self.domains.values().map(Domain::disk_bytes).fold(0, u64::saturating_add);
        fits(ResourceKind::Disk, self.host.config.disk_bytes.saturating_sub(disk), foreign.disk_bytes)?;
        let mut interfaces = Vec::new();
        if let Some(address) = foreign.address {
            if self.domains.values().any(|domain| domain.addresses().any(|taken| taken == address)) {
                return Err(HypervisorError::AddressTaken(address));
            }
            interfaces.push(Interface { name: "eth0".to_owned(), is_dhcp: false, address });
        }
        let (vcpus, memory_bytes) = (foreign.vcpus, foreign.memory_bytes);
        let mut domain = Domain::new(None, self.host.config.demand_ppm(&foreign.name));
        domain.definition = Some(Definition { spec: None, vcpus, memory_bytes, interfaces: interfaces.clone() });
        domain.life = Life::Active { phase: Phase::Running, vcpus, memory_bytes, interfaces };
        if foreign.disk_bytes > 0 {
            domain.volumes.push(("root".to_owned(), foreign.disk_bytes));
        }
        self.domains.insert(foreign.name.clone(), domain);
        Ok(())
    }

    /// That everything there is fits into `config`.
    pub(super) fn check_fits_into(&self, config: &MemoryHostConfig) -> Result<()> {
        let memory = self.domains.values().map(Domain::held_memory_bytes).fold(0, u64::saturating_add);
        fits(ResourceKind::Memory, config.domain_memory_bytes(), memory)?;
        let disk = self.domains.values().map(Domain::disk_bytes).fold(0, u64::saturating_add);
        fits(ResourceKind::Disk, config.disk_bytes, disk)
    }

    fn new_domain(&self, name: &str, ownership: &Ownership) -> Domain {
        Domain::new(Some(ownership.clone()), self.host.config.demand_ppm(name))
    }

    fn free_memory_bytes(&self) -> u64 {
        let held = self.domains.values().map(Domain::held_memory_bytes).fold(0, u64::saturating_add);
        self.host.config.domain_memory_bytes().saturating_sub(held)
    }

    /// The domain `name`, where there is none or it belongs to the same account and pool.
    fn own_or_new(&self, name: &str, ownership: &Ownership) -> Result<Option<&Domain>> {
        let domain = self.domains.get(name);
        let is_other = |domain: &Domain| {
            // The name holds only the beginning of the account, so a name alone proves nothing.
            domain.ownership.as_ref().is_none_or(|owner| {
                (&owner.account, &owner.pool, &owner.path) != (&ownership.account, &ownership.pool, &ownership.path)
            })
        };
        if domain.is_some_and(is_other) {
            return Err(HypervisorError::NameTaken(name.to_owned()));
        }
        Ok(domain)
    }

    /// One of Tycoon's domains, or the volumes of one.
    fn own(&mut self, name: &str) -> Result<&mut Domain> {
        match self.domains.get_mut(name) {
            None => Err(HypervisorError::NoDomain(name.to_owned())),
            Some(domain) if domain.ownership.is_none() => Err(HypervisorError::NameTaken(name.to_owned())),
            Some(domain) => Ok(domain),
        }
    }

    /// One of Tycoon's domains.
    fn own_defined(&mut self, name: &str) -> Result<&mut Domain> {
        let domain = self.own(name)?;
        if domain.definition.is_none() {
            return Err(HypervisorError::NoDomain(name.to_owned()));
        }
        Ok(domain)
    }
}

fn checked_name(spec: &DomainSpec, ownership: &Ownership, operation: &'static str) -> Result<String> {
    match fault_of(spec, ownership) {
        Some(reason) => Err(HypervisorError::Refused { operation: operation.into(), reason }),
        None => Ok(ownership.hypervisor_name()),
    }
}

fn fits(kind: ResourceKind, available: u64, asked: u64) -> Result<()> {
    if asked <= available {
        return Ok(());
    }
    Err(HypervisorError::Full { kind, available: Quantity::from_bytes(available), asked: Quantity::from_bytes(asked) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Boot, CloudInit, KeepVolumes, RunRules};
    use tycoon_market::{AccountId, PublicKey};

    #[test]
    fn accounts_whose_ids_begin_alike_cannot_take_each_other_s_domains() {
        let key = |byte| (byte..).find_map(|byte| PublicKey::from_bytes([byte; 32]).ok()).unwrap();
        let spec = DomainSpec {
            path: "web.0".parse().unwrap(),
            hostname: "web-0".into(),
            vcpus: 1,
            memory_bytes: 1,
            image: "std:tiny".into(),
            boot: Boot::default(),
            volumes: vec![],
            nics: vec![],
            cloud_init: CloudInit::default(),
            keep_volumes: KeepVolumes::default(),
            save_image: None,
            rules: RunRules::default(),
        };
        let owner = |byte| Ownership {
            account: AccountId::of(&key(byte)),
            pool: "hello".parse().unwrap(),
            path: spec.path.clone(),
            generation: 1,
            digest: spec.digest(),
        };
        let (victim, thief) = (owner(1), owner(40));
        assert_ne!(victim.account, thief.account);
        let mut state = State::new(MemoryHostConfig::default());
        // The victim's domain under the thief's name is what a collision of the short ids makes.
        let domain = state.new_domain("x", &victim);
        state.domains.insert(thief.hypervisor_name(), domain);
        let taken = HypervisorError::NameTaken(thief.hypervisor_name());
        assert_eq!(state.ensure_volumes(&spec, &thief), Err(taken.clone()));
        assert_eq!(state.define(&spec, &thief), Err(taken));
    }
}
