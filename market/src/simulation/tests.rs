//! What a simulated market does.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;

use super::*;
use crate::TimeSpan;

const UNIFORM: Preferences = Preferences::Uniform;
const CORRELATED: Preferences = Preferences::Correlated { dimensions: 3 };

/// `count` users of EC'05 on 100 hosts, as tight as the published reproduction.
fn paper(count: usize, preferences: Preferences, strategy: Strategy) -> Scenario {
    let update = if strategy == Strategy::ProportionalResponse { Update::Simultaneous } else { Update::Sequential };
    Scenario {
        users: vec![UserGroup { preferences, strategy, ..UserGroup::new("users", count) }],
        update,
        rounds: 300,
        tolerance: 1e-6,
        ..Scenario::default()
    }
}

fn run(scenario: &Scenario, seed: u64) -> (Vec<Sample>, Summary) {
    let mut simulation = Simulation::new(scenario.clone(), ChaCha8Rng::seed_from_u64(seed)).unwrap();
    let mut samples = Vec::new();
    while let Some(sample) = simulation.step().unwrap() {
        samples.push(sample);
    }
    (samples, simulation.summary())
}

/// Efficiency, uniformity and envy-freeness, each the mean of some seeds.
fn measures(scenario: &Scenario, seeds: u64) -> [f64; 3] {
    let mut sums = [0.0; 3];
    for seed in 1..=seeds {
        let (_, summary) = run(scenario, seed);
        let all = [summary.efficiency, summary.uniformity, summary.envy_freeness];
        sums.iter_mut().zip(all).for_each(|(sum, one)| *sum += one / seeds as f64);
    }
    sums
}

/// A part of the table of `docs/simulation.md`: efficiency, uniformity and envy-freeness of 40 users.
#[test]
fn the_table_of_the_paper_comes_out() {
    let table = [
        (UNIFORM, Strategy::Fixed, [0.659, 0.854, 1.0]),
        (UNIFORM, Strategy::BestResponse, [0.912, 0.795, 1.0]),
        (CORRELATED, Strategy::Fixed, [0.768, 0.876, 0.969]),
        (CORRELATED, Strategy::BestResponse, [0.890, 0.698, 0.983]),
    ];
    for (preferences, strategy, expected) in table {
        let found = measures(&Scenario { tolerance: 1e-4, ..paper(40, preferences, strategy) }, 5);
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() <= 0.02, "{preferences:?} {strategy:?}: {found} instead of {expected}");
        }
    }
}

#[test]
fn proportional_response_beats_the_equilibrium_but_invites_to_deviate() {
    let scenario = Scenario { rounds: 60, ..paper(10, UNIFORM, Strategy::ProportionalResponse) };
    let (_, summary) = run(&scenario, 1);
    assert!(summary.efficiency > 0.97 && summary.envy_freeness > 0.999, "{summary:?}");
    assert!(summary.regret > 0.3, "{summary:?}");
    let (_, equilibrium) = run(&paper(10, UNIFORM, Strategy::BestResponse), 1);
    assert!(equilibrium.settled.is_some() && equilibrium.regret < 1e-3, "{equilibrium:?}");
    assert!(summary.efficiency > equilibrium.efficiency);
}

#[test]
fn all_at_once_never_settles_and_small_steps_or_turns_cure_it() {
    let at_once = |damping, update| Scenario {
        update,
        damping,
        rounds: 120,
        tolerance: 1e-3,
        ..paper(40, UNIFORM, Strategy::BestResponse)
    };
    let (samples, summary) = run(&at_once(1.0, Update::Simultaneous), 1);
    assert_eq!(summary.settled, None);
    assert_eq!(samples.len(), 120, "it runs to the end");
    assert!(summary.efficiency_mean < 0.8 && samples.last().unwrap().change > 0.1, "{summary:?}");

    for cure in [at_once(0.1, Update::Simultaneous), at_once(1.0, Update::Sequential)] {
        let (_, cured) = run(&cure, 1);
        assert!(cured.settled.is_some_and(|round| round < 100), "{cure:?}: {cured:?}");
        assert!(cured.efficiency > 0.89, "{cured:?}");
    }
    let (_, in_turns) = run(&at_once(0.5, Update::Staggered { turns: 5 }), 1);
    assert!(in_turns.settled.is_some() && in_turns.efficiency > 0.89, "{in_turns:?}");
}

