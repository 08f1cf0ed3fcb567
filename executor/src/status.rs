//! What there is now: the state of one pool, and the list of all.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use serde::Serialize;
use tycoon_bank::api::RefusedClaim;
use tycoon_market::auctioneer::AccountState;
use tycoon_market::{Credits, HostId, HostName, PoolName, Quantity, Rate, ResourceKind, Timestamp};
use tycoon_planner::world::History;
use tycoon_xen::market::AccountReport;
use tycoon_xen::restart::RestartReport;
use tycoon_xen::spec::{DomainPath, DomainSpec, PortForward};
use tycoon_xen::status::{DomainState, DomainStatus};

use crate::error::ExecutorError;
use crate::inventory::{Unlisted, ask_all, domains, lost_name, unlisted};
use crate::link::{BankEscrow, LinkError, Site, SiteHost};

/// The state of one pool.
#[derive(Clone, Debug, Serialize)]
pub struct PoolStatus {
    /// The pool.
    pub pool: PoolName,
    /// Its domains, ordered by path.
    pub domains: Vec<DomainRow>,
    /// What hosts have kept of domains that were removed, ordered by path.
    pub kept: Vec<KeptRow>,
    /// The hosts it has an account on, ordered by name.
    pub hosts: Vec<HostRow>,
    /// Hosts that could not be asked, and why, as the rest of a sentence that begins with the name: what they hold of
    /// the pool is not known.
    pub unknown: Vec<(HostName, String)>,
    /// Credits in escrow at the bank for hosts that have no account of the pool: a run that was interrupted left them.
    pub waiting: Credits,
    /// What its hosts claimed beyond what they may have, and the bank refused.
    pub refused: Vec<RefusedClaim>,
    /// Why the bank could not be asked, where it could not: then escrows are not known.
    pub bank_problem: Option<String>,
    /// True where any of its hosts is simulated.
    pub is_simulated: bool,
}

impl PoolStatus {
    /// Of a pool of which nothing is known yet.
    const fn new(pool: PoolName) -> Self {
        Self {
            pool,
            domains: Vec::new(),
            kept: Vec::new(),
            hosts: Vec::new(),
            unknown: Vec::new(),
            waiting: Credits::ZERO,
            refused: Vec::new(),
            bank_problem: None,
            is_simulated: false,
        }
    }

    /// True where there is nothing of this pool anywhere, but perhaps for what is kept of its volumes.
    pub fn is_absent(&self) -> bool {
        self.domains.is_empty() && self.hosts.is_empty() && self.waiting.is_zero()
    }

    /// What the pool pays at most, all hosts together.
    pub fn rate(&self) -> Rate {
        self.hosts.iter().fold(Rate::ZERO, |sum, host| sum.checked_add(host.rate).unwrap_or(sum))
    }

    /// What the hosts have charged so far.
    pub fn charged(&self) -> Credits {
        sum(self.hosts.iter().map(|host| host.charged))
    }

    /// What is left on the hosts.
    pub fn left(&self) -> Credits {
        sum(self.hosts.iter().map(|host| host.balance))
    }

    /// When the first of its bids ends.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.hosts.iter().filter_map(|host| host.expires_at).min()
    }
}

fn sum(amounts: impl Iterator<Item = Credits>) -> Credits {
    Credits::checked_sum(amounts).unwrap_or(Credits::MAX)
}

/// One domain.
#[derive(Clone, Debug, Serialize)]
pub struct DomainRow {
    /// Its path.
    pub path: DomainPath,
    /// Its host.
    pub host: HostName,
    /// Its state.
    pub state: DomainState,
    /// Its address, once known.
    pub address: Option<Ipv4Addr>,
    /// Its virtual CPUs.
    pub vcpus: u32,
    /// Its memory in bytes.
    pub memory_bytes: u64,
    /// The TCP ports of its host that lead to it.
    pub forwards: Vec<PortForward>,
    /// The CPU it has a right to while everybody is busy, in micro-CPUs.
    pub cpu_share: Option<Quantity>,
    /// Its part of what its host account pays at most.
    pub rate: Option<Rate>,
    /// How it fared with its restart policy, where it has one.
    pub restarts: Option<RestartReport>,
}

/// What a host has kept of one domain.
#[derive(Clone, Debug, Serialize)]
pub struct KeptRow {
    /// The domain's path.
    pub path: DomainPath,
    /// The host.
    pub host: HostName,
    /// The names and sizes in bytes of the volumes.
    pub volumes: Vec<(String, u64)>,
    /// When the host removes them.
    pub until: Timestamp,
}

