//! Which host each new domain goes to.
//!
//! A domain sits on one host. Domains are placed one after the other, the largest first, each where it adds least
//! to what the pool pays for full CPU. Prices rise with every share that is taken, so that for equal domains this
//! is the cheapest placement, and it spreads a pool by itself. Then single domains are moved for as long as that
//! makes the whole cheaper.

use tycoon_lang::pool;
use tycoon_xen::spec::DomainSpec;

use crate::bidding::{Need, full_rate};
use crate::fit::{Misfit, misfit, need_of};
use crate::world::HostView;

/// Moves are only tried while domains × hosts stays below this: greedy placement is close to the best already.
const MOST_MOVES_TRIED: usize = 4_096;
/// A move must save this part of the cost to be worth it; smaller gains are rounding.
const LEAST_GAIN: f64 = 1e-9;

/// Why a domain has no host: the reason of each host, in the order of the hosts.
#[derive(Clone, Debug, PartialEq)]
pub struct NoHost {
    /// The number of the domain in the list that was given.
    pub domain: usize,
    /// Each host's reason.
    pub reasons: Vec<Misfit>,
}

/// The hosts of `domains`, as numbers into `hosts`. `present` is what the pool has on each host already; it is
/// brought up to date.
///
/// # Errors
/// [`NoHost`] for the first domain that no host can have.
pub fn place(
    hosts: &[HostView],
    present: &mut [Need],
    domains: &[(&DomainSpec, &pool::Placement)],
) -> Result<Vec<usize>, NoHost> {
    let mut order: Vec<usize> = (0..domains.len()).collect();
    order.sort_by_key(|&number| {
        let need = need_of(domains[number].0);
        (std::cmp::Reverse((need.vcpus, need.memory_bytes, need.disk_bytes)), number)
    });
    let mut chosen = vec![0; domains.len()];
    for number in order {
        let (spec, placement) = domains[number];
        let host = cheapest(hosts, present, spec, placement).map_err(|reasons| NoHost { domain: number, reasons })?;
        present[host] = present[host].plus(need_of(spec));
        chosen[number] = host;
    }
    if domains.len() * hosts.len() <= MOST_MOVES_TRIED {
        while improve(hosts, present, domains, &mut chosen) {}
    }
    Ok(chosen)
}

/// The host on which `spec` adds least to the cost; every host's reason where none can have it.
pub fn cheapest(
    hosts: &[HostView],
    present: &[Need],
    spec: &DomainSpec,
    placement: &pool::Placement,
) -> Result<usize, Vec<Misfit>> {
    let mut reasons = Vec::new();
    let mut best: Option<(f64, usize)> = None;
    for (number, host) in hosts.iter().enumerate() {
        if let Some(reason) = misfit(host, &present[number], spec, placement) {
            reasons.push(reason);
            continue;
        }
        let Some(added) = added_rate(host, &present[number], &need_of(spec)) else { continue };
        if best.is_none_or(|(least, _)| added < least) {
            best = Some((added, number));
        }
    }
    best.map(|(_, number)| number).ok_or(reasons)
}

/// What `need` adds to the cost of a host, in pico-credits per second at full CPU.
pub fn added_rate(host: &HostView, present: &Need, need: &Need) -> Option<f64> {
    let before = if present.domains == 0 { 0.0 } else { full_rate(&host.offers, present)? };
    Some(full_rate(&host.offers, &present.plus(*need))? - before)
}

/// Moves the first domain whose move makes the whole cheaper. False where there is none.
fn improve(
    hosts: &[HostView],
    present: &mut [Need],
    domains: &[(&DomainSpec, &pool::Placement)],
    chosen: &mut [usize],
) -> bool {
    for (number, (spec, placement)) in domains.iter().enumerate() {
        let need = need_of(spec);
        let from = chosen[number];
        let without = present[from].minus(need);
        let Some(saved) = added_rate(&hosts[from], &without, &need) else { continue };
        let with = std::mem::replace(&mut present[from], without);
        let target = cheapest(hosts, present, spec, placement).ok().filter(|&to| {
            to != from
                && added_rate(&hosts[to], &present[to], &need).is_some_and(|cost| cost < saved * (1.0 - LEAST_GAIN))
        });
        match target {
            Some(to) => {
                present[to] = present[to].plus(need);
                chosen[number] = to;
                return true;
            }
            None => present[from] = with,
        }
    }
    false
}
