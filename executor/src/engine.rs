//! Runs the steps of a plan: in parallel where they do not need one another, at most a few at a time on one host.
//!
//! ```text
//!            needs done             ok
//!  Waiting ────────────→ Running ──────→ Done
//!     │                   │    ↑ transient fault, at most twice
//!     │ a need failed     ├────┘
//!     └────→ Skipped      └──────→ Failed
//! ```
//!
//! A step that fails stops only what needs it. Each step's beginning is in the journal before it is done, and its
//! end before anything that needs it begins. What begins or ends at the same time is written with one sync.

mod order;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use petgraph::graph::NodeIndex;
use thiserror::Error;
use tokio::task::{JoinError, JoinSet};
use tycoon_planner::plan::{Plan, Step};

use crate::error::ExecutorError;
use crate::journal::{Journal, Outcome, Record};
use crate::link::Clock;
use crate::progress::{Event, Observer};
use order::Order;

/// How many steps run at once on one host. A hypervisor serialises most of its work anyway.
pub const AT_ONCE_ON_ONE_HOST: usize = 4;
/// How many steps run at once in all; each has a thread of its own.
pub const AT_ONCE: usize = 256;
/// How often a step is tried when its fault may be transient.
pub const ATTEMPTS: u32 = 3;
/// How often it is looked whether the run was asked to stop while nothing else happens.
const STOP_POLL: Duration = Duration::from_millis(100);
/// How long to wait before a step is tried again; twice as long each time.
const BACKOFF: Duration = Duration::from_millis(50);

/// Why a step failed.
#[derive(Clone, Debug, Error)]
#[error("{message}")]
pub struct StepError {
    /// What went wrong, for people.
    pub message: String,
    /// True where trying again may help.
    pub is_transient: bool,
}

/// Does one step. It blocks, and may be asked to do the same step again.
pub trait Performer: Send + Sync {
    /// Does the step. True where it changed anything.
    fn perform(&self, plan: &Plan, step: &Step) -> Result<bool, StepError>;
}

/// A flag that asks a run to stop: running steps are finished, no new ones begin.
#[derive(Clone, Debug, Default)]
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// A flag that somebody else sets, for example a signal handler.
    pub const fn of(flag: Arc<AtomicBool>) -> Self {
        Self(flag)
    }

    /// Asks the run to stop.
    pub fn stop(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// True where the run was asked to stop.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// What came of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Each step's outcome, in the order of the plan; none for steps that were not begun because the run was
    /// stopped.
    pub outcomes: Vec<Option<Outcome>>,
    /// True where the run was asked to stop before everything was done.
    pub was_stopped: bool,
}

impl Report {
    /// True where every step succeeded.
    pub fn succeeded(&self) -> bool {
        self.outcomes.iter().all(|outcome| matches!(outcome, Some(Outcome::Done { .. })))
    }

    /// The failed steps and why they failed.
    pub fn failures<'a>(&'a self, plan: &'a Plan) -> impl Iterator<Item = (&'a Step, &'a str)> {
        plan.steps.iter().zip(&self.outcomes).filter_map(|(step, outcome)| match outcome {
            Some(Outcome::Failed { error }) => Some((step, error.as_str())),
            _ => None,
        })
    }
}

