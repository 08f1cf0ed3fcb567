//! What happens to the market: events go to the auctioneer, the outcome to disk, then to hypervisor and bank.

use std::collections::BTreeMap;

use tycoon_market::auctioneer::{AccountState, Effect, Event, ReceiptTotals, Refusal, Usage};
use tycoon_market::receipt::Receipt;
use tycoon_market::{AccountId, Credits, HostAccountId, PoolName, Quantity, ResourceKind, TimeSpan, Timestamp};

use super::state::{AccountNotes, ClosedNotes, State, StatementNotes};
use super::{DaemonError, HostDaemon};
use crate::hypervisor::HypervisorError;
use crate::market::{AccountReport, CloseReport, EscrowReport, OfferToAccount, OffersReport, Quote, QuoteRequest};
use crate::status::DomainStatus;

/// How long a quote is held.
const QUOTE_VALID: TimeSpan = TimeSpan::from_seconds(60);

/// Why a market call was not carried out.
#[derive(Debug, thiserror::Error)]
pub(super) enum MarketError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("a newer plan (generation {current}) has changed this pool; this one is generation {asked}")]
    StaleGeneration { current: u64, asked: u64 },
    #[error("the receipt is not good here: {0}")]
    Receipt(String),
    #[error("there is no account for pool `{0}` on this host")]
    NoAccount(PoolName),
    #[error(transparent)]
    Daemon(#[from] DaemonError),
}

impl HostDaemon {
    /// Changes the state: what `change` does to a copy is saved and then becomes the state; where it fails, nothing
    /// has happened. Then hypervisor and bank are brought up to date.
    pub(super) fn change<T>(
        &self,
        change: impl FnOnce(&mut State) -> Result<T, MarketError>,
    ) -> Result<T, MarketError> {
        let mut state = self.lock();
        let mut next = state.clone();
        let result = change(&mut next)?;
        self.note_statements(&mut next);
        self.store.save(&next)?;
        *state = next;
        self.enforce(&mut state);
        self.send_statements(&mut state, false);
        Ok(result)
    }

    /// Charges for the time since the last event.
    pub(super) fn account_for_time(&self, downtime_limit: Option<TimeSpan>) -> Result<(), DaemonError> {
        let outcome = self.change(|state| {
            let (usage, marks) = self.usage(state)?;
            apply(state, Event::Tick { usage, downtime_limit }, self.clock.now())?;
            state.cpu_marks = marks;
            Ok(())
        });
        match outcome {
            Ok(()) => Ok(()),
            Err(MarketError::Daemon(error)) => Err(error),
            // A tick is never refused; if it were, time would be charged at the next one.
            Err(other) => Err(DaemonError::Config { host: self.name().clone(), reason: other.to_string() }),
        }
    }

    pub(super) fn hypervisor_failed(&self, source: HypervisorError) -> DaemonError {
        DaemonError::Hypervisor { host: self.name().clone(), source }
    }

    /// What each account used since the last tick, and the CPU times to measure from next time.
    fn usage(
        &self,
        state: &State,
    ) -> Result<(BTreeMap<HostAccountId, Usage>, BTreeMap<String, TimeSpan>), DaemonError> {
        let domains = self.hypervisor.domains(self.clock.now()).map_err(|error| self.hypervisor_failed(error))?;
        let mut usage: BTreeMap<HostAccountId, Usage> = BTreeMap::new();
        let mut marks = BTreeMap::new();
        for domain in &domains {
            let Some(own) = &domain.ownership else { continue };
            let used = usage.entry(HostAccountId::new(own.account, own.pool.clone())).or_default();
            let before = state.cpu_marks.get(&domain.name).copied().unwrap_or_default();
            let cpu = domain.cpu_time.saturating_sub(before);
            used.cpu_time = TimeSpan::from_micros(used.cpu_time.micros().saturating_add(cpu.micros()));
            used.memory = plus(used.memory, if domain.state.is_active() { domain.memory_bytes } else { 0 });
            used.disk = plus(used.disk, disk_bytes(domain));
            marks.insert(domain.name.clone(), domain.cpu_time);
        }
        Ok((usage, marks))
    }

    /// What the host sells to an account for one pool.
    pub(super) fn offers(&self, account: AccountId, pool: &PoolName) -> Result<OffersReport, DaemonError> {
        let facts = self.hypervisor.facts().map_err(|error| self.hypervisor_failed(error))?;
        let state = self.lock();
        let id = HostAccountId::new(account, pool.clone());
        let offers = state.auctioneer.offers_to(&id).into_iter().map(|(kind, offer)| {
            let offer = OfferToAccount {
                capacity: offer.capacity,
                available: offer.available,
                base_price: offer.base_price,
                others: offer.bids,
            };
            (kind, offer)
        });
        let closed = state.closed.get(&id).into_iter().flat_map(|closed| &closed.escrows).copied();
        let unsettled = closed.filter(|escrow| state.statements.get(escrow).is_some_and(StatementNotes::is_news));
        Ok(OffersReport {
            offers: offers.collect(),
            images: facts.images,
            is_draining: state.auctioneer.is_draining(),
            unsettled: unsettled.collect(),
        })
    }

