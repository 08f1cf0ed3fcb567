use super::*;
use proptest::prelude::*;

fn problem(budget: f64, weights_and_prices: &[(f64, f64)]) -> Problem {
    let hosts = weights_and_prices.iter().map(|&(weight, price)| HostOffer::new(weight, price)).collect();
    Problem { budget, hosts }
}

fn close(one: f64, two: f64, tolerance: f64) -> bool {
    (one - two).abs() <= tolerance * one.abs().max(two.abs()).max(1e-300)
}

const EXAMPLE: [(f64, f64); 4] = [(3.0, 1.0), (2.0, 2.0), (1.0, 0.5), (0.5, 4.0)];

/// The worked example of the market's documentation, verified there against a general optimiser.
#[test]
fn the_worked_example_comes_out() {
    let solution = solve(&problem(1.5, &EXAMPLE)).unwrap();
    for (bid, expected) in solution.bids.iter().zip([0.950878, 0.252680, 0.296443, 0.0]) {
        assert!((bid - expected).abs() < 1e-6, "{:?}", solution.bids);
    }
    for (share, expected) in solution.shares.iter().zip([0.487410, 0.112168, 0.372208, 0.0]) {
        assert!((share - expected).abs() < 1e-6, "{:?}", solution.shares);
    }
    assert!((solution.lambda - 0.788245).abs() < 1e-6);
    assert!((solution.utility - 2.058776).abs() < 1e-6);
    assert_eq!(solution.unspent, 0.0);
}

#[test]
fn the_inverse_of_the_example_is_its_budget() {
    let hosts = problem(0.0, &EXAMPLE).hosts;
    let utility = solve(&problem(1.5, &EXAMPLE)).unwrap().utility;
    assert!(close(budget_for(utility, &hosts).unwrap(), 1.5, 1e-12));
    assert_eq!(budget_for(0.0, &hosts), Ok(0.0));
    let beyond = budget_for(6.5, &hosts);
    assert!(matches!(beyond, Err(BestResponseError::Utility { limit, .. }) if close(limit, 6.5, 1e-12)), "{beyond:?}");
    assert!(close(budget_for_deadline(utility * 60.0, 60.0, &hosts).unwrap(), 1.5, 1e-12));
}

/// Two players with opposite weights (α, 1−α): the price ratios δ of their equilibria are the roots of
/// δ³ − cδ² + cδ − 1 = (δ−1)(δ² + (1−c)δ + 1) with c = 1/(2α(1−α)) − 1; for α = 0.9 they are 0.3079, 1 and 3.2476 (EC'05).
#[test]
fn two_opposite_players_rest_at_the_roots_of_the_paper() {
    let alpha = 0.9_f64;
    let c = 1.0 / (2.0 * alpha * (1.0 - alpha)) - 1.0;
    let half = (c - 1.0) / 2.0;
    let root = half + (half * half - 1.0).sqrt();
    assert!((root - 3.2476).abs() < 1e-4);
    for delta in [1.0 / root, 1.0, root] {
        // Marginal utilities are equal on both hosts: x1/x2 = α/(1−α)·δ² for the one, the mirror image for the other.
        let bids = |ratio: f64| [ratio / (1.0 + ratio), 1.0 / (1.0 + ratio)];
        let one = bids(alpha / (1.0 - alpha) * delta * delta);
        let two = bids((1.0 - alpha) / alpha * delta * delta);
        let first = solve(&problem(1.0, &[(alpha, two[0]), (1.0 - alpha, two[1])])).unwrap().bids;
        let second = solve(&problem(1.0, &[(1.0 - alpha, one[0]), (alpha, one[1])])).unwrap().bids;
        for (bid, expected) in first.iter().chain(&second).zip(one.iter().chain(&two)) {
            assert!(close(*bid, *expected, 1e-9), "{first:?} {second:?} at {delta}");
        }
    }
}

#[test]
fn without_hosts_all_money_is_left() {
    let solution = solve(&problem(2.0, &[])).unwrap();
    assert_eq!(solution, Solution { unspent: 2.0, ..Solution::default() });
    assert_eq!(budget_for(0.0, &[]), Ok(0.0));
    assert!(budget_for(1.0, &[]).is_err());
}

