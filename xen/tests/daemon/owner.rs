//! What the owner sets, whom she keeps out, what she earns; and what people are told of it.

use std::collections::{BTreeMap, BTreeSet};

use tycoon_market::auctioneer::AccountState;
use tycoon_market::{Credits, ResourceKind};
use tycoon_xen::events::Happening;
use tycoon_xen::market::PreviewRequest;
use tycoon_xen::owner::{EvictRequest, PolicyRequest};
use tycoon_xen::policy::PolicyName;
use tycoon_xen::protocol::{HostError, Request};

use crate::daemon::scene::*;

fn set(name: &str, value: &str) -> PolicyRequest {
    PolicyRequest { set: BTreeMap::from([(name.parse().unwrap(), value.to_owned())]), reset: BTreeSet::new() }
}

fn cpu_price(scene: &Scene) -> f64 {
    let config = scene.host(OWNER).owner_report().unwrap().config;
    (config.base_price_of(ResourceKind::Cpu).credits_per_hour() * 1000.0).round() / 1000.0
}

#[test]
fn a_price_holds_from_the_next_interval_on_and_through_a_restart_until_it_is_reset() {
    let mut scene = Scene::new();
    scene.bring_up(ALICE, "hello", "10", HOUR);
    let report = scene.host(OWNER).set_policy(&set("cpu-price", "0.75")).unwrap();
    assert_ne!(report.config, report.next_config);
    assert_eq!(cpu_price(&scene), 0.5, "nothing has changed yet");
    scene.pass(10);
    assert_eq!(cpu_price(&scene), 0.75);
    scene.reopen();
    scene.pass(10);
    assert_eq!(cpu_price(&scene), 0.75, "it is kept");
    let reset = PolicyRequest { set: BTreeMap::new(), reset: BTreeSet::from([PolicyName::CpuPrice]) };
    scene.host(OWNER).set_policy(&reset).unwrap();
    scene.pass(10);
    assert_eq!(cpu_price(&scene), 0.5);
    assert_eq!(code(scene.host(OWNER).set_policy(&set("cpu-price", "cheap"))), "host.policy");
    assert_eq!(code(scene.host(ALICE).set_policy(&set("cpu-price", "0"))), "host.not-owner");
}

#[test]
fn who_is_kept_out_is_put_out_and_cannot_come_back_but_reach_her_money() {
    let scene = Scene::new();
    scene.bring_up(ALICE, "hello", "10", HOUR);
    scene.host(OWNER).ban(ALICE.account(), true).unwrap();
    assert!(matches!(scene.account(ALICE, "hello").unwrap().state, AccountState::Warned { .. }));
    let receipt = scene.receipt(ALICE, "more", "1");
    assert_eq!(code(scene.host(ALICE).fund(&pool("more"), &receipt)), "host.banned");
    assert_eq!(code(scene.bid(ALICE, "hello", bid(HOUR, 1))), "host.banned");
    let path = spec("web.0").path;
    let run = Request::EnsureRunning { pool: pool("hello"), generation: 1, path };
    assert_eq!(scene.ask(ALICE, run), Err(HostError::Banned));
    assert!(scene.close(ALICE, "hello").unwrap().refunded > Credits::ZERO, "her money is hers");
    let banned = scene.host(OWNER).ban(ALICE.account(), false).unwrap().banned;
    assert!(banned.is_empty());
    scene.host(ALICE).fund(&pool("more"), &receipt).unwrap();
}

