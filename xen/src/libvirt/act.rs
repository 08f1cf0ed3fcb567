//! What changes: definitions, starts and ends of domains.

use virt::connect::Connect;
use virt::domain::{Domain, DomainState as VirtState, SchedulerInfo};
use virt::error::ErrorNumber;
use virt::sys;

use tycoon_market::{Quantity, ResourceKind};

use super::Host;
use super::connection::{self, Fault, failed, is, refused};
use super::document::{Definition, Kind, devices_digest, kibibytes};
use super::look::{Seen, find};
use super::marks::{DEFAULT_WEIGHT, Marks, NAMESPACE, PREFIX, SPEC_BYTES_MAX};
use super::runs::{Entry, uptime_ms};
use super::xml::Unwritable;
use crate::guard;
use crate::hypervisor::HypervisorError;
use crate::memory::fault_of;
use crate::spec::{DomainSpec, Ownership};
use crate::status::{DomainState, Kept};
use crate::storage::{DomainRecord, Interface};

/// The greatest weight that Xen's scheduler takes.
const WEIGHT_MAX: u32 = 65_535;

impl Host {
    pub(super) fn ensure_volumes(&self, spec: &DomainSpec, ownership: &Ownership) -> Result<bool, HypervisorError> {
        const OPERATION: &str = "making volumes";
        check(spec, ownership, OPERATION)?;
        let name = ownership.hypervisor_name();
        let _turn = self.busy.turn(&name);
        self.connection.with(OPERATION, |connect| self.own_or_new(connect, &name, ownership))?;
        self.storage.ensure_volumes(spec, ownership)
    }

    pub(super) fn define(&self, spec: &DomainSpec, ownership: &Ownership) -> Result<bool, HypervisorError> {
        const OPERATION: &str = "defining the domain";
        check(spec, ownership, OPERATION)?;
        let name = ownership.hypervisor_name();
        let _turn = self.busy.turn(&name);
        self.connection.with(OPERATION, |connect| {
            let seen = self.own_or_new(connect, &name, ownership)?;
            let before = seen.as_ref().and_then(Seen::own_marks);
            let boot = self.storage.boot_files(spec, ownership)?;
            let mut marks = Marks {
                ownership: ownership.clone(),
                spec: spec.clone(),
                memory_bytes: spec.memory_bytes,
                weight: before.map_or(DEFAULT_WEIGHT, |marks| marks.weight),
                cap_percent: before.map_or(0, |marks| marks.cap_percent),
                devices: String::new(),
                disks: before.map(|marks| marks.disks.clone()).unwrap_or_default(),
            };
            if marks.spec_bytes() > SPEC_BYTES_MAX {
                let reason = format!("its description has {} bytes; {SPEC_BYTES_MAX} are possible", marks.spec_bytes());
                return Err(refused(OPERATION, reason).into());
            }
            let uuid = seen.as_ref().map(|seen| seen.domain.uuid_string()).transpose()?;
            let kind = self.connection.kind();
            // Whatever could be refused is, before anything is noted.
            let without_interfaces =
                Definition { kind, uuid: uuid.as_deref(), marks: &marks, boot: &boot, interfaces: &[] };
            without_interfaces.write().map_err(|error| unwritable(OPERATION, error))?;
            let balloon = seen.as_ref().and_then(|seen| balloon_kib(seen, spec.memory_with(seen.memory_bytes())));
            if let (Some(seen), Some(kib)) = (&seen, balloon) {
                self.check_growth(connect, seen, kib)?;
            }

            if self.guard.is_some() {
                guard::check_forwarding(spec)?;
            }
            let interfaces = self.storage.note(spec, ownership)?;
            marks.devices = devices_digest(&boot, &interfaces);
            let is_changed = before != Some(&marks);
            if is_changed {
                let definition =
                    Definition { kind, uuid: uuid.as_deref(), marks: &marks, boot: &boot, interfaces: &interfaces };
                let xml = definition.write().map_err(|error| unwritable(OPERATION, error))?;
                connect.define_domain_xml(&xml)?;
            }
            self.bind_interfaces()?;
            if let (Some(seen), Some(kib)) = (&seen, balloon) {
                seen.domain.set_memory_flags(kib, sys::VIR_DOMAIN_MEM_LIVE)?;
            }
            Ok(is_changed)
        })
    }

