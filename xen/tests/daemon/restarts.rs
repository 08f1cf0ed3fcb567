//! The daemon ends and starts again, at any moment; or comes back with other settings, or without its memory.

use tycoon_market::auctioneer::AccountState;
use tycoon_market::{Credits, Quantity, Rate, ResourceKind, TimeSpan};
use tycoon_xen::daemon::DaemonError;
use tycoon_xen::market::{QuoteRequest, RefundRequest};
use tycoon_xen::status::DomainState;

use super::scene::*;

/// One thing that is done in a whole life.
type Operation = fn(&Scene);

/// A whole life of two accounts, operation by operation. Each may be repeated.
fn life() -> Vec<(&'static str, Operation)> {
    let mut life: Vec<(&'static str, Operation)> = vec![
        ("quote", |scene| {
            let minima = [(ResourceKind::Memory, Quantity::from_bytes(GIB))].into_iter().collect();
            scene.host(ALICE).quote(&QuoteRequest { pool: pool("hello"), minima }).unwrap();
        }),
        ("fund", |scene| redeem(scene, ALICE, 1)),
        ("fund Bob", |scene| redeem(scene, BOB, 2)),
        ("bid", |scene| {
            scene.bid(ALICE, "hello", bid(10 * HOUR, 1)).unwrap();
        }),
        ("bid Bob", |scene| {
            scene.bid(BOB, "hello", bid(10 * HOUR, 1)).unwrap();
        }),
        ("start", |scene| scene.start(ALICE, "hello", &spec("web.0"))),
        ("start Bob", |scene| scene.start(BOB, "hello", &spec("web.0"))),
    ];
    life.extend([("an hour", (|scene| scene.pass(HOUR)) as Operation); 3]);
    life.extend([
        ("fund again", (|scene| redeem(scene, ALICE, 3)) as Operation),
        ("half an hour", |scene| scene.pass(1_800)),
        ("refund", |scene| {
            scene.host(ALICE).refund(&pool("hello"), &RefundRequest { generation: 1, leave: credits("3") }).unwrap();
        }),
        ("close", |scene| {
            scene.close(ALICE, "hello").unwrap();
        }),
        ("an hour more", |scene| scene.pass(HOUR)),
        ("close Bob", |scene| {
            scene.close(BOB, "hello").unwrap();
        }),
        ("ten seconds", |scene| scene.pass(10)),
    ]);
    life
}

/// Hands in the escrow of this number of 10 credits, which is opened where it is not open yet.
fn redeem(scene: &Scene, party: Party, number: u8) {
    let order = tycoon_bank::ledger::EscrowOrder {
        id: tycoon_market::EscrowId::from_bytes([number; 16]),
        ..scene.order(party, "hello", "10")
    };
    let receipt = scene.bank_client(party).open_escrow(&order).unwrap();
    scene.host(party).fund(&pool("hello"), &receipt).unwrap();
}

/// All that the payers can see of the scene. (The owner may be told of what he earned a little earlier: a statement
/// whose acknowledgement was forgotten is sent again, brought up to date.)
fn picture(scene: &Scene) -> String {
    let accounts = [ALICE, BOB].map(|party| scene.account(party, "hello"));
    let balances = [ALICE, BOB].map(|party| scene.balance(party));
    format!("{accounts:?} {balances:?} {:?}", scene.domains())
}

#[test]
fn a_daemon_that_is_killed_after_any_operation_goes_on_as_if_nothing_had_happened() {
    let undisturbed = Scene::new();
    let mut pictures = Vec::new();
    for (_, operation) in life() {
        operation(&undisturbed);
        pictures.push(picture(&undisturbed));
    }
    let earned = undisturbed.balance(OWNER);
    for killed in 0..life().len() {
        let mut scene = Scene::new();
        for (number, (name, operation)) in life().into_iter().enumerate() {
            operation(&scene);
            if number == killed {
                scene.reopen();
            }
            assert_eq!(picture(&scene), pictures[number], "killed after {}, seen after {name}", life()[killed].0);
            scene.check_money();
        }
        assert_eq!(scene.balance(OWNER), earned);
    }
    let mut scene = Scene::new();
    for (number, (name, operation)) in life().into_iter().enumerate() {
        operation(&scene);
        scene.reopen();
        assert_eq!(picture(&scene), pictures[number], "killed after everything, seen after {name}");
        scene.check_money();
    }
    assert_eq!(scene.balance(OWNER), earned);
    assert_eq!(scene.bank.books().unwrap().in_escrow, Credits::ZERO);
}

