//! Whatever happens to the market of a host, in whatever order: no credit is lost, no share is given twice, and the
//! log of what happened tells the whole state.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tycoon_market::auctioneer::{AccountState, Auctioneer, Effect, Event, HostConfig, UniqueSale, Usage};
use tycoon_market::price_statistics::Window;
use tycoon_market::{
    Amount, Bid, Credits, EscrowId, HostAccountId, Preference, Quantity, Rate, ResourceKind, TimeSpan, Timestamp,
    UniqueId, UniqueKind, UniquePreference, UniqueWish,
};

const GIB: u64 = 1 << 30;
const ACCOUNTS: u8 = 5;
const RECEIPTS: u8 = 40;

fn account(number: u8) -> HostAccountId {
    format!("{}/pool-{number}", "0f".repeat(16)).parse().unwrap()
}

fn receipt(number: u8) -> EscrowId {
    EscrowId::from_bytes([number; 16])
}

fn config(base_price: u64, cpus: u64, addresses: u8, interval: u64) -> HostConfig {
    let capacity = BTreeMap::from([
        (ResourceKind::Cpu, Quantity::from_cpus(cpus)),
        (ResourceKind::Memory, Quantity::from_bytes(16 * GIB)),
        (ResourceKind::Disk, Quantity::from_bytes(100 * GIB)),
        (ResourceKind::NetworkIn, Quantity::new(1_000_000_000)),
    ]);
    let base_price = capacity.keys().map(|&kind| (kind, Rate::from_picos_per_second(base_price))).collect();
    let mut config = HostConfig::new(capacity, base_price);
    let address = |last| UniqueId::Address([192, 0, 2, last].into());
    let sale = UniqueSale {
        ranges: vec![(address(1), address(addresses))],
        base_price: Rate::from_picos_per_second(1000),
        ..UniqueSale::default()
    };
    if addresses > 0 {
        config.unique.insert(UniqueKind::Ipv4Address, sale);
    }
    config.interval = TimeSpan::from_seconds(interval);
    config
}

fn market(base_price: u64) -> Auctioneer {
    Auctioneer::new(config(base_price, 4, 3, 10), Timestamp::from_seconds(1_000_000)).unwrap()
}

/// Minima of which few fit together.
const LARGE: f64 = 0.7;

/// A step: microseconds of time, then an event.
type Step = (i64, Event);

/// Minima are at most `most` of what there is.
fn amounts(most: f64) -> impl Strategy<Value = (Amount, Amount)> {
    (0.0..most, 0.0..1.0_f64, any::<bool>()).prop_map(|(min, more, small)| {
        let min = if small { min * min * min } else { min };
        (Amount::Fraction(min), Amount::Fraction((min + more).min(1.0)))
    })
}

fn preference(most: f64) -> impl Strategy<Value = Preference> {
    let contingency = prop_oneof![Just(0.0), 0.0..0.99_f64];
    (0.001..1000.0_f64, amounts(most), contingency).prop_map(|(weight, (min, max), contingency)| Preference {
        weight,
        min,
        max,
        contingency,
    })
}

fn bid(most: f64) -> impl Strategy<Value = Bid> {
    let kinds = [ResourceKind::Cpu, ResourceKind::Memory, ResourceKind::Disk, ResourceKind::NetworkIn];
    let wish = prop_oneof![
        Just(UniqueWish::Any(UniqueKind::Ipv4Address)),
        (1_u8..=4).prop_map(|last| UniqueWish::This(UniqueId::Address([192, 0, 2, last.min(3)].into()))),
    ];
    let unique = (0.001..1000.0_f64, 0_u64..1_000_000, any::<bool>()).prop_map(|(weight, picos, stand)| {
        UniquePreference { weight, min_bid: Rate::from_picos_per_second(picos), stand }
    });
    (
        prop_oneof![1 => 1_u64..1000, 3 => 1_u64..1_000_000],
        prop::collection::btree_map(prop::sample::select(kinds.to_vec()), preference(most), 1..4),
        prop::collection::btree_map(wish, unique, 0..3),
    )
        .prop_map(|(seconds, preferences, unique)| {
            Bid::with_unique(TimeSpan::from_seconds(seconds), preferences, unique).unwrap()
        })
}

fn usage() -> impl Strategy<Value = Usage> {
    (0_u64..400_000_000, 0_u64..1_000_000_000_000).prop_map(|(cpu, received_bits)| Usage {
        cpu_time: TimeSpan::from_micros(cpu),
        received_bits,
        ..Usage::default()
    })
}

