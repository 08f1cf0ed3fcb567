//! Out of money: warned, stopped, deleted, on the hypervisor too. And a hypervisor that fails.

use std::sync::Arc;

use tycoon_market::auctioneer::{AccountState, Reason};
use tycoon_market::bid::{Amount, Bid, Preference};
use tycoon_market::{Credits, Quantity, ResourceKind, TimeSpan, Timestamp};
use tycoon_xen::hypervisor::Hypervisor;
use tycoon_xen::memory::{Fault, FaultPlan, Faulty, Operation};
use tycoon_xen::protocol::{HostError, Request};
use tycoon_xen::spec::{DomainSpec, RunRules};
use tycoon_xen::status::DomainState;

use super::scene::*;

fn state(scene: &Scene) -> Option<AccountState> {
    scene.account(ALICE, "hello").map(|report| report.state)
}

#[test]
fn who_runs_out_of_money_is_warned_then_stopped_then_deleted() {
    let scene = Scene::new();
    scene.bring_up(ALICE, "hello", "1", HOUR);
    while matches!(state(&scene), Some(AccountState::Active)) {
        scene.pass(60);
        assert!(scene.now() < Timestamp::from_seconds(1_800_000_000 + 2 * HOUR as i64), "{:?}", state(&scene));
    }
    assert!(matches!(state(&scene), Some(AccountState::Warned { reason: Reason::OutOfFunds, .. })));
    assert_eq!(scene.domain(ALICE, "hello").unwrap().state, DomainState::Running, "she has her grace");
    scene.check_money();

    scene.pass(301);
    assert!(matches!(state(&scene), Some(AccountState::Stopped { reason: Reason::OutOfFunds, .. })));
    let domain = scene.domain(ALICE, "hello").unwrap();
    assert_eq!(domain.state, DomainState::Stopped);
    assert_eq!(domain.volumes.len(), 1, "her disk stays");
    let start = making("hello", &spec("web.0")).pop().unwrap();
    assert_eq!(scene.ask(ALICE, start.clone()), Err(HostError::NotPaid { pool: pool("hello") }));

    // New money, and everything is as before.
    scene.fund(ALICE, "hello", "1");
    assert_eq!(state(&scene), Some(AccountState::Active));
    scene.ask(ALICE, start).unwrap();
    scene.pass(2 * HOUR);
    assert_eq!(scene.domain(ALICE, "hello").unwrap().state, DomainState::Stopped);

    scene.pass_hours(6 * 24);
    assert!(scene.domain(ALICE, "hello").is_some());
    scene.pass_hours(24);
    assert_eq!(scene.domains(), [], "a week after it was stopped its disk goes");
    assert_eq!(state(&scene), None);
    assert_eq!(scene.balance(ALICE), credits("998"));
    assert_eq!(scene.balance(OWNER), credits("2"));
    let closed = scene.close(ALICE, "hello").unwrap();
    assert_eq!((closed.charged, closed.is_settled), (credits("2"), true), "who asks later is told what came of it");
    scene.check_money();
}

#[test]
fn an_account_that_is_put_out_goes_the_same_way() {
    let scene = Scene::new();
    scene.bring_up(ALICE, "hello", "100", 1_000 * HOUR);
    assert!(!scene.daemon().evict(&BOB.at("hello")).unwrap());
    assert!(scene.daemon().evict(&ALICE.at("hello")).unwrap());
    assert!(matches!(state(&scene), Some(AccountState::Warned { reason: Reason::Evicted, .. })));
    scene.pass(301);
    assert_eq!(scene.domain(ALICE, "hello").unwrap().state, DomainState::Stopped);
    assert_eq!(code(scene.bid(ALICE, "hello", bid(HOUR, 1))), "host.evicted");
    let closed = scene.close(ALICE, "hello").unwrap();
    assert!(closed.is_settled && closed.refunded > credits("99"));
    scene.check_money();
}

/// A gap of days is led through as if somebody had looked all the time.
#[test]
fn a_long_gap_is_caught_up_at_once() {
    let scene = Scene::new();
    scene.bring_up(ALICE, "hello", "1", HOUR);
    scene.pass(8 * DAY);
    assert_eq!(scene.domains(), []);
    assert_eq!(state(&scene), None);
    scene.check_money();
}

