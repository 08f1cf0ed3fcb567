//! Workflows: what is done, in which order.

use std::sync::Arc;

use tycoon_market::TimeSpan;

use crate::condition::Condition;
use crate::pool::build::{inside, paths};
use crate::source::Span;
use crate::tree::{Component, NodeKind};
use crate::value::Value;

/// A workflow.
#[derive(Clone, Debug, PartialEq)]
pub struct Workflow {
    /// Its path inside the pool.
    pub path: String,
    /// True where it is started by hand, not with the pool.
    pub starts_by_hand: bool,
    /// Its steps, one after the other.
    pub steps: Vec<Step>,
    /// Where it is created.
    pub span: Span,
}

/// A step of a workflow.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What it does.
    pub kind: StepKind,
    /// Where it is written.
    pub span: Span,
}

/// What a step does. Paths are paths of components inside the pool.
#[derive(Clone, Debug, PartialEq)]
pub enum StepKind {
    /// Starts components and waits until they run.
    Start(Vec<String>),
    /// Stops components.
    Stop(Vec<String>),
    /// Brings an image to the hosts.
    EnsureImage(String),
    /// Runs a command in a domain.
    Run {
        /// The domain.
        domain: String,
        /// The words of the command; they may be live.
        command: Vec<Value>,
        /// The longest it may take.
        within: Option<TimeSpan>,
    },
    /// Saves the root volume of a domain.
    SaveImage {
        /// The domain.
        domain: String,
        /// The directory.
        to: String,
        /// `tar`, `tar.gz`, `tar.zst`, `raw` or `qcow2`.
        format: String,
        /// The name of the file; without it the domain's.
        name: Option<String>,
    },
    /// Waits until a condition holds.
    WaitFor {
        /// The condition, over live values.
        condition: Arc<Condition>,
        /// The longest wait; then it has failed.
        within: TimeSpan,
        /// How often the condition is judged.
        every: TimeSpan,
    },
    /// Waits.
    Delay(TimeSpan),
    /// One step after the other.
    Sequence(Vec<Step>),
    /// All steps at once.
    Parallel {
        /// The steps.
        steps: Vec<Step>,
        /// One failure stops the others.
        stop_on_failure: bool,
    },
    /// The steps several times.
    Repeat {
        /// How often.
        times: u32,
        /// The steps.
        steps: Vec<Step>,
    },
    /// The steps again until they succeed.
    Retry {
        /// How often at most.
        times: u32,
        /// The wait before the second time; it doubles.
        backoff: TimeSpan,
        /// The longest wait.
        max_backoff: TimeSpan,
        /// The steps.
        steps: Vec<Step>,
    },
    /// The steps, failing when they take longer.
    Timeout {
        /// The longest they may take.
        within: TimeSpan,
        /// The steps.
        steps: Vec<Step>,
    },
    /// The steps; after a failure others, and then it counts as done.
    Try {
        /// The steps.
        steps: Vec<Step>,
        /// Done after a failure; `None` where the failure is only forgiven.
        on_failure: Option<Vec<Step>>,
    },
    /// Done at the end of the workflow, whatever happened.
    Finally(Vec<Step>),
    /// Sends an event.
    Emit(String),
    /// The steps, once an event has come. Events are kept until they are used.
    OnEvent {
        /// The event.
        event: String,
        /// The steps.
        steps: Vec<Step>,
    },
}

/// The workflow of a component of kind `workflow`.
pub(crate) fn workflow(path: &str, component: &Component, pool: &str) -> Workflow {
    Workflow {
        path: path.to_owned(),
        starts_by_hand: component.value("begin").as_text() == Some("by-hand"),
        steps: steps(component, pool),
        span: component.span,
    }
}

/// The steps of a node, in the order in which they stand.
fn steps(node: &Component, pool: &str) -> Vec<Step> {
    let items = node.children.iter().filter(|child| child.node == NodeKind::Item && &*child.name != "on-failure");
    items.filter_map(|item| step(item, pool).map(|kind| Step { kind, span: item.span })).collect()
}

/// The step of an item; `None` for words that are no steps, which the schema does not have.
fn step(item: &Component, pool: &str) -> Option<StepKind> {
    let text = |name: &str| item.value(name).as_text().map(str::to_owned);
    let span = |name: &str| item.value(name).as_duration().unwrap_or(TimeSpan::ZERO);
    let times = || item.value("times").as_integer().and_then(|times| u32::try_from(times).ok()).unwrap_or(u32::MAX);
    let inner = || steps(item, pool);
    Some(match &*item.name {
        "start" => StepKind::Start(paths(item.value("what"), pool)),
        "stop" => StepKind::Stop(paths(item.value("what"), pool)),
        "ensure-image" => StepKind::EnsureImage(text("image")?),
        "run" => StepKind::Run {
            domain: inside(item.value("domain"), pool)?,
            command: item.value("command").as_list().to_vec(),
            within: item.value("within").as_duration(),
        },
        "save-image" => StepKind::SaveImage {
            domain: inside(item.value("domain"), pool)?,
            to: text("to")?,
            format: text("format")?,
            name: text("name"),
        },
        "wait-for" => match item.value("condition") {
            Value::Condition(condition) => {
                StepKind::WaitFor { condition: Arc::clone(condition), within: span("within"), every: span("every") }
            }
            _ => return None,
        },
        "delay" => StepKind::Delay(span("time")),
        "sequence" => StepKind::Sequence(inner()),
        "parallel" => {
            StepKind::Parallel { steps: inner(), stop_on_failure: text("on-failure").as_deref() == Some("stop") }
        }
        "repeat" => StepKind::Repeat { times: times(), steps: inner() },
        "retry" => StepKind::Retry {
            times: times(),
            backoff: span("backoff"),
            max_backoff: span("max-backoff"),
            steps: inner(),
        },
        "timeout" => StepKind::Timeout { within: span("within"), steps: inner() },
        "try" => {
            let failure: Vec<&Component> = item.items("on-failure").collect();
            let on_failure = failure.iter().flat_map(|item| steps(item, pool)).collect();
            StepKind::Try { steps: inner(), on_failure: (!failure.is_empty()).then_some(on_failure) }
        }
        "finally" => StepKind::Finally(inner()),
        "emit" => StepKind::Emit(text("event")?),
        "on-event" => StepKind::OnEvent { event: text("event")?, steps: inner() },
        _ => return None,
    })
}
