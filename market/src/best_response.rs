//! Best response: how to divide a budget over hosts, given what the others bid there.
//!
//! Maximise U = Σ w_j·x_j/(x_j + y_j) with Σ x_j = X and x_j ≥ 0 (Feldman, Lai, Zhang, EC'05, section 4.1). The
//! optimum is x_j = s·√(w_j·y_j) − y_j, held between what the least and the greatest share cost, for the one s at
//! which the bids add up to the budget; 1/s² is λ, the utility of one more credit per second. The sum of the bids
//! is piecewise linear in s, so s is found exactly among the points where a bid leaves or meets a bound:
//! O(n log n). `docs/market.md` has a worked example.
//!
//! All rates are credits per second (or any one unit of money per time), as floats: this is planning, not accounting.

use std::cmp::Ordering;

use thiserror::Error;

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
    #[error("the least shares cost {needed} credits per second, more than the budget of {budget}")]
    Budget {
        /// The smallest budget that would do.
        needed: f64,
        /// The budget given.
        budget: f64,
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
    check_number("budget", None, problem.budget)?;
    let curves = curves_of(&problem.hosts)?;
    let least: f64 = curves.iter().map(|curve| curve.low).sum();
    if least > problem.budget {
        return Err(BestResponseError::Budget { needed: least, budget: problem.budget });
    }
    let segment = segment_where(&curves, |s| spent(&curves, s) >= problem.budget);
    let (bids, lambda) = bids_in(&curves, &segment, problem.budget);
    Ok(finish(problem, bids, lambda))
}

/// The smallest budget with which the best response reaches `utility`: the inverse of [`solve`].
///
/// # Errors
/// Numbers that are none, and a utility that no budget reaches. A utility below that of the least shares
/// costs what the least shares cost.
pub fn budget_for(utility: f64, hosts: &[HostOffer]) -> Result<f64, BestResponseError> {
    check_number("utility", None, utility)?;
    let curves = curves_of(hosts)?;
    let least: f64 = curves.iter().map(|curve| curve.low).sum();
    if utility <= curves.iter().map(|curve| curve.weight * curve.share(curve.low)).sum::<f64>() {
        return Ok(least);
    }
    let limit: f64 = curves.iter().map(|curve| curve.weight * curve.share(curve.high)).sum();
    let unreachable = BestResponseError::Utility { utility, limit };
    let open_ended = curves.iter().any(|curve| curve.root > 0.0 && curve.high.is_infinite());
    if utility > limit || (utility >= limit && open_ended) {
        return Err(unreachable);
    }
    let reached = |s: f64| curves.iter().map(|curve| curve.weight * curve.share(curve.bid(s))).sum::<f64>();
    let segment = segment_where(&curves, |s| reached(s) >= utility);
    // Within the segment U = U_fixed + Σ_free w − Q/s, so s = Q / (U_fixed + W_free − U).
    let (mut certain, mut roots) = (0.0, 0.0);
    for (curve, place) in curves.iter().zip(&segment.places) {
        match place.bound(curve) {
            Some(bid) => certain += curve.weight * curve.share(bid),
            None => {
                certain += curve.weight;
                roots += curve.root;
            }
        }
    }
    let gap = certain - utility;
    let s = if roots > 0.0 && gap > 0.0 { (roots / gap).clamp(segment.from, segment.to) } else { segment.from };
    let budget = spent(&curves, s);
    if budget.is_finite() { Ok(budget.max(least)) } else { Err(unreachable) }
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

/// How the bid on one host depends on s.
#[derive(Clone, Copy, Debug)]
struct Curve {
    weight: f64,
    /// y.
    price: f64,
    /// √(w·y), or 0 where the bid does not depend on s.
    root: f64,
    /// The bid for the least share.
    low: f64,
    /// The bid for the greatest share; infinite for the whole host.
    high: f64,
}

impl Curve {
    fn of(index: usize, host: &HostOffer) -> Result<Self, BestResponseError> {
        check_number("weight", Some(index), host.weight)?;
        check_number("others' bid", Some(index), host.others)?;
        check_number("base price", Some(index), host.base_price)?;
        let (min, max) = (host.min_share.unwrap_or(0.0), host.max_share.unwrap_or(1.0));
        let fits = (0.0..1.0).contains(&min) && max > 0.0 && max <= 1.0 && min <= max;
        if !fits {
            return Err(BestResponseError::Shares { host: index, min, max });
        }
        let (weight, price) = (host.weight, host.price());
        if price == 0.0 {
            let wanted = weight > 0.0 || min > 0.0;
            let token = if wanted { TOKEN_BID } else { 0.0 };
            let low = if min > 0.0 { TOKEN_BID } else { 0.0 };
            return Ok(Self { weight, price, root: 0.0, low, high: token });
        }
        let cost = |share: f64| if share >= 1.0 { f64::INFINITY } else { share * price / (1.0 - share) };
        Ok(Self { weight, price, root: weight.sqrt() * price.sqrt(), low: cost(min), high: cost(max) })
    }

    fn bid(&self, s: f64) -> f64 {
        if self.root == 0.0 {
            // A free host is taken first of all; a worthless one gets what it must.
            return if self.price == 0.0 && s > 0.0 { self.high } else { self.low };
        }
        (s * self.root - self.price).max(self.low).min(self.high)
    }

    fn share(&self, bid: f64) -> f64 {
        if bid.is_infinite() {
            1.0
        } else if bid == 0.0 {
            0.0
        } else {
            bid / (bid + self.price)
        }
    }

    /// The s above which the bid exceeds its least.
    fn leaves_low(&self) -> f64 {
        (self.low + self.price) / self.root
    }

    /// The s from which the bid is at its greatest.
    fn meets_high(&self) -> f64 {
        (self.high + self.price) / self.root
    }
}

fn curves_of(hosts: &[HostOffer]) -> Result<Vec<Curve>, BestResponseError> {
    hosts.iter().enumerate().map(|(index, host)| Curve::of(index, host)).collect()
}

fn spent(curves: &[Curve], s: f64) -> f64 {
    curves.iter().map(|curve| curve.bid(s)).sum()
}

/// Where a bid is within a segment of s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Low,
    Free,
    High,
}