/// The pool's account on one host.
#[derive(Clone, Debug, Serialize)]
pub struct HostRow {
    /// The host.
    pub host: HostName,
    /// Its id.
    pub id: HostId,
    /// Whether the account runs, and why not.
    pub state: AccountState,
    /// What the bid pays at most.
    pub rate: Rate,
    /// What was put in.
    pub funded: Credits,
    /// What was charged.
    pub charged: Credits,
    /// What is left.
    pub balance: Credits,
    /// When the bid ends.
    pub expires_at: Option<Timestamp>,
}

/// The state of `pool`, from what the hosts say. `history` is what the pool's journal remembers.
pub fn pool_status(site: &dyn Site, pool: &PoolName, history: &History) -> Result<PoolStatus, ExecutorError> {
    let found = Found::with_claims(site, Some(pool), history)?;
    let answers = ask_all(&found.hosts, |host| -> Result<_, LinkError> {
        Ok((host.link.account(pool)?, domains(host, Some(pool))?))
    });
    let mut status = PoolStatus::new(pool.clone());
    status.unknown.extend(found.lost.iter().filter_map(lost_name));
    for (host, answer) in found.hosts.iter().zip(answers) {
        match answer {
            Ok((account, domains)) => add_host(&mut status, host, account.as_ref(), &domains),
            Err(error) => status.unknown.push((host.name.clone(), format!("cannot be asked: {error}"))),
        }
    }
    found.finish(&mut status);
    Ok(status)
}

/// The state of every pool of the account, ordered by name.
pub fn all_pools(site: &dyn Site) -> Result<Vec<PoolStatus>, ExecutorError> {
    let found = Found::with_claims(site, None, &History::default())?;
    let answers =
        ask_all(&found.hosts, |host| -> Result<_, LinkError> { Ok((host.link.accounts()?, domains(host, None)?)) });
    let mut pools: BTreeMap<PoolName, PoolStatus> = BTreeMap::new();
    // A pool of which only escrows are left is one all the same.
    for escrow in found.escrows.iter().filter(|escrow| escrow.is_open) {
        pools.entry(escrow.pool.clone()).or_insert_with(|| PoolStatus::new(escrow.pool.clone()));
    }
    let mut unknown: Vec<(HostName, String)> = found.lost.iter().filter_map(lost_name).collect();
    for (host, answer) in found.hosts.iter().zip(answers) {
        let (accounts, domains) = match answer {
            Ok(answer) => answer,
            Err(error) => {
                unknown.push((host.name.clone(), format!("cannot be asked: {error}")));
                continue;
            }
        };
        let of_accounts = accounts.iter().map(|account| account.pool.clone());
        let of_domains = domains.iter().filter_map(|status| Some(status.ownership.as_ref()?.pool.clone()));
        for pool in of_accounts.chain(of_domains).collect::<BTreeSet<PoolName>>() {
            let account = accounts.iter().find(|account| account.pool == pool);
            let is_its = |status: &&DomainStatus| status.ownership.as_ref().is_some_and(|own| own.pool == pool);
            let its: Vec<DomainStatus> = domains.iter().filter(is_its).cloned().collect();
            let status = pools.entry(pool.clone()).or_insert_with(|| PoolStatus::new(pool));
            add_host(status, host, account, &its);
        }
    }
    let mut pools: Vec<PoolStatus> = pools.into_values().collect();
    for pool in &mut pools {
        pool.unknown.clone_from(&unknown);
        found.finish(pool);
    }
    Ok(pools)
}

/// The domains of one pool, each with its host.
pub struct PoolDomains {
    /// The hosts and the domains.
    pub found: Vec<(SiteHost, DomainStatus)>,
    /// Hosts that could not be asked, and why, as the rest of a sentence that begins with the name.
    pub unknown: Vec<(HostName, String)>,
}

/// The domains of `pool`, also on hosts that have left the site. `history` is what the pool's journal remembers.
pub fn pool_domains(site: &dyn Site, pool: &PoolName, history: &History) -> Result<PoolDomains, ExecutorError> {
    domains_of(site, Some(pool), history)
}

/// The same, of one pool or of all.
pub(crate) fn domains_of(
    site: &dyn Site,
    pool: Option<&PoolName>,
    history: &History,
) -> Result<PoolDomains, ExecutorError> {
    let places = Found::of(site, pool, history)?;
    let mut all = PoolDomains { found: Vec::new(), unknown: places.lost.iter().filter_map(lost_name).collect() };
    let answers = ask_all(&places.hosts, |host| domains(host, pool));
    for (host, answer) in places.hosts.iter().zip(answers) {
        match answer {
            Ok(there) => all.found.extend(there.into_iter().map(|domain| (host.clone(), domain))),
            Err(error) => all.unknown.push((host.name.clone(), format!("cannot be asked: {error}"))),
        }
    }
    Ok(all)
}

