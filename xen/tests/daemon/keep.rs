//! Domains that end by themselves are started again, as often and as soon as their policy says, and no others.

use std::sync::{Arc, OnceLock};

use tycoon_market::TimeSpan;
use tycoon_xen::events::Happening;
use tycoon_xen::memory::{Fault, FaultPlan, Faulty, MemoryHost, Operation};
use tycoon_xen::protocol::{Answer, Request};
use tycoon_xen::restart::{RestartAfter, RestartPolicy, RestartReport};
use tycoon_xen::spec::{DomainSpec, RunRules};
use tycoon_xen::status::DomainState;

use super::scene::*;

/// The policy of these tests: three times within ten minutes, after 5, 10 and 20 seconds.
const POLICY: RestartPolicy = RestartPolicy {
    after: RestartAfter::Failure,
    times: 3,
    within: TimeSpan::from_seconds(600),
    backoff: TimeSpan::from_seconds(5),
    max_backoff: TimeSpan::from_seconds(60),
};

fn kept(restart: RestartPolicy) -> DomainSpec {
    DomainSpec { rules: RunRules { restart: Some(restart), ..RunRules::default() }, ..spec("web.0") }
}

/// A scene with the machine itself, so that its domains can be made to end.
struct Life {
    scene: Scene,
    machine: Arc<MemoryHost>,
}

impl Life {
    /// Alice has one domain with a policy, which runs and has been seen to.
    fn with(policy: RestartPolicy) -> Self {
        let life = Self::without_domain();
        life.scene.fund(ALICE, "hello", "100");
        life.scene.bid(ALICE, "hello", bid(1_000 * HOUR, 1)).unwrap();
        life.scene.start(ALICE, "hello", &kept(policy));
        life.pass(1);
        life
    }

    fn without_domain() -> Self {
        let machine = OnceLock::new();
        let scene = Scene::with_machine(|memory| {
            let memory = Arc::new(memory);
            machine.set(memory.clone()).ok().unwrap();
            memory
        });
        Self { scene, machine: machine.into_inner().unwrap() }
    }

    /// Lets time pass as a served host does: it looks, and starts what is due.
    fn pass(&self, seconds: u64) {
        self.scene.pass(seconds);
        self.scene.daemon().restart_due();
    }

    fn name(&self) -> String {
        self.scene.domain(ALICE, "hello").unwrap().name
    }

    fn crash(&self) {
        assert!(self.machine.crash(&self.name(), self.scene.now()).unwrap(), "it ran");
    }

    fn state(&self) -> DomainState {
        self.scene.domain(ALICE, "hello").unwrap().state
    }

    fn report(&self) -> Option<RestartReport> {
        let asked = self.scene.ask(ALICE, Request::Inspect { pool: Some(pool("hello")) }).unwrap();
        let Answer::Domains { domains } = asked else { panic!("{asked:?}") };
        domains[0].restarts
    }

    /// What happened to domains, in words.
    fn told(&self) -> Vec<String> {
        let events = self.scene.host(ALICE).events(0, 0).unwrap().events;
        let told = events.iter().filter_map(|event| match &event.what {
            Happening::Ended { is_crash, restart_at, .. } => {
                let how = if *is_crash { "crashed" } else { "ended" };
                Some(restart_at.map_or(how.to_owned(), |at| format!("{how}, again in {}", at.since(event.at))))
            }
            Happening::Restarted { restarts, .. } => Some(format!("restarted {restarts}")),
            Happening::GaveUp { restarts, .. } => Some(format!("gave up after {restarts}")),
            _ => None,
        });
        told.collect()
    }
}

