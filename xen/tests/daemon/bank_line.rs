//! The line to the bank fails; the bank ends what the host believes to be open.

use tycoon_bank::ledger::EscrowEnd;
use tycoon_market::auctioneer::AccountState;
use tycoon_market::{Credits, EscrowId, Statement, StatementTerms, TimeSpan};
use tycoon_rpc::Signer as _;
use tycoon_xen::protocol::HostError;

use super::scene::*;

#[test]
fn an_account_is_closed_without_the_bank_and_settled_later() {
    for line in [Line::Cut, Line::Deaf] {
        for is_restarted in [false, true] {
            let mut scene = Scene::new();
            scene.bring_up(ALICE, "hello", "10", 10 * HOUR);
            scene.pass(600);
            scene.wire.set(line);
            let closed = scene.close(ALICE, "hello").unwrap();
            assert!(!closed.is_settled, "{line:?}");
            assert!(!scene.daemon().is_idle(), "it has something to tell still");
            assert_eq!(scene.domains(), [], "domains do not wait for the bank");
            let unsettled = scene.host(ALICE).offers(&pool("hello")).unwrap().unsettled;
            assert_eq!(unsettled.len(), 1);
            scene.pass(60);
            assert!(!scene.close(ALICE, "hello").unwrap().is_settled);
            if is_restarted {
                scene.reopen();
            }
            scene.wire.set(Line::Works);
            scene.pass(60);
            let again = scene.close(ALICE, "hello").unwrap();
            assert_eq!((again.charged, again.refunded, again.is_settled), (closed.charged, closed.refunded, true));
            assert_eq!(scene.balance(OWNER), closed.charged);
            assert_eq!(scene.host(ALICE).offers(&pool("hello")).unwrap().unsettled, []);
            assert!(scene.daemon().is_idle());
            let settled = scene.balance(ALICE);
            let calls = scene.wire.calls();
            scene.pass(10 * HOUR);
            assert_eq!((scene.balance(ALICE), scene.wire.calls()), (settled, calls), "it is told once");
            assert_eq!(scene.bank.books().unwrap().in_escrow, Credits::ZERO);
            scene.check_money();
        }
    }
}

#[test]
fn a_host_that_cannot_reach_the_bank_says_so() {
    let scene = Scene::new();
    scene.bring_up(ALICE, "hello", "10", 10 * HOUR);
    scene.wire.set(Line::Cut);
    (0..5).for_each(|_| scene.pass(HOUR));
    let faults = scene.daemon().faults();
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(faults[0].reason.contains("the line is cut") && faults[0].times >= 5, "{faults:?}");
}

/// Every call to the bank in turn is lost before or after it gets there; at the end everything is as if none was.
#[test]
fn any_lost_call_to_the_bank_is_made_good() {
    let life = |fault: Option<(u64, Line)>| {
        let scene = Scene::new();
        if let Some((number, line)) = fault {
            scene.wire.fail(number, line);
        }
        scene.bring_up(ALICE, "hello", "4", 10 * HOUR);
        scene.fund(ALICE, "hello", "6");
        for _ in 0..4 {
            scene.pass(HOUR);
            scene.check_money();
        }
        scene.refund(ALICE, "hello", "3").unwrap();
        scene.pass(1_800);
        scene.close(ALICE, "hello").unwrap();
        scene.pass(10);
        scene.check_money();
        assert!(scene.close(ALICE, "hello").unwrap().is_settled);
        let end = (scene.balance(ALICE), scene.balance(OWNER), scene.bank.books().unwrap().in_escrow);
        (end, scene.wire.calls())
    };
    let (end, calls) = life(None);
    assert!(calls > 10, "{calls}");
    for number in 0..calls {
        for line in [Line::Cut, Line::Deaf] {
            assert_eq!(life(Some((number, line))).0, end, "call {number} {line:?}");
        }
    }
}

/// The bank has heard nothing for a day and gives the money back: the host does not spend what it no longer has.
#[test]
fn what_the_bank_has_ended_is_not_spent() {
    let scene = Scene::new();
    scene.bring_up(ALICE, "hello", "100", 1_000 * HOUR);
    scene.pass_hours(2);
    let told = scene.balance(OWNER);
    scene.wire.set(Line::Cut);
    scene.pass_hours(25);
    // The bank notices when it is next asked anything.
    scene.bank_client(ALICE).own_account().unwrap();
    let escrow = scene.account(ALICE, "hello").unwrap().escrows[0].escrow;
    assert_eq!(scene.escrow(escrow).end, Some(EscrowEnd::Lapsed));
    assert_eq!(scene.balance(OWNER), told, "what was not told in time is not paid");
    scene.wire.set(Line::Works);
    scene.pass(10);
    let report = scene.account(ALICE, "hello").unwrap();
    assert!(report.balance.is_zero(), "{report:?}");
    assert!(matches!(report.state, AccountState::Warned { .. }), "{report:?}");
    assert!(scene.daemon().faults().iter().any(|fault| fault.reason.contains("are not paid")));
    scene.check_money();
    let calls = scene.wire.calls();
    scene.pass(60);
    assert_eq!(scene.wire.calls(), calls, "the bank is not asked about it again");

    // She may go on with new money.
    scene.fund(ALICE, "hello", "100");
    scene.pass(10);
    assert_eq!(scene.account(ALICE, "hello").unwrap().state, AccountState::Active);
    assert!(scene.close(ALICE, "hello").unwrap().is_settled);
    scene.check_money();
}

