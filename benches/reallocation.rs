//! How long one host takes to divide itself anew among 10,000 bids on each of 5 resources.
//!
//! `cargo bench --bench reallocation` prints: the five auctions, which are the reallocation itself; a whole tick of the
//! auctioneer, which also charges and lists what has changed; a call that changes one bid, where each account bids on all
//! resources and where each bids on one, beside the same call where all is divided anew; and, as what none of them can be
//! faster than, one plain pass over the same bids that computes b/Σb.

use std::collections::BTreeMap;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use serde_json::{Map, Value};
use tycoon_market::auction::{Bidder, allocate};
use tycoon_market::auctioneer::{AccountState, Event, HostConfig, Usage};
use tycoon_market::{
    Amount, Auctioneer, Bid, Credits, EscrowId, HostAccountId, Preference, Quantity, Rate, ResourceKind, TimeSpan,
    Timestamp,
};

const ACCOUNTS: usize = 10_000;
/// How often everything is done at least, and what all of it takes at least.
const RUNS: usize = 11;
const LEAST: Duration = Duration::from_millis(200);
const DURATION: TimeSpan = TimeSpan::from_seconds(86_400 * 30);

fn main() {
    let capacities = capacities();
    let bids = bids(&capacities);
    let plain = mean(|_| {
        let shares = bids.values().map(|bidders| {
            let sum: f64 = bidders.iter().map(|bidder| bidder.rate.picos_per_second() as f64).sum();
            bidders.iter().map(|bidder| bidder.rate.picos_per_second() as f64 / sum).collect::<Vec<_>>()
        });
        shares.collect::<Vec<_>>()
    });
    let auctions = mean(|_| {
        let outcome = |kind: &ResourceKind| {
            let base = Rate::from_credits_per_hour(1.0);
            allocate(capacities[kind], base, kind.price_unit(), &bids[kind]).expect("the minima fit").shares.len()
        };
        capacities.keys().map(outcome).sum::<usize>()
    });
    println!("{ACCOUNTS} bids on each of {} resources of one host, mean times on a core", capacities.len());
    println!("one pass b/Σb                            {plain:>10.2?}");
    println!(
        "the five auctions                        {auctions:>10.2?}  {:.1} times the pass; aim: below 5 ms",
        ratio(auctions, plain)
    );
    let all: Vec<ResourceKind> = capacities.keys().copied().collect();
    let single: Vec<Vec<ResourceKind>> = all.iter().map(|kind| vec![*kind]).collect();
    for (name, accounts, resources) in [("on all five", ACCOUNTS, &[all][..]), ("on one", ACCOUNTS * 5, &single[..])] {
        println!("{accounts} accounts that bid {name}");
        let mut scene = Scene { market: market(&capacities, accounts, resources), seconds: 0 };
        let usage: BTreeMap<_, _> = scene.market.account_ids().map(|id| (id.clone(), Usage::default())).collect();
        let tick = mean(|_| scene.apply(Event::Tick { usage: usage.clone(), downtime_limit: None }));
        let bidder = account(accounts / 2);
        let kinds = scene.market.account(&bidder).and_then(|view| view.bid).expect("it bids").preferences().clone();
        let change_one_bid = |scene: &mut Scene| {
            mean(|run| {
                let mut preferences = kinds.clone();
                for preference in preferences.values_mut() {
                    preference.max = Amount::Fraction(1.0 / (run + 2) as f64);
                }
                let bid = Bid::new(DURATION, preferences).expect("a bid that is right");
                scene.apply(Event::Bid { account: bidder.clone(), bid })
            })
        };
        let one = change_one_bid(&mut scene);
        scene.let_somebody_wait();
        let whole = change_one_bid(&mut scene);
        scene.market.audit().expect("the books add up");
        println!("  a tick of the whole                    {tick:>10.2?}");
        println!("  one bid changes                        {one:>10.2?}");
        println!("  the same, where all is divided anew    {whole:>10.2?}  {:.1} times as long", ratio(whole, one));
    }
}

/// A market whose clock goes on by a second with each event.
struct Scene {
    market: Auctioneer,
    seconds: i64,
}

