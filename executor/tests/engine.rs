//! The engine: what is done when, what is skipped, what is tried again, and what is in the journal.

mod support;

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use support::plans::plan;
use support::steps::{Calls, Paper, broken, check_story, done, failed, run, run_on, skipped, story};
use tycoon_executor::ExecutorError;
use tycoon_executor::engine::{AT_ONCE, AT_ONCE_ON_ONE_HOST, ATTEMPTS, Performer, StepError, StopFlag};
use tycoon_executor::journal::Outcome;
use tycoon_executor::progress::{Event, Observer, Silent};
use tycoon_market::HostId;
use tycoon_planner::plan::{Plan, Step};

/// How long a test waits for what must happen.
const DEADLINE: Duration = Duration::from_secs(30);

#[test]
fn steps_are_done_after_what_they_need() {
    let plan = plan(&[(0, vec![]), (1, vec![0]), (0, vec![0]), (1, vec![1, 2, 1]), (2, vec![])]);
    let order = Arc::new(Mutex::new(Vec::new()));
    let log = order.clone();
    let (report, records) = run(
        &plan,
        Calls::new(move |number, _| {
            log.lock().unwrap().push(number);
            Ok(number % 2 == 0)
        }),
    );
    assert!(report.succeeded() && !report.was_stopped);
    let changed: Vec<_> = (0..5).map(|number| Some(Outcome::Done { changed: number % 2 == 0 })).collect();
    assert_eq!(report.outcomes, changed);
    let order = order.lock().unwrap().clone();
    let place = |number| order.iter().position(|done| *done == number).unwrap();
    assert_eq!(order.len(), 5);
    assert!(place(0) < place(1) && place(0) < place(2) && place(1) < place(3) && place(2) < place(3), "{order:?}");
    check_story(&plan, &report, &records);
}

#[test]
fn a_plan_without_steps_is_done() {
    let (report, records) = run(&plan(&[]), Calls::new(|_, _| panic!("there is nothing to do")));
    assert!(report.succeeded() && !report.was_stopped);
    assert_eq!(records, []);
}

#[test]
fn a_plan_that_is_in_no_order_is_refused_before_anything_is_done() {
    for steps in [vec![(0, vec![0])], vec![(0, vec![1]), (0, vec![])], vec![(0, vec![]), (0, vec![7])]] {
        let paper = Paper::new();
        let performer = Calls::new(|_, _| panic!("nothing may be done"));
        let refused = run_on(&paper, &plan(&steps), performer, &Silent, &StopFlag::default());
        assert!(matches!(refused, Err(ExecutorError::Order { .. })), "{steps:?}: {refused:?}");
        assert_eq!(paper.records(), []);
    }
}

/// Counts how many steps run at once on each host, and holds all of them until as many run as may.
#[derive(Default)]
struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Default)]
struct GateState {
    running: BTreeMap<HostId, usize>,
    most: BTreeMap<HostId, usize>,
    most_in_all: usize,
    is_open: bool,
}

struct Gated {
    gate: Arc<Gate>,
    /// The gate opens once this many steps run.
    wanted: usize,
}

impl Performer for Gated {
    fn perform(&self, _plan: &Plan, step: &Step) -> Result<bool, StepError> {
        let mut state = self.gate.state.lock().unwrap();
        let running = state.running.entry(step.host).or_default();
        *running += 1;
        let running = *running;
        let most = state.most.entry(step.host).or_default();
        *most = running.max(*most);
        let in_all = state.running.values().sum();
        state.most_in_all = state.most_in_all.max(in_all);
        state.is_open |= in_all >= self.wanted;
        self.gate.changed.notify_all();
        let (mut state, waited) =
            self.gate.changed.wait_timeout_while(state, DEADLINE, |state| !state.is_open).unwrap();
        assert!(!waited.timed_out(), "only {in_all} steps ran at once");
        *state.running.get_mut(&step.host).unwrap() -= 1;
        Ok(true)
    }
}

#[test]
fn a_few_steps_run_at_once_on_each_host_and_no_more() {
    let steps: Vec<_> = (0..60).map(|number| (number % 3, vec![])).collect();
    let gate = Arc::new(Gate::default());
    let (report, _) = run(&plan(&steps), Arc::new(Gated { gate: gate.clone(), wanted: 3 * AT_ONCE_ON_ONE_HOST }));
    assert!(report.succeeded(), "{:?}", report.outcomes);
    let state = gate.state.lock().unwrap();
    assert_eq!(state.most.values().copied().collect::<Vec<_>>(), [AT_ONCE_ON_ONE_HOST; 3]);
}

