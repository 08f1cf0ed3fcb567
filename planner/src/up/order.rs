//! The order of a plan: its steps over all hosts.

use std::collections::{BTreeMap, BTreeSet};

use tycoon_lang::pool::{Ready, UpState};
use tycoon_xen::spec::DomainPath;
use tycoon_xen::status::DomainState;

use super::Draft;
use super::deals::Deal;
use crate::error::PlanError;
use crate::fit::Candidate;
use crate::late::domain_of;
use crate::plan::{Change, DomainPlan, Step};
use crate::steps::{Before, DomainWork, Removals, Steps, finish_host, prepare_host, start_all};

impl Draft<'_> {
    /// The steps, each after those it needs.
    pub(super) fn steps(&self, domains: &[DomainPlan], deals: &[Deal]) -> Result<Vec<Step>, PlanError> {
        let mut steps = Steps::default();
        let mut removals = Removals::default();
        for domain in domains {
            match &domain.change {
                Change::Remove => {
                    removals.add(&mut steps, domain.host, &domain.path, &domain.keeps, domain.saves.as_ref());
                }
                Change::Replace { from, .. } => {
                    let leaves = from.as_ref().map_or(domain.host, |(host, _)| *host);
                    removals.add(&mut steps, leaves, &domain.path, &domain.keeps, domain.saves.as_ref());
                }
                _ => {}
            }
        }
        let starts: BTreeSet<&DomainPath> =
            self.wanted.iter().filter(|candidate| !candidate.domain.starts_by_workflow).map(path_of).collect();
        let ready: BTreeMap<&DomainPath, &Ready> =
            self.wanted.iter().filter_map(|wanted| Some((path_of(wanted), wanted.domain.ready.as_ref()?))).collect();
        let mut prepared = Vec::new();
        let mut startable = Vec::new();
        for deal in deals {
            let here = domains.iter().filter(|domain| domain.host == deal.plan.id);
            let work: Vec<DomainWork<'_>> = here
                .map(|domain| DomainWork {
                    path: &domain.path,
                    spec: domain.spec.as_ref(),
                    change: &domain.change,
                    starts: starts.contains(&domain.path),
                    is_suspended: self.is_suspended(&domain.path),
                    ready: ready.get(&domain.path).copied(),
                })
                .collect();
            let mut done = prepare_host(&mut steps, &deal.plan, &work, deal.first_bid.as_ref(), &removals);
            startable.append(&mut done.startable);
            prepared.push(done);
        }
        let stands = domains
            .iter()
            .filter(|domain| matches!(domain.change, Change::Keep | Change::Update { restart: false, .. }));
        let standing =
            stands.filter_map(|domain| Some((&domain.path, (domain.host, *ready.get(&domain.path)?)))).collect();
        let started = start_all(&mut steps, startable, &self.start_order(), &standing).map_err(|circle| {
            let names: Vec<String> = circle.iter().map(|path| format!("`{path}`")).collect();
            PlanError::Unsound {
                problem: format!("{} start after each other: none can be the first", names.join(", ")),
                help: "take one `start-after` away, or one of the addresses that they tell each other".into(),
                span: None,
            }
        })?;
        for (deal, prepared) in deals.iter().zip(&prepared) {
            let here = domains.iter().filter(|domain| domain.host == deal.plan.id);
            let started: Vec<_> = here.filter_map(|domain| started.get(&domain.path).copied()).collect();
            finish_host(&mut steps, &deal.plan, prepared, &started, deal.first_bid.is_some());
        }
        Ok(steps.into_vec())
    }

    fn is_suspended(&self, path: &DomainPath) -> bool {
        let now = self.domains.get(path).and_then(|placed| placed.now);
        now.is_some_and(|status| status.state == DomainState::Paused)
    }

    /// Which domains each domain starts after: those that its description names, and those whose addresses it gets told.
    fn start_order(&self) -> BTreeMap<DomainPath, Vec<Before>> {
        self.wanted
            .iter()
            .map(|candidate| {
                let mut before = Vec::new();
                for first in &candidate.domain.start_after {
                    let is_named = |path: &&DomainPath| {
                        let rest = path.as_str().strip_prefix(first.path.as_str());
                        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
                    };
                    let named = self.wanted.iter().map(path_of).filter(is_named);
                    before.extend(
                        named.map(|path| Before { path: path.clone(), is_ready: first.state == UpState::Ready }),
                    );
                }
                let told = candidate.spec.cloud_init.late.keys().filter_map(|path| domain_of(path));
                let others = told.filter(|path| *path != candidate.spec.path);
                before.extend(others.map(|path| Before { path, is_ready: false }));
                (candidate.spec.path.clone(), before)
            })
            .collect()
    }
}

fn path_of<'a>(candidate: &'a Candidate<'_>) -> &'a DomainPath {
    &candidate.spec.path
}