    /// Holds minima for a while.
    pub(super) fn quote(&self, account: AccountId, request: QuoteRequest) -> Result<Quote, MarketError> {
        let id = HostAccountId::new(account, request.pool.clone());
        let now = self.clock.now();
        let host = self.id;
        self.change(|state| {
            let event = Event::Quote { account: id.clone(), minima: request.minima.clone(), valid_for: QUOTE_VALID };
            apply(state, event, now)?;
            let prices = state.auctioneer.quote_of(&id).map(|quote| (quote.prices.clone(), quote.valid_until));
            let (prices, expires_at) = prices.unwrap_or_else(|| (BTreeMap::new(), now));
            Ok(Quote { host, account, pool: request.pool, minima: request.minima, prices, issued_at: now, expires_at })
        })
    }

    /// Credits a host account with an escrow, once.
    pub(super) fn fund(
        &self,
        account: AccountId,
        pool: &PoolName,
        receipt: &Receipt,
    ) -> Result<AccountReport, MarketError> {
        receipt.verify(&self.identity.bank).map_err(|error| MarketError::Receipt(error.to_string()))?;
        let terms = &receipt.terms;
        let wrong = [
            (terms.host != self.id, "it names another host"),
            (terms.beneficiary != self.identity.owner, "it pays another owner than this host's"),
            (terms.payer != account, "somebody else paid"),
            (terms.pool != *pool, "it is for another pool"),
        ];
        if let Some((_, reason)) = wrong.into_iter().find(|(is_wrong, _)| *is_wrong) {
            return Err(MarketError::Receipt(reason.to_owned()));
        }
        let id = HostAccountId::new(account, pool.clone());
        let now = self.clock.now();
        self.change(|state| {
            apply(state, Event::Open { account: id.clone() }, now)?;
            let event = Event::Fund {
                account: id.clone(),
                receipt: terms.escrow,
                amount: terms.amount,
                highest_rate: Some(terms.highest_rate),
            };
            apply(state, event, now)?;
            state.accounts.entry(id.clone()).or_insert(AccountNotes { opened_at: now });
            state.closed.remove(&id);
            for key in &terms.payer_keys {
                state.accounts_of_keys.insert(*key, account);
            }
            report(state, &id)
        })
    }

    /// Sets the bid of a host account.
    pub(super) fn bid(
        &self,
        account: AccountId,
        pool: &PoolName,
        request: crate::market::BidRequest,
    ) -> Result<AccountReport, MarketError> {
        let id = HostAccountId::new(account, pool.clone());
        self.change(|state| {
            note_generation(state, &id, request.generation)?;
            apply(state, Event::Bid { account: id.clone(), bid: request.bid }, self.clock.now())?;
            report(state, &id)
        })
    }

    /// Takes out of a host account what is above `leave`.
    pub(super) fn refund(
        &self,
        account: AccountId,
        pool: &PoolName,
        request: crate::market::RefundRequest,
    ) -> Result<AccountReport, MarketError> {
        let id = HostAccountId::new(account, pool.clone());
        let report = self.change(|state| {
            note_generation(state, &id, request.generation)?;
            let view = state.auctioneer.account(&id).ok_or_else(|| MarketError::NoAccount(pool.clone()))?;
            let amount = view.balance.checked_sub(request.leave).unwrap_or(Credits::ZERO);
            if amount > Credits::ZERO {
                apply(state, Event::Refund { account: id.clone(), amount }, self.clock.now())?;
            }
            report(state, &id)
        })?;
        self.send_statements(&mut self.lock(), true);
        Ok(report)
    }

    /// Closes a host account: its domains and disks go, what is left goes back. An account that was closed before
    /// answers what it answered then.
    pub(super) fn close(
        &self,
        account: AccountId,
        pool: &PoolName,
        generation: u64,
    ) -> Result<CloseReport, MarketError> {
        let id = HostAccountId::new(account, pool.clone());
        self.change(|state| {
            note_generation(state, &id, generation)?;
            if state.auctioneer.account(&id).is_none() {
                return Ok(());
            }
            let now = self.clock.now();
            let (usage, marks) = self.usage(state)?;
            apply(state, Event::Tick { usage, downtime_limit: None }, now)?;
            state.cpu_marks = marks;
            apply(state, Event::Close { account: id.clone() }, now)
        })?;
        let mut state = self.lock();
        self.send_statements(&mut state, true);
        let closed = state.closed.get(&id).ok_or_else(|| MarketError::NoAccount(pool.clone()))?;
        let is_settled =
            closed.escrows.iter().all(|escrow| state.statements.get(escrow).is_none_or(|notes| !notes.is_news()));
        Ok(CloseReport { charged: closed.charged, refunded: closed.refunded, is_settled })
    }

