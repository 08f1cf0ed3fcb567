//! What happens by itself as time goes by.

use super::*;

#[test]
fn at_expiry_what_is_left_is_spread_over_a_month() {
    let mut scene = Scene::new();
    scene.fund("pool", 1, 10);
    scene.bid("pool", cpu_bid(HOUR)).unwrap();
    let effects = scene.tick(3600, &[]);
    assert!(matches!(effects[0], Effect::Expired { .. }), "{effects:?}");
    let view = scene.view("pool");
    assert_eq!(view.charged.rounded(3), "1.000", "it was idle");
    assert_eq!(view.expires_at, Some(at(3600 + 30 * 86_400)));
    assert_eq!(view.rate, Rate::of(view.balance, TimeSpan::from_seconds(30 * 86_400)).unwrap());
    assert_eq!(view.state, AccountState::Active, "kept, but outbiddable");
}

#[test]
fn without_money_there_is_a_warning_then_a_shutdown_then_a_deletion() {
    let mut scene = Scene::new();
    scene.fund("pool", 1, 10);
    let disk = Amount::Quantity(Quantity::from_bytes(10 * GIB));
    let wanted = bid(HOUR, &[memory(4), (ResourceKind::Disk, Preference::new(1.0, disk, disk))]);
    scene.bid("pool", wanted).unwrap();
    let (account, reason) = (account("pool"), Reason::OutOfFunds);
    let (stop_at, delete_at) = (at(3600 + 300), at(3600 + 300 + 7 * 86_400));
    // Rates are rounded down, so that a micro-credit is left at the end: that is not worth a month.
    let effects = scene.tick(3600, &[]);
    assert_eq!(effects[0], Effect::Warn { account: account.clone(), reason, stop_at });
    let effects = scene.tick(300, &[]);
    assert_eq!(effects[0], Effect::Stop { account: account.clone(), reason, delete_at });
    assert_eq!(scene.share("pool", ResourceKind::Memory), Quantity::ZERO);
    assert_eq!(scene.share("pool", ResourceKind::Disk), Quantity::from_bytes(10 * GIB));
    scene.tick(7 * 86_400 - 1, &[]);
    assert!(matches!(scene.view("pool").state, AccountState::Stopped { .. }));
    let effects = scene.tick(1, &[]);
    assert_eq!(effects[0], Effect::DeleteDisk { account: account.clone(), reason });
    assert!(matches!(&effects[1], Effect::Closed { receipts, .. } if receipts[0].left().is_zero()));
    assert_eq!(scene.market.account(&account), None);
}

#[test]
fn who_pays_in_time_goes_on() {
    let mut scene = Scene::new();
    scene.fund("pool", 1, 1);
    scene.bid("pool", bid(HOUR, &[memory(4)])).unwrap();
    scene.tick(3600, &[]);
    scene.tick(60, &[]);
    assert!(matches!(scene.view("pool").state, AccountState::Warned { reason: Reason::OutOfFunds, .. }));
    assert_eq!(scene.share("pool", ResourceKind::Memory), Quantity::from_bytes(4 * GIB), "it keeps its memory");
    let effects = scene.fund("pool", 2, 1);
    assert_eq!(effects, [Effect::Activate { account: account("pool") }]);
    scene.tick(3600, &[]);
    scene.tick(3600, &[]);
    assert!(matches!(scene.view("pool").state, AccountState::Stopped { .. }));
    assert_eq!(scene.share("pool", ResourceKind::Memory), Quantity::ZERO);
    scene.fund("pool", 3, 1);
    assert_eq!(scene.view("pool").state, AccountState::Active, "even one that is stopped comes back");
}

/// Twenty minutes at once and 120 ticks of ten seconds, with an expiry, a bankruptcy and a shutdown in between.
#[test]
fn one_long_tick_equals_many_short_ones() {
    let mut scene = Scene::new();
    let cpu = (
        ResourceKind::Cpu,
        Preference { contingency: 0.1, ..Preference::new(2.0, Amount::Fraction(0.2), Amount::ALL) },
    );
    for (pool, number, whole, seconds) in [("one", 1, 7, 250), ("two", 2, 3, 1111), ("three", 3, 1, 85)] {
        scene.fund(pool, number, whole);
        scene.bid(pool, bid(TimeSpan::from_seconds(seconds), &[cpu, memory(3)])).unwrap();
    }
    let mut short = Scene { market: scene.market.clone(), now: 0 };
    let long_effects = scene.tick(1200, &[("one", 600), ("two", 2400)]);
    let mut short_effects = Vec::new();
    for _ in 0..120 {
        short_effects.extend(short.tick(10, &[("one", 5), ("two", 20)]));
    }
    assert_eq!(without_statistics(&scene.market), without_statistics(&short.market));
    let marks = |effects: &[Effect]| {
        let marks = effects
            .iter()
            .filter(|effect| matches!(effect, Effect::Warn { .. } | Effect::Stop { .. } | Effect::Expired { .. }));
        marks.cloned().collect::<Vec<_>>()
    };
    assert_eq!(marks(&long_effects), marks(&short_effects));
    assert!(marks(&long_effects).len() >= 4, "{long_effects:?}");
}

