//! Does the steps: one call to a bank or a host each.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tycoon_market::auctioneer::AccountState;
use tycoon_market::{HostId, TimeSpan};
use tycoon_planner::late::domain_of;
use tycoon_planner::plan::{Action, Change, DomainPlan, Plan, Step};
use tycoon_xen::market::{BidRequest, RefundRequest};
use tycoon_xen::protocol::{Answer, HostError, Request};
use tycoon_xen::save::SaveImage;
use tycoon_xen::spec::{DomainPath, DomainSpec};
use tycoon_xen::status::{DomainState, DomainStatus};

use crate::engine::{Performer, StepError, StopFlag};
use crate::inventory::domains;
use crate::link::{LinkError, NO_ACCOUNT, Site, SiteHost};
use crate::progress::{Event, Observer};
use crate::save::{self, SaveError, Saved, Subject, Target};

/// How long a domain may take to shut down before it is destroyed, in milliseconds.
const SHUTDOWN_GRACE_MS: u64 = 30_000;
/// How long a domain may take to come up or to stop.
const PATIENCE: Duration = Duration::from_secs(180);
/// How long a running domain may take to give memory back.
const ROOM_PATIENCE: Duration = Duration::from_secs(20);
/// How soon a domain that is waited for is looked at again: at first, and in the end. Every look is a call that the host
/// counts.
const POLL: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Does steps on the hosts of a site.
pub struct SitePerformer {
    site: Arc<dyn Site>,
    hosts: BTreeMap<HostId, SiteHost>,
    saver: Saver,
}

/// What saves root volumes on this machine.
#[derive(Clone)]
pub struct Saver {
    /// Hears how far it is.
    pub observer: Arc<dyn Observer>,
    /// Ends it.
    pub stop: StopFlag,
    /// What was saved.
    pub saved: Arc<Mutex<Vec<Saved>>>,
}

impl SitePerformer {
    /// A performer for these hosts.
    pub fn new(site: Arc<dyn Site>, hosts: &[SiteHost], saver: Saver) -> Self {
        Self { site, hosts: hosts.iter().map(|host| (host.id, host.clone())).collect(), saver }
    }