impl Place {
    fn bound(self, curve: &Curve) -> Option<f64> {
        match self {
            Self::Low => Some(curve.low),
            Self::Free => None,
            Self::High => Some(curve.high),
        }
    }
}

/// An interval of s in which no bid leaves or meets a bound.
#[derive(Debug)]
struct Segment {
    from: f64,
    to: f64,
    places: Vec<Place>,
}

/// The segment in which `reached`, false and then true as s grows, turns true.
fn segment_where(curves: &[Curve], reached: impl Fn(f64) -> bool) -> Segment {
    let mut turns: Vec<f64> = curves
        .iter()
        .filter(|curve| curve.root > 0.0)
        .flat_map(|curve| [curve.leaves_low(), curve.meets_high()])
        .filter(|turn| turn.is_finite())
        .collect();
    turns.sort_by(f64::total_cmp);
    turns.dedup();
    let next = turns.partition_point(|&turn| !reached(turn));
    let from = if next == 0 { 0.0 } else { turns[next - 1] };
    let to = turns.get(next).copied().unwrap_or(f64::INFINITY);
    let places = curves
        .iter()
        .map(|curve| {
            if curve.root == 0.0 {
                if curve.price == 0.0 { Place::High } else { Place::Low }
            } else if curve.meets_high() <= from {
                Place::High
            } else if curve.leaves_low() >= to {
                Place::Low
            } else {
                Place::Free
            }
        })
        .collect();
    Segment { from, to, places }
}

