//! What makes no sense is refused with a reason, and leaves everything as it was (the scene checks that).

use super::*;
use crate::TimeSpan;
use crate::bid_text::BidChange;

fn running() -> Scene {
    let mut scene = Scene::new();
    scene.fund("pool", 1, 36);
    scene.bid("pool", cpu_bid(HOUR)).unwrap();
    scene
}

/// The code of a refusal.
fn code(scene: &mut Scene, event: Event) -> &'static str {
    scene.try_apply(event).unwrap_err().code()
}

#[test]
fn amounts_that_cannot_be_are_refused() {
    let mut scene = running();
    let fund =
        |number, amount| Event::Fund { account: account("pool"), receipt: receipt(number), amount, highest_rate: None };
    assert_eq!(code(&mut scene, fund(2, Credits::ZERO)), "not-an-amount");
    assert_eq!(code(&mut scene, fund(2, Credits::from_micros(-1))), "not-an-amount");
    assert_eq!(code(&mut scene, fund(2, Credits::MAX)), "too-much-money");
    assert_eq!(code(&mut scene, fund(1, credits(35))), "receipt-differs");
    let refund = |amount| Event::Refund { account: account("pool"), amount };
    assert_eq!(code(&mut scene, refund(Credits::from_micros(-5))), "not-an-amount");
    assert_eq!(code(&mut scene, refund(Credits::MAX)), "not-so-much");
}

#[test]
fn what_the_host_does_not_sell_is_refused() {
    let mut scene = running();
    let disk = Preference::new(1.0, Amount::ZERO, Amount::ALL);
    let bid_on_disk = bid(HOUR, &[(ResourceKind::NetworkOut, disk)]);
    assert_eq!(scene.bid("pool", bid_on_disk).unwrap_err().code(), "not-sold");
    let quote = |kind, amount, valid_for| Event::Quote {
        account: account("pool"),
        minima: BTreeMap::from([(kind, Quantity::new(amount))]),
        valid_for,
    };
    assert_eq!(code(&mut scene, quote(ResourceKind::NetworkOut, 1, HOUR)), "not-sold");
    assert_eq!(code(&mut scene, quote(ResourceKind::Cpu, 0, HOUR)), "empty-quote");
    assert_eq!(code(&mut scene, quote(ResourceKind::Cpu, 1, TimeSpan::ZERO)), "empty-quote");
    assert_eq!(code(&mut scene, quote(ResourceKind::Cpu, u64::MAX, HOUR)), "not-available");
    let price = Event::SetBasePrice { kind: ResourceKind::NetworkIn, rate: Rate::ZERO };
    assert_eq!(code(&mut scene, price), "not-sold");
}

#[test]
fn a_minimum_above_the_maximum_is_seen_also_where_units_differ() {
    let mut scene = running();
    // Half of the host's 4 CPUs are more than one.
    let amounts = (Amount::Fraction(0.5), Amount::Quantity(Quantity::from_cpus(1)));
    let upside_down = bid(HOUR, &[(ResourceKind::Cpu, Preference::new(1.0, amounts.0, amounts.1))]);
    assert_eq!(scene.bid("pool", upside_down).unwrap_err().code(), "min-above-max");
}

#[test]
fn a_configuration_that_cannot_be_used_is_refused() {
    let mut scene = running();
    let config = scene.market.config().clone();
    let wrong: [fn(&mut HostConfig); 5] = [
        |config| config.capacity.clear(),
        |config| config.interval = TimeSpan::ZERO,
        |config| config.respread = TimeSpan::ZERO,
        |config| config.idle_charge_ppm = 1_000_001,
        |config| {
            config.base_price.insert(ResourceKind::NetworkIn, Rate::ZERO);
        },
    ];
    for change in wrong {
        let mut config = config.clone();
        change(&mut config);
        assert_eq!(code(&mut scene, Event::Configure { config: Box::new(config) }), "config");
    }
}

#[test]
fn texts_of_durations_beyond_all_measure_are_refused() {
    for text in
        ["1000000000y CPU:1", "99999999999999999999999s CPU:1", "-1s CPU:1", "NaNs CPU:1", "infs CPU:1", "101y CPU:1"]
    {
        let read = BidChange::parse(text, at(0)).map(|change| change.apply(None));
        assert!(!matches!(read, Ok(Ok(_))), "{text}: {read:?}");
    }
}

/// All of time in one tick, and back again: nothing overflows, and the books are right.
#[test]
fn the_ends_of_time_break_nothing() {
    for now in [i64::MAX, i64::MIN, 0] {
        let mut market = running().market;
        for now in [now, 0, now] {
            let tick = Event::Tick { usage: BTreeMap::new(), downtime_limit: None };
            market.apply(tick, Timestamp::from_micros(now)).unwrap();
            market.audit().unwrap();
        }
    }
}

#[test]
fn use_beyond_all_measure_costs_no_more_than_there_is() {
    let mut scene = running();
    scene.now += 10;
    let usage = Usage {
        cpu_time: TimeSpan::from_micros(u64::MAX),
        received_bits: u64::MAX,
        sent_bits: u64::MAX,
        memory: Quantity::new(u64::MAX),
        disk: Quantity::new(u64::MAX),
    };
    scene.apply(Event::Tick { usage: BTreeMap::from([(account("pool"), usage)]), downtime_limit: None });
    let view = scene.view("pool");
    assert_eq!(view.charged, credits(36), "all of it, and no more");
}
