//! Finding the s at which the bids spend the budget, or reach a utility: exactly, between two turns.

use std::cmp::Ordering;

use super::curve::{Curve, least_of};

/// Where a bid is within a segment of s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Low,
    Flat,
    Free,
    High,
}

impl Place {
    fn bound(self, curve: &Curve) -> Option<f64> {
        match self {
            Self::Low => Some(curve.low),
            Self::Flat => Some(curve.flat),
            Self::Free => None,
            Self::High => Some(curve.high),
        }
    }
}

/// An interval of s in which no bid changes its form.
#[derive(Debug)]
struct Segment {
    from: f64,
    to: f64,
    places: Vec<Place>,
}

/// What grows with s and is to reach a given amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goal {
    /// The sum of the bids.
    Spent,
    /// The utility.
    Utility,
}

impl Goal {
    /// What one host adds at `s`.
    fn of(self, curve: &Curve, s: f64) -> f64 {
        let bid = curve.bid(s);
        match self {
            Self::Spent => bid,
            Self::Utility => curve.weight * curve.share(bid),
        }
    }
}

/// The sum over the hosts whose bids do not change their form any more in what is left of s.
#[derive(Clone, Copy, Debug, Default)]
struct Settled {
    /// Of the bids at a bound.
    fixed: f64,
    /// Of what is the same in all free bids.
    level: f64,
    /// Of √(w·y) of the free bids.
    roots: f64,
}

impl Settled {
    fn add(&mut self, goal: Goal, curve: &Curve, place: Place) {
        match (place.bound(curve), goal) {
            (Some(bid), Goal::Spent) => self.fixed += bid,
            (Some(bid), Goal::Utility) => self.fixed += curve.weight * curve.share(bid),
            (None, Goal::Spent) => {
                self.level += curve.price;
                self.roots += curve.root;
            }
            (None, Goal::Utility) => {
                self.level += curve.weight;
                self.roots += curve.root;
            }
        }
    }

    /// The sum at `s`, and how far it may be off by rounding.
    fn at(&self, goal: Goal, s: f64) -> (f64, f64) {
        let (sum, largest) = match goal {
            // x = s·√(w·y) − y
            Goal::Spent => (self.roots * s - self.level, self.roots * s + self.level),
            // w·x/(x + y) = w − √(w·y)/s
            Goal::Utility => (self.level - self.roots / s, self.level + self.roots / s),
        };
        (self.fixed + sum, (self.fixed + largest) * 1e-13)
    }
}

/// The segment at whose end, at the latest, the goal reaches `amount`; it grows with s.
///
/// Turns are not sorted: an interval of s around the answer shrinks, by about half of the turns that are left at a time.
/// Whose turns all lie outside is settled and only a part of a sum from then on, so that all of it is O(n).
fn segment_where(curves: &[Curve], goal: Goal, amount: f64) -> Segment {
    let (mut from, mut to) = (0.0_f64, f64::INFINITY);
    let mut open: Vec<u32> = (0..curves.len() as u32).collect();
    let mut settled = Settled::default();
    loop {
        let inside = |curve: &Curve| curve.turns().any(|turn| from < turn && turn < to);
        open.retain(|&index| {
            let curve = &curves[index as usize];
            let stays = inside(curve);
            if !stays {
                settled.add(goal, curve, place_in(curve, from, to));
            }
            stays
        });
        let Some(pivot) = middle_turn(curves, &open, from, to) else { break };
        let (sum, rounding) = settled.at(goal, pivot);
        let sum = open.iter().map(|&index| goal.of(&curves[index as usize], pivot)).sum::<f64>() + sum;
        let is_reached = if (sum - amount).abs() > rounding {
            sum >= amount
        } else {
            // Too near to tell from sums of large numbers.
            curves.iter().map(|curve| goal.of(curve, pivot)).sum::<f64>() >= amount
        };
        if is_reached {
            to = pivot;
        } else {
            from = pivot;
        }
    }
    Segment { from, to, places: curves.iter().map(|curve| place_in(curve, from, to)).collect() }
}

/// A turn between `from` and `to` that about half of those turns are below: the middle of a sample of them.
fn middle_turn(curves: &[Curve], open: &[u32], from: f64, to: f64) -> Option<f64> {
    const SAMPLE: usize = 255;
    let every = (open.len() / SAMPLE).max(1);
    let mut sample: Vec<f64> = Vec::with_capacity(3 * SAMPLE);
    for &index in open.iter().step_by(every) {
        sample.extend(curves[index as usize].turns().filter(|turn| from < *turn && *turn < to));
    }
    if sample.is_empty() {
        return None;
    }
    let middle = sample.len() / 2;
    Some(*sample.select_nth_unstable_by(middle, f64::total_cmp).1)
}

