//! `up` and `down` from beginning to end: look, plan, have it held, write it down, do it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tycoon_lang::pool;
use tycoon_market::{Credits, HostId, PoolName, Timestamp};
use tycoon_planner::plan::{Goal, Plan};
use tycoon_planner::{Saving, plan_down, plan_up};
use tycoon_xen::market::QuoteRequest;

use crate::engine::{self, StopFlag};
use crate::error::ExecutorError;
use crate::inventory::{self, Inventory};
use crate::journal::{self, AfterRecord, Journal, Record};
use crate::link::{BankEscrow, LinkError, Site, SiteHost};
use crate::lock::{Lock, Patience};
use crate::perform::{Saver, SitePerformer};
use crate::progress::{Event, Observer};
use crate::save::Saved;
use crate::volumes::{self, KeptThere, Removal};

/// How often a plan is made anew because a host did not hold what it had offered.
const REPLANS: u32 = 3;
/// How long another process may hold the pool before it is said who holds it.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

/// What a run needs beside the pool.
pub struct Runner {
    /// The parties.
    pub site: Arc<dyn Site>,
    /// The folder of the pools' journals.
    pub journals: PathBuf,
    /// Who runs, for whoever waits: `tycoon up pool.kdl`.
    pub command: String,
    /// Shows progress.
    pub observer: Arc<dyn Observer>,
    /// Asks the run to stop.
    pub stop: StopFlag,
    /// Called after each record of the journal; for crash tests.
    pub after_record: Option<AfterRecord>,
}

/// What came of a run.
#[derive(Debug)]
pub struct Run {
    /// The plan that was carried out.
    pub plan: Arc<Plan>,
    /// What came of each step.
    pub report: engine::Report,
    /// What the hosts had charged for the pool in its budget period before the run ended; for `down`, over the
    /// pool's whole life.
    pub charged: Credits,
    /// What the account holds after it.
    pub balance: Credits,
    /// True where neither the journal nor the bank has ever heard of the pool.
    pub is_unknown: bool,
    /// The root volumes that were saved.
    pub saved: Vec<Saved>,
}

/// What was known before a run began.
struct Before<'a> {
    hosts: &'a [SiteHost],
    /// When the pool was last taken down completely.
    gone_since: Option<Timestamp>,
}

impl Runner {
    fn journal_path(&self, pool: &PoolName) -> PathBuf {
        self.journals.join(format!("{pool}.journal"))
    }

    /// The plan for `pool` now. Nothing is spent and nothing is locked.
    pub fn plan(&self, pool: &pool::Pool) -> Result<Plan, ExecutorError> {
        let records = journal::read(&self.journal_path(&pool.name))?;
        let inventory = inventory::collect(&*self.site, &pool.name, journal::history(&records), &BTreeMap::new())?;
        Ok(plan_up(pool, &inventory.world)?)
    }

    /// Makes `pool` real. `approve` is shown every plan before it is carried out; none is carried out that it does
    /// not approve. `None` where it did not.
    pub fn up(&self, pool: &pool::Pool, approve: &mut dyn FnMut(&Plan) -> bool) -> Result<Option<Run>, ExecutorError> {
        let _lock = self.lock(&pool.name)?;
        let mut journal = self.open_journal(&pool.name)?;
        let mut excluded = BTreeMap::new();
        for attempt in 0..=REPLANS {
            let inventory = inventory::collect(&*self.site, &pool.name, journal.history(), &excluded)?;
            let plan = plan_up(pool, &inventory.world)?;
            let described = pool.domains.iter().filter_map(|domain| domain.save_image.as_ref());
            check_folders(&plan, &journal, described.map(|save| save.to.clone()))?;
            if !approve(&plan) {
                return Ok(None);
            }
            match quotes(&plan, &inventory) {
                Ok(()) => return self.carry_out(plan, &inventory, &mut journal).map(Some),
                Err((host, error)) => {
                    let name = inventory.host(&host).map(|host| host.name.clone());
                    let Some(name) = name.filter(|_| attempt < REPLANS) else {
                        return Err(quote_refused(&plan, host, error));
                    };
                    let text = format!("{name} does not hold what it offered ({error}); planning without it");
                    self.observer.observe(&Event::Note { text: &text });
                    excluded.insert(host, format!("did not hold its offer: {error}"));
                }
            }
        }
        unreachable!("the last attempt returns")
    }

