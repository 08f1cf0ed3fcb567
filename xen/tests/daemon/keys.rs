//! Whose keys are whose, and how long.

use std::collections::BTreeMap;

use tycoon_bank::ledger::{KeyChange, KeyRole};
use tycoon_market::{Quantity, ResourceKind, TimeSpan};
use tycoon_xen::market::QuoteRequest;

use super::scene::*;

const SECOND: Party = Party(20);

#[test]
fn every_key_of_an_account_acts_for_it_also_the_first_to_come() {
    let scene = Scene::new();
    scene.add_key(ALICE, SECOND);
    let receipt = scene.receipt(ALICE, "hello", "10");
    let report = scene.host(SECOND).fund(&pool("hello"), &receipt).unwrap();
    assert_eq!(report.account, ALICE.account());
    assert_eq!(scene.host(SECOND).account(&pool("hello")).unwrap(), scene.account(ALICE, "hello"));
    for party in [ALICE, SECOND] {
        assert_eq!(scene.daemon().account_of_key(&party.key()).unwrap(), Some(ALICE.account()));
    }
    assert_eq!(scene.daemon().account_of_key(&BOB.key()).unwrap(), None, "nothing of Bob's is here");
}

/// Before the first receipt nobody knows whose key it is. What is held for it must not be in its own way later.
#[test]
fn a_quote_asked_for_with_another_key_serves_the_account() {
    let scene = Scene::new();
    scene.add_key(ALICE, SECOND);
    let minima = BTreeMap::from([(ResourceKind::Memory, Quantity::from_bytes(8 * GIB))]);
    scene.host(SECOND).quote(&QuoteRequest { pool: pool("hello"), minima }).unwrap();
    let receipt = scene.receipt(ALICE, "hello", "10");
    scene.host(SECOND).fund(&pool("hello"), &receipt).unwrap();
    scene.fund(BOB, "greedy", "100");
    assert_eq!(code(scene.bid(BOB, "greedy", memory_bid(HOUR, 1))), "host.not-available", "all is held for Alice");
    let bid = scene.bid(SECOND, "hello", memory_bid(HOUR, 8));
    assert!(bid.is_ok(), "{bid:?}");
}

#[test]
fn a_removed_key_loses_access_within_the_hour() {
    for (removed, kept) in [(SECOND, ALICE), (ALICE, SECOND)] {
        let scene = Scene::new();
        scene.add_key(ALICE, SECOND);
        scene.fund(ALICE, "hello", "10");
        scene.bid(ALICE, "hello", bid(100 * HOUR, 1)).unwrap();
        if removed == ALICE {
            // The account keeps its id, the hash of its first key, also without that key.
            let change = KeyChange::Put { key: SECOND.key(), role: KeyRole::Owner, limit: None };
            scene.bank_client(ALICE).change_keys(&ALICE.account(), &change).unwrap();
        }
        scene.bank_client(kept).change_keys(&ALICE.account(), &KeyChange::Remove { key: removed.key() }).unwrap();
        scene.pass(HOUR);
        assert!(scene.host(kept).account(&pool("hello")).unwrap().is_some());
        let refusal = scene.host(removed).close(&pool("hello"), 1);
        let expected = if removed == ALICE { "host.key-removed" } else { "host.no-account" };
        assert_eq!(code(refusal), expected);
        assert_eq!(scene.daemon().account_of_key(&removed.key()).unwrap(), None);
    }
}

#[test]
fn a_new_receipt_takes_a_removed_key_s_access_away_at_once() {
    let scene = Scene::new();
    scene.add_key(ALICE, SECOND);
    let escrow = scene.fund(ALICE, "hello", "10").escrows[0].escrow;
    let old = scene.bank_client(ALICE).escrow(&escrow).unwrap().receipt;
    scene.clock.advance(TimeSpan::from_seconds(1));
    scene.remove_key(ALICE, SECOND);
    assert!(scene.host(SECOND).account(&pool("hello")).unwrap().is_some(), "nobody has told the host yet");

    let new = scene.bank_client(ALICE).escrow(&escrow).unwrap().receipt;
    let report = scene.host(ALICE).fund(&pool("hello"), &new).unwrap();
    assert_eq!(report.funded, credits("10"), "the receipt still counts once");
    assert_eq!(scene.host(SECOND).account(&pool("hello")).unwrap(), None);
    let refusal = scene.host(SECOND).fund(&pool("hello"), &old);
    assert_eq!(code(refusal), "host.receipt", "an old receipt gives nothing back");
    assert_eq!(scene.host(SECOND).account(&pool("hello")).unwrap(), None);
}

/// A payer can have the bank name any key that has no account among her own. That gives her nothing of anybody's.
#[test]
fn nobody_takes_another_s_key_over_by_a_receipt() {
    let scene = Scene::new();
    scene.bring_up(ALICE, "hello", "10", HOUR);
    let change = KeyChange::Put { key: ALICE.key(), role: KeyRole::Spender, limit: None };
    let refused = scene.bank_client(BOB).change_keys(&BOB.account(), &change);
    assert_eq!(code(refused), "bank.key-taken", "the bank gives a key to one account only");

    // A receipt of another bank, or one that Bob writes himself, is not looked at.
    let mut receipt = scene.receipt(BOB, "hello", "1");
    receipt.terms.payer_keys.push(ALICE.key());
    assert_eq!(code(scene.host(BOB).fund(&pool("hello"), &receipt)), "host.receipt");
    assert!(scene.account(ALICE, "hello").is_some());

    // Not even an honest old one: the key was Bob's before it was Alice's.
    let shared = Party(30);
    scene.add_key(BOB, shared);
    let old = scene.receipt(BOB, "hello", "1");
    scene.clock.advance(TimeSpan::from_seconds(1));
    scene.remove_key(BOB, shared);
    scene.add_key(ALICE, shared);
    scene.fund(ALICE, "hello", "1");
    scene.host(BOB).fund(&pool("hello"), &old).unwrap();
    let seen = scene.host(shared).account(&pool("hello")).unwrap().unwrap();
    assert_eq!(seen.account, ALICE.account(), "the later receipt says whose the key is");
}
