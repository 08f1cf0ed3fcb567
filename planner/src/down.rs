//! The way back: every domain of a pool removed, every host account closed, everything left refunded.

use tycoon_market::{Credits, PoolName};
use tycoon_xen::save::SaveImage;
use tycoon_xen::spec::DomainPath;
use tycoon_xen::status::DomainStatus;

use crate::error::PlanError;
use crate::plan::{Change, DomainPlan, Goal, HostPlan, Money, Plan, PlanId, Report, digest};
use crate::steps::{Removals, Steps, finish_host, prepare_host};
use crate::world::{HostView, World};

/// What becomes of root volumes that are to be saved where a pool goes down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Saving {
    /// They are saved as is asked for.
    #[default]
    AsAsked,
    /// The same, in this folder.
    To(String),
    /// They are not saved.
    Never,
}

impl Saving {
    fn of(&self, asked: Option<SaveImage>) -> Option<SaveImage> {
        match self {
            Self::AsAsked => asked,
            Self::To(to) => asked.map(|asked| SaveImage { to: to.clone(), ..asked }),
            Self::Never => None,
        }
    }
}

/// The plan that undoes a pool, from what the hosts and the bank know of it: no description and no local state is
/// needed. It has no steps where nothing is left of the pool.
///
/// Root volumes are saved first as the description said when the pool was last brought up, which hosts keep with the domains,
/// or as `saving` says.
///
/// # Errors
/// [`PlanError::Overflow`] where the sums of the hosts make no sense.
pub fn plan_down(pool: &PoolName, world: &World, saving: &Saving) -> Result<Plan, PlanError> {
    let holds_something = |host: &&HostView| {
        host.account.is_some() || host.present().next().is_some() || !host.unredeemed.is_empty() || host.is_unsettled
    };
    let mut steps = Steps::default();
    let mut removals = Removals::default();
    let (mut domains, mut hosts) = (Vec::new(), Vec::new());
    let mut generation = world.history.generation;
    for host in world.hosts.iter().filter(holds_something) {
        for status in host.present() {
            let Some(ownership) = &status.ownership else { continue };
            generation = generation.max(ownership.generation);
            let mut removal = removal(host, &ownership.path, status);
            removal.saves = saving.of(removal.saves);
            removals.add(&mut steps, host.id, &removal.path, &removal.keeps, removal.saves.as_ref());
            domains.push(removal);
        }
        hosts.push(leave(host));
    }
    for host in &hosts {
        let prepared = prepare_host(&mut steps, host, &[], None, &removals);
        finish_host(&mut steps, host, &prepared, &[], false);
    }
    domains.sort_by(|a, b| a.path.natural_order().cmp(&b.path.natural_order()));
    let refund = Credits::checked_sum(hosts.iter().map(|host| host.refund));
    let mut plan = Plan {
        id: PlanId::from_bytes([0; 16]),
        parent: world.history.parent,
        generation: generation.saturating_add(1),
        pool: pool.clone(),
        account: world.account,
        created_at: world.collected_at,
        goal: Goal::Down,
        period: None,
        domains,
        hosts,
        steps: steps.into_vec(),
        report: Report { unreached: world.unreached(), ..Report::default() },
        money: Money {
            refund: refund.ok_or(PlanError::Overflow { what: "the sum of all refunds" })?,
            balance: world.balance,
            ..Money::default()
        },
    };
    plan.id = digest(&plan);
    Ok(plan)
}

/// The removal of a domain from a host, where its description's `keep-volumes` says what stays.
pub(crate) fn removal(host: &HostView, path: &DomainPath, status: &DomainStatus) -> DomainPlan {
    let keeps = status.stays_at_end();
    DomainPlan {
        path: path.clone(),
        change: Change::Remove,
        host: host.id,
        host_name: host.name.clone(),
        spec: None,
        expected_cpu: None,
        rate: None,
        saves: status.saved_at_end(),
        deletes: keeps.is_empty() || status.volumes.len() > keeps.len(),
        keeps,
    }
}

/// The market side of a host that a pool leaves.
pub(crate) fn leave(host: &HostView) -> HostPlan {
    HostPlan {
        // A receipt that the host never saw is handed to it first: closing then returns its money too.
        redeem: host.unredeemed.iter().map(|escrow| escrow.escrow).collect(),
        refund: host.account.as_ref().map_or(Credits::ZERO, |account| account.balance),
        closes: true,
        ..HostPlan::untouched(host)
    }
}