    /// The state of one host account.
    pub(super) fn account(&self, account: AccountId, pool: &PoolName) -> Option<AccountReport> {
        report(&self.lock(), &HostAccountId::new(account, pool.clone())).ok()
    }

    /// The state of all host accounts of an account.
    pub(super) fn accounts(&self, account: AccountId) -> Vec<AccountReport> {
        let state = self.lock();
        let its = state.accounts.keys().filter(|id| id.account == account);
        its.filter_map(|id| report(&state, id).ok()).collect()
    }
}

/// Lets an event happen on the market, and closes the books of the accounts that it ends.
fn apply(state: &mut State, event: Event, now: Timestamp) -> Result<(), MarketError> {
    for effect in state.auctioneer.apply(event, now)? {
        if let Effect::Closed { account, receipts } = effect {
            close_books(state, &account, &receipts);
        }
    }
    Ok(())
}

/// Notes what an account that is gone from the market leaves to settle.
fn close_books(state: &mut State, id: &HostAccountId, receipts: &[ReceiptTotals]) {
    let sum = |amount: fn(&ReceiptTotals) -> Credits| {
        Credits::checked_sum(receipts.iter().map(amount)).unwrap_or(Credits::MAX)
    };
    let notes = ClosedNotes {
        charged: sum(|totals| totals.drawn),
        refunded: sum(|totals| totals.released),
        escrows: receipts.iter().map(|totals| totals.receipt).collect(),
    };
    for totals in receipts {
        let statement = state.statements.entry(totals.receipt).or_insert_with(StatementNotes::unsent);
        statement.drawn = totals.drawn;
        statement.released = totals.released;
        statement.closed = true;
    }
    state.closed.insert(id.clone(), notes);
    state.accounts.remove(id);
}

impl StatementNotes {
    /// Of an escrow that the bank has been told nothing about.
    pub(super) const fn unsent() -> Self {
        Self {
            drawn: Credits::ZERO,
            released: Credits::ZERO,
            closed: false,
            sequence: 0,
            acknowledged: Some((Credits::ZERO, Credits::ZERO, false)),
            told_at: tycoon_market::Timestamp::from_micros(0),
        }
    }
}

/// Refuses a plan that is older than the newest seen for the pool.
pub(super) fn note_generation(state: &mut State, id: &HostAccountId, asked: u64) -> Result<(), MarketError> {
    let current = state.generations.entry(id.clone()).or_insert(0);
    if asked < *current {
        return Err(MarketError::StaleGeneration { current: *current, asked });
    }
    *current = asked;
    Ok(())
}

fn report(state: &State, id: &HostAccountId) -> Result<AccountReport, MarketError> {
    let view = state.auctioneer.account(id).ok_or_else(|| MarketError::NoAccount(id.pool.clone()))?;
    let has_shares = matches!(view.state, AccountState::Active | AccountState::Warned { .. });
    Ok(AccountReport {
        account: id.account,
        pool: id.pool.clone(),
        opened_at: state.accounts.get(id).map(|notes| notes.opened_at).unwrap_or_default(),
        funded: view.funded,
        charged: view.charged,
        balance: view.balance,
        rate: view.rate,
        rates: view.rates,
        bid: view.bid,
        expires_at: view.expires_at,
        allocation: if has_shares { view.allocation } else { BTreeMap::new() },
        state: view.state,
        generation: state.generations.get(id).copied().unwrap_or(0),
        escrows: view
            .receipts
            .iter()
            .map(|totals| EscrowReport {
                escrow: totals.receipt,
                amount: totals.funded,
                drawn: totals.drawn,
                released: totals.released,
            })
            .collect(),
    })
}

fn plus(quantity: Quantity, bytes: u64) -> Quantity {
    Quantity::from_bytes(quantity.amount().saturating_add(bytes))
}

/// The disk space of a domain's volumes.
pub(super) fn disk_bytes(domain: &DomainStatus) -> u64 {
    domain.volumes.iter().fold(0, |sum, (_, bytes)| sum.saturating_add(*bytes))
}

/// What an account's domains may have of a reserved resource.
pub(super) fn reserved(state: &State, id: &HostAccountId, kind: ResourceKind) -> Quantity {
    let view = state.auctioneer.account(id);
    view.and_then(|view| view.allocation.get(&kind).copied()).unwrap_or_default()
}
