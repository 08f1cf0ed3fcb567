//! `up` and `down` from end to end over real daemons: with every call failing before or after it is carried out, every
//! call made twice, and the run killed at every record of its journal. At the end everything is as it should be.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use support::faults::{Faults, How};
use support::site::{ALICE, BOB, World, down, failures, pool, up};
use tycoon_executor::journal::{self, AfterRecord};
use tycoon_executor::{ExecutorError, status};
use tycoon_lang::pool::Pool;
use tycoon_market::Credits;
use tycoon_planner::Saving;
use tycoon_planner::world::History;

fn first() -> Pool {
    pool(
        "pool hello {\n    budget 10 for=\"1h\"\n    domain web count=3 { image \"std:tiny\"; memory \"512MiB\"; }\n}\n",
    )
}

/// The same with more memory each, and one domain more.
fn grown() -> Pool {
    pool("pool hello {\n    budget 10 for=\"1h\"\n    domain web count=4 { image \"std:tiny\"; memory \"1GiB\"; }\n}\n")
}

/// One domain only.
fn shrunk() -> Pool {
    pool(
        "pool hello {\n    budget 10 for=\"1h\"\n    domain web count=1 { image \"std:tiny\"; memory \"512MiB\"; }\n}\n",
    )
}

/// What happens to a pool in its life; `act` runs each part.
fn life(world: &World, mut act: impl FnMut(&mut dyn FnMut(&tycoon_executor::run::Runner))) {
    for description in [first(), grown(), shrunk()] {
        act(&mut |runner| up(runner, &description));
        world.check_up(ALICE, &description);
        world.pass(300);
        world.check_money();
    }
    act(&mut |runner| down(runner, &first().name));
    world.check_down(ALICE);
    // What was set aside and never handed in would come back by itself; nothing was left to.
    assert_eq!(world.bank.books().unwrap().in_escrow, Credits::ZERO);
}

/// A head, and workers that are told where it is.
fn cluster() -> Pool {
    pool(
        "pool cluster {\n    budget 10 for=\"1h\"\n    domain head { image \"std:tiny\"; memory \"512MiB\"; }\n    \
         domain worker count=2 { image \"std:tiny\"; memory \"512MiB\"; cloud-init { file \"/head\" \
         (f)\"${head.eth0.ip}\"; }; }\n}\n",
    )
}

#[test]
fn workers_are_told_the_address_of_their_head() {
    let world = World::new(3);
    let runner = world.runner(ALICE, &Arc::default(), None);
    let run = runner.up(&cluster(), &mut |_| true).unwrap().unwrap();
    assert!(run.report.succeeded(), "{:?}", failures(run));
    world.check_up(ALICE, &cluster());
    let domains = world.domains(ALICE);
    let of =
        |path: &str| domains.iter().find(|domain| domain.ownership.as_ref().unwrap().path.as_str() == path).unwrap();
    let address = of("head").address.unwrap().to_string();
    for worker in ["worker.0", "worker.1"] {
        let late = &of(worker).spec.as_ref().unwrap().cloud_init.late;
        assert_eq!(late.get("head.eth0.ip"), Some(&Some(address.clone())), "{worker}");
    }
    let again = runner.up(&cluster(), &mut |_| true).unwrap().unwrap();
    assert!(again.plan.is_empty(), "{:?}", again.plan.steps);
}

#[test]
fn a_pool_comes_up_changes_and_goes_down() {
    let world = World::new(3);
    let runner = world.runner(ALICE, &Arc::default(), None);
    let run = runner.up(&first(), &mut |_| true).unwrap().unwrap();
    assert!(run.report.succeeded(), "{:?}", failures(run));
    world.check_up(ALICE, &first());
    let again = runner.up(&first(), &mut |_| true).unwrap().unwrap();
    assert!(again.plan.is_empty(), "{:?}", again.plan.steps);
    world.pass(600);
    let run = runner.up(&grown(), &mut |_| true).unwrap().unwrap();
    assert!(run.report.succeeded(), "{:?}", failures(run));
    world.check_up(ALICE, &grown());
    let run = runner.down(&first().name, &Saving::AsAsked, &mut |_| true).unwrap().unwrap();
    let charged = run.charged;
    assert!(run.report.succeeded(), "{:?}", failures(run));
    world.check_down(ALICE);
    assert_eq!(world.balance(ALICE).checked_add(charged), Some(Credits::from_micros(1_000_000_000)));
    let again = runner.down(&first().name, &Saving::AsAsked, &mut |_| true).unwrap().unwrap();
    assert!(again.plan.is_empty());
}