#[test]
fn a_domain_that_crashes_is_started_again_after_its_wait_and_given_up_after_its_last_time() {
    let life = Life::with(POLICY);
    for (number, wait) in [(1, 5), (2, 10), (3, 20)] {
        life.crash();
        life.pass(1);
        assert_eq!(life.state(), DomainState::Crashed, "it waits");
        assert!(life.report().unwrap().next.is_some());
        life.pass(wait - 2);
        assert_eq!(life.state(), DomainState::Crashed, "restart {number} comes too early");
        life.pass(2);
        assert_eq!(life.state(), DomainState::Running, "restart {number}");
        let report = life.report().unwrap();
        assert_eq!((report.restarts, report.times, report.next, report.has_given_up), (number, 3, None, false));
        life.pass(1);
    }
    life.crash();
    life.pass(1);
    life.pass(HOUR);
    assert_eq!(life.state(), DomainState::Crashed);
    assert!(life.report().unwrap().has_given_up);
    let told = life.told();
    assert_eq!(told.last().unwrap(), "gave up after 3", "{told:?}");
    assert_eq!(told.iter().filter(|text| text.starts_with("restarted")).count(), 3, "{told:?}");

    // Somebody starts it: everything begins anew.
    life.scene.ask(ALICE, making("hello", &kept(POLICY)).pop().unwrap()).unwrap();
    assert_eq!(life.report().map(|report| (report.restarts, report.has_given_up)), Some((0, false)));
    life.pass(1);
    life.crash();
    life.pass(1);
    life.pass(10);
    assert_eq!(life.state(), DomainState::Running);
    life.scene.check_money();
}

#[test]
fn restarts_of_long_ago_do_not_count() {
    let life = Life::with(POLICY);
    for _ in 0..12 {
        life.crash();
        life.pass(1);
        life.pass(10);
        assert_eq!(life.state(), DomainState::Running, "{:?}", life.told());
        life.pass(300);
    }
}

#[test]
fn an_end_in_order_is_left_alone_on_failure_and_is_not_with_always() {
    let life = Life::with(POLICY);
    assert!(life.machine.power_off_inside(&life.name(), life.scene.now()).unwrap());
    life.pass(1);
    life.pass(HOUR);
    assert_eq!((life.state(), life.told()), (DomainState::Stopped, vec!["ended".to_owned()]));

    let life = Life::with(RestartPolicy { after: RestartAfter::AnyEnd, ..POLICY });
    assert!(life.machine.power_off_inside(&life.name(), life.scene.now()).unwrap());
    life.pass(1);
    life.pass(10);
    assert_eq!(life.state(), DomainState::Running);
    // The whole machine loses its power.
    life.machine.power_cycle(life.scene.now()).unwrap();
    life.pass(1);
    life.pass(20);
    assert_eq!(life.state(), DomainState::Running);
}

#[test]
fn what_was_stopped_on_purpose_stays_stopped() {
    let always = RestartPolicy { after: RestartAfter::AnyEnd, ..POLICY };
    let life = Life::with(always);
    let path = spec("web.0").path;
    for request in unmaking("hello", &path).into_iter().take(1) {
        assert!(matches!(request, Request::EnsureStopped { .. }));
        life.scene.ask(ALICE, request).unwrap();
    }
    life.pass(1);
    life.pass(HOUR);
    assert_eq!((life.state(), life.told()), (DomainState::Stopped, vec![]));

    // Also while it waits for its restart.
    let life = Life::with(always);
    life.crash();
    life.pass(1);
    life.scene.ask(ALICE, unmaking("hello", &path).remove(0)).unwrap();
    life.pass(HOUR);
    assert_eq!(life.state(), DomainState::Crashed);
    assert_eq!(life.report().unwrap().next, None);
}

#[test]
fn a_domain_whose_account_is_put_out_or_runs_dry_is_not_started_again() {
    let always = RestartPolicy { after: RestartAfter::AnyEnd, ..POLICY };
    let life = Life::with(always);
    assert!(life.scene.daemon().evict(&ALICE.at("hello")).unwrap());
    life.pass(301);
    life.pass(HOUR);
    assert_eq!((life.state(), life.told()), (DomainState::Stopped, vec![]));

    let life = Life::without_domain();
    life.scene.fund(ALICE, "hello", "1");
    life.scene.bid(ALICE, "hello", bid(HOUR, 1)).unwrap();
    life.scene.start(ALICE, "hello", &kept(always));
    (0..120).for_each(|_| life.pass(60));
    assert_eq!((life.state(), life.told()), (DomainState::Stopped, vec![]));
    // Money alone does not start what was stopped; whoever pays again starts it.
    life.scene.fund(ALICE, "hello", "10");
    life.pass(60);
    assert_eq!(life.state(), DomainState::Stopped);
}

