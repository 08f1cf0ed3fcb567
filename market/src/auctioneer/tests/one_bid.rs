//! A call costs what it changes: who bids on other resources only is not looked at. Accounts that are looked at are
//! counted, so that no clock is needed.

use std::collections::BTreeSet;

use super::*;

const KINDS: [ResourceKind; 3] = [ResourceKind::Cpu, ResourceKind::Memory, ResourceKind::Disk];
const EACH: usize = 20;

/// A host with twenty accounts on each of three resources; nobody bids on two.
fn crowd() -> Scene {
    let mut scene = Scene::new();
    for (index, kind) in KINDS.into_iter().enumerate() {
        for number in 0..EACH {
            let pool = name(kind, number);
            scene.fund(&pool, u8::try_from(index * EACH + number).unwrap(), 100);
            scene.bid(&pool, small_bid(kind, 0.01)).unwrap();
        }
    }
    scene.now += 10;
    scene.tick(0, &[]);
    scene
}

fn name(kind: ResourceKind, number: usize) -> String {
    format!("{kind}-{number}").to_lowercase()
}

fn small_bid(kind: ResourceKind, min: f64) -> Bid {
    bid(HOUR, &[(kind, Preference::new(1.0, Amount::Fraction(min), Amount::ALL))])
}

fn bidders(kind: ResourceKind) -> BTreeSet<HostAccountId> {
    (0..EACH).map(|number| account(&name(kind, number))).collect()
}

/// Applies an event three seconds later; says who was looked at, and whose shares changed.
fn visited_by(scene: &mut Scene, event: Event) -> (BTreeSet<HostAccountId>, BTreeSet<HostAccountId>) {
    scene.now += 3;
    scene.market.accounts.take_visited();
    let effects = scene.market.apply(event, at(scene.now)).unwrap();
    let visited = scene.market.accounts.take_visited();
    scene.market.audit().unwrap();
    let allocated = effects.into_iter().filter_map(|effect| match effect {
        Effect::Allocate { account, .. } => Some(account),
        _ => None,
    });
    (visited, allocated.collect())
}

#[test]
fn a_bid_visits_nobody_who_bids_on_other_resources_only() {
    for kind in KINDS {
        let mut scene = crowd();
        let pool = name(kind, 7);
        let event = Event::Bid { account: account(&pool), bid: small_bid(kind, 0.2) };
        let (visited, allocated) = visited_by(&mut scene, event);
        assert_eq!(visited, bidders(kind), "{kind}");
        assert_eq!(allocated, bidders(kind), "all of them share what is left");
    }
}

#[test]
fn nor_do_money_that_comes_and_money_that_goes() {
    let mut scene = crowd();
    let pool = account(&name(ResourceKind::Cpu, 3));
    let more = Event::Fund { account: pool.clone(), receipt: receipt(200), amount: credits(50), highest_rate: None };
    // Whether the receipt was used by somebody else is asked of all; nothing of theirs changes.
    let (_, allocated) = visited_by(&mut scene, more);
    assert_eq!(allocated, bidders(ResourceKind::Cpu));
    let less = Event::Refund { account: pool, amount: credits(20) };
    let (visited, allocated) = visited_by(&mut scene, less);
    assert_eq!(visited, bidders(ResourceKind::Cpu));
    assert_eq!(allocated, bidders(ResourceKind::Cpu));
}

#[test]
fn a_bid_that_is_refused_visits_no_more() {
    let mut scene = crowd();
    let pool = account("memory-3");
    let usage = Usage { memory: Quantity::from_bytes(GIB / 2), ..Usage::default() };
    scene.apply(Event::Tick { usage: BTreeMap::from([(pool.clone(), usage)]), downtime_limit: None });
    let before = scene.market.clone();
    scene.now += 3;
    scene.market.accounts.take_visited();
    let less = Preference::new(1.0, Amount::ZERO, Amount::Quantity(Quantity::from_bytes(GIB / 4)));
    let event = Event::Bid { account: pool, bid: bid(HOUR, &[(ResourceKind::Memory, less)]) };
    let refused = scene.market.apply(event, at(scene.now));
    assert!(matches!(refused, Err(Refusal::BelowUse { .. })), "{refused:?}");
    assert_eq!(scene.market.accounts.take_visited(), bidders(ResourceKind::Memory));
    assert_eq!(scene.market, before);
}

#[test]
fn who_bids_on_two_resources_changes_both_auctions_only() {
    let mut scene = crowd();
    let preference = Preference::new(1.0, Amount::ZERO, Amount::ALL);
    let both = bid(HOUR, &[(ResourceKind::Cpu, preference), (ResourceKind::Disk, preference)]);
    let (visited, _) = visited_by(&mut scene, Event::Bid { account: account("disk-4"), bid: both });
    assert_eq!(visited, &bidders(ResourceKind::Cpu) | &bidders(ResourceKind::Disk));
}

#[test]
fn only_the_maximum_that_is_changed_is_looked_at() {
    let mut scene = crowd();
    let preference = Preference::new(1.0, Amount::ZERO, Amount::ALL);
    let with = |max| {
        let cpu = Preference { max: Amount::Fraction(max), ..preference };
        bid(HOUR, &[(ResourceKind::Cpu, cpu), (ResourceKind::Disk, preference)])
    };
    scene.bid("disk-4", with(0.9)).unwrap();
    scene.market.accounts.take_visited();
    // At the same time, so that neither money nor duration changes a rate.
    scene.market.apply(Event::Bid { account: account("disk-4"), bid: with(0.001) }, at(scene.now)).unwrap();
    let mut expected = bidders(ResourceKind::Cpu);
    expected.insert(account("disk-4"));
    assert_eq!(scene.market.accounts.take_visited(), expected);
}

#[test]
fn who_was_not_looked_at_is_charged_at_the_next_tick_for_all_the_time() {
    let mut scene = crowd();
    let mut without_call = crowd();
    let event = Event::Bid { account: account("cpu-7"), bid: small_bid(ResourceKind::Cpu, 0.2) };
    visited_by(&mut scene, event);
    without_call.now = scene.now;
    for scene in [&mut scene, &mut without_call] {
        scene.tick(7, &[]);
    }
    assert_eq!(scene.view("memory-1").charged, without_call.view("memory-1").charged);
    assert!(scene.view("memory-1").charged > Credits::ZERO);
}

#[test]
fn where_somebody_is_displaced_the_whole_plan_decides() {
    let mut scene = crowd();
    scene.fund("cpu-7", 200, 100_000);
    let event = Event::Bid { account: account("cpu-7"), bid: small_bid(ResourceKind::Cpu, 0.9) };
    let (visited, _) = visited_by(&mut scene, event);
    assert_eq!(visited.len(), KINDS.len() * EACH);
    let stays = |id: &HostAccountId| scene.market.account(id).is_some_and(|view| view.state == AccountState::Active);
    assert!(!bidders(ResourceKind::Cpu).iter().all(stays), "not all minima fit beside nine tenths");
}