#[test]
fn nothing_is_done_that_is_not_approved() {
    let world = World::new(2);
    let faults = Arc::default();
    let runner = world.runner(ALICE, &faults, None);
    assert!(runner.up(&first(), &mut |_| false).unwrap().is_none());
    world.check_down(ALICE);
    assert_eq!(world.balance(ALICE), Credits::from_micros(1_000_000_000));
    assert_eq!(journal::read(&world.journal(ALICE, "hello")).unwrap(), []);
    up(&runner, &first());
    assert!(runner.down(&first().name, &Saving::AsAsked, &mut |_| false).unwrap().is_none());
    world.check_up(ALICE, &first());
}

#[test]
fn every_call_may_be_made_twice() {
    let world = World::new(3);
    let faults: Arc<Faults> = Arc::default();
    faults.repeat();
    life(&world, |act| act(&world.runner(ALICE, &faults, None)));
}

/// Runs the whole life once without faults and tells how many calls each part makes.
fn calls_of_a_life() -> u64 {
    let world = World::new(3);
    let faults: Arc<Faults> = Arc::default();
    life(&world, |act| act(&world.runner(ALICE, &faults, None)));
    faults.calls()
}

/// Steps run side by side, so that the number of a call says no more than roughly when it is made; every third is tried.
fn fail_each_call(how: How) {
    let calls = calls_of_a_life();
    assert!(calls > 100, "{calls}");
    for number in (0..calls).step_by(3) {
        let world = World::new(3);
        let faults: Arc<Faults> = Arc::default();
        faults.fail(number, how);
        life(&world, |act| act(&world.runner(ALICE, &faults, None)));
    }
}

#[test]
fn any_call_may_be_lost() {
    fail_each_call(How::Before);
}

#[test]
fn any_answer_may_be_lost() {
    fail_each_call(How::After);
}

/// A whole row of calls fails, more than a step is tried: the step fails, and the next run makes it good.
#[test]
fn a_line_that_is_down_for_a_while_only_delays() {
    let calls = calls_of_a_life();
    for start in (0..calls).step_by(11) {
        let world = World::new(3);
        let faults: Arc<Faults> = Arc::default();
        (start..start + 12)
            .for_each(|number| faults.fail(number, if number % 2 == 0 { How::After } else { How::Before }));
        life(&world, |act| act(&world.runner(ALICE, &faults, None)));
    }
}

/// The process dies right after a record is on disk, whatever it was about to do next. Of `parts` parts of all records
/// this is the one with the number `part`.
fn kill_at_each_record(part: u64, parts: u64) {
    let records = {
        let world = World::new(3);
        life(&world, |act| act(&world.runner(ALICE, &Arc::default(), None)));
        journal::read(&world.journal(ALICE, "hello")).unwrap().len() as u64
    };
    assert!(records > 50, "{records}");
    for killed_at in (1..=records).filter(|record| record % parts == part) {
        let world = World::new(3);
        let faults: Arc<Faults> = Arc::default();
        let written = Arc::new(AtomicU64::new(0));
        life(&world, |act| {
            let (dying, count) = (faults.clone(), written.clone());
            let hook: AfterRecord = Arc::new(move |_| {
                if count.fetch_add(1, Ordering::SeqCst) + 1 == killed_at {
                    dying.kill();
                    panic!("killed at record {killed_at}");
                }
            });
            let killed = catch_unwind(AssertUnwindSafe(|| act(&world.runner(ALICE, &faults, Some(hook)))));
            if killed.is_err() {
                assert!(written.load(Ordering::SeqCst) >= killed_at, "it failed, and was not killed");
                faults.revive();
                world.check_money();
                act(&world.runner(ALICE, &faults, None));
            }
        });
    }
}

