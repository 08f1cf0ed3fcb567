//! Best response on at most k hosts.
//!
//! Choosing the hosts is hard: swapping hosts in and out while it helps (EC'05) is fast but not exact. Here is a bound
//! for everything that is still open, by Lagrange: for any λ no choice of k hosts brings more than
//! D(λ) = λ·X + the sum of the k largest max_x (w_j·share_j(x) − λ·x). The smallest D is the bound; the k hosts behind it
//! are nearly always the best. Where a gap stays, hosts are fixed in or out one after the other (branch and bound)
//! until it is closed, or until a given number of steps: then the solution comes with its proven bound.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::curve::{Curve, curves_of, least_of};
use super::{BestResponseError, Problem, Solution, check_number, solve_with_floors};

/// A gap of this part of the utility is none.
const GAP_NONE: f64 = 1e-9;
/// Halvings of the interval of λ; it spans all magnitudes.
const HALVINGS: usize = 80;

/// A solution on at most k hosts.
#[derive(Clone, Debug, PartialEq)]
pub struct ManyHosts {
    /// The best solution found. Hosts that are not used have the bid 0.
    pub solution: Solution,
    /// No choice of hosts brings more than this.
    pub bound: f64,
    /// True where the solution is the optimum: the bound is no more than its utility (but for 1e-9 of it).
    pub is_optimal: bool,
    /// The steps that were taken.
    pub steps: usize,
}

/// Divides the budget over at most `max_hosts` hosts so that the utility is greatest; least shares count only for hosts
/// that are used. Takes at most `max_steps` steps of branch and bound, each of them O(n log n) times the halvings of λ.
///
/// # Errors
/// Numbers that are none.
pub fn solve_with_max_hosts(
    problem: &Problem,
    max_hosts: usize,
    max_steps: usize,
) -> Result<ManyHosts, BestResponseError> {
    search(problem, &[], max_hosts, &[], max_steps)
}

/// The best response on all hosts, or on at most `max_hosts` of them, with a bound that proves it: price floors as in
/// [`super::solve_with_floors`], and least shares that bind on every host that has one, so that those hosts are all used.
///
/// # Errors
/// Numbers that are none, a budget below the cost of the least shares, and more hosts with a least share than may be used.
pub fn solve_with_bound(
    problem: &Problem,
    floors: &[f64],
    max_hosts: Option<usize>,
    max_steps: usize,
) -> Result<ManyHosts, BestResponseError> {
    let Some(max_hosts) = max_hosts.filter(|most| *most < problem.hosts.len()) else {
        let solution = solve_with_floors(problem, floors)?;
        let bound = bound_at(problem, floors, solution.lambda)?.max(solution.utility);
        let is_optimal = bound <= solution.utility * (1.0 + GAP_NONE);
        return Ok(ManyHosts { bound, is_optimal, steps: 0, solution });
    };
    let must: Vec<usize> =
        (0..problem.hosts.len()).filter(|&host| problem.hosts[host].min_share.unwrap_or(0.0) > 0.0).collect();
    if must.len() > max_hosts {
        return Err(BestResponseError::MaxHosts { needed: must.len(), max_hosts });
    }
    search(problem, floors, max_hosts, &must, max_steps)
}

/// D(λ), less its rounding: no bids within the bounds that cost at most the budget bring more (weak duality), whatever λ is.
fn bound_at(problem: &Problem, floors: &[f64], lambda: f64) -> Result<f64, BestResponseError> {
    let curves = curves_of(&problem.hosts, floors)?;
    if problem.budget <= least_of(&curves) {
        // Nothing is left to choose.
        return Ok(curves.iter().map(|curve| curve.weight * curve.share(curve.low)).sum());
    }
    if lambda == 0.0 {
        return Ok(curves.iter().map(|curve| curve.weight * curve.share(curve.high)).sum());
    }
    let s = 1.0 / lambda.sqrt();
    let bound = problem.budget * lambda + curves.iter().map(|curve| curve.surplus(s)).sum::<f64>();
    // The terms may be far larger than their sum: what is within their rounding is no gap.
    let terms: f64 =
        curves.iter().map(|curve| curve.bid(s)).map(|bid| if bid.is_finite() { bid * lambda } else { 0.0 }).sum();
    let rounding = (bound + problem.budget * lambda + 2.0 * terms) * 16.0 * f64::EPSILON;
    Ok(bound - rounding)
}