    /// Undoes a pool; root volumes are saved first as `saving` says. `approve` as in [`Runner::up`].
    ///
    /// # Errors
    /// [`ExecutorError::UnknownFolder`] before anything is done, where only a host says to which folder something is to be
    /// saved: a host does not decide where files are written on this machine.
    pub fn down(
        &self,
        pool: &PoolName,
        saving: &Saving,
        approve: &mut dyn FnMut(&Plan) -> bool,
    ) -> Result<Option<Run>, ExecutorError> {
        let _lock = self.lock(pool)?;
        let mut journal = self.open_journal(pool)?;
        let inventory = inventory::collect(&*self.site, pool, journal.history(), &BTreeMap::new())?;
        let plan = plan_down(pool, &inventory.world, saving)?;
        let said = match saving {
            Saving::To(folder) => Some(folder.clone()),
            _ => None,
        };
        check_folders(&plan, &journal, said)?;
        if !approve(&plan) {
            return Ok(None);
        }
        self.carry_out(plan, &inventory, &mut journal).map(Some)
    }

    /// Has hosts remove what they keep of a pool, while nobody else is at work on it.
    pub fn remove_kept(&self, pool: &PoolName, kept: &[KeptThere]) -> Result<Vec<Removal>, ExecutorError> {
        let _lock = self.lock(pool)?;
        Ok(volumes::remove_kept(pool, kept))
    }

    fn lock(&self, pool: &PoolName) -> Result<Lock, ExecutorError> {
        let path = self.journals.join(format!("{pool}.lock"));
        let patience = Patience {
            longest: LOCK_PATIENCE,
            is_stopped: &|| self.stop.is_set(),
            tell: &|text| self.observer.observe(&Event::Note { text }),
        };
        Ok(Lock::take_with(&path, &format!("pool `{pool}`"), &self.command, &patience)?)
    }

    fn open_journal(&self, pool: &PoolName) -> Result<Journal, ExecutorError> {
        let mut journal = Journal::open(&self.journal_path(pool))?;
        if journal.was_torn() {
            let text = "the last run was killed while it wrote its journal; the torn line was cut";
            self.observer.observe(&Event::Note { text });
        }
        if let Some(hook) = &self.after_record {
            journal.set_after_record(hook.clone());
        }
        if let Some(plan) = journal::unfinished(journal.records()) {
            let text = format!("the last run (plan {}) did not finish; taking up from what is there", plan.id.short());
            self.observer.observe(&Event::Note { text: &text });
        }
        Ok(journal)
    }

    fn carry_out(&self, plan: Plan, inventory: &Inventory, journal: &mut Journal) -> Result<Run, ExecutorError> {
        let plan = Arc::new(plan);
        let clock = self.site.clock();
        let interrupted = journal::unfinished(journal.records()).is_some();
        let before = Before { hosts: &inventory.hosts, gone_since: journal::gone_since(journal.records()) };
        // A pool that is gone although nobody saw it go is noted to be gone.
        let is_gone = plan.goal == Goal::Down && inventory.world.hosts.iter().all(|host| host.is_inspected);
        let is_news = is_gone && !journal.history().placements.is_empty();
        if plan.is_empty() && !interrupted && !is_news {
            return self.finished(plan, engine::Report::default(), &before, Vec::new());
        }
        journal.write(clock.now(), Record::PlanBegun { plan: Box::new((*plan).clone()) })?;
        self.observer.observe(&Event::PlanBegun { plan: &plan });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_time()
            .build()
            .map_err(ExecutorError::Runtime)?;
        let saved = Arc::new(Mutex::new(Vec::new()));
        let saver = Saver { observer: self.observer.clone(), stop: self.stop.clone(), saved: saved.clone() };
        let performer = Arc::new(SitePerformer::new(self.site.clone(), &inventory.hosts, saver));
        let report = runtime.block_on(engine::run(&plan, performer, journal, clock, &*self.observer, &self.stop))?;
        let was_stopped = report.was_stopped;
        // What a host that could not be asked holds is not known to be gone.
        let succeeded = report.succeeded() && plan.report.unreached.is_empty();
        let saved = std::mem::take(&mut *saved.lock().unwrap_or_else(PoisonError::into_inner));
        let run = self.finished(plan.clone(), report, &before, saved);
        if !was_stopped {
            // What was done is done, also where the bank does not say now what it has cost.
            let charged = run.as_ref().map_or(Credits::ZERO, |run| run.charged);
            journal.write(clock.now(), Record::PlanEnded { plan: plan.id, succeeded, charged })?;
        }
        run
    }