/// The daemon is killed in the middle of its call to the bank: the answer, or the call, is lost, and so is what was in
/// its memory only.
#[test]
fn a_daemon_that_is_killed_while_it_speaks_to_the_bank_tells_it_again() {
    let live = |fault: Option<(u64, Line)>| {
        let mut scene = Scene::new();
        if let Some((number, line)) = fault {
            scene.wire.fail(number, line);
        }
        for (_, operation) in life() {
            let (before, fails_at) = (scene.wire.calls(), fault.map(|(number, _)| number));
            operation(&scene);
            if fails_at.is_some_and(|number| (before..scene.wire.calls()).contains(&number)) {
                scene.reopen();
            }
            scene.check_money();
        }
        scene.pass(10);
        assert_eq!(scene.bank.books().unwrap().in_escrow, Credits::ZERO, "{fault:?}");
        ([ALICE, BOB, OWNER].map(|party| scene.balance(party)), scene.wire.calls())
    };
    let (end, calls) = live(None);
    for number in 0..calls {
        for line in [Line::Cut, Line::Deaf] {
            assert_eq!(live(Some((number, line))).0, end, "call {number} {line:?}");
        }
    }
}

#[test]
fn a_lost_memory_never_deletes_or_stops_anybody_s_domains() {
    let mut scene = Scene::new();
    scene.bring_up(ALICE, "hello", "10", 10 * HOUR);
    scene.bring_up(BOB, "hello", "10", 10 * HOUR);
    scene.pass_hours(2);
    scene.reopen_from("empty");
    scene.daemon().resume(Some(TimeSpan::from_seconds(120))).unwrap();
    scene.pass_hours(30 * 24);
    for party in [ALICE, BOB] {
        assert_eq!(scene.domain(party, "hello").unwrap().state, DomainState::Running);
    }
    // Whoever has domains here is let in to look after them, and nobody else; an old plan is still an old one.
    assert_eq!(scene.daemon().account_of_key(&ALICE.key()).unwrap(), Some(ALICE.account()));
    let stale = tycoon_xen::protocol::Request::EnsureAbsent {
        pool: pool("hello"),
        generation: 0,
        path: spec("web.0").path,
        keep: Vec::new(),
    };
    assert!(scene.ask(ALICE, stale).is_err());
    for request in unmaking("hello", &spec("web.0").path) {
        scene.ask(ALICE, request).unwrap();
    }
    assert_eq!(scene.domain(ALICE, "hello"), None);
    assert!(scene.domain(BOB, "hello").is_some());

    // New money, and Bob's domain is his as before; what it used meanwhile is not charged to it.
    scene.fund(BOB, "hello", "10");
    scene.bid(BOB, "hello", bid(100 * HOUR, 1)).unwrap();
    scene.pass(10);
    let report = scene.account(BOB, "hello").unwrap();
    assert!(report.charged < credits("0.01"), "{report:?}");
    assert_eq!(report.state, AccountState::Active);
    scene.close(BOB, "hello").unwrap();
    assert_eq!(scene.domains(), []);
    scene.check_money();
}

#[test]
fn what_the_owner_has_set_anew_holds_after_a_restart() {
    for has_account in [false, true] {
        let mut scene = Scene::new();
        if has_account {
            scene.bring_up(ALICE, "hello", "100", 1_000 * HOUR);
            scene.pass(HOUR);
        }
        let before = scene.account(ALICE, "hello").map(|report| report.charged);
        let price = Rate::from_credits_per_hour(7.0);
        scene.config.base_price.insert(ResourceKind::Cpu, price);
        scene.config.base_price.remove(&ResourceKind::Disk);
        scene.config.capacity.insert(ResourceKind::Memory, Quantity::from_bytes(6 * GIB));
        scene.reopen();
        scene.daemon().resume(None).unwrap();
        assert_eq!(scene.account(ALICE, "hello").map(|report| report.charged), before, "the past keeps its price");
        let offers = scene.host(BOB).offers(&pool("hello")).unwrap().offers;
        assert_eq!(offers[&ResourceKind::Cpu].base_price, price);
        assert_eq!(offers[&ResourceKind::Disk].base_price, Rate::ZERO);
        assert_eq!(offers[&ResourceKind::Memory].capacity, Quantity::from_bytes(6 * GIB));
        scene.check_money();
    }
}