fn money() -> impl Strategy<Value = Credits> {
    prop_oneof![1 => 1_i64..100, 1 => 1_i64..1_000_000, 8 => 1_000_000_i64..100_000_000_000]
        .prop_map(Credits::from_micros)
}

fn event() -> impl Strategy<Value = Event> {
    let id = || (0..ACCOUNTS).prop_map(account);
    let rate = || (0_u64..10_000_000_000).prop_map(Rate::from_picos_per_second);
    let fund = (id(), 0..RECEIPTS, money(), prop::option::weighted(0.2, rate())).prop_map(
        |(account, number, amount, highest_rate)| Event::Fund {
            account,
            receipt: receipt(number),
            amount,
            highest_rate,
        },
    );
    let tick = (prop::collection::btree_map(id(), usage(), 0..4), prop::option::weighted(0.2, 0_u64..300))
        .prop_map(|(usage, limit)| Event::Tick { usage, downtime_limit: limit.map(TimeSpan::from_seconds) });
    let minimum =
        (0_u64..=16).prop_map(|gib| BTreeMap::from([(ResourceKind::Memory, Quantity::from_bytes(gib * GIB))]));
    let capacity = prop_oneof![
        (1_u64..=8).prop_map(|cpus| (ResourceKind::Cpu, Quantity::from_cpus(cpus))),
        (1_u64..=32).prop_map(|gib| (ResourceKind::Memory, Quantity::from_bytes(gib * GIB))),
    ];
    prop_oneof![
        2 => id().prop_map(|account| Event::Open { account }),
        8 => fund,
        10 => (id(), bid(LARGE)).prop_map(|(account, bid)| Event::Bid { account, bid }),
        3 => (id(), money()).prop_map(|(account, amount)| Event::Refund { account, amount }),
        1 => id().prop_map(|account| Event::Close { account }),
        1 => (id(), 0..RECEIPTS).prop_map(|(account, number)| Event::EndReceipt { account, receipt: receipt(number) }),
        12 => tick,
        3 => (id(), minimum, 0_u64..200).prop_map(|(account, minima, seconds)| {
            Event::Quote { account, minima, valid_for: TimeSpan::from_seconds(seconds) }
        }),
        1 => id().prop_map(|account| Event::ReleaseQuote { account }),
        1 => prop::collection::btree_set(1_u8..=3, 0..4).prop_map(|used| Event::UniqueUse {
            used: used.into_iter().map(|last| UniqueId::Address([192, 0, 2, last].into())).collect(),
        }),
        1 => rate().prop_map(|rate| Event::SetBasePrice { kind: ResourceKind::Cpu, rate }),
        1 => capacity.prop_map(|(kind, capacity)| Event::SetCapacity { kind, capacity }),
        1 => (0_u64..1_000_000, 1_u64..6, 0_u8..4, 1_u64..60).prop_map(|(price, cpus, addresses, interval)| {
            Event::Configure { config: Box::new(config(price, cpus, addresses, interval)) }
        }),
        1 => prop::bool::weighted(0.1).prop_map(|draining| Event::SetDraining { draining }),
        1 => id().prop_map(|account| Event::Evict { account }),
    ]
}

fn steps() -> impl Strategy<Value = (u64, Vec<Step>)> {
    let time = prop_oneof![
        20 => 0_i64..60_000_000,
        3 => 0_i64..100_000_000_000,
        1 => 0_i64..500_000_000_000,
        1 => -5_000_000_i64..0,
    ];
    let base_price = prop_oneof![Just(0), 1_u64..1_000, 1_u64..10_000_000_000];
    (base_price, prop::collection::vec((time, event()), 1..60)).prop_map(|(base_price, steps)| {
        let open = (0..ACCOUNTS).map(|number| (0, Event::Open { account: account(number) }));
        (base_price, open.chain(steps).collect())
    })
}

