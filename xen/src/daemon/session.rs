//! What a session may do with domains: only its own account's, only within what that account has reserved.

use std::collections::BTreeMap;

use tycoon_market::auctioneer::AccountState;
use tycoon_market::{AccountId, HostAccountId, PoolName, Quantity, ResourceKind};

use super::market::{MarketError, reserved};
use super::usage::disk_bytes;
use super::{HostDaemon, alone};
use crate::hypervisor::HypervisorError;
use crate::own_image;
use crate::protocol::{Answer, HostError, Request};
use crate::spec::{DomainPath, DomainSpec, Ownership, hypervisor_name};
use crate::spec_check;
use crate::status::DomainStatus;

/// The longest that a domain may take to shut down, in milliseconds: ten minutes.
const SHUTDOWN_GRACE_MAX_MS: u64 = 600_000;

/// What a request that is being carried out takes at most, so that two at a time do not both take what is left.
pub(super) struct Taking {
    account: HostAccountId,
    path: DomainPath,
    needs: Needs,
}

/// Memory and disk space in bytes.
#[derive(Clone, Copy, Default)]
struct Needs {
    memory: u64,
    disk: u64,
}

impl Needs {
    fn plus(self, other: Self) -> Self {
        Self { memory: self.memory.saturating_add(other.memory), disk: self.disk.saturating_add(other.disk) }
    }

    fn max(self, other: Self) -> Self {
        Self { memory: self.memory.max(other.memory), disk: self.disk.max(other.disk) }
    }

    /// What a domain has, or would have once it runs.
    fn of(status: &DomainStatus) -> Self {
        let defined = status.spec.as_ref().map_or(0, |spec| spec.memory_bytes);
        Self { memory: status.held_memory_bytes().max(defined), disk: disk_bytes(status) }
    }

    /// What a domain has once it is as `spec` says. Volumes never shrink, and those that the spec does not name stay.
    fn becoming(spec: &DomainSpec, now: Option<&DomainStatus>) -> Self {
        let mut volumes: BTreeMap<&str, u64> = BTreeMap::new();
        let existing = now.iter().flat_map(|status| &status.volumes).map(|(name, size)| (name.as_str(), *size));
        for (name, size) in existing.chain(spec.volumes.iter().map(|volume| (volume.name.as_str(), volume.size_bytes)))
        {
            let known = volumes.entry(name).or_default();
            *known = size.max(*known);
        }
        let disk = volumes.values().fold(0, |sum: u64, size| sum.saturating_add(*size));
        Self { memory: spec.memory_bytes, disk }
    }
}

/// What a request wants of a domain.
#[derive(Clone, Copy)]
pub(super) enum Wanted<'a> {
    /// That it is as the spec says.
    Made(&'a DomainSpec),
    /// That it runs.
    Running(&'a DomainPath),
}

impl Wanted<'_> {
    const fn path(&self) -> &DomainPath {
        match self {
            Self::Made(spec) => &spec.path,
            Self::Running(path) => path,
        }
    }

    /// What the domain itself has then, being `now` now.
    fn needs(&self, now: Option<&DomainStatus>) -> Needs {
        match self {
            Self::Made(spec) => Needs::becoming(spec, now),
            Self::Running(_) => now.map(Needs::of).unwrap_or_default(),
        }
    }

    /// What another domain has meanwhile. Whoever makes a domain means to run it beside those that are made already;
    /// whoever starts one takes memory beside those that run.
    fn needs_beside(&self, other: &DomainStatus) -> Needs {
        let needs = Needs::of(other);
        match self {
            Self::Running(_) if !other.state.is_active() => Needs { memory: 0, ..needs },
            _ => needs,
        }
    }
}

/// Ends the taking when it is dropped.
pub(super) struct TakingGuard<'a> {
    daemon: &'a HostDaemon,
    number: u64,
}

impl Drop for TakingGuard<'_> {
    fn drop(&mut self) {
        alone(&self.daemon.takings).remove(&self.number);
    }
}

