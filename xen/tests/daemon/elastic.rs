//! Memory that follows its allocation, between what a domain needs and the most that it takes.

use std::sync::Arc;

use tycoon_market::bid::{Amount, Bid, Preference};
use tycoon_market::{Quantity, ResourceKind};
use tycoon_xen::memory::{Fault, FaultPlan, Faulty, Operation};
use tycoon_xen::protocol::Request;
use tycoon_xen::spec::{DomainSpec, RunRules};
use tycoon_xen::status::DomainState;

use super::scene::*;

/// Like [`spec`], and takes up to 5 GiB.
fn elastic(path: &str) -> DomainSpec {
    let rules = RunRules { memory_max_bytes: Some(5 * GIB), ..RunRules::default() };
    DomainSpec { rules, ..spec(path) }
}

/// The usual bid for one domain, with so much weight on up to 5 GiB of memory.
fn with_memory(weight: f64) -> Bid {
    let usual = bid(100 * HOUR, 1);
    let mut preferences = usual.preferences().clone();
    let amount = |gib| Amount::Quantity(Quantity::from_bytes(gib * GIB));
    preferences.insert(ResourceKind::Memory, Preference::new(weight, amount(1), amount(5)));
    Bid::new(usual.duration(), preferences).unwrap()
}

fn memory(scene: &Scene, party: Party) -> u64 {
    scene.domain(party, "hello").unwrap().memory_bytes
}

fn allocated(scene: &Scene, party: Party) -> u64 {
    scene.account(party, "hello").unwrap().allocation[&ResourceKind::Memory].amount()
}

/// Alone, and for good money, her domain has all the memory that it takes.
fn alice_has_all_she_takes(scene: &Scene) {
    scene.fund(ALICE, "hello", "300");
    scene.bid(ALICE, "hello", with_memory(1_000.0)).unwrap();
    scene.start(ALICE, "hello", &elastic("web.0"));
    scene.pass(10);
    assert_eq!(memory(scene, ALICE), 5 * GIB);
}

/// That the domain has what its account has, to a step.
fn follows(scene: &Scene, party: Party) {
    let (has, allocated) = (memory(scene, party), allocated(scene, party));
    assert!(has <= allocated && allocated - has <= GIB / 8, "{has} of {allocated}");
}

#[test]
fn memory_follows_its_allocation_within_its_limits() {
    let scene = Scene::new();
    alice_has_all_she_takes(&scene);

    // Bob wants as much, and gets nearly the same: what she had more goes to him, once it is free.
    scene.fund(BOB, "hello", "300");
    scene.bid(BOB, "hello", with_memory(1_000.0)).unwrap();
    scene.start(BOB, "hello", &elastic("web.0"));
    scene.pass(10);
    scene.pass(10);
    follows(&scene, ALICE);
    follows(&scene, BOB);
    assert!(memory(&scene, ALICE).abs_diff(memory(&scene, BOB)) < GIB / 4);
    let both = memory(&scene, ALICE) + memory(&scene, BOB);
    assert!(both > 6 * GIB, "and hardly any is idle: {both}");

    // She wants less of it.
    scene.bid(ALICE, "hello", with_memory(0.01)).unwrap();
    scene.pass(10);
    assert_eq!(memory(&scene, ALICE), GIB, "her own stays hers");
    scene.pass(10);
    follows(&scene, BOB);

    // Started again, it begins with its own, and has what it is given at the next look.
    let stop =
        Request::EnsureStopped { pool: pool("hello"), generation: 1, path: "web.0".parse().unwrap(), grace_ms: 0 };
    scene.ask(BOB, stop).unwrap();
    assert_eq!(memory(&scene, BOB), GIB);
    scene.start(BOB, "hello", &elastic("web.0"));
    scene.pass(10);
    follows(&scene, BOB);

    // Another domain of hers counts with what both need, whatever the first was given.
    scene.bid(BOB, "hello", bid(100 * HOUR, 2)).unwrap();
    scene.start(BOB, "hello", &spec("web.1"));
    scene.pass(10);
    let all: Vec<u64> = scene.domains().iter().map(|domain| domain.memory_bytes).collect();
    assert_eq!(all, [GIB, GIB, GIB]);
    scene.check_money();
}

/// Her domain is slow to give back what is his now.
#[test]
fn a_start_waits_for_memory_that_others_give_back() {
    let plan = (2..5).fold(FaultPlan::default(), |plan, call| plan.at(Operation::SetMemory, call, Fault::Before));
    let scene = Scene::with_machine(|memory| Arc::new(Faulty::new(memory, plan)));
    alice_has_all_she_takes(&scene);
    scene.fund(BOB, "hello", "300");
    scene.bid(BOB, "hello", bid(100 * HOUR, 6)).unwrap();
    scene.start(BOB, "hello", &DomainSpec { memory_bytes: 6 * GIB, ..spec("web.0") });
    assert_eq!(memory(&scene, BOB), 6 * GIB);
    assert!(memory(&scene, ALICE) <= 2 * GIB);
    scene.check_money();
}

#[test]
fn a_domain_gives_back_what_is_not_its_own_before_it_stands_still() {
    let scene = Scene::new();
    alice_has_all_she_takes(&scene);
    let path: tycoon_xen::spec::DomainPath = "web.0".parse().unwrap();
    let suspend = Request::EnsureSuspended { pool: pool("hello"), generation: 1, path: path.clone() };
    for _ in 0..2 {
        scene.ask(ALICE, suspend.clone()).unwrap();
        scene.pass(10);
        assert_eq!((memory(&scene, ALICE), state(&scene)), (GIB, DomainState::Paused));
    }
    scene.ask(ALICE, Request::EnsureRunning { pool: pool("hello"), generation: 1, path }).unwrap();
    scene.pass(10);
    assert_eq!(memory(&scene, ALICE), 5 * GIB);
}

fn state(scene: &Scene) -> DomainState {
    scene.domain(ALICE, "hello").unwrap().state
}

/// Its guest pays no heed to what it is told.
#[test]
fn what_keeps_memory_that_is_not_bought_any_more_is_shut_down() {
    let plan = (2..200).fold(FaultPlan::default(), |plan, call| plan.at(Operation::SetMemory, call, Fault::Before));
    let scene = Scene::with_machine(|memory| Arc::new(Faulty::new(memory, plan)));
    alice_has_all_she_takes(&scene);
    scene.bid(ALICE, "hello", with_memory(0.01)).unwrap();
    for _ in 0..29 {
        scene.pass(10);
        assert_eq!((memory(&scene, ALICE), state(&scene)), (5 * GIB, DomainState::Running));
    }
    scene.pass(20);
    assert_eq!((memory(&scene, ALICE), state(&scene)), (GIB, DomainState::Stopped));
    let told = scene.host(ALICE).events(0, 0).unwrap().events;
    assert!(told.iter().any(|event| event.what.word() == "hoarded"), "{told:?}");
    scene.check_money();
}