/// A market in which all minima fit together, with much bidding.
fn calm_steps() -> impl Strategy<Value = (u64, Vec<Step>)> {
    let id = || (0..ACCOUNTS).prop_map(account);
    let rate = (100_000_000_u64..10_000_000_000).prop_map(Rate::from_picos_per_second);
    let fund = (id(), 0..RECEIPTS, money(), prop::option::weighted(0.5, rate)).prop_map(
        |(account, number, amount, highest_rate)| {
            let receipt = receipt(number);
            Event::Fund { account, receipt, amount, highest_rate }
        },
    );
    let events = prop_oneof![
        3 => fund,
        6 => (id(), bid(0.1)).prop_map(|(account, bid)| {
            // Of half of them only what can be divided.
            let whole = bid.unique().len() == 1;
            let divisible = Bid::new(bid.duration(), bid.preferences().clone()).unwrap();
            Event::Bid { account, bid: if whole { bid } else { divisible } }
        }),
        1 => (id(), money()).prop_map(|(account, amount)| Event::Refund { account, amount }),
        8 => event(),
    ];
    let time = prop_oneof![1 => Just(0_i64), 20 => 0_i64..60_000_000, 1 => 0_i64..100_000_000_000];
    (0_u64..1_000, prop::collection::vec((time, events), 1..40)).prop_map(|(base_price, steps)| {
        let open = (0..ACCOUNTS).map(|number| (0, Event::Open { account: account(number) }));
        (base_price, open.chain(steps).collect())
    })
}

/// A market knows more than its state, so that a call need not look at every account. A market that was just read from
/// its state does not: it looks at all. Both do the same at every step.
fn compare_with_one_that_was_read(base_price: u64, steps: Vec<Step>) {
    let mut kept = market(base_price);
    let mut now = kept.accounted_at().micros();
    for (time, event) in steps {
        now += time;
        let at = Timestamp::from_micros(now);
        let mut read: Auctioneer = serde_json::from_str(&serde_json::to_string(&kept).unwrap()).unwrap();
        let said = read.apply(event.clone(), at);
        assert_eq!(kept.apply(event.clone(), at), said, "{event:?}");
        assert_eq!(serde_json::to_string(&kept).unwrap(), serde_json::to_string(&read).unwrap(), "{event:?}");
    }
}

/// What the effects say about money, added up.
#[derive(Default)]
struct Books {
    drawn: BTreeMap<EscrowId, Credits>,
    released: BTreeMap<EscrowId, Credits>,
    charged: BTreeMap<HostAccountId, Credits>,
}

impl Books {
    fn note(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Charged { account, amount, receipts, lines } => {
                    let explained = Credits::checked_sum(lines.iter().map(|line| line.amount));
                    assert_eq!(explained, Some(*amount), "the lines do not add up: {lines:?}");
                    let charged = self.charged.entry(account.clone()).or_default();
                    *charged = charged.checked_add(*amount).unwrap();
                    assert!(*amount > Credits::ZERO && !receipts.is_empty());
                    self.totals(receipts);
                }
                Effect::Refunded { receipts, .. } => self.totals(receipts),
                Effect::Closed { account, receipts, .. } => {
                    assert!(receipts.iter().all(|totals| totals.left().is_zero()), "closed with money left");
                    self.totals(receipts);
                    self.charged.remove(account);
                }
                _ => {}
            }
        }
    }

    fn totals(&mut self, receipts: &[tycoon_market::auctioneer::ReceiptTotals]) {
        for totals in receipts {
            for (book, now) in [(&mut self.drawn, totals.drawn), (&mut self.released, totals.released)] {
                let before = book.insert(totals.receipt, now).unwrap_or_default();
                assert!(now >= before, "a running total went back from {before} to {now}");
            }
        }
    }
}

fn is_active(market: &Auctioneer, id: &HostAccountId) -> bool {
    market.account(id).is_some_and(|view| view.state == AccountState::Active)
}

/// Applies the steps with all checks; returns the accepted ones with their times.
fn run(market: &mut Auctioneer, steps: Vec<Step>) -> Vec<(Timestamp, Event)> {
    let mut now = market.accounted_at().micros();
    let mut log = Vec::new();
    let mut books = Books::default();
    let mut funded: BTreeMap<EscrowId, Credits> = BTreeMap::new();
    for (time, event) in steps {
        now += time;
        let at = Timestamp::from_micros(now);
        let before = market.clone();
        let caller = match &event {
            Event::Bid { account, .. } | Event::Refund { account, .. } => Some(account.clone()),
            _ => None,
        };
        match market.apply(event.clone(), at) {
            Err(_) => assert_eq!(*market, before, "a refused event changed something: {event:?}"),
            Ok(effects) => {
                if let Event::Fund { receipt, amount, .. } = &event {
                    funded.entry(*receipt).or_insert(*amount);
                }
                if let Some(caller) = caller {
                    // The time since the last event may stop her; the call itself may not.
                    let mut waited = before.clone();
                    waited.apply(Event::SetDraining { draining: !before.is_draining() }, at).unwrap();
                    assert!(!is_active(&waited, &caller) || is_active(market, &caller), "{event:?} stopped its caller");
                }
                books.note(&effects);
                log.push((at, event));
            }
        }
        market.audit().unwrap();
        check_money(market, &books, &funded);
    }
    log
}