#[test]
fn a_free_host_takes_a_token_and_all_of_it_is_had() {
    let solution = solve(&problem(1.0, &[(3.0, 0.0), (1.0, 1.0)])).unwrap();
    assert_eq!(solution.bids[0], TOKEN_BID);
    assert_eq!(solution.shares[0], 1.0);
    assert!(close(solution.bids[1], 1.0, 1e-9));
    let only_free = solve(&problem(1.0, &[(3.0, 0.0)])).unwrap();
    assert!(close(only_free.unspent, 1.0, 1e-9));
    let poor = solve(&problem(1e-13, &[(3.0, 0.0), (1.0, 0.0), (1.0, 1.0)])).unwrap();
    assert!(close(poor.bids.iter().sum(), 1e-13, 1e-9), "{poor:?}");
}

#[test]
fn a_worthless_host_gets_nothing_unless_its_least_share_is_wanted() {
    let mut task = problem(1.0, &[(0.0, 1.0), (1.0, 1.0)]);
    assert_eq!(solve(&task).unwrap().bids[0], 0.0);
    task.hosts[0].min_share = Some(0.2);
    assert!(close(solve(&task).unwrap().bids[0], 0.25, 1e-12));
}

#[test]
fn too_small_a_budget_says_what_would_do() {
    let mut task = problem(0.1, &[(1.0, 1.0), (1.0, 3.0)]);
    task.hosts[0].min_share = Some(0.5);
    task.hosts[1].min_share = Some(0.25);
    let Err(BestResponseError::Budget { needed, .. }) = solve(&task) else { panic!("a share of 1/2 costs 1") };
    assert!(close(needed, 2.0, 1e-12));
    task.budget = needed;
    let solution = solve(&task).unwrap();
    assert!(close(solution.shares[0], 0.5, 1e-12) && close(solution.shares[1], 0.25, 1e-12));
}

#[test]
fn beyond_the_greatest_shares_money_stays_unspent() {
    let mut task = problem(10.0, &[(1.0, 1.0), (1.0, 3.0)]);
    task.hosts[0].max_share = Some(0.5);
    task.hosts[1].max_share = Some(0.25);
    let solution = solve(&task).unwrap();
    assert!(close(solution.unspent, 8.0, 1e-12), "{solution:?}");
    assert_eq!(solution.lambda, 0.0);
    let most = budget_for(0.75, &task.hosts).unwrap();
    assert!(close(most, 2.0, 1e-9), "{most}");
}

#[test]
fn the_base_price_is_one_more_bidder() {
    let apart = Problem {
        budget: 1.0,
        hosts: vec![HostOffer { base_price: 0.75, ..HostOffer::new(1.0, 0.25) }, HostOffer::new(2.0, 1.0)],
    };
    assert_eq!(solve(&apart).unwrap().bids, solve(&problem(1.0, &[(1.0, 1.0), (2.0, 1.0)])).unwrap().bids);
}

#[test]
fn numbers_that_are_none_are_refused() {
    for wrong in [f64::NAN, f64::INFINITY, -1.0, 1e-31, 1e31] {
        assert!(solve(&problem(wrong, &EXAMPLE)).is_err(), "{wrong}");
        assert!(solve(&problem(1.0, &[(wrong, 1.0)])).is_err(), "{wrong}");
        assert!(solve(&problem(1.0, &[(1.0, wrong)])).is_err(), "{wrong}");
        assert!(budget_for(wrong, &problem(1.0, &EXAMPLE).hosts).is_err(), "{wrong}");
    }
    for (min, max) in [(-0.1, 1.0), (1.0, 1.0), (0.5, 0.4), (0.0, 0.0), (0.0, 1.1), (f64::NAN, 1.0), (0.0, f64::NAN)] {
        let mut task = problem(1.0, &[(1.0, 1.0)]);
        (task.hosts[0].min_share, task.hosts[0].max_share) = (Some(min), Some(max));
        assert!(matches!(solve(&task), Err(BestResponseError::Shares { .. })), "{min} to {max}");
    }
}

