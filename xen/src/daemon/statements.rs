//! Tells the bank what was charged: signed, cumulative statements, repeated until they are acknowledged.
//!
//! A statement is made and numbered together with the change that makes it due, and saved with it; sending it changes
//! nothing that has to be saved. So a crash at any point only repeats a statement, and the bank never hears two
//! different ones with one number. It is told at once where money goes back or an escrow ends, and otherwise every hour,
//! also where nothing was drawn: it returns an escrow of which it has heard nothing for 24 hours.
//!
//! The bank has the last word. What it does not pay (because the escrow has ended, or more was drawn than the payer
//! allowed by now) is not claimed again; an escrow that it has ended is not spent any more. Where it knows later
//! statements than this memory, the memory comes from an older copy: counting goes on from what the bank knows.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, TryLockError};

use serde::{Deserialize, Serialize};
use tycoon_bank::ledger::{Escrow, EscrowEnd};
use tycoon_market::auctioneer::{Event, ReceiptTotals};
use tycoon_market::ids::EscrowId;
use tycoon_market::receipt::{ReceiptTerms, Statement, StatementTerms};
use tycoon_market::{AccountId, Credits, TimeSpan, Timestamp};
use tycoon_rpc::{CallError, Problem};

use super::books::apply;
use super::state::State;
use super::{HostDaemon, alone};

/// How often the bank is told of an escrow that goes on.
const ROUTINE: TimeSpan = TimeSpan::from_seconds(3_600);
/// How often in a row statements are corrected by what the bank answers.
const CORRECTIONS_MAX: usize = 3;

/// What the bank is to be told of an escrow, and what it was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StatementNotes {
    /// The money in it.
    amount: Credits,
    /// Nothing may be drawn that is charged after this.
    drawable_until: Timestamp,
    /// What is to be told.
    totals: Totals,
    /// True where the host account is closed.
    is_of_closed_account: bool,
    /// What the last statement says.
    stated: Totals,
    /// The number of the last statement; 0 before the first.
    sequence: u64,
    /// The number of the last statement that the bank has acknowledged.
    acknowledged: u64,
    /// When the bank last heard of the escrow.
    told_at: Timestamp,
    /// What the bank paid by statements that this memory does not know.
    paid_before: Totals,
    /// The most that the bank lets draw at this time, where it has said so.
    ceiling: Option<Credits>,
    /// True where the bank has ended the escrow and hears no more.
    is_ended: bool,
    /// What the bank last said that it has paid.
    #[serde(default)]
    paid: Credits,
}

/// A statement that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MadeStatement {
    escrow: EscrowId,
    sequence: u64,
    stated: Totals,
    /// The number and the totals of the one before, for the case that it cannot be kept.
    #[serde(skip)]
    before: (u64, Totals),
}

/// The totals of a statement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Totals {
    drawn: Credits,
    released: Credits,
    closed: bool,
}

impl StatementNotes {
    /// Of an escrow whose receipt has just come in. The bank last heard of it when it was opened.
    pub(super) fn of(terms: &ReceiptTerms) -> Self {
        Self::new(terms.amount, terms.opened_at.plus(terms.longest), terms.opened_at)
    }

    fn new(amount: Credits, drawable_until: Timestamp, told_at: Timestamp) -> Self {
        Self {
            amount,
            drawable_until,
            totals: Totals::default(),
            is_of_closed_account: false,
            stated: Totals::default(),
            sequence: 0,
            acknowledged: 0,
            told_at,
            paid_before: Totals::default(),
            ceiling: None,
            is_ended: false,
            paid: Credits::ZERO,
        }
    }

    /// What was charged to the escrow, and what the bank has paid of it.
    pub(super) fn earned(&self) -> (Credits, Credits) {
        (self.totals.drawn.max(self.paid), self.paid)
    }

    /// True where the bank has the last word on the escrow, so that its money is where it belongs.
    pub(super) const fn is_settled(&self) -> bool {
        self.is_ended || (self.stated.closed && !self.is_pending())
    }

    /// True where the bank has not acknowledged the last statement.
    const fn is_pending(&self) -> bool {
        self.sequence != self.acknowledged && !self.is_ended
    }

