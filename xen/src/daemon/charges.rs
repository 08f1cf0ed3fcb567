//! What the accounts were charged lately, line by line: for as many intervals as are kept, each with what every account paid.
//!
//! An interval that is written again replaces itself; a whole one is written once, and goes when it is old. So a host that
//! charges a thousand accounts writes the interval at hand and nothing else. In memory the intervals that are over are
//! packed.

use std::collections::BTreeMap;
use std::sync::Arc;

use tycoon_market::auctioneer::{ChargeLine, add_line};
use tycoon_market::{Credits, HostAccountId, TimeSpan};

use super::packed_charges::{PackedCharges, written};
use super::state::State;
use crate::market::{ChargesReport, IntervalCharges};

/// The intervals that are kept.
pub(super) const INTERVALS: usize = 24;
/// The newest of them, to which more may come: a tick charges for the end of one and the beginning of the next.
const OPEN_INTERVALS: usize = 2;

/// The charges of one interval.
pub(super) type Charges = BTreeMap<HostAccountId, Vec<ChargeLine>>;

/// The charges of the last intervals in which anybody was charged, by the number of the interval.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ChargeBook {
    intervals: BTreeMap<u64, Interval>,
    /// Counts the changes.
    changes: u64,
}

/// Which intervals there are, and the number of the last change of each.
pub(super) type Versions = BTreeMap<u64, u64>;

/// The charges of an interval, and the number of their last change.
#[derive(Clone, Debug, Default, PartialEq)]
struct Interval {
    charges: MaybePacked,
    version: u64,
}

/// One of the two is there; where it is neither, nobody was charged.
#[derive(Clone, Debug, Default, PartialEq)]
struct MaybePacked {
    open: Option<Arc<Charges>>,
    packed: Option<Arc<PackedCharges>>,
}

impl MaybePacked {
    fn of(charges: Charges) -> Self {
        Self { open: Some(Arc::new(charges)), packed: None }
    }

    /// To be changed.
    fn opened(&mut self) -> &mut Charges {
        let packed = self.packed.take();
        let unpacked = || Arc::new(packed.map(|packed| packed.unpacked()).unwrap_or_default());
        Arc::make_mut(self.open.get_or_insert_with(unpacked))
    }

    fn pack(&mut self) {
        if let Some(packed) = self.open.as_ref().and_then(|charges| PackedCharges::of(charges)) {
            *self = Self { open: None, packed: Some(Arc::new(packed)) };
        }
    }

    fn all(&self) -> Arc<Charges> {
        let unpacked = || Arc::new(self.packed.as_ref().map(|packed| packed.unpacked()).unwrap_or_default());
        self.open.clone().unwrap_or_else(unpacked)
    }

    fn get(&self, id: &HostAccountId) -> Option<Vec<ChargeLine>> {
        let open = self.open.as_ref().and_then(|charges| charges.get(id).cloned());
        open.or_else(|| self.packed.as_ref()?.get(id))
    }
}

impl ChargeBook {
    /// A book of what was read.
    pub(super) fn of(intervals: BTreeMap<u64, Charges>) -> Self {
        let of_read = |charges| Interval { charges: MaybePacked::of(charges), version: 0 };
        let intervals = intervals.into_iter().map(|(number, charges)| (number, of_read(charges))).collect();
        let mut book = Self { intervals, changes: 0 };
        book.pack();
        book
    }

    /// Notes what an account was charged.
    pub(super) fn note(&mut self, id: &HostAccountId, lines: Vec<ChargeLine>, interval: TimeSpan) {
        for line in lines {
            let number = u64::try_from(line.until.micros()).unwrap_or(0) / interval.micros().max(1);
            self.changes += 1;
            let before = self.intervals.len();
            let interval = self.intervals.entry(number).or_default();
            interval.version = self.changes;
            add_line(interval.charges.opened().entry(id.clone()).or_default(), line);
            if self.intervals.len() > before {
                self.pack();
            }
        }
        while self.intervals.len() > INTERVALS {
            self.intervals.pop_first();
        }
    }

    /// Packs what is over.
    fn pack(&mut self) {
        self.intervals.values_mut().rev().skip(OPEN_INTERVALS).for_each(|interval| interval.charges.pack());
    }

    /// Forgets an account that is closed.
    pub(super) fn forget(&mut self, id: &HostAccountId) {
        for interval in self.intervals.values_mut().filter(|interval| interval.charges.get(id).is_some()) {
            self.changes += 1;
            interval.version = self.changes;
            interval.charges.opened().remove(id);
        }
        self.pack();
    }

    /// Which intervals there are, and the number of the last change of each.
    pub(super) fn versions(&self) -> Versions {
        self.intervals.iter().map(|(number, interval)| (*number, interval.version)).collect()
    }

    /// The intervals that have changed since they were `known`, as they are written; none where one is gone. They are
    /// unpacked one at a time: all together are many.
    pub(super) fn changes_since(&self, known: &Versions) -> Vec<(u64, Option<Vec<u8>>)> {
        let changed = self.intervals.iter().filter(|(number, interval)| known.get(number) != Some(&interval.version));
        let changed = changed.map(|(number, interval)| (*number, Some(written(&interval.charges.all()))));
        let gone = known.keys().filter(|number| !self.intervals.contains_key(*number)).map(|number| (*number, None));
        changed.chain(gone).collect()
    }

    /// The lines of one account.
    fn of_account(&self, id: &HostAccountId) -> Vec<IntervalCharges> {
        let intervals = self.intervals.values().filter_map(|interval| interval.charges.get(id));
        let intervals = intervals.map(|lines| IntervalCharges {
            until: lines.iter().map(|line| line.until).max().unwrap_or_default(),
            amount: sum(&lines),
            lines,
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
