//! What a host tells of its market: prices as they were, charges line by line, addresses and ports.

use std::collections::BTreeMap;

use tycoon_market::auctioneer::{ChargeFor, UniqueSale, UniqueStanding};
use tycoon_market::{
    Bid, Credits, Quantity, Rate, ResourceKind, TimeSpan, UniqueId, UniqueKind, UniquePreference, UniqueWish,
};
use tycoon_sls::record::RECORD_BYTES_MAX;
use tycoon_xen::market::{BidRequest, ChargesReport};
use tycoon_xen::protocol::HostError;
use tycoon_xen::spec::{Addressing, DomainSpec, NicSpec, PortForward};
use tycoon_xen::status::DomainState;

use super::scene::*;

fn charges(scene: &Scene, party: Party, name: &str) -> ChargesReport {
    let report = scene.host(party).charges(&pool(name)).unwrap().unwrap();
    let lines = report.intervals.iter().map(|interval| {
        let sum = Credits::checked_sum(interval.lines.iter().map(|line| line.amount));
        assert_eq!(sum, Some(interval.amount), "{interval:?}");
        interval.amount
    });
    let explained = Credits::checked_sum(lines.chain([report.earlier]));
    assert_eq!(explained, Some(report.charged), "every micro-credit is explained");
    assert_eq!(Some(report.charged), scene.account(party, name).map(|account| account.charged));
    report
}

#[test]
fn every_charge_is_explained_to_the_micro_credit() {
    let mut scene = Scene::new();
    scene.bring_up(ALICE, "hello", "10", 7 * HOUR);
    scene.bring_up(BOB, "other", "3", 11 * HOUR);
    for number in 0..20 {
        scene.pass(10);
        if number % 3 == 0 {
            // Calls in between charge too.
            scene.clock.advance(TimeSpan::from_micros(1_234_567));
            scene.bid(BOB, "other", bid(10 * HOUR + number, 1)).unwrap();
        }
        charges(&scene, ALICE, "hello");
        charges(&scene, BOB, "other");
    }
    let report = charges(&scene, ALICE, "hello");
    assert_eq!(report.earlier, Credits::ZERO, "twenty intervals are kept");
    assert!(report.charged > Credits::ZERO && report.intervals.len() > 15);
    let items: Vec<_> = report.intervals[3].lines.iter().map(|line| line.item).collect();
    assert!(items.contains(&ChargeFor::Bid(ResourceKind::Cpu)), "{items:?}");
    assert!(items.contains(&ChargeFor::Bid(ResourceKind::Memory)), "{items:?}");
    let memory =
        report.intervals[3].lines.iter().find(|line| line.item == ChargeFor::Bid(ResourceKind::Memory)).unwrap();
    assert_eq!(memory.used, memory.share, "what is reserved is used");

    // They are kept over a restart, and only so many of them.
    scene.reopen();
    assert_eq!(charges(&scene, ALICE, "hello").intervals, report.intervals);
    (0..100).for_each(|_| scene.pass(10));
    let later = charges(&scene, ALICE, "hello");
    assert!(later.intervals.len() <= 24 && later.earlier > Credits::ZERO);
    let stored = scene.database.open_tree("daemon").unwrap().scan_prefix("charges/").count();
    assert!(stored <= 24, "{stored} intervals are on disk");
    scene.check_money();
    assert!(scene.host(ALICE).charges(&pool("other")).unwrap().is_none(), "of others nobody is told");
}

