//! Domains that end by themselves are started again, by the policy that is kept with them.
//!
//! ```text
//!            start, or seen to run           end that the policy covers
//!  (nothing) --------------------> it runs ----------------------------> due ---time---> it is started
//!                                   |   ^ ^------------------------------------------------------|
//!           stop by its user or     |   |
//!           by the market           v   +-- seen to run -- left: another end, or one too many
//!                              not wanted
//! ```
//!
//! What is wanted is on disk before a domain is started or stopped, so that a daemon that is started anew goes on from
//! there. Only who asked for a domain, or the market, makes it unwanted: what was stopped on purpose stays stopped.
//!
//! Ends are noticed when the domains are looked at (see `enforce`). The wait begins when the domain was last looked at
//! before: between two looks nobody knows when it ended.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tycoon_market::{HostAccountId, Timestamp};

use super::market::MarketError;
use super::session::{self, Wanted};
use super::state::State;
use super::{HostDaemon, alone};
use crate::events::Happening;
use crate::protocol::HostError;
use crate::restart::{RestartPolicy, RestartReport};
use crate::spec::{DomainPath, Ownership};
use crate::status::{DomainState, DomainStatus};

/// What is remembered of a domain with a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeptAlive {
    /// Whose it is.
    owner: HostAccountId,
    path: DomainPath,
    /// False once it was stopped on purpose.
    is_wanted: bool,
    /// True where it ended in a way that its policy does not cover, or once too often, and was not seen to run since.
    is_left: bool,
    /// Since when that is so. A look from before says nothing about it.
    since: Timestamp,
    /// When it is to be started again.
    due: Option<Timestamp>,
    /// When it was started again, the last time last: those that count for its policy.
    restarts: Vec<Timestamp>,
    /// True where it ended more often than its policy allows.
    has_given_up: bool,
}

impl KeptAlive {
    fn new(own: &Ownership, now: Timestamp) -> Self {
        Self {
            owner: HostAccountId::new(own.account, own.pool.clone()),
            path: own.path.clone(),
            is_wanted: true,
            is_left: false,
            since: now,
            due: None,
            restarts: Vec::new(),
            has_given_up: false,
        }
    }

    /// Somebody wants it to run, or not to.
    fn set_wanted(&mut self, is_wanted: bool, now: Timestamp) {
        (self.is_wanted, self.since) = (is_wanted, now);
        self.due = None;
        if is_wanted {
            self.restarts.clear();
            (self.is_left, self.has_given_up) = (false, false);
        }
    }

    /// Takes in that it runs. Where nobody was to start it again, somebody has.
    fn run(&mut self) {
        if self.has_given_up {
            self.restarts.clear();
        }
        self.due = None;
        (self.is_left, self.has_given_up) = (false, false);
    }

    /// It is not to be started again, as far as was known at `now`: what was seen before says nothing about it.
    fn no_longer_due(&mut self, now: Timestamp) {
        (self.due, self.since) = (None, now);
    }

    /// True where it has ended and nothing was done about that yet.
    const fn has_news_of_end(&self) -> bool {
        self.is_wanted && self.due.is_none() && !self.is_left
    }

    /// True where it was known not to run.
    const fn has_news_of_run(&self) -> bool {
        self.is_wanted && (self.due.is_some() || self.is_left)
    }

    /// Forgets the restarts that do not count any more.
    fn forget_restarts(&mut self, policy: &RestartPolicy, now: Timestamp) {
        self.restarts.retain(|at| now.since(*at) < policy.within);
    }

    /// Takes in that it has ended, between `before` and `now`. What people want to know of that.
    fn end(&mut self, policy: Option<&RestartPolicy>, is_crash: bool, before: Timestamp, now: Timestamp) -> Happening {
        let domain = self.path.clone();
        let Some(policy) = policy.filter(|policy| policy.covers(is_crash)) else {
            self.is_left = true;
            return Happening::Ended { domain, is_crash, restart_at: None };
        };
        self.forget_restarts(policy, now);
        let restarts = u32::try_from(self.restarts.len()).unwrap_or(u32::MAX);
        if restarts >= policy.times {
            (self.is_left, self.has_given_up) = (true, true);
            return Happening::GaveUp { domain, is_crash, restarts };
        }
        let restart_at = before.plus(policy.wait_after(self.restarts.len())).max(now);
        self.due = Some(restart_at);
        Happening::Ended { domain, is_crash, restart_at: self.due }
    }