    pub(super) fn start(&self, name: &str) -> Result<bool, HypervisorError> {
        const OPERATION: &str = "starting the domain";
        let _turn = self.busy.turn(name);
        self.connection.with(OPERATION, |connect| {
            let (seen, marks) = self.own_defined(connect, name)?;
            let runs = self.note(std::slice::from_ref(&seen))?;
            let entry = runs.domains.get(name).cloned().unwrap_or_default();
            if seen.id.is_some() {
                return match seen.state(&entry) {
                    DomainState::Paused => seen.domain.resume().map(|()| true).map_err(Fault::from),
                    DomainState::ShuttingDown => {
                        Err(failed(OPERATION, format!("`{name}` is still shutting down")).into())
                    }
                    _ => Ok(false),
                };
            }
            let record = self.storage.record(name)?.ok_or_else(|| HypervisorError::NoDomain(name.to_owned()))?;
            check_volumes(&marks.spec, &record, OPERATION)?;
            self.put_control_domain_first(connect)?;
            self.bind_interfaces()?;
            let started = self.attach_and_start(connect, &seen, marks.clone(), &record.interfaces);
            if let Err(fault) = started {
                // Over a broken connection nobody can say that it did not start after all.
                if connection::is_alive(connect) && connect.lookup_domain_by_name(name)?.id().is_none() {
                    self.storage.detach(name)?;
                    self.check_room(connect, marks.memory_bytes)?;
                }
                return Err(fault);
            }
            let Some(seen) = find(connect, name)? else {
                return Err(failed(OPERATION, format!("`{name}` is gone")).into());
            };
            if let Some(id) = seen.id {
                let bind = || {
                    guard::check_devices(&record.interfaces)?;
                    guard::lead_back(&record.interfaces)
                };
                if let Some(Err(unbound)) = self.guard.as_ref().map(|_| bind()) {
                    self.end(connect, name, id)?;
                    return Err(unbound.into());
                }
                self.runs.change(|runs| {
                    let entry = runs.domains.entry(name.to_owned()).or_default();
                    *entry = Entry::started(id, entry);
                })?;
                self.weigh(&seen, &marks)?;
            }
            Ok(true)
        })
    }

    /// Has the rules for interfaces be those of all domains there are.
    fn bind_interfaces(&self) -> Result<(), HypervisorError> {
        self.guard.as_ref().map_or(Ok(()), |guard| guard.put(|| self.interfaces()))
    }

    /// The interfaces of all domains.
    pub(super) fn interfaces(&self) -> Result<Vec<Interface>, HypervisorError> {
        Ok(self.storage.records()?.into_iter().flat_map(|record| record.interfaces).collect())
    }

    /// Defines the domain with its disks as they are now, and starts it.
    fn attach_and_start(
        &self,
        connect: &Connect,
        seen: &Seen,
        marks: Marks,
        interfaces: &[Interface],
    ) -> Result<(), Fault> {
        const OPERATION: &str = "starting the domain";
        let boot = self.storage.boot_files(&marks.spec, &marks.ownership)?;
        let disks = self.storage.attach(&seen.name)?;
        if let Some(disk) = disks.iter().find(|disk| disk.device.to_str().is_none()) {
            let reason = format!("the name of its disk {} is not a text", disk.device.display());
            return Err(refused(OPERATION, reason).into());
        }
        let marks = Marks { disks, devices: devices_digest(&boot, interfaces), ..marks };
        let uuid = seen.domain.uuid_string()?;
        let kind = self.connection.kind();
        let definition = Definition { kind, uuid: Some(&uuid), marks: &marks, boot: &boot, interfaces };
        let xml = definition.write().map_err(|error| unwritable(OPERATION, error))?;
        connect.define_domain_xml(&xml)?.create()?;
        Ok(())
    }

    pub(super) fn stop(&self, name: &str, grace_ms: u64) -> Result<bool, HypervisorError> {
        let _turn = self.busy.turn(name);
        self.connection.with("stopping the domain", |connect| {
            let Some(seen) = self.own(connect, name)? else {
                // Of a domain that was never defined, volumes may exist.
                return match self.storage.record(name)? {
                    Some(_) => Ok(false),
                    None => Err(HypervisorError::NoDomain(name.to_owned()).into()),
                };
            };
            let runs = self.note(std::slice::from_ref(&seen))?;
            let Some(id) = seen.id else { return Ok(false) };
            let asked_before =
                runs.domains.get(name).and_then(|entry| entry.run_of(seen.id)).and_then(|run| run.shutdown_until_ms);
            let until = uptime_ms().saturating_add(grace_ms);
            if asked_before.is_some_and(|before| before <= until) {
                return Ok(false);
            }
            if grace_ms == 0 {
                self.end(connect, name, id)?;
                return Ok(true);
            }
            self.runs.change(|runs| {
                let run = runs.domains.get_mut(name).and_then(|entry| entry.run.as_mut()).filter(|run| run.id == id);
                if let Some(run) = run {
                    run.shutdown_until_ms = Some(until);
                }
            })?;
            // One that is suspended hears nothing.
            if seen.info.as_ref().is_some_and(|info| info.state.is(VirtState::Paused)) {
                let _ = seen.domain.resume();
            }
            // A guest that cannot hear it now is asked again, and destroyed in the end.
            let _ = seen.domain.shutdown();
            Ok(true)
        })
    }

