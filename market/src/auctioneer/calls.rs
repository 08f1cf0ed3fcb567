//! What accounts ask of the market: to open, fund, bid, refund, quote; and whether that is admitted.
//!
//! Each call changes a copy of the market, which is dropped where the call is refused.

use std::collections::BTreeMap;

use super::account::{self, Account, AccountState, Reason};
use super::by_kind::ByKind;
use super::event::Effect;
use super::one_bid::Demand;
use super::quote::Quote;
use super::{Auctioneer, Refusal, cost_of, plan};
use crate::{Bid, Credits, EscrowId, HostAccountId, Quantity, Rate, ResourceKind, TimeSpan, Timestamp, UniqueWish};

impl Auctioneer {
    pub(super) fn open(&mut self, id: HostAccountId) -> Result<(), Refusal> {
        if self.draining {
            return Err(Refusal::Draining);
        }
        if self.accounts.len() >= self.config.accounts_max {
            return Err(Refusal::TooManyAccounts(self.config.accounts_max));
        }
        self.accounts.insert(id, Account::new(self.next_sequence, self.accounted_at));
        self.next_sequence += 1;
        Ok(())
    }

    pub(super) fn fund(
        &mut self,
        id: &HostAccountId,
        receipt: EscrowId,
        amount: Credits,
        highest_rate: Option<Rate>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        check_amount(amount)?;
        let receipts_max = self.config.receipts_max;
        let account = self.account_mut(id)?;
        let (demand, shares) = (Demand::of(account), account.shares);
        if account.evicted {
            return Err(Refusal::Evicted);
        }
        if account.money.receipt_count() >= receipts_max {
            return Err(Refusal::TooManyReceipts(receipts_max));
        }
        if !account.money.fund(receipt, amount, highest_rate) {
            return Err(Refusal::TooMuchMoney);
        }
        account.spread_over_bid(now);
        self.resolve_for(id, &demand, now, effects)?;
        // Money may bring a bid into force that asks for less than her domains have.
        self.check_in_use(id, &shares)
    }

    pub(super) fn bid(
        &mut self,
        id: &HostAccountId,
        bid: Bid,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        self.check_bid(&bid)?;
        let draining = self.draining;
        let account = self.account_mut(id)?;
        if account.evicted {
            return Err(Refusal::Evicted);
        }
        let before = account.state;
        if draining && before != AccountState::Active {
            return Err(Refusal::Draining);
        }
        let (demand, shares) = (Demand::of(account), account.shares);
        account.set_bid(bid, now);
        let entitled = self.resolve_for(id, &demand, now, effects)?;
        self.check_admitted(id, before, entitled)?;
        self.check_in_use(id, &shares)
    }

    /// What a bid asks for must exist on this host.
    fn check_bid(&self, bid: &Bid) -> Result<(), Refusal> {
        for &wish in bid.unique().keys() {
            let sold = self.config.unique.get(&wish.kind()).is_some_and(|sale| match wish {
                UniqueWish::This(id) => sale.contains(id),
                UniqueWish::Any(_) => true,
            });
            if !sold {
                return Err(Refusal::UniqueNotSold(wish));
            }
        }
        for (&kind, preference) in bid.preferences() {
            let capacity = self.config.capacity_of(kind);
            if capacity == Quantity::ZERO {
                return Err(Refusal::NotSold(kind));
            }
            let (min, max) = (preference.min.of(capacity), preference.max.of(capacity));
            if min > max {
                return Err(Refusal::MinAboveMax { kind, min, max });
            }
            if min > capacity {
                return Err(Refusal::NotAvailable { kind, asked: min, available: capacity });
            }
        }
        Ok(())
    }

    pub(super) fn refund(
        &mut self,
        id: &HostAccountId,
        amount: Credits,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        check_amount(amount)?;
        let account = self.account_mut(id)?;
        let (before, refundable) = (account.state, account.refundable());
        if amount > refundable {
            return Err(Refusal::NotSoMuch { amount, refundable });
        }
        let (demand, shares) = (Demand::of(account), account.shares);
        let receipts = account.money.refund(amount);
        account.spread_over_bid(now);
        effects.push(Effect::Refunded { account: id.clone(), amount, receipts });
        let entitled = self.resolve_for(id, &demand, now, effects)?;
        if before == AccountState::Active {
            self.check_admitted(id, before, entitled)?;
        }
        self.check_in_use(id, &shares)
    }

