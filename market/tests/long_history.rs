//! A hundred thousand events of one host, replayed from their log: the state is the same bit for bit.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use tycoon_market::auctioneer::{Auctioneer, Event, HostConfig, UniqueSale, Usage};
use tycoon_market::{
    Amount, Bid, Credits, EscrowId, HostAccountId, Preference, Quantity, Rate, ResourceKind, TimeSpan, Timestamp,
    UniqueId, UniqueKind, UniquePreference, UniqueWish,
};

const EVENTS: usize = 100_000;
const ACCOUNTS: u64 = 5;
const GIB: u64 = 1 << 30;

fn market() -> Auctioneer {
    let capacity = BTreeMap::from([
        (ResourceKind::Cpu, Quantity::from_cpus(8)),
        (ResourceKind::Memory, Quantity::from_bytes(32 * GIB)),
    ]);
    let base_price = capacity.keys().map(|&kind| (kind, Rate::from_credits_per_hour(0.05))).collect();
    let mut config = HostConfig::new(capacity, base_price);
    let port = UniqueSale { ranges: vec![(UniqueId::Port(8000), UniqueId::Port(8010))], ..UniqueSale::default() };
    config.unique.insert(UniqueKind::TcpPort, port);
    Auctioneer::new(config, Timestamp::from_seconds(1_000_000_000)).unwrap()
}

/// What happens on a host: mostly time passing, and now and then a call, some of which are refused.
struct Life {
    chance: ChaCha8Rng,
    receipts: u128,
}

impl Life {
    fn below(&mut self, count: u64) -> u64 {
        self.chance.next_u64() % count
    }

    fn account(&mut self) -> HostAccountId {
        format!("{}/pool-{}", "0f".repeat(16), self.below(ACCOUNTS)).parse().unwrap()
    }

    fn next(&mut self) -> (i64, Event) {
        let step = 10_000_000 + self.below(1_000) as i64;
        let event = match self.below(100) {
            0..90 => Event::Tick { usage: self.usage(), downtime_limit: None },
            90 => Event::Open { account: self.account() },
            91..94 => {
                self.receipts += 1;
                let amount = Credits::from_micros(1 + self.below(20_000_000) as i64);
                let receipt = EscrowId::from_bytes(self.receipts.to_be_bytes());
                Event::Fund { account: self.account(), receipt, amount, highest_rate: None }
            }
            94..97 => Event::Bid { account: self.account(), bid: self.bid() },
            97 => Event::Refund { account: self.account(), amount: Credits::from_micros(self.below(5_000_000) as i64) },
            98 if self.below(20) == 0 => Event::Close { account: self.account() },
            98 => {
                let minima = BTreeMap::from([(ResourceKind::Memory, Quantity::from_bytes(self.below(8) * GIB))]);
                Event::Quote { account: self.account(), minima, valid_for: TimeSpan::from_seconds(60) }
            }
            // The daemon was down for a while, or the clock goes back.
            _ if self.below(2) == 0 => {
                let limit = Some(TimeSpan::from_seconds(120));
                return (step * 30, Event::Tick { usage: self.usage(), downtime_limit: limit });
            }
            _ => return (-1_000_000, Event::Tick { usage: BTreeMap::new(), downtime_limit: None }),
        };
        (step, event)
    }

    fn usage(&mut self) -> BTreeMap<HostAccountId, Usage> {
        let cpu_time = TimeSpan::from_micros(self.below(30_000_000));
        BTreeMap::from([(self.account(), Usage { cpu_time, ..Usage::default() })])
    }

    fn bid(&mut self) -> Bid {
        let weight = 1.0 + self.below(9) as f64 / 3.0;
        let memory = Amount::Quantity(Quantity::from_bytes((1 + self.below(12)) * GIB));
        let min = Amount::Quantity(Quantity::new(self.below(3_000_000)));
        let preferences = BTreeMap::from([
            (ResourceKind::Cpu, Preference { contingency: 0.1, ..Preference::new(weight, min, Amount::ALL) }),
            (ResourceKind::Memory, Preference::new(1.0, memory, memory)),
        ]);
        let wish = UniqueWish::This(UniqueId::Port(8000 + self.below(4) as u16));
        let unique = BTreeMap::from([(wish, UniquePreference::new(0.2))]);
        Bid::with_unique(TimeSpan::from_seconds(600 + self.below(100_000)), preferences, unique).unwrap()
    }
}

#[test]
fn a_hundred_thousand_events_replay_to_the_same_state() {
    let mut life = Life { chance: ChaCha8Rng::seed_from_u64(11), receipts: 0 };
    let (mut market, mut log) = (market(), String::new());
    let (mut now, mut accepted, mut refused) = (market.accounted_at().micros(), 0, 0);
    while accepted < EVENTS {
        let (step, event) = life.next();
        now += step;
        let line = serde_json::to_string(&event).unwrap();
        match market.apply(event, Timestamp::from_micros(now)) {
            Ok(_) => {
                accepted += 1;
                writeln!(log, "{now} {line}").unwrap();
            }
            Err(_) => refused += 1,
        }
    }
    market.audit().unwrap();
    assert!(refused > 100, "some calls are refused, and leave nothing: {refused}");
    let charged: i64 = market.account_ids().map(|id| market.account(id).unwrap().charged.micros()).sum();
    assert!(charged > 0, "money was earned");

    let mut replayed = self::market();
    for line in log.lines() {
        let (at, event) = line.split_once(' ').unwrap();
        let event: Event = serde_json::from_str(event).unwrap();
        replayed.apply(event, Timestamp::from_micros(at.parse().unwrap())).unwrap();
    }
    assert_eq!(serde_json::to_string(&replayed).unwrap(), serde_json::to_string(&market).unwrap());
    assert_eq!(replayed, market);
}