    pub(super) fn suspend(&self, name: &str) -> Result<bool, HypervisorError> {
        const OPERATION: &str = "suspending the domain";
        let _turn = self.busy.turn(name);
        self.connection.with(OPERATION, |connect| {
            let (seen, _) = self.own_defined(connect, name)?;
            let runs = self.note(std::slice::from_ref(&seen))?;
            let entry = runs.domains.get(name).cloned().unwrap_or_default();
            match seen.state(&entry) {
                DomainState::Paused => Ok(false),
                DomainState::ShuttingDown => Err(failed(OPERATION, format!("`{name}` is shutting down")).into()),
                DomainState::Stopped | DomainState::Crashed => {
                    Err(refused(OPERATION, format!("`{name}` does not run")).into())
                }
                DomainState::Booting | DomainState::Running => Ok(seen.domain.suspend().map(|()| true)?),
            }
        })
    }

    /// Ends the run `id` of the domain at once, where it is still the one that runs.
    pub(super) fn end(&self, connect: &Connect, name: &str, id: u32) -> Result<(), Fault> {
        if let Some(seen) = find(connect, name)?.filter(|seen| seen.id == Some(id)) {
            // The CPU time it has used is lost with it.
            self.note_time(&seen)?;
            destroy(connect, &seen.domain, id)?;
        }
        if let Some(seen) = find(connect, name)? {
            self.runs.change(|runs| {
                let entry = runs.domains.entry(name.to_owned()).or_default();
                *entry = entry.after(seen.sight());
            })?;
        }
        self.storage.detach(name)?;
        Ok(())
    }

    fn note_time(&self, seen: &Seen) -> Result<(), HypervisorError> {
        self.runs.change(|runs| {
            let entry = runs.domains.entry(seen.name.clone()).or_default();
            *entry = entry.after(seen.sight());
        })
    }

    pub(super) fn remove(&self, name: &str) -> Result<bool, HypervisorError> {
        let _turn = self.busy.turn(name);
        let was_defined = self.undefine(name, || Ok(()))?;
        let had_volumes = self.storage.remove(name)?;
        self.forget_runs(name)?;
        Ok(was_defined || had_volumes)
    }

    pub(super) fn keep(&self, name: &str, kept: &Kept) -> Result<bool, HypervisorError> {
        let _turn = self.busy.turn(name);
        let keep = || {
            self.storage.detach(name)?;
            self.storage.keep(name, kept)
        };
        // The storage knows what is kept before the definition goes, which says what should be.
        let was_defined = self.undefine(name, || keep().map(drop))?;
        let is_news = keep()?;
        self.forget_runs(name)?;
        Ok(was_defined || is_news)
    }

    /// Ends a domain and takes its definition away, where there is one, and does something in between.
    fn undefine(&self, name: &str, between: impl Fn() -> Result<(), HypervisorError>) -> Result<bool, HypervisorError> {
        self.connection.with("removing the domain", |connect| {
            let Some(seen) = self.own(connect, name)? else { return Ok(false) };
            if let Some(id) = seen.id {
                destroy(connect, &seen.domain, id)?;
            }
            between()?;
            match seen.domain.undefine_flags(sys::VIR_DOMAIN_UNDEFINE_MANAGED_SAVE) {
                Ok(()) => {}
                Err(error) if is(&error, ErrorNumber::NoDomain) => {}
                Err(error) => return Err(error.into()),
            }
            self.storage.detach(name)?;
            self.forget_console(&seen.name);
            Ok(true)
        })
    }

    fn forget_runs(&self, name: &str) -> Result<(), HypervisorError> {
        if self.runs.read()?.domains.contains_key(name) {
            self.runs.change(|runs| runs.domains.remove(name))?;
        }
        Ok(())
    }

