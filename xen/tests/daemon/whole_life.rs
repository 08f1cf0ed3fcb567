//! The whole life of a host account, and what it costs.

use std::collections::BTreeMap;

use tycoon_bank::ledger::EscrowEnd;
use tycoon_market::auctioneer::AccountState;
use tycoon_market::{Credits, Quantity, ResourceKind};
use tycoon_xen::market::QuoteRequest;
use tycoon_xen::protocol::{Answer, Request};
use tycoon_xen::spec::DomainSpec;
use tycoon_xen::status::DomainState;

use super::scene::*;

/// Quote, escrow, fund, bid, domain up, time, refund, down, close: the money adds up to the micro-credit.
#[test]
fn every_credit_of_a_whole_life_is_somewhere() {
    let scene = Scene::new();
    let minima = BTreeMap::from([
        (ResourceKind::Cpu, Quantity::new(100_000)),
        (ResourceKind::Memory, Quantity::from_bytes(GIB)),
        (ResourceKind::Disk, Quantity::from_bytes(4 * GIB)),
    ]);
    let quote = scene.host(ALICE).quote(&QuoteRequest { pool: pool("hello"), minima: minima.clone() }).unwrap();
    assert_eq!((quote.account, quote.minima), (ALICE.account(), minima));

    scene.bring_up(ALICE, "hello", "10", 10 * HOUR);
    scene.check_money();
    assert_eq!(scene.balance(ALICE), credits("990"));
    let report = scene.account(ALICE, "hello").unwrap();
    assert_eq!(report.state, AccountState::Active);
    assert_eq!(report.balance, credits("10"));
    assert_eq!(scene.domain(ALICE, "hello").unwrap().state, DomainState::Running);

    scene.pass_hours(3);
    scene.check_money();
    let report = scene.account(ALICE, "hello").unwrap();
    // A credit an hour, and the base price of what it used of the CPU beyond its share.
    assert!(report.charged >= credits("2.9") && report.charged <= credits("4"), "{report:?}");
    assert_eq!(scene.balance(OWNER), report.charged, "the bank has been told every hour");

    let report = scene.refund(ALICE, "hello", "2").unwrap();
    assert_eq!(report.balance, credits("2"));
    scene.check_money();
    let after_refund = scene.balance(ALICE);
    assert_eq!(after_refund, credits("1000").checked_sub(report.charged).unwrap().checked_sub(credits("2")).unwrap());

    scene.pass(600);
    let closed = scene.close(ALICE, "hello").unwrap();
    assert!(closed.is_settled);
    assert_eq!(Credits::checked_sum([closed.charged, closed.refunded]), Some(credits("10")));
    assert_eq!(scene.balance(OWNER), closed.charged);
    assert_eq!(scene.balance(ALICE), credits("1000").checked_sub(closed.charged).unwrap());
    assert_eq!(scene.bank.books().unwrap().in_escrow, Credits::ZERO);
    scene.check_money();
    assert_eq!(scene.domains(), [], "closing takes the domains with it");
    assert_eq!(scene.account(ALICE, "hello"), None);
    assert!(scene.daemon().is_idle());
    assert_eq!(scene.daemon().faults(), []);
}

#[test]
fn repeating_any_call_changes_nothing() {
    let scene = Scene::new();
    let receipt = scene.receipt(ALICE, "hello", "10");
    let first = scene.host(ALICE).fund(&pool("hello"), &receipt).unwrap();
    assert_eq!(scene.host(ALICE).fund(&pool("hello"), &receipt).unwrap(), first);
    assert_eq!(first.funded, credits("10"));

    let first = scene.bid(ALICE, "hello", bid(HOUR, 1)).unwrap();
    assert_eq!(scene.bid(ALICE, "hello", bid(HOUR, 1)).unwrap(), first);
    for request in making("hello", &spec("web.0")) {
        let once = scene.ask(ALICE, request.clone()).unwrap();
        assert!(matches!(once, Answer::Ensured { changed: true, .. }), "{request:?}: {once:?}");
        let twice = scene.ask(ALICE, request.clone()).unwrap();
        assert!(matches!(twice, Answer::Ensured { changed: false, .. }), "{request:?}: {twice:?}");
    }
    let first = scene.refund(ALICE, "hello", "5").unwrap();
    assert_eq!(scene.refund(ALICE, "hello", "5").unwrap(), first);
    for request in unmaking("hello", &spec("web.0").path) {
        let once = scene.ask(ALICE, request.clone()).unwrap();
        assert!(matches!(once, Answer::Ensured { changed: true, .. }), "{request:?}: {once:?}");
        let twice = scene.ask(ALICE, request.clone()).unwrap();
        assert!(matches!(twice, Answer::Ensured { changed: false, .. }), "{request:?}: {twice:?}");
    }
    let first = scene.close(ALICE, "hello").unwrap();
    assert_eq!(scene.close(ALICE, "hello").unwrap(), first);
    scene.pass(DAY);
    assert_eq!(scene.close(ALICE, "hello").unwrap(), first);
    assert_eq!(code(scene.host(ALICE).fund(&pool("hello"), &receipt)), "host.receipt-used");
    scene.check_money();
}