#[test]
fn equal_hosts_get_equal_bids() {
    let solution = solve(&problem(1.0, &[(2.0, 0.5); 1000])).unwrap();
    assert!(solution.bids.iter().all(|bid| close(*bid, 0.001, 1e-9)));
}

fn magnitude(range: std::ops::Range<f64>) -> impl Strategy<Value = f64> {
    range.prop_map(|exponent| 10_f64.powf(exponent))
}

fn wide_problem() -> impl Strategy<Value = Problem> {
    let host =
        (magnitude(-6.0..6.0), magnitude(-12.0..12.0), prop::option::of(0.0..0.3_f64), prop::option::of(0.3..1.0_f64))
            .prop_map(|(weight, others, min_share, max_share)| HostOffer {
                weight,
                others,
                base_price: others / 3.0,
                min_share,
                max_share,
            });
    (magnitude(-12.0..12.0), prop::collection::vec(host, 0..30)).prop_map(|(budget, hosts)| Problem { budget, hosts })
}

proptest! {
    /// The conditions of Karush, Kuhn and Tucker: between its bounds a bid's marginal utility is λ, at its least it is
    /// no more, at its greatest no less. They are sufficient, for U is concave.
    #[test]
    fn the_solution_meets_the_conditions_of_an_optimum(task in wide_problem()) {
        let solution = match solve(&task) {
            Ok(solution) => solution,
            Err(BestResponseError::Budget { needed, budget }) => {
                prop_assert!(needed > budget);
                let enough = Problem { budget: needed, ..task };
                prop_assert!(solve(&enough).is_ok());
                return Ok(());
            }
            Err(error) => panic!("{error}"),
        };
        let spent: f64 = solution.bids.iter().sum();
        prop_assert!(close(spent + solution.unspent, task.budget, 1e-9), "{spent} of {}", task.budget);
        prop_assert!(solution.lambda.is_finite() && solution.utility.is_finite());
        for (host, (&bid, &share)) in task.hosts.iter().zip(solution.bids.iter().zip(&solution.shares)) {
            let y = host.price();
            let (min, max) = (host.min_share.unwrap_or(0.0), host.max_share.unwrap_or(1.0));
            prop_assert!(share >= min - 1e-12 && share <= max + 1e-12, "{min} <= {share} <= {max}");
            let marginal = host.weight * y / (bid + y) / (bid + y);
            let slack = 1e-6 * marginal.max(solution.lambda);
            if share > min + 1e-9 && bid > 1e-9 * spent {
                prop_assert!(marginal >= solution.lambda - slack, "{marginal} < {}", solution.lambda);
            }
            if share < max - 1e-9 {
                prop_assert!(marginal <= solution.lambda + slack, "{marginal} > {}", solution.lambda);
            }
        }
    }

    /// No random move of money between two hosts is better.
    #[test]
    fn no_move_of_money_helps(task in wide_problem(), from in 0_usize..30, to in 0_usize..30, part in 0.001..1.0_f64) {
        if task.hosts.len() < 2 {
            return Ok(());
        }
        let (from, to) = (from % task.hosts.len(), to % task.hosts.len());
        let Ok(solution) = solve(&task) else { return Ok(()) };
        let mut bids = solution.bids.clone();
        let moved = bids[from] * part;
        bids[from] -= moved;
        bids[to] += moved;
        let mut utility = 0.0;
        for (bid, host) in bids.iter().zip(&task.hosts) {
            let share = bid / (bid + host.price());
            if share < host.min_share.unwrap_or(0.0) || share > host.max_share.unwrap_or(1.0) {
                return Ok(());
            }
            utility += share * host.weight;
        }
        prop_assert!(utility <= solution.utility * (1.0 + 1e-12));
    }

    /// The inverse returns the budget wherever more money still helps.
    #[test]
    fn the_inverse_returns_the_budget(
        hosts in prop::collection::vec((magnitude(-2.0..2.0), magnitude(-3.0..3.0)), 1..20),
        budget in magnitude(-2.0..2.0),
    ) {
        let task = problem(budget, &hosts);
        let solution = solve(&task).unwrap();
        let back = budget_for(solution.utility, &task.hosts).unwrap();
        prop_assert!(close(back, budget, 1e-6), "{back} for {budget}");
    }
}