#[test]
fn the_same_seed_gives_the_same_result_to_the_last_bit() {
    let scenario = Scenario {
        hosts: Hosts {
            count: 30,
            base_price: 0.01,
            failures: Some(Failures { mean_up: TimeSpan::from_seconds(200), mean_down: TimeSpan::from_seconds(30) }),
            ..Scenario::default().hosts
        },
        users: vec![UserGroup {
            budget: (0.5, 2.0),
            balance: Some(300.0),
            arrival: Arrival::Poisson { mean: TimeSpan::from_seconds(15) },
            stay: Some(TimeSpan::from_seconds(300)),
            ..UserGroup::new("guests", 20)
        }],
        update: Update::Staggered { turns: 3 },
        damping: 0.5,
        rounds: 60,
        ..Scenario::default()
    };
    assert_eq!(run(&scenario, 7), run(&scenario, 7));
    assert_ne!(run(&scenario, 7), run(&scenario, 8));
}

#[test]
fn a_whole_auctioneer_divides_and_charges_as_the_auction_does() {
    let scenario = Scenario {
        hosts: Hosts { count: 8, base_price: 0.05, ..Scenario::default().hosts },
        users: vec![
            UserGroup::new("active", 5),
            UserGroup { strategy: Strategy::Squatter, ..UserGroup::new("idle", 1) },
        ],
        rounds: 12,
        stops_when_settled: false,
        ..Scenario::default()
    };
    let mut whole = scenario.clone();
    whole.hosts.market = HostMarket::Auctioneer { cpus: 64 };
    let ((auction, one), (auctioneer, two)) = (run(&scenario, 3), run(&whole, 3));
    for (one, two) in auction.iter().zip(&auctioneer) {
        assert!((one.efficiency - two.efficiency).abs() < 1e-5, "{one:?} {two:?}");
        assert!((one.price - two.price).abs() < 1e-5 * one.price, "{one:?} {two:?}");
        assert!((one.revenue - two.revenue).abs() < 1e-4 * one.revenue, "{one:?} {two:?}");
    }
    assert!((one.revenue - two.revenue).abs() < 1e-4 * one.revenue, "{} {}", one.revenue, two.revenue);
    let idle = &two.groups[1];
    assert!((idle.paying - 0.1).abs() < 1e-3, "who uses nothing pays a tenth: {idle:?}");
}

#[test]
fn auctioneers_bear_failures_arrivals_and_least_shares() {
    let scenario = Scenario {
        hosts: Hosts {
            count: 6,
            base_price: 0.01,
            market: HostMarket::Auctioneer { cpus: 16 },
            failures: Some(Failures { mean_up: TimeSpan::from_seconds(120), mean_down: TimeSpan::from_seconds(40) }),
        },
        users: vec![UserGroup {
            min_share: Some(0.2),
            arrival: Arrival::Poisson { mean: TimeSpan::from_seconds(20) },
            stay: Some(TimeSpan::from_seconds(200)),
            ..UserGroup::new("guests", 12)
        }],
        rounds: 40,
        ..Scenario::default()
    };
    let (samples, summary) = run(&scenario, 2);
    assert_eq!(samples.len(), 40);
    assert!(samples.iter().any(|sample| sample.hosts < 6) && samples.iter().any(|sample| sample.users > 2));
    assert!(summary.revenue > 0.0 && samples.iter().all(|sample| sample.efficiency <= 1.0 + 1e-9));
}

#[test]
fn users_come_stay_run_out_of_money_and_go() {
    let scenario = Scenario {
        users: vec![
            UserGroup { balance: Some(100.0), ..UserGroup::new("poor", 3) },
            UserGroup { arrival: Arrival::At(TimeSpan::from_seconds(50)), ..UserGroup::new("late", 2) },
        ],
        rounds: 20,
        ..Scenario::default()
    };
    let (samples, summary) = run(&scenario, 1);
    assert_eq!(samples.len(), 20, "who comes and goes keeps it from ending early");
    assert_eq!([samples[0].users, samples[5].users, samples[15].users], [3, 5, 2]);
    assert!(samples[5].change < 1.0, "a newcomer has no utility from before: {:?}", samples[5]);
    // One credit per second, ten at a time: spent to within one round's charge.
    assert!((summary.groups[0].spent - 100.0).abs() <= 10.0, "{summary:?}");
    assert_eq!(summary.groups[0].users, 0);
}

#[test]
fn a_host_that_fails_gives_nothing_and_gets_nothing() {
    let scenario = Scenario {
        hosts: Hosts {
            count: 5,
            failures: Some(Failures { mean_up: TimeSpan::from_seconds(60), mean_down: TimeSpan::from_seconds(60) }),
            ..Scenario::default().hosts
        },
        users: vec![UserGroup { preferences: Preferences::Equal, ..UserGroup::new("users", 4) }],
        rounds: 50,
        ..Scenario::default()
    };
    let (samples, _) = run(&scenario, 1);
    assert!(samples.iter().any(|sample| sample.hosts < 5), "they fail");
    assert!(samples.windows(2).any(|pair| pair[0].hosts < pair[1].hosts), "and come back");
    for sample in &samples {
        // Everybody bids on every host that is up, and all of them are worth the same.
        assert!((sample.utility * 4.0 - sample.hosts as f64 / 5.0).abs() < 1e-6, "{sample:?}");
    }
}