impl HostDaemon {
    /// Answers one request of a session that belongs to `account`.
    pub fn session(&self, account: AccountId, request: Request) -> Result<Answer, HostError> {
        match request {
            Request::Inspect { pool } => self.inspect(account, pool.as_ref()),
            Request::EnsureImage { image } => {
                let facts = self.hypervisor.facts().map_err(|error| failed("looking at the host", error))?;
                let available = own_image::visible(&facts.images, Some(&account));
                if !available.contains(&image) {
                    return Err(HostError::NoImage { image, available });
                }
                // What the account has brought for itself has another name on the host.
                let own = own_image::name_on_host(&account, &image);
                let name = if facts.images.contains(&image) { &image } else { &own };
                let changed =
                    self.hypervisor.ensure_image(name).map_err(|error| failed("fetching the image", error))?;
                Ok(Answer::Ensured { changed, domain: None })
            }
            Request::EnsureVolumes { pool, generation, spec } => {
                spec_check::check(&spec).map_err(|reason| HostError::BadRequest { reason })?;
                let _taking = self.admit(account, &pool, generation, Wanted::Made(&spec))?;
                let ownership = owner(account, &pool, generation, &spec);
                let changed =
                    self.hypervisor.ensure_volumes(&spec, &ownership).map_err(|error| failed("making disks", error))?;
                self.ensured(account, &pool, &spec.path, changed)
            }
            Request::EnsureDomain { pool, generation, spec } => {
                spec_check::check(&spec).map_err(|reason| HostError::BadRequest { reason })?;
                let _taking = self.admit(account, &pool, generation, Wanted::Made(&spec))?;
                let ownership = owner(account, &pool, generation, &spec);
                let changed = self
                    .hypervisor
                    .define(&spec, &ownership, self.clock.now())
                    .map_err(|error| failed("defining the domain", error))?;
                self.ensured(account, &pool, &spec.path, changed)
            }
            Request::EnsureRunning { pool, generation, path } => {
                let _taking = self.admit(account, &pool, generation, Wanted::Running(&path))?;
                let domain = self.own_domain(account, &pool, &path)?;
                let Some(domain) = domain else { return Err(HostError::NoDomain { pool, path }) };
                let changed =
                    self.start_with_room(&domain.name).map_err(|error| failed("starting the domain", error))?;
                self.note_wanted(&domain);
                self.enforce();
                self.ensured(account, &pool, &path, changed)
            }
            Request::EnsureStopped { pool, generation, path, grace_ms } => {
                self.check_generation(account, &pool, generation)?;
                let grace_ms = grace_ms.min(SHUTDOWN_GRACE_MAX_MS);
                let changed = match self.own_domain(account, &pool, &path)? {
                    None => false,
                    Some(domain) => {
                        self.note_unwanted(&domain.name)?;
                        let stopped = self.hypervisor.stop(&domain.name, grace_ms, self.clock.now());
                        stopped.map_err(|error| failed("stopping the domain", error))?
                    }
                };
                self.ensured(account, &pool, &path, changed)
            }
            Request::EnsureSuspended { pool, generation, path } => {
                self.check_generation(account, &pool, generation)?;
                let domain = self.own_domain(account, &pool, &path)?;
                let Some(domain) = domain else { return Err(HostError::NoDomain { pool, path }) };
                self.take_back(&domain)?;
                let changed = self
                    .hypervisor
                    .suspend(&domain.name, self.clock.now())
                    .map_err(|error| failed("suspending the domain", error))?;
                // The others of the account have its part of the CPU.
                self.enforce();
                self.ensured(account, &pool, &path, changed)
            }
            Request::EnsureListening { pool, path, port } => {
                let domain = self.own_domain(account, &pool, &path)?;
                let Some(domain) = domain else { return Err(HostError::NoDomain { pool, path }) };
                let listens = self.hypervisor.listens(&domain.name, port, self.clock.now());
                if !listens.map_err(|error| failed("looking whether the domain listens", error))? {
                    return Err(HostError::NotListening { path, port });
                }
                self.ensured(account, &pool, &path, false)
            }
            Request::EnsureAbsent { pool, generation, path, keep } => {
                self.check_generation(account, &pool, generation)?;
                let changed = match self.own_domain(account, &pool, &path)? {
                    None => false,
                    Some(domain) => {
                        self.note_unwanted(&domain.name)?;
                        self.end(&domain, &keep).map_err(|error| failed("removing the domain", error))?
                    }
                };
                self.ensured(account, &pool, &path, changed)
            }
            Request::EnsureNothingKept { pool, path } => {
                let changed = match self.own_domain(account, &pool, &path)? {
                    None => false,
                    Some(domain) if domain.kept.is_none() => {
                        let reason = format!("`{path}` of pool `{pool}` is there, and uses its volumes");
                        return Err(HostError::BadRequest { reason });
                    }
                    Some(domain) => {
                        self.end(&domain, &[]).map_err(|error| failed("removing the kept volumes", error))?
                    }
                };
                self.ensured(account, &pool, &path, changed)
            }
        }
    }