#[test]
fn prices_are_published_and_kept_over_a_restart() {
    let mut scene = Scene::new();
    scene.bring_up(ALICE, "hello", "10", 10 * HOUR);
    (0..360).for_each(|_| scene.pass(10));
    let record = scene.daemon().record(BTreeMap::new(), vec!["http://127.0.0.1:7700".into()]).unwrap();
    let cpu = &record.prices[&ResourceKind::Cpu];
    assert!((f64::from(cpu.hour.filled_ppm) / 1e6 - (1.0 - (-1.0_f64).exp())).abs() < 0.01, "{cpu:?}");
    assert!(cpu.spot > Rate::ZERO && cpu.hour.mean > Rate::ZERO && cpu.hour.histogram().is_some());
    assert_eq!(cpu.hour.history.len(), 24);
    let signed = scene.daemon().sign(&record).unwrap();
    assert!(signed.json().len() < RECORD_BYTES_MAX / 4, "{} bytes", signed.json().len());
    let offers = scene.host(BOB).offers(&pool("hello")).unwrap();
    assert_eq!(offers.prices[&ResourceKind::Cpu], *cpu, "the host itself says the same");
    scene.reopen();
    let again = scene.daemon().record(BTreeMap::new(), vec!["http://127.0.0.1:7700".into()]).unwrap();
    assert_eq!(again.prices, record.prices);
}

#[test]
fn the_owner_changes_times_and_limits_while_the_host_runs() {
    let scene = Scene::new();
    scene.bring_up(ALICE, "hello", "10", HOUR);
    let mut config = scene.config.clone();
    config.accounts_max = 1;
    config.interval = TimeSpan::from_seconds(5);
    config.capacity.remove(&ResourceKind::Disk);
    config.base_price.remove(&ResourceKind::Disk);
    scene.daemon().configure(config).unwrap();
    assert_eq!(charges(&scene, ALICE, "hello").interval, TimeSpan::from_seconds(5));
    let receipt = scene.receipt(BOB, "other", "1");
    assert_eq!(code(scene.host(BOB).fund(&pool("other"), &receipt)), "host.too-many-accounts");
    let offers = scene.host(BOB).offers(&pool("hello")).unwrap().offers;
    assert_eq!(offers[&ResourceKind::Disk].available, Quantity::ZERO, "disk is not sold any more, but still held");
    scene.pass(60);
    scene.check_money();
}

const ADDRESS: UniqueId = UniqueId::Address(std::net::Ipv4Addr::new(192, 0, 2, 10));

/// A host that sells two addresses and a few ports.
fn with_addresses() -> Scene {
    let mut scene = Scene::new();
    let base_price = Rate::from_credits_per_hour(0.1);
    let address = |last| UniqueId::Address([192, 0, 2, last].into());
    let addresses = UniqueSale { ranges: vec![(address(10), address(11))], base_price, ..UniqueSale::default() };
    let ports =
        UniqueSale { ranges: vec![(UniqueId::Port(8000), UniqueId::Port(8999))], base_price, ..UniqueSale::default() };
    scene.config.unique = BTreeMap::from([(UniqueKind::Ipv4Address, addresses), (UniqueKind::TcpPort, ports)]);
    scene.daemon().configure(scene.config.clone()).unwrap();
    scene
}

/// A bid for a small domain and for what is unique.
fn with_unique(duration: u64, weight: f64, wishes: &[UniqueWish]) -> Bid {
    let preferences = bid(duration, 1).preferences().clone();
    let unique = wishes.iter().map(|wish| (*wish, UniquePreference::new(weight))).collect();
    Bid::with_unique(TimeSpan::from_seconds(duration), preferences, unique).unwrap()
}

/// A domain with a fixed address.
fn addressed(path: &str) -> DomainSpec {
    let address = Addressing::Static { address: [192, 0, 2, 10].into(), prefix: 24, gateway: None };
    DomainSpec { nics: vec![NicSpec { address, ..NicSpec::dhcp("eth0") }], ..spec(path) }
}

