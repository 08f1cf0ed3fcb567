//! Looks over a finished plan for nonsense: the last check before anything is spent.

use std::collections::{BTreeMap, BTreeSet};

use tycoon_market::Credits;
use tycoon_xen::spec::{Addressing, DomainSpec};

use crate::error::PlanError;
use crate::plan::{Action, Goal, Plan};

/// Checks a plan against itself: addresses and names are unique, money is within the budget and the balance, steps
/// only need earlier steps, nothing runs before it is paid for.
///
/// # Errors
/// [`PlanError::Unsound`] for the first thing that is wrong.
pub fn check(plan: &Plan) -> Result<(), PlanError> {
    unique_addresses(plan)?;
    money(plan)?;
    order(plan)
}

fn unsound(problem: String, help: &str) -> PlanError {
    PlanError::Unsound { problem, help: help.to_owned(), span: None }
}

fn specs(plan: &Plan) -> impl Iterator<Item = &DomainSpec> {
    plan.domains.iter().filter_map(|domain| domain.spec.as_ref())
}

fn unique_addresses(plan: &Plan) -> Result<(), PlanError> {
    let mut owners = BTreeMap::new();
    for spec in specs(plan) {
        for nic in &spec.nics {
            if let Addressing::Static { address, .. } = nic.address
                && let Some(other) = owners.insert(address, &spec.path)
            {
                let problem = format!("`{other}` and `{}` both have the address {address}", spec.path);
                return Err(unsound(problem, "give each machine an address of its own, or let `eth0` use DHCP"));
            }
        }
    }
    Ok(())
}

fn money(plan: &Plan) -> Result<(), PlanError> {
    let escrows = plan.hosts.iter().filter_map(|host| host.escrow.map(|escrow| escrow.amount));
    let total = Credits::checked_sum(escrows).ok_or(PlanError::Overflow { what: "the sum of all escrows" })?;
    if total != plan.money.escrow {
        return Err(unsound(
            format!("the escrows add up to {total} credits, and the plan says {}", plan.money.escrow),
            REPORT,
        ));
    }
    if let Some(period) = plan.period
        && total > period.budget
    {
        return Err(unsound(
            format!("{total} credits would be put in escrow, and the budget is {}", period.budget),
            REPORT,
        ));
    }
    if total > plan.money.balance {
        return Err(unsound(format!("{total} credits would be put in escrow, and the account has less"), REPORT));
    }
    Ok(())
}

const REPORT: &str = "this is a fault of the planner, not of your description; please report it";

fn order(plan: &Plan) -> Result<(), PlanError> {
    let mut bid_on = BTreeSet::new();
    for (number, step) in plan.steps.iter().enumerate() {
        if step.id.0 as usize != number || step.needs.iter().any(|need| need.0 as usize >= number) {
            return Err(unsound(format!("step {} needs a later one", step.id.0), REPORT));
        }
        match &step.action {
            Action::Bid { .. } => {
                bid_on.insert(step.host);
            }
            Action::EnsureVolumes { spec } if plan.goal == Goal::Up => {
                let stands = plan.host(&step.host).and_then(|host| host.bid.as_ref()).is_some_and(|b| b.bid.is_none());
                if !stands && !bid_on.contains(&step.host) {
                    return Err(unsound(
                        format!("`{}` would be made before anything is bid for it", spec.path),
                        REPORT,
                    ));
                }
            }
            _ => {}
        }
    }
    Ok(())
}
