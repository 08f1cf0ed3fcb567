//! What the accounts were charged lately, line by line: for as many intervals as are kept, each with what every account paid.
//!
//! An interval that is written again replaces itself; a whole one is written once, and goes when it is old. So a host that
//! charges a thousand accounts writes the interval at hand and nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;

use tycoon_market::auctioneer::{ChargeLine, add_line};
use tycoon_market::{Credits, HostAccountId, TimeSpan};

use super::state::State;
use crate::market::{ChargesReport, IntervalCharges};

/// The intervals that are kept.
pub(super) const INTERVALS: usize = 24;

/// The charges of one interval.
pub(super) type Charges = BTreeMap<HostAccountId, Vec<ChargeLine>>;

/// The charges of the last intervals in which anybody was charged, by the number of the interval.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ChargeBook(BTreeMap<u64, Arc<Charges>>);

impl ChargeBook {
    /// A book of what was read.
    pub(super) fn of(intervals: BTreeMap<u64, Charges>) -> Self {
        Self(intervals.into_iter().map(|(number, charges)| (number, Arc::new(charges))).collect())
    }

    /// Notes what an account was charged.
    pub(super) fn note(&mut self, id: &HostAccountId, lines: Vec<ChargeLine>, interval: TimeSpan) {
        for line in lines {
            let number = u64::try_from(line.until.micros()).unwrap_or(0) / interval.micros().max(1);
            let charges = Arc::make_mut(self.0.entry(number).or_default());
            add_line(charges.entry(id.clone()).or_default(), line);
        }
        while self.0.len() > INTERVALS {
            self.0.pop_first();
        }
    }

    /// Forgets an account that is closed.
    pub(super) fn forget(&mut self, id: &HostAccountId) {
        for charges in self.0.values_mut().filter(|charges| charges.contains_key(id)) {
            Arc::make_mut(charges).remove(id);
        }
    }

    /// The intervals that differ from those of `before`; none where one is gone.
    pub(super) fn changes_since(&self, before: &Self) -> Vec<(u64, Option<Arc<Charges>>)> {
        let is_known = |(number, charges): &(&u64, &Arc<Charges>)| {
            before.0.get(*number).is_some_and(|known| Arc::ptr_eq(known, charges))
        };
        let changed = self.0.iter().filter(|entry| !is_known(entry));
        let changed = changed.map(|(number, charges)| (*number, Some(charges.clone())));
        let gone = before.0.keys().filter(|number| !self.0.contains_key(*number)).map(|number| (*number, None));
        changed.chain(gone).collect()
    }

    /// The lines of one account.
    fn of_account(&self, id: &HostAccountId) -> Vec<IntervalCharges> {
        let intervals = self.0.values().filter_map(|charges| charges.get(id));
        let intervals = intervals.map(|lines| IntervalCharges {
            until: lines.iter().map(|line| line.until).max().unwrap_or_default(),
            amount: sum(lines),
            lines: lines.clone(),
        });
        intervals.collect()
    }
}

fn sum(lines: &[ChargeLine]) -> Credits {
    Credits::checked_sum(lines.iter().map(|line| line.amount)).unwrap_or(Credits::MAX)
}

impl State {
    /// What an account was charged, with the lines that are kept; `None` where it is not open.
    pub(super) fn charges(&self, id: &HostAccountId) -> Option<ChargesReport> {
        let view = self.auctioneer.account(id)?;
        let intervals = self.charges.of_account(id);
        let explained = Credits::checked_sum(intervals.iter().map(|interval| interval.amount)).unwrap_or(Credits::MAX);
        Some(ChargesReport {
            account: id.account,
            pool: id.pool.clone(),
            interval: self.auctioneer.config().interval,
            charged: view.charged,
            earlier: view.charged.saturating_sub_at_zero(explained),
            intervals,
        })
    }
}