#[test]
fn who_is_put_out_is_warned_and_told_so() {
    let scene = Scene::new();
    scene.bring_up(ALICE, "hello", "10", HOUR);
    scene.bring_up(BOB, "other", "10", HOUR);
    let request = EvictRequest { account: ALICE.account(), pool: None };
    assert_eq!(scene.host(OWNER).evict(&request).unwrap().pools, [pool("hello")]);
    let words = |party| {
        let report = scene.host(party).events(0, 0).unwrap();
        report.events.iter().map(|event| event.what.word()).collect::<Vec<_>>()
    };
    assert_eq!(words(ALICE).last(), Some(&"warned"));
    assert!(!words(BOB).contains(&"warned"), "nobody is told of others' affairs");
    assert!(words(BOB).contains(&"funded") && words(BOB).contains(&"allocated"), "{:?}", words(BOB));
    assert!(words(OWNER).len() >= words(ALICE).len() + words(BOB).len(), "the owner is told of all");
    assert!(words(STRANGER).is_empty());
    let unknown = EvictRequest { account: STRANGER.account(), pool: None };
    assert_eq!(code(scene.host(OWNER).evict(&unknown)), "host.no-account");
}

#[test]
fn events_are_numbered_kept_through_restarts_and_asked_for_by_the_last_that_is_known() {
    let mut scene = Scene::new();
    scene.fund(ALICE, "hello", "10");
    let first = scene.host(ALICE).events(0, 0).unwrap();
    assert_eq!(first.events.len(), 1);
    assert!(matches!(first.events[0].what, Happening::Funded { amount, .. } if amount == credits("10")));
    scene.reopen();
    assert_eq!(scene.host(ALICE).events(0, 0).unwrap(), first);
    assert!(scene.host(ALICE).events(first.last, 0).unwrap().events.is_empty());
    scene.fund(ALICE, "hello", "5");
    let next = scene.host(ALICE).events(first.last, 20).unwrap();
    assert_eq!(next.events.iter().map(|event| event.number).collect::<Vec<_>>(), [first.last + 1]);
}

#[test]
fn income_is_drawn_when_the_owner_wants_it() {
    let scene = Scene::new();
    scene.bring_up(ALICE, "hello", "10", HOUR);
    scene.pass(600);
    let income = scene.host(OWNER).owner_report().unwrap().income;
    assert!(income.due > Credits::ZERO && income.paid == Credits::ZERO, "{income:?}");
    let before = scene.balance(OWNER);
    let report = scene.host(OWNER).withdraw().unwrap();
    assert_eq!((report.income.due, report.pending.len()), (Credits::ZERO, 0));
    assert_eq!(scene.balance(OWNER), before.checked_add(report.paid).unwrap());
    assert_eq!(scene.host(OWNER).withdraw().unwrap().paid, Credits::ZERO, "nothing is drawn twice");
    let closed = scene.close(ALICE, "hello").unwrap();
    assert_eq!(scene.host(OWNER).owner_report().unwrap().income.ever_charged, closed.charged);
}

#[test]
fn a_preview_shows_what_a_bid_would_bring_and_changes_nothing() {
    let scene = Scene::new();
    scene.fund(ALICE, "hello", "10");
    let before = scene.account(ALICE, "hello");
    let request = PreviewRequest { bid: bid(HOUR, 1), extra_funds: Credits::ZERO };
    let preview = scene.host(ALICE).preview(&pool("hello"), &request).unwrap();
    assert_eq!(preview.state, AccountState::Active);
    assert_eq!(scene.account(ALICE, "hello"), before);
    let account = scene.bid(ALICE, "hello", bid(HOUR, 1)).unwrap();
    assert_eq!((account.rate, account.allocation), (preview.rate, preview.allocation));
}

#[test]
fn a_stranger_has_no_domains_and_can_have_none() {
    let scene = Scene::new();
    let inspect = Request::Inspect { pool: None };
    let answer = scene.host(STRANGER).request(&inspect).unwrap().unwrap();
    assert_eq!(answer, tycoon_xen::protocol::Answer::Domains { domains: Vec::new() });
    let ensure = Request::EnsureImage { image: "std:tiny".into() };
    assert_eq!(code(scene.host(STRANGER).request(&ensure)), "host.no-account");
    scene.fund(ALICE, "hello", "10");
    scene.bid(ALICE, "hello", bid(HOUR, 1)).unwrap();
    assert!(scene.host(ALICE).request(&ensure).unwrap().is_ok());
}