/// Branch and bound over the hosts, of which those in `must` are used in any case.
fn search(
    problem: &Problem,
    floors: &[f64],
    max_hosts: usize,
    must: &[usize],
    max_steps: usize,
) -> Result<ManyHosts, BestResponseError> {
    check_number("budget", None, problem.budget)?;
    let curves = curves_of(&problem.hosts, floors)?;
    let best = solution_on(problem, floors, must)?;
    let mut search = Search { problem, floors, curves: &curves, max_hosts, best };
    let mut open = BinaryHeap::new();
    let mut choices = vec![Choice::Open; curves.len()];
    must.iter().for_each(|&host| choices[host] = Choice::In);
    let root = search.relax(choices);
    let mut bound = root.bound;
    open.push(root);
    let mut steps = 0;
    while let Some(node) = open.pop() {
        bound = node.bound.max(search.best.utility);
        if steps >= max_steps || node.bound <= search.best.utility * (1.0 + GAP_NONE) {
            break;
        }
        steps += 1;
        let Some(host) = node.branch_on else {
            // Nothing is open: the choice is complete, and its solution was tried.
            bound = search.best.utility;
            continue;
        };
        for choice in [Choice::In, Choice::Out] {
            let mut choices = node.choices.clone();
            choices[host] = choice;
            let child = search.relax(choices);
            if child.bound > search.best.utility {
                // A part cannot promise more than the whole.
                open.push(Node { bound: child.bound.min(node.bound), ..child });
            }
        }
        if open.is_empty() {
            bound = search.best.utility;
        }
    }
    let is_optimal = bound <= search.best.utility * (1.0 + GAP_NONE);
    Ok(ManyHosts { bound: bound.max(search.best.utility), solution: search.best, is_optimal, steps })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    Open,
    In,
    Out,
}

/// A set of choices, with the most that any completion of it brings.
struct Node {
    choices: Vec<Choice>,
    bound: f64,
    branch_on: Option<usize>,
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Node {}

impl PartialOrd for Node {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Node {
    fn cmp(&self, other: &Self) -> Ordering {
        self.bound.total_cmp(&other.bound)
    }
}

struct Search<'a> {
    problem: &'a Problem,
    floors: &'a [f64],
    curves: &'a [Curve],
    max_hosts: usize,
    best: Solution,
}

impl Search<'_> {
    /// Finds the bound of a node, and tries the choices of hosts behind it.
    fn relax(&mut self, choices: Vec<Choice>) -> Node {
        let (mut low, mut high) = (-40.0_f64, 40.0_f64);
        let mut bound = f64::INFINITY;
        let mut chosen = Vec::new();
        let mut tried: Vec<Vec<usize>> = Vec::new();
        for _ in 0..HALVINGS {
            let middle = f64::midpoint(low, high);
            let s = 10_f64.powf(middle);
            let hosts = self.choose(&choices, s);
            let spent: f64 = hosts.iter().map(|&host| self.curves[host].bid(s)).sum();
            let surplus: f64 = hosts.iter().map(|&host| self.curves[host].surplus(s)).sum();
            let value = self.problem.budget / (s * s) + surplus;
            if value < bound {
                bound = value;
                chosen.clone_from(&hosts);
            }
            if !tried.contains(&hosts) {
                self.try_hosts(&hosts);
                tried.push(hosts);
            }
            // D is convex in λ = 1/s² and its slope is X − spent.
            if spent > self.problem.budget {
                high = middle;
            } else {
                low = middle;
            }
        }
        let decided = choices.iter().filter(|choice| **choice == Choice::In).count();
        // Branch on the open host with the most at stake, of those behind the bound if there are any.
        let s = 10_f64.powf(f64::midpoint(low, high));
        let is_open = |host: &usize| choices[*host] == Choice::Open;
        let stake = |one: &usize, two: &usize| self.curves[*one].surplus(s).total_cmp(&self.curves[*two].surplus(s));
        let branch_on = if decided >= self.max_hosts {
            None
        } else {
            let behind = chosen.iter().copied().filter(is_open).max_by(stake);
            behind.or_else(|| (0..choices.len()).filter(is_open).max_by(stake))
        };
        Node { choices, bound, branch_on }
    }

    /// The hosts that bring most at `s`: those that are in, and the open ones with the largest surplus.
    fn choose(&self, choices: &[Choice], s: f64) -> Vec<usize> {
        let mut hosts: Vec<usize> = (0..choices.len()).filter(|&host| choices[host] == Choice::In).collect();
        let mut open: Vec<(f64, usize)> = (0..choices.len())
            .filter(|&host| choices[host] == Choice::Open)
            .map(|host| (self.curves[host].surplus(s), host))
            .filter(|(surplus, _)| *surplus > 0.0)
            .collect();
        open.sort_by(|one, two| two.0.total_cmp(&one.0).then(one.1.cmp(&two.1)));
        let room = self.max_hosts.saturating_sub(hosts.len());
        hosts.extend(open.into_iter().take(room).map(|(_, host)| host));
        hosts.sort_unstable();
        hosts
    }

    fn try_hosts(&mut self, hosts: &[usize]) {
        if let Ok(solution) = solution_on(self.problem, self.floors, hosts)
            && solution.utility > self.best.utility
        {
            self.best = solution;
        }
    }
}

/// The best response on exactly these hosts, in the order of all.
fn solution_on(problem: &Problem, floors: &[f64], hosts: &[usize]) -> Result<Solution, BestResponseError> {
    let part = Problem { budget: problem.budget, hosts: hosts.iter().map(|&host| problem.hosts[host]).collect() };
    let floors: Vec<f64> = hosts.iter().map(|&host| floors.get(host).copied().unwrap_or(0.0)).collect();
    let found = solve_with_floors(&part, &floors)?;
    let mut solution =
        Solution { bids: vec![0.0; problem.hosts.len()], shares: vec![0.0; problem.hosts.len()], ..found.clone() };
    for ((&host, bid), share) in hosts.iter().zip(found.bids).zip(found.shares) {
        solution.bids[host] = bid;
        solution.shares[host] = share;
    }
    Ok(solution)
}