#[test]
fn addresses_and_ports_are_bid_for_held_and_published() {
    let mut scene = with_addresses();
    scene.fund(ALICE, "hello", "10");
    let wishes = [UniqueWish::This(ADDRESS), UniqueWish::Any(UniqueKind::TcpPort)];
    let report = scene.bid(ALICE, "hello", with_unique(HOUR, 1.0, &wishes)).unwrap();
    assert_eq!(report.unique[&wishes[0]], ADDRESS);
    assert_eq!(report.unique[&wishes[1]], UniqueId::Port(8000), "any port is the cheapest free one");
    scene.pass(1800);
    let lines = charges(&scene, ALICE, "hello");
    assert!(lines.intervals.iter().flat_map(|interval| &interval.lines).any(|line| line.item == ChargeFor::Unique));

    let unique = scene.host(BOB).offers(&pool("hello")).unwrap().unique;
    let addresses = &unique[&UniqueKind::Ipv4Address].states;
    let standing: Vec<_> = addresses.iter().map(|state| state.standing).collect();
    assert_eq!(standing, [UniqueStanding::Held, UniqueStanding::Free]);
    assert_eq!(addresses[0].price, Rate::from_credits_per_hour(0.1), "nobody else wants it");
    assert!(addresses[0].prices.as_ref().unwrap().hour.mean > Rate::ZERO, "its price is remembered");
    assert_eq!(unique[&UniqueKind::TcpPort].states.len(), 2, "one port, and a range of all others");
    let record = scene.daemon().record(BTreeMap::new(), Vec::new()).unwrap();
    let published = record.unique[&UniqueKind::TcpPort];
    assert_eq!((published.count, published.free), (1000, 999));

    // What is not sold is refused, and a restart changes nothing.
    let other = UniqueWish::This(UniqueId::Address([192, 0, 2, 99].into()));
    assert_eq!(code(scene.bid(ALICE, "hello", with_unique(HOUR, 1.0, &[other]))), "host.unique-not-sold");
    scene.reopen();
    assert_eq!(scene.account(ALICE, "hello").unwrap().unique, report.unique);
    assert_eq!(scene.host(BOB).offers(&pool("hello")).unwrap().unique, unique);
    scene.check_money();
}

#[test]
fn a_port_leads_to_a_domain_of_the_account_that_holds_it_and_of_no_other() {
    let scene = with_addresses();
    let leads = |port| {
        let forwards = vec![PortForward { port, to: 22 }];
        DomainSpec { nics: vec![NicSpec { forwards, ..NicSpec::dhcp("eth0") }], ..spec("web.0") }
    };
    let port = UniqueWish::This(UniqueId::Port(8022));
    scene.fund(ALICE, "hello", "10");
    scene.bid(ALICE, "hello", with_unique(HOUR, 1.0, &[])).unwrap();
    let ask = |party, spec: &DomainSpec| scene.ask(party, making("hello", spec).remove(2));
    let not_held = |id| Err(HostError::NotHeld { pool: pool("hello"), id: UniqueId::Port(id) });
    assert_eq!(ask(ALICE, &leads(8022)), not_held(8022), "she has not bid on it");
    scene.bid(ALICE, "hello", with_unique(HOUR, 1.0, &[port])).unwrap();
    scene.start(ALICE, "hello", &leads(8022));
    assert_eq!(ask(ALICE, &leads(22)), not_held(22), "a port that is not sold leads nowhere");
    scene.fund(BOB, "hello", "10");
    scene.bid(BOB, "hello", with_unique(HOUR, 1.0, &[])).unwrap();
    assert_eq!(ask(BOB, &leads(8022)), not_held(8022), "nor does another's");

    // Whose bid has it no more has nothing that leads there.
    scene.bid(ALICE, "hello", with_unique(HOUR, 1.0, &[])).unwrap();
    scene.pass(10);
    assert_eq!(scene.domain(ALICE, "hello").unwrap().state, DomainState::Stopped);
    scene.check_money();
}

