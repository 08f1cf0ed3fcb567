//! Tells the bank what was charged: signed, cumulative statements, repeated until they are acknowledged.

use tycoon_market::receipt::{Statement, StatementTerms};
use tycoon_market::{TimeSpan, Timestamp};

use super::HostDaemon;
use super::state::{State, StatementNotes};

/// How often the bank is told of an escrow that is merely drawn from. It returns an escrow of which it has heard
/// nothing for 24 hours.
const ROUTINE: TimeSpan = TimeSpan::from_seconds(3_600);

impl HostDaemon {
    /// Brings the notes on statements up to date with what the auctioneer has charged.
    pub(super) fn note_statements(&self, state: &mut State) {
        let ids: Vec<_> = state.accounts.keys().cloned().collect();
        for id in ids {
            let Some(view) = state.auctioneer.account(&id) else { continue };
            for totals in view.receipts {
                let opened_at = state.accounts.get(&id).map(|notes| notes.opened_at).unwrap_or_default();
                let notes = state
                    .statements
                    .entry(totals.receipt)
                    .or_insert_with(|| StatementNotes { told_at: opened_at, ..StatementNotes::unsent() });
                notes.drawn = totals.drawn;
                notes.released = totals.released;
            }
        }
    }

    /// Sends the statements that are due: where money goes back or an escrow ends, at once; else once an hour.
    /// What the bank does not acknowledge is sent again next time.
    pub(super) fn send_statements(&self, state: &mut State, urgent: bool) {
        let now = self.clock.now();
        let due: Vec<_> = state
            .statements
            .iter()
            .filter(|(_, notes)| notes.is_news() && is_due(notes, urgent, now))
            .map(|(escrow, _)| *escrow)
            .collect();
        if due.is_empty() {
            return;
        }
        for escrow in due {
            let Some(notes) = state.statements.get_mut(&escrow) else { continue };
            notes.sequence = notes.sequence.saturating_add(1);
            let terms = StatementTerms {
                escrow,
                sequence: notes.sequence,
                drawn_total: notes.drawn,
                released_total: notes.released,
                closed: notes.closed,
            };
            let statement = Statement::sign(terms, |bytes| self.identity.signer.sign(bytes));
            if self.bank.settle(&statement).is_ok() {
                notes.acknowledged = Some((notes.drawn, notes.released, notes.closed));
                notes.told_at = now;
            }
        }
        // Closed escrows of which the bank knows everything need not be remembered.
        state.statements.retain(|_, notes| !notes.closed || notes.is_news());
        // Where this cannot be saved, the same statements are sent again: they are cumulative.
        let _ = self.store.save(state);
    }
}

fn is_due(notes: &StatementNotes, urgent: bool, now: Timestamp) -> bool {
    let released = notes.acknowledged.map(|(_, released, _)| released);
    urgent || notes.closed || Some(notes.released) != released || now.since(notes.told_at) >= ROUTINE
}