#[test]
fn threads_are_bounded_however_many_hosts_there_are() {
    let steps: Vec<_> = (0..2 * AT_ONCE).map(|number| (number, vec![])).collect();
    let gate = Arc::new(Gate::default());
    let (report, _) = run(&plan(&steps), Arc::new(Gated { gate: gate.clone(), wanted: AT_ONCE }));
    assert!(report.succeeded());
    assert_eq!(gate.state.lock().unwrap().most_in_all, AT_ONCE);
}

#[test]
fn a_failed_step_skips_what_needs_it_and_nothing_else() {
    //   0 ─→ 1 ─→ 2 ─→ 5
    //   3 ─→ 4 ─┬─────→ 6
    //        1 ─┘
    let plan =
        plan(&[(0, vec![]), (0, vec![0]), (1, vec![1]), (1, vec![]), (1, vec![3]), (2, vec![2]), (2, vec![4, 1])]);
    let (report, records) = run(&plan, Calls::new(|number, _| if number == 1 { Err(broken(false)) } else { Ok(true) }));
    assert_eq!(report.outcomes, [done(), failed(), skipped(), done(), done(), skipped(), skipped()]);
    assert!(!report.succeeded());
    let failures: Vec<(u32, &str)> = report.failures(&plan).map(|(step, error)| (step.id.0, error)).collect();
    assert_eq!(failures, [(1, "broken")]);
    check_story(&plan, &report, &records);
}

/// Notes which steps were said to be tried again.
#[derive(Default)]
struct Retries(Mutex<Vec<(u32, u32)>>);

impl Observer for Retries {
    fn observe(&self, event: &Event<'_>) {
        if let Event::StepRetried { step, attempt, error } = event {
            assert_eq!(*error, "broken");
            self.0.lock().unwrap().push((step.id.0, *attempt));
        }
    }
}

#[test]
fn what_may_pass_is_tried_again_and_what_may_not_is_not() {
    let plan = plan(&[(0, vec![]), (0, vec![0]), (1, vec![]), (2, vec![]), (2, vec![3])]);
    let performer = Calls::new(|number, before| match (number, before) {
        (0, 0 | 1) => Err(broken(true)),
        (2, _) => Err(broken(true)),
        (3, _) => Err(broken(false)),
        _ => Ok(true),
    });
    let (paper, retries) = (Paper::new(), Retries::default());
    let report = run_on(&paper, &plan, performer.clone(), &retries, &StopFlag::default()).unwrap();
    assert_eq!(report.outcomes, [done(), done(), failed(), failed(), skipped()]);
    let calls = performer.before.lock().unwrap().clone();
    let all = ATTEMPTS as usize;
    assert_eq!(calls, BTreeMap::from([(0, 3), (1, 1), (2, all), (3, 1)]));
    let mut told = retries.0.lock().unwrap().clone();
    told.sort();
    assert_eq!(told, [(0, 2), (0, 3), (2, 2), (2, 3)]);
    check_story(&plan, &report, &paper.records());
}

#[test]
fn a_run_that_is_asked_to_stop_finishes_what_runs() {
    let steps: Vec<_> =
        (0..40).map(|number| (number / 20, if number % 20 == 0 { vec![] } else { vec![number - 1] })).collect();
    let plan = plan(&steps);
    let stop = StopFlag::default();
    let asked = stop.clone();
    let performer = Calls::new(move |number, _| {
        if number == 5 {
            asked.stop();
        }
        Ok(true)
    });
    let paper = Paper::new();
    let report = run_on(&paper, &plan, performer, &Silent, &stop).unwrap();
    assert!(report.was_stopped && !report.succeeded());
    assert_eq!(report.outcomes[5], done(), "a step that runs is finished");
    let begun = report.outcomes.iter().filter(|outcome| outcome.is_some()).count();
    assert!(begun < 40, "{begun}");
    assert!(report.outcomes.iter().all(|outcome| outcome.is_none() || *outcome == done()));
    check_story(&plan, &report, &paper.records());
    // Taken up again, in the order in which the first left off.
    let (rest, _) = run(&plan, Calls::new(|_, _| Ok(false)));
    assert!(rest.succeeded());
}