#[test]
fn a_pool_comes_back_after_it_was_closed() {
    let scene = Scene::new();
    for _ in 0..3 {
        scene.bring_up(ALICE, "hello", "10", HOUR);
        scene.pass(600);
        assert!(scene.close(ALICE, "hello").unwrap().is_settled);
        scene.check_money();
    }
    assert_eq!(scene.domains(), []);
}

/// Money that waits behind an older receipt, or with a bid that waits, is not drawn: the bank has to hear of it all the
/// same, or it takes the host for dead.
#[test]
fn money_that_is_not_drawn_for_days_is_kept() {
    let scene = Scene::new();
    scene.bring_up(ALICE, "hello", "200", 1_000 * HOUR);
    scene.fund(ALICE, "hello", "50");
    scene.fund(BOB, "idle", "20");
    scene.pass_hours(3 * 24);
    scene.check_money();
    for party in [ALICE, BOB] {
        for report in scene.host(party).accounts().unwrap() {
            for told in report.escrows {
                assert_eq!(scene.escrow(told.escrow).end, None, "{told:?}");
            }
        }
    }
    assert_eq!(scene.close(BOB, "idle").unwrap().refunded, credits("20"));
    assert!(scene.close(ALICE, "hello").unwrap().is_settled);
    assert_eq!(scene.balance(BOB), credits("1000"));
    scene.check_money();
}

#[test]
fn a_receipt_that_is_used_up_is_closed_while_the_account_goes_on() {
    let scene = Scene::new();
    let first = scene.fund(ALICE, "hello", "2").escrows[0].escrow;
    let second = scene.fund(ALICE, "hello", "8").escrows[1].escrow;
    scene.bid(ALICE, "hello", bid(10 * HOUR, 1)).unwrap();
    scene.start(ALICE, "hello", &spec("web.0"));
    scene.pass_hours(4);
    assert_eq!(scene.escrow(first).end, Some(EscrowEnd::Closed));
    assert_eq!(scene.escrow(first).drawn, credits("2"));
    assert_eq!(scene.escrow(second).end, None);
    scene.close(ALICE, "hello").unwrap();
    scene.check_money();
}

#[test]
fn weights_follow_shares() {
    let scene = Scene::new();
    // Both together want more CPU than there is.
    for (party, amount) in [(ALICE, "30"), (BOB, "10")] {
        scene.fund(party, "hello", amount);
        scene.bid(party, "hello", bid(HOUR, 4)).unwrap();
        scene.start(party, "hello", &DomainSpec { vcpus: 4, ..spec("web.0") });
    }
    scene.pass(10);
    let share = |party| scene.account(party, "hello").unwrap().allocation[&ResourceKind::Cpu].cpus();
    let weight = |party| f64::from(scene.domain(party, "hello").unwrap().weight);
    let (alice, bob) = (share(ALICE), share(BOB));
    assert!(alice > 2.0 * bob, "{alice} {bob}");
    assert!((weight(ALICE) / weight(BOB) - alice / bob).abs() < 0.01, "weights {} {}", weight(ALICE), weight(BOB));

    let before = weight(BOB);
    scene.fund(BOB, "hello", "100");
    scene.pass(10);
    assert!(weight(BOB) > 1.5 * before, "more money, more weight: {} after {before}", weight(BOB));
    assert!((weight(ALICE) / weight(BOB) - share(ALICE) / share(BOB)).abs() < 0.01);

    // Two domains of one account share what is its.
    let together = weight(ALICE);
    scene
        .ask(
            ALICE,
            Request::EnsureStopped { pool: pool("hello"), generation: 1, path: spec("web.0").path, grace_ms: 0 },
        )
        .unwrap();
    for (path, vcpus) in [("web.0", 1), ("web.1", 3)] {
        scene.start(ALICE, "hello", &DomainSpec { vcpus, ..spec(path) });
    }
    scene.pass(10);
    let weights: Vec<f64> = scene
        .domains()
        .iter()
        .filter(|domain| domain.ownership.as_ref().unwrap().account == ALICE.account())
        .map(|domain| f64::from(domain.weight))
        .collect();
    assert!((weights[1] / weights[0] - 3.0).abs() < 0.01, "{weights:?}");
    assert!((weights.iter().sum::<f64>() / together - 1.0).abs() < 0.05, "{weights:?} {together}");
}