/// Without others' bids and a floor of 2 each credit per second brings w/2, up to the whole host for 2.
#[test]
fn below_a_price_floor_every_credit_brings_the_same() {
    let task = problem(1.0, &[(3.0, 0.0), (2.0, 0.0)]);
    let solution = solve_with_floors(&task, &[2.0, 2.0]).unwrap();
    assert_eq!(solution.bids, [1.0, 0.0], "the dearer host first");
    assert!(close(solution.utility, 1.5, 1e-12) && close(solution.lambda, 1.5, 1e-12));
    let solution = solve_with_floors(&Problem { budget: 3.0, ..task.clone() }, &[2.0, 2.0]).unwrap();
    assert_eq!(solution.bids, [2.0, 1.0]);
    let solution = solve_with_floors(&Problem { budget: 5.0, ..task.clone() }, &[2.0, 2.0]).unwrap();
    assert_eq!((solution.bids, solution.unspent), (vec![2.0, 2.0], 1.0));
    assert!(close(budget_with_floors(4.0, &task.hosts, &[2.0, 2.0]).unwrap(), 3.0, 1e-12));
    assert!(close(budget_with_floors(5.0, &task.hosts, &[2.0, 2.0]).unwrap(), 4.0, 1e-12));
}

#[test]
fn a_floor_below_the_price_changes_nothing() {
    let task = problem(1.5, &EXAMPLE);
    assert_eq!(solve_with_floors(&task, &[0.9, 2.0, 0.1, 3.0]).unwrap(), solve(&task).unwrap());
    assert!(solve_with_floors(&task, &[f64::NAN]).is_err());
}

/// The counter-example to swapping one host at a time has seven hosts and k = 3; this one is solved by trying all.
#[test]
fn at_most_k_hosts_is_exact_on_small_problems() {
    let task = problem(2.0, &[(3.0, 1.0), (2.0, 2.0), (1.0, 0.5), (0.5, 4.0), (2.5, 3.0), (0.2, 0.01), (1.7, 0.9)]);
    for most in 0..=7 {
        let found = solve_with_max_hosts(&task, most, 10_000).unwrap();
        assert!(found.is_optimal, "{most}: {found:?}");
        assert!(found.solution.bids.iter().filter(|bid| **bid > 0.0).count() <= most);
        assert!(close(found.solution.utility, best_by_trying_all(&task, most), 1e-8), "{most}: {found:?}");
    }
    let all = solve_with_max_hosts(&task, 7, 0).unwrap();
    assert!(close(all.solution.utility, solve(&task).unwrap().utility, 1e-9));
}

fn best_by_trying_all(task: &Problem, most: usize) -> f64 {
    let mut best = 0.0_f64;
    for set in 0_u32..1 << task.hosts.len() {
        if set.count_ones() as usize <= most {
            let chosen = task.hosts.iter().enumerate().filter(|(host, _)| set >> host & 1 == 1).map(|(_, host)| *host);
            if let Ok(solution) = solve(&Problem { budget: task.budget, hosts: chosen.collect() }) {
                best = best.max(solution.utility);
            }
        }
    }
    best
}

