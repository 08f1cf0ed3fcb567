//! The order of a plan: its steps over all hosts.

use std::collections::{BTreeMap, BTreeSet};

use tycoon_xen::spec::DomainPath;
use tycoon_xen::status::DomainState;

use super::Draft;
use super::deals::Deal;
use crate::error::PlanError;
use crate::fit::Candidate;
use crate::plan::{Change, DomainPlan, Step};
use crate::steps::{DomainWork, Removals, Steps, finish_host, prepare_host, start_all};

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
                })
                .collect();
            let mut ready = prepare_host(&mut steps, &deal.plan, &work, deal.first_bid.as_ref(), &removals);
            startable.append(&mut ready.startable);
            prepared.push(ready);
        }
        let started = start_all(&mut steps, startable, &self.start_order()).map_err(|circle| {
            let names: Vec<String> = circle.iter().map(|path| format!("`{path}`")).collect();
            PlanError::Unsound {
                problem: format!("{} start after each other: none can be the first", names.join(", ")),
                help: "take one `start-after` away".into(),
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

    /// Which domains each domain starts after.
    fn start_order(&self) -> BTreeMap<DomainPath, Vec<DomainPath>> {
        let ordered = self.wanted.iter().filter(|candidate| !candidate.domain.start_after.is_empty());
        ordered
            .map(|candidate| {
                let named = |path: &DomainPath| {
                    candidate.domain.start_after.iter().any(|first| {
                        let rest = path.as_str().strip_prefix(first.path.as_str());
                        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
                    })
                };
                let first = self.wanted.iter().map(path_of).filter(|path| named(path)).cloned();
                (candidate.spec.path.clone(), first.collect())
            })
            .collect()
    }
}

fn path_of<'a>(candidate: &'a Candidate<'_>) -> &'a DomainPath {
    &candidate.spec.path
}