#[test]
fn the_owner_changes_prices_while_the_host_runs() {
    let scene = Scene::new();
    let mut config = scene.config.clone();
    config.base_price.insert(ResourceKind::Cpu, Rate::from_credits_per_hour(9.0));
    scene.daemon().configure(config.clone()).unwrap();
    scene.pass(60);
    let offers = scene.host(BOB).offers(&pool("hello")).unwrap().offers;
    assert_eq!(offers[&ResourceKind::Cpu].base_price, Rate::from_credits_per_hour(9.0));
    config.capacity.clear();
    assert!(matches!(scene.daemon().configure(config), Err(DaemonError::Config { .. })));
}

#[test]
fn time_alone_is_not_written_to_disk_while_nobody_is_here() {
    let scene = Scene::new();
    scene.bring_up(ALICE, "hello", "10", HOUR);
    scene.close(ALICE, "hello").unwrap();
    scene.pass(10);
    let tree = scene.database.open_tree("daemon").unwrap();
    let mut writes = tree.watch_prefix("state");
    (0..100).for_each(|_| scene.pass(10));
    scene.fund(BOB, "hello", "1");
    let mut count = 0;
    while writes.next_timeout(std::time::Duration::from_millis(10)).is_ok() {
        count += 1;
    }
    assert_eq!(count, 1, "funding is written once, a hundred ticks not at all");
}

/// One call, one write: what was decided, and the statements that it makes due.
#[test]
fn each_call_is_written_once() {
    let scene = Scene::new();
    let tree = scene.database.open_tree("daemon").unwrap();
    let mut writes = tree.watch_prefix("state");
    let mut count = |what: &str, expected: usize| {
        let mut count = 0;
        while writes.next_timeout(std::time::Duration::from_millis(10)).is_ok() {
            count += 1;
        }
        assert_eq!(count, expected, "{what}");
    };
    scene.fund(ALICE, "hello", "10");
    count("funding", 1);
    let mut log = scene.log_of("daemon").watch_prefix("log/");
    scene.bid(ALICE, "hello", bid(10 * HOUR, 1)).unwrap();
    count("bidding, of which only the bid is written", 0);
    assert!(log.next_timeout(std::time::Duration::from_millis(10)).is_ok());
    assert!(log.next_timeout(std::time::Duration::from_millis(10)).is_err(), "once");
    scene.start(ALICE, "hello", &spec("web.0"));
    count("domains", 0);
    scene.pass(10);
    count("a tick, of which only what was seen is written", 0);
    assert!(log.next_timeout(std::time::Duration::from_millis(10)).is_ok());
    assert!(log.next_timeout(std::time::Duration::from_millis(10)).is_err(), "once");
    scene.pass(HOUR);
    count("a tick with a statement, of which only what was seen is written, and the statement", 0);
    assert!((0..2).all(|_| log.next_timeout(std::time::Duration::from_millis(10)).is_ok()));
    assert!(log.next_timeout(std::time::Duration::from_millis(10)).is_err(), "once each");
    drop(log);
    scene.refund(ALICE, "hello", "3").unwrap();
    count("a refund", 1);
    scene.close(ALICE, "hello").unwrap();
    count("closing", 1);
}

#[test]
fn a_damaged_memory_stops_the_start_and_is_named() {
    let mut scene = Scene::new();
    scene.fund(ALICE, "hello", "10");
    let tree = scene.database.open_tree("daemon").unwrap();
    let good = tree.get("state").unwrap().unwrap();
    let open = |scene: &mut Scene| {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| scene.reopen()))
            .map_err(|panic| panic.downcast_ref::<String>().cloned().unwrap_or_default())
    };
    for (text, expected) in [("{", "Damaged"), (r#"{"version":99}"#, "Version"), (r#"{"version":2}"#, "Damaged")] {
        tree.insert("state", text).unwrap();
        let said = open(&mut scene).unwrap_err();
        assert!(said.contains(expected), "{text}: {said}");
    }
    tree.insert("state", good).unwrap();
    open(&mut scene).unwrap();
    assert_eq!(scene.account(ALICE, "hello").unwrap().funded, credits("10"));
}

