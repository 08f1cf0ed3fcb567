//! Addresses and ports.

use super::*;
use crate::auctioneer::UniqueStanding;
use crate::{UniqueKind, UniquePreference, UniqueWish};

fn address(last: u8) -> UniqueId {
    UniqueId::Address([192, 0, 2, last].into())
}

/// A host that also sells three addresses for 3.6 credits per hour at least.
fn scene() -> Scene {
    let mut config = market().config;
    let base_price = Rate::from_credits_per_hour(3.6);
    let sale = UniqueSale { ranges: vec![(address(1), address(3))], base_price, ..UniqueSale::default() };
    config.unique.insert(UniqueKind::Ipv4Address, sale);
    Scene { market: Auctioneer::new(config, at(0)).unwrap(), now: 0 }
}

/// Bids so many credits per hour on an address, for ten hours.
fn wants(scene: &mut Scene, pool: &str, number: u8, per_hour: i64, preference: UniquePreference) -> Vec<Effect> {
    wants_one_of(scene, pool, number, per_hour, UniqueWish::This(address(1)), preference)
}

fn wants_one_of(
    scene: &mut Scene,
    pool: &str,
    number: u8,
    per_hour: i64,
    wish: UniqueWish,
    preference: UniquePreference,
) -> Vec<Effect> {
    scene.fund(pool, number, per_hour * 10);
    let ten_hours = TimeSpan::from_seconds(36_000);
    let bid = Bid::with_unique(ten_hours, BTreeMap::new(), BTreeMap::from([(wish, preference)])).unwrap();
    scene.bid(pool, bid).unwrap()
}

fn holder(scene: &Scene, last: u8) -> Option<String> {
    let of = |id: &HostAccountId| scene.market.account(id).unwrap().unique.values().any(|held| *held == address(last));
    scene.market.account_ids().find(|id| of(id)).map(|id| id.pool.to_string())
}

fn price(scene: &Scene, last: u8) -> String {
    scene.market.unique_offers()[&UniqueKind::Ipv4Address].held[&address(last)].to_string()
}

const PLAIN: UniquePreference = UniquePreference::new(1.0);

#[test]
fn the_holder_pays_the_largest_of_base_price_own_minimum_and_second_bid() {
    let mut scene = scene();
    let effects = wants(&mut scene, "first", 1, 36, PLAIN);
    assert!(effects.contains(&Effect::GrantUnique { account: account("first"), id: address(1) }), "{effects:?}");
    assert_eq!(price(&scene, 1), "3.6000/h", "the base price, for nobody else wants it");
    wants(&mut scene, "second", 2, 18, UniquePreference { stand: true, ..PLAIN });
    assert_eq!(holder(&scene, 1).as_deref(), Some("first"));
    assert_eq!(price(&scene, 1), "18.0000/h", "the second bid");
    scene.tick(3600, &[]);
    assert_eq!(scene.view("first").charged.rounded(3), "18.000");

    let proud = UniquePreference { min_bid: Rate::from_credits_per_hour(7.2), ..PLAIN };
    wants_one_of(&mut scene, "proud", 3, 36, UniqueWish::This(address(2)), proud);
    assert_eq!(price(&scene, 2), "7.2000/h", "its own minimum");
}

#[test]
fn a_losing_bid_pays_for_an_interval_and_is_withdrawn() {
    let mut scene = scene();
    wants(&mut scene, "holder", 1, 36, PLAIN);
    wants(&mut scene, "loser", 2, 18, PLAIN);
    scene.tick(3600, &[]);
    // 18 credits per hour for ten seconds.
    assert_eq!(scene.view("loser").charged.rounded(3), "0.050");
    assert_eq!(price(&scene, 1), "3.6000/h");
    scene.fund("loser", 3, 1000);
    scene.tick(60, &[]);
    assert_eq!(holder(&scene, 1).as_deref(), Some("holder"), "money alone does not bring it back, a new bid does");
}