    /// What everything has cost and left once the steps are done.
    fn finished(
        &self,
        plan: Arc<Plan>,
        report: engine::Report,
        before: &Before<'_>,
        saved: Vec<Saved>,
    ) -> Result<Run, ExecutorError> {
        let bank = |what| move |source| ExecutorError::Bank { what, source };
        let balance = self.site.bank().account().map_err(bank("the balance"))?.balance;
        let escrows = self.site.bank().escrows(Some(&plan.pool)).map_err(bank("the pool's escrows"))?;
        let charged = charged(&plan, &escrows, before);
        let is_unknown = plan.parent.is_none() && escrows.is_empty();
        Ok(Run { plan, report, charged, balance, is_unknown, saved })
    }
}

/// That the plan saves only to folders that somebody here has named: now, or in a description that was brought up from here.
fn check_folders(plan: &Plan, journal: &Journal, said: impl IntoIterator<Item = String>) -> Result<(), ExecutorError> {
    let mut known = journal::save_folders(journal.records());
    known.extend(said);
    let saving = plan.domains.iter().filter_map(|domain| Some((&domain.path, domain.saves.as_ref()?)));
    for (path, save) in saving {
        if !known.contains(&save.to) {
            return Err(ExecutorError::UnknownFolder { path: path.clone(), folder: save.to.clone() });
        }
    }
    Ok(())
}

/// What the pool has cost: what open host accounts have charged, and what closed escrows were drawn for.
fn charged(plan: &Plan, escrows: &[BankEscrow], before: &Before<'_>) -> Credits {
    let accounts = inventory::ask_all(before.hosts, |host| host.link.account(&plan.pool).ok().flatten());
    let accounts: Vec<_> = accounts.into_iter().flatten().collect();
    let in_accounts: Vec<_> = accounts.iter().flat_map(|account| &account.escrows).map(|own| own.escrow).collect();
    let since_up = match plan.goal {
        Goal::Up => Vec::new(),
        Goal::Down => plan.hosts.iter().map(|host| host.id).collect(),
    };
    let open = accounts.iter().map(|account| account.charged);
    let closed = escrows
        .iter()
        .filter(|escrow| !in_accounts.contains(&escrow.id) && since_up.contains(&escrow.host))
        // What an earlier life of the pool cost was told when that ended.
        .filter(|escrow| before.gone_since.is_none_or(|gone| escrow.opened_at > gone))
        .map(|escrow| escrow.drawn);
    Credits::checked_sum(open.chain(closed)).unwrap_or(Credits::MAX)
}

fn quote_refused(plan: &Plan, host: HostId, source: LinkError) -> ExecutorError {
    match plan.host(&host) {
        Some(planned) => ExecutorError::Quote { host: planned.name.clone(), source },
        None => ExecutorError::Hosts(source),
    }
}

/// Has every host hold what the plan needs of it. The first host that does not, and why.
fn quotes(plan: &Plan, inventory: &Inventory) -> Result<(), (HostId, LinkError)> {
    let wanted = plan.hosts.iter().filter(|host| host.bid.as_ref().is_some_and(|bid| bid.bid.is_some()));
    for planned in wanted {
        let Some(host) = inventory.host(&planned.id) else { continue };
        let request = QuoteRequest { pool: plan.pool.clone(), minima: planned.minima.clone() };
        host.link.quote(&request).map_err(|error| (planned.id, error))?;
    }
    Ok(())
}