    /// The domain is gone, and its volumes but for those with these names, which stay for the grace of disks.
    pub(super) fn end(&self, domain: &DomainStatus, keep: &[String]) -> Result<bool, HypervisorError> {
        let now = self.clock.now();
        let grace = self.lock().auctioneer.config().disk_grace;
        match domain.leaving(keep, now.plus(grace)) {
            Some(kept) => self.hypervisor.keep(&domain.name, &kept, now),
            None => self.hypervisor.remove(&domain.name, now),
        }
    }

    fn inspect(&self, account: AccountId, pool: Option<&PoolName>) -> Result<Answer, HostError> {
        let is_its = |status: &DomainStatus| {
            let own = status.ownership.as_ref();
            own.is_some_and(|own| own.account == account && pool.is_none_or(|pool| own.pool == *pool))
        };
        let mut domains = self.all_domains()?;
        // Whoever leads a host only while it is used comes by too seldom to do this at a tick.
        if self.remove_overdue(&domains) {
            domains = self.all_domains()?;
        }
        domains.retain(is_its);
        self.tell_restarts(&mut domains);
        domains.sort_by(|a, b| {
            let key = |status: &DomainStatus| status.ownership.as_ref().map(|own| (own.pool.clone(), own.path.clone()));
            key(a).cmp(&key(b))
        });
        Ok(Answer::Domains { domains })
    }

    /// Adds to what the hypervisor says how the domains fared with their restart policies.
    fn tell_restarts(&self, domains: &mut [DomainStatus]) {
        let (state, now) = (self.lock(), self.clock.now());
        for domain in domains {
            domain.restarts = state.restart_report(domain, now);
        }
    }

    fn all_domains(&self) -> Result<Vec<DomainStatus>, HostError> {
        self.hypervisor.domains(self.clock.now()).map_err(|error| failed("listing domains", error))
    }

    /// The account's own domain. The hypervisor's name for it holds only the beginning of the account's id, which
    /// others can have too: what is somebody else's is not looked at, let alone touched.
    fn own_domain(
        &self,
        account: AccountId,
        pool: &PoolName,
        path: &DomainPath,
    ) -> Result<Option<DomainStatus>, HostError> {
        let name = hypervisor_name(&account, pool, path);
        let found = self.hypervisor.domain(&name, self.clock.now());
        let Some(domain) = found.map_err(|error| failed("looking at the domain", error))? else { return Ok(None) };
        let is_its =
            domain.ownership.as_ref().is_some_and(|own| (own.account, &own.pool, &own.path) == (account, pool, path));
        if is_its { Ok(Some(domain)) } else { Err(HostError::NameTaken { name }) }
    }

    fn ensured(
        &self,
        account: AccountId,
        pool: &PoolName,
        path: &DomainPath,
        changed: bool,
    ) -> Result<Answer, HostError> {
        let mut domain = self.own_domain(account, pool, path)?;
        self.tell_restarts(domain.as_mut_slice());
        Ok(Answer::Ensured { changed, domain })
    }

    /// Refuses plans older than the newest seen, and notes a newer one durably. Where nothing is remembered of the pool
    /// (the memory was lost), what is on the domains counts.
    fn check_generation(&self, account: AccountId, pool: &PoolName, asked: u64) -> Result<(), HostError> {
        let id = HostAccountId::new(account, pool.clone());
        let remembered = self.lock().generation(&id);
        let current = match remembered {
            Some(current) => current,
            None => {
                let domains = self.all_domains()?;
                let its = domains.iter().filter_map(|status| status.ownership.as_ref());
                let its = its.filter(|own| own.account == account && own.pool == *pool);
                its.map(|own| own.generation).max().unwrap_or(0)
            }
        };
        if asked < current {
            return Err(HostError::StaleGeneration { current, asked });
        }
        if asked == current || remembered.is_none() {
            return Ok(());
        }
        let noted = self.change(|state, _| {
            match state.generation(&id) {
                Some(current) if asked < current => return Err(MarketError::StaleGeneration { current, asked }),
                _ => state.note_generation(&id, asked),
            }
            Ok(())
        });
        noted.map_err(|error| match error {
            MarketError::StaleGeneration { current, asked } => HostError::StaleGeneration { current, asked },
            other => HostError::Failed { operation: "noting the plan".into(), reason: other.to_string() },
        })
    }