/// Runs all steps of `plan`.
///
/// # Errors
/// [`ExecutorError`] where the steps are not in an order, and where the journal cannot be written; steps that run are
/// finished first. Failed steps are no error of the run: they are in the report.
pub async fn run(
    plan: &Arc<Plan>,
    performer: Arc<dyn Performer>,
    journal: &mut Journal,
    clock: &dyn Clock,
    observer: &dyn Observer,
    stop: &StopFlag,
) -> Result<Report, ExecutorError> {
    let mut order = Order::of(plan)?;
    let mut running: JoinSet<Ended> = JoinSet::new();
    let (retries, mut retried) = tokio::sync::mpsc::unbounded_channel();
    let mut broken: Option<ExecutorError> = None;
    let mut told = false;
    loop {
        if stop.is_set() && !told {
            observer.observe(&Event::Stopping);
            told = true;
        }
        if broken.is_none() && !told {
            let beginning = order.begin(AT_ONCE.saturating_sub(running.len()));
            let steps = || beginning.iter().map(|node| &plan.steps[order.number(*node)]);
            let records = steps().map(|step| Record::StepBegun { plan: plan.id, step: step.id });
            if let Err(error) = journal.write_all(clock.now(), records) {
                // Nothing of it was begun.
                broken = Some(error.into());
                continue;
            }
            steps().for_each(|step| observer.observe(&Event::StepBegun { step }));
            for node in beginning {
                let number = order.number(node);
                let (plan, performer, retries) = (plan.clone(), performer.clone(), retries.clone());
                running.spawn(async move { Ended { node, result: attempt(plan, performer, number, retries).await } });
            }
        }
        if running.is_empty() {
            break;
        }
        tokio::select! {
            Some((number, attempt, error)) = retried.recv() => {
                observer.observe(&Event::StepRetried { step: &plan.steps[number], error: &error, attempt });
            }
            Some(first) = running.join_next() => {
                let mut ended = Vec::new();
                let mut next = Some(first);
                while let Some(joined) = next {
                    match outcome_of(joined) {
                        Ok((node, outcome)) => ended.extend(order.end(node, outcome)),
                        // It is waited for the others all the same: their ends belong into the journal.
                        Err(error) => broken = broken.or(Some(error)),
                    }
                    next = running.try_join_next();
                }
                let outcomes: Vec<(&Step, Outcome)> =
                    ended.into_iter().map(|(number, outcome)| (&plan.steps[number], outcome)).collect();
                let record = |(step, outcome): &(&Step, Outcome)| Record::StepEnded {
                    plan: plan.id,
                    step: step.id,
                    outcome: outcome.clone(),
                };
                if let Err(error) = journal.write_all(clock.now(), outcomes.iter().map(record)) {
                    broken = broken.or(Some(error.into()));
                }
                outcomes.iter().for_each(|(step, outcome)| observer.observe(&Event::StepEnded { step, outcome }));
            }
            () = tokio::time::sleep(STOP_POLL), if !told => {}
        }
    }
    match broken {
        Some(error) => Err(error),
        None => {
            let outcomes = order.into_outcomes();
            Ok(Report { was_stopped: told && outcomes.iter().any(Option::is_none), outcomes })
        }
    }
}

/// A step that has ended, and how.
struct Ended {
    node: NodeIndex,
    result: Result<bool, StepError>,
}

fn outcome_of(joined: Result<Ended, JoinError>) -> Result<(NodeIndex, Outcome), ExecutorError> {
    match joined {
        Ok(Ended { node, result: Ok(changed) }) => Ok((node, Outcome::Done { changed })),
        Ok(Ended { node, result: Err(error) }) => Ok((node, Outcome::Failed { error: error.message })),
        // Not the step, whose panic is its failure, but what runs it.
        Err(error) => Err(ExecutorError::Panicked { reason: error.to_string() }),
    }
}

/// Does one step on a thread of its own, again where its fault may be transient.
async fn attempt(
    plan: Arc<Plan>,
    performer: Arc<dyn Performer>,
    number: usize,
    retries: tokio::sync::mpsc::UnboundedSender<(usize, u32, String)>,
) -> Result<bool, StepError> {
    let mut attempt = 1;
    loop {
        let (plan, performer) = (plan.clone(), performer.clone());
        let result = tokio::task::spawn_blocking(move || performer.perform(&plan, &plan.steps[number])).await;
        let result = result.unwrap_or_else(|error| {
            Err(StepError { message: format!("a fault of this program: {error}"), is_transient: false })
        });
        match result {
            Err(error) if error.is_transient && attempt < ATTEMPTS => {
                attempt += 1;
                // Nobody listens once the run has ended; then nobody has to be told.
                let _ = retries.send((number, attempt, error.message));
                tokio::time::sleep(BACKOFF * 2_u32.pow(attempt - 2)).await;
            }
            result => return result,
        }
    }
}
