//! The steps of a plan and what each of them waits for.

use std::collections::{BTreeMap, BTreeSet};

use tycoon_lang::pool::Ready;
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
    /// When it is ready, where its description says.
    pub ready: Option<&'a Ready>,
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

/// A domain that can be started, and the steps that made it so.
pub struct Startable<'a> {
    host: HostId,
    path: DomainPath,
    needs: Vec<StepId>,
    /// What it is to be, where that is said only now: after those whose addresses it waits for.
    define: Option<DomainSpec>,
    /// False where it is only to be defined.
    starts: bool,
    /// When it is ready.
    ready: Option<&'a Ready>,
}

/// What one host still waits for after its domains are made.
pub struct Prepared<'a> {
    /// The steps that must be done before its last ones, starts not counted.
    done: Vec<StepId>,
    /// The domains to be started.
    pub startable: Vec<Startable<'a>>,
}

/// A domain that must be up before another starts.
pub struct Before {
    /// It.
    pub path: DomainPath,
    /// True where it must be ready, too.
    pub is_ready: bool,
}

/// Adds the steps of one host up to where its domains can be started, after all [`Removals`]:
///
/// ```text
/// removals ─┬→ open escrow → fund ─┬→ bid → image → volumes → define ┄→ start ┄→ final bid ─┬→ refund
///           └──────────────────────┘   (stop first, where a domain restarts)                └→ close account
/// ```
///
/// `first_bid` stands while domains change, where the final bid would be too small for that.
pub fn prepare_host<'a>(
    steps: &mut Steps,
    host: &HostPlan,
    work: &[DomainWork<'a>],
    first_bid: Option<&Bid>,
    removals: &Removals,
) -> Prepared<'a> {
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
fn prepare_domain<'a>(
    steps: &mut Steps,
    host: HostId,
    domain: &DomainWork<'a>,
    mut needs: Vec<StepId>,
    ready: &[StepId],
    images: &mut BTreeMap<String, StepId>,
    prepared: &mut Prepared<'a>,
) {
    let Some(spec) = domain.spec else { return };
    match domain.change {
        Change::Keep | Change::Remove => return,
        Change::Start { .. } => {
            let (path, ready) = (spec.path.clone(), domain.ready);
            prepared.startable.push(Startable { host, path, needs, define: None, starts: true, ready });
            return;
        }
        Change::Update { restart: false, .. } => {
            let starts = domain.is_suspended && domain.starts;
            define(steps, host, spec, needs, starts.then_some(domain.ready), prepared);
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
    define(steps, host, spec, vec![volumes], domain.starts.then_some(domain.ready), prepared);
}

/// Adds the definition of a domain, or puts it off where it waits for others. `starts` says when it is ready, where it starts.
fn define<'a>(
    steps: &mut Steps,
    host: HostId,
    spec: &DomainSpec,
    needs: Vec<StepId>,
    starts: Option<Option<&'a Ready>>,
    prepared: &mut Prepared<'a>,
) {
    let path = spec.path.clone();
    let (starts, ready) = (starts.is_some(), starts.flatten());
    if !spec.cloud_init.late.is_empty() {
        prepared.startable.push(Startable { host, path, needs, define: Some(spec.clone()), starts, ready });
        return;
    }
    let defined = steps.add(host, Action::EnsureDomain { spec: spec.clone() }, &needs);
    prepared.done.push(defined);
    if starts {
        prepared.startable.push(Startable { host, path, needs: vec![defined], define: None, starts, ready });
    }
}

/// Adds the starts of all hosts, in an order in which each domain comes after those it starts after. `starts_after`
/// names them: those that are started in this plan are waited for, and those of `standing`, which run already, until they are
/// ready. Returns each domain's last step.
///
/// # Errors
/// The domains that wait for each other in a circle.
pub fn start_all(
    steps: &mut Steps,
    startable: Vec<Startable<'_>>,
    starts_after: &BTreeMap<DomainPath, Vec<Before>>,
    standing: &BTreeMap<&DomainPath, (HostId, &Ready)>,
) -> Result<BTreeMap<DomainPath, StepId>, Vec<DomainPath>> {
    let mut waiting = startable;
    let mut started: BTreeMap<DomainPath, StepId> = BTreeMap::new();
    let mut ready: BTreeMap<DomainPath, StepId> = BTreeMap::new();
    while !waiting.is_empty() {
        let open: BTreeSet<DomainPath> = waiting.iter().map(|domain| domain.path.clone()).collect();
        let before = |path: &DomainPath| starts_after.get(path).map(Vec::as_slice).unwrap_or_default();
        let can_start = |domain: &Startable<'_>| {
            before(&domain.path).iter().all(|first| !open.contains(&first.path) || first.path == domain.path)
        };
        let (now, later): (Vec<_>, Vec<_>) = waiting.into_iter().partition(can_start);
        if now.is_empty() {
            let mut circle: Vec<DomainPath> = later.into_iter().map(|domain| domain.path).collect();
            circle.sort();
            return Err(circle);
        }
        let (mut round, mut listening_of) = (Vec::new(), Vec::new());
        for domain in now {
            let mut needs = domain.needs.clone();
            let is_up = |first: &Before, ready: &BTreeMap<DomainPath, StepId>| {
                let listens = if first.is_ready { ready.get(&first.path) } else { None };
                listens.or_else(|| started.get(&first.path)).copied()
            };
            for first in before(&domain.path).iter().filter(|first| first.is_ready) {
                let Some((host, standing)) = standing.get(&first.path) else { continue };
                if !ready.contains_key(&first.path) && !started.contains_key(&first.path) {
                    let step = listening(steps, *host, &first.path, standing, &[]);
                    ready.extend(step.map(|step| (first.path.clone(), step)));
                }
            }
            needs.extend(before(&domain.path).iter().filter_map(|first| is_up(first, &ready)));
            let mut last = None;
            if let Some(spec) = domain.define {
                let defined = steps.add(domain.host, Action::EnsureDomain { spec }, &needs);
                (needs, last) = (vec![defined], Some(defined));
            }
            if domain.starts {
                last = Some(steps.add(domain.host, Action::EnsureRunning { path: domain.path.clone() }, &needs));
            }
            let Some(last) = last else { continue };
            let waited = domain.ready.and_then(|ready| listening(steps, domain.host, &domain.path, ready, &[last]));
            listening_of.extend(waited.map(|step| (domain.path.clone(), step)));
            round.push((domain.path, last));
        }
        started.extend(round);
        ready.extend(listening_of);
        waiting = later;
    }
    Ok(started)
}

/// Adds the step that waits until a domain listens, where its being ready means that.
fn listening(steps: &mut Steps, host: HostId, path: &DomainPath, ready: &Ready, needs: &[StepId]) -> Option<StepId> {
    let (path, within) = (path.clone(), ready.within);
    ready.tcp.map(|port| steps.add(host, Action::EnsureListening { path, port, within }, needs))
}

/// Adds the last steps of one host: the final bid, where another stood while domains changed, and the money that goes
/// back.
pub fn finish_host(
    steps: &mut Steps,
    host: &HostPlan,
    prepared: &Prepared<'_>,
    started: &[StepId],
    had_first_bid: bool,
) {
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