/// The machine was off for three days: at most two minutes are charged, and deadlines wait as long.
#[test]
fn time_in_which_the_daemon_was_down_is_not_charged() {
    let mut scene = Scene::new();
    scene.bring_up(ALICE, "hello", "100", 100 * HOUR);
    scene.pass_hours(1);
    let before = scene.account(ALICE, "hello").unwrap();
    scene.clock.advance(TimeSpan::from_seconds(10 * HOUR));
    scene.reopen();
    scene.daemon().resume(Some(TimeSpan::from_seconds(120))).unwrap();
    let after = scene.account(ALICE, "hello").unwrap();
    let charged = after.charged.checked_sub(before.charged).unwrap();
    assert!(charged <= credits("0.2"), "{charged} for two minutes");
    let (end_before, end_after) = (before.expires_at.unwrap(), after.expires_at.unwrap());
    assert_eq!(end_after.since(end_before).micros(), (10 * HOUR - 120) * 1_000_000);
    scene.check_money();
}

/// The whole machine lost its power: nobody ran, so that nobody pays for it.
#[test]
fn who_did_not_run_while_the_daemon_was_down_pays_nothing() {
    let machine = std::sync::OnceLock::new();
    let mut scene = Scene::with_machine(|memory| {
        let memory = Arc::new(memory);
        machine.set(memory.clone()).ok().unwrap();
        memory
    });
    scene.bring_up(ALICE, "hello", "100", 100 * HOUR);
    scene.bring_up(BOB, "hello", "100", 100 * HOUR);
    scene.pass(60);
    let before = [ALICE, BOB].map(|party| scene.account(party, "hello").unwrap().charged);
    machine.get().unwrap().power_cycle(scene.now()).unwrap();
    scene.clock.advance(TimeSpan::from_seconds(HOUR));
    scene.ask(BOB, making("hello", &spec("web.0"))[3].clone()).unwrap();
    scene.reopen();
    scene.daemon().resume(Some(TimeSpan::from_seconds(120))).unwrap();
    let after = [ALICE, BOB].map(|party| scene.account(party, "hello").unwrap().charged);
    assert_eq!(after[0], before[0], "Alice's domain is down");
    assert!(after[1] > before[1], "Bob's runs");
    scene.pass(10);
    assert!(scene.account(ALICE, "hello").unwrap().charged > before[0], "what is reserved is paid for again");
    scene.check_money();
}

/// Whatever the hypervisor does not do at first, it is asked again at the next tick.
#[test]
fn what_the_hypervisor_refuses_is_repaired_by_the_next_tick() {
    let scene = |plan: FaultPlan| Scene::with_machine(|memory| Arc::new(Faulty::new(memory, plan)));
    for fault in [Fault::Before, Fault::After] {
        // The weight.
        let broken = scene(FaultPlan::seeded(1).at(Operation::SetCpu, 1, fault));
        broken.bring_up(ALICE, "hello", "10", 10 * HOUR);
        assert!(broken.daemon().faults().iter().any(|fault| fault.what.starts_with("setting the CPU weight")));
        broken.pass(10);
        let whole = scene(FaultPlan::default());
        whole.bring_up(ALICE, "hello", "10", 10 * HOUR);
        whole.pass(10);
        assert_eq!(broken.domain(ALICE, "hello").unwrap().weight, whole.domain(ALICE, "hello").unwrap().weight);

        // The shutdown.
        let broken = scene(FaultPlan::seeded(1).at(Operation::Stop, 1, fault));
        broken.bring_up(ALICE, "hello", "1", HOUR);
        broken.pass(3 * HOUR);
        broken.pass(10);
        assert_eq!(broken.domain(ALICE, "hello").unwrap().state, DomainState::Stopped);

        // The removal.
        let broken = scene(FaultPlan::seeded(1).at(Operation::Remove, 1, fault));
        broken.bring_up(ALICE, "hello", "10", HOUR);
        let closed = broken.close(ALICE, "hello").unwrap();
        assert!(closed.is_settled, "the money does not wait for the hypervisor");
        broken.pass(10);
        assert_eq!(broken.domains(), []);
        broken.check_money();
    }
}