#[test]
fn a_run_that_is_stopped_before_it_begins_does_nothing() {
    let (paper, stop) = (Paper::new(), StopFlag::default());
    stop.stop();
    let performer = Calls::new(|_, _| panic!("nothing may be done"));
    let report = run_on(&paper, &plan(&[(0, vec![])]), performer, &Silent, &stop).unwrap();
    assert!(report.was_stopped);
    assert_eq!(paper.records(), []);
}

#[test]
fn a_stop_that_comes_too_late_is_no_stop() {
    let stop = StopFlag::default();
    let asked = stop.clone();
    let performer = Calls::new(move |_, _| {
        asked.stop();
        Ok(true)
    });
    let report = run_on(&Paper::new(), &plan(&[(0, vec![])]), performer, &Silent, &stop).unwrap();
    assert!(report.succeeded() && !report.was_stopped);
}

#[test]
fn a_performer_that_panics_fails_its_step_only() {
    let plan = plan(&[(0, vec![]), (0, vec![0]), (1, vec![])]);
    let (report, records) = run(
        &plan,
        Calls::new(|number, _| {
            assert!(number != 0, "this one is broken");
            Ok(true)
        }),
    );
    assert!(
        matches!(&report.outcomes[0], Some(Outcome::Failed { error }) if error.contains("a fault of this program")),
        "{:?}",
        report.outcomes
    );
    assert_eq!(report.outcomes[1..], [skipped(), done()]);
    check_story(&plan, &report, &records);
}

/// The disk is full: nothing more is begun, what runs is finished, and the journal is whole as far as it goes.
#[test]
fn a_journal_that_cannot_be_written_ends_the_run() {
    let steps: Vec<_> = (0..30).map(|number| (0, if number == 0 { vec![] } else { vec![number - 1] })).collect();
    let plan = plan(&steps);
    for full_at in [0, 7, 29] {
        let paper = Arc::new(Paper::new());
        let (disk, calls) = (paper.clone(), Arc::new(Mutex::new(Vec::new())));
        let log = calls.clone();
        let performer = Calls::new(move |number, _| {
            log.lock().unwrap().push(number);
            if number == full_at {
                disk.fill();
            }
            Ok(true)
        });
        let outcome = run_on(&paper, &plan, performer, &Silent, &StopFlag::default());
        assert!(matches!(outcome, Err(ExecutorError::Journal(_))), "{outcome:?}");
        assert_eq!(*calls.lock().unwrap(), (0..=full_at).collect::<Vec<_>>());
        let last = story(&paper.records()).pop();
        assert_eq!(last, Some((full_at, None)), "begun, and nobody knows how it ended");
    }
}

/// The journal says that a step begins before it does, and how it ended before anything that needs it begins.
#[test]
fn the_journal_is_ahead_of_the_world() {
    let steps: Vec<_> = (0..50)
        .map(|number: usize| (number % 5, if number < 5 { vec![] } else { vec![number - 5, number / 2] }))
        .collect();
    let plan = plan(&steps);
    let paper = Arc::new(Paper::new());
    let (seen, needs) = (paper.clone(), plan.clone());
    let performer = Calls::new(move |number, _| {
        let story = story(&seen.records());
        assert!(story.contains(&(number, None)), "step {number} is done before it is in the journal");
        for need in &needs.steps[number].needs {
            assert!(story.contains(&(need.0 as usize, done())), "step {number} does not wait for the end of {need:?}");
        }
        Ok(true)
    });
    let report = run_on(&paper, &plan, performer, &Silent, &StopFlag::default()).unwrap();
    assert!(report.succeeded(), "{:?}", report.failures(&plan).collect::<Vec<_>>());
}

/// A plan is read back from its file as it was written: a run can be taken up from it.
#[test]
fn a_journal_on_disk_is_the_same_as_one_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hello.journal");
    let paper = Paper::new();
    let plan = plan(&[(0, vec![]), (0, vec![0])]);
    run_on(&paper, &plan, Calls::new(|_, _| Ok(true)), &Silent, &StopFlag::default()).unwrap();
    let on_disk = Paper { file: File::create_new(&path).unwrap().into(), path: path.clone() };
    run_on(&on_disk, &plan, Calls::new(|_, _| Ok(true)), &Silent, &StopFlag::default()).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), std::fs::read(&paper.path).unwrap());
}
