//! One host account.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::by_kind::ByKind;
use super::charge::ChargeLine;
use super::money::Money;
use super::unique_lots::UniqueBids;
use super::unmeasured::UnmeasuredByKind;
use crate::fine::{FineCredits, decimal};
use crate::{Bid, Credits, EscrowId, Quantity, Rate, ResourceKind, TimeSpan, Timestamp};

/// Where an account stands.
///
/// ```text
/// Idle ──bid and money──▶ Active ──displaced, out of money, evicted──▶ Warned ──grace──▶ Stopped ──long grace──▶ closed
///   └──its minima are held by accounts in their grace──▶ Waiting ──▶ Active ◀──it fits and can pay again──┴───────┘
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum AccountState {
    /// Without a bid or without money: it has nothing.
    #[default]
    Idle,
    /// It bids and has money, but what it needs is held by others, or they bid more. It has and pays nothing.
    Waiting,
    /// It has its shares.
    Active,
    /// Its domains will be shut down. Until then it keeps its memory and disk.
    Warned {
        /// Why.
        reason: Reason,
        /// When.
        stop_at: Timestamp,
    },
    /// Its domains are shut down. It keeps its disk.
    Stopped {
        /// Why.
        reason: Reason,
        /// When the disk is deleted.
        delete_at: Timestamp,
    },
}

/// Why an account's domains are stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Its money is used up.
    OutOfFunds,
    /// Others bid more for the minimum of a resource.
    Displaced,
    /// The owner put it out.
    Evicted,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::OutOfFunds => "out of funds",
            Self::Displaced => "displaced by higher bids",
            Self::Evicted => "put out by the owner",
        })
    }
}

/// What has become of the money of one receipt. `drawn` and `released` only grow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ReceiptTotals {
    /// The receipt's id, which is its escrow's.
    pub receipt: EscrowId,
    /// The money that came with it.
    pub funded: Credits,
    /// What the host has charged.
    pub drawn: Credits,
    /// What goes back to the payer.
    pub released: Credits,
}

impl ReceiptTotals {
    /// What is left: funded − drawn − released.
    pub fn left(&self) -> Credits {
        // All three are between 0 and `funded`, so that nothing can overflow.
        Credits::from_micros(self.funded.micros() - self.drawn.micros() - self.released.micros())
    }
}

/// The state of one host account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Account {
    /// Counts the accounts opened: the youngest has the highest.
    pub(super) sequence: u64,
    pub(super) state: AccountState,
    pub(super) evicted: bool,
    pub(super) money: Money,
    /// Its money is accounted for up to here. Between ticks that waits until something of it changes; `None` in a state
    /// that was saved before there was this.
    #[serde(default)]
    pub(super) settled_at: Option<Timestamp>,
    /// Shared by all copies of the account: it changes less often than what it brings.
    pub(super) bid: Option<Arc<Bid>>,
    /// b_r of each resource: fixed when bid, funding or refund change it.
    pub(super) rates: ByKind<Rate>,
    /// Its bids on unique resources, and what it holds.
    #[serde(default)]
    pub(super) unique: UniqueBids,
    /// When what is left is spread anew.
    pub(super) expires_at: Option<Timestamp>,
    /// The account spends no faster than this.
    pub(super) highest_rate: Option<Rate>,
    /// Reserved resources that are kept for it, whatever the auction says.
    pub(super) held: ByKind<Quantity>,
    /// The result of the last auction.
    pub(super) shares: ByKind<Quantity>,
    /// What it pays for its shares when it uses them: its bid, or more where it was topped up.
    pub(super) paid: ByKind<Rate>,
    /// What CPU and network cost since the last tick, if they were fully used.
    pub(super) unmeasured: UnmeasuredByKind,
    /// What was spent since the last tick all the same, in fine credits, and in what time: the escrows limit both
    /// together.
    #[serde(default, with = "decimal")]
    pub(super) spent_meanwhile: u128,
    #[serde(default)]
    pub(super) meanwhile: TimeSpan,
    /// Memory and disk that its domains had at the last tick.
    pub(super) in_use: ByKind<Quantity>,
    /// What it was charged for by the event that is being applied; empty between events.
    #[serde(skip)]
    pub(super) lines: Vec<ChargeLine>,
}

