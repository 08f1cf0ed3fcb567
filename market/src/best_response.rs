//! Best response: how to divide a budget over hosts, given what the others bid there.
//!
//! Maximise U = Σ w_j·x_j/(x_j + y_j) with Σ x_j = X and x_j ≥ 0 (Feldman, Lai, Zhang, EC'05, section 4.1). The
//! optimum is x_j = s·√(w_j·y_j) − y_j, held between what the least and the greatest share cost, for the one s at
//! which the bids add up to the budget; 1/s² is λ, the utility of one more credit per second. The sum of the bids
//! is piecewise linear in s, so s is found exactly among the points where a bid leaves or meets a bound:
//! O(n), by selection instead of sorting. `docs/market.md` has a worked example.
//!
//! Two forms of a reserve: a *base price* is one more bidder, part of y. A *price floor* ρ makes the share
//! x / max(x + y, ρ): below the floor utility grows evenly, with w/ρ for each credit, and only then as above.
//!
//! All rates are credits per second (or any one unit of money per time), as floats: this is planning, not accounting.

mod curve;
mod max_hosts;
mod selection;
mod water_filling;

use thiserror::Error;

use self::curve::{curves_of, least_of};
pub use self::max_hosts::{ManyHosts, solve_with_bound, solve_with_max_hosts};
use self::selection::solve_plain;
use self::water_filling::{budget_reaching, fill};

/// Rates, prices and weights are zero, or between this and its inverse.
const MAGNITUDE_MAX: f64 = 1e30;

/// The bid, in credits per second, for a host that nobody wants and that costs nothing: any bid gets all of it, so
/// there is no best one, and this one stands for "next to nothing".
pub const TOKEN_BID: f64 = 1e-12;

/// A host to bid on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HostOffer {
    /// The value of the whole host to the bidder, at least 0.
    pub weight: f64,
    /// The sum of the others' bids.
    pub others: f64,
    /// The base price of the whole host, which takes part in the auction like one more bidder.
    pub base_price: f64,
    /// The least share of the host that is of use, from 0 to below 1.
    pub min_share: Option<f64>,
    /// The largest share of the host that is of use, from above 0 to 1.
    pub max_share: Option<f64>,
}

impl HostOffer {
    /// A host of this weight on which the others and the base price together bid `price`.
    pub const fn new(weight: f64, price: f64) -> Self {
        Self { weight, others: price, base_price: 0.0, min_share: None, max_share: None }
    }

    /// What one's own bid competes with: y.
    pub fn price(&self) -> f64 {
        self.others + self.base_price
    }
}

/// What to optimise.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Problem {
    /// The budget X in credits per second.
    pub budget: f64,
    /// The hosts.
    pub hosts: Vec<HostOffer>,
}

/// The optimum; the lists are in the order of the hosts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Solution {
    /// What to bid on each host, in credits per second.
    pub bids: Vec<f64>,
    /// The share of each host that this gets if the others' bids stay, from 0 to 1.
    pub shares: Vec<f64>,
    /// U = Σ w_j·share_j.
    pub utility: f64,
    /// The utility of one more credit per second; 0 where more money is of no use.
    pub lambda: f64,
    /// The part of the budget that is of no use, because all shares are at their greatest.
    pub unspent: f64,
}

/// Why there is no best response.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum BestResponseError {
    /// Not a number, infinite, negative, or beyond 1e30.
    #[error("the {what}{} is {value}; it must be 0, or between 1e-30 and 1e30", at_host(*host))]
    Number {
        /// Which number.
        what: &'static str,
        /// The host's position, if it belongs to one.
        host: Option<usize>,
        /// The number given.
        value: f64,
    },
    /// Shares that are no shares.
    #[error(
        "the shares of host {host} are from {min} to {max}; the least must be from 0 to below 1, the greatest above 0 \
         and at most 1, and the least at most the greatest"
    )]
    Shares {
        /// The host's position.
        host: usize,
        /// The least share given.
        min: f64,
        /// The greatest share given.
        max: f64,
    },
    /// The least shares cost more than the budget.
    #[error("the least shares cost {} credits per second, more than the budget of {}", shown(*needed), shown(*budget))]
    Budget {
        /// The smallest budget that would do.
        needed: f64,
        /// The budget given.
        budget: f64,
    },
    /// More hosts have a least share than may be used.
    #[error(
        "{needed} hosts have a least share, which is to be had on each of them, but at most {max_hosts} may be used"
    )]
    MaxHosts {
        /// The hosts with a least share.
        needed: usize,
        /// The most hosts that may be used.
        max_hosts: usize,
    },
    /// No budget reaches the utility.
    #[error("no budget reaches a utility of {utility}: all shares together give less than or at most {limit}")]
    Utility {
        /// The utility asked for.
        utility: f64,
        /// The utility that unlimited money approaches.
        limit: f64,
    },
}

