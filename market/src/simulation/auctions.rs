//! All hosts divided by the auction alone.

use super::hosts::HostStates;
use super::scenario::Scenario;
use super::user::User;
use crate::auction::{self, Bidder};
use crate::auctioneer::HostConfig;
use crate::{Quantity, Rate};

/// How finely a host is divided.
const PARTS: u64 = 1 << 50;
/// So many hosts are divided in one pass over the users: the bids are kept by user, and gathered by host.
const BLOCK: usize = 512;

/// Divides all hosts that are up. Sets what every user gets and pays; the result is the price of each host, in credits
/// per second, 0 where it is down.
pub(super) fn divide(users: &mut [User], scenario: &Scenario, hosts: &HostStates) -> Vec<f64> {
    for user in users.iter_mut() {
        (user.utility, user.paying) = (0.0, 0.0);
    }
    let idle_charge = f64::from(HostConfig::new(Default::default(), Default::default()).idle_charge_ppm) / 1e6;
    let base_price = rate_of(hosts.base_price);
    let mut prices = vec![0.0; hosts.count()];
    let mut next: Vec<usize> = vec![0; users.len()];
    let mut gathered: Vec<Vec<(u32, u32)>> = vec![Vec::new(); BLOCK];
    let mut bidders = Vec::new();
    for start in (0..hosts.count()).step_by(BLOCK) {
        let end = (start + BLOCK).min(hosts.count());
        gathered.iter_mut().for_each(Vec::clear);
        for (number, user) in users.iter().enumerate().filter(|(_, user)| user.is_present) {
            while let Some(placed) = user.bids.get(next[number]).filter(|placed| (placed.host as usize) < end) {
                gathered[placed.host as usize - start].push((number as u32, next[number] as u32));
                next[number] += 1;
            }
        }
        for (host, list) in (start..end).zip(&mut gathered) {
            if !hosts.up[host] {
                list.iter().for_each(|&(user, index)| users[user as usize].bids[index as usize].share = 0.0);
                continue;
            }
            bidders.clear();
            bidders.extend(list.iter().map(|&(user, index)| {
                let user = &users[user as usize];
                let group = &scenario.users[user.group];
                Bidder {
                    rate: Rate::from_picos_per_second(user.bids[index as usize].picos),
                    min: parts(group.min_share.unwrap_or(0.0)),
                    max: parts(group.max_share.unwrap_or(1.0)),
                }
            }));
            drop_displaced(&mut bidders);
            let Ok(outcome) = auction::allocate(Quantity::new(PARTS), base_price, Quantity::new(PARTS), &bidders)
            else {
                continue; // The minima fit: who is displaced has none.
            };
            prices[host] = credits_of(outcome.price);
            for ((&(user, index), share), rate) in list.iter().zip(&outcome.shares).zip(&outcome.rates) {
                let user = &mut users[user as usize];
                let share = share.amount() as f64 / PARTS as f64;
                user.bids[index as usize].share = share as f32;
                if User::uses(scenario.users[user.group].strategy) {
                    user.utility += user.weight(host as u32, hosts) * share;
                    user.paying += credits_of(*rate);
                } else {
                    user.paying += credits_of(*rate) * idle_charge;
                }
            }
        }
    }
    prices
}

/// Where the minima ask for more than there is, those with the lowest rate per unit go first, then the youngest, as an
/// auctioneer does it. Who goes bids nothing.
fn drop_displaced(bidders: &mut [Bidder]) {
    let minima = |bidders: &[Bidder]| bidders.iter().map(|bidder| bidder.min.amount()).fold(0, u64::saturating_add);
    while minima(bidders) > PARTS {
        let per_unit = |bidder: &Bidder| bidder.rate.picos_per_second() as f64 / bidder.min.amount() as f64;
        let poorest = (0..bidders.len())
            .rev()
            .filter(|&index| bidders[index].min > Quantity::ZERO)
            .min_by(|&one, &other| per_unit(&bidders[one]).total_cmp(&per_unit(&bidders[other])));
        let Some(poorest) = poorest else { return };
        bidders[poorest] = Bidder { rate: Rate::ZERO, min: Quantity::ZERO, max: Quantity::ZERO };
    }
}

fn parts(share: f64) -> Quantity {
    Quantity::new((share * PARTS as f64) as u64)
}

/// A rate of so many credits per second.
pub(super) fn rate_of(credits: f64) -> Rate {
    Rate::from_picos_per_second((credits * super::user::PICOS).round() as u64)
}

/// Credits per second.
pub(super) fn credits_of(rate: Rate) -> f64 {
    rate.picos_per_second() as f64 / super::user::PICOS
}
