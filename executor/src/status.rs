//! What there is now: the state of one pool, and the list of all.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use serde::Serialize;
use tycoon_market::{Credits, HostName, PoolName, Quantity, Rate, ResourceKind, Timestamp};
use tycoon_planner::world::History;
use tycoon_xen::market::AccountReport;
use tycoon_xen::spec::DomainPath;
use tycoon_xen::status::{DomainState, DomainStatus};

use crate::error::ExecutorError;
use crate::inventory::{ask_all, domains, unlisted, unlisted_name};
use crate::link::{LinkError, Site, SiteHost};

/// The state of one pool.
#[derive(Clone, Debug, Serialize)]
pub struct PoolStatus {
    /// The pool.
    pub pool: PoolName,
    /// Its domains, ordered by path.
    pub domains: Vec<DomainRow>,
    /// The hosts it has an account on, ordered by name.
    pub hosts: Vec<HostRow>,
    /// Hosts that could not be asked, and why, as the rest of a sentence that begins with the name: what they hold of
    /// the pool is not known.
    pub unknown: Vec<(HostName, String)>,
    /// Credits in escrow at the bank for hosts that have no account of the pool: a run that was interrupted left them.
    pub waiting: Credits,
    /// True where any of its hosts is simulated.
    pub is_simulated: bool,
}

impl PoolStatus {
    /// True where there is nothing of this pool anywhere.
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
    /// The CPU it has a right to while everybody is busy, in micro-CPUs.
    pub cpu_share: Option<Quantity>,
    /// Its part of what its host account pays at most.
    pub rate: Option<Rate>,
}

/// The pool's account on one host.
#[derive(Clone, Debug, Serialize)]
pub struct HostRow {
    /// The host.
    pub host: HostName,
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

/// The state of `pool`, from what the hosts say.
pub fn pool_status(site: &dyn Site, pool: &PoolName) -> Result<PoolStatus, ExecutorError> {
    let hosts = site.hosts().map_err(ExecutorError::Hosts)?;
    let answers =
        ask_all(&hosts, |host| -> Result<_, LinkError> { Ok((host.link.account(pool)?, domains(host, Some(pool))?)) });
    let mut status = PoolStatus {
        pool: pool.clone(),
        domains: Vec::new(),
        hosts: Vec::new(),
        unknown: Vec::new(),
        waiting: Credits::ZERO,
        is_simulated: false,
    };
    let escrows =
        site.bank().escrows(pool).map_err(|source| ExecutorError::Bank { what: "the pool's escrows", source })?;
    let unlisted = unlisted(&hosts, &escrows, &History::default());
    status.unknown.extend(unlisted.iter().filter_map(unlisted_name));
    for (host, answer) in hosts.iter().zip(answers) {
        match answer {
            Ok((account, domains)) => {
                if account.is_none() {
                    let its = escrows.iter().filter(|escrow| escrow.host == host.id && escrow.is_open);
                    let left = its.map(|escrow| escrow.amount.saturating_sub_at_zero(escrow.drawn));
                    status.waiting = sum([status.waiting].into_iter().chain(left));
                }
                add_host(&mut status, host, account.as_ref(), &domains);
            }
            Err(error) => status.unknown.push((host.name.clone(), format!("cannot be asked: {error}"))),
        }
    }
    status.domains.sort_by(|a, b| a.path.natural_order().cmp(&b.path.natural_order()));
    Ok(status)
}

/// The state of every pool of the account, ordered by name.
pub fn all_pools(site: &dyn Site) -> Result<Vec<PoolStatus>, ExecutorError> {
    let hosts = site.hosts().map_err(ExecutorError::Hosts)?;
    let answers = ask_all(&hosts, |host| -> Result<_, LinkError> { Ok((host.link.accounts()?, domains(host, None)?)) });
    let mut pools: BTreeMap<PoolName, PoolStatus> = BTreeMap::new();
    let mut unknown = Vec::new();
    for (host, answer) in hosts.iter().zip(answers) {
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
            let status = pools.entry(pool.clone()).or_insert_with(|| PoolStatus {
                pool,
                domains: Vec::new(),
                hosts: Vec::new(),
                unknown: Vec::new(),
                waiting: Credits::ZERO,
                is_simulated: false,
            });
            add_host(status, host, account, &its);
        }
    }
    let mut pools: Vec<PoolStatus> = pools.into_values().collect();
    for pool in &mut pools {
        pool.unknown.clone_from(&unknown);
        pool.domains.sort_by(|a, b| a.path.natural_order().cmp(&b.path.natural_order()));
    }
    Ok(pools)
}

fn add_host(status: &mut PoolStatus, host: &SiteHost, account: Option<&AccountReport>, domains: &[DomainStatus]) {
    status.is_simulated |= host.is_simulated && (account.is_some() || !domains.is_empty());
    let vcpus: u64 = domains.iter().map(|domain| u64::from(domain.vcpus)).sum();
    for domain in domains {
        let Some(ownership) = &domain.ownership else { continue };
        let part = f64::from(domain.vcpus) / vcpus.max(1) as f64;
        let cpu = account.and_then(|account| account.allocation.get(&ResourceKind::Cpu));
        status.domains.push(DomainRow {
            path: ownership.path.clone(),
            host: host.name.clone(),
            state: domain.state,
            address: domain.address,
            vcpus: domain.vcpus,
            memory_bytes: domain.memory_bytes,
            cpu_share: cpu.map(|cpu| Quantity::new((cpu.amount() as f64 * part).round() as u64)),
            rate: account.map(|account| {
                Rate::from_picos_per_second(account.rate.picos_per_second() / domains.len().max(1) as u64)
            }),
        });
    }
    if let Some(account) = account {
        status.hosts.push(HostRow {
            host: host.name.clone(),
            rate: account.rate,
            funded: account.funded,
            charged: account.charged,
            balance: account.balance,
            expires_at: account.expires_at,
        });
    }
}