    fn note(&mut self, totals: &ReceiptTotals) {
        // A receipt that is used up ends; nothing can come back to it.
        self.totals = Totals { drawn: totals.drawn, released: totals.released, closed: totals.left().is_zero() };
    }

    /// What the next statement would say.
    fn next(&self) -> Totals {
        let drawn = self.totals.drawn.max(self.paid_before.drawn).min(self.ceiling.unwrap_or(Credits::MAX));
        let drawn = drawn.min(self.amount);
        let released = self.totals.released.max(self.paid_before.released);
        let released = released.min(self.amount.saturating_sub_at_zero(drawn));
        // What may not be drawn yet can be drawn later, unless the payer waits for the rest.
        let closed = self.totals.closed && (self.is_of_closed_account || drawn >= self.totals.drawn);
        Totals { drawn, released, closed }
    }

    /// Makes a statement where one is due, where `is_wanted` also before its time if there is anything to tell. True
    /// where it did.
    fn make(&mut self, now: Timestamp, is_wanted: bool) -> bool {
        if self.is_settled() {
            return false;
        }
        let next = self.next();
        let is_wanted = is_wanted && next != self.stated;
        let is_news = (next.released, next.closed) != (self.stated.released, self.stated.closed);
        // A clock that went back must not make the host silent.
        let is_routine = now < self.told_at || now.since(self.told_at) >= ROUTINE;
        let is_due = is_news || is_routine || is_wanted || self.is_pending();
        let is_made = is_due && (!self.is_pending() || next != self.stated);
        if is_made {
            self.sequence = self.sequence.saturating_add(1);
            self.stated = next;
        }
        is_made
    }

    /// Goes on from what the bank knows.
    fn adopt(&mut self, escrow: &Escrow) {
        let Some(last) = &escrow.statement else { return };
        self.sequence = self.sequence.max(last.terms.sequence);
        self.acknowledged = self.sequence;
        self.stated =
            Totals { drawn: last.terms.drawn_total, released: last.terms.released_total, closed: last.terms.closed };
        self.paid_before = Totals { drawn: escrow.drawn, released: escrow.released, closed: false };
    }

    fn terms(&self, escrow: EscrowId) -> StatementTerms {
        StatementTerms {
            escrow,
            sequence: self.sequence,
            drawn_total: self.stated.drawn,
            released_total: self.stated.released,
            closed: self.stated.closed,
        }
    }
}

impl State {
    /// Brings the totals of the statements up to date with what the auctioneer has charged.
    pub(super) fn note_charges(&mut self) {
        for totals in self.auctioneer.open_receipts() {
            if let Some(notes) = self.statements.get_mut(&totals.receipt) {
                notes.note(totals);
            }
        }
    }

    /// The same, and makes the statements that are due; they are returned.
    pub(super) fn make_statements(&mut self, now: Timestamp) -> Vec<MadeStatement> {
        self.note_charges();
        let mut made = Vec::new();
        for (escrow, notes) in self.statements.iter_mut() {
            let before = (notes.sequence, notes.stated);
            if notes.make(now, false) {
                made.push(MadeStatement { escrow: *escrow, sequence: notes.sequence, stated: notes.stated, before });
            }
        }
        self.statements.retain(|_, notes| !(notes.is_of_closed_account && notes.is_settled()));
        made
    }

    /// Takes in a statement that was made before a crash.
    pub(super) fn take_statement(&mut self, made: &MadeStatement) {
        if let Some(notes) = self.statements.get_mut(&made.escrow) {
            (notes.sequence, notes.stated) = (made.sequence, made.stated);
        }
    }

    /// Forgets statements that were just made, and could not be kept.
    pub(super) fn take_back_statements(&mut self, made: &[MadeStatement]) {
        for made in made {
            if let Some(notes) = self.statements.get_mut(&made.escrow) {
                (notes.sequence, notes.stated) = made.before;
            }
        }
    }

    /// Makes a statement of every escrow of which there is anything to tell.
    pub(super) fn make_all_statements(&mut self, now: Timestamp) {
        self.make_statements(now);
        self.statements.values_mut().for_each(|notes| {
            notes.make(now, true);
        });
    }

