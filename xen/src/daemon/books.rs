//! The books of a host: what events do to the market and to what is remembered beside it.

use tycoon_market::auctioneer::{Effect, Event, HostConfig, ReceiptTotals, Refusal};
use tycoon_market::{Credits, HostAccountId, Timestamp};

use super::log::AcceptedBid;
use super::state::{ClosedNotes, State};
use super::usage::Look;

impl State {
    /// Charges for the time until the look by what was used. After a downtime, as much of it as the look says.
    pub(super) fn pass_time(&mut self, look: &Look) {
        let Look { at: now, downtime_limit: limit, domains } = look;
        if limit.is_none() {
            self.end_overdue(*now);
        }
        let mut usage = self.measure(domains);
        if limit.is_some() {
            // Only who ran is charged for a downtime.
            usage.retain(|id, _| domains.iter().any(|domain| domain.is_active && domain.owner == *id));
        }
        // A tick is never refused.
        let _ = apply(self, Event::Tick { usage, downtime_limit: *limit }, *now);
        self.note_unique_use(domains, *now);
        // After a downtime: the time that was left out may have reached the end of an escrow too.
        self.end_overdue(*now);
    }

    /// Ends the receipts from which the bank lets draw no longer, each at its time.
    pub(super) fn end_overdue(&mut self, now: Timestamp) {
        for (until, escrow) in self.overdue(now) {
            let at = until.max(self.auctioneer.accounted_at()).min(now);
            self.end_receipt(escrow, at);
        }
    }

    /// Takes an accepted bid, at its time.
    pub(super) fn take_bid(&mut self, accepted: &AcceptedBid) -> Result<(), Refusal> {
        self.end_overdue(accepted.at);
        let event = Event::Bid { account: accepted.account.clone(), bid: accepted.bid.clone() };
        apply(self, event, accepted.at)?;
        self.note_generation(&accepted.account, accepted.generation);
        Ok(())
    }

    /// Takes over what the owner has set since the state was saved.
    pub(super) fn adopt_settings(&mut self, settings: &HostConfig, now: Timestamp) {
        // It was checked when it was set; one that is not good is not taken over.
        let _ = apply(self, Event::Configure { config: Box::new(settings.clone()) }, now);
    }
}

/// Lets an event happen on the market, and closes the books of the accounts that it ends.
pub(super) fn apply(state: &mut State, event: Event, now: Timestamp) -> Result<(), Refusal> {
    let effects = state.auctioneer.apply(event, now)?;
    state.tell_effects(&effects, now);
    for effect in effects {
        match effect {
            Effect::Charged { account, lines, amount, .. } => {
                state.earned = state.earned.checked_add(amount).unwrap_or(Credits::MAX);
                let interval = state.auctioneer.config().interval;
                state.charges.note(&account, lines, interval);
            }
            Effect::Closed { account, receipts, lines } => {
                let last = Credits::checked_sum(lines.iter().map(|line| line.amount)).unwrap_or(Credits::MAX);
                state.earned = state.earned.checked_add(last).unwrap_or(Credits::MAX);
                close_books(state, &account, &receipts, now);
            }
            _ => {}
        }
    }
    Ok(())
}

/// Notes what an account that is gone from the market leaves to settle.
fn close_books(state: &mut State, id: &HostAccountId, receipts: &[ReceiptTotals], now: Timestamp) {
    let sum = |amount: fn(&ReceiptTotals) -> Credits| {
        Credits::checked_sum(receipts.iter().map(amount)).unwrap_or(Credits::MAX)
    };
    let notes = ClosedNotes {
        closed_at: now,
        generation: state.generation(id).unwrap_or(0),
        charged: sum(|totals| totals.drawn),
        refunded: sum(|totals| totals.released),
        escrows: receipts.iter().map(|totals| totals.receipt).collect(),
        is_removed: false,
    };
    for totals in receipts {
        state.close_statement(totals, now);
    }
    state.closed.insert(id.clone(), notes);
    state.accounts.remove(id);
    state.charges.forget(id);
}