proptest! {
    /// The conditions of an optimum with floors: the marginal utility is w/ρ below the floor and w·y/(x+y)² above it.
    #[test]
    fn with_floors_too_the_solution_is_optimal(
        hosts in prop::collection::vec((magnitude(-2.0..2.0), magnitude(-3.0..3.0), magnitude(-3.0..3.0)), 1..12),
        budget in magnitude(-3.0..3.0),
    ) {
        let pairs: Vec<(f64, f64)> = hosts.iter().map(|&(weight, price, _)| (weight, price)).collect();
        let floors: Vec<f64> = hosts.iter().map(|&(_, _, floor)| floor).collect();
        let task = problem(budget, &pairs);
        let solution = solve_with_floors(&task, &floors).unwrap();
        prop_assert!(close(solution.bids.iter().sum::<f64>(), budget, 1e-9));
        for ((weight, y, floor), bid) in hosts.iter().zip(&solution.bids) {
            let (more, less) = (bid * 1e-7 + 1e-12, bid * 1e-7);
            let slope_up = if bid + more + y < *floor { weight / floor } else { weight * y / (bid + y).powi(2) };
            let slope_down = if bid - less + y < *floor { weight / floor } else { weight * y / (bid + y).powi(2) };
            prop_assert!(slope_up <= solution.lambda * (1.0 + 1e-5), "{slope_up} > {}", solution.lambda);
            if *bid > budget * 1e-9 {
                prop_assert!(slope_down >= solution.lambda * (1.0 - 1e-5), "{slope_down} < {}", solution.lambda);
            }
        }
        let back = budget_with_floors(solution.utility, &task.hosts, &floors).unwrap();
        prop_assert!(close(back, budget, 1e-5), "{back} for {budget}");
    }

    #[test]
    fn at_most_k_hosts_is_exact(
        hosts in prop::collection::vec((magnitude(-1.0..1.0), magnitude(-1.5..1.5), prop::option::weighted(0.3, 0.01..0.4_f64)), 1..9),
        budget in magnitude(-1.5..1.5),
        most in 0_usize..6,
    ) {
        let hosts = hosts
            .into_iter()
            .map(|(weight, price, min_share)| HostOffer { min_share, ..HostOffer::new(weight, price) })
            .collect();
        let task = Problem { budget, hosts };
        let found = solve_with_max_hosts(&task, most, 100_000).unwrap();
        let best = best_by_trying_all(&task, most);
        prop_assert!(found.bound >= best * (1.0 - 1e-9), "the bound {} is below {best}", found.bound);
        prop_assert!(found.is_optimal && close(found.solution.utility, best, 1e-7), "{found:?} but {best}");
    }
}

/// Hundreds of hosts: the bound is tight enough to prove the choice in a few steps.
#[test]
fn at_most_k_of_many_hosts_is_proven() {
    // Weights and prices that are spread but repeat their patterns, without a random number in sight.
    let spread = |index: usize, step: usize| ((index * step) % 997) as f64 / 997.0;
    let hosts = (0..300).map(|host| HostOffer::new(0.1 + spread(host, 389), 0.01 + 3.0 * spread(host, 571))).collect();
    let found = solve_with_max_hosts(&Problem { budget: 2.0, hosts }, 20, 2000).unwrap();
    assert!(found.bound <= found.solution.utility * 1.0001, "{} of {}", found.solution.utility, found.bound);
    assert!(found.is_optimal, "{} steps: {} of {}", found.steps, found.solution.utility, found.bound);
}

/// Random problems with floors and bounds.
fn bounded_problems() -> impl Strategy<Value = (Problem, Vec<f64>)> {
    let magnitude = || (-12_i32..=12).prop_map(|power| 10_f64.powi(power));
    let amount = move || {
        (0.1..10.0_f64, magnitude(), 0_u8..8).prop_map(
            |(digits, scale, zero)| {
                if zero == 0 { 0.0 } else { digits * scale }
            },
        )
    };
    let host = (amount(), amount(), amount(), 0_u8..4, 0.0..0.3_f64, 0.4..1.0_f64);
    (amount(), prop::collection::vec(host, 0..9)).prop_map(|(budget, list)| {
        let floors = list.iter().map(|(_, _, floor, has, ..)| if *has == 3 { *floor } else { 0.0 }).collect();
        let hosts = list.into_iter().map(|(weight, price, _, has, min, max)| HostOffer {
            min_share: (has == 1).then_some(min),
            max_share: (has > 0).then_some(max),
            ..HostOffer::new(weight, price)
        });
        (Problem { budget, hosts: hosts.collect() }, floors)
    })
}