/// The statistics of a long tick and of many short ones differ in their last digits.
fn without_statistics(market: &Auctioneer) -> Auctioneer {
    Auctioneer { statistics: BTreeMap::new(), ..market.clone() }
}

#[test]
fn the_prices_of_the_past_are_kept() {
    let mut scene = Scene::new();
    scene.tick(3600, &[]);
    scene.fund("pool", 1, 36);
    scene.bid("pool", cpu_bid(HOUR)).unwrap();
    for _ in 0..360 {
        scene.tick(10, &[]);
    }
    let cpu = &scene.market.statistics()[&ResourceKind::Cpu];
    // An hour at 9 credits per hour, then an hour at (36 + 36)/4 = 18.
    assert!((cpu.spot() * 3600.0 - 18.0).abs() < 1e-6);
    let fresh = 1.0 - (-1.0_f64).exp();
    let expected = (9.0 * (1.0 - fresh) * fresh + 18.0 * fresh) / (1.0 - (-2.0_f64).exp());
    let mean = cpu.window(crate::price_statistics::Window::Hour).mean() * 3600.0;
    assert!((mean - expected).abs() < 1e-6, "{mean} for {expected}");
}

#[test]
fn calls_between_two_ticks_are_charged_by_what_the_next_tick_measures() {
    let run = |calls: &[i64]| {
        let mut scene = Scene::new();
        for (pool, number) in [("busy", 1), ("idle", 2)] {
            scene.fund(pool, number, 10);
            scene.bid(pool, cpu_bid(HOUR)).unwrap();
        }
        for &time in calls {
            scene.now = time;
            scene.apply(Event::Open { account: account("other") });
            scene.apply(Event::SetDraining { draining: true });
            scene.apply(Event::SetDraining { draining: false });
        }
        scene.now = 0;
        scene.tick(10, &[("busy", 20)]);
        scene.market
    };
    let (quiet, disturbed) = (run(&[]), run(&[3, 4, 9]));
    for pool in ["busy", "idle"] {
        let charged = |market: &Auctioneer| market.account(&account(pool)).unwrap().charged;
        assert_eq!(charged(&quiet), charged(&disturbed), "{pool}");
    }
}

#[test]
fn what_may_be_owed_since_the_last_tick_cannot_be_refunded() {
    let mut scene = Scene::new();
    scene.fund("pool", 1, 10);
    scene.bid("pool", cpu_bid(TimeSpan::from_seconds(20))).unwrap();
    scene.now = 10;
    scene.apply(Event::SetDraining { draining: true });
    assert_eq!(scene.view("pool").balance, credits(10));
    assert_eq!(scene.view("pool").refundable, credits(5));
    let effects = scene.apply(Event::Close { account: account("pool") });
    let Some(Effect::Closed { receipts, .. }) = effects.last() else { panic!("{effects:?}") };
    assert_eq!(receipts[0].drawn, credits(5));
}

#[test]
fn a_daemon_that_was_down_charges_two_minutes_to_domains_that_ran() {
    let mut scene = Scene::new();
    for (pool, number) in [("ran", 1), ("gone", 2)] {
        scene.fund(pool, number, 36);
        scene.bid(pool, bid(HOUR, &[memory(4)])).unwrap();
    }
    scene.now = 1200;
    let usage = BTreeMap::from([(account("ran"), Usage::default())]);
    scene.apply(Event::Tick { usage, downtime_limit: Some(TimeSpan::from_seconds(120)) });
    assert_eq!(scene.view("ran").charged.rounded(3), "1.200");
    assert_eq!(scene.view("gone").charged, Credits::ZERO);
    assert_eq!(scene.view("ran").expires_at, Some(at(3600 + 1080)), "the bid lasts longer by the rest");
}

#[test]
fn a_clock_that_goes_back_counts_as_no_time() {
    let mut scene = Scene::new();
    scene.fund("pool", 1, 36);
    scene.bid("pool", bid(HOUR, &[memory(4)])).unwrap();
    scene.tick(600, &[]);
    let charged = scene.view("pool").charged;
    let effects = scene.tick(-500, &[]);
    assert_eq!(effects, [Effect::ClockWentBack { by: TimeSpan::from_seconds(500) }]);
    assert_eq!(scene.view("pool").charged, charged);
    assert_eq!(scene.view("pool").expires_at, Some(at(3100)), "its time goes on as if nothing had happened");
    scene.tick(100, &[]);
    assert!(scene.view("pool").charged > charged);
}

#[test]
fn a_thousand_years_pass_quickly_and_exactly() {
    let mut scene = Scene::new();
    for (pool, number) in [("one", 1), ("two", 2)] {
        scene.fund(pool, number, 1_000_000);
        scene.bid(pool, cpu_bid(HOUR)).unwrap();
    }
    scene.now = 1000 * 365 * 86_400;
    scene.apply(Event::Tick { usage: BTreeMap::new(), downtime_limit: None });
    scene.market.audit().unwrap();
    assert_eq!(scene.market.account_ids().count(), 0, "everything is charged or given back");
    for number in [1, 2] {
        assert!(scene.market.receipt(receipt(number)).is_none_or(|(_, totals)| totals.left().is_zero()));
    }
}
