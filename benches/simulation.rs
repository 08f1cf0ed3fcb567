//! How fast markets are simulated: rounds in which every user responds to every host she knows.
//!
//! `cargo bench --bench simulation` prints for each size the time of a round and of a pair of a user and a host, and beside
//! them, in the same run, what a round cannot be faster than: one pass that computes b/Σb for the same pairs.

use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use tycoon_market::simulation::{Hosts, Preferences, Scenario, Simulation, Strategy, Update, UserGroup};

const ROUNDS: u32 = 12;

fn main() {
    println!(
        "{:>7} {:>6} {:>10} {:<22} {:>12} {:>10} {:>12} {:>8}",
        "hosts", "users", "known", "strategy", "round", "pair", "b/Σb", "ratio"
    );
    for (hosts, users, known) in [(100, 40, 100), (1_000, 200, 1_000), (1_000, 1_000, 1_000), (10_000, 1_000, 50)] {
        for strategy in [Strategy::Fixed, Strategy::BestResponse, Strategy::ProportionalResponse] {
            measure(hosts, users, known, strategy);
        }
    }
}

fn measure(hosts: usize, users: usize, known: usize, strategy: Strategy) {
    let scenario = Scenario {
        hosts: Hosts { count: hosts, base_price: 0.001, ..Scenario::default().hosts },
        users: vec![UserGroup {
            preferences: Preferences::Uniform,
            considers: Some(known),
            strategy,
            ..UserGroup::new("users", users)
        }],
        update: Update::Simultaneous,
        damping: 0.5,
        rounds: ROUNDS,
        stops_when_settled: false,
        ..Scenario::default()
    };
    let mut simulation = Simulation::new(scenario, ChaCha8Rng::seed_from_u64(1)).expect("a scenario that is right");
    let mut times = Vec::new();
    loop {
        let started = Instant::now();
        let sample = simulation.step().expect("no auctioneer is asked");
        if sample.is_none() {
            break;
        }
        times.push(started.elapsed());
    }
    let round = median(times);
    let pairs = users * known;
    let plain = plain(users, known, hosts);
    println!(
        "{hosts:>7} {users:>6} {known:>10} {:<22} {:>12} {:>7.0} ns {:>12} {:>8.1}",
        format!("{strategy:?}"),
        format!("{round:.2?}"),
        round.as_secs_f64() * 1e9 / pairs as f64,
        format!("{plain:.2?}"),
        round.as_secs_f64() / plain.as_secs_f64(),
    );
}

/// One pass over as many bids, each on one of the hosts: sums, then shares.
fn plain(users: usize, known: usize, hosts: usize) -> Duration {
    let bids: Vec<(u32, f64)> =
        (0..users * known).map(|pair| (((pair % known) * (hosts / known)) as u32, 1.0 / known as f64)).collect();
    let mut sums = vec![0.0; hosts];
    let mut shares = vec![0.0; bids.len()];
    let times = (0..11).map(|_| {
        let started = Instant::now();
        sums.fill(0.0);
        bids.iter().for_each(|(host, bid)| sums[*host as usize] += bid);
        shares.iter_mut().zip(&bids).for_each(|(share, (host, bid))| *share = bid / sums[*host as usize]);
        std::hint::black_box(&shares);
        started.elapsed()
    });
    median(times.collect())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
