//! Which host each new domain goes to.
//!
//! A domain sits on one host. Domains are placed one after the other, the largest first, each where it adds least
//! to what the pool pays for full CPU, seen through its wishes (`prefer`); where the budget does not reach for what the
//! pool is content with there, to what it pays for that. Prices rise with every share that is taken, so that for equal
//! domains this is the cheapest placement, and it spreads a pool by itself. Then single domains are moved for as long as
//! that makes the whole cheaper. A scheduler's policy takes the place of the price.

use tycoon_lang::pool::SchedulerPolicy;

use crate::bidding::{Aim, Need, cost_rate};
use crate::fit::{Candidate, Misfit, Room, Rules, need_of};
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

/// The hosts of `candidates`, as numbers into `hosts`. `rooms` is what the pool has on each host already; it is
/// brought up to date.
///
/// # Errors
/// [`NoHost`] for the first domain that no host can have.
pub fn place(
    rules: &Rules<'_>,
    hosts: &[HostView],
    rooms: &mut [Room],
    candidates: &[&Candidate<'_>],
    aim: Aim,
) -> Result<Vec<usize>, NoHost> {
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by_key(|&number| {
        let need = need_of(&candidates[number].spec);
        (std::cmp::Reverse((need.vcpus, need.memory_bytes, need.disk_bytes)), number)
    });
    let mut chosen = vec![0; candidates.len()];
    for number in order {
        let candidate = candidates[number];
        let host = best(rules, hosts, rooms, candidate, aim).map_err(|reasons| NoHost { domain: number, reasons })?;
        rooms[host].add(candidate);
        chosen[number] = host;
    }
    if candidates.len() * hosts.len() <= MOST_MOVES_TRIED {
        while improve(rules, hosts, rooms, candidates, &mut chosen, aim) {}
    }
    Ok(chosen)
}

/// The best host for a candidate; every host's reason where none can have it.
pub fn best(
    rules: &Rules<'_>,
    hosts: &[HostView],
    rooms: &[Room],
    candidate: &Candidate<'_>,
    aim: Aim,
) -> Result<usize, Vec<Misfit>> {
    let mut reasons = Vec::new();
    let mut best: Option<(f64, usize)> = None;
    for (number, host) in hosts.iter().enumerate() {
        if let Some(reason) = rules.misfit(host, &rooms[number], candidate) {
            reasons.push(reason);
            continue;
        }
        let Some(cost) = cost(rules, (number, host), &rooms[number], candidate, aim) else { continue };
        if best.is_none_or(|(least, _)| cost < least) {
            best = Some((cost, number));
        }
    }
    best.map(|(_, number)| number).ok_or(reasons)
}

/// What counts against a host: the lower, the better.
fn cost(
    rules: &Rules<'_>,
    (number, host): (usize, &HostView),
    room: &Room,
    candidate: &Candidate<'_>,
    aim: Aim,
) -> Option<f64> {
    let added = added_rate(host, &room.need, &need_of(&candidate.spec), aim)?;
    let by_policy = match candidate.policy() {
        SchedulerPolicy::Cheapest => added,
        SchedulerPolicy::LeastLoaded => load(host, &room.need.plus(need_of(&candidate.spec))),
        SchedulerPolicy::RoundRobin => f64::from(room.need.domains) + 1e-6 * number as f64,
        SchedulerPolicy::FewestHosts => {
            if room.need.domains > 0 {
                added * 1e-12
            } else {
                added
            }
        }
        SchedulerPolicy::Random => scattered(host, candidate),
    };
    Some(by_policy / rules.preference(host, candidate))
}

/// How full a host is once it has `need` of this pool: the fullest of memory, disk and reserved CPU, from 0 to 1.
fn load(host: &HostView, need: &Need) -> f64 {
    let parts = need.minima().into_iter().filter_map(|(kind, needed)| {
        let offer = host.offers.get(&kind)?;
        let taken = offer.capacity.saturating_sub(offer.available).amount();
        Some((taken + needed.amount()) as f64 / offer.capacity.amount().max(1) as f64)
    });
    parts.fold(0.0, f64::max)
}

/// A number between 1 and 2 that only depends on host and domain: the same plan from the same world.
fn scattered(host: &HostView, candidate: &Candidate<'_>) -> f64 {
    use sha2::{Digest as _, Sha256};
    let hash = Sha256::new().chain_update(host.id.as_bytes()).chain_update(candidate.spec.path.as_str()).finalize();
    1.0 + f64::from(u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])) / f64::from(u32::MAX)
}

/// What `need` adds to the cost of a host, in pico-credits per second.
pub fn added_rate(host: &HostView, present: &Need, need: &Need, aim: Aim) -> Option<f64> {
    let before = if present.domains == 0 { 0.0 } else { cost_rate(&host.offers, present, aim)? };
    Some(cost_rate(&host.offers, &present.plus(*need), aim)? - before)
}

/// Moves the first domain whose move makes the whole cheaper. False where there is none.
fn improve(
    rules: &Rules<'_>,
    hosts: &[HostView],
    rooms: &mut [Room],
    candidates: &[&Candidate<'_>],
    chosen: &mut [usize],
    aim: Aim,
) -> bool {
    for (number, candidate) in candidates.iter().enumerate() {
        if candidate.policy() != SchedulerPolicy::Cheapest {
            continue;
        }
        let from = chosen[number];
        rooms[from].remove(candidate);
        let here = cost(rules, (from, &hosts[from]), &rooms[from], candidate, aim);
        let target = best(rules, hosts, rooms, candidate, aim).ok().filter(|&to| {
            let there = cost(rules, (to, &hosts[to]), &rooms[to], candidate, aim);
            to != from && here.zip(there).is_some_and(|(here, there)| there < here * (1.0 - LEAST_GAIN))
        });
        rooms[target.unwrap_or(from)].add(candidate);
        if let Some(to) = target {
            chosen[number] = to;
            return true;
        }
    }
    false
}