/// Where what a pool has can be.
struct Found {
    hosts: Vec<SiteHost>,
    lost: Vec<HostId>,
    escrows: Vec<BankEscrow>,
    refused: Vec<RefusedClaim>,
    /// Why the bank could not be asked.
    bank_problem: Option<String>,
}

impl Found {
    fn of(site: &dyn Site, pool: Option<&PoolName>, history: &History) -> Result<Self, ExecutorError> {
        let mut hosts = site.hosts().map_err(ExecutorError::Hosts)?;
        // The hosts know most of it: a bank that is down keeps nobody from looking.
        let (escrows, bank_problem) = match site.bank().escrows(pool) {
            Ok(escrows) => (escrows, None),
            Err(error) => (Vec::new(), Some(error.to_string())),
        };
        let Unlisted { reachable, lost } = unlisted(site, &hosts, &escrows, history);
        hosts.extend(reachable);
        Ok(Self { hosts, lost, escrows, refused: Vec::new(), bank_problem })
    }

    /// The same, and what its hosts claimed too much.
    fn with_claims(site: &dyn Site, pool: Option<&PoolName>, history: &History) -> Result<Self, ExecutorError> {
        let mut found = Self::of(site, pool, history)?;
        if !found.escrows.is_empty() {
            // A bank of an older version knows of none.
            found.refused = site.bank().refused_claims().unwrap_or_default();
        }
        Ok(found)
    }

    /// What the bank knows of a pool, and the order.
    fn finish(&self, status: &mut PoolStatus) {
        status.domains.sort_by(|a, b| a.path.natural_order().cmp(&b.path.natural_order()));
        status.kept.sort_by(|a, b| (a.path.natural_order(), &a.host).cmp(&(b.path.natural_order(), &b.host)));
        status.hosts.sort_by(|a, b| a.host.cmp(&b.host));
        status.bank_problem.clone_from(&self.bank_problem);
        let is_unreached = |id: &HostId| {
            let name = self.hosts.iter().find(|host| host.id == *id).map(|host| &host.name);
            name.is_none_or(|name| status.unknown.iter().any(|(unknown, _)| unknown == name))
        };
        let mut waiting = Credits::ZERO;
        for escrow in self.escrows.iter().filter(|escrow| escrow.pool == status.pool && escrow.is_open) {
            let has_account = status.hosts.iter().any(|row| row.id == escrow.host);
            if !has_account && !is_unreached(&escrow.host) {
                waiting = sum([waiting, escrow.left()].into_iter());
            }
        }
        status.waiting = waiting;
        status.refused = self.refused.iter().filter(|claim| claim.pool == status.pool).cloned().collect();
    }
}

fn add_host(status: &mut PoolStatus, host: &SiteHost, account: Option<&AccountReport>, domains: &[DomainStatus]) {
    status.is_simulated |= host.is_simulated && (account.is_some() || !domains.is_empty());
    let vcpus: u64 = domains.iter().map(|domain| u64::from(domain.vcpus)).sum();
    let count = domains.iter().filter(|domain| domain.kept.is_none()).count();
    for domain in domains {
        let Some(ownership) = &domain.ownership else { continue };
        if let Some(kept) = &domain.kept {
            let (path, host, volumes) = (ownership.path.clone(), host.name.clone(), domain.volumes.clone());
            status.kept.push(KeptRow { path, host, volumes, until: kept.until });
            continue;
        }
        let part = f64::from(domain.vcpus) / vcpus.max(1) as f64;
        let cpu = account.and_then(|account| account.allocation.get(&ResourceKind::Cpu));
        status.domains.push(DomainRow {
            path: ownership.path.clone(),
            host: host.name.clone(),
            state: domain.state,
            address: domain.address,
            vcpus: domain.vcpus,
            memory_bytes: domain.memory_bytes,
            forwards: domain.spec.iter().flat_map(DomainSpec::forwards).collect(),
            cpu_share: cpu.map(|cpu| Quantity::new((cpu.amount() as f64 * part).round() as u64)),
            rate: account
                .map(|account| Rate::from_picos_per_second(account.rate.picos_per_second() / count.max(1) as u64)),
            restarts: domain.restarts,
        });
    }
    if let Some(account) = account {
        status.hosts.push(HostRow {
            host: host.name.clone(),
            id: host.id,
            state: account.state,
            rate: account.rate,
            funded: account.funded,
            charged: account.charged,
            balance: account.balance,
            expires_at: account.expires_at,
        });
    }
}