    pub(super) fn set_cpu(&self, name: &str, weight: u16, cap_percent: u32) -> Result<(), HypervisorError> {
        const OPERATION: &str = "setting the CPU weight";
        let _turn = self.busy.turn(name);
        self.connection.with(OPERATION, |connect| {
            let (seen, before) = self.own_defined(connect, name)?;
            if weight == 0 {
                return Err(refused(OPERATION, "the weight is 0; weights are 1 to 65535").into());
            }
            let marks = Marks { weight, cap_percent, ..before.clone() };
            if seen.id.is_some() {
                self.put_control_domain_first(connect)?;
                self.note(std::slice::from_ref(&seen))?;
                self.weigh(&seen, &marks)?;
            }
            if marks != before { mark(&seen, &marks, OPERATION) } else { Ok(()) }
        })
    }

    /// Gives the control domain the greatest weight there is. Disks, networks and this program run there: with the usual
    /// weight it would get next to nothing on a CPU that busy domains share with it.
    fn put_control_domain_first(&self, connect: &Connect) -> Result<(), Fault> {
        if self.connection.kind() != Kind::Xen {
            return Ok(());
        }
        let control = connect.lookup_domain_by_id(0)?;
        if control.scheduler_parameters()?.weight.is_some_and(|weight| weight < WEIGHT_MAX) {
            control
                .set_scheduler_parameters(&SchedulerInfo { weight: Some(WEIGHT_MAX), ..SchedulerInfo::default() })?;
        }
        Ok(())
    }

    /// Gives the scheduler the weight and cap of a running domain.
    pub(super) fn weigh(&self, seen: &Seen, marks: &Marks) -> Result<(), Fault> {
        let cap = match self.connection.kind() {
            // Xen refuses a cap of more than all its CPUs, which is none.
            Kind::Xen => {
                let most = seen.info.as_ref().map_or(1, |info| info.nr_virt_cpu).saturating_mul(100);
                Some(if marks.cap_percent >= most { 0 } else { marks.cap_percent })
            }
            Kind::Test => None,
        };
        let weight = Some(u32::from(marks.weight));
        seen.domain.set_scheduler_parameters(&SchedulerInfo { weight, cap, ..SchedulerInfo::default() })?;
        self.runs.change(|runs| {
            let run = runs.domains.get_mut(&seen.name).and_then(|entry| entry.run.as_mut());
            if let Some(run) = run.filter(|run| Some(run.id) == seen.id) {
                run.is_weighted = true;
            }
        })?;
        Ok(())
    }

    pub(super) fn set_memory(&self, name: &str, memory_bytes: u64) -> Result<(), HypervisorError> {
        const OPERATION: &str = "setting the memory";
        let _turn = self.busy.turn(name);
        self.connection.with(OPERATION, |connect| {
            let (seen, before) = self.own_defined(connect, name)?;
            if memory_bytes == 0 {
                return Err(refused(OPERATION, "a domain needs some memory").into());
            }
            if let (Some(_), Some(info)) = (seen.id, &seen.info) {
                let kib = kibibytes(memory_bytes);
                if kib > info.max_mem {
                    let reason = format!(
                        "`{name}` can have {} until it is stopped and started again; define it with {}",
                        ResourceKind::Memory.show(Quantity::from_bytes(info.max_mem.saturating_mul(1024))),
                        ResourceKind::Memory.show(Quantity::from_bytes(memory_bytes)),
                    );
                    return Err(refused(OPERATION, reason).into());
                }
                self.check_growth(connect, &seen, kib)?;
                // The guest gives and takes in its own time.
                seen.domain.set_memory_flags(kib, sys::VIR_DOMAIN_MEM_LIVE)?;
            }
            if seen.id.is_some() && before.spec.is_elastic() {
                return Ok(());
            }
            let marks = Marks { memory_bytes, ..before.clone() };
            if marks != before { mark(&seen, &marks, OPERATION) } else { Ok(()) }
        })
    }

    /// That the host has what a running domain would grow by.
    fn check_growth(&self, connect: &Connect, seen: &Seen, kib: u64) -> Result<(), Fault> {
        let growth = kib.saturating_mul(1024).saturating_sub(seen.memory_bytes());
        if growth == 0 { Ok(()) } else { self.check_room(connect, growth) }
    }

    fn check_room(&self, connect: &Connect, asked_bytes: u64) -> Result<(), Fault> {
        match self.free_memory_bytes(connect)? {
            Some(free) if free < asked_bytes => {
                let (available, asked) = (Quantity::from_bytes(free), Quantity::from_bytes(asked_bytes));
                Err(HypervisorError::Full { kind: ResourceKind::Memory, available, asked }.into())
            }
            _ => Ok(()),
        }
    }