/// The hypervisor does not answer when the daemon is back: what is charged of the downtime stays limited, whoever calls first.
#[test]
fn a_downtime_is_charged_as_little_where_the_hypervisor_answers_late() {
    let live = |failing: Option<u64>| {
        let plan = failing.map_or_else(FaultPlan::default, |call| FaultPlan::default().at_call(call, Fault::Before));
        let machine = std::sync::OnceLock::new();
        let mut scene = Scene::with_machine(|memory| {
            let faulty = Arc::new(Faulty::new(memory, plan));
            machine.set(faulty.clone()).ok().unwrap();
            faulty
        });
        scene.bring_up(ALICE, "hello", "100", 100 * HOUR);
        scene.fund(BOB, "other", "10");
        scene.pass(60);
        let before = scene.account(ALICE, "hello").unwrap().charged;
        scene.clock.advance(TimeSpan::from_seconds(10 * HOUR));
        scene.reopen();
        let calls = machine.get().unwrap().calls().len() as u64;
        let resumed = scene.daemon().resume(Some(TimeSpan::from_seconds(120)));
        assert_eq!(resumed.is_err(), failing.is_some(), "{resumed:?}");
        scene.bid(BOB, "other", bid(HOUR, 1)).unwrap();
        scene.fund(BOB, "third", "10");
        scene.pass(10);
        scene.check_money();
        let charged = scene.account(ALICE, "hello").unwrap().charged.checked_sub(before).unwrap();
        assert!(charged <= credits("0.2"), "{charged} for two minutes");
        calls
    };
    let calls = live(None);
    live(Some(calls + 1));
}

/// Each call of a whole life fails in turn, and once more for the call after it: no domain is left, no credit lost.
#[test]
fn any_call_to_the_hypervisor_may_fail() {
    let life = |plan: FaultPlan| {
        let machine = std::sync::OnceLock::new();
        let scene = Scene::with_machine(|memory| {
            let faulty = Arc::new(Faulty::new(memory, plan));
            machine.set(faulty.clone()).ok().unwrap();
            faulty
        });
        let again = |what: &str, act: &mut dyn FnMut() -> bool| {
            (0..5).find(|_| act()).unwrap_or_else(|| panic!("{what} does not succeed"));
        };
        let receipt = scene.receipt(ALICE, "hello", "10");
        again("funding", &mut || scene.host(ALICE).fund(&pool("hello"), &receipt).is_ok());
        again("bidding", &mut || scene.bid(ALICE, "hello", bid(10 * HOUR, 1)).is_ok());
        for request in making("hello", &spec("web.0")) {
            again("making", &mut || scene.ask(ALICE, request.clone()).is_ok());
        }
        scene.clock.advance(TimeSpan::from_seconds(HOUR));
        again("ticking", &mut || scene.daemon().tick().is_ok());
        scene.check_money();
        again("refunding", &mut || scene.refund(ALICE, "hello", "3").is_ok());
        again("closing", &mut || scene.close(ALICE, "hello").is_ok_and(|closed| closed.is_settled));
        again("ticking", &mut || scene.daemon().tick().is_ok());
        again("ticking", &mut || scene.daemon().tick().is_ok());
        let faulty = machine.get().unwrap();
        assert_eq!(faulty.inner().domains(scene.now()).unwrap(), []);
        scene.check_money();
        assert_eq!(scene.bank.books().unwrap().in_escrow, Credits::ZERO);
        let sum = Credits::checked_sum([scene.balance(ALICE), scene.balance(OWNER)]);
        assert_eq!(sum, Some(credits("1000")));
        faulty.calls().len() as u64
    };
    let calls = life(FaultPlan::default());
    assert!(calls > 20, "{calls}");
    for number in 1..=calls {
        for fault in [Fault::Before, Fault::After] {
            life(FaultPlan::default().at_call(number, fault));
            life(FaultPlan::default().at_call(number, fault).at_call(number + 1, fault));
        }
    }
}

/// The hypervisor is gone for two days: nobody is charged for what nobody could measure, and the bank hears of the
/// host all the same.
#[test]
fn a_dead_hypervisor_does_not_make_the_bank_believe_that_the_host_is_dead() {
    let plan = (3..=600).fold(FaultPlan::seeded(1), |plan, call| plan.at(Operation::Domains, call, Fault::Before));
    let scene = Scene::with_machine(|memory| Arc::new(Faulty::new(memory, plan)));
    scene.fund(ALICE, "hello", "10");
    scene.bid(ALICE, "hello", bid(100 * HOUR, 1)).unwrap();
    for _ in 0..48 {
        scene.clock.advance(TimeSpan::from_seconds(HOUR));
        assert!(scene.daemon().tick().is_err());
    }
    assert_eq!(code(scene.close(ALICE, "hello")), "host.hypervisor");
    let escrow = scene.account(ALICE, "hello").unwrap().escrows[0].escrow;
    assert_eq!(scene.escrow(escrow).end, None);
    scene.check_money();
}