    /// The escrows of which the bank has not acknowledged the last statement.
    pub(super) fn pending_escrows(&self) -> Vec<EscrowId> {
        self.statements.iter().filter(|(_, notes)| notes.is_pending()).map(|(escrow, _)| *escrow).collect()
    }

    /// Notes the final totals of an escrow whose account is closed.
    pub(super) fn close_statement(&mut self, totals: &ReceiptTotals, now: Timestamp) {
        let unknown = || StatementNotes::new(totals.funded, now, now);
        let notes = self.statements.entry(totals.receipt).or_insert_with(unknown);
        notes.note(totals);
        notes.totals.closed = true;
        notes.is_of_closed_account = true;
    }

    /// The open escrows whose time is over by `now`, the earliest first, and when it was.
    pub(super) fn overdue(&self, now: Timestamp) -> Vec<(Timestamp, EscrowId)> {
        let is_open = |notes: &StatementNotes| !notes.totals.closed && !notes.is_ended;
        let over = self.statements.iter().filter(|(_, notes)| is_open(notes) && notes.drawable_until <= now);
        let mut over: Vec<_> = over.map(|(escrow, notes)| (notes.drawable_until, *escrow)).collect();
        over.sort();
        over
    }

    /// Ends a receipt of an open account: nothing more is spent from it.
    pub(super) fn end_receipt(&mut self, escrow: EscrowId, at: Timestamp) {
        let Some(account) = self.auctioneer.receipt(escrow).map(|(account, _)| account.clone()) else { return };
        // It is refused only where the account is closed, which has the same effect.
        let _ = apply(self, Event::EndReceipt { account, receipt: escrow }, at);
    }
}

/// What is done after the bank has answered.
#[derive(PartialEq, Eq)]
enum Next {
    /// Nothing.
    Done,
    /// The statement was made anew.
    Again,
}

impl HostDaemon {
    /// Sends the statements that the bank has not acknowledged. What it does not acknowledge is sent again next time.
    pub(super) fn report_to_bank(&self) {
        let silences = self.silences.load(Ordering::Relaxed);
        let telling = alone(&self.telling);
        // Who told it meanwhile got no answer: many that wait would wait one after the other for the same.
        if self.silences.load(Ordering::Relaxed) == silences {
            self.tell_bank(&telling);
        }
    }

    /// Tells the bank what it has not acknowledged yet; nothing where it is being told already. A bank that is out of reach
    /// takes its time.
    pub fn tell(&self) {
        match self.telling.try_lock() {
            Ok(telling) => self.tell_bank(&telling),
            Err(TryLockError::Poisoned(telling)) => self.tell_bank(&telling.into_inner()),
            Err(TryLockError::WouldBlock) => {}
        }
    }

    fn tell_bank(&self, _one_at_a_time: &MutexGuard<'_, ()>) {
        let mut refreshed = BTreeSet::new();
        for _ in 0..CORRECTIONS_MAX {
            let mut next = Next::Done;
            for statement in self.pending_statements() {
                let escrow = statement.terms.escrow;
                match self.bank.settle(&statement) {
                    Ok(answer) => {
                        if self.heard(&statement, &answer) == Next::Again {
                            next = Next::Again;
                        } else if !statement.terms.closed && refreshed.insert(answer.order.payer) {
                            self.refresh_keys(answer.order.payer, escrow);
                        }
                    }
                    Err(CallError::Refused(problem)) => {
                        if self.refused(escrow, &problem) == Next::Again {
                            next = Next::Again;
                        }
                    }
                    Err(error) => {
                        // The others would not get there either.
                        self.silences.fetch_add(1, Ordering::Relaxed);
                        self.faults.note(self.clock.now(), "telling the bank what was charged", &error);
                        return;
                    }
                }
            }
            if next == Next::Done {
                return;
            }
        }
    }

    fn pending_statements(&self) -> Vec<Statement> {
        let state = self.lock();
        let pending = state.statements.iter().filter(|(_, notes)| notes.is_pending());
        pending
            .map(|(escrow, notes)| Statement::sign(notes.terms(*escrow), |bytes| self.identity.signer.sign(bytes)))
            .collect()
    }

