//! How long one host takes to divide itself anew among 10,000 accounts that want all 5 resources.
//!
//! `cargo bench --bench reallocation` prints three times: the five auctions, which are the reallocation itself; a whole
//! tick of the auctioneer, which also charges, audits its clock and lists what has changed; and, as what they cannot be
//! faster than, one plain pass over the same bids that computes b/Σb.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use serde_json::{Map, Value};
use tycoon_market::auction::{Bidder, allocate};
use tycoon_market::auctioneer::{Event, HostConfig, Usage};
use tycoon_market::{
    Amount, Auctioneer, Bid, Credits, EscrowId, HostAccountId, Preference, Quantity, Rate, ResourceKind, TimeSpan,
    Timestamp,
};

const ACCOUNTS: usize = 10_000;
const RUNS: usize = 101;

fn main() {
    let capacities = capacities();
    let bids = bids(&capacities);
    let plain = median(|_| {
        let shares = bids.values().map(|bidders| {
            let sum: f64 = bidders.iter().map(|bidder| bidder.rate.picos_per_second() as f64).sum();
            bidders.iter().map(|bidder| bidder.rate.picos_per_second() as f64 / sum).collect::<Vec<_>>()
        });
        shares.collect::<Vec<_>>()
    });
    let auctions = median(|_| {
        let outcome = |kind: &ResourceKind| {
            let base = Rate::from_credits_per_hour(1.0);
            allocate(capacities[kind], base, kind.price_unit(), &bids[kind]).expect("the minima fit").shares.len()
        };
        capacities.keys().map(outcome).sum::<usize>()
    });
    let mut market = market(&capacities);
    let usage: BTreeMap<HostAccountId, Usage> = market.account_ids().map(|id| (id.clone(), Usage::default())).collect();
    let mut now = 0;
    let ticks = median(|_| {
        now += 10;
        let event = Event::Tick { usage: usage.clone(), downtime_limit: None };
        market.apply(event, Timestamp::from_seconds(now)).expect("a tick is never refused").len()
    });
    market.audit().expect("the books add up");
    println!("{ACCOUNTS} accounts × {} resources on one host, median of {RUNS} runs", capacities.len());
    println!("one pass b/Σb         {plain:>10.2?}");
    println!("the auctions          {auctions:>10.2?}  {:.1} times the pass; aim: below 5 ms", ratio(auctions, plain));
    println!("a tick of the whole   {ticks:>10.2?}  {:.1} times the pass", ratio(ticks, plain));
}

fn capacities() -> BTreeMap<ResourceKind, Quantity> {
    BTreeMap::from([
        (ResourceKind::Cpu, Quantity::from_cpus(128)),
        (ResourceKind::Memory, Quantity::from_bytes(1 << 40)),
        (ResourceKind::Disk, Quantity::from_bytes(1 << 46)),
        (ResourceKind::NetworkIn, Quantity::new(100_000_000_000)),
        (ResourceKind::NetworkOut, Quantity::new(100_000_000_000)),
    ])
}

/// Every account bids on everything; a third has minima, a third has maxima.
fn bids(capacities: &BTreeMap<ResourceKind, Quantity>) -> BTreeMap<ResourceKind, Vec<Bidder>> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let each = |(kind, capacity): (&ResourceKind, &Quantity)| {
        let part = Quantity::new(capacity.amount() / ACCOUNTS as u64);
        let bidders = (0..ACCOUNTS).map(|number| Bidder {
            rate: Rate::from_picos_per_second(1_000_000 + rng.next_u64() % 1_000_000_000),
            min: if number % 3 == 0 { Quantity::new(part.amount() / 2) } else { Quantity::ZERO },
            max: if number % 3 == 1 { part } else { *capacity },
        });
        (*kind, bidders.collect())
    };
    capacities.iter().map(each).collect()
}

/// An auctioneer with that many accounts. It is made from one with a single account, by multiplying that account in its
/// saved state: ten thousand calls to open, fund and bid would take minutes, since each of them can be taken back.
fn market(capacities: &BTreeMap<ResourceKind, Quantity>) -> Auctioneer {
    let base_price = capacities.keys().map(|kind| (*kind, Rate::from_credits_per_hour(0.001))).collect();
    let mut config = HostConfig::new(capacities.clone(), base_price);
    config.accounts_max = ACCOUNTS;
    let mut market = Auctioneer::new(config, Timestamp::from_seconds(0)).expect("a configuration that is right");
    let id: HostAccountId = serde_json::from_value(Value::String(name(0))).expect("an id");
    let receipt = EscrowId::from_bytes([0; 16]);
    let now = Timestamp::from_seconds(0);
    let preference = Preference::new(1.0, Amount::Fraction(0.5 / ACCOUNTS as f64), Amount::ALL);
    let bid =
        Bid::new(TimeSpan::from_seconds(86_400 * 30), capacities.keys().map(|kind| (*kind, preference)).collect())
            .expect("a bid that is right");
    let amount = Credits::from_whole(10_000).expect("an amount");
    for event in [
        Event::Open { account: id.clone() },
        Event::Fund { account: id.clone(), receipt, amount, highest_rate: None },
        Event::Bid { account: id, bid },
    ] {
        market.apply(event, now).expect("the first account is admitted");
    }
    let mut state = serde_json::to_value(&market).expect("a state can be saved");
    let one = state["accounts"][name(0)].to_string();
    let zero = receipt.to_string();
    let accounts = (0..ACCOUNTS).map(|number| {
        let text = one.replace(&zero, &format!("{number:032x}"));
        let mut account: Value = serde_json::from_str(&text).expect("a saved account");
        account["sequence"] = number.into();
        (name(number), account)
    });
    state["accounts"] = Value::Object(accounts.collect::<Map<_, _>>());
    state["next-sequence"] = ACCOUNTS.into();
    let market: Auctioneer = serde_json::from_value(state).expect("a saved state");
    assert_eq!(market.account_ids().count(), ACCOUNTS);
    market
}

fn name(number: usize) -> String {
    format!("{number:032x}/bench")
}

fn median<T>(mut what: impl FnMut(usize) -> T) -> Duration {
    let mut times: Vec<Duration> = (0..RUNS)
        .map(|run| {
            let started = Instant::now();
            std::hint::black_box(what(run));
            started.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[RUNS / 2]
}

fn ratio(one: Duration, other: Duration) -> f64 {
    one.as_secs_f64() / other.as_secs_f64()
}
