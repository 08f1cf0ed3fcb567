//! Who has to make room, and how.

use super::*;

fn scene_with_full_memory() -> Scene {
    let mut scene = Scene::new();
    for (pool, number, whole) in [("poor", 1, 2), ("rich", 2, 10)] {
        scene.fund(pool, number, whole);
        scene.bid(pool, bid(HOUR, &[memory(8)])).unwrap();
    }
    scene
}

#[test]
fn the_lowest_rate_per_unit_of_minimum_makes_room_after_a_grace() {
    let mut scene = scene_with_full_memory();
    scene.fund("newcomer", 3, 5);
    let effects = scene.bid("newcomer", bid(HOUR, &[memory(8)])).unwrap();
    let warned = Effect::Warn { account: account("poor"), reason: Reason::Displaced, stop_at: at(300) };
    assert!(effects.contains(&warned), "{effects:?}");
    assert_eq!(scene.view("newcomer").state, AccountState::Waiting, "newcomers wait");
    assert_eq!(scene.view("newcomer").allocation, BTreeMap::new());
    assert_eq!(scene.share("poor", ResourceKind::Memory), Quantity::from_bytes(8 * GIB));

    scene.tick(299, &[]);
    assert_eq!(scene.view("newcomer").charged, Credits::ZERO, "who waits pays nothing");
    let effects = scene.tick(1, &[]);
    assert!(matches!(effects[0], Effect::Stop { .. }), "{effects:?}");
    assert_eq!(effects[1], Effect::Activate { account: account("newcomer") });
    assert_eq!(scene.share("newcomer", ResourceKind::Memory), Quantity::from_bytes(8 * GIB));
    assert_eq!(scene.view("newcomer").expires_at, Some(at(300 + 3600)), "its time begins now");
}

#[test]
fn who_is_warned_can_bid_more() {
    let mut scene = scene_with_full_memory();
    scene.fund("newcomer", 3, 5);
    scene.bid("newcomer", bid(HOUR, &[memory(8)])).unwrap();
    scene.now = 100;
    let effects = scene.fund("poor", 4, 6);
    assert!(effects.contains(&Effect::Activate { account: account("poor") }), "{effects:?}");
    scene.tick(600, &[]);
    assert_eq!(scene.view("poor").state, AccountState::Active);
    assert_eq!(scene.view("newcomer").state, AccountState::Waiting);
}

#[test]
fn a_newcomer_who_bids_less_is_refused() {
    let mut scene = scene_with_full_memory();
    scene.fund("newcomer", 3, 1);
    let refused = scene.bid("newcomer", bid(HOUR, &[memory(8)]));
    let kind = ResourceKind::Memory;
    let (asked, available) = (Quantity::from_bytes(8 * GIB), Quantity::ZERO);
    assert_eq!(refused, Err(Refusal::NotAvailable { kind, asked, available }));
}

#[test]
fn of_equal_rates_the_youngest_makes_room() {
    let mut scene = Scene::new();
    for (pool, number) in [("old", 1), ("young", 2)] {
        scene.fund(pool, number, 10);
        scene.bid(pool, bid(HOUR, &[memory(8)])).unwrap();
    }
    scene.apply(Event::SetCapacity { kind: ResourceKind::Memory, capacity: Quantity::from_bytes(8 * GIB) });
    assert_eq!(scene.view("old").state, AccountState::Active);
    assert!(matches!(scene.view("young").state, AccountState::Warned { reason: Reason::Displaced, .. }));
}

#[test]
fn cpu_minima_give_way_at_once() {
    let mut scene = Scene::new();
    let three = Amount::Quantity(Quantity::from_cpus(3));
    let wanted = bid(HOUR, &[(ResourceKind::Cpu, Preference::new(1.0, three, Amount::ALL))]);
    scene.fund("poor", 1, 5);
    scene.bid("poor", wanted.clone()).unwrap();
    scene.fund("rich", 2, 50);
    scene.bid("rich", wanted).unwrap();
    assert_eq!(scene.view("rich").state, AccountState::Active);
    assert!(scene.share("rich", ResourceKind::Cpu) >= Quantity::from_cpus(3));
    assert!(matches!(scene.view("poor").state, AccountState::Warned { .. }));
}