#[test]
fn a_domain_has_the_address_that_its_account_holds_and_no_other() {
    let scene = with_addresses();
    scene.fund(ALICE, "hello", "10");
    scene.bid(ALICE, "hello", bid(HOUR, 1)).unwrap();
    let refused = making("hello", &addressed("web.0")).into_iter().map(|request| scene.ask(ALICE, request));
    let refused: Vec<_> = refused.filter_map(Result::err).collect();
    assert!(
        refused.iter().any(|error| matches!(error, HostError::NotHeld { id, .. } if *id == ADDRESS)),
        "{refused:?}"
    );
    let wish = UniqueWish::This(ADDRESS);
    scene.bid(ALICE, "hello", with_unique(HOUR, 1.0, &[wish])).unwrap();
    scene.start(ALICE, "hello", &addressed("web.0"));
    scene.pass(10);
    assert!(scene.domain(ALICE, "hello").unwrap().state.is_active());

    // Bob wants it more, for three intervals: it is his, and Alice's domain goes down; the rest of her bid stays.
    scene.fund(BOB, "other", "400");
    scene.bid(BOB, "other", with_unique(HOUR, 50.0, &[wish])).unwrap();
    (0..6).for_each(|_| scene.pass(10));
    assert_eq!(scene.account(BOB, "other").unwrap().unique.get(&wish), Some(&ADDRESS));
    (0..8).for_each(|_| scene.pass(10));
    let domain = scene.domain(ALICE, "hello").unwrap();
    assert_eq!(domain.state, DomainState::Stopped, "two domains cannot have one address");
    let report = scene.account(ALICE, "hello").unwrap();
    assert!(report.unique.is_empty() && !report.allocation.is_empty(), "{report:?}");
    scene.check_money();
}

/// Who holds an address and runs nothing with it pays more from day to day.
#[test]
fn holding_an_address_without_using_it_becomes_dear() {
    let scene = with_addresses();
    scene.fund(ALICE, "hello", "400");
    let wish = UniqueWish::This(ADDRESS);
    scene.bid(ALICE, "hello", with_unique(40 * DAY, 20.0, &[wish])).unwrap();
    let price = |scene: &Scene| {
        let unique = scene.host(BOB).offers(&pool("hello")).unwrap().unique;
        unique[&UniqueKind::Ipv4Address].states[0].price
    };
    scene.pass(10);
    let before = price(&scene);
    scene.pass_hours(4 * 24);
    let account = scene.account(ALICE, "hello");
    assert!(price(&scene) > before, "{} is no more than {before}: {account:?}", price(&scene));
}

/// Numbers that are none, unknown words and times beyond all measure are refused by the calls, and nothing changes.
#[test]
fn calls_that_make_no_sense_are_refused_and_change_nothing() {
    let scene = Scene::new();
    scene.bring_up(ALICE, "hello", "10", HOUR);
    let before = scene.account(ALICE, "hello");
    let good = serde_json::to_value(BidRequest { generation: 1, bid: bid(HOUR, 1) }).unwrap();
    let broken = |path: &str, value: serde_json::Value| {
        let mut request = good.clone();
        *request.pointer_mut(path).unwrap_or_else(|| panic!("{path} of {good}")) = value;
        request
    };
    let mut unknown = good.clone();
    unknown["bid"]["preferences"]["gold"] = unknown["bid"]["preferences"]["cpu"].clone();
    for request in [
        broken("/bid/preferences/cpu/weight", serde_json::json!(0)),
        broken("/bid/preferences/cpu/weight", serde_json::json!("NaN")),
        broken("/bid/preferences/cpu/weight", serde_json::json!(1e300)),
        broken("/bid/preferences/cpu/contingency", serde_json::json!(1)),
        broken("/bid/duration", serde_json::json!(0)),
        broken("/bid/duration", serde_json::json!(u64::MAX)),
        broken("/bid/duration", serde_json::json!(-1)),
        unknown,
    ] {
        let code = code(scene.put_raw(ALICE, "/v1/accounts/hello/bid", &request));
        assert_eq!(code, "call.malformed", "{request}");
        assert_eq!(scene.account(ALICE, "hello"), before, "{request}");
    }
    assert_eq!(
        scene.put_raw(ALICE, "/v1/accounts/hello/bid", &good).map(|_| ()).err().map(|error| error.to_string()),
        None
    );
    scene.check_money();
}