/// What came in is written by itself, and what follows from it with the next change of another kind.
#[test]
fn money_bids_and_ticks_are_there_after_a_crash_with_all_that_followed_from_them() {
    let mut scene = Scene::new();
    scene.bring_up(ALICE, "hello", "10", HOUR);
    scene.fund(BOB, "other", "10");
    let tree = scene.log_of("daemon");
    let log = |tree: &sled::Tree| tree.scan_prefix(b"log/").count();
    let seen = |scene: &Scene| {
        let charges =
            [(ALICE, "hello"), (BOB, "other")].map(|(party, name)| scene.host(party).charges(&pool(name)).unwrap());
        let events = scene.host(OWNER).events(0, 0).unwrap();
        (scene.account(ALICE, "hello"), scene.account(BOB, "other"), charges, events)
    };
    for round in 1..=3 {
        scene.clock.advance(TimeSpan::from_seconds(1));
        scene.bid(BOB, "other", bid(round * HOUR, 1)).unwrap();
        scene.bid(ALICE, "hello", bid(10 * HOUR + round, 1)).unwrap();
        scene.pass(10);
    }
    assert_eq!(log(&tree), 11, "the first one's bid, money for the other, three bids of each, and three ticks");
    let before = seen(&scene);
    scene.reopen();
    assert_eq!(seen(&scene), before, "to the last digit, and nothing is told twice");
    // The log is read once: what is done next writes everything.
    scene.bid(BOB, "other", bid(5 * HOUR, 1)).unwrap();
    assert_eq!(log(&tree), 0);
    // More, with hours in which the bank is told, and another crash.
    for round in 0..30 {
        scene.pass(600);
        scene.bid(BOB, "other", bid(6 * HOUR + round, 1)).unwrap();
    }
    assert_eq!(log(&tree), 65, "thirty ticks, thirty bids, and the statements of five hours");
    let before = seen(&scene);
    let paid = scene.balance(OWNER);
    scene.reopen();
    assert_eq!(seen(&scene), before);
    scene.pass(10);
    assert!(scene.balance(OWNER) >= paid);
    scene.reopen();
    scene.close(ALICE, "hello").unwrap();
    scene.close(BOB, "other").unwrap();
    scene.check_money();
}

/// A host that an earlier program ran, which kept each record in a row of its own, and the log among them.
#[test]
fn a_state_of_version_3_is_read_and_written_anew() {
    let mut scene = Scene::new();
    scene.bring_up(ALICE, "hello", "10", HOUR);
    scene.fund(BOB, "other", "10");
    scene.close(BOB, "other").unwrap();
    scene.pass(10);
    // Everything is in the records, but for the last.
    scene.refund(ALICE, "hello", "3").unwrap();
    scene.fund(BOB, "third", "10");
    let tree = scene.database.open_tree("daemon").unwrap();
    let log = scene.log_of("daemon");
    for (key, value) in log.iter().map(Result::unwrap) {
        tree.insert(&key, value).unwrap();
        log.remove(key).unwrap();
    }
    let packs = || tree.scan_prefix("packs/").map(Result::unwrap);
    for (key, pack) in packs() {
        let collection = std::str::from_utf8(&key[b"packs/".len()..key.len() - 2]).unwrap();
        let records = zstd::decode_all(&*pack).unwrap();
        let records: std::collections::BTreeMap<String, serde_json::Value> = serde_json::from_slice(&records).unwrap();
        for (name, record) in records {
            tree.insert(format!("{collection}{name}"), serde_json::to_vec(&record).unwrap()).unwrap();
        }
        tree.remove(key).unwrap();
    }
    let once = String::from_utf8(tree.get("state").unwrap().unwrap().to_vec()).unwrap();
    tree.insert("state", once.replace("\"version\":5", "\"version\":3").as_bytes()).unwrap();
    let seen = |scene: &Scene| {
        let accounts = [(ALICE, "hello"), (BOB, "third"), (BOB, "other")];
        (accounts.map(|(party, name)| scene.account(party, name)), scene.host(OWNER).events(0, 0).unwrap())
    };
    let before = seen(&scene);
    scene.reopen();
    assert_eq!(seen(&scene), before);
    let closed = scene.close(BOB, "other").unwrap();
    assert_eq!(closed.refunded, credits("10"), "it is remembered");
    scene.pass(10);
    assert_eq!(["market/", "account/", "log/", "events/"].map(|rows| tree.scan_prefix(rows).count()), [0; 4]);
    assert!(packs().count() > 4);
    let before = seen(&scene);
    scene.reopen();
    assert_eq!(seen(&scene), before);
    scene.check_money();
}

