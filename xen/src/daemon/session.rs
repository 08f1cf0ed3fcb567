//! What a session may do with domains: only its own account's, only within what that account has reserved.

use tycoon_market::auctioneer::AccountState;
use tycoon_market::{AccountId, HostAccountId, PoolName, Quantity, ResourceKind};

use super::HostDaemon;
use super::market::{MarketError, disk_bytes, note_generation, reserved};
use crate::hypervisor::HypervisorError;
use crate::protocol::{Answer, HostError, Request};
use crate::spec::{DomainPath, DomainSpec, Ownership, hypervisor_name};
use crate::status::DomainStatus;

impl HostDaemon {
    /// Answers one request of a session that belongs to `account`.
    pub fn session(&self, account: AccountId, request: Request) -> Result<Answer, HostError> {
        match request {
            Request::Inspect { pool } => self.inspect(account, pool.as_ref()),
            Request::EnsureImage { image } => {
                let facts = self.hypervisor.facts().map_err(|error| failed("looking at the host", error))?;
                if !facts.images.contains(&image) {
                    return Err(HostError::NoImage { image, available: facts.images });
                }
                let changed =
                    self.hypervisor.ensure_image(&image).map_err(|error| failed("fetching the image", error))?;
                Ok(Answer::Ensured { changed, domain: None })
            }
            Request::EnsureVolumes { pool, generation, spec } => {
                self.admit(account, &pool, generation, Some(&spec))?;
                let ownership = owner(account, &pool, generation, &spec);
                let changed =
                    self.hypervisor.ensure_volumes(&spec, &ownership).map_err(|error| failed("making disks", error))?;
                self.ensured(account, &pool, &spec.path, changed)
            }
            Request::EnsureDomain { pool, generation, spec } => {
                self.admit(account, &pool, generation, Some(&spec))?;
                let ownership = owner(account, &pool, generation, &spec);
                let changed = self
                    .hypervisor
                    .define(&spec, &ownership, self.clock.now())
                    .map_err(|error| failed("defining the domain", error))?;
                self.ensured(account, &pool, &spec.path, changed)
            }
            Request::EnsureRunning { pool, generation, path } => {
                self.admit(account, &pool, generation, None)?;
                let name = self.existing(account, &pool, &path)?.name;
                let changed = self
                    .hypervisor
                    .start(&name, self.clock.now())
                    .map_err(|error| failed("starting the domain", error))?;
                self.enforce(&mut self.lock());
                self.ensured(account, &pool, &path, changed)
            }
            Request::EnsureStopped { pool, generation, path, grace_ms } => {
                self.check_generation(account, &pool, generation)?;
                let name = hypervisor_name(&account, &pool, &path);
                let changed = match self.domain(&name)? {
                    None => false,
                    Some(_) => self
                        .hypervisor
                        .stop(&name, grace_ms, self.clock.now())
                        .map_err(|error| failed("stopping the domain", error))?,
                };
                self.ensured(account, &pool, &path, changed)
            }
            Request::EnsureAbsent { pool, generation, path } => {
                self.check_generation(account, &pool, generation)?;
                let name = hypervisor_name(&account, &pool, &path);
                let changed = match self.domain(&name)? {
                    None => false,
                    Some(_) => self
                        .hypervisor
                        .remove(&name, self.clock.now())
                        .map_err(|error| failed("removing the domain", error))?,
                };
                self.ensured(account, &pool, &path, changed)
            }
        }
    }

    fn inspect(&self, account: AccountId, pool: Option<&PoolName>) -> Result<Answer, HostError> {
        let is_its = |status: &DomainStatus| {
            let own = status.ownership.as_ref();
            own.is_some_and(|own| own.account == account && pool.is_none_or(|pool| own.pool == *pool))
        };
        let mut domains = self.all_domains()?;
        domains.retain(is_its);
        domains.sort_by(|a, b| {
            let key = |status: &DomainStatus| status.ownership.as_ref().map(|own| (own.pool.clone(), own.path.clone()));
            key(a).cmp(&key(b))
        });
        Ok(Answer::Domains { domains })
    }

    fn all_domains(&self) -> Result<Vec<DomainStatus>, HostError> {
        self.hypervisor.domains(self.clock.now()).map_err(|error| failed("listing domains", error))
    }

    fn domain(&self, name: &str) -> Result<Option<DomainStatus>, HostError> {
        self.hypervisor.domain(name, self.clock.now()).map_err(|error| failed("looking at the domain", error))
    }

    fn existing(&self, account: AccountId, pool: &PoolName, path: &DomainPath) -> Result<DomainStatus, HostError> {
        let name = hypervisor_name(&account, pool, path);
        self.domain(&name)?.ok_or_else(|| HostError::NoDomain { pool: pool.clone(), path: path.clone() })
    }

    fn ensured(
        &self,
        account: AccountId,
        pool: &PoolName,
        path: &DomainPath,
        changed: bool,
    ) -> Result<Answer, HostError> {
        let domain = self.domain(&hypervisor_name(&account, pool, path))?;
        Ok(Answer::Ensured { changed, domain })
    }

    /// Refuses plans older than the newest seen; notes a newer one durably.
    fn check_generation(&self, account: AccountId, pool: &PoolName, generation: u64) -> Result<(), HostError> {
        let id = HostAccountId::new(account, pool.clone());
        let known = self.lock().generations.get(&id).copied();
        if known == Some(generation) {
            return Ok(());
        }
        self.change(|state| note_generation(state, &id, generation)).map_err(|error| match error {
            MarketError::StaleGeneration { current, asked } => HostError::StaleGeneration { current, asked },
            other => HostError::Failed { operation: "noting the plan".into(), reason: other.to_string() },
        })
    }

    /// The account may change domains of the pool, and `spec`, where one is given, fits into what it has reserved
    /// beside its other domains here.
    fn admit(
        &self,
        account: AccountId,
        pool: &PoolName,
        generation: u64,
        spec: Option<&DomainSpec>,
    ) -> Result<(), HostError> {
        self.check_generation(account, pool, generation)?;
        let id = HostAccountId::new(account, pool.clone());
        let state = self.lock();
        let view = state.auctioneer.account(&id).ok_or_else(|| HostError::NoAccount { pool: pool.clone() })?;
        if !matches!(view.state, AccountState::Active | AccountState::Warned { .. }) {
            return Err(HostError::NotPaid { pool: pool.clone() });
        }
        if let Some(spec) = spec {
            let domains = self.all_domains()?;
            let others = domains.iter().filter(|status| {
                let own = status.ownership.as_ref();
                own.is_some_and(|own| own.account == account && own.pool == *pool && own.path != spec.path)
            });
            let (mut memory, mut disk) = (spec.memory_bytes, spec.disk_bytes());
            for other in others {
                memory = memory.saturating_add(other.memory_bytes);
                disk = disk.saturating_add(disk_bytes(other));
            }
            for (kind, asked) in [(ResourceKind::Memory, memory), (ResourceKind::Disk, disk)] {
                let reserved = reserved(&state, &id, kind);
                let asked = Quantity::from_bytes(asked);
                if asked > reserved {
                    return Err(HostError::BeyondReservation {
                        resource: kind.to_string(),
                        reserved: kind.show(reserved),
                        asked: kind.show(asked),
                    });
                }
            }
        }
        Ok(())
    }
}

fn owner(account: AccountId, pool: &PoolName, generation: u64, spec: &DomainSpec) -> Ownership {
    Ownership { account, pool: pool.clone(), path: spec.path.clone(), generation, digest: spec.digest() }
}

fn failed(operation: &str, error: HypervisorError) -> HostError {
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
