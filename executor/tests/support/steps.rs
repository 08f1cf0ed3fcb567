//! Runs of the engine with performers that do as they are told, and journals in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use tycoon_executor::ExecutorError;
use tycoon_executor::engine::{self, Performer, Report, StepError, StopFlag};
use tycoon_executor::journal::{self, Journal, Outcome, Record};
use tycoon_executor::progress::{Observer, Silent};
use tycoon_market::Timestamp;
use tycoon_planner::plan::{Plan, Step};
use tycoon_rpc::FixedClock;

/// A journal in memory.
pub struct Paper {
    pub file: OwnedFd,
    pub path: PathBuf,
}

impl Paper {
    pub fn new() -> Self {
        let file = memfd_create("journal", MemfdFlags::ALLOW_SEALING).unwrap();
        let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        Self { file, path }
    }

    pub fn records(&self) -> Vec<Record> {
        journal::read(&self.path).unwrap().into_iter().map(|(_, record)| record).collect()
    }

    /// From now on nothing more can be written.
    pub fn fill(&self) {
        fcntl_add_seals(&self.file, SealFlags::GROW).unwrap();
    }
}

pub fn run_on(
    paper: &Paper,
    plan: &Plan,
    performer: Arc<dyn Performer>,
    observer: &dyn Observer,
    stop: &StopFlag,
) -> Result<Report, ExecutorError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
    let mut journal = Journal::open(&paper.path).unwrap();
    let clock = FixedClock::new(Timestamp::from_seconds(1_000));
    let plan = Arc::new(plan.clone());
    runtime.block_on(engine::run(&plan, performer, &mut journal, &clock, observer, stop))
}

pub fn run(plan: &Plan, performer: Arc<dyn Performer>) -> (Report, Vec<Record>) {
    let paper = Paper::new();
    let report = run_on(&paper, plan, performer, &Silent, &StopFlag::default()).unwrap();
    (report, paper.records())
}

/// Does a step by calling a function with the step's number and how often it was called for it before.
pub struct Calls<F> {
    pub before: Mutex<BTreeMap<usize, usize>>,
    act: F,
}

impl<F: Fn(usize, usize) -> Result<bool, StepError> + Send + Sync + 'static> Calls<F> {
    pub fn new(act: F) -> Arc<Self> {
        Arc::new(Self { before: Mutex::default(), act })
    }
}

impl<F: Fn(usize, usize) -> Result<bool, StepError> + Send + Sync> Performer for Calls<F> {
    fn perform(&self, _plan: &Plan, step: &Step) -> Result<bool, StepError> {
        let number = step.id.0 as usize;
        let before = {
            let mut calls = self.before.lock().unwrap();
            let count = calls.entry(number).or_default();
            *count += 1;
            *count - 1
        };
        (self.act)(number, before)
    }
}

pub fn broken(is_transient: bool) -> StepError {
    StepError { message: "broken".into(), is_transient }
}

pub fn done() -> Option<Outcome> {
    Some(Outcome::Done { changed: true })
}

pub fn failed() -> Option<Outcome> {
    Some(Outcome::Failed { error: "broken".into() })
}

pub fn skipped() -> Option<Outcome> {
    Some(Outcome::Skipped)
}

/// What the journal says of the steps: their numbers, and `None` for a beginning.
pub fn story(records: &[Record]) -> Vec<(usize, Option<Outcome>)> {
    let tell = |record: &Record| match record {
        Record::StepBegun { step, .. } => (step.0 as usize, None),
        Record::StepEnded { step, outcome, .. } => (step.0 as usize, Some(outcome.clone())),
        other => panic!("the engine writes no {other:?}"),
    };
    records.iter().map(tell).collect()
}

/// In the journal a step begins once, after all that it needs has succeeded there, and ends once.
pub fn check_story(plan: &Plan, report: &Report, records: &[Record]) {
    let mut succeeded = BTreeSet::new();
    let (mut begun, mut ended) = (BTreeSet::new(), BTreeSet::new());
    for (number, outcome) in story(records) {
        match outcome {
            None => {
                assert!(begun.insert(number), "step {number} began twice");
                let needs = plan.steps[number].needs.iter().map(|need| need.0 as usize);
                for need in needs {
                    assert!(succeeded.contains(&need), "step {number} began before {need} had succeeded");
                }
            }
            Some(outcome) => {
                assert!(ended.insert(number), "step {number} ended twice");
                assert_eq!(begun.contains(&number), outcome != Outcome::Skipped, "step {number}");
                if matches!(outcome, Outcome::Done { .. }) {
                    succeeded.insert(number);
                }
                assert_eq!(report.outcomes[number], Some(outcome));
            }
        }
    }
    let reported = report.outcomes.iter().filter(|outcome| outcome.is_some()).count();
    assert_eq!(ended.len(), reported, "what is reported is in the journal");
}