    /// The domain `name` of ours; `None` where libvirt has none. [`HypervisorError::NameTaken`] for a foreign one.
    pub(super) fn own(&self, connect: &Connect, name: &str) -> Result<Option<Seen>, Fault> {
        let Some(seen) = find(connect, name)? else { return Ok(None) };
        match &seen.marks {
            Ok(Some(_)) => Ok(Some(seen)),
            Ok(None) => Err(HypervisorError::NameTaken(name.to_owned()).into()),
            Err(damage) => {
                let reason = format!("{damage}; `virsh dumpxml {name}` shows it, and nothing is done with it");
                Err(refused("touching the domain", reason).into())
            }
        }
    }

    /// One of ours, with what it was made from.
    fn own_defined(&self, connect: &Connect, name: &str) -> Result<(Seen, Marks), Fault> {
        let found = self.own(connect, name)?;
        let marks = found.as_ref().and_then(|seen| seen.own_marks().cloned());
        found.zip(marks).ok_or_else(|| HypervisorError::NoDomain(name.to_owned()).into())
    }

    /// The domain `name`, where there is none yet or it belongs to the same account, pool and path.
    fn own_or_new(&self, connect: &Connect, name: &str, ownership: &Ownership) -> Result<Option<Seen>, Fault> {
        // The name holds only the beginning of the account, so a name alone proves nothing.
        let is_other = |owner: &Ownership| {
            (&owner.account, &owner.pool, &owner.path) != (&ownership.account, &ownership.pool, &ownership.path)
        };
        let seen = self.own(connect, name)?;
        let record = self.storage.record(name)?;
        let owners = [
            seen.as_ref().and_then(Seen::own_marks).map(|marks| &marks.ownership),
            record.as_ref().map(|r| &r.ownership),
        ];
        if owners.into_iter().flatten().any(is_other) {
            return Err(HypervisorError::NameTaken(name.to_owned()).into());
        }
        Ok(seen)
    }
}

/// Keeps new marks with the domain, for this run and the next.
fn mark(seen: &Seen, marks: &Marks, operation: &'static str) -> Result<(), Fault> {
    let xml = marks.plain_element().write().map_err(|error| unwritable(operation, error))?;
    let kind = sys::VIR_DOMAIN_METADATA_ELEMENT.cast_signed();
    let when = if seen.id.is_some() {
        sys::VIR_DOMAIN_AFFECT_LIVE | sys::VIR_DOMAIN_AFFECT_CONFIG
    } else {
        sys::VIR_DOMAIN_AFFECT_CONFIG
    };
    Ok(seen.domain.set_metadata(kind, Some(&xml), Some(PREFIX), Some(NAMESPACE), when)?)
}

/// Destroys a run. The toolstack sometimes dies at the first try and leaves a domain that only its id still finds.
fn destroy(connect: &Connect, domain: &Domain, id: u32) -> Result<(), Fault> {
    let Err(error) = domain.destroy() else { return Ok(()) };
    // Where it is gone it ended by itself meanwhile, or the first try did it after all.
    let find = || match connect.lookup_domain_by_id(id) {
        Err(gone) if is(&gone, ErrorNumber::NoDomain) => Ok(None),
        found => found.map(Some),
    };
    let Some(again) = find()? else { return Ok(()) };
    match again.destroy() {
        Err(_) if find()?.is_some() => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// What a running domain's balloon is to be set to for `memory_bytes`, in KiB, where that is possible and not so yet.
fn balloon_kib(seen: &Seen, memory_bytes: u64) -> Option<u64> {
    let info = seen.info.as_ref().filter(|_| seen.id.is_some())?;
    let kib = kibibytes(memory_bytes);
    (kib <= info.max_mem && kib != info.memory).then_some(kib)
}

fn check(spec: &DomainSpec, ownership: &Ownership, operation: &'static str) -> Result<(), HypervisorError> {
    fault_of(spec, ownership).map_or(Ok(()), |reason| Err(refused(operation, reason)))
}

fn check_volumes(spec: &DomainSpec, record: &DomainRecord, operation: &'static str) -> Result<(), HypervisorError> {
    let lacks = |name: &str, size: u64| !record.volumes.iter().any(|(has, size_is)| has == name && *size_is >= size);
    match spec.volumes.iter().find(|volume| lacks(&volume.name, volume.size_bytes)) {
        Some(volume) => {
            let reason = format!("its volume `{}` does not exist in the size that it needs", volume.name);
            Err(failed(operation, reason))
        }
        None => Ok(()),
    }
}

fn unwritable(operation: &'static str, error: Unwritable) -> Fault {
    refused(operation, error.to_string()).into()
}
