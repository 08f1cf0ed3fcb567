//! Settling: charging an account for the time since it was last looked at.
//!
//! Between two changes of its own an account spends at a constant pace. So it waits, whatever others do, and is charged
//! for the whole stretch at once; spending is counted in fine credits, so that it makes no difference in how many parts.
//! What CPU and network cost in that time is known at the next tick, which says how much of them was used.

use super::account::Account;
use super::advance::{Drain, Measure, Part, mean_use, rate_of_pace, used};
use super::charge::{ChargeFor, add_line};
use super::plan::Role;
use super::unmeasured::Unmeasured;
use super::{Auctioneer, PPM};
use crate::fine::FineCredits;
use crate::{HostAccountId, Quantity, Rate, ResourceKind, TimeSpan, Timestamp};

impl Auctioneer {
    /// An account whose bid, shares, state or money are to be changed: it is charged first for how they were until now.
    pub(super) fn changing(&mut self, id: &HostAccountId) -> Option<&mut Account> {
        self.settle(id);
        self.accounts.get_mut(id)
    }

    /// Charges an account up to now. What it used in that time is not known yet.
    pub(super) fn settle(&mut self, id: &HostAccountId) {
        let now = self.accounted_at;
        let Some(account) = self.accounts.get(id) else { return };
        let span = account.unsettled(now);
        if span.is_zero() {
            return;
        }
        let drain = self.drain(id, account, None);
        if let Some(account) = self.accounts.get_mut(id) {
            spend(account, &drain.parts, span, now);
            note_unmeasured(account, span, &drain);
            account.settled_at = Some(now);
        }
    }

    /// An account as it would be if it were settled now.
    pub(super) fn as_if_settled(&self, id: &HostAccountId, account: &Account) -> Account {
        let mut settled = account.clone();
        let span = account.unsettled(self.accounted_at);
        let drain = self.drain(id, account, None);
        spend(&mut settled, &drain.parts, span, self.accounted_at);
        settled.lines.clear();
        note_unmeasured(&mut settled, span, &drain);
        settled
    }

    /// Settles all accounts.
    pub(super) fn settle_all(&mut self) {
        self.settle_where(|_, account, now| !account.unsettled(now).is_zero());
    }

    /// Settles the accounts that change by themselves by now.
    pub(super) fn settle_due(&mut self) {
        self.settle_where(|market, account, now| market.due_of(account).is_some_and(|due| due <= now));
    }

    fn settle_where(&mut self, which: impl Fn(&Self, &Account, Timestamp) -> bool) {
        let now = self.accounted_at;
        let chosen = self.accounts.iter().filter(|(_, account)| which(self, account, now));
        let ids: Vec<HostAccountId> = chosen.map(|(id, _)| id.clone()).collect();
        for id in ids {
            self.settle(&id);
        }
    }

    /// The time was set where all accounts are settled: it counts for none.
    pub(super) fn all_settled(&mut self) {
        let now = self.accounted_at;
        for (_, account) in self.accounts.iter_mut() {
            account.settled_at = Some(now);
        }
    }

