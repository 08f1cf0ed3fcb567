//! The volumes of an account on the hosts: those that domains use, and those that are kept of domains that were removed.

use serde::Serialize;
use tycoon_market::{HostName, PoolName, Timestamp};
use tycoon_planner::world::History;
use tycoon_xen::protocol::Request;
use tycoon_xen::spec::DomainPath;

use crate::error::ExecutorError;
use crate::inventory::ask_all;
use crate::link::{LinkError, Site, SiteHost};
use crate::status::{PoolDomains, domains_of};

/// One volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VolumeRow {
    /// The pool of its domain.
    pub pool: PoolName,
    /// Its domain.
    pub domain: DomainPath,
    /// Its name in the domain.
    pub volume: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// The host it is on.
    pub host: HostName,
    /// When its host removes it; `None` while its domain is there.
    pub kept_until: Option<Timestamp>,
}

/// What was found, and where nobody could look.
#[derive(Clone, Debug, Default)]
pub struct Volumes {
    /// The volumes, ordered by pool, domain and host.
    pub found: Vec<VolumeRow>,
    /// Hosts that could not be asked, and why, as the rest of a sentence that begins with the name.
    pub unknown: Vec<(HostName, String)>,
}

/// The volumes of one pool or of all. `history` is what the pool's journal remembers.
///
/// # Errors
/// The hosts cannot be listed.
pub fn volumes(site: &dyn Site, pool: Option<&PoolName>, history: &History) -> Result<Volumes, ExecutorError> {
    let PoolDomains { found, unknown } = domains_of(site, pool, history)?;
    let mut rows = Vec::new();
    for (host, domain) in &found {
        let Some(own) = &domain.ownership else { continue };
        let kept_until = domain.kept.as_ref().map(|kept| kept.until);
        rows.extend(domain.volumes.iter().map(|(volume, bytes)| VolumeRow {
            pool: own.pool.clone(),
            domain: own.path.clone(),
            volume: volume.clone(),
            bytes: *bytes,
            host: host.name.clone(),
            kept_until,
        }));
    }
    // The order of the volumes of one domain is the host's.
    rows.sort_by(|a, b| {
        (&a.pool, a.domain.natural_order(), &a.host).cmp(&(&b.pool, b.domain.natural_order(), &b.host))
    });
    Ok(Volumes { found: rows, unknown })
}

/// What is kept of one domain on one host, and whether it is gone now.
pub struct Removal {
    /// Its domain.
    pub domain: DomainPath,
    /// The host.
    pub host: HostName,
    /// The names of the volumes.
    pub volumes: Vec<String>,
    /// Why they are still there, where they are.
    pub outcome: Result<(), LinkError>,
}

/// Something that is kept, before it is removed.
pub struct KeptThere {
    host: SiteHost,
    /// Its domain.
    pub domain: DomainPath,
    /// The names and sizes in bytes of the volumes.
    pub volumes: Vec<(String, u64)>,
}

/// What is kept, and where nobody could look.
pub struct AllKept {
    /// What was found.
    pub found: Vec<KeptThere>,
    /// Hosts that could not be asked, and why, as the rest of a sentence that begins with the name.
    pub unknown: Vec<(HostName, String)>,
}

impl KeptThere {
    /// The host it is on.
    pub const fn host(&self) -> &HostName {
        &self.host.name
    }
}

/// What is kept of a pool, or of one of its domains, and the hosts that could not be asked.
///
/// # Errors
/// The hosts cannot be listed.
pub fn kept(
    site: &dyn Site,
    pool: &PoolName,
    path: Option<&DomainPath>,
    history: &History,
) -> Result<AllKept, ExecutorError> {
    let PoolDomains { found, unknown } = domains_of(site, Some(pool), history)?;
    let kept = found.into_iter().filter(|(_, domain)| domain.kept.is_some()).filter_map(|(host, domain)| {
        let domain_path = domain.ownership?.path;
        let is_meant = path.is_none_or(|path| *path == domain_path);
        is_meant.then_some(KeptThere { host, domain: domain_path, volumes: domain.volumes })
    });
    Ok(AllKept { found: kept.collect(), unknown })
}

/// Has hosts remove what they keep.
pub(crate) fn remove_kept(pool: &PoolName, kept: &[KeptThere]) -> Vec<Removal> {
    let outcomes = ask_all(kept, |kept| {
        let request = Request::EnsureNothingKept { pool: pool.clone(), path: kept.domain.clone() };
        kept.host.link.request(&request).map(drop)
    });
    let removal = |(kept, outcome): (&KeptThere, Result<(), LinkError>)| Removal {
        domain: kept.domain.clone(),
        host: kept.host.name.clone(),
        volumes: kept.volumes.iter().map(|(name, _)| name.clone()).collect(),
        outcome,
    };
    kept.iter().zip(outcomes).map(removal).collect()
}
