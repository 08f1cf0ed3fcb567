//! What is: domains and the host, as libvirt, the storage and the runs show them.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tycoon_market::{Quantity, ResourceKind, TimeSpan};
use virt::connect::Connect;
use virt::domain::{Domain, DomainInfo, DomainShutoffReason, DomainState as VirtState, DomainStateReason};
use virt::enumutil::Enum;
use virt::error::ErrorNumber;
use virt::sys;

use super::connection::{Fault, is};
use super::document::Kind;
use super::marks::{DEFAULT_WEIGHT, Damaged, Marks, NAMESPACE};
use super::neighbours::Neighbours;
use super::runs::{Entry, Runs, Sight};
use super::{Host, connection};
use crate::hypervisor::{HostFacts, HypervisorError};
use crate::status::{DomainState, DomainStatus};
use crate::storage::DomainRecord;

/// CPU times alone are written at most this often.
const NOTING_PERIOD: Duration = Duration::from_secs(30);
/// The longest name that is looked for; ours are shorter.
const NAME_BYTES_MAX: usize = 512;

/// A domain as libvirt shows it.
pub(super) struct Seen {
    pub domain: Domain,
    pub name: String,
    /// The hypervisor's id, where it is active.
    pub id: Option<u32>,
    /// What it was made from; `None` for a foreign one.
    pub marks: Result<Option<Marks>, Damaged>,
    /// Of one that does not end right now, and is active or foreign.
    pub info: Option<DomainInfo>,
    /// True where it is not active since a fault of its own.
    pub has_crashed: bool,
}