    /// Charges for the stretches since the last tick whose use was not known when they passed. Use is taken to be
    /// even over the time between the ticks.
    pub(super) fn settle_unmeasured(&mut self, measure: &Measure<'_>) {
        let (now, gap) = (self.accounted_at, u128::from(measure.gap.micros().max(1)));
        let ids: Vec<HostAccountId> = self
            .accounts
            .iter()
            .filter(|(_, account)| !account.meanwhile.is_zero() || !account.unmeasured.is_empty())
            .map(|(id, _)| id.clone())
            .collect();
        for id in ids {
            let usage = measure.usage.get(&id).copied().unwrap_or_default();
            let Some(account) = self.accounts.get(&id) else { continue };
            let mut parts = Vec::new();
            for (kind, unmeasured) in account.unmeasured.iter() {
                let time = u128::from(unmeasured.time.micros());
                let part = used(&usage, kind).saturating_mul(time) / gap;
                let over = part.saturating_sub(unmeasured.share);
                let degree = u128::from(self.degree_of_use(part, unmeasured.share));
                let mean = |sum: u128| mean_use(sum, time);
                let mut add = |item, cost: u128, full: u128, share, used| {
                    let rate = rate_of_pace(full.checked_div(time).unwrap_or_default());
                    parts.push((Part { item, pace: cost, rate, share, used }, unmeasured.time));
                };
                let (share, mean_used) = (mean(unmeasured.share), mean(part));
                for (item, full) in
                    [(ChargeFor::TopUp(kind), unmeasured.top_up), (ChargeFor::Bid(kind), unmeasured.bid)]
                {
                    add(item, full.saturating_mul(degree), full.saturating_mul(u128::from(PPM)), share, mean_used);
                }
                if kind == ResourceKind::Cpu {
                    let cost = self.beyond_share(over);
                    add(ChargeFor::BeyondShare, cost, cost, Quantity::ZERO, mean(over));
                }
            }
            // What tops up comes first, as far as the escrows allow in that time, less what was spent meanwhile.
            parts.retain(|(part, _)| part.pace > 0);
            parts.sort_by_key(|(part, _)| !matches!(part.item, ChargeFor::TopUp(_)));
            let mut left = account.highest_rate.map_or(u128::MAX, |highest| {
                let limit = Unmeasured { time: account.meanwhile, ..Unmeasured::default() }.at_rate(highest);
                limit.saturating_sub(account.spent_meanwhile)
            });
            for (part, _) in &mut parts {
                part.pace = part.pace.min(left);
                left -= part.pace;
            }
            if let Some(account) = self.accounts.get_mut(&id) {
                account.unmeasured.clear();
                (account.spent_meanwhile, account.meanwhile) = (0, TimeSpan::ZERO);
                for (part, time) in parts {
                    account.charge(&part, FineCredits::new(part.pace), now, time);
                }
            }
        }
    }
}

/// Takes what `parts` cost in `span` from the money of an account, and notes for what.
pub(super) fn spend(account: &mut Account, parts: &[Part], span: TimeSpan, until: Timestamp) {
    for part in parts {
        let cost = FineCredits::new(part.pace.saturating_mul(u128::from(span.micros())));
        account.charge(part, cost, until, span);
    }
}

impl Account {
    /// Takes `cost` from its money, and notes for what.
    fn charge(&mut self, part: &Part, cost: FineCredits, until: Timestamp, time: TimeSpan) {
        let charged = match part.item {
            ChargeFor::TopUp(_) => self.money.spend_top_up(cost),
            _ => self.money.spend_bid(cost),
        };
        add_line(&mut self.lines, part.line(until, time, charged));
    }
}

/// Notes what the CPU and network of a stretch cost if they were fully used.
fn note_unmeasured(account: &mut Account, span: TimeSpan, drain: &Drain) {
    let micros = u128::from(span.micros());
    let spent = drain.pace.bid.saturating_add(drain.pace.top_up).saturating_mul(micros);
    account.spent_meanwhile = account.spent_meanwhile.saturating_add(spent);
    account.meanwhile = TimeSpan::from_micros(account.meanwhile.micros().saturating_add(span.micros()));
    // CPU counts for whoever runs, also without a bid on it: what is used beyond the share has its price.
    let runs = Role::of(account.state) != Role::Out;
    for kind in ResourceKind::ALL.into_iter().filter(|kind| !kind.is_reserved()) {
        let paid = account.paid.of(kind);
        if paid == Rate::ZERO && !(runs && kind == ResourceKind::Cpu) {
            continue;
        }
        let bid = account.rate_of(kind).min(paid).picos_per_second();
        let share = account.share_of(kind).amount();
        let noted = account.unmeasured.entry(kind);
        noted.bid = noted.bid.saturating_add(u128::from(bid) * micros);
        noted.top_up = noted.top_up.saturating_add(u128::from(paid.picos_per_second() - bid) * micros);
        noted.share = noted.share.saturating_add(u128::from(share) * micros);
        noted.time = TimeSpan::from_micros(noted.time.micros().saturating_add(span.micros()));
    }
}
