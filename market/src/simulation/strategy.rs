//! What a user wants to bid next.

use super::hosts::HostStates;
use super::scenario::{Scenario, Strategy, UserGroup};
use super::user::{PICOS, Placed, User};
use crate::best_response::{self, BestResponseError, HostOffer, Problem, Solution};

/// A bid below this part of the budget is taken back: damped bids would otherwise shrink for ever and never end.
const PART_MIN: f64 = 1e-9;

/// The bids of somebody who has just come: in proportion to her weights (EC'05).
pub(super) fn first_bids(user: &User, scenario: &Scenario, hosts: &HostStates) -> Vec<Placed> {
    let mut wanted = Vec::new();
    user.for_each_host(hosts, |host, weight, _| {
        if weight > 0.0 {
            wanted.push((host, weight));
        }
    });
    if let Some(most) = scenario.users[user.group].hosts_max {
        wanted.sort_by(|one, other| other.1.total_cmp(&one.1));
        wanted.truncate(most);
        wanted.sort_by_key(|(host, _)| *host);
    }
    let sum: f64 = wanted.iter().map(|(_, weight)| weight).sum();
    scale(&mut wanted, user.budget / sum);
    mix(user, &wanted, 1.0)
}

/// Her next bids, or `None` where they stay as they are.
pub(super) fn next_bids(user: &User, scenario: &Scenario, hosts: &HostStates) -> Option<Vec<Placed>> {
    let group = &scenario.users[user.group];
    let wanted = match group.strategy {
        Strategy::Fixed | Strategy::Squatter => return None,
        Strategy::BestResponse => respond(user, group, hosts, None),
        Strategy::UnderBidder { content } => respond(user, group, hosts, Some(content)),
        Strategy::ProportionalResponse => proportional_response(user, scenario, hosts),
        Strategy::Spiteful => spite(user, hosts),
    };
    Some(mix(user, &wanted, scenario.damping))
}

/// The hosts that are up as the user sees them, with the optimum's problem.
pub(super) fn problem(user: &User, group: &UserGroup, hosts: &HostStates) -> (Vec<u32>, Problem) {
    let mut names = Vec::new();
    let mut offers = Vec::new();
    user.for_each_host(hosts, |host, weight, own| {
        if weight > 0.0 {
            names.push(host);
            offers.push(HostOffer {
                others: hosts.bids[host as usize].saturating_sub(own) as f64 / PICOS,
                base_price: hosts.base_price,
                max_share: group.max_share,
                ..HostOffer::new(weight, 0.0)
            });
        }
    });
    (names, Problem { budget: user.budget, hosts: offers })
}

/// Best response, or as much of it as brings the part `content` of its utility.
///
/// A least share is wanted only where it is worth having: hosts on which the best response gives less are dropped,
/// the worst first, until the rest can be paid for.
fn respond(user: &User, group: &UserGroup, hosts: &HostStates, content: Option<f64>) -> Vec<(u32, f64)> {
    let (mut names, mut problem) = problem(user, group, hosts);
    if let Some(min) = group.min_share {
        keep_what_can_be_had(&mut names, &mut problem, min);
    }
    // The numbers come from checked scenarios, so that only least shares could be refused, and those can be paid for.
    let Ok(mut best) = solve(&problem, group.hosts_max) else { return Vec::new() };
    if let Some(content) = content {
        // What she would not use at all is of no use for less either.
        if group.hosts_max.is_some() {
            let mut used = best.bids.iter().map(|bid| *bid > 0.0);
            names.retain(|_| used.next().unwrap_or(false));
            let mut used = best.bids.iter().map(|bid| *bid > 0.0);
            problem.hosts.retain(|_| used.next().unwrap_or(false));
        }
        let budget = best_response::budget_for(best.utility * content, &problem.hosts).unwrap_or(problem.budget);
        let less = Problem { budget: budget.min(problem.budget), ..problem };
        best = best_response::solve(&less).unwrap_or_default();
    }
    names.into_iter().zip(best.bids).filter(|(_, bid)| *bid > 0.0).collect()
}