    /// Takes in that the bank has a statement.
    fn heard(&self, statement: &Statement, answer: &Escrow) -> Next {
        let escrow = statement.terms.escrow;
        let known = answer.statement.as_ref().map_or(0, |last| last.terms.sequence);
        let is_ended_otherwise = match answer.end {
            None => false,
            Some(EscrowEnd::Closed) => !statement.terms.closed,
            Some(EscrowEnd::Lapsed) => true,
        };
        if is_ended_otherwise {
            self.ended(escrow, Some(answer));
            return Next::Done;
        }
        let now = self.clock.now();
        let mut state = self.lock();
        self.store.leave_behind();
        let Some(notes) = state.statements.get_mut(&escrow) else { return Next::Done };
        if known > notes.sequence {
            drop(state);
            return self.correct(escrow, |notes| notes.adopt(answer));
        }
        // Not saved by itself: where it is lost, the same statement is sent again, and nothing comes of it.
        notes.acknowledged = notes.acknowledged.max(known);
        notes.told_at = now;
        notes.ceiling = None;
        notes.paid = notes.paid.max(answer.drawn);
        Next::Done
    }

    /// Takes in that the bank refuses a statement.
    fn refused(&self, escrow: EscrowId, problem: &Problem) -> Next {
        match problem.code.as_str() {
            "bank.escrow-ended" | "bank.no-escrow" => {
                self.ended(escrow, self.bank.escrow(&escrow).ok().map(|info| info.escrow).as_ref());
                return Next::Done;
            }
            "bank.too-fast" => {
                let at_most = problem.extra.get("at_most_micros").and_then(serde_json::Value::as_i64);
                if let Some(at_most) = at_most {
                    return self.correct(escrow, |notes| notes.ceiling = Some(Credits::from_micros(at_most)));
                }
            }
            "bank.statement-goes-back" | "bank.statement-conflict" | "bank.over-drawn" => {
                if let Ok(info) = self.bank.escrow(&escrow) {
                    return self.correct(escrow, |notes| notes.adopt(&info.escrow));
                }
            }
            _ => {}
        }
        self.faults.note(self.clock.now(), "telling the bank what was charged", problem);
        Next::Done
    }

    /// Changes what is noted of an escrow, and makes its statement anew.
    fn correct(&self, escrow: EscrowId, change: impl FnOnce(&mut StatementNotes)) -> Next {
        let changed = self.change(|state, _| {
            if let Some(notes) = state.statements.get_mut(&escrow) {
                change(notes);
            }
            Ok(())
        });
        if changed.is_ok() { Next::Again } else { Next::Done }
    }

    /// The bank has ended an escrow: what is left of it is not spent any more.
    fn ended(&self, escrow: EscrowId, answer: Option<&Escrow>) {
        let lost = self.lock().statements.get(&escrow).map(|notes| {
            let paid = answer.map_or(Credits::ZERO, |answer| answer.drawn);
            notes.totals.drawn.saturating_sub_at_zero(paid)
        });
        if let Some(lost) = lost.filter(|lost| !lost.is_zero()) {
            let reason = format!("it has ended; {lost} credits that were charged to it are not paid");
            self.faults.note(self.clock.now(), &format!("drawing from escrow {escrow}"), &reason);
        }
        let changed = self.change(|state, now| {
            if let Some(notes) = state.statements.get_mut(&escrow) {
                notes.is_ended = true;
            }
            state.end_receipt(escrow, now);
            Ok(())
        });
        if let Err(error) = changed {
            self.faults.note(self.clock.now(), "noting that an escrow has ended", &error);
        }
    }

    /// Asks the bank for the present keys of an account.
    fn refresh_keys(&self, account: AccountId, escrow: EscrowId) {
        // Where this fails it is asked again in an hour.
        let Ok(info) = self.bank.escrow(&escrow) else { return };
        let receipt = info.receipt;
        let is_news = || !self.lock().keys.has_learned(&receipt.terms);
        if receipt.verify(&self.identity.bank).is_ok() && receipt.terms.payer == account && is_news() {
            let learned = self.change(|state, _| {
                state.keys.learn(&receipt.terms);
                Ok(())
            });
            if let Err(error) = learned {
                self.faults.note(self.clock.now(), "noting the keys of an account", &error);
            }
        }
    }
}
