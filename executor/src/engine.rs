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
//! end before anything that needs it begins.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};
use thiserror::Error;
use tokio::task::JoinSet;
use tycoon_market::HostId;
use tycoon_planner::plan::{Plan, Step};

use crate::error::ExecutorError;
use crate::journal::{Journal, Outcome, Record};
use crate::link::Clock;
use crate::progress::{Event, Observer};

/// How many steps run at once on one host. A hypervisor serialises most of its work anyway.
const AT_ONCE_ON_ONE_HOST: usize = 4;
/// How often a step is tried when its fault may be transient.
const ATTEMPTS: u32 = 3;
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
/// [`ExecutorError`] where the journal cannot be written; steps that run are finished first. Failed steps are no
/// error of the run: they are in the report.
pub async fn run(
    plan: &Arc<Plan>,
    performer: Arc<dyn Performer>,
    journal: &mut Journal,
    clock: &dyn Clock,
    observer: &dyn Observer,
    stop: &StopFlag,
) -> Result<Report, ExecutorError> {
    let mut state = State::of(plan);
    let mut running: JoinSet<(NodeIndex, Result<bool, StepError>)> = JoinSet::new();
    let (retries, mut retried) = tokio::sync::mpsc::unbounded_channel();
    let mut broken: Option<ExecutorError> = None;
    let mut told = false;
    loop {
        if stop.is_set() && !told {
            observer.observe(&Event::Stopping);
            told = true;
        }
        if broken.is_none() && !stop.is_set() {
            while let Some(node) = state.begin_next() {
                let number = state.graph[node];
                let step = &plan.steps[number];
                observer.observe(&Event::StepBegun { step });
                if let Err(error) = journal.write(clock.now(), Record::StepBegun { plan: plan.id, step: step.id }) {
                    broken = Some(error.into());
                    break;
                }
                let (plan, performer, retries) = (plan.clone(), performer.clone(), retries.clone());
                running.spawn(async move { (node, attempt(plan, performer, number, retries).await) });
            }
        }
        if running.is_empty() {
            break;
        }
        tokio::select! {
            Some((number, attempt, error)) = retried.recv() => {
                observer.observe(&Event::StepRetried { step: &plan.steps[number], error: &error, attempt });
            }
            Some(joined) = running.join_next() => {
                // A step that panicked is a fault of this program; it must not take the others with it.
                let (node, result) = match joined {
                    Ok(ended) => ended,
                    Err(error) => return Err(ExecutorError::Panicked { reason: error.to_string() }),
                };
                let outcome = match result {
                    Ok(changed) => Outcome::Done { changed },
                    Err(error) => Outcome::Failed { error: error.message },
                };
                let skipped = state.end(plan, node, outcome.clone()).into_iter();
                let ended = std::iter::once((state.graph[node], outcome));
                for (number, outcome) in ended.chain(skipped.map(|number| (number, Outcome::Skipped))) {
                    let step = &plan.steps[number];
                    observer.observe(&Event::StepEnded { step, outcome: &outcome });
                    let record = Record::StepEnded { plan: plan.id, step: step.id, outcome };
                    if let Err(error) = journal.write(clock.now(), record) {
                        broken.get_or_insert(error.into());
                    }
                }
            }
            () = tokio::time::sleep(Duration::from_millis(100)), if !told => {}
        }
    }
    match broken {
        Some(error) => Err(error),
        None => {
            Ok(Report { was_stopped: told && state.outcomes.iter().any(Option::is_none), outcomes: state.outcomes })
        }
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

/// Which steps are done, running, ready and waiting.
struct State {
    /// The steps by their number in the plan; an edge leads from a step to one that needs it.
    graph: DiGraph<usize, ()>,
    /// How many needs of each step are not done yet.
    missing: Vec<usize>,
    outcomes: Vec<Option<Outcome>>,
    hosts: BTreeMap<HostId, Queue>,
}

/// The steps of one host that can begin, and how many run.
#[derive(Default)]
struct Queue {
    ready: VecDeque<NodeIndex>,
    running: usize,
}

impl State {
    fn of(plan: &Plan) -> Self {
        let mut graph = DiGraph::with_capacity(plan.steps.len(), plan.steps.len() * 2);
        let nodes: Vec<NodeIndex> = (0..plan.steps.len()).map(|number| graph.add_node(number)).collect();
        let needs = plan
            .steps
            .iter()
            .enumerate()
            .flat_map(|(number, step)| step.needs.iter().map(move |need| (need.0 as usize, number)));
        for (needed, number) in needs {
            if let Some(needed) = nodes.get(needed) {
                graph.update_edge(*needed, nodes[number], ());
            }
        }
        let missing: Vec<usize> =
            nodes.iter().map(|&node| graph.neighbors_directed(node, Direction::Incoming).count()).collect();
        let mut hosts: BTreeMap<HostId, Queue> = BTreeMap::new();
        for (number, step) in plan.steps.iter().enumerate() {
            let queue = hosts.entry(step.host).or_default();
            if missing[number] == 0 {
                queue.ready.push_back(nodes[number]);
            }
        }
        Self { graph, missing, outcomes: vec![None; plan.steps.len()], hosts }
    }

    /// Takes the next step that can begin, within its host's limit.
    fn begin_next(&mut self) -> Option<NodeIndex> {
        let queue =
            self.hosts.values_mut().find(|queue| queue.running < AT_ONCE_ON_ONE_HOST && !queue.ready.is_empty())?;
        queue.running += 1;
        queue.ready.pop_front()
    }

    /// Notes how a step ended. Returns the steps that are skipped because of it.
    fn end(&mut self, plan: &Plan, node: NodeIndex, outcome: Outcome) -> Vec<usize> {
        let succeeded = matches!(outcome, Outcome::Done { .. });
        let number = self.graph[node];
        self.outcomes[number] = Some(outcome);
        if let Some(queue) = self.hosts.get_mut(&plan.steps[number].host) {
            queue.running = queue.running.saturating_sub(1);
        }
        if !succeeded {
            return self.skip_after(node);
        }
        let successors: Vec<NodeIndex> = self.graph.neighbors(node).collect();
        for successor in successors {
            let number = self.graph[successor];
            self.missing[number] = self.missing[number].saturating_sub(1);
            if self.missing[number] == 0 && self.outcomes[number].is_none() {
                self.hosts.entry(plan.steps[number].host).or_default().ready.push_back(successor);
            }
        }
        Vec::new()
    }

    /// Marks everything that needs `node`, directly or not, as skipped.
    fn skip_after(&mut self, node: NodeIndex) -> Vec<usize> {
        let mut skipped = Vec::new();
        let mut open = vec![node];
        while let Some(node) = open.pop() {
            let successors: Vec<NodeIndex> = self.graph.neighbors(node).collect();
            for successor in successors {
                let number = self.graph[successor];
                if self.outcomes[number].is_none() {
                    self.outcomes[number] = Some(Outcome::Skipped);
                    skipped.push(number);
                    open.push(successor);
                }
            }
        }
        skipped.sort_unstable();
        skipped
    }
}