#[test]
fn the_evicted_go_the_way_of_the_displaced() {
    let mut scene = scene_with_full_memory();
    let effects = scene.apply(Event::Evict { account: account("rich") });
    assert!(matches!(effects[0], Effect::Warn { reason: Reason::Evicted, .. }), "{effects:?}");
    assert_eq!(scene.bid("rich", bid(HOUR, &[memory(1)])), Err(Refusal::Evicted));
    scene.tick(300, &[]);
    assert!(matches!(scene.view("rich").state, AccountState::Stopped { reason: Reason::Evicted, .. }));
    scene.tick(7 * 86_400, &[]);
    assert_eq!(scene.market.account(&account("rich")), None);
    let (_, totals) = scene.market.receipt(receipt(2)).unwrap();
    assert!(totals.released > credits(9), "what it did not use goes back: {totals:?}");
}

#[test]
fn a_disk_is_kept_until_the_long_grace_is_over() {
    let mut scene = Scene::new();
    let disk = |gib| {
        let amount = Amount::Quantity(Quantity::from_bytes(gib * GIB));
        (ResourceKind::Disk, Preference::new(1.0, amount, amount))
    };
    scene.fund("poor", 1, 1);
    scene.bid("poor", bid(TimeSpan::from_seconds(30 * 86_400), &[disk(60)])).unwrap();
    scene.fund("rich", 2, 100);
    scene.bid("rich", bid(TimeSpan::from_seconds(30 * 86_400), &[disk(60)])).unwrap();
    scene.tick(300, &[]);
    assert!(matches!(scene.view("poor").state, AccountState::Stopped { .. }));
    assert_eq!(scene.share("poor", ResourceKind::Disk), Quantity::from_bytes(60 * GIB));
    assert_eq!(scene.view("rich").state, AccountState::Waiting);
    let effects = scene.tick(7 * 86_400, &[]);
    let order: Vec<_> = effects.iter().map(std::mem::discriminant).collect();
    let of = |effect: &Effect| order.iter().position(|kind| *kind == std::mem::discriminant(effect));
    let deleted = of(&Effect::DeleteDisk { account: account("poor"), reason: Reason::Displaced });
    assert!(deleted.is_some() && deleted < of(&Effect::Activate { account: account("rich") }), "{effects:?}");
    assert_eq!(scene.share("rich", ResourceKind::Disk), Quantity::from_bytes(60 * GIB));
}

#[test]
fn planners_count_only_what_no_minimum_has_taken() {
    let mut scene = scene_with_full_memory();
    assert_eq!(scene.market.offers()[&ResourceKind::Memory].available, Quantity::ZERO);
    scene.apply(Event::Close { account: account("poor") });
    let offer = scene.market.offers()[&ResourceKind::Memory];
    assert_eq!(offer.available, Quantity::from_bytes(8 * GIB));
    assert_eq!(offer.bids, scene.view("rich").rate);
    assert_eq!(scene.market.offers()[&ResourceKind::Cpu].price, Rate::from_credits_per_hour(9.0));
}

/// Who may not pay what its minima would cost is left out before it comes in, not after: else it would come and go.
#[test]
fn nobody_comes_and_goes_in_turns() {
    let mut scene = Scene::new();
    scene.fund("small", 1, 20);
    scene.bid("small", bid(HOUR, &[memory(10)])).unwrap();

    let one = Amount::Quantity(Quantity::from_cpus(1));
    let cpu = (ResourceKind::Cpu, Preference::new(0.01, one, one));
    scene.apply(Event::Open { account: account("limited") });
    scene.apply(Event::Fund {
        account: account("limited"),
        receipt: receipt(2),
        amount: credits(40),
        highest_rate: Some(Rate::from_credits_per_hour(60.0)),
    });
    scene.bid("limited", bid(HOUR, &[memory(10), cpu])).unwrap();
    assert!(matches!(scene.view("small").state, AccountState::Warned { .. }), "its minimum is paid better");

    // With this bid a CPU costs more than the escrow of `limited` allows, so that `small` can stay.
    scene.fund("large", 3, 1000);
    let greedy = (ResourceKind::Cpu, Preference::new(2.0, Amount::ZERO, Amount::ALL));
    scene.bid("large", bid(TimeSpan::from_seconds(36_000), &[memory(6), greedy])).unwrap();
    assert_eq!(scene.view("small").state, AccountState::Active);
    let effects = scene.tick(3000, &[]);
    let turned = effects.iter().any(|effect| matches!(effect, Effect::Warn { .. } | Effect::Activate { .. }));
    assert!(!turned, "{effects:?}");
}