    /// Saves the root volume of a domain that is stopped.
    fn save(&self, plan: &Plan, host: &SiteHost, path: &DomainPath, wanted: &SaveImage) -> Result<bool, LinkError> {
        const ROOT: &str = "root";
        let all = domains(host, Some(&plan.pool))?;
        let is_it = |status: &&DomainStatus| status.ownership.as_ref().is_some_and(|own| own.path == *path);
        // What is gone already has nothing to save: the last run was killed after it was removed.
        let Some(status) = all.iter().find(is_it).filter(|status| status.kept.is_none()) else { return Ok(false) };
        let stream = host.link.open_volume(&status.name, ROOT).map_err(not_saved)?;
        let subject = Subject {
            account: plan.account,
            pool: plan.pool.clone(),
            domain: path.clone(),
            volume: ROOT.to_owned(),
            image: status.spec.as_ref().map(|spec| spec.image.clone()),
            host: host.name.clone(),
            is_simulated: host.is_simulated,
        };
        let target = Target { folder: Path::new(&wanted.to), name: wanted.name.as_deref(), format: wanted.format };
        let watch = |bytes, total_bytes| {
            self.saver.observer.observe(&Event::Saving { path, bytes, total_bytes });
            if self.saver.stop.is_set() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let now = self.site.clock().now();
        let saved = save::save(stream, subject, &target, now, &watch).map_err(|error| {
            let is_transient = matches!(error, SaveError::Reading(_));
            let (code, message) = ("save.failed".to_owned(), error.to_string());
            not_saved(LinkError::Refused { code, message, help: None, is_transient })
        })?;
        self.saver.observer.observe(&Event::Saved { saved: &saved });
        self.saver.saved.lock().unwrap_or_else(PoisonError::into_inner).push(saved);
        Ok(true)
    }

    fn act(&self, plan: &Plan, step: &Step, host: &SiteHost) -> Result<bool, LinkError> {
        let (pool, generation) = (plan.pool.clone(), plan.generation);
        match &step.action {
            Action::OpenEscrow { escrow } => {
                self.site.bank().open_escrow(&pool, host, escrow)?;
                Ok(true)
            }
            Action::Fund { escrow } => {
                let receipt = self.site.bank().receipt(*escrow)?;
                host.link.fund(&pool, &receipt)?;
                Ok(true)
            }
            Action::Bid { bid } => {
                let report = host.link.bid(&pool, &BidRequest { generation, bid: bid.clone() })?;
                match admitted(host, report.state) {
                    None => Ok(true),
                    Some(refusal) => Err(refusal),
                }
            }
            Action::Refund { leave, .. } => {
                host.link.refund(&pool, &RefundRequest { generation, leave: *leave })?;
                Ok(true)
            }
            Action::CloseAccount => {
                let report = match host.link.close(&pool, generation) {
                    // Domains can be left where there is no account: then the host has lost its records.
                    Err(LinkError::Refused { code, .. }) if code == NO_ACCOUNT => return Ok(false),
                    report => report?,
                };
                if report.is_settled {
                    return Ok(true);
                }
                let reason =
                    format!("{} has closed the account, and cannot reach the bank to return the rest yet", host.name);
                Err(LinkError::Unreachable { reason })
            }
            Action::EnsureImage { image } => ensured(host, Request::EnsureImage { image: image.clone() }),
            Action::EnsureVolumes { spec } => {
                ensured_with_room(plan, host, &Request::EnsureVolumes { pool, generation, spec: spec.clone() })
            }
            Action::EnsureDomain { spec } => {
                let spec = self.with_late_values(plan, host, spec)?;
                ensured_with_room(plan, host, &Request::EnsureDomain { pool, generation, spec })
            }
            Action::EnsureRunning { path } => {
                let running = Request::EnsureRunning { pool, generation, path: path.clone() };
                let changed = ensured_with_room(plan, host, &running)?;
                self.wait(plan, host, path, is_up)?;
                Ok(changed)
            }
            Action::EnsureListening { path, port, within } => wait_for_listening(plan, host, path, *port, *within),
            Action::EnsureStopped { path } => {
                let grace_ms = SHUTDOWN_GRACE_MS;
                let changed = ensured(host, Request::EnsureStopped { pool, generation, path: path.clone(), grace_ms })?;
                self.wait(plan, host, path, |status| status.is_none_or(|status| !status.state.is_active()))?;
                Ok(changed)
            }
            Action::SaveImage { path, save } => self.save(plan, host, path, save),
            Action::EnsureAbsent { path, keep } => {
                let keep = keep.clone();
                ensured(host, Request::EnsureAbsent { pool, generation, path: path.clone(), keep })
            }
        }
    }

    /// The spec with the addresses of other domains in its gaps, as their hosts tell them now. Its own the host knows.
    fn with_late_values(&self, plan: &Plan, host: &SiteHost, spec: &DomainSpec) -> Result<DomainSpec, LinkError> {
        let mut filled = spec.clone();
        let mut looks: BTreeMap<HostId, Vec<DomainStatus>> = BTreeMap::new();
        for (path, value) in &mut filled.cloud_init.late {
            let Some(domain) = domain_of(path).filter(|domain| *domain != spec.path) else { continue };
            let place = plan.domains.iter().find(|planned| planned.path == domain).map_or(host.id, |other| other.host);
            if let (None, Some(there)) = (looks.get(&place), self.hosts.get(&place)) {
                looks.insert(place, domains(there, Some(&plan.pool))?);
            }
            let is_it = |status: &&DomainStatus| status.ownership.as_ref().is_some_and(|own| own.path == domain);
            let status = looks.get(&place).and_then(|all| all.iter().find(is_it));
            let Some(address) = status.and_then(|status| status.address) else {
                let message = format!("`{}` is to be told the address of `{domain}`, which has none", spec.path);
                let help = "see what `tycoon status` says of it, and run the command again once it runs";
                return Err(LinkError::refused("late.unknown", message, Some(help)));
            };
            *value = Some(address.to_string());
        }
        Ok(filled)
    }

    /// Waits until a domain is as it should be.
    fn wait(
        &self,
        plan: &Plan,
        host: &SiteHost,
        path: &DomainPath,
        is_reached: impl Fn(Option<&DomainStatus>) -> bool,
    ) -> Result<(), LinkError> {
        let (started, mut pause) = (Instant::now(), POLL.0);
        loop {
            let all = domains(host, Some(&plan.pool))?;
            let is_it = |status: &&DomainStatus| status.ownership.as_ref().is_some_and(|own| own.path == *path);
            let status = all.iter().find(is_it);
            if is_reached(status) {
                return Ok(());
            }
            if let Some(DomainState::Crashed) = status.map(|status| status.state) {
                return Err(failed(format!("`{path}` crashed while it was waited for; see `tycoon console`")));
            }
            if started.elapsed() > PATIENCE {
                let state = status.map_or("absent", |status| status.state.word());
                return Err(failed(format!("`{path}` is {state} after {} s", PATIENCE.as_secs())));
            }
            std::thread::sleep(pause);
            pause = pause.saturating_mul(2).min(POLL.1);
        }
    }
}

/// Asks the host again and again whether the domain listens.
fn wait_for_listening(
    plan: &Plan,
    host: &SiteHost,
    path: &DomainPath,
    port: u16,
    within: TimeSpan,
) -> Result<bool, LinkError> {
    let (started, mut pause) = (Instant::now(), POLL.0);
    let patience = Duration::from_micros(within.micros());
    loop {
        let (pool, path) = (plan.pool.clone(), path.clone());
        match ensured(host, Request::EnsureListening { pool, path: path.clone(), port }) {
            Err(LinkError::Host(HostError::NotListening { .. })) if started.elapsed() < patience => {}
            Err(LinkError::Host(HostError::NotListening { .. })) => {
                let message = format!("nothing listens on TCP port {port} of `{path}` after {within}");
                let help = "see with `tycoon console` what it does; `ready within=` gives it more time, and `up` again waits again";
                return Err(LinkError::refused("not-ready", message, Some(help)));
            }
            done => return done,
        }
        std::thread::sleep(pause);
        pause = pause.saturating_mul(2).min(POLL.1);
    }
}

impl Performer for SitePerformer {
    fn perform(&self, plan: &Plan, step: &Step) -> Result<bool, StepError> {
        let Some(host) = self.hosts.get(&step.host) else {
            return Err(StepError {
                message: format!("host {} is not known any more", step.host),
                is_transient: false,
            });
        };
        self.act(plan, step, host).map_err(|error| {
            let help = error.help().map(|help| format!(" ({help})")).unwrap_or_default();
            StepError { message: format!("{error}{help}"), is_transient: error.is_transient() }
        })
    }
}

/// What is not saved is not removed, and the user hears what she can do.
fn not_saved(error: LinkError) -> LinkError {
    let help = "nothing of it is removed; mend that and run the command again, or take the pool down with `--save-to FOLDER` \
                or, without saving, `--no-save`";
    match error {
        LinkError::Refused { code, message, help: None, is_transient } => {
            LinkError::Refused { code, message, help: Some(help.to_owned()), is_transient }
        }
        LinkError::Host(error) => LinkError::Refused {
            code: "save.failed".to_owned(),
            is_transient: error.is_transient(),
            message: error.to_string(),
            help: Some(help.to_owned()),
        },
        other => other,
    }
}

/// Why a bid that the host has taken brings nothing now, where it does not.
fn admitted(host: &SiteHost, state: AccountState) -> Option<LinkError> {
    let (code, message, help) = match state {
        AccountState::Active | AccountState::Warned { .. } => return None,
        AccountState::Waiting => (
            "host.waiting",
            format!("the bid on {} stands and has to wait: others hold what it needs, or bid more for it", host.name),
            "run the command again in a few minutes, or with a larger budget; what is not used comes back",
        ),
        AccountState::Idle => (
            "host.idle",
            format!("the bid on {} has no money behind it", host.name),
            "run the command again: it puts in what is missing",
        ),
        AccountState::Stopped { reason, .. } => (
            "host.stopped",
            format!("the account on {} is stopped ({reason}), and the bid does not bring it back", host.name),
            "run the command again with a larger budget, or take the pool down",
        ),
    };
    Some(LinkError::refused(code, message, Some(help)))
}

/// A domain is up when it runs and, where it has an interface, has its address.
fn is_up(status: Option<&DomainStatus>) -> bool {
    status.is_some_and(|status| {
        let has_nic = status.spec.as_ref().is_some_and(|spec| !spec.nics.is_empty());
        status.state == DomainState::Running && (status.address.is_some() || !has_nic)
    })
}

fn failed(reason: String) -> LinkError {
    LinkError::refused("timeout", reason, None)
}

/// The same, where domains beside it change: one that is to have less memory gives it back in its own time, and until then the
/// host sees both.
fn ensured_with_room(plan: &Plan, host: &SiteHost, request: &Request) -> Result<bool, LinkError> {
    let is_changing = |domain: &DomainPlan| domain.host == host.id && matches!(domain.change, Change::Update { .. });
    let may_come = plan.domains.iter().any(is_changing);
    let started = Instant::now();
    loop {
        match ensured(host, request.clone()) {
            Err(LinkError::Host(HostError::BeyondReservation { .. }))
                if may_come && started.elapsed() < ROOM_PATIENCE =>
            {
                std::thread::sleep(POLL.1);
            }
            done => return done,
        }
    }
}

fn ensured(host: &SiteHost, request: Request) -> Result<bool, LinkError> {
    match host.link.request(&request)? {
        Answer::Ensured { changed, .. } => Ok(changed),
        Answer::Domains { .. } => Err(LinkError::Nonsense { reason: "it was asked to do something".into() }),
    }
}
