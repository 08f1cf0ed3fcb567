//! What a daemon counts, for its operator.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tycoon_market::auctioneer::AccountState;
use tycoon_market::{Quantity, Rate, ResourceKind};

use super::HostDaemon;
use crate::owner::Income;

/// Counts from the start of the process.
#[derive(Debug, Default)]
pub(super) struct Counters {
    ticks: AtomicU64,
    failed_ticks: AtomicU64,
    tick_micros: AtomicU64,
    saves: AtomicU64,
}

impl Counters {
    /// Counts a tick.
    pub(super) fn ticked(&self, took: Duration, is_good: bool) {
        self.ticks.fetch_add(1, Ordering::Relaxed);
        self.failed_ticks.fetch_add(u64::from(!is_good), Ordering::Relaxed);
        self.tick_micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Counts a change that is on disk.
    pub(super) fn saved(&self) {
        self.saves.fetch_add(1, Ordering::Relaxed);
    }
}

/// How the market of a host does, in numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MarketFigures {
    /// What a price unit of each resource costs now.
    pub prices: BTreeMap<ResourceKind, Rate>,
    /// What is sold of each resource.
    pub capacity: BTreeMap<ResourceKind, Quantity>,
    /// What of it accounts have.
    pub allocated: BTreeMap<ResourceKind, Quantity>,
    /// Open accounts by where they stand.
    pub accounts: BTreeMap<&'static str, u64>,
    /// Money.
    pub income: Income,
    /// Ticks since the start of the process.
    pub ticks: u64,
    /// Those of them that failed.
    pub failed_ticks: u64,
    /// How long all of them took together, in microseconds.
    pub tick_micros: u64,
    /// Changes that were put on disk since the start.
    pub saves: u64,
    /// The number of the last event.
    pub last_event: u64,
    /// Things that went wrong since the start, repetitions included, as far as they are remembered.
    pub faults: u64,
}

impl HostDaemon {
    /// How the market does.
    pub fn figures(&self) -> MarketFigures {
        let faults = self.faults().iter().map(|fault| fault.times).sum();
        let state = self.lock();
        let mut figures = MarketFigures {
            income: state.income(),
            ticks: self.counters.ticks.load(Ordering::Relaxed),
            failed_ticks: self.counters.failed_ticks.load(Ordering::Relaxed),
            tick_micros: self.counters.tick_micros.load(Ordering::Relaxed),
            saves: self.counters.saves.load(Ordering::Relaxed),
            last_event: state.last_event,
            faults,
            ..MarketFigures::default()
        };
        for word in ["idle", "waiting", "active", "warned", "stopped"] {
            figures.accounts.insert(word, 0);
        }
        for (kind, offer) in state.auctioneer.offers() {
            figures.prices.insert(kind, offer.price);
            figures.capacity.insert(kind, offer.capacity);
            figures.allocated.insert(kind, Quantity::ZERO);
        }
        for id in state.auctioneer.account_ids() {
            let Some(view) = state.auctioneer.account(id) else { continue };
            let word = match view.state {
                AccountState::Idle => "idle",
                AccountState::Waiting => "waiting",
                AccountState::Active => "active",
                AccountState::Warned { .. } => "warned",
                AccountState::Stopped { .. } => "stopped",
            };
            *figures.accounts.entry(word).or_default() += 1;
            for (kind, share) in view.allocation {
                let sum = figures.allocated.entry(kind).or_default();
                *sum = Quantity::new(sum.amount().saturating_add(share.amount()));
            }
        }
        figures
    }
}