fn at_host(host: Option<usize>) -> String {
    host.map(|host| format!(" of host {host}")).unwrap_or_default()
}

/// Divides the budget over the hosts so that the utility is greatest.
///
/// # Errors
/// Numbers that are none, and a budget below the cost of the least shares.
pub fn solve(problem: &Problem) -> Result<Solution, BestResponseError> {
    solve_with_floors(problem, &[])
}

/// As [`solve`], where the hosts have price floors: what the bids on a host together must reach before all of it is
/// given out. They are in the order of the hosts; a host without one has the floor 0.
///
/// # Errors
/// As [`solve`].
pub fn solve_with_floors(problem: &Problem, floors: &[f64]) -> Result<Solution, BestResponseError> {
    check_number("budget", None, problem.budget)?;
    // What the others bid reaches such a floor already.
    let is_reached =
        |(floor, host): (&f64, &HostOffer)| check_number("price floor", None, *floor).is_ok() && *floor <= host.price();
    if floors.iter().zip(&problem.hosts).all(is_reached)
        && let Some(solution) = solve_plain(problem)
    {
        return Ok(solution);
    }
    solve_over_curves(problem, floors)
}

/// The general way: with floors, least and greatest shares, free hosts, and any magnitudes.
fn solve_over_curves(problem: &Problem, floors: &[f64]) -> Result<Solution, BestResponseError> {
    let curves = curves_of(&problem.hosts, floors)?;
    let least = least_of(&curves);
    if least > problem.budget {
        return Err(BestResponseError::Budget { needed: least, budget: problem.budget });
    }
    let (bids, lambda) = fill(&curves, problem.budget);
    let share = |(host, bid): (usize, &f64)| curves[host].share(*bid).min(problem.hosts[host].max_share.unwrap_or(1.0));
    let shares: Vec<f64> = bids.iter().enumerate().map(share).collect();
    // An empty sum of floats is −0, and nobody wants to read that.
    let utility = shares.iter().zip(&problem.hosts).map(|(share, host)| share * host.weight).sum::<f64>() + 0.0;
    // A difference within rounding is none.
    let rest = problem.budget - bids.iter().sum::<f64>();
    let unspent = if rest > problem.budget * 1e-12 { rest } else { 0.0 };
    Ok(Solution { bids, shares, utility, lambda, unspent })
}

/// The smallest budget with which the best response reaches `utility`: the inverse of [`solve`].
///
/// # Errors
/// Numbers that are none, and a utility that no budget reaches. A utility below that of the least shares
/// costs what the least shares cost.
pub fn budget_for(utility: f64, hosts: &[HostOffer]) -> Result<f64, BestResponseError> {
    budget_with_floors(utility, hosts, &[])
}

/// The inverse of [`solve_with_floors`].
///
/// # Errors
/// As [`budget_for`].
pub fn budget_with_floors(utility: f64, hosts: &[HostOffer], floors: &[f64]) -> Result<f64, BestResponseError> {
    check_number("utility", None, utility)?;
    let curves = curves_of(hosts, floors)?;
    let limit: f64 = curves.iter().map(|curve| curve.weight * curve.share(curve.high)).sum();
    budget_reaching(&curves, utility, limit).ok_or(BestResponseError::Utility { utility, limit })
}

/// The budget with which `work` units of work are done within `time` seconds, where utility is work per second
/// (deadline: the inverse at U = work/time).
///
/// # Errors
/// As [`budget_for`].
pub fn budget_for_deadline(work: f64, time: f64, hosts: &[HostOffer]) -> Result<f64, BestResponseError> {
    check_number("work", None, work)?;
    check_number("time", None, time)?;
    budget_for(work / time, hosts)
}

fn check_number(what: &'static str, host: Option<usize>, value: f64) -> Result<(), BestResponseError> {
    let fits = value == 0.0 || (1.0 / MAGNITUDE_MAX..=MAGNITUDE_MAX).contains(&value);
    if fits { Ok(()) } else { Err(BestResponseError::Number { what, host, value }) }
}

/// A number as people read it: six digits that say something, without the noise of binary fractions.
fn shown(value: f64) -> String {
    let magnitude = value.abs().log10().floor();
    let decimals = if magnitude.is_finite() { (5.0 - magnitude).clamp(0.0, 12.0) as usize } else { 0 };
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests;