#[test]
fn a_bid_that_stands_pays_on() {
    let mut scene = scene();
    wants(&mut scene, "holder", 1, 36, PLAIN);
    wants(&mut scene, "standing", 2, 18, UniquePreference { stand: true, ..PLAIN });
    scene.tick(3600, &[]);
    assert_eq!(scene.view("standing").charged.rounded(3), "18.000");
    scene.apply(Event::Close { account: account("holder") });
    assert_eq!(holder(&scene, 1).as_deref(), Some("standing"), "and is there when the holder goes");
}

#[test]
fn taking_over_needs_a_tenth_more_for_three_intervals() {
    let mut scene = scene();
    wants(&mut scene, "holder", 1, 36, PLAIN);
    wants(&mut scene, "little", 2, 39, PLAIN);
    scene.tick(100, &[]);
    assert_eq!(holder(&scene, 1).as_deref(), Some("holder"), "39 is less than 1.1 times 36");
    wants(&mut scene, "challenger", 3, 40, PLAIN);
    scene.tick(29, &[]);
    assert_eq!(holder(&scene, 1).as_deref(), Some("holder"));
    let effects = scene.tick(1, &[]);
    assert_eq!(effects[0], Effect::RevokeUnique { account: account("holder"), id: address(1) });
    assert_eq!(effects[1], Effect::GrantUnique { account: account("challenger"), id: address(1) });
    assert_eq!(price(&scene, 1), "36.0000/h");
    scene.tick(20, &[]);
    assert_eq!(price(&scene, 1), "3.6000/h", "when the loser is withdrawn");
}

#[test]
fn losing_an_address_does_not_touch_the_rest_of_a_bid() {
    let mut scene = scene();
    scene.fund("pool", 1, 100);
    let unique = BTreeMap::from([(UniqueWish::This(address(1)), PLAIN)]);
    let preferences = [memory(4)].into_iter().collect();
    scene.bid("pool", Bid::with_unique(HOUR, preferences, unique).unwrap()).unwrap();
    assert_eq!(scene.view("pool").rates[&ResourceKind::Memory].to_string(), "50.0000/h");
    wants(&mut scene, "rich", 2, 1000, PLAIN);
    scene.tick(60, &[]);
    assert_eq!(holder(&scene, 1).as_deref(), Some("rich"));
    assert_eq!(scene.view("pool").state, AccountState::Active);
    assert_eq!(scene.share("pool", ResourceKind::Memory), Quantity::from_bytes(4 * GIB));
}

#[test]
fn any_address_is_one_that_nobody_holds() {
    let mut scene = scene();
    let any = UniqueWish::Any(UniqueKind::Ipv4Address);
    wants(&mut scene, "named", 1, 36, PLAIN);
    for (pool, number) in [("a", 2), ("b", 3), ("c", 4)] {
        wants_one_of(&mut scene, pool, number, 36, any, PLAIN);
    }
    assert_eq!(holder(&scene, 2).as_deref(), Some("a"));
    assert_eq!(holder(&scene, 3).as_deref(), Some("b"));
    assert_eq!(scene.view("c").unique, BTreeMap::new(), "there is none left");
    scene.tick(3600, &[]);
    assert_eq!(scene.view("c").charged, Credits::ZERO, "who finds none pays nothing");
    scene.apply(Event::Close { account: account("a") });
    assert_eq!(holder(&scene, 2).as_deref(), Some("c"));
}

#[test]
fn who_holds_without_using_pays_more_from_day_to_day() {
    let mut scene = scene();
    wants(&mut scene, "squatter", 1, 36, PLAIN);
    scene.apply(Event::UniqueUse { used: [address(1)].into() });
    scene.tick(3600, &[]);
    assert_eq!(price(&scene, 1), "3.6000/h", "it is in use");
    scene.apply(Event::UniqueUse { used: [].into() });
    let bid = Bid::with_unique(
        TimeSpan::from_seconds(20 * 86_400),
        BTreeMap::new(),
        BTreeMap::from([(UniqueWish::This(address(1)), PLAIN)]),
    );
    scene.fund("squatter", 2, 100_000);
    scene.bid("squatter", bid.unwrap()).unwrap();
    let own = scene.view("squatter").rate.credits_per_hour();
    let now =
        |scene: &Scene| scene.market.unique_offers()[&UniqueKind::Ipv4Address].held[&address(1)].credits_per_hour();
    scene.tick(3 * 86_400, &[]);
    assert!((now(&scene) - own * 3.0 / 7.0).abs() < 0.001, "{} of {own}", now(&scene));
    scene.tick(5 * 86_400, &[]);
    assert!((now(&scene) - own).abs() < 0.001, "at most its whole bid");
    scene.apply(Event::UniqueUse { used: [address(1)].into() });
    assert_eq!(price(&scene, 1), "3.6000/h");
}