/// charged + refunded + balance = funded, for each account and for each receipt ever seen.
fn check_money(market: &Auctioneer, books: &Books, funded: &BTreeMap<EscrowId, Credits>) {
    for id in market.account_ids() {
        let view = market.account(id).unwrap();
        assert_eq!(Credits::checked_sum([view.charged, view.refunded, view.balance]), Some(view.funded));
        assert!(view.refundable <= view.balance && view.contingency <= view.balance);
        assert_eq!(books.charged.get(id).copied().unwrap_or_default(), view.charged, "charges that no effect told");
    }
    for (receipt, amount) in funded {
        let (_, totals) = market.receipt(*receipt).expect("no receipt is forgotten");
        assert_eq!(totals.funded, *amount);
        assert!(!totals.left().is_negative());
        assert_eq!(books.drawn.get(receipt).copied().unwrap_or_default(), totals.drawn);
        assert_eq!(books.released.get(receipt).copied().unwrap_or_default(), totals.released);
    }
}

proptest! {
    #[test]
    fn no_order_of_events_breaks_the_books((base_price, steps) in steps()) {
        run(&mut market(base_price), steps);
    }

    #[test]
    fn the_log_tells_the_whole_state((base_price, steps) in steps(), cut in 0.0..1.0_f64) {
        let mut original = market(base_price);
        let log = run(&mut original, steps);
        let mut replayed = market(base_price);
        let cut = (log.len() as f64 * cut) as usize;
        for (index, (at, event)) in log.into_iter().enumerate() {
            if index == cut {
                // A restart in the middle: the state is written and read back.
                let json = serde_json::to_string(&replayed).unwrap();
                replayed = serde_json::from_str(&json).unwrap();
            }
            let json = serde_json::to_string(&event).unwrap();
            replayed.apply(serde_json::from_str(&json).unwrap(), at).unwrap();
        }
        prop_assert_eq!(serde_json::to_string(&replayed).unwrap(), serde_json::to_string(&original).unwrap());
    }

    #[test]
    fn what_is_remembered_besides_the_state_changes_nothing((base_price, steps) in steps()) {
        compare_with_one_that_was_read(base_price, steps);
    }

    #[test]
    fn nor_where_all_minima_fit_together((base_price, steps) in calm_steps()) {
        compare_with_one_that_was_read(base_price, steps);
    }

    #[test]
    fn many_short_ticks_equal_one_long_one(
        (base_price, steps) in steps(),
        count in 1_u64..50,
        micros in 1_u64..100_000_000_000,
        pace in prop::collection::vec(0_u64..4, ACCOUNTS as usize),
    ) {
        let mut long = market(base_price);
        run(&mut long, steps);
        let start = long.accounted_at();
        long.apply(Event::Tick { usage: BTreeMap::new(), downtime_limit: None }, start).unwrap();
        let mut short = long.clone();
        let usage = |span: u64| {
            let of = |number: u8| Usage {
                cpu_time: TimeSpan::from_micros(pace[usize::from(number)] * span),
                received_bits: pace[usize::from(number)] * span,
                ..Usage::default()
            };
            (0..ACCOUNTS).map(|number| (account(number), of(number))).collect::<BTreeMap<_, _>>()
        };
        let tick = |span| Event::Tick { usage: usage(span), downtime_limit: None };
        long.apply(tick(count * micros), start.plus(TimeSpan::from_micros(count * micros))).unwrap();
        for number in 1..=count {
            short.apply(tick(micros), start.plus(TimeSpan::from_micros(number * micros))).unwrap();
        }
        // The statistics are floats: they agree in all but the last digits.
        let books = |market: &Auctioneer| {
            let mut state = serde_json::to_value(market).unwrap();
            for floats in ["statistics", "unique-records"] {
                state.as_object_mut().unwrap().remove(floats);
            }
            state
        };
        prop_assert_eq!(books(&short), books(&long));
        for (kind, statistics) in long.statistics() {
            for window in Window::ALL {
                let means = [statistics, &short.statistics()[kind]].map(|statistics| statistics.window(window).mean());
                prop_assert!((means[0] - means[1]).abs() <= 1e-6 * means[0] + 1e-15, "{means:?}");
            }
        }
    }
}