/// The best response, on at most so many hosts. Their choice is the one that the bound suggests, without a search for
/// better ones: users of a simulation are many.
pub(super) fn solve(problem: &Problem, hosts_max: Option<usize>) -> Result<Solution, BestResponseError> {
    match hosts_max {
        Some(most) => best_response::solve_with_max_hosts(problem, most, 0).map(|found| found.solution),
        None => best_response::solve(problem),
    }
}

/// Keeps the hosts on which the budget buys least shares, most worth for the money first, and asks for them there.
fn keep_what_can_be_had(names: &mut Vec<u32>, problem: &mut Problem, min: f64) {
    let cost = |offer: &HostOffer| offer.price() * min / (1.0 - min);
    let mut order: Vec<usize> = (0..names.len()).collect();
    let worth = |&index: &usize| problem.hosts[index].weight / problem.hosts[index].price().max(f64::MIN_POSITIVE);
    order.sort_by(|one, other| worth(other).total_cmp(&worth(one)));
    let mut left = problem.budget * (1.0 - PART_MIN);
    let mut keep = vec![false; names.len()];
    for index in order {
        let costs = cost(&problem.hosts[index]).max(best_response::TOKEN_BID);
        if costs <= left {
            left -= costs;
            keep[index] = true;
            problem.hosts[index].min_share = Some(min);
        }
    }
    let mut kept = keep.iter();
    names.retain(|_| kept.next().copied().unwrap_or(false));
    let mut kept = keep.iter();
    problem.hosts.retain(|_| kept.next().copied().unwrap_or(false));
}

/// Each host gets the part of the budget that its share gave of the utility (Zhang 2009).
fn proportional_response(user: &User, scenario: &Scenario, hosts: &HostStates) -> Vec<(u32, f64)> {
    let mut wanted: Vec<(u32, f64)> = user
        .bids
        .iter()
        .filter(|placed| hosts.up[placed.host as usize])
        .map(|placed| (placed.host, user.weight(placed.host, hosts) * f64::from(placed.share)))
        .collect();
    let sum: f64 = wanted.iter().map(|(_, value)| value).sum();
    if sum > 0.0 {
        scale(&mut wanted, user.budget / sum);
        wanted
    } else {
        first_bids(user, scenario, hosts).iter().map(|placed| (placed.host, placed.rate())).collect()
    }
}

/// In proportion to what the others bid.
fn spite(user: &User, hosts: &HostStates) -> Vec<(u32, f64)> {
    let mut wanted = Vec::new();
    let mut sum = 0.0;
    user.for_each_host(hosts, |host, _, own| {
        let others = hosts.bids[host as usize].saturating_sub(own) as f64;
        if others > 0.0 {
            wanted.push((host, others));
            sum += others;
        }
    });
    scale(&mut wanted, user.budget / sum);
    wanted
}

fn scale(wanted: &mut [(u32, f64)], factor: f64) {
    for (_, value) in wanted {
        *value *= factor;
    }
}

/// Goes the part `step` of the way from her bids to those wanted, both by rising host.
fn mix(user: &User, wanted: &[(u32, f64)], step: f64) -> Vec<Placed> {
    let mut mixed = Vec::with_capacity(wanted.len().max(user.bids.len()));
    let least = (user.budget * PART_MIN).min(best_response::TOKEN_BID);
    let mut push = |host: u32, rate: f64, share: f32| {
        let picos = (rate * PICOS).round() as u64;
        if picos > 0 && rate >= least {
            mixed.push(Placed { host, share, picos });
        }
    };
    let mut wanted = wanted.iter().copied().peekable();
    for old in &user.bids {
        while let Some((host, rate)) = wanted.next_if(|(host, _)| *host < old.host) {
            push(host, rate * step, 0.0);
        }
        let new = wanted.next_if(|(host, _)| *host == old.host).map_or(0.0, |(_, rate)| rate);
        push(old.host, old.rate() + (new - old.rate()) * step, old.share);
    }
    for (host, rate) in wanted {
        push(host, rate * step, 0.0);
    }
    mixed
}