    fn report(&self, policy: &RestartPolicy, now: Timestamp) -> RestartReport {
        let counted = self.restarts.iter().filter(|at| now.since(**at) < policy.within);
        RestartReport {
            restarts: u32::try_from(counted.count()).unwrap_or(u32::MAX),
            times: policy.times,
            last: self.restarts.last().copied(),
            next: self.due,
            has_given_up: self.has_given_up,
        }
    }
}

fn policy_of(status: &DomainStatus) -> Option<RestartPolicy> {
    status.spec.as_ref()?.rules.restart
}

/// Ended, as far as a look can tell; `None` where it runs. A domain that is asked to shut down is on its way.
const fn end_of(state: DomainState) -> Option<bool> {
    match state {
        DomainState::Crashed => Some(true),
        DomainState::Stopped => Some(false),
        DomainState::Booting | DomainState::Running | DomainState::Paused | DomainState::ShuttingDown => None,
    }
}

impl State {
    /// Takes in what was seen of the domains of accounts that may run them, between `looked_at` and `now`; they were looked
    /// at before at `before`.
    pub(super) fn see_ends(
        &mut self,
        domains: &[&DomainStatus],
        before: Timestamp,
        looked_at: Timestamp,
        now: Timestamp,
    ) {
        for status in domains {
            let Some(own) = &status.ownership else { continue };
            let (policy, end) = (policy_of(status), end_of(status.state));
            let Some(kept) = self.kept_alive.get_mut(&status.name) else {
                if policy.is_some() && end.is_none() && status.state != DomainState::ShuttingDown {
                    self.kept_alive.insert(status.name.clone(), KeptAlive::new(own, now));
                }
                continue;
            };
            if kept.since >= looked_at {
                continue;
            }
            match end {
                Some(is_crash) if kept.has_news_of_end() => {
                    let happened = kept.end(policy.as_ref(), is_crash, before, now);
                    let owner = kept.owner.clone();
                    self.tell(&owner, now, happened);
                }
                None if kept.has_news_of_run() => kept.run(),
                _ => {}
            }
        }
    }

    /// Forgets the domains that are not there any more.
    pub(super) fn forget_kept(&mut self, is_there: impl Fn(&str) -> bool, looked_at: Timestamp) {
        self.kept_alive.retain(|name, kept| is_there(name) || kept.since >= looked_at);
    }

    /// How a domain fared with its policy.
    pub(super) fn restart_report(&self, status: &DomainStatus, now: Timestamp) -> Option<RestartReport> {
        let policy = policy_of(status)?;
        self.kept_alive.get(&status.name).map(|kept| kept.report(&policy, now))
    }
}

impl HostDaemon {
    /// Notes that a domain is wanted to run from now on. Only one with a policy is worth a note.
    pub(super) fn note_wanted(&self, status: &DomainStatus) {
        let Some(own) = status.ownership.as_ref().filter(|_| policy_of(status).is_some()) else { return };
        let noted = self.change(|state, now| {
            let kept = state.kept_alive.entry(status.name.clone()).or_insert_with(|| KeptAlive::new(own, now));
            kept.set_wanted(true, now);
            Ok(())
        });
        self.note_failed("noting that a domain is wanted", noted);
    }

    /// Notes that a domain is not wanted to run any more: before it is stopped, and not while it is being started again.
    pub(super) fn note_unwanted(&self, name: &str) -> Result<(), HostError> {
        let _nobody_starts_it = alone(&self.restarting);
        self.set_unwanted(name).map_err(|error| HostError::Failed {
            operation: "noting that the domain is to stop".into(),
            reason: error.to_string(),
        })
    }

    /// Notes that the market stops a domain. One that is being started again meanwhile is seen, and stopped, by the next
    /// look.
    pub(super) fn note_stopped(&self, name: &str) {
        let noted = self.set_unwanted(name);
        self.note_failed("noting that a domain is stopped", noted);
    }

    fn set_unwanted(&self, name: &str) -> Result<(), MarketError> {
        if !self.lock().kept_alive.get(name).is_some_and(|kept| kept.is_wanted || kept.due.is_some()) {
            return Ok(());
        }
        self.change(|state, now| {
            if let Some(kept) = state.kept_alive.get_mut(name) {
                kept.set_wanted(false, now);
            }
            Ok(())
        })
    }