    /// The account may have domains of the pool run here.
    fn check_paid(&self, account: AccountId, pool: &PoolName) -> Result<(), HostError> {
        if self.lock().banned.contains(&account) {
            return Err(HostError::Banned);
        }
        let view = self.lock().auctioneer.account(&HostAccountId::new(account, pool.clone()));
        match view.map(|view| view.state) {
            None => Err(HostError::NoAccount { pool: pool.clone() }),
            Some(AccountState::Active | AccountState::Warned { .. }) => Ok(()),
            Some(_) => Err(HostError::NotPaid { pool: pool.clone() }),
        }
    }

    /// The account may have what is wanted of a domain of the pool: it pays, and what it has reserved is enough for that
    /// beside its other domains here, and beside what other requests are taking at this moment.
    pub(super) fn admit(
        &self,
        account: AccountId,
        pool: &PoolName,
        generation: u64,
        wanted: Wanted<'_>,
    ) -> Result<TakingGuard<'_>, HostError> {
        self.check_generation(account, pool, generation)?;
        self.check_paid(account, pool)?;
        let id = HostAccountId::new(account, pool.clone());
        let mut takings = alone(&self.takings);
        let domains = self.all_domains()?;
        let its = domains.iter().filter_map(|status| Some((status.ownership.as_ref()?, status)));
        // What is kept is not paid for, but for what becomes part of a domain again.
        let is_counted = |own: &Ownership, status: &DomainStatus| status.kept.is_none() || own.path == *wanted.path();
        let its = its.filter(|(own, status)| own.account == account && own.pool == *pool && is_counted(own, status));
        let its: BTreeMap<&DomainPath, &DomainStatus> = its.map(|(own, status)| (&own.path, status)).collect();
        let now = its.get(wanted.path()).copied();
        let own = wanted.needs(now);
        let mut needs: BTreeMap<&DomainPath, Needs> =
            its.iter().map(|(path, status)| (*path, wanted.needs_beside(status))).collect();
        needs.insert(wanted.path(), own);
        for taking in takings.values().filter(|taking| taking.account == id) {
            let known = needs.entry(&taking.path).or_default();
            *known = taking.needs.max(*known);
        }
        let all = needs.values().fold(Needs::default(), |sum, needs| sum.plus(*needs));
        let state = self.lock();
        if now.is_none() && state.auctioneer.is_draining() {
            return Err(HostError::Draining);
        }
        for (kind, asked) in [(ResourceKind::Memory, all.memory), (ResourceKind::Disk, all.disk)] {
            let (reserved, asked) = (reserved(&state, &id, kind), Quantity::from_bytes(asked));
            if asked > reserved {
                return Err(HostError::BeyondReservation {
                    resource: kind.to_string(),
                    reserved: kind.show(reserved),
                    asked: kind.show(asked),
                });
            }
        }
        let spec = match wanted {
            Wanted::Made(spec) => Some(spec),
            Wanted::Running(_) => now.and_then(|status| status.spec.as_ref()),
        };
        if let Some(address) = spec.and_then(|spec| state.unique_not_held(&id, spec)) {
            return Err(HostError::NotHeld { pool: pool.clone(), id: address });
        }
        drop(state);
        let number = takings.last_key_value().map_or(0, |(number, _)| number.wrapping_add(1));
        takings.insert(number, Taking { account: id, path: wanted.path().clone(), needs: own });
        Ok(TakingGuard { daemon: self, number })
    }
}

fn owner(account: AccountId, pool: &PoolName, generation: u64, spec: &DomainSpec) -> Ownership {
    Ownership { account, pool: pool.clone(), path: spec.path.clone(), generation, digest: spec.digest() }
}

pub(super) fn failed(operation: &str, error: HypervisorError) -> HostError {
    match error {
        HypervisorError::NameTaken(name) => HostError::NameTaken { name },
        HypervisorError::NoImage(image) => HostError::NoImage { image, available: Vec::new() },
        HypervisorError::Full { kind, available, asked } => {
            HostError::Full { resource: kind.to_string(), available: kind.show(available), asked: kind.show(asked) }
        }
        HypervisorError::Refused { .. } | HypervisorError::AddressTaken(_) | HypervisorError::NoDomain(_) => {
            HostError::BadRequest { reason: error.to_string() }
        }
        HypervisorError::Failed { .. } => {
            HostError::Failed { operation: operation.to_owned(), reason: error.to_string() }
        }
    }
}