#[test]
fn a_run_that_is_killed_at_any_even_record_is_taken_up_again() {
    kill_at_each_record(0, 2);
}

#[test]
fn a_run_that_is_killed_at_any_odd_record_is_taken_up_again() {
    kill_at_each_record(1, 2);
}

/// The journal is lost with the machine that ran the pool: another machine takes it down.
#[test]
fn a_pool_goes_down_without_its_journal() {
    let world = World::new(3);
    let runner = world.runner(ALICE, &Arc::default(), None);
    up(&runner, &first());
    up(&runner, &grown());
    std::fs::remove_file(world.journal(ALICE, "hello")).unwrap();
    down(&runner, &first().name);
    world.check_down(ALICE);
    assert_eq!(world.bank.books().unwrap().in_escrow, Credits::ZERO);
}

#[test]
fn two_people_s_pools_of_one_name_do_not_meet() {
    let world = World::new(2);
    let runners = [ALICE, BOB].map(|party| world.runner(party, &Arc::default(), None));
    std::thread::scope(|scope| {
        for runner in &runners {
            scope.spawn(|| up(runner, &first()));
        }
    });
    for party in [ALICE, BOB] {
        world.check_up(party, &first());
    }
    world.pass(60);
    down(&runners[0], &first().name);
    world.check_down(ALICE);
    world.check_up(BOB, &first());
    let seen = status::pool_status(&*runners[1].site, &first().name, &History::default()).unwrap();
    assert_eq!(seen.domains.len(), 3);
    assert!(status::pool_status(&*runners[0].site, &first().name, &History::default()).unwrap().is_absent());
    down(&runners[1], &first().name);
    world.check_down(BOB);
}

/// Between the quote and the bid the quote ran out and somebody came in for little money. He has his grace, so that the
/// bid has to wait, and the run says so instead of failing at the first disk.
#[test]
fn a_bid_that_has_to_wait_fails_plainly_and_comes_in_later() {
    let world = World::new(1);
    let faults: Arc<Faults> = Arc::default();
    let (place, bids) = (world.clone(), AtomicU64::new(0));
    faults.before_each(move |call| {
        if call == "bid" && bids.fetch_add(1, Ordering::SeqCst) == 0 {
            place.pass(120);
            place.reserve_memory(BOB, 4, "0.01");
        }
    });
    let runner = world.runner(ALICE, &faults, None);
    let run = runner.up(&first(), &mut |_| true).unwrap().unwrap();
    let failures = failures(run);
    assert_eq!(failures.len(), 1, "{failures:?}");
    let (step, reason) = &failures[0];
    assert!(step == "bidding" && reason.contains("has to wait"), "{failures:?}");
    assert_eq!(world.domains(ALICE), []);
    world.check_money();
    world.pass(301);
    up(&runner, &first());
    world.check_up(ALICE, &first());
    down(&runner, &first().name);
    world.check_down(ALICE);
}

/// Two runs of one pool at a time would undo each other's work.
#[test]
fn a_pool_that_is_worked_on_is_locked() {
    let world = World::new(1);
    let runner = world.runner(ALICE, &Arc::default(), None);
    let other = world.runner(ALICE, &Arc::default(), None);
    let mut seen = None;
    runner
        .up(&first(), &mut |_| {
            seen = Some(other.down(&first().name, &Saving::AsAsked, &mut |_| true).map(|_| ()));
            true
        })
        .unwrap();
    match seen.unwrap() {
        Err(ExecutorError::Lock(error)) => assert!(error.to_string().contains("in use by process"), "{error}"),
        other => panic!("{other:?}"),
    }
    world.check_up(ALICE, &first());
}