    /// Takes in what was seen of all domains, of which `running` belong to accounts that may run them.
    pub(super) fn keep(&self, all: &[DomainStatus], running: &[&DomainStatus], looked_at: Timestamp) {
        let before = std::mem::replace(&mut *alone(&self.looked_at), looked_at);
        // Nearly always there is nothing, which must not cost a copy of everything.
        if !self.lock().may_have_news(all, running) {
            return;
        }
        let noted = self.change(|state, now| {
            state.see_ends(running, before, looked_at, now);
            state.forget_kept(|name| all.iter().any(|status| status.name == name), looked_at);
            Ok(())
        });
        self.note_failed("noting which domains have ended", noted);
    }

    /// Starts the domains again whose time has come. What cannot be started is tried again, as often as its policy allows.
    pub fn restart_due(&self) {
        let now = self.clock.now();
        let is_due = |kept: &KeptAlive| kept.is_wanted && kept.due.is_some_and(|due| due <= now);
        let due: Vec<(String, KeptAlive)> = {
            let state = self.lock();
            let due = state.kept_alive.iter().filter(|(_, kept)| is_due(kept));
            due.map(|(name, kept)| (name.clone(), kept.clone())).collect()
        };
        for (name, kept) in due {
            self.restart(&name, &kept);
        }
    }

    /// Starts one domain again. It is due until that is over, so that a look meanwhile takes it for no second end; whatever
    /// comes of it, it is not due any more then.
    fn restart(&self, name: &str, kept: &KeptAlive) {
        let _nobody_stops_it = alone(&self.restarting);
        let (account, pool) = (kept.owner.account, kept.owner.pool.clone());
        let found = self.hypervisor.domain(name, self.clock.now());
        let is_wanted = self.lock().kept_alive.get(name).is_some_and(|kept| kept.is_wanted && kept.due.is_some());
        if !is_wanted {
            return;
        }
        let ended = matches!(&found, Ok(Some(status)) if end_of(status.state).is_some());
        let begun = self.change(|state, now| {
            if let Some(kept) = state.kept_alive.get_mut(name) {
                // What is found to run was started by somebody else; what cannot be looked at counts as an attempt.
                if ended || found.is_err() {
                    kept.restarts.push(now);
                }
                if !ended {
                    kept.no_longer_due(now);
                }
            }
            Ok(())
        });
        if begun.is_err() || !ended {
            self.note_failed("noting that a domain is started again", begun);
            return self.note_fault("looking at", name, found);
        }
        let generation = self.lock().generation(&kept.owner).unwrap_or_default();
        let started = self.admit(account, &pool, generation, Wanted::Running(&kept.path)).and_then(|_taking| {
            let started = self.hypervisor.start(name, self.clock.now());
            started.map_err(|error| session::failed("starting the domain again", error))
        });
        let told = self.change(|state, now| {
            let Some(of_now) = state.kept_alive.get_mut(name) else { return Ok(()) };
            of_now.no_longer_due(now);
            let restarts = u32::try_from(of_now.restarts.len()).unwrap_or(u32::MAX);
            if started.is_ok() {
                state.tell(&kept.owner, now, Happening::Restarted { domain: kept.path.clone(), restarts });
            }
            Ok(())
        });
        self.note_failed("noting that a domain was started again", told);
        match started {
            // It has the usual weight now, and wants that of its account.
            Ok(_) => self.enforce(),
            Err(error) => self.faults.note(self.clock.now(), &format!("starting {name} again"), &error),
        }
    }
}

impl State {
    /// True where a closer look can find something: a domain that is kept has ended or runs again, one with a policy is
    /// not known yet, or one that is known is gone.
    fn may_have_news(&self, all: &[DomainStatus], running: &[&DomainStatus]) -> bool {
        let names: BTreeMap<&str, DomainState> =
            all.iter().map(|status| (status.name.as_str(), status.state)).collect();
        self.kept_alive.keys().any(|name| !names.contains_key(name.as_str()))
            || running.iter().any(|status| match (self.kept_alive.get(&status.name), end_of(status.state)) {
                (Some(kept), Some(_)) => kept.has_news_of_end(),
                (Some(kept), None) => kept.has_news_of_run(),
                (None, None) => policy_of(status).is_some(),
                (None, Some(_)) => false,
            })
    }
}