    pub(super) fn end_receipt(
        &mut self,
        id: &HostAccountId,
        receipt: EscrowId,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let account = self.account_mut(id)?;
        let before = account.money.refunded();
        let totals = account.money.end_receipt(receipt).ok_or(Refusal::ReceiptUnknown(receipt))?;
        let amount = account.money.refunded().saturating_sub_at_zero(before);
        account.spread_over_bid(now);
        effects.push(Effect::Refunded { account: id.clone(), amount, receipts: vec![totals] });
        self.resolve(now, effects);
        Ok(())
    }

    /// Admittance: nobody stops her own domains by a call, and nobody comes in who cannot stay.
    fn check_admitted(&self, id: &HostAccountId, before: AccountState, entitled: bool) -> Result<(), Refusal> {
        let account = self.account_of(id)?;
        let Some(bid) = &account.bid else { return Ok(()) };
        if account.state == AccountState::Active {
            // A larger minimum of what is held must be free now.
            for &kind in bid.preferences().keys().filter(|kind| kind.is_reserved()) {
                self.check_available(id, account, kind)?;
            }
            let paid = account::total(account.paid.values().chain(account.unique.rates.values()));
            let span = self.config.interval.min(bid.duration());
            let needed = cost_of(paid, span);
            let funds = account.refundable();
            return if paid > account.rate() && needed > funds {
                Err(Refusal::CannotPay { needed, funds })
            } else {
                Ok(())
            };
        }
        if before == AccountState::Active {
            let AccountState::Warned { reason, .. } = account.state else {
                return Err(Refusal::WouldStop(Reason::OutOfFunds));
            };
            return Err(Refusal::WouldStop(reason));
        }
        if entitled || account.money.available().is_zero() {
            return Ok(());
        }
        for &kind in bid.preferences().keys() {
            let asked = plan::minimum(account, kind, self.config.capacity_of(kind));
            let available = self.available_for(kind, Some(id));
            if asked > available {
                return Err(Refusal::NotAvailable { kind, asked, available });
            }
        }
        match account.highest_rate {
            Some(highest) if account.rate() > Rate::ZERO => Err(Refusal::AboveHighestRate(highest)),
            _ => Ok(()),
        }
    }

    fn check_available(&self, id: &HostAccountId, account: &Account, kind: ResourceKind) -> Result<(), Refusal> {
        let asked = plan::minimum(account, kind, self.config.capacity_of(kind));
        if account.held_of(kind) >= asked {
            return Ok(());
        }
        Err(Refusal::NotAvailable { kind, asked, available: self.available_for(kind, Some(id)) })
    }

    /// A call must not take memory or disk away that the caller's own domains have.
    fn check_in_use(&self, id: &HostAccountId, before: &ByKind<Quantity>) -> Result<(), Refusal> {
        let account = self.account_of(id)?;
        for (&kind, &used) in account.in_use.iter() {
            let share = account.share_of(kind);
            let had = before.of(kind);
            if share < used && share < had {
                return Err(Refusal::BelowUse { kind, used, share });
            }
        }
        Ok(())
    }

    pub(super) fn quote(
        &mut self,
        id: HostAccountId,
        minima: BTreeMap<ResourceKind, Quantity>,
        valid_for: TimeSpan,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        if self.draining {
            return Err(Refusal::Draining);
        }
        if minima.values().all(|minimum| *minimum == Quantity::ZERO) || valid_for.is_zero() {
            return Err(Refusal::EmptyQuote);
        }
        self.quotes.remove(&id);
        if self.quotes.len() >= self.config.quotes_max {
            return Err(Refusal::TooManyQuotes(self.config.quotes_max));
        }
        for (&kind, &asked) in &minima {
            if self.config.capacity_of(kind) == Quantity::ZERO {
                return Err(Refusal::NotSold(kind));
            }
            let available = self.available_for(kind, Some(&id));
            if asked > available {
                return Err(Refusal::NotAvailable { kind, asked, available });
            }
        }
        let prices: BTreeMap<ResourceKind, Rate> =
            minima.iter().map(|(&kind, &minimum)| (kind, self.price_with(kind, &id, minimum))).collect();
        let rate = plan::cost_of_all(&prices, &minima);
        let valid_until = now.plus(valid_for.min(self.config.quote_longest));
        let quote = Quote { minima, prices, rate, valid_until };
        self.quotes.insert(id.clone(), quote.clone());
        effects.push(Effect::Quoted { account: id, quote });
        self.resolve(now, effects);
        Ok(())
    }
}

fn check_amount(amount: Credits) -> Result<(), Refusal> {
    if amount > Credits::ZERO { Ok(()) } else { Err(Refusal::NotAnAmount(amount)) }
}