/// The bids that spend `budget` within `segment`, and λ.
fn bids_in(curves: &[Curve], segment: &Segment, budget: f64) -> (Vec<f64>, f64) {
    let mut bids: Vec<f64> = vec![0.0; curves.len()];
    let (mut fixed, mut prices, mut roots) = (0.0, 0.0, 0.0);
    for ((bid, curve), place) in bids.iter_mut().zip(curves).zip(&segment.places) {
        match place.bound(curve) {
            Some(bound) => {
                *bid = bound;
                fixed += bound;
            }
            None => {
                prices += curve.price;
                roots += curve.root;
            }
        }
    }
    if fixed > budget {
        // Only the token bids of free hosts can be too many for the least shares and the rest: thin them out.
        spread_tokens(curves, &mut bids, budget);
        return (bids, marginal_utility(curves));
    }
    if roots == 0.0 {
        let more_is_useless = segment.to.is_infinite();
        return (bids, if more_is_useless { 0.0 } else { 1.0 / (segment.to * segment.to) });
    }
    let s = ((budget - fixed + prices) / roots).clamp(segment.from, segment.to);
    for ((bid, curve), place) in bids.iter_mut().zip(curves).zip(&segment.places) {
        if *place == Place::Free {
            *bid = (s * curve.root - curve.price).max(curve.low).min(curve.high);
        }
    }
    settle_rounding(curves, &segment.places, &mut bids, budget);
    (bids, 1.0 / (s * s))
}

/// Gives free hosts equal parts of what the budget leaves after the least bids.
fn spread_tokens(curves: &[Curve], bids: &mut [f64], budget: f64) {
    for (bid, curve) in bids.iter_mut().zip(curves) {
        *bid = curve.low;
    }
    let optional = |curve: &&Curve| curve.price == 0.0 && curve.high > curve.low;
    let count = curves.iter().filter(optional).count();
    let rest = (budget - curves.iter().map(|curve| curve.low).sum::<f64>()).max(0.0);
    for (bid, curve) in bids.iter_mut().zip(curves) {
        if optional(&curve) {
            *bid = (rest / count as f64).min(curve.high);
        }
    }
}

/// The greatest utility that the first credit per second beyond the least shares would bring.
fn marginal_utility(curves: &[Curve]) -> f64 {
    let first = curves.iter().filter(|curve| curve.root > 0.0).map(Curve::leaves_low).fold(f64::INFINITY, f64::min);
    if first.is_finite() { 1.0 / (first * first) } else { 0.0 }
}

/// Makes the free bids add up to the budget.
///
/// s·√(w·y) − y loses digits where the price is far above the bid. The error goes to the free bid with the highest
/// price, whose marginal utility it changes least.
fn settle_rounding(curves: &[Curve], places: &[Place], bids: &mut [f64], budget: f64) {
    let dearest = (0..bids.len())
        .filter(|&index| places[index] == Place::Free)
        .max_by(|&one, &two| curves[one].price.partial_cmp(&curves[two].price).unwrap_or(Ordering::Equal));
    if let Some(index) = dearest {
        let others: f64 = bids.iter().enumerate().filter(|&(other, _)| other != index).map(|(_, bid)| bid).sum();
        bids[index] = (budget - others).max(curves[index].low).min(curves[index].high);
    }
}

fn finish(problem: &Problem, bids: Vec<f64>, lambda: f64) -> Solution {
    let shares: Vec<f64> = bids
        .iter()
        .zip(&problem.hosts)
        .map(|(&bid, host)| {
            let share = if bid == 0.0 { 0.0 } else { bid / (bid + host.price()) };
            share.min(host.max_share.unwrap_or(1.0))
        })
        .collect();
    let utility = shares.iter().zip(&problem.hosts).map(|(share, host)| share * host.weight).sum();
    // A difference within rounding is none.
    let rest = problem.budget - bids.iter().sum::<f64>();
    let unspent = if rest > problem.budget * 1e-12 { rest } else { 0.0 };
    Solution { bids, shares, utility, lambda, unspent }
}

#[cfg(test)]
mod tests;