impl Seen {
    /// All there is to know of a domain, in two calls; `None` where it is gone meanwhile.
    fn of(domain: Domain) -> Result<Option<Self>, Fault> {
        match Self::look(domain) {
            Ok(seen) => Ok(Some(seen)),
            Err(Fault::Libvirt(error)) if is(&error, ErrorNumber::NoDomain) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    fn look(domain: Domain) -> Result<Self, Fault> {
        let (name, id) = (domain.name()?, domain.id());
        let marks = match metadata(&domain)? {
            None => Ok(None),
            // A definition that somebody copied under another name is not ours.
            Some(xml) => Marks::read(&xml).map(|marks| Some(marks).filter(|m| m.ownership.hypervisor_name() == name)),
        };
        let is_ours = matches!(marks, Ok(Some(_)));
        let info = match if id.is_none() && is_ours { None } else { Some(domain.info()) } {
            None => None,
            Some(Ok(info)) => Some(info),
            Some(Err(error)) => {
                let connect = domain.connect()?;
                if id.is_none() || !connection::is_alive(&connect) {
                    return Err(error.into());
                }
                // Xen has the run no more. Either libvirt is still clearing up, or it has begun another.
                let now = connect.lookup_domain_by_name(&name)?;
                if now.id() != id {
                    return Self::look(now);
                }
                None
            }
        };
        let has_crashed = id.is_none() && is_ours && ended_by_fault(&domain)?;
        Ok(Self { domain, name, id, marks, info, has_crashed })
    }

    pub(super) fn own_marks(&self) -> Option<&Marks> {
        self.marks.as_ref().ok().and_then(Option::as_ref)
    }

    pub(super) fn memory_bytes(&self) -> u64 {
        match (&self.info, self.own_marks()) {
            (Some(info), _) => info.memory.saturating_mul(1024),
            (None, Some(marks)) => marks.memory_bytes,
            (None, None) => 0,
        }
    }

    pub(super) fn sight(&self) -> Sight {
        let micros = self.info.as_ref().map_or(0, |info| info.cpu_time / 1000);
        Sight { active: self.id.map(|id| (id, micros)), has_crashed: self.has_crashed }
    }

    pub(super) fn state(&self, entry: &Entry) -> DomainState {
        if self.id.is_none() {
            return if self.has_crashed || entry.has_crashed { DomainState::Crashed } else { DomainState::Stopped };
        }
        let Some(info) = &self.info else { return DomainState::ShuttingDown };
        match info.state.known() {
            Some(VirtState::Paused | VirtState::PMSuspended) => DomainState::Paused,
            Some(VirtState::Crashed) => DomainState::Crashed,
            Some(VirtState::Shutdown) => DomainState::ShuttingDown,
            _ if entry.run_of(self.id).is_some_and(|run| run.shutdown_until_ms.is_some()) => DomainState::ShuttingDown,
            // An idle guest is "blocked", or in no state, at the moment of the look. See the module for booting.
            _ => DomainState::Running,
        }
    }
}

/// Our metadata of the domain.
fn metadata(domain: &Domain) -> Result<Option<String>, Fault> {
    let kind = sys::VIR_DOMAIN_METADATA_ELEMENT.cast_signed();
    // What it is to be at its next start: the newest there is.
    match domain.metadata(kind, Some(NAMESPACE), sys::VIR_DOMAIN_AFFECT_CONFIG) {
        Ok(xml) => Ok(Some(xml)),
        Err(error) if is(&error, ErrorNumber::NoDomainMetadata) => Ok(None),
        // A domain that ends with its run has no next start.
        Err(error) if is(&error, ErrorNumber::OperationInvalid) || is(&error, ErrorNumber::InvalidArg) => {
            match domain.metadata(kind, Some(NAMESPACE), sys::VIR_DOMAIN_AFFECT_CURRENT) {
                Ok(xml) => Ok(Some(xml)),
                Err(error) if is(&error, ErrorNumber::NoDomainMetadata) => Ok(None),
                Err(error) => Err(error.into()),
            }
        }
        // The control domain, and drivers without metadata, have none of ours.
        Err(error) if is(&error, ErrorNumber::NoSupport) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn ended_by_fault(domain: &Domain) -> Result<bool, Fault> {
    let (state, reason) = domain.state()?;
    let is_crash =
        matches!(reason, Enum::Known(DomainStateReason::Shutoff(reason)) if reason.is(DomainShutoffReason::Crashed));
    Ok(is_crash || state.is(VirtState::Crashed))
}

/// The domain of this name; `None` where there is none.
pub(super) fn find(connect: &Connect, name: &str) -> Result<Option<Seen>, Fault> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains('\0') {
        return Ok(None);
    }
    match connect.lookup_domain_by_name(name) {
        Ok(domain) => Seen::of(domain),
        Err(error) if is(&error, ErrorNumber::NoDomain) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl Host {
    /// All domains but the control domain.
    fn all(&self, connect: &Connect) -> Result<Vec<Seen>, Fault> {
        let mut all = Vec::new();
        for domain in connect.list_all_domains(0)? {
            if !self.is_control_domain(domain.id()) {
                all.extend(Seen::of(domain)?);
            }
        }
        Ok(all)
    }

    /// True for the id of Xen's control domain: the host itself, and nothing to be listed.
    fn is_control_domain(&self, id: Option<u32>) -> bool {
        self.connection.kind() == Kind::Xen && id == Some(0)
    }

    pub(super) fn domains(&self) -> Result<Vec<DomainStatus>, HypervisorError> {
        let records = self.storage.records()?;
        // What was in force stays where this fails, and no domain starts until it works again.
        if let Some(Err(error)) = self.guard.as_ref().map(|guard| guard.keep(|| self.interfaces())) {
            tracing::warn!(%error, "cannot see to the rules for interfaces");
        }
        let all = self.connection.with("listing the domains", |connect| self.all(connect))?;
        let runs = self.note(&all)?;
        let neighbours = Neighbours::read();
        let mut records: BTreeMap<String, DomainRecord> =
            records.into_iter().map(|record| (record.name.clone(), record)).collect();
        let mut domains: Vec<DomainStatus> =
            all.iter().map(|seen| status(seen, records.remove(&seen.name).as_ref(), &runs, &neighbours)).collect();
        domains.extend(records.into_values().map(only_volumes));
        domains.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(domains)
    }

    pub(super) fn domain(&self, name: &str) -> Result<Option<DomainStatus>, HypervisorError> {
        let record = self.storage.record(name)?;
        let seen = self.connection.with("looking at a domain", |connect| find(connect, name))?;
        let Some(seen) = seen.filter(|seen| !self.is_control_domain(seen.id)) else {
            return Ok(record.map(only_volumes));
        };
        let seen = [seen];
        let runs = self.note(&seen)?;
        Ok(seen.first().map(|seen| status(seen, record.as_ref(), &runs, &Neighbours::read())))
    }

    /// Notes what a look found, and does what follows from it: what a run that ended had of the machine is given back,
    /// and a run that libvirt began by itself gets the weight and cap of its domain.
    pub(super) fn note(&self, all: &[Seen]) -> Result<Runs, HypervisorError> {
        let mut runs = self.runs.read()?;
        let own = || all.iter().filter_map(|seen| seen.own_marks().map(|marks| (seen, marks)));
        let nothing = Entry::default();
        let mut is_due = TIME_NOTED.is_due();
        for (seen, _) in own() {
            let before = runs.domains.get(&seen.name).unwrap_or(&nothing);
            is_due |= before.differs_much(&before.after(seen.sight()));
        }
        let mut ended = Vec::new();
        if is_due {
            // The look may be older than a start or an end that somebody noted since: an end is looked at again.
            let still = |seen: &Seen| seen.id.is_some() || !self.is_active(&seen.name);
            runs = self.runs.change(|runs| {
                for (seen, _) in own() {
                    let before = runs.domains.get(&seen.name).cloned().unwrap_or_default();
                    let after = before.after(seen.sight());
                    let has_ended = before.run.is_some() && after.run.is_none();
                    if has_ended && !still(seen) {
                        continue;
                    }
                    if has_ended {
                        ended.push(seen.name.clone());
                    }
                    if after != before {
                        runs.domains.insert(seen.name.clone(), after);
                    }
                }
                runs.clone()
            })?;
        } else {
            for (seen, _) in own() {
                let entry = runs.domains.entry(seen.name.clone()).or_default();
                *entry = entry.after(seen.sight());
            }
            self.runs.see(own().filter_map(|(seen, _)| Some((seen.name.clone(), seen.sight().active?))));
        }
        for name in ended {
            // Whoever changes the domain right now looks after its disks.
            if let Some(_turn) = self.busy.turn_now(&name) {
                self.storage.detach(&name)?;
            }
        }
        for (seen, marks) in own() {
            let run = runs.domains.get(&seen.name).and_then(|entry| entry.run_of(seen.id));
            if run.is_some_and(|run| !run.is_weighted)
                && let Some(_turn) = self.busy.turn_now(&seen.name)
            {
                // Where it fails the run stays without, and the next look tries again.
                let _ = self.weigh(seen, marks);
            }
        }
        Ok(runs)
    }

    fn is_active(&self, name: &str) -> bool {
        let look = |connect: &Connect| Ok(connect.lookup_domain_by_name(name)?.id());
        // Where nobody can say, nothing is given back.
        self.connection.with("looking at a domain", look).map_or(true, |id| id.is_some())
    }

    pub(super) fn facts(&self) -> Result<HostFacts, HypervisorError> {
        let capacity_bytes = self.storage.capacity_bytes()?;
        let images = self.storage.images()?;
        self.connection.with("asking libvirt about the host", |connect| {
            let node = connect.node_info()?;
            let version = connect.hyp_version()?;
            let mut needed_bytes = self.reserved_memory_bytes;
            if self.connection.kind() == Kind::Xen {
                let control = connect.lookup_domain_by_id(0)?.info()?;
                needed_bytes = needed_bytes.saturating_add(control.memory.saturating_mul(1024));
            }
            for seen in self.all(connect)? {
                if seen.id.is_some() && seen.own_marks().is_none() {
                    needed_bytes = needed_bytes.saturating_add(seen.memory_bytes());
                }
            }
            let memory_bytes = node.memory.saturating_mul(1024).saturating_sub(needed_bytes);
            let is_simulated = self.connection.kind() == Kind::Test;
            // As libvirt writes it: 4 017 000, the last three digits without meaning for Xen.
            let version = format!("{}.{}", version / 1_000_000, version / 1000 % 1000);
            Ok(HostFacts {
                architecture: node.model,
                hypervisor: if is_simulated { "simulated by libvirt".to_owned() } else { format!("Xen {version}") },
                is_simulated,
                capacity: vec![
                    (ResourceKind::Cpu, Quantity::from_cpus(u64::from(node.cpus))),
                    (ResourceKind::Memory, Quantity::from_bytes(memory_bytes)),
                    (ResourceKind::Disk, Quantity::from_bytes(capacity_bytes)),
                ],
                images: images.clone(),
            })
        })
    }

    /// Memory that no domain has, in bytes, where libvirt can tell.
    pub(super) fn free_memory_bytes(&self, connect: &Connect) -> Result<Option<u64>, Fault> {
        if self.connection.kind() == Kind::Test {
            // Its number has nothing to do with its domains.
            return Ok(None);
        }
        match connect.free_memory() {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if is(&error, ErrorNumber::NoSupport) || connection::is_alive(connect) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// When CPU times alone were written last, by this process.
static TIME_NOTED: TimeNoted = TimeNoted(Mutex::new(None));

struct TimeNoted(Mutex<Option<Instant>>);

impl TimeNoted {
    /// True once in a period.
    fn is_due(&self) -> bool {
        let mut last = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let is_due = last.is_none_or(|last| last.elapsed() >= NOTING_PERIOD);
        if is_due {
            *last = Some(Instant::now());
        }
        is_due
    }
}

fn status(seen: &Seen, record: Option<&DomainRecord>, runs: &Runs, neighbours: &Neighbours) -> DomainStatus {
    let marks = seen.own_marks();
    let entry = marks.and_then(|_| runs.domains.get(&seen.name)).cloned().unwrap_or_default();
    let vcpus = match (&seen.info, marks) {
        (Some(info), _) => info.nr_virt_cpu,
        (None, marks) => marks.map_or(0, |marks| marks.spec.vcpus),
    };
    let cpu_micros = match (marks, &seen.info) {
        (Some(_), _) => entry.total_micros(),
        (None, info) => info.as_ref().map_or(0, |info| info.cpu_time / 1000),
    };
    // A record under the name of a foreign domain says nothing about that domain.
    let record = record.filter(|_| marks.is_some());
    let interface = record.and_then(|record| record.interfaces.first());
    DomainStatus {
        name: seen.name.clone(),
        ownership: marks.map(|marks| marks.ownership.clone()),
        spec: marks.map(|marks| marks.spec.clone()),
        state: seen.state(&entry),
        vcpus,
        memory_bytes: seen.memory_bytes(),
        memory_max_bytes: seen
            .info
            .as_ref()
            .filter(|_| seen.id.is_some())
            .map(|info| info.max_mem.saturating_mul(1024)),
        volumes: record.map(|record| record.volumes.clone()).unwrap_or_default(),
        address: interface.and_then(|interface| interface.address.or_else(|| neighbours.address_of(interface))),
        cpu_time: TimeSpan::from_micros(cpu_micros),
        weight: marks.map_or(DEFAULT_WEIGHT, |marks| marks.weight),
        cap_percent: marks.map_or(0, |marks| marks.cap_percent),
        adopted: record.map(|record| record.adopted.clone()).unwrap_or_default(),
        // As long as it is defined, it is there.
        kept: None,
        restarts: None,
    }
}

/// A domain of which the storage has volumes, and libvirt nothing.
fn only_volumes(record: DomainRecord) -> DomainStatus {
    DomainStatus {
        address: record.interfaces.first().and_then(|interface| interface.address),
        name: record.name,
        ownership: Some(record.ownership),
        spec: None,
        state: DomainState::Stopped,
        vcpus: 0,
        memory_bytes: 0,
        memory_max_bytes: None,
        volumes: record.volumes,
        cpu_time: TimeSpan::ZERO,
        weight: DEFAULT_WEIGHT,
        cap_percent: 0,
        adopted: record.adopted,
        kept: record.kept,
        restarts: None,
    }
}