proptest! {
    /// Whatever the magnitudes, the numbers are numbers, bounds hold, and weak duality proves the optimum.
    #[test]
    fn every_solution_comes_with_its_proof((problem, floors) in bounded_problems(), most in 1_usize..9) {
        for max_hosts in [None, Some(most)] {
            match solve_with_bound(&problem, &floors, max_hosts, 200) {
                Ok(found) => {
                    let solution = &found.solution;
                    let all = [solution.utility, solution.lambda, solution.unspent, found.bound];
                    prop_assert!(solution.bids.iter().chain(&solution.shares).chain(&all).all(|number| number.is_finite()));
                    prop_assert!(found.bound >= solution.utility);
                    let slack = found.bound - solution.utility;
                    if max_hosts.is_none() {
                        let size = found.bound + problem.budget * solution.lambda;
                        prop_assert!(slack <= 1e-6 * size, "a gap of {slack} at {size}: {found:?}");
                    }
                    let spent: f64 = solution.bids.iter().sum();
                    prop_assert!(spent <= problem.budget * (1.0 + 1e-9), "{spent} of {}", problem.budget);
                    for (share, host) in solution.shares.iter().zip(&problem.hosts) {
                        prop_assert!(*share >= host.min_share.unwrap_or(0.0) * (1.0 - 1e-9), "{found:?}");
                        prop_assert!(*share <= host.max_share.unwrap_or(1.0) * (1.0 + 1e-9), "{found:?}");
                    }
                    if let Some(most) = max_hosts {
                        prop_assert!(solution.bids.iter().filter(|bid| **bid > 0.0).count() <= most.max(1));
                    }
                }
                Err(BestResponseError::Budget { needed, budget }) => prop_assert!(needed > budget),
                Err(BestResponseError::MaxHosts { needed, max_hosts }) => prop_assert!(needed > max_hosts),
                Err(other) => prop_assert!(false, "{other}"),
            }
        }
    }
}

#[test]
fn least_shares_bind_however_few_hosts_may_be_used() {
    let mut task = problem(1.0, &EXAMPLE);
    task.hosts[3].min_share = Some(0.1);
    let found = solve_with_bound(&task, &[], Some(2), 1000).unwrap();
    assert!(close(found.solution.shares[3], 0.1, 1e-9), "the worst host is used all the same: {found:?}");
    assert!(found.solution.bids[0] > 0.0 && found.is_optimal, "{found:?}");
    task.hosts.iter_mut().for_each(|host| host.min_share = Some(0.01));
    let refused = solve_with_bound(&task, &[], Some(2), 1000);
    assert_eq!(refused, Err(BestResponseError::MaxHosts { needed: 4, max_hosts: 2 }));
}

proptest! {
    /// Selection over plain hosts finds what water-filling over curves does, with ties and worthless hosts among them.
    #[test]
    fn the_short_way_and_the_general_way_agree(
        budget in 1e-3..1e3_f64,
        list in prop::collection::vec((0_u32..6, 1_u32..6, 0.01..10.0_f64, 0.01..10.0_f64, prop::bool::ANY), 1..600),
    ) {
        let hosts: Vec<(f64, f64)> = list
            .iter()
            .map(|&(w, y, weight, price, is_tied)| if is_tied { (f64::from(w), f64::from(y)) } else { (weight, price) })
            .collect();
        let task = problem(budget, &hosts);
        let general = solve_over_curves(&task, &[]).unwrap();
        if let Some(short) = selection::solve_plain(&task) {
            prop_assert!(close(short.utility, general.utility, 1e-9), "{} {}", short.utility, general.utility);
            prop_assert!(close(short.lambda, general.lambda, 1e-9), "{} {}", short.lambda, general.lambda);
            prop_assert!(close(short.bids.iter().sum(), budget, 1e-9));
            for (one, two) in short.bids.iter().zip(&general.bids) {
                prop_assert!((one - two).abs() <= 1e-8 * budget, "{one} {two}");
            }
        } else {
            prop_assert!(hosts.iter().all(|(weight, _)| *weight == 0.0) || general.bids.iter().sum::<f64>() > 0.0);
        }
    }
}

/// The short way is no excuse: it must be the one that is taken.
#[test]
fn ordinary_problems_go_the_short_way() {
    let hosts: Vec<(f64, f64)> =
        (1..5000).map(|index| (1.0 + f64::from(index % 97), f64::from(index % 89) + 0.5)).collect();
    assert!(selection::solve_plain(&problem(1000.0, &hosts)).is_some());
    assert!(selection::solve_plain(&problem(1.5, &EXAMPLE)).is_some());
}
