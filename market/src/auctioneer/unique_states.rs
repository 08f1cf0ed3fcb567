//! What is known of each unique resource: who needs to know looks at a few states and ranges, not at every port.
//!
//! ```text
//! free, one of a range ──▶ held: its price is noted ──▶ free since lately: its prices are remembered for a day ──▶ free
//! ```
//!
//! Those that are free, and were for a day, are told as ranges, and have no statistics (seed 004, 5/2/2007).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Auctioneer, UniqueSale};
use crate::price_statistics::{PriceStatistics, PriceSummary};
use crate::{HostAccountId, Rate, TimeSpan, Timestamp, UniqueId, UniqueKind};

/// For how long the prices of what is free again are remembered.
const REMEMBERED: TimeSpan = TimeSpan::from_seconds(86_400);
/// How many that are free again are remembered at most; the longest free are forgotten first.
const REMEMBERED_MAX: usize = 1_024;

/// What a unique resource that is held, or was lately, has cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct UniqueRecord {
    /// Since when it is held, or free.
    since: Timestamp,
    is_free: bool,
    prices: PriceStatistics,
}

impl UniqueRecord {
    /// Moves its times, as deadlines are moved.
    pub(super) fn move_times(&mut self, moved: &impl Fn(Timestamp) -> Timestamp) {
        self.since = moved(self.since);
    }
}

/// A unique resource that is held or was lately, or a range of those that are free.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct UniqueState {
    /// The first of the range.
    pub first: UniqueId,
    /// The last of the range; the same where it is one.
    pub last: UniqueId,
    /// Where it stands.
    pub standing: UniqueStanding,
    /// Since when, where that is known.
    pub since: Option<Timestamp>,
    /// What the holder pays, or what it costs at least where it is free.
    pub price: Rate,
    /// What it has cost; `None` where it has long been free.
    pub prices: Option<PriceSummary>,
}

/// Where a unique resource stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UniqueStanding {
    /// Somebody holds it.
    Held,
    /// It is free, and was held within the last day.
    RecentlyFree,
    /// It is free.
    Free,
}

impl Auctioneer {
    /// Notes who began and who ceased to hold what, and forgets what has been free for long.
    pub(super) fn note_holders(&mut self, before: &BTreeMap<UniqueId, HostAccountId>, now: Timestamp) {
        self.forget_long_free(now);
        for (id, lot) in &self.lots {
            if before.get(id) != Some(&lot.holder) {
                let prices = self.unique_records.remove(id).map(|record| record.prices).unwrap_or_default();
                self.unique_records.insert(*id, UniqueRecord { since: now, is_free: false, prices });
            }
        }
        for (id, record) in &mut self.unique_records {
            if !record.is_free && !self.lots.contains_key(id) {
                record.since = now;
                record.is_free = true;
            }
        }
        let mut free: Vec<(Timestamp, UniqueId)> = self
            .unique_records
            .iter()
            .filter(|(_, record)| record.is_free)
            .map(|(id, record)| (record.since, *id))
            .collect();
        if free.len() > REMEMBERED_MAX {
            free.sort_unstable();
            for (_, id) in &free[..free.len() - REMEMBERED_MAX] {
                self.unique_records.remove(id);
            }
        }
    }

    /// Forgets what has been free for long.
    pub(super) fn forget_long_free(&mut self, now: Timestamp) {
        if self.config.unique.is_empty() && self.lots.is_empty() {
            return;
        }
        self.unique_records.retain(|_, record| !record.is_free || now.since(record.since) < REMEMBERED);
    }

    /// Notes what the holders paid for `span`.
    pub(super) fn note_unique_prices(&mut self, span: TimeSpan) {
        for (id, lot) in &self.lots {
            if let Some(record) = self.unique_records.get_mut(id) {
                record.prices.note(lot.price, span);
            }
        }
    }

    /// Lets time pass in which nothing was noted.
    pub(super) fn pass_unique_gap(&mut self, span: TimeSpan) {
        self.unique_records.values_mut().for_each(|record| record.prices.gap(span));
    }

    /// What is sold of one kind, in the order of numbers: those that are held or were lately one by one, the others as
    /// ranges.
    pub fn unique_states(&self, kind: UniqueKind) -> Vec<UniqueState> {
        let Some(sale) = self.config.unique.get(&kind) else { return Vec::new() };
        let free = |first, last| UniqueState {
            first,
            last,
            standing: UniqueStanding::Free,
            since: None,
            price: sale.base_price,
            prices: None,
        };
        let mut states = Vec::new();
        for (first, last) in sale.stretches() {
            let mut next = Some(first);
            for (&id, record) in self.unique_records.range(first..=last) {
                if let (Some(begin), Some(end)) = (next, id.previous())
                    && begin <= end
                {
                    states.push(free(begin, end));
                }
                let lot = self.lots.get(&id);
                states.push(UniqueState {
                    first: id,
                    last: id,
                    standing: if lot.is_some() { UniqueStanding::Held } else { UniqueStanding::RecentlyFree },
                    since: Some(record.since),
                    price: lot.map_or(sale.base_price, |lot| lot.price),
                    prices: Some(PriceSummary::of(&record.prices)),
                });
                next = id.next();
            }
            if let Some(begin) = next.filter(|begin| *begin <= last) {
                states.push(free(begin, last));
            }
        }
        states
    }
}

impl UniqueSale {
    /// What is sold, as ranges in the order of numbers that neither overlap nor touch.
    pub fn stretches(&self) -> Vec<(UniqueId, UniqueId)> {
        let single = self.single.iter().map(|id| (*id, *id));
        let mut ranges: Vec<(UniqueId, UniqueId)> =
            self.ranges.iter().copied().chain(single).filter(|(first, last)| first <= last).collect();
        ranges.sort_unstable();
        let mut joined: Vec<(UniqueId, UniqueId)> = Vec::new();
        for (first, last) in ranges {
            match joined.last_mut() {
                Some((_, end)) if end.next().is_none_or(|next| first <= next) => *end = last.max(*end),
                _ => joined.push((first, last)),
            }
        }
        joined
    }

    /// How many are sold.
    pub fn count(&self) -> u64 {
        self.stretches().iter().map(|(first, last)| last.number() - first.number() + 1).sum()
    }
}