/// Where a bid is between `from` and `to`, where it does not change its form.
fn place_in(curve: &Curve, from: f64, to: f64) -> Place {
    if curve.flat_at >= to && !curve.is_free() {
        Place::Low
    } else if curve.meets_high() <= from {
        Place::High
    } else if curve.leaves_flat() >= to {
        Place::Flat
    } else {
        Place::Free
    }
}

/// The bids that spend `budget` best, and λ. The budget covers the least shares.
pub(super) fn fill(curves: &[Curve], budget: f64) -> (Vec<f64>, f64) {
    let segment = segment_where(curves, Goal::Spent, budget);
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
        return (bids, first_marginal_utility(curves));
    }
    let s = if roots > 0.0 { ((budget - fixed + prices) / roots).clamp(segment.from, segment.to) } else { segment.to };
    for ((bid, curve), place) in bids.iter_mut().zip(curves).zip(&segment.places) {
        if *place == Place::Free {
            *bid = (s * curve.root - curve.price).max(curve.flat).min(curve.high);
        }
    }
    if s < segment.to {
        settle_rounding(curves, &segment.places, &mut bids, budget);
    } else {
        spend_at_jump(curves, segment.to, &mut bids, budget);
    }
    (bids, 1.0 / (s * s))
}

/// The smallest budget that reaches `utility`; `None` where it is above `limit`, or at a limit that no money reaches.
pub(super) fn budget_reaching(curves: &[Curve], utility: f64, limit: f64) -> Option<f64> {
    let least = least_of(curves);
    let worth = |curve: &Curve, bid: f64| curve.weight * curve.share(bid);
    if utility <= curves.iter().map(|curve| worth(curve, curve.low)).sum::<f64>() {
        return Some(least);
    }
    let open_ended = curves.iter().any(|curve| curve.root > 0.0 && curve.high.is_infinite());
    if utility > limit || (utility >= limit && open_ended) {
        return None;
    }
    let segment = segment_where(curves, Goal::Utility, utility);
    let spent_before = |s: f64| curves.iter().map(|curve| curve.bid_before(s)).sum::<f64>();
    let worth_before = curves.iter().map(|curve| worth(curve, curve.bid_before(segment.to))).sum::<f64>();
    let budget = if segment.to.is_finite() && worth_before < utility {
        // Reached within a jump, in which every credit brings 1/s².
        spent_before(segment.to) + (utility - worth_before) * segment.to * segment.to
    } else {
        // Within the segment U = U_fixed + Σ_free w − Q/s, so s = Q / (U_fixed + W_free − U).
        let (mut certain, mut roots) = (0.0, 0.0);
        for (curve, place) in curves.iter().zip(&segment.places) {
            match place.bound(curve) {
                Some(bid) => certain += worth(curve, bid),
                None => {
                    certain += curve.weight;
                    roots += curve.root;
                }
            }
        }
        let gap = certain - utility;
        let s = if roots > 0.0 && gap > 0.0 { (roots / gap).clamp(segment.from, segment.to) } else { segment.from };
        // Just above the beginning of the segment, just below its end.
        if s < segment.to { curves.iter().map(|curve| curve.bid(s)).sum() } else { spent_before(s) }
    };
    budget.is_finite().then(|| budget.max(least))
}

/// Gives free hosts equal parts of what the budget leaves after the least bids.
fn spread_tokens(curves: &[Curve], bids: &mut [f64], budget: f64) {
    for (bid, curve) in bids.iter_mut().zip(curves) {
        *bid = curve.low;
    }
    let optional = |curve: &Curve| curve.is_free() && curve.high > curve.low;
    let count = curves.iter().filter(|curve| optional(curve)).count();
    let rest = (budget - least_of(curves)).max(0.0);
    for (bid, curve) in bids.iter_mut().zip(curves) {
        if optional(curve) {
            *bid = (rest / count as f64).min(curve.high);
        }
    }
}

/// The greatest utility that the first credit per second beyond the least shares would bring.
fn first_marginal_utility(curves: &[Curve]) -> f64 {
    let first = curves.iter().flat_map(Curve::turns).fold(f64::INFINITY, f64::min);
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

/// Spends what is left on the bids that jump at `s`: each credit is worth the same on any of them.
fn spend_at_jump(curves: &[Curve], s: f64, bids: &mut [f64], budget: f64) {
    if s.is_infinite() {
        return;
    }
    let mut rest = budget - bids.iter().sum::<f64>();
    for (bid, curve) in bids.iter_mut().zip(curves) {
        let grows_here = curve.flat_at == s || curve.leaves_flat() == s;
        let room = if curve.flat_at == s { curve.flat - *bid } else { f64::INFINITY.min(curve.high - *bid) };
        if grows_here && rest > 0.0 && room > 0.0 {
            let more = rest.min(room);
            *bid += more;
            rest -= more;
        }
    }
}