/// Nine honest users and one of another kind.
fn with_one(strategy: Strategy) -> Summary {
    let scenario = Scenario {
        users: vec![UserGroup::new("honest", 9), UserGroup { strategy, ..UserGroup::new("other", 1) }],
        hosts: Hosts { count: 30, base_price: 0.01, ..Scenario::default().hosts },
        rounds: 100,
        ..Scenario::default()
    };
    run(&scenario, 4).1
}

#[test]
fn who_deviates_hurts_herself_or_pays() {
    let honest = with_one(Strategy::BestResponse);
    let spiteful = with_one(Strategy::Spiteful);
    assert!(spiteful.groups[1].utility < honest.groups[1].utility, "spite costs its owner most");
    assert!(spiteful.efficiency < honest.efficiency);

    let squatting = with_one(Strategy::Squatter);
    assert!(squatting.groups[0].utility < with_one(Strategy::Fixed).groups[0].utility * 1.02);
    assert!((squatting.groups[1].paying - 0.1).abs() < 1e-6 && squatting.groups[1].utility == 0.0);

    let shading = with_one(Strategy::UnderBidder { content: 0.9 });
    assert!(shading.groups[1].paying < 0.9, "the last tenth of the utility is the dearest: {shading:?}");
    let part = shading.groups[1].utility / honest.groups[1].utility;
    assert!((0.85..0.95).contains(&part), "{part}");
    assert!(shading.groups[0].utility > honest.groups[0].utility, "what she saves serves the others");
}

#[test]
fn nobody_bids_on_more_hosts_than_she_can_use() {
    let scenario = Scenario {
        hosts: Hosts { count: 40, base_price: 1e-6, ..Scenario::default().hosts },
        users: vec![UserGroup { hosts_max: Some(3), ..UserGroup::new("users", 8) }],
        rounds: 10,
        stops_when_settled: false,
        ..Scenario::default()
    };
    let (samples, summary) = run(&scenario, 1);
    assert!(summary.bids_most <= 24, "{summary:?}");
    // 24 bids on 40 hosts: nearly everybody has her best hosts for herself.
    assert!(samples.last().unwrap().efficiency > 0.95, "{summary:?}");
    assert!(samples.iter().all(|sample| sample.efficiency <= 1.0 + 1e-6));
}

#[test]
fn greatest_shares_are_kept_and_so_is_what_is_known() {
    let scenario = Scenario {
        hosts: Hosts { count: 20, ..Scenario::default().hosts },
        users: vec![UserGroup { max_share: Some(0.25), considers: Some(6), ..UserGroup::new("users", 5) }],
        rounds: 20,
        ..Scenario::default()
    };
    let (_, summary) = run(&scenario, 1);
    assert!(summary.bids_most <= 30);
    for group in &summary.groups {
        assert!(group.utility_most <= 0.25 + 1e-6, "a quarter of everything she knows is worth a quarter: {group:?}");
    }
}

#[test]
fn a_scenario_without_users_is_a_scenario() {
    let (samples, summary) = run(&Scenario { rounds: 3, stops_when_settled: false, ..Scenario::default() }, 1);
    assert_eq!(samples.len(), 3);
    assert_eq!((summary.efficiency, summary.price, summary.revenue), (1.0, 0.0, 0.0));
}

#[test]
fn what_cannot_be_simulated_is_named() {
    let group = UserGroup::new("users", 3);
    let with = |group: UserGroup| Scenario { users: vec![group], ..Scenario::default() };
    let wrong = [
        ("hosts", Scenario { hosts: Hosts { count: 0, ..Scenario::default().hosts }, ..Scenario::default() }),
        ("damping", Scenario { damping: f64::NAN, ..Scenario::default() }),
        ("rounds", Scenario { rounds: 0, ..Scenario::default() }),
        ("turns", Scenario { update: Update::Staggered { turns: 0 }, ..Scenario::default() }),
        ("budget", with(UserGroup { budget: (2.0, 1.0), ..group.clone() })),
        ("budget", with(UserGroup { budget: (f64::NAN, 1.0), ..group.clone() })),
        ("max-hosts", with(UserGroup { hosts_max: Some(101), ..group.clone() })),
        ("max-share", with(UserGroup { min_share: Some(0.5), max_share: Some(0.4), ..group.clone() })),
        ("content", with(UserGroup { strategy: Strategy::UnderBidder { content: 0.0 }, ..group.clone() })),
        ("users", with(UserGroup { count: usize::MAX, ..group })),
    ];
    for (field, scenario) in wrong {
        let error = scenario.check().unwrap_err();
        assert_eq!(error.field, field, "{error}");
    }
}
