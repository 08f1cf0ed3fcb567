//! The resolved pool in types of its own: what the planner and the executor work with.

pub(crate) mod build;
pub mod domain;
pub mod hosts;
pub(crate) mod sound;
pub(crate) mod workflow;

use std::sync::Arc;

use serde::Serialize;
use tycoon_market::{Credits, PoolName, TimeSpan};

use crate::condition::Condition;
use crate::source::Span;
use crate::value::Value;

pub use domain::{
    Address, CloudFile, CloudInit, Domain, FileSystem, Forward, KeepVolumes, Liveness, Nic, Ready, Restart,
    RestartWhen, SaveImage, StartAfter, Store, UpState, Volume,
};
pub use workflow::{Step, StepKind, Workflow};

/// A pool.
#[derive(Clone, Debug)]
pub struct Pool {
    /// Its name.
    pub name: PoolName,
    /// The most that it may spend; without one it takes no paid resources.
    pub budget: Option<Budget>,
    /// How it bids; without it: best response on CPU.
    pub bid: Option<Bid>,
    /// Where its domains may run.
    pub placement: Placement,
    /// Its groups with placements of their own.
    pub groups: Vec<Group>,
    /// All domains, in the order of the description.
    pub domains: Vec<Domain>,
    /// Components with `need`: how many of their instances must live.
    pub needs: Vec<Need>,
    /// The hosts that it names.
    pub hosts: Vec<Host>,
    /// Its schedulers.
    pub schedulers: Vec<Scheduler>,
    /// Its workflows.
    pub workflows: Vec<Workflow>,
    /// What must hold while it runs.
    pub assertions: Vec<Assertion>,
    /// Its results, and those of its components.
    pub outputs: Vec<Output>,
    /// Where it is created.
    pub span: Span,
}

/// What a pool may spend.
#[derive(Clone, Debug, PartialEq)]
pub struct Budget {
    /// Credits.
    pub amount: Credits,
    /// The time they are to last.
    pub duration: TimeSpan,
    /// Kept back for an orderly end.
    pub reserve: Credits,
    /// What happens when the rest is spent.
    pub when_spent: WhenSpent,
    /// Where it is written.
    pub span: Span,
}

/// What happens when a budget is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhenSpent {
    /// Domains are shut down in order, images saved.
    Drain,
    /// Domains are suspended to disk.
    Suspend,
    /// Domains are stopped at once.
    Terminate,
}

/// How a pool bids.
#[derive(Clone, Debug, PartialEq)]
pub struct Bid {
    /// How budgets are divided between hosts.
    pub strategy: BidStrategy,
    /// The probability with which the promised performance is to be kept.
    pub confidence: f64,
    /// How prices are predicted.
    pub model: PriceModel,
    /// How much each resource matters.
    pub weight: BidWeight,
    /// Bounds for single resources.
    pub resources: Vec<BidResource>,
    /// When bids are made anew.
    pub re_bid: Option<ReBid>,
    /// Where it is written.
    pub span: Span,
}

/// How budgets are divided between hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BidStrategy {
    /// The best response to the others' bids.
    BestResponse,
    /// Evenly.
    Fixed,
}

/// How prices are predicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PriceModel {
    /// Prices are normally distributed.
    Normal,
    /// The distribution of greatest entropy with the known moments.
    MaximumEntropy,
    /// Free of any assumption, by Cantelli's inequality.
    Cantelli,
    /// The measured distribution.
    Empirical,
}

/// How much each resource matters; only ratios count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BidWeight {
    /// Processor time.
    pub cpu: f64,
    /// Main memory.
    pub memory: f64,
    /// Disk space.
    pub disk: f64,
    /// Bandwidth towards the domains.
    pub network_in: f64,
    /// Bandwidth from the domains.
    pub network_out: f64,
}

/// Bounds for a resource, in its base unit: micro-CPUs, bytes, bits per second.
#[derive(Clone, Debug, PartialEq)]
pub struct BidResource {
    /// Which one.
    pub kind: tycoon_market::ResourceKind,
    /// How much it matters.
    pub weight: f64,
    /// The least that must be held.
    pub min: Option<tycoon_market::Quantity>,
    /// The most that is of use.
    pub max: Option<tycoon_market::Quantity>,
    /// The part of the funds set aside to keep the minimum, from 0 to below 1.
    pub contingency: f64,
    /// Where it is written.
    pub span: Span,
}

/// When bids are made anew.
#[derive(Clone, Debug, PartialEq)]
pub struct ReBid {
    /// How often that is considered.
    pub every: TimeSpan,
    /// Only while this holds, over `price` and `planned-price`.
    pub when: Option<Arc<Condition>>,
}

/// Where domains may run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Placement {
    /// The most of these domains on one host.
    pub max_per_host: Option<u32>,
    /// The path of the scheduler that chooses the hosts, inside the pool.
    pub by: Option<String>,
    /// Conditions over `host` and `domain` that every chosen host must satisfy.
    pub require: Vec<Arc<Condition>>,
    /// Conditions that make a host better, and how much.
    pub prefer: Vec<(Arc<Condition>, f64)>,
    /// Hosts that are not to be used.
    pub avoid: Vec<String>,
}

impl Placement {
    /// True where it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A group of components with a placement of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Its path inside the pool.
    pub path: String,
    /// Where its domains may run. `max_per_host` counts all of them together.
    pub placement: Placement,
    /// Where it is created.
    pub span: Span,
}

/// How many instances of a component must live.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Need {
    /// The path of the component inside the pool, without a number.
    pub component: String,
    /// How many instances there are.
    pub count: u32,
    /// How many of them must live.
    pub need: u32,
}

/// A host that the pool names; the domains in it run there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its path inside the pool.
    pub path: String,
    /// The name by which it is registered.
    pub address: String,
    /// Where it is created.
    pub span: Span,
}

/// A scheduler: chooses the hosts of what is placed by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scheduler {
    /// Its path inside the pool.
    pub path: String,
    /// The hosts to choose from; empty for all.
    pub hosts: Vec<String>,
    /// How it chooses.
    pub policy: SchedulerPolicy,
    /// Where it is created.
    pub span: Span,
}

/// How a scheduler chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SchedulerPolicy {
    /// The host with the most free memory and CPU.
    LeastLoaded,
    /// The host with the lowest price.
    Cheapest,
    /// One host after the other.
    RoundRobin,
    /// As few hosts as possible.
    FewestHosts,
    /// Any, by the plan's seed.
    Random,
}

/// What must hold while a pool runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Assertion {
    /// The path of the component it stands in, inside the pool; empty for the pool itself.
    pub path: String,
    /// The condition, over live values.
    pub condition: Arc<Condition>,
    /// What to say when it fails.
    pub message: Option<String>,
}

/// A result.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// The path of the component it stands in, inside the pool; empty for the pool itself.
    pub path: String,
    /// Its name.
    pub name: String,
    /// Its value, which may be live.
    pub value: Value,
    /// Where it is written.
    pub span: Span,
}
