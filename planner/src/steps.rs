//! The steps of a plan and what each of them waits for.

use std::collections::{BTreeMap, BTreeSet};

use tycoon_market::HostId;
use tycoon_market::bid::Bid;
use tycoon_xen::save::SaveImage;
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
    /// False for a domain that only its workflow starts.
    pub starts: bool,
    /// True where it is suspended: whatever else is done, it goes on.
    pub is_suspended: bool,
}

/// The steps that remove domains, over all hosts. They come before all others: a domain that moves is made elsewhere
/// only after it is gone where it was.
#[derive(Default)]
pub struct Removals {
    by_host: BTreeMap<HostId, Vec<StepId>>,
    by_domain: BTreeMap<DomainPath, StepId>,
}

impl Removals {
    /// Adds the removal of one domain from one host, where the volumes with the names `keep` stay. Where its root volume is
    /// to be saved, it is removed only once that has succeeded.
    pub fn add(
        &mut self,
        steps: &mut Steps,
        host: HostId,
        path: &DomainPath,
        keep: &[String],
        saves: Option<&SaveImage>,
    ) {
        let mut ready = steps.add(host, Action::EnsureStopped { path: path.clone() }, &[]);
        if let Some(save) = saves {
            ready = steps.add(host, Action::SaveImage { path: path.clone(), save: save.clone() }, &[ready]);
        }
        let absent = steps.add(host, Action::EnsureAbsent { path: path.clone(), keep: keep.to_vec() }, &[ready]);
        self.by_host.entry(host).or_default().push(absent);
        self.by_domain.insert(path.clone(), absent);
    }
}

/// A domain that is ready to be started, and the steps that made it so.
pub struct Startable {
    host: HostId,
    path: DomainPath,
    needs: Vec<StepId>,
}

/// What one host still waits for after its domains are made.
pub struct Prepared {
    /// The steps that must be done before its last ones, starts not counted.
    done: Vec<StepId>,
    /// The domains to be started.
    pub startable: Vec<Startable>,
}

/// Adds the steps of one host up to where its domains can be started, after all [`Removals`]:
///
/// ```text
/// removals ─┬→ open escrow → fund ─┬→ bid → image → volumes → define ┄→ start ┄→ final bid ─┬→ refund
///           └──────────────────────┘   (stop first, where a domain restarts)                └→ close account
/// ```
///
/// `first_bid` stands while domains change, where the final bid would be too small for that.
pub fn prepare_host(
    steps: &mut Steps,
    host: &HostPlan,
    work: &[DomainWork<'_>],
    first_bid: Option<&Bid>,
    removals: &Removals,
) -> Prepared {
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
    let mut prepared = Prepared { done: ready.clone(), startable: Vec::new() };
    let mut images = BTreeMap::new();
    for domain in work {
        let mut needs = ready.clone();
        needs.extend(removals.by_domain.get(domain.path));
        prepare_domain(steps, host.id, domain, needs, &ready, &mut images, &mut prepared);
    }
    prepared
}

/// Adds the steps that make one domain startable; none for domains that stay or go.
fn prepare_domain(
    steps: &mut Steps,
    host: HostId,
    domain: &DomainWork<'_>,
    mut needs: Vec<StepId>,
    ready: &[StepId],
    images: &mut BTreeMap<String, StepId>,
    prepared: &mut Prepared,
) {
    let Some(spec) = domain.spec else { return };
    match domain.change {
        Change::Keep | Change::Remove => return,
        Change::Start { .. } => {
            prepared.startable.push(Startable { host, path: spec.path.clone(), needs });
            return;
        }
        Change::Update { restart: false, .. } => {
            let defined = steps.add(host, Action::EnsureDomain { spec: spec.clone() }, &needs);
            prepared.done.push(defined);
            if domain.is_suspended && domain.starts {
                prepared.startable.push(Startable { host, path: spec.path.clone(), needs: vec![defined] });
            }
            return;
        }
        Change::Update { restart: true, .. } => {
            needs = vec![steps.add(host, Action::EnsureStopped { path: spec.path.clone() }, &needs)];
        }
        Change::Create | Change::TakeUp { .. } | Change::Replace { .. } => {
            let image = *images
                .entry(spec.image.clone())
                .or_insert_with(|| steps.add(host, Action::EnsureImage { image: spec.image.clone() }, ready));
            needs.push(image);
        }
    }
    let volumes = steps.add(host, Action::EnsureVolumes { spec: spec.clone() }, &needs);
    let defined = steps.add(host, Action::EnsureDomain { spec: spec.clone() }, &[volumes]);
    prepared.done.push(defined);
    if domain.starts {
        prepared.startable.push(Startable { host, path: spec.path.clone(), needs: vec![defined] });
    }
}

/// Adds the starts of all hosts, in an order in which each domain comes after those it starts after. `starts_after`
/// names them: only domains that are started in this plan are waited for. Returns each domain's start.
///
/// # Errors
/// The domains that wait for each other in a circle.
pub fn start_all(
    steps: &mut Steps,
    startable: Vec<Startable>,
    starts_after: &BTreeMap<DomainPath, Vec<DomainPath>>,
) -> Result<BTreeMap<DomainPath, StepId>, Vec<DomainPath>> {
    let mut waiting = startable;
    let mut started: BTreeMap<DomainPath, StepId> = BTreeMap::new();
    while !waiting.is_empty() {
        let open: BTreeSet<DomainPath> = waiting.iter().map(|domain| domain.path.clone()).collect();
        let before = |path: &DomainPath| starts_after.get(path).map(Vec::as_slice).unwrap_or_default();
        let can_start = |domain: &Startable| {
            before(&domain.path).iter().all(|first| !open.contains(first) || *first == domain.path)
        };
        let (now, later): (Vec<_>, Vec<_>) = waiting.into_iter().partition(can_start);
        if now.is_empty() {
            return Err(later.into_iter().map(|domain| domain.path).collect());
        }
        let mut round = Vec::new();
        for domain in now {
            let mut needs = domain.needs.clone();
            needs.extend(before(&domain.path).iter().filter_map(|first| started.get(first)));
            let step = steps.add(domain.host, Action::EnsureRunning { path: domain.path.clone() }, &needs);
            round.push((domain.path, step));
        }
        started.extend(round);
        waiting = later;
    }
    Ok(started)
}

/// Adds the last steps of one host: the final bid, where another stood while domains changed, and the money that goes
/// back.
pub fn finish_host(steps: &mut Steps, host: &HostPlan, prepared: &Prepared, started: &[StepId], had_first_bid: bool) {
    let mut done = prepared.done.clone();
    done.extend_from_slice(started);
    let final_bid = host.bid.as_ref().and_then(|planned| planned.bid.as_ref());
    if let (true, Some(bid)) = (had_first_bid, final_bid) {
        done = vec![steps.add(host.id, Action::Bid { bid: bid.clone() }, &done)];
    }
    if host.closes {
        steps.add(host.id, Action::CloseAccount, &done);
    } else if !host.refund.is_zero() {
        steps.add(host.id, Action::Refund { leave: host.leave, amount: host.refund }, &done);
    }
}