/// A host that an earlier program ran, which kept the log among the records, with and without anything in it.
#[test]
fn a_state_of_version_4_is_read_and_written_anew() {
    for is_behind in [true, false] {
        let mut scene = Scene::new();
        scene.bring_up(ALICE, "hello", "10", HOUR);
        scene.fund(BOB, "other", "10");
        scene.pass(10);
        if !is_behind {
            scene.refund(ALICE, "hello", "3").unwrap();
        }
        let (tree, log) = (scene.database.open_tree("daemon").unwrap(), scene.log_of("daemon"));
        assert_eq!(log.scan_prefix("log/").count() > 0, is_behind);
        for (key, value) in log.iter().map(Result::unwrap) {
            tree.insert(&key, value).unwrap();
            log.remove(key).unwrap();
        }
        let once = String::from_utf8(tree.get("state").unwrap().unwrap().to_vec()).unwrap();
        tree.insert("state", once.replace("\"version\":5", "\"version\":4").as_bytes()).unwrap();
        let seen = |scene: &Scene| {
            let accounts = [(ALICE, "hello"), (BOB, "other")].map(|(party, name)| scene.account(party, name));
            (accounts, scene.host(OWNER).events(0, 0).unwrap())
        };
        let before = seen(&scene);
        scene.reopen();
        assert_eq!(seen(&scene), before);
        scene.bid(BOB, "other", bid(HOUR, 1)).unwrap();
        assert_eq!(
            ["log/", "events/"].map(|rows| tree.scan_prefix(rows).count()),
            [0; 2],
            "they are where they belong"
        );
        scene.bid(BOB, "other", bid(2 * HOUR, 1)).unwrap();
        assert_eq!(log.scan_prefix("log/").count(), 1);
        let before = seen(&scene);
        scene.reopen();
        assert_eq!(seen(&scene), before);
        scene.check_money();
    }
}

/// A tick is on disk before it is applied; what follows from it, statements and what is told, is written next.
#[test]
fn a_crash_between_a_tick_and_what_follows_from_it_loses_neither_statements_nor_events() {
    let mut scene = Scene::new();
    scene.bring_up(ALICE, "hello", "0.05", HOUR / 2);
    scene.pass(10);
    let events = |scene: &Scene| scene.host(OWNER).events(0, 0).unwrap();
    let before = events(&scene).events.len();
    // In an hour a statement is due, and the money is used up, of which it is told.
    scene.pass(HOUR);
    let (told, account) = (events(&scene), scene.account(ALICE, "hello"));
    let tree = scene.log_of("daemon");
    let (last, value) = tree.scan_prefix(b"log/").last().unwrap().unwrap();
    let entry = String::from_utf8(value.to_vec()).unwrap();
    assert!(entry.starts_with("{\"statements\":[{"), "{entry}");
    tree.remove(last).unwrap();
    assert!(told.events.len() > before, "{told:?}");
    for _ in before..told.events.len() {
        let (key, _) = tree.scan_prefix(b"events/").last().unwrap().unwrap();
        tree.remove(key).unwrap();
    }
    scene.reopen();
    scene.daemon().resume(None).unwrap();
    assert_eq!(
        (events(&scene), scene.account(ALICE, "hello")),
        (told.clone(), account),
        "as if there had been no crash"
    );
    scene.reopen();
    assert_eq!(events(&scene), told, "they are on disk again");
    scene.pass(10);
    scene.check_money();
}

/// However long nothing else happens, the log stays short enough to be read in a moment.
#[test]
fn the_log_is_taken_into_the_records_from_time_to_time() {
    let mut scene = Scene::new();
    scene.bring_up(ALICE, "hello", "10", HOUR);
    let tree = scene.log_of("daemon");
    let mut longest = 0;
    for _ in 0..600 {
        scene.pass(1);
        longest = longest.max(tree.scan_prefix(b"log/").count());
    }
    assert_eq!(longest, 257, "the bid, and 256 ticks");
    let before = (scene.account(ALICE, "hello"), scene.host(ALICE).charges(&pool("hello")).unwrap());
    scene.reopen();
    assert_eq!((scene.account(ALICE, "hello"), scene.host(ALICE).charges(&pool("hello")).unwrap()), before);
}
