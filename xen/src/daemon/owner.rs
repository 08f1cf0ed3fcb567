//! What only the owner may do: prices and rules, whom she has and whom she does not want, her income.

use std::collections::BTreeSet;

use tycoon_market::auctioneer::{Event, HostConfig};
use tycoon_market::{AccountId, Credits, HostAccountId, PublicKey};

use super::books::apply;
use super::market::{MarketError, report};
use super::state::State;
use super::{DaemonError, HostDaemon, alone};
use crate::owner::{
    AccountsPage, EvictReport, EvictRequest, FaultReport, Income, OwnerReport, PolicyRequest, WithdrawReport,
};
use crate::policy::PolicyError;

/// Accounts that can be kept out at most.
const BANNED_MAX: usize = 4_096;
/// Accounts on one page.
const PAGE: usize = 100;

/// Why something was not set.
#[derive(Debug, thiserror::Error)]
pub(super) enum OwnerError {
    #[error(transparent)]
    Policy(#[from] PolicyError),
    #[error("with this the host could not work: {0}")]
    Config(#[from] tycoon_market::auctioneer::ConfigError),
    #[error("{BANNED_MAX} accounts are kept out already; let some of them in again first")]
    TooManyBans,
    #[error("there is no account {0} on this host")]
    NoAccount(AccountId),
    #[error(transparent)]
    Market(#[from] MarketError),
}

impl State {
    /// What holds where `base` is what the process was told: what was set by command stands above it.
    pub(super) fn settings(&self, base: &HostConfig) -> HostConfig {
        let mut settings = base.clone();
        self.policy.apply_to(&mut settings);
        // It was good when it was set; where it does not fit what the process is told now, that alone holds.
        if settings.check().is_ok() { settings } else { base.clone() }
    }
}

impl HostDaemon {
    /// True for a key of the owner.
    pub fn is_owner(&self, key: &PublicKey) -> bool {
        let owner = self.identity.owner;
        self.owner_keys.contains(key)
            || (self.owner_keys.is_empty() && AccountId::of(key) == owner)
            || self.lock().keys.is_of(key, &owner)
    }

    /// Sets what the process was told of what is sold, without what was set by command. It holds from the next interval
    /// on.
    pub fn prepare(&self, config: HostConfig) -> Result<(), DaemonError> {
        config.check().map_err(|error| DaemonError::Config { host: self.name().clone(), reason: error.to_string() })?;
        *alone(&self.settings) = config;
        Ok(())
    }

    pub(super) fn owner_report(&self) -> OwnerReport {
        let faults = self.faults().into_iter();
        let faults = faults.map(|fault| FaultReport {
            at: fault.at,
            what: fault.what,
            reason: fault.reason,
            times: fault.times,
        });
        let base = alone(&self.settings).clone();
        let state = self.lock();
        OwnerReport {
            policy: state.policy.clone(),
            config: state.auctioneer.config().clone(),
            next_config: state.settings(&base),
            is_draining: state.auctioneer.is_draining(),
            banned: state.banned.clone(),
            accounted_at: state.auctioneer.accounted_at(),
            income: state.income(),
            faults: faults.collect(),
        }
    }

    pub(super) fn set_policy(&self, request: &PolicyRequest) -> Result<OwnerReport, OwnerError> {
        let base = alone(&self.settings).clone();
        let mut policy = self.lock().policy.clone();
        request.reset.iter().for_each(|name| {
            policy.reset(*name);
        });
        for (name, value) in &request.set {
            policy.set(*name, value)?;
        }
        let mut settings = base;
        policy.apply_to(&mut settings);
        settings.check()?;
        self.change(|state, _| {
            // Of two who set at one time the later one wins, name by name.
            request.reset.iter().for_each(|name| {
                state.policy.reset(*name);
            });
            for (name, value) in &request.set {
                if let Err(error) = state.policy.set(*name, value) {
                    tracing::error!(%error, "a value that was read a moment ago cannot be read");
                }
            }
            Ok(())
        })?;
        Ok(self.owner_report())
    }

    pub(super) fn evict_some(&self, request: &EvictRequest) -> Result<EvictReport, OwnerError> {
        let pools = self.change(|state, now| {
            let ids = accounts_of(state, &request.account, request.pool.as_ref().map(|pool| pool.as_str()));
            for id in &ids {
                apply(state, Event::Evict { account: id.clone() }, now)?;
            }
            Ok(ids.into_iter().map(|id| id.pool).collect::<Vec<_>>())
        })?;
        if pools.is_empty() {
            return Err(OwnerError::NoAccount(request.account));
        }
        self.enforce();
        Ok(EvictReport { pools })
    }

    pub(super) fn ban(&self, account: AccountId, banned: bool) -> Result<OwnerReport, OwnerError> {
        let is_done = self.change(|state, now| {
            if !banned {
                state.banned.remove(&account);
                return Ok(true);
            }
            if state.banned.len() >= BANNED_MAX && !state.banned.contains(&account) {
                return Ok(false);
            }
            state.banned.insert(account);
            for id in accounts_of(state, &account, None) {
                apply(state, Event::Evict { account: id }, now)?;
            }
            Ok(true)
        })?;
        if !is_done {
            return Err(OwnerError::TooManyBans);
        }
        self.enforce();
        Ok(self.owner_report())
    }

    /// Draws all that is charged now.
    pub(super) fn withdraw(&self) -> Result<WithdrawReport, OwnerError> {
        self.account_for_time(|| None).map_err(MarketError::from)?;
        let before = self.lock().income();
        self.change(|state, now| {
            state.make_all_statements(now);
            Ok(())
        })?;
        self.report_to_bank();
        let state = self.lock();
        let income = state.income();
        Ok(WithdrawReport {
            paid: income.paid.saturating_sub_at_zero(before.paid),
            pending: state.pending_escrows(),
            income,
        })
    }

    pub(super) fn everybodys_accounts(&self, after: Option<&HostAccountId>) -> AccountsPage {
        let state = self.lock();
        let ids = state.accounts.keys().filter(|id| after.is_none_or(|after| *id > after));
        let page: Vec<&HostAccountId> = ids.take(PAGE).collect();
        let next = (page.len() == PAGE).then(|| page.last().map(|id| id.to_string())).flatten();
        AccountsPage { accounts: page.iter().filter_map(|id| report(&state, id).ok()).collect(), next }
    }

    /// Refuses whoever the owner keeps out.
    pub(super) fn check_not_banned(state: &State, account: &AccountId) -> Result<(), MarketError> {
        if state.banned.contains(account) { Err(MarketError::Banned) } else { Ok(()) }
    }
}

fn accounts_of(state: &State, account: &AccountId, pool: Option<&str>) -> BTreeSet<HostAccountId> {
    let its = state.auctioneer.account_ids().filter(|id| id.account == *account);
    its.filter(|id| pool.is_none_or(|pool| id.pool.as_str() == pool)).cloned().collect()
}

impl State {
    /// What was earned.
    pub(super) fn income(&self) -> Income {
        let sum = |amounts: &mut dyn Iterator<Item = Credits>| Credits::checked_sum(amounts).unwrap_or(Credits::MAX);
        let (charged, paid): (Vec<Credits>, Vec<Credits>) =
            self.statements.values().map(|notes| notes.earned()).unzip();
        let (charged, paid) = (sum(&mut charged.into_iter()), sum(&mut paid.into_iter()));
        Income { charged, paid, due: charged.saturating_sub_at_zero(paid), ever_charged: self.earned }
    }
}
