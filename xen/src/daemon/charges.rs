//! What the accounts were charged lately, line by line: for as many intervals as are kept, each with what every account paid.
//!
//! An interval that is written again replaces itself; a whole one is written once, and goes when it is old. So a host that
//! charges a thousand accounts writes the interval at hand and nothing else. In memory the intervals that are over are
//! packed, after the tick that ends them: nobody waits for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use tycoon_market::auctioneer::{ChargeLine, add_line};
use tycoon_market::{Credits, HostAccountId, TimeSpan, Timestamp};

use super::HostDaemon;
use super::packed_charges::PackedCharges;
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

/// The charges of an interval: as they are while more may come, packed when it is over.
#[derive(Clone, Debug, PartialEq)]
enum MaybePacked {
    Open(Arc<Charges>),
    Packed(Arc<PackedCharges>),
}

impl Default for MaybePacked {
    fn default() -> Self {
        Self::Open(Arc::default())
    }
}

impl MaybePacked {
    fn change(&mut self, change: impl FnOnce(&mut Charges)) {
        match self {
            Self::Open(charges) => change(Arc::make_mut(charges)),
            Self::Packed(packed) => {
                let mut charges = packed.unpacked();
                change(&mut charges);
                *self = Self::Open(Arc::new(charges));
            }
        }
    }

    const fn open(&self) -> Option<&Arc<Charges>> {
        match self {
            Self::Open(charges) => Some(charges),
            Self::Packed(_) => None,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Open(charges) => PackedCharges::of(charges).bytes().to_vec(),
            Self::Packed(packed) => packed.bytes().to_vec(),
        }
    }

    fn get(&self, id: &HostAccountId) -> Option<Vec<ChargeLine>> {
        match self {
            Self::Open(charges) => charges.get(id).cloned(),
            Self::Packed(packed) => packed.get(id),
        }
    }
}

impl ChargeBook {
    /// A book of what was read.
    pub(super) fn of(intervals: BTreeMap<u64, PackedCharges>) -> Self {
        let of_read = |charges| Interval { charges: MaybePacked::Packed(Arc::new(charges)), version: 0 };
        let intervals = intervals.into_iter().map(|(number, charges)| (number, of_read(charges))).collect();
        Self { intervals, changes: 0 }
    }

    /// Notes what an account was charged.
    pub(super) fn note(&mut self, id: &HostAccountId, lines: Vec<ChargeLine>, interval: TimeSpan) {
        for line in lines {
            let number = u64::try_from(line.until.micros()).unwrap_or(0) / interval.micros().max(1);
            self.changes += 1;
            let interval = self.intervals.entry(number).or_default();
            interval.version = self.changes;
            interval.charges.change(|charges| add_line(charges.entry(id.clone()).or_default(), line));
        }
        while self.intervals.len() > INTERVALS {
            self.intervals.pop_first();
        }
    }

    /// The charges of intervals that are over and not packed yet. [`packed`](Self::packed) is given them back.
    pub(super) fn to_pack(&self) -> Vec<(u64, Arc<Charges>)> {
        let over = self.intervals.iter().rev().skip(OPEN_INTERVALS);
        over.filter_map(|(number, interval)| Some((*number, interval.charges.open()?.clone()))).collect()
    }

    /// Takes charges packed; those that were changed meanwhile stay as they are.
    pub(super) fn packed(&mut self, number: u64, of: &Arc<Charges>, packed: PackedCharges) {
        let Some(interval) = self.intervals.get_mut(&number) else { return };
        if interval.charges.open().is_some_and(|charges| Arc::ptr_eq(charges, of)) {
            interval.charges = MaybePacked::Packed(Arc::new(packed));
        }
    }

    /// Forgets an account that is closed. What is packed keeps it until it goes, which is soon: it is not unpacked for that.
    pub(super) fn forget(&mut self, id: &HostAccountId) {
        let has = |interval: &&mut Interval| interval.charges.open().is_some_and(|charges| charges.contains_key(id));
        for interval in self.intervals.values_mut().filter(has) {
            self.changes += 1;
            interval.version = self.changes;
            interval.charges.change(|charges| drop(charges.remove(id)));
        }
    }

    /// Which intervals there are, and the number of the last change of each.
    pub(super) fn versions(&self) -> Versions {
        self.intervals.iter().map(|(number, interval)| (*number, interval.version)).collect()
    }

    /// The intervals that have changed since they were `known`, as they are written; none where one is gone.
    pub(super) fn changes_since(&self, known: &Versions) -> Vec<(u64, Option<Vec<u8>>)> {
        let changed = self.intervals.iter().filter(|(number, interval)| known.get(number) != Some(&interval.version));
        let changed = changed.map(|(number, interval)| (*number, Some(interval.charges.bytes())));
        let gone = known.keys().filter(|number| !self.intervals.contains_key(*number)).map(|number| (*number, None));
        changed.chain(gone).collect()
    }

    /// What an account was charged, with the lines that are kept. They are unpacked for it: not to be called with the state
    /// locked.
    pub(super) fn report(
        &self,
        id: &HostAccountId,
        charged: Credits,
        opened_at: Timestamp,
        interval: TimeSpan,
    ) -> ChargesReport {
        let intervals = self.of_account(id, opened_at);
        let explained = Credits::checked_sum(intervals.iter().map(|interval| interval.amount)).unwrap_or(Credits::MAX);
        ChargesReport {
            account: id.account,
            pool: id.pool.clone(),
            interval,
            charged,
            earlier: charged.saturating_sub_at_zero(explained),
            intervals,
        }
    }

    /// The lines of one account since it was opened; those of an earlier one of the same name are not its own.
    fn of_account(&self, id: &HostAccountId, opened_at: Timestamp) -> Vec<IntervalCharges> {
        let of_it = |interval: &Interval| {
            let mut lines = interval.charges.get(id)?;
            lines.retain(|line| line.until > opened_at);
            Some(lines).filter(|lines| !lines.is_empty())
        };
        let intervals = self.intervals.values().filter_map(of_it);
        let intervals = intervals.map(|lines| IntervalCharges {
            until: lines.iter().map(|line| line.until).max().unwrap_or_default(),
            amount: sum(&lines),
            lines,
        });
        intervals.collect()
    }
}

impl HostDaemon {
    /// Packs the charges that are over. The state is not locked meanwhile.
    pub(super) fn pack_charges(&self) {
        let to_pack = self.lock().charges.to_pack();
        for (number, charges) in to_pack {
            let packed = PackedCharges::of(&charges);
            self.lock().charges.packed(number, &charges, packed);
        }
    }
}

fn sum(lines: &[ChargeLine]) -> Credits {
    Credits::checked_sum(lines.iter().map(|line| line.amount)).unwrap_or(Credits::MAX)
}