impl Scene {
    /// As long as somebody waits for what she cannot have, every call divides all anew.
    fn let_somebody_wait(&mut self) {
        let id: HostAccountId = format!("{:032x}/waits", u128::MAX).parse().expect("an id");
        let preference = Preference::new(1.0, Amount::ALL, Amount::ALL);
        let bid = Bid::new(DURATION, BTreeMap::from([(ResourceKind::Cpu, preference)])).expect("a bid that is right");
        let (receipt, amount) = (EscrowId::from_bytes([0xff; 16]), Credits::from_whole(1).expect("an amount"));
        self.apply(Event::Open { account: id.clone() });
        self.apply(Event::Bid { account: id.clone(), bid });
        self.apply(Event::Fund { account: id.clone(), receipt, amount, highest_rate: None });
        assert_eq!(self.market.account(&id).map(|view| view.state), Some(AccountState::Waiting));
    }

    fn apply(&mut self, event: Event) -> usize {
        self.seconds += 1;
        self.market.apply(event, Timestamp::from_seconds(self.seconds)).expect("the event is admitted").len()
    }
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

/// An auctioneer with that many accounts, which bid on `resources` in turn. It is made from one with an account of each
/// sort, by multiplying these in its saved state: ten thousand calls to open, fund and bid would take long.
fn market(
    capacities: &BTreeMap<ResourceKind, Quantity>,
    accounts: usize,
    resources: &[Vec<ResourceKind>],
) -> Auctioneer {
    let base_price = capacities.keys().map(|kind| (*kind, Rate::from_credits_per_hour(0.001))).collect();
    let mut config = HostConfig::new(capacities.clone(), base_price);
    config.accounts_max = accounts + 1;
    let mut market = Auctioneer::new(config, Timestamp::from_seconds(0)).expect("a configuration that is right");
    let now = Timestamp::from_seconds(0);
    let receipt = |number: usize| EscrowId::from_bytes((number as u128).to_be_bytes());
    for (number, kinds) in resources.iter().enumerate() {
        let id = account(number);
        let preference = Preference::new(1.0, Amount::Fraction(0.5 / ACCOUNTS as f64), Amount::ALL);
        let bid = Bid::new(DURATION, kinds.iter().map(|kind| (*kind, preference)).collect());
        let bid = bid.expect("a bid that is right");
        let amount = Credits::from_whole(10_000).expect("an amount");
        let (receipt, highest_rate) = (receipt(number), Some(Rate::from_credits_per_hour(1e6)));
        for event in [
            Event::Open { account: id.clone() },
            Event::Fund { account: id.clone(), receipt, amount, highest_rate },
            Event::Bid { account: id, bid },
        ] {
            market.apply(event, now).expect("the first accounts are admitted");
        }
    }
    let mut state = serde_json::to_value(&market).expect("a state can be saved");
    let sorts: Vec<String> = (0..resources.len()).map(|sort| state["accounts"][name(sort)].to_string()).collect();
    let multiplied = (0..accounts).map(|number| {
        let sort = number % sorts.len();
        let text = sorts[sort].replace(&receipt(sort).to_string(), &format!("{number:032x}"));
        let mut account: Value = serde_json::from_str(&text).expect("a saved account");
        account["sequence"] = number.into();
        (name(number), account)
    });
    state["accounts"] = Value::Object(multiplied.collect::<Map<_, _>>());
    state["next-sequence"] = accounts.into();
    let market: Auctioneer = serde_json::from_value(state).expect("a saved state");
    assert_eq!(market.account_ids().count(), accounts);
    market
}

fn account(number: usize) -> HostAccountId {
    serde_json::from_value(Value::String(name(number))).expect("an id")
}

fn name(number: usize) -> String {
    format!("{number:032x}/bench")
}

/// The mean time on a core of one run: whatever else the machine does counts little in it. There are as many runs as
/// the system's clock of such times needs, and not fewer than [`RUNS`].
fn mean<T>(mut what: impl FnMut(usize) -> T) -> Duration {
    let (start, mut runs) = (on_a_core(), 0);
    loop {
        std::hint::black_box(what(runs));
        runs += 1;
        let spent = on_a_core().saturating_sub(start);
        if runs >= RUNS && spent >= LEAST {
            return spent / u32::try_from(runs).expect("not so many runs");
        }
    }
}

/// The time that this process was on a core.
fn on_a_core() -> Duration {
    let text = std::fs::read_to_string("/proc/self/schedstat").expect("Linux with statistics of its scheduler");
    let nanoseconds = text.split_whitespace().next().and_then(|field| field.parse().ok());
    Duration::from_nanos(nanoseconds.expect("a number of nanoseconds"))
}

fn ratio(one: Duration, other: Duration) -> f64 {
    one.as_secs_f64() / other.as_secs_f64()
}