/// A receipt of an escrow that has lapsed already brings nothing for long.
#[test]
fn money_that_is_gone_before_it_is_handed_in_is_found_out() {
    let scene = Scene::new();
    let receipt = scene.receipt(ALICE, "hello", "10");
    scene.clock.advance(TimeSpan::from_seconds(25 * HOUR));
    scene.bank_client(ALICE).own_account().unwrap();
    scene.host(ALICE).fund(&pool("hello"), &receipt).unwrap();
    assert!(scene.account(ALICE, "hello").unwrap().balance.is_zero(), "the bank was asked at once");
    assert!(scene.close(ALICE, "hello").unwrap().is_settled);
    assert_eq!(scene.balance(ALICE), credits("1000"));
    scene.check_money();
}

/// A host that was restored from a copy has forgotten what it has told the bank since.
#[test]
fn a_host_restored_from_an_older_copy_goes_on_from_what_the_bank_knows() {
    let mut scene = Scene::new();
    scene.bring_up(ALICE, "hello", "100", 100 * HOUR);
    let spare = scene.fund(ALICE, "hello", "1").escrows[1].escrow;
    scene.pass_hours(3);
    scene.copy_memory("copy");
    scene.pass_hours(5);
    let paid = scene.balance(OWNER);
    scene.reopen_from("copy");
    scene.daemon().resume(Some(TimeSpan::from_seconds(120))).unwrap();
    assert!(scene.account(ALICE, "hello").unwrap().charged < paid, "it has forgotten five hours");
    scene.pass_hours(1);
    assert_eq!(scene.balance(OWNER), paid, "nothing is paid twice");
    scene.pass_hours(26);
    assert!(scene.balance(OWNER) > paid, "it is paid again once more has been charged than was paid");
    let told = scene.account(ALICE, "hello").unwrap();
    assert!(told.escrows.iter().all(|told| scene.escrow(told.escrow).end.is_none()), "the bank hears from it");
    assert_eq!(scene.escrow(spare).drawn, Credits::ZERO);
    let closed = scene.close(ALICE, "hello").unwrap();
    assert!(closed.is_settled);
    assert_eq!(scene.bank.books().unwrap().in_escrow, Credits::ZERO);
    scene.check_money();
}

/// The same where the copy is older than the end of the account.
#[test]
fn an_account_that_a_restored_host_believes_to_be_open_is_found_to_be_closed() {
    let mut scene = Scene::new();
    scene.bring_up(ALICE, "hello", "10", 100 * HOUR);
    scene.copy_memory("copy");
    scene.pass_hours(2);
    let closed = scene.close(ALICE, "hello").unwrap();
    scene.reopen_from("copy");
    scene.daemon().resume(None).unwrap();
    assert!(scene.account(ALICE, "hello").unwrap().balance.is_zero());
    assert_eq!(scene.balance(OWNER), closed.charged);
    scene.close(ALICE, "hello").unwrap();
    assert_eq!(scene.balance(ALICE), credits("1000").checked_sub(closed.charged).unwrap());
    scene.check_money();
}

/// A host whose memory is lost takes no receipt that it may have drawn from before, and takes others.
#[test]
fn a_lost_memory_credits_nothing_a_second_time() {
    let mut scene = Scene::new();
    let used = scene.receipt(ALICE, "hello", "10");
    let unused = scene.receipt(ALICE, "hello", "20");
    scene.host(ALICE).fund(&pool("hello"), &used).unwrap();
    scene.bid(ALICE, "hello", bid(10 * HOUR, 1)).unwrap();
    scene.pass_hours(2);
    scene.reopen_from("empty");
    assert_eq!(code(scene.host(ALICE).fund(&pool("hello"), &used)), "host.receipt");
    scene.wire.set(Line::Cut);
    assert_eq!(code(scene.host(ALICE).fund(&pool("hello"), &unused)), "host.bank", "it may be asked again later");
    scene.wire.set(Line::Works);
    let report = scene.host(ALICE).fund(&pool("hello"), &unused).unwrap();
    assert_eq!(report.funded, credits("20"));
    scene.close(ALICE, "hello").unwrap();
    scene.clock.advance(TimeSpan::from_seconds(25 * HOUR));
    scene.bank_client(ALICE).own_account().unwrap();
    assert_eq!(scene.bank.books().unwrap().in_escrow, Credits::ZERO, "what the lost memory held came back by itself");
    scene.check_money();
}

/// Somebody else told the bank something with the host's key: the numbers are taken, and not believed.
#[test]
fn a_statement_that_the_host_did_not_make_does_not_stop_it() {
    let scene = Scene::new();
    scene.bring_up(ALICE, "hello", "10", 100 * HOUR);
    scene.pass_hours(1);
    let escrow: EscrowId = scene.account(ALICE, "hello").unwrap().escrows[0].escrow;
    let drawn = scene.escrow(escrow).drawn;
    let terms =
        StatementTerms { escrow, sequence: 100, drawn_total: drawn, released_total: Credits::ZERO, closed: false };
    let statement = Statement::sign(terms, |bytes| HOST.secret().sign(bytes));
    scene.bank_client(HOST).settle(&statement).unwrap();
    scene.pass_hours(2);
    assert!(scene.escrow(escrow).drawn > drawn);
    let closed = scene.close(ALICE, "hello").unwrap();
    assert!(closed.is_settled);
    assert_eq!(scene.balance(OWNER), closed.charged);
    assert_eq!(
        scene.ask(ALICE, making("hello", &spec("web.0"))[3].clone()),
        Err(HostError::NoAccount { pool: pool("hello") })
    );
    scene.check_money();
}