impl Account {
    pub(super) fn new(sequence: u64, now: Timestamp) -> Self {
        Self {
            sequence,
            state: AccountState::Idle,
            evicted: false,
            money: Money::default(),
            settled_at: Some(now),
            bid: None,
            rates: ByKind::new(),
            unique: UniqueBids::default(),
            expires_at: None,
            highest_rate: None,
            held: ByKind::new(),
            shares: ByKind::new(),
            paid: ByKind::new(),
            unmeasured: UnmeasuredByKind::default(),
            spent_meanwhile: 0,
            meanwhile: TimeSpan::ZERO,
            in_use: ByKind::new(),
            lines: Vec::new(),
        }
    }

    /// The time for which it is not charged yet.
    pub(super) fn unsettled(&self, now: Timestamp) -> TimeSpan {
        self.settled_at.map_or(TimeSpan::ZERO, |at| now.since(at))
    }

    /// b of one resource.
    pub(super) fn rate_of(&self, kind: ResourceKind) -> Rate {
        self.rates.of(kind)
    }

    /// Σ b over all resources.
    pub(super) fn rate(&self) -> Rate {
        total(self.rates.values().chain(self.unique.rates.values()))
    }

    pub(super) fn held_of(&self, kind: ResourceKind) -> Quantity {
        self.held.of(kind)
    }

    pub(super) fn share_of(&self, kind: ResourceKind) -> Quantity {
        self.shares.of(kind)
    }

    /// What the account may owe for the time since the last tick.
    pub(super) fn unmeasured_cost(&self) -> FineCredits {
        self.unmeasured.iter().map(|(_, unmeasured)| unmeasured.full_cost()).fold(FineCredits::ZERO, FineCredits::plus)
    }

    /// The whole credits that are surely not owed.
    pub(super) fn refundable(&self) -> Credits {
        self.money.available().less(self.unmeasured_cost()).whole()
    }

    /// Fixes the rates: what there is to bid with over `duration`, by weight. No faster than the escrows allow.
    pub(super) fn spread(&mut self, duration: TimeSpan, now: Timestamp) {
        self.highest_rate = self.money.highest_rate();
        let Some(bid) = &self.bid else { return };
        let funds = self.money.bid.less(self.unmeasured_cost()).whole();
        let fastest = self.highest_rate.unwrap_or(Rate::from_picos_per_second(u64::MAX));
        let rate = Rate::of(funds, duration).unwrap_or(fastest).min(fastest);
        let picos = rate.picos_per_second() as f64;
        let of = |portion: f64| Rate::from_picos_per_second((picos * portion) as u64);
        self.rates = bid.preferences().keys().map(|&kind| (kind, of(bid.portion(kind)))).collect();
        self.unique.rates = bid.unique().keys().map(|&wish| (wish, of(bid.unique_portion(wish)))).collect();
        self.expires_at = (self.rate() > Rate::ZERO).then(|| now.plus(duration));
    }

    /// Sets the bid and divides the money anew into what is bid and what is set aside.
    pub(super) fn set_bid(&mut self, bid: Bid, now: Timestamp) {
        let owed = self.unmeasured_cost();
        let funds = self.money.available().less(owed).whole();
        let aside = (funds.micros() as f64 * bid.contingency_ratio()) as i64;
        let aside = FineCredits::from_credits(Credits::from_micros(aside.min(funds.micros())));
        self.money.bid = self.money.available().less(aside);
        self.money.contingency = aside;
        let duration = bid.duration();
        self.unique.restart();
        self.bid = Some(Arc::new(bid));
        self.spread(duration, now);
    }

    /// Spreads the money over the bid's own duration again, after funds came or went.
    pub(super) fn spread_over_bid(&mut self, now: Timestamp) {
        match self.bid.as_ref().map(|bid| bid.duration()) {
            Some(duration) => self.spread(duration, now),
            None => self.highest_rate = self.money.highest_rate(),
        }
    }

    /// Spreads what is left at the expiry over a long time. Less than one interval costs is not worth that: rates are
    /// rounded down, and the rest of it must not keep domains for a month.
    pub(super) fn expire(&mut self, respread: TimeSpan, interval: TimeSpan, now: Timestamp) {
        if self.money.bid.whole() <= super::cost_of(self.rate(), interval) {
            self.stop_bidding();
        } else {
            self.spread(respread, now);
        }
    }

    /// What it bids is used up: it bids nothing. What is set aside may still defend its minima.
    pub(super) fn stop_bidding(&mut self) {
        self.rates.clear();
        self.unique.rates.clear();
        self.expires_at = None;
    }
}

/// The sum of rates, at most the largest that can be written.
pub(super) fn total<'a>(rates: impl IntoIterator<Item = &'a Rate>) -> Rate {
    let sum = rates.into_iter().map(|rate| rate.picos_per_second()).fold(0, u64::saturating_add);
    Rate::from_picos_per_second(sum)
}
