//! In which order the steps of a plan are done: which are done, running, ready and waiting.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};
use tycoon_market::HostId;
use tycoon_planner::plan::Plan;

use super::AT_ONCE_ON_ONE_HOST;
use crate::error::ExecutorError;
use crate::journal::Outcome;

/// The state of all steps. Everything in it takes time in proportion to the steps and needs concerned.
pub(super) struct Order {
    /// The steps by their number in the plan; an edge leads from a step to one that needs it.
    graph: DiGraph<usize, ()>,
    /// How many needs of each step are not done yet.
    missing: Vec<usize>,
    outcomes: Vec<Option<Outcome>>,
    queues: Vec<Queue>,
    /// The queue of each step.
    queue_of: Vec<usize>,
    /// The queues from which a step can begin now, in the order in which it is their turn.
    open: VecDeque<usize>,
}

/// The steps of one host that can begin, and how many run.
#[derive(Default)]
struct Queue {
    ready: VecDeque<NodeIndex>,
    running: usize,
    /// True where it is among the open queues.
    is_open: bool,
}

impl Order {
    /// The order of a plan of which nothing is done yet.
    ///
    /// # Errors
    /// [`ExecutorError::Order`] where a step needs one that does not come before it.
    pub(super) fn of(plan: &Plan) -> Result<Self, ExecutorError> {
        let mut graph = DiGraph::with_capacity(plan.steps.len(), plan.steps.len() * 2);
        let nodes: Vec<NodeIndex> = (0..plan.steps.len()).map(|number| graph.add_node(number)).collect();
        let mut hosts: BTreeMap<HostId, usize> = BTreeMap::new();
        let mut queue_of = Vec::with_capacity(plan.steps.len());
        for (number, step) in plan.steps.iter().enumerate() {
            // A step may name a need twice; it waits for it once.
            let needs: BTreeSet<usize> = step.needs.iter().map(|need| need.0 as usize).collect();
            if step.id.0 as usize != number || needs.last().is_some_and(|last| *last >= number) {
                return Err(ExecutorError::Order { step: step.id.0 });
            }
            for need in needs {
                graph.add_edge(nodes[need], nodes[number], ());
            }
            let count = hosts.len();
            queue_of.push(*hosts.entry(step.host).or_insert(count));
        }
        let missing: Vec<usize> =
            nodes.iter().map(|&node| graph.neighbors_directed(node, Direction::Incoming).count()).collect();
        let queues = hosts.iter().map(|_| Queue::default()).collect();
        let outcomes = vec![None; plan.steps.len()];
        let mut order = Self { graph, missing, outcomes, queues, queue_of, open: VecDeque::new() };
        for node in nodes {
            if order.missing[order.number(node)] == 0 {
                order.make_ready(node);
            }
        }
        Ok(order)
    }

    /// The number of a step in its plan.
    pub(super) fn number(&self, node: NodeIndex) -> usize {
        self.graph[node]
    }

    /// Takes up to `most` steps that can begin, within the limits of their hosts; one after the other from each host.
    pub(super) fn begin(&mut self, most: usize) -> Vec<NodeIndex> {
        let mut begun = Vec::new();
        while begun.len() < most {
            let Some(index) = self.open.pop_front() else { break };
            let queue = &mut self.queues[index];
            queue.is_open = false;
            if let Some(node) = queue.ready.pop_front() {
                queue.running += 1;
                begun.push(node);
            }
            self.note_open(index);
        }
        begun
    }

    /// Notes how a step ended. Returns it, and the steps that are skipped because of it, with their numbers.
    pub(super) fn end(&mut self, node: NodeIndex, outcome: Outcome) -> Vec<(usize, Outcome)> {
        let number = self.number(node);
        let succeeded = matches!(outcome, Outcome::Done { .. });
        self.outcomes[number] = Some(outcome.clone());
        let index = self.queue_of[number];
        self.queues[index].running = self.queues[index].running.saturating_sub(1);
        self.note_open(index);
        let mut ended = vec![(number, outcome)];
        if succeeded {
            let successors: Vec<NodeIndex> = self.graph.neighbors(node).collect();
            for successor in successors {
                let number = self.number(successor);
                self.missing[number] = self.missing[number].saturating_sub(1);
                if self.missing[number] == 0 && self.outcomes[number].is_none() {
                    self.make_ready(successor);
                }
            }
        } else {
            ended.extend(self.skip_after(node).into_iter().map(|number| (number, Outcome::Skipped)));
        }
        ended
    }

    /// Each step's outcome, in the order of the plan.
    pub(super) fn into_outcomes(self) -> Vec<Option<Outcome>> {
        self.outcomes
    }

    fn make_ready(&mut self, node: NodeIndex) {
        let index = self.queue_of[self.number(node)];
        self.queues[index].ready.push_back(node);
        self.note_open(index);
    }

    /// Queues a queue from which a step can begin, where it is not queued yet.
    fn note_open(&mut self, index: usize) {
        let queue = &mut self.queues[index];
        if !queue.is_open && queue.running < AT_ONCE_ON_ONE_HOST && !queue.ready.is_empty() {
            queue.is_open = true;
            self.open.push_back(index);
        }
    }

    /// Marks everything that needs `node`, directly or not, as skipped.
    fn skip_after(&mut self, node: NodeIndex) -> Vec<usize> {
        let mut skipped = Vec::new();
        let mut open = vec![node];
        while let Some(node) = open.pop() {
            let successors: Vec<NodeIndex> = self.graph.neighbors(node).collect();
            for successor in successors {
                let number = self.number(successor);
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
