//! Which receipts a host takes, and how often.

use tycoon_market::{Credits, EscrowId, HostId, Rate, Receipt, TimeSpan};
use tycoon_rpc::Signer as _;
use tycoon_xen::spec::DomainSpec;

use super::scene::*;

/// The receipt with other terms, signed by the bank as if it had meant them.
fn signed(mut receipt: Receipt, change: impl FnOnce(&mut Receipt)) -> Receipt {
    change(&mut receipt);
    Receipt::sign(receipt.terms, |bytes| BANK.secret().sign(bytes))
}

#[test]
fn a_receipt_for_anybody_else_is_refused() {
    let scene = Scene::new();
    let good = || scene.receipt(ALICE, "hello", "10");
    let other_bank = || {
        let mut receipt = good();
        receipt.terms.bank = STRANGER.key();
        Receipt::sign(receipt.terms, |bytes| STRANGER.secret().sign(bytes))
    };
    let table: [(&str, Receipt); 8] = [
        ("another host", signed(good(), |r| r.terms.host = HostId::of(&STRANGER.key()))),
        ("another owner", signed(good(), |r| r.terms.beneficiary = BOB.account())),
        ("another pool", scene.receipt(ALICE, "other", "10")),
        ("another payer", scene.receipt(BOB, "hello", "10")),
        ("a changed amount", {
            let mut forged = good();
            forged.terms.amount = credits("1000");
            forged
        }),
        ("another bank", other_bank()),
        ("an escrow that a restored bank does not know", {
            signed(good(), |r| r.terms.escrow = EscrowId::from_bytes([0xee; 16]))
        }),
        ("an escrow whose time is over", signed(good(), |r| r.terms.longest = TimeSpan::ZERO)),
    ];
    for (what, receipt) in table {
        let refusal = scene.host(ALICE).fund(&pool("hello"), &receipt);
        assert_eq!(code(refusal), "host.receipt", "{what}");
        assert_eq!(scene.account(ALICE, "hello"), None, "{what}: nothing was opened");
    }
    let refusal = scene.host(STRANGER).fund(&pool("hello"), &good());
    assert_eq!(code(refusal), "host.receipt", "a stolen receipt");
    scene.check_money();
}

#[test]
fn a_receipt_counts_once_whatever_is_done_with_it() {
    let mut scene = Scene::new();
    let receipt = scene.receipt(ALICE, "hello", "10");
    for _ in 0..3 {
        let report = scene.host(ALICE).fund(&pool("hello"), &receipt).unwrap();
        assert_eq!((report.funded, report.escrows.len()), (credits("10"), 1));
        scene.reopen();
    }
    scene.close(ALICE, "hello").unwrap();
    for _ in 0..2 {
        let refusal = scene.host(ALICE).fund(&pool("hello"), &receipt);
        assert_eq!(code(refusal), "host.receipt-used");
        assert_eq!(scene.account(ALICE, "hello"), None, "no empty account is left by a refusal");
        scene.reopen();
    }
    assert_eq!(scene.balance(ALICE), credits("1000"));
    scene.check_money();
}

/// Closed receipts are remembered for 400 days. One that lasts longer could be handed in again after that.
#[test]
fn a_receipt_that_outlasts_the_host_s_memory_counts_once_all_the_same() {
    let scene = Scene::new();
    let mut order = scene.order(ALICE, "hello", "10");
    order.longest = TimeSpan::from_seconds(3 * 365 * DAY);
    let receipt = scene.bank_client(ALICE).open_escrow(&order).unwrap();
    scene.host(ALICE).fund(&pool("hello"), &receipt).unwrap();
    scene.close(ALICE, "hello").unwrap();
    scene.pass(500 * DAY);
    assert_eq!(code(scene.host(ALICE).fund(&pool("hello"), &receipt)), "host.receipt");
    assert_eq!(scene.account(ALICE, "hello"), None);
    scene.check_money();
}

/// The bank lets draw for the longest duration only: what the host would charge after it, it would not be paid.
#[test]
fn nothing_is_charged_to_an_escrow_whose_time_is_over() {
    let scene = Scene::new();
    let mut order = scene.order(ALICE, "hello", "100");
    order.longest = TimeSpan::from_seconds(2 * HOUR + 1_000);
    let receipt = scene.bank_client(ALICE).open_escrow(&order).unwrap();
    scene.host(ALICE).fund(&pool("hello"), &receipt).unwrap();
    scene.bid(ALICE, "hello", bid(100 * HOUR, 1)).unwrap();
    scene.start(ALICE, "hello", &spec("web.0"));
    scene.pass_hours(3);
    let told = scene.account(ALICE, "hello").unwrap().escrows[0];
    let escrow = scene.escrow(order.id);
    assert!(escrow.end.is_some(), "it was closed when its time was over: {escrow:?}");
    assert_eq!((escrow.drawn, escrow.released), (told.drawn, told.released));
    assert_eq!(scene.balance(OWNER), told.drawn);
    assert!(scene.account(ALICE, "hello").unwrap().balance.is_zero());
    assert_eq!(scene.daemon().faults(), []);
    scene.check_money();
}

/// The bank refuses faster draws than the payer has allowed; it must hear of the escrow all the same.
#[test]
fn a_low_highest_rate_costs_no_more_than_it_says() {
    let scene = Scene::new();
    let mut order = scene.order(ALICE, "hello", "100");
    order.highest_rate = Rate::from_credits_per_hour(1.0);
    let receipt = scene.bank_client(ALICE).open_escrow(&order).unwrap();
    scene.host(ALICE).fund(&pool("hello"), &receipt).unwrap();
    scene.bid(ALICE, "hello", bid(HOUR, 1)).unwrap();
    scene.start(ALICE, "hello", &DomainSpec { vcpus: 4, ..spec("web.0") });
    scene.pass_hours(30);
    let told = scene.account(ALICE, "hello").unwrap();
    assert!(told.charged <= credits("30"), "{told:?}");
    assert_eq!(scene.escrow(order.id).end, None, "the bank has heard of it each day");
    let closed = scene.close(ALICE, "hello").unwrap();
    assert!(closed.is_settled);
    assert!(scene.balance(OWNER) <= credits("30"));
    assert_eq!(scene.bank.books().unwrap().in_escrow, Credits::ZERO);
    scene.check_money();
}