#[test]
fn a_daemon_that_is_started_anew_goes_on_where_it_was() {
    let mut life = Life::with(POLICY);
    life.crash();
    life.pass(1);
    life.scene.reopen();
    life.scene.daemon().resume(Some(TimeSpan::from_seconds(120))).unwrap();
    life.pass(10);
    assert_eq!(life.state(), DomainState::Running);
    assert_eq!(life.report().unwrap().restarts, 1);
    life.scene.reopen();
    assert_eq!(life.report().unwrap().restarts, 1, "also what was counted is on disk");
    // It ends while nobody looks.
    life.crash();
    life.scene.reopen();
    life.scene.daemon().resume(Some(TimeSpan::from_seconds(120))).unwrap();
    life.pass(30);
    assert_eq!(life.state(), DomainState::Running);
    assert_eq!(life.report().unwrap().restarts, 2);
}

#[test]
fn a_policy_that_comes_later_holds_and_one_that_goes_does_not() {
    let life = Life::without_domain();
    life.scene.bring_up(ALICE, "hello", "100", 1_000 * HOUR);
    life.pass(1);
    life.crash();
    life.pass(60);
    assert_eq!((life.state(), life.report(), life.told()), (DomainState::Crashed, None, vec![]));
    life.scene.start(ALICE, "hello", &spec("web.0"));
    let define = |spec: &DomainSpec| {
        let request = making("hello", spec).remove(2);
        assert!(matches!(request, Request::EnsureDomain { .. }));
        life.scene.ask(ALICE, request).unwrap();
    };
    define(&kept(POLICY));
    life.pass(1);
    life.crash();
    life.pass(1);
    life.pass(10);
    assert_eq!(life.state(), DomainState::Running);
    define(&spec("web.0"));
    life.crash();
    life.pass(60);
    assert_eq!((life.state(), life.report()), (DomainState::Crashed, None));
}

#[test]
fn a_hypervisor_that_cannot_start_it_is_tried_as_often_as_the_policy_says_and_no_oftener() {
    let machine = OnceLock::new();
    let scene = Scene::with_machine(|memory| {
        let plan = (2..40).fold(FaultPlan::seeded(1), |plan, call| plan.at(Operation::Start, call, Fault::Before));
        let faulty = Arc::new(Faulty::new(memory, plan));
        machine.set(faulty.clone()).ok().unwrap();
        faulty
    });
    let machine = machine.into_inner().unwrap();
    scene.fund(ALICE, "hello", "100");
    scene.bid(ALICE, "hello", bid(1_000 * HOUR, 1)).unwrap();
    scene.start(ALICE, "hello", &kept(POLICY));
    let pass = |seconds| {
        scene.pass(seconds);
        scene.daemon().restart_due();
    };
    pass(1);
    let name = scene.domain(ALICE, "hello").unwrap().name;
    assert!(machine.inner().crash(&name, scene.now()).unwrap());
    (0..60).for_each(|_| pass(5));
    assert_eq!(scene.domain(ALICE, "hello").unwrap().state, DomainState::Crashed);
    let starts = machine.calls().into_iter().filter(|call| *call == Operation::Start).count();
    assert_eq!(starts, 1 + 3, "one by Alice, three by the policy");
    assert!(scene.daemon().faults().iter().any(|fault| fault.what.contains("again")), "{:?}", scene.daemon().faults());
}

#[test]
fn a_policy_beyond_every_bound_is_refused() {
    let scene = Scene::new();
    scene.fund(ALICE, "hello", "100");
    scene.bid(ALICE, "hello", bid(1_000 * HOUR, 1)).unwrap();
    let request = making("hello", &kept(RestartPolicy { times: 101, ..POLICY })).remove(1);
    let refused = scene.ask(ALICE, request).unwrap_err();
    assert!(refused.to_string().contains("101 restarts"), "{refused}");
}
