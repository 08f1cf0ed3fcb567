//! The most that all users together could have: the optimum that efficiency is measured by.

use super::hosts::HostStates;
use super::scenario::Scenario;
use super::user::User;

/// More work than this is not worth an exact optimum under a greatest number of hosts.
const MATCHING_MAX: usize = 2_000_000;

/// The greatest sum of utilities of all users who are present and make use of what they get.
///
/// Every host goes to those who value it most, each up to her greatest share. Least shares are not asked for, so that
/// the result is an upper bound where there are some. A greatest number of hosts is kept exactly in markets up to
/// a moderate size (users × hosts × links at most two million), and is not asked for beyond.
pub(super) fn optimum(users: &[User], scenario: &Scenario, hosts: &HostStates) -> f64 {
    let counts = |user: &&User| user.is_present && User::uses(scenario.users[user.group].strategy);
    let present: Vec<&User> = users.iter().filter(counts).collect();
    let group = |user: &User| &scenario.users[user.group];
    let links: usize = present.iter().map(|user| group(user).hosts_max.unwrap_or(hosts.count())).sum();
    let is_linked = present.iter().any(|user| group(user).hosts_max.is_some_and(|most| most < hosts.count()));
    let shares_whole = present.iter().all(|user| group(user).max_share.unwrap_or(1.0) >= 1.0);
    let work = present.len().saturating_mul(hosts.count());
    if is_linked && shares_whole && work.saturating_mul(links.min(hosts.count()) / 8 + 1) <= MATCHING_MAX {
        return matching(&present, scenario, hosts);
    }
    if shares_whole {
        let mut best = vec![0.0_f64; hosts.count()];
        for user in &present {
            user.for_each_host(hosts, |host, weight, _| {
                let best = &mut best[host as usize];
                *best = best.max(weight);
            });
        }
        return best.iter().sum();
    }
    let mut sum = 0.0;
    let mut wants: Vec<(f64, f64)> = Vec::new();
    for host in (0..hosts.count() as u32).filter(|host| hosts.up[*host as usize]) {
        wants.clear();
        wants.extend(present.iter().map(|user| (user.weight(host, hosts), group(user).max_share.unwrap_or(1.0))));
        wants.sort_by(|one, other| other.0.total_cmp(&one.0));
        let mut left = 1.0_f64;
        for (weight, share) in &wants {
            let given = left.min(*share);
            sum += weight * given;
            left -= given;
            if left <= 0.0 {
                break;
            }
        }
    }
    sum
}

/// The greatest sum of weights where every host has one user and every user at most her number of hosts.
///
/// Hosts come one by one; each looks for the longest way over users and the hosts they hold to a user who has room, or to
/// a host that is left empty (successive augmenting paths; the value of a way is what it adds to the sum). With linear
/// utilities sharing a host brings no more than giving it away whole.
fn matching(present: &[&User], scenario: &Scenario, hosts: &HostStates) -> f64 {
    let most: Vec<usize> =
        present.iter().map(|user| scenario.users[user.group].hosts_max.unwrap_or(hosts.count())).collect();
    let open: Vec<u32> = (0..hosts.count() as u32).filter(|host| hosts.up[*host as usize]).collect();
    let weights: Vec<Vec<f64>> =
        open.iter().map(|&host| present.iter().map(|user| user.weight(host, hosts)).collect()).collect();
    let mut holders: Vec<Option<usize>> = vec![None; open.len()];
    let mut held: Vec<Vec<usize>> = vec![Vec::new(); present.len()];
    for first in 0..open.len() {
        // The gain of the best way that ends with an offer to each user, and by which host the offer is made.
        let mut gain: Vec<f64> = weights[first].clone();
        let mut by: Vec<usize> = vec![first; present.len()];
        loop {
            let mut has_grown = false;
            for user in 0..present.len() {
                for &host in &held[user] {
                    let freed = gain[user] - weights[host][user];
                    for next in 0..present.len() {
                        if freed + weights[host][next] > gain[next] + 1e-12 && next != user {
                            gain[next] = freed + weights[host][next];
                            by[next] = host;
                            has_grown = true;
                        }
                    }
                }
            }
            if !has_grown {
                break;
            }
        }
        // The way ends at a user with room, or empties the host that is worth least to who holds it.
        let with_room =
            (0..present.len()).filter(|&user| held[user].len() < most[user]).map(|user| (gain[user], user, None));
        let emptied = (0..present.len())
            .flat_map(|user| held[user].iter().map(move |&host| (user, host)))
            .map(|(user, host)| (gain[user] - weights[host][user], user, Some(host)));
        let Some((value, mut user, dropped)) = with_room.chain(emptied).max_by(|one, other| one.0.total_cmp(&other.0))
        else {
            continue;
        };
        if value <= 0.0 {
            continue;
        }
        if let Some(host) = dropped {
            held[user].retain(|other| *other != host);
            holders[host] = None;
        }
        // Walk the way back: every user on it takes the host that is offered, from whom held it.
        loop {
            let host = by[user];
            let before = holders[host].replace(user);
            held[user].push(host);
            match before {
                Some(previous) if host != first => {
                    held[previous].retain(|other| *other != host);
                    user = previous;
                }
                _ => break,
            }
        }
    }
    holders.iter().enumerate().filter_map(|(host, holder)| holder.map(|user| weights[host][user])).sum()
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng as _;

    use super::*;
    use crate::simulation::scenario::{Hosts, UserGroup};

    /// The best of all ways to give every host to one user or to nobody.
    fn best_by_trying(users: &[User], most: usize, hosts: &HostStates, host: u32, held: &mut [usize]) -> f64 {
        if host as usize == hosts.count() {
            return 0.0;
        }
        let mut best = best_by_trying(users, most, hosts, host + 1, held);
        for number in 0..users.len() {
            if held[number] < most {
                held[number] += 1;
                let value = users[number].weight(host, hosts) + best_by_trying(users, most, hosts, host + 1, held);
                held[number] -= 1;
                best = best.max(value);
            }
        }
        best
    }

    #[test]
    fn the_optimum_with_a_greatest_number_of_hosts_is_the_best_of_all_choices() {
        for seed in 0..40 {
            let most = 1 + seed as usize % 3;
            let scenario = Scenario {
                hosts: Hosts { count: 6, ..Scenario::default().hosts },
                users: vec![UserGroup { hosts_max: Some(most), ..UserGroup::new("users", 3) }],
                ..Scenario::default()
            };
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let hosts = HostStates::new(&scenario, &mut rng);
            let mut users = User::all_of(&scenario, &hosts, &mut rng);
            users.iter_mut().for_each(|user| user.is_present = true);
            let tried = best_by_trying(&users, most, &hosts, 0, &mut [0; 3]);
            let found = optimum(&users, &scenario, &hosts);
            assert!((found - tried).abs() < 1e-9, "seed {seed}: {found} instead of {tried}");
        }
    }
}