/// A domain that is not to burst stays within its share of an idle machine, and the cap follows the share.
#[test]
fn a_cap_holds_where_nobody_else_wants_the_cpu_and_follows_the_share() {
    let scene = Scene::new();
    let capped = |name: &str, is_capped| {
        let rules = RunRules { is_capped, ..RunRules::default() };
        DomainSpec { rules, vcpus: 2, ..spec(name) }
    };
    scene.fund(ALICE, "hello", "200");
    scene.bid(ALICE, "hello", bid(100 * HOUR, 1)).unwrap();
    scene.start(ALICE, "hello", &capped("web.0", true));
    scene.pass(10);
    let share = || scene.account(ALICE, "hello").unwrap().allocation[&ResourceKind::Cpu].amount();
    let used_in_an_hour = || {
        let before = scene.domain(ALICE, "hello").unwrap().cpu_time.micros();
        scene.pass(HOUR);
        scene.domain(ALICE, "hello").unwrap().cpu_time.micros() - before
    };
    let cap = || u64::from(scene.domain(ALICE, "hello").unwrap().cap_percent) * 10_000;
    // The most that the bid takes: one CPU of its two.
    assert_eq!((share(), cap()), (1_000_000, 1_000_000));
    assert_eq!(used_in_an_hour(), HOUR * 1_000_000, "it wants two CPUs, and has one");

    // Bob takes nearly everything.
    scene.fund(BOB, "hello", "900");
    let mut much = bid(10 * HOUR, 1);
    much = with_cpus(much, 4);
    scene.bid(BOB, "hello", much).unwrap();
    scene.pass(10);
    let less = share();
    assert!(less < 900_000 && less > cap() - 1 && less - cap() < 10_000, "{less} {}", cap());
    assert_eq!(used_in_an_hour(), HOUR * cap(), "Bob has nothing that runs, and Alice no more than her share");

    // What changes its mind bursts from the next interval on.
    let request = making("hello", &capped("web.0", false)).remove(2);
    scene.ask(ALICE, request).unwrap();
    scene.pass(10);
    assert_eq!(cap(), 0);
    assert_eq!(used_in_an_hour(), HOUR * 2_000_000);
    scene.check_money();
}

/// The same bid for up to so many CPUs.
fn with_cpus(bid: Bid, cpus: u64) -> Bid {
    let mut preferences = bid.preferences().clone();
    let all = Amount::Quantity(Quantity::from_cpus(cpus));
    preferences.insert(ResourceKind::Cpu, Preference::new(100.0, Amount::Quantity(Quantity::new(100_000)), all));
    Bid::new(bid.duration(), preferences).unwrap()
}

/// What is suspended uses no CPU, so that the rest of its account has all of the share, and the money lasts longer.
#[test]
fn a_suspended_domain_leaves_its_cpu_to_the_others_and_costs_less() {
    let scene = Scene::new();
    scene.fund(ALICE, "hello", "100");
    scene.bid(ALICE, "hello", bid(100 * HOUR, 2)).unwrap();
    scene.start(ALICE, "hello", &spec("web.0"));
    scene.start(ALICE, "hello", &spec("web.1"));
    let charged_in_an_hour = || {
        let before = scene.account(ALICE, "hello").unwrap().charged;
        scene.pass(HOUR);
        scene.account(ALICE, "hello").unwrap().charged.checked_sub(before).unwrap()
    };
    let weight = |path: &str| {
        let found = scene.domains().into_iter().find(|domain| domain.name.contains(path)).unwrap();
        (found.state, found.weight)
    };
    let busy = charged_in_an_hour();
    let half = weight("web.0").1;
    let request =
        |path: &str| Request::EnsureSuspended { pool: pool("hello"), generation: 1, path: path.parse().unwrap() };
    scene.ask(ALICE, request("web.1")).unwrap();
    assert_eq!(weight("web.1").0, DomainState::Paused);
    assert!(weight("web.0").1.abs_diff(2 * half) <= 1, "{} {half}", weight("web.0").1);
    scene.ask(ALICE, request("web.0")).unwrap();
    scene.pass(10);
    let idle = charged_in_an_hour();
    assert!(idle < busy && idle > Credits::ZERO, "memory and disk are paid for: {idle} after {busy}");
    scene.ask(ALICE, making("hello", &spec("web.0")).pop().unwrap()).unwrap();
    assert_eq!(weight("web.0").0, DomainState::Running);
    scene.check_money();
}