#[test]
fn only_what_is_sold_can_be_bid_for() {
    let mut scene = scene();
    scene.fund("pool", 1, 10);
    for wish in [UniqueWish::This(address(4)), UniqueWish::Any(UniqueKind::TcpPort)] {
        let bid = Bid::with_unique(HOUR, BTreeMap::new(), BTreeMap::from([(wish, PLAIN)])).unwrap();
        assert_eq!(scene.bid("pool", bid), Err(Refusal::UniqueNotSold(wish)));
    }
    let mut config = market().config;
    let sale = UniqueSale { single: [UniqueId::Port(80)].into(), ..UniqueSale::default() };
    config.unique.insert(UniqueKind::Ipv4Address, sale);
    assert!(matches!(Auctioneer::new(config, at(0)), Err(ConfigError::WrongKind { .. })));
}

#[test]
fn below_the_base_price_nothing_is_held() {
    let mut scene = scene();
    wants(&mut scene, "cheap", 1, 3, PLAIN);
    assert_eq!(holder(&scene, 1), None);
    scene.tick(3600, &[]);
    assert_eq!(scene.view("cheap").charged.rounded(4), "0.0083", "one interval of 3 per hour");
}

#[test]
fn what_is_free_is_told_as_ranges_and_what_is_held_one_by_one() {
    let mut scene = scene();
    let states = |scene: &Scene| {
        let states = scene.market.unique_states(UniqueKind::Ipv4Address);
        states.into_iter().map(|state| (state.first, state.last, state.standing)).collect::<Vec<_>>()
    };
    assert_eq!(states(&scene), [(address(1), address(3), UniqueStanding::Free)]);
    wants_one_of(&mut scene, "holder", 1, 36, UniqueWish::This(address(2)), PLAIN);
    let held = |standing| {
        [
            (address(1), address(1), UniqueStanding::Free),
            (address(2), address(2), standing),
            (address(3), address(3), UniqueStanding::Free),
        ]
    };
    assert_eq!(states(&scene), held(UniqueStanding::Held));
    scene.tick(1800, &[]);
    scene.apply(Event::Close { account: account("holder") });
    assert_eq!(states(&scene), held(UniqueStanding::RecentlyFree));
    let state = &scene.market.unique_states(UniqueKind::Ipv4Address)[1];
    assert_eq!(state.since, Some(at(1800)));
    assert_eq!(state.prices.as_ref().unwrap().hour.mean, Rate::from_credits_per_hour(3.6), "its price is remembered");
    scene.tick(86_400, &[]);
    assert_eq!(states(&scene), [(address(1), address(3), UniqueStanding::Free)], "for a day");
}

#[test]
fn ranges_that_overlap_or_touch_are_one() {
    let port = UniqueId::Port;
    let sale = UniqueSale {
        single: [port(8080), port(22), port(8081)].into(),
        ranges: vec![(port(1), port(21)), (port(8000), port(8079)), (port(10), port(30)), (port(9), port(1))],
        ..UniqueSale::default()
    };
    assert_eq!(sale.stretches(), [(port(1), port(30)), (port(8000), port(8081))]);
    assert_eq!(sale.count(), 30 + 82);
    let all = UniqueSale { ranges: vec![(port(1), port(u16::MAX)), (port(80), port(81))], ..UniqueSale::default() };
    assert_eq!((all.stretches().len(), all.count()), (1, 65_535));
}
