//! Money comes in: which receipts are taken, and what they open.

use std::sync::atomic::Ordering;

use tycoon_market::auctioneer::Event;
use tycoon_market::receipt::{Receipt, ReceiptTerms};
use tycoon_market::{AccountId, HostAccountId, PoolName, PublicKey, Timestamp};

use super::HostDaemon;
use super::books::apply;
use super::log::{AcceptedFunds, Entry};
use super::market::{MarketError, report};
use super::state::{AccountNotes, State};
use super::statements::StatementNotes;
use crate::events::Happening;
use crate::market::AccountReport;
use crate::status::DomainStatus;

impl HostDaemon {
    /// Credits a host account with an escrow, once. The first receipt opens the account. A receipt that was credited
    /// already may be handed in again, with the payer's present keys.
    pub(super) fn fund(
        &self,
        sender: &PublicKey,
        pool: &PoolName,
        receipt: &Receipt,
    ) -> Result<AccountReport, MarketError> {
        receipt.verify(&self.identity.bank).map_err(|error| MarketError::Receipt(error.to_string()))?;
        let terms = &receipt.terms;
        let wrong = [
            (terms.host != self.id, "it names another host"),
            (terms.beneficiary != self.identity.owner, "it pays another owner than this host's"),
            (!terms.payer_keys.contains(sender), "somebody else paid"),
            (terms.pool != *pool, "it is for another pool"),
        ];
        if let Some((_, reason)) = wrong.into_iter().find(|(is_wrong, _)| *is_wrong) {
            return Err(MarketError::Receipt(reason.to_owned()));
        }
        let id = HostAccountId::new(terms.payer, pool.clone());
        self.check_new_receipt(terms)?;
        if self.lock().closed.get(&id).is_some_and(|closed| !closed.is_removed) {
            // What an earlier account of the same name left behind goes before a new one may have anything.
            self.enforce();
        }
        let mut funds = AcceptedFunds { at: self.clock.now(), sender: *sender, terms: terms.clone() };
        let funded = match self.fund_at_once(&id, &mut funds)? {
            Some(report) => report,
            // A first look before an account is opened: what its domains used before is not charged to it.
            None => self.change_charged_if_possible(|state, now, _| {
                Self::check_not_banned(state, &terms.payer)?;
                state.take_funds(&AcceptedFunds { at: now, ..funds.clone() })?;
                report(state, &id)
            })?,
        };
        self.follow_up();
        Ok(funded)
    }

    /// Credits an account that has nothing on the hypervisor without looking at what was used until now: that is charged at
    /// the next tick. `None` where it has, or is refused like this, for time that passes may make room for it; and where
    /// nobody else is here, for then the time until now is not on disk.
    fn fund_at_once(
        &self,
        id: &HostAccountId,
        funds: &mut AcceptedFunds,
    ) -> Result<Option<AccountReport>, MarketError> {
        let Ok(domains) = self.hypervisor.domains(self.clock.now()) else { return Ok(None) };
        let is_its = |domain: &DomainStatus| {
            domain.ownership.as_ref().is_some_and(|own| (own.account, &own.pool) == (id.account, &id.pool))
        };
        let mut state = self.lock();
        Self::check_not_banned(&state, &id.account)?;
        let owes_time = self.owes_time.load(Ordering::Relaxed);
        if owes_time || state.is_idle() || state.cpu_marks.is_none() || domains.iter().any(is_its) {
            return Ok(None);
        }
        funds.at = self.clock.now();
        let mut next = state.clone();
        if next.take_funds(funds).is_err() {
            return Ok(None);
        }
        let report = report(&next, id)?;
        let is_kept = self.keep_at_once(&mut state, next, &Entry::Fund(funds.clone()))?;
        Ok(is_kept.then_some(report))
    }

    /// Refuses receipts from which nothing, or less than they say, can be drawn. Those that are credited already pass.
    fn check_new_receipt(&self, terms: &ReceiptTerms) -> Result<(), MarketError> {
        let refused = |reason: &str| Err(MarketError::Receipt(reason.to_owned()));
        let now = self.clock.now();
        let (founded_at, memory) = {
            let state = self.lock();
            if state.auctioneer.receipt(terms.escrow).is_some() {
                return Ok(());
            }
            (state.founded_at, state.auctioneer.config().receipt_memory)
        };
        if terms.opened_at.plus(terms.longest) <= now {
            return refused("the time for which its escrow may be drawn is over");
        }
        // What is as old as this may have been credited before, and forgotten with the account or with a whole memory
        // that was lost. Then the bank has heard of it.
        let is_remembered = terms.opened_at >= founded_at && now.since(terms.opened_at) < memory;
        let info = match self.bank.escrow(&terms.escrow) {
            Ok(info) => info,
            // Its signature holds, and it is in nobody's books: they were restored from a copy that is older, and the
            // payer has the money back.
            Err(error) if error.problem().is_some_and(|problem| problem.code == "bank.no-escrow") => {
                return refused("the bank does not know its escrow any more; open a new one");
            }
            // The receipt holds by itself, and what this host knows suffices. Where it is wrong all the same, the first
            // statement that reaches the bank ends it.
            Err(error) if is_remembered && error.problem().is_none() => return Ok(()),
            Err(error) => return Err(MarketError::Unchecked(error.to_string())),
        };
        if is_remembered {
            return Ok(());
        }
        if info.escrow.end.is_some() || info.escrow.statement.is_some() {
            return refused(
                "it is older than what this host remembers, and was credited before; what is left of it returns to the \
                 payer by itself within a day",
            );
        }
        Ok(())
    }
}

impl State {
    /// Takes in a receipt that holds, at its time: the first one opens the account.
    pub(super) fn take_funds(&mut self, funds: &AcceptedFunds) -> Result<(), MarketError> {
        let AcceptedFunds { at: now, sender, terms } = funds;
        let id = HostAccountId::new(terms.payer, terms.pool.clone());
        self.end_overdue(*now);
        self.keys.learn(terms);
        if self.keys.account_of(sender) != Some(terms.payer) {
            return Err(MarketError::Receipt("the key is no longer one of the payer's".to_owned()));
        }
        apply(self, Event::Open { account: id.clone() }, *now)?;
        let is_new = self.auctioneer.receipt(terms.escrow).is_none();
        let event = Event::Fund {
            account: id.clone(),
            receipt: terms.escrow,
            amount: terms.amount,
            highest_rate: Some(terms.highest_rate),
        };
        apply(self, event, *now)?;
        if is_new {
            self.tell(&id, *now, Happening::Funded { escrow: terms.escrow, amount: terms.amount });
        }
        self.statements.entry(terms.escrow).or_insert_with(|| StatementNotes::of(terms));
        let generation = self.closed.remove(&id).map_or(0, |closed| closed.generation);
        self.accounts.entry(id.clone()).or_insert(AccountNotes { opened_at: *now, generation });
        move_quote(self, HostAccountId::new(AccountId::of(sender), terms.pool.clone()), &id, *now);
        Ok(())
    }
}

/// What was held for a key before it was known whose it is, is held for its account from now on.
fn move_quote(state: &mut State, from: HostAccountId, to: &HostAccountId, now: Timestamp) {
    if from == *to {
        return;
    }
    let Some(quote) = state.auctioneer.quote_of(&from).cloned() else { return };
    // Nobody can come between the two, and what was held fits again. Were it refused, it would be as if it had expired.
    let _ = apply(state, Event::ReleaseQuote { account: from }, now);
    let valid_for = quote.valid_until.since(now);
    let _ = apply(state, Event::Quote { account: to.clone(), minima: quote.minima, valid_for }, now);
}
