//! The steps of a plan and what each of them waits for.

use std::collections::BTreeMap;

use tycoon_market::HostId;
use tycoon_market::bid::Bid;
use tycoon_xen::spec::{DomainPath, DomainSpec};

use crate::plan::{Action, Change, HostPlan, Step, StepId};

/// Collects steps and numbers them.
#[derive(Default)]
pub struct Steps {
    steps: Vec<Step>,
}

impl Steps {
    /// Adds a step.
    pub fn add(&mut self, host: HostId, action: Action, needs: &[StepId]) -> StepId {
        let id = StepId(u32::try_from(self.steps.len()).unwrap_or(u32::MAX));
        self.steps.push(Step { id, host, action, needs: needs.to_vec() });
        id
    }

    /// All steps.
    pub fn into_vec(self) -> Vec<Step> {
        self.steps
    }
}

/// What is done with one domain on one host.
pub struct DomainWork<'a> {
    /// The domain.
    pub path: &'a DomainPath,
    /// What it should be; none where it goes.
    pub spec: Option<&'a DomainSpec>,
    /// How it changes.
    pub change: &'a Change,
}

/// The steps that remove domains, over all hosts. They come before all others: a domain that moves is started
/// elsewhere only after it is gone where it was.
#[derive(Default)]
pub struct Removals {
    by_host: BTreeMap<HostId, Vec<StepId>>,
    by_domain: BTreeMap<DomainPath, StepId>,
}

impl Removals {
    /// Adds the removal of one domain from one host.
    pub fn add(&mut self, steps: &mut Steps, host: HostId, path: &DomainPath) {
        let stopped = steps.add(host, Action::EnsureStopped { path: path.clone() }, &[]);
        let absent = steps.add(host, Action::EnsureAbsent { path: path.clone() }, &[stopped]);
        self.by_host.entry(host).or_default().push(absent);
        self.by_domain.insert(path.clone(), absent);
    }
}

/// Adds the steps of one host, after all [`Removals`]:
///
/// ```text
/// removals ─┬→ open escrow → fund ─┬→ bid → image → volumes → define → start ─→ final bid ─┬→ refund
///           └──────────────────────┘   (stop first, where a domain restarts)               └→ close account
/// ```
///
/// `first_bid` stands while domains change, where the final bid would be too small for that.
pub fn add_host(
    steps: &mut Steps,
    host: &HostPlan,
    work: &[DomainWork<'_>],
    first_bid: Option<&Bid>,
    removals: &Removals,
) {
    let mut paid = removals.by_host.get(&host.id).cloned().unwrap_or_default();
    if let Some(escrow) = host.escrow {
        let opened = steps.add(host.id, Action::OpenEscrow { escrow }, &[]);
        paid.push(steps.add(host.id, Action::Fund { escrow: escrow.id }, &[opened]));
    }
    for escrow in &host.redeem {
        paid.push(steps.add(host.id, Action::Fund { escrow: *escrow }, &[]));
    }
    let final_bid = host.bid.as_ref().and_then(|planned| planned.bid.as_ref());
    let mut ready = paid;
    if let Some(bid) = first_bid.or(final_bid) {
        ready = vec![steps.add(host.id, Action::Bid { bid: bid.clone() }, &ready)];
    }
    let mut done = ready.clone();
    let mut images = BTreeMap::new();
    for domain in work {
        let removed = removals.by_domain.get(domain.path);
        done.extend(add_domain(steps, host.id, domain, &ready, &mut images, removed));
    }
    if first_bid.is_some()
        && let Some(bid) = final_bid
    {
        done = vec![steps.add(host.id, Action::Bid { bid: bid.clone() }, &done)];
    }
    if host.closes {
        steps.add(host.id, Action::CloseAccount, &done);
    } else if !host.refund.is_zero() {
        steps.add(host.id, Action::Refund { leave: host.leave, amount: host.refund }, &done);
    }
}

/// Adds the steps that bring one domain up; none for domains that stay or go.
fn add_domain(
    steps: &mut Steps,
    host: HostId,
    domain: &DomainWork<'_>,
    ready: &[StepId],
    images: &mut BTreeMap<String, StepId>,
    removed: Option<&StepId>,
) -> Option<StepId> {
    let spec = domain.spec?;
    let mut needs = ready.to_vec();
    needs.extend(removed);
    match domain.change {
        Change::Keep | Change::Remove => return None,
        Change::Start { .. } => {
            return Some(steps.add(host, Action::EnsureRunning { path: spec.path.clone() }, &needs));
        }
        Change::Update { restart: false, .. } => {
            return Some(steps.add(host, Action::EnsureDomain { spec: spec.clone() }, &needs));
        }
        Change::Update { restart: true, .. } => {
            needs = vec![steps.add(host, Action::EnsureStopped { path: spec.path.clone() }, &needs)];
        }
        Change::Create | Change::Replace { .. } => {
            let image = *images
                .entry(spec.image.clone())
                .or_insert_with(|| steps.add(host, Action::EnsureImage { image: spec.image.clone() }, ready));
            needs.push(image);
        }
    }
    let volumes = steps.add(host, Action::EnsureVolumes { spec: spec.clone() }, &needs);
    let defined = steps.add(host, Action::EnsureDomain { spec: spec.clone() }, &[volumes]);
    Some(steps.add(host, Action::EnsureRunning { path: spec.path.clone() }, &[defined]))
}
