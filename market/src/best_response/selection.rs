//! The plain problem, without floors and without least and greatest shares: the same answer as water-filling over curves,
//! in less time and memory, because all there is to know of a host are three numbers.
//!
//! A host has a bid where its turn √(y/w) lies below s. The hosts are parted around a guess at s again and again; what is
//! surely below is only summed up. Guesses come from a sample, so that most hosts are looked at once or twice: O(n).

use super::{HostOffer, Problem, Solution, check_number};

/// Every so many hosts one is looked at for a guess, up to so many.
const SAMPLE_EVERY: usize = 16;
const SAMPLE_MAX: usize = 256;
/// So few hosts are sorted.
const FEW: usize = 48;

/// What there is to know of a host that is worth something.
#[derive(Clone, Copy)]
struct Host {
    /// The s above which it has a bid: √(y/w).
    turn: f64,
    /// √(w·y).
    root: f64,
    /// y.
    price: f64,
}

/// Sums over hosts that surely have bids.
#[derive(Clone, Copy, Default)]
struct Sums {
    roots: f64,
    prices: f64,
}

impl Sums {
    fn add(&mut self, host: &Host) {
        self.roots += host.root;
        self.prices += host.price;
    }

    /// What the bids add up to at `s`.
    fn spent(self, s: f64) -> f64 {
        s * self.roots - self.prices
    }
}

/// The best response to a plain problem, or `None` where the problem is not plain, or not safely solved so: the price of
/// some host is zero, something is wrong with a number, or prices are so far above the budget that sums lose its digits.
pub(super) fn solve_plain(problem: &Problem) -> Option<Solution> {
    let s = turning_point(problem)?;
    let mut bids = Vec::with_capacity(problem.hosts.len());
    let (mut others, mut dearest) = (0.0, (0.0, 0, 0.0));
    for (index, host) in problem.hosts.iter().enumerate() {
        let price = host.price();
        let bid = (s * root_of(host) - price).max(0.0);
        if bid > 0.0 && price > dearest.0 {
            others += dearest.2;
            dearest = (price, index, bid);
        } else {
            others += bid;
        }
        bids.push(bid);
    }
    // The error of rounding goes to the bid with the highest price, whose marginal utility it changes least.
    *bids.get_mut(dearest.1)? = (problem.budget - others).max(0.0);
    let mut utility = 0.0;
    let share = |(bid, host): (&f64, &HostOffer)| {
        let share = if *bid > 0.0 { bid / (bid + host.price()) } else { 0.0 };
        utility += share * host.weight;
        share
    };
    let shares = bids.iter().zip(&problem.hosts).map(share).collect();
    Some(Solution { bids, shares, utility, lambda: 1.0 / (s * s), unspent: 0.0 })
}

fn root_of(host: &HostOffer) -> f64 {
    // Both are at most 10³⁰, or 2·10³⁰, and zero or at least 10⁻³⁰: the product keeps all its digits.
    (host.weight * host.price()).sqrt()
}

/// The s at which the bids add up to the budget.
fn turning_point(problem: &Problem) -> Option<f64> {
    let mut open = Vec::with_capacity(problem.hosts.len());
    for host in &problem.hosts {
        let is_plain = host.min_share.unwrap_or(0.0) == 0.0 && host.max_share.unwrap_or(1.0) == 1.0;
        let numbers = [host.weight, host.others, host.base_price];
        let price = host.price();
        if !is_plain || price == 0.0 || numbers.iter().any(|number| check_number("", None, *number).is_err()) {
            return None;
        }
        if host.weight > 0.0 {
            let root = root_of(host);
            open.push(Host { turn: price / root, root, price });
        }
    }
    let mut sums = Sums::default();
    let mut open = open.as_mut_slice();
    let mut sample = Vec::with_capacity(SAMPLE_MAX);
    let mut round = 0;
    while open.len() > FEW {
        let pivot = guess(open, sums, problem.budget, round, &mut sample);
        round += 1;
        let (below, found) = part(open, pivot, sums);
        let spent = spent_surely(found, pivot, problem.budget)?;
        if spent > problem.budget {
            // s lies below the pivot, and so does every turn that counts.
            open = &mut open[..below];
        } else {
            sums = found;
            open = &mut open[below..];
            // Turns at the pivot itself bid nothing there, and more above it.
            let mut equal = 0;
            for index in 0..open.len() {
                if open[index].turn == pivot {
                    sums.add(&open[index]);
                    open.swap(index, equal);
                    equal += 1;
                }
            }
            open = &mut open[equal..];
        }
    }
    open.sort_unstable_by(|one, other| one.turn.total_cmp(&other.turn));
    for host in &*open {
        if spent_surely(sums, host.turn, problem.budget)? > problem.budget {
            break;
        }
        sums.add(host);
    }
    let s = (problem.budget + sums.prices) / sums.roots;
    (s.is_finite() && s > 0.0 && problem.budget > sums.prices * 1e-10).then_some(s)
}

/// What the bids add up to at `s`, or `None` where that cannot be told from `budget` for rounding.
fn spent_surely(sums: Sums, s: f64, budget: f64) -> Option<f64> {
    let spent = sums.spent(s);
    ((spent - budget).abs() > (s * sums.roots + sums.prices) * 1e-13).then_some(spent)
}

/// Brings the turns below `pivot` to the front: how many there are, and the sums with them.
fn part(open: &mut [Host], pivot: f64, mut sums: Sums) -> (usize, Sums) {
    let mut below = 0;
    for index in 0..open.len() {
        let host = open[index];
        let is_below = host.turn < pivot;
        // Without a branch, which would be mispredicted for every second host.
        let counts = if is_below { 1.0 } else { 0.0 };
        sums.roots += host.root * counts;
        sums.prices += host.price * counts;
        open[index] = open[below];
        open[below] = host;
        below += usize::from(is_below);
    }
    (below, sums)
}

/// A turn near s: what would be the last one with a bid if all hosts were like a sample of them, a little more, or a little
/// less, so that s comes to lie between two guesses; and the middle every third time, so that it ends soon in any case.
fn guess(open: &[Host], sums: Sums, budget: f64, round: usize, sample: &mut Vec<Host>) -> f64 {
    let every = open.len().div_ceil(SAMPLE_MAX).max(SAMPLE_EVERY);
    sample.clear();
    sample.extend(open.iter().step_by(every));
    sample.sort_unstable_by(|one, other| one.turn.total_cmp(&other.turn));
    let mut seen = sums;
    let reached = sample.iter().position(|host| {
        seen.roots += host.root * every as f64;
        seen.prices += host.price * every as f64;
        seen.spent(host.turn) >= budget
    });
    let near = reached.unwrap_or(sample.len() - 1);
    let margin = sample.len() / 16 + 1;
    let place = match round % 3 {
        0 => near + margin,
        1 => near.saturating_sub(margin),
        _ => sample.len() / 2,
    };
    sample[place.min(sample.len() - 1)].turn
}
