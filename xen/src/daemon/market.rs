//! What happens to the market: events go to the auctioneer, the outcome to disk, then to hypervisor and bank.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use tycoon_market::auctioneer::{AccountState, Event, HostConfig, Refusal};
use tycoon_market::bid::Bid;
use tycoon_market::{AccountId, Credits, HostAccountId, PoolName, Quantity, ResourceKind, TimeSpan, Timestamp};

use super::books::apply;
use super::log::{AcceptedBid, Entry, Tick, WholeOrNothing};
use super::state::State;
use super::usage::{Look, kept_for_others, usage_of};
use super::{DaemonError, HostDaemon, alone, published};
use crate::hypervisor::HypervisorError;
use crate::market::{
    AccountReport, BidRequest, ChargesReport, CloseReport, EscrowReport, OfferToAccount, OffersReport, PreviewReport,
    PreviewRequest, Quote, QuoteRequest, RefundRequest,
};
use crate::own_image;
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
    #[error("the bank cannot be asked about the receipt now: {0}")]
    Unchecked(String),
    #[error("there is no account for pool `{0}` on this host")]
    NoAccount(PoolName),
    #[error("the owner of this host keeps this account out; take another host")]
    Banned,
    #[error(transparent)]
    Daemon(#[from] DaemonError),
}

impl HostDaemon {
    /// Changes the state: what `change` does to a copy, at the time that it is given, is saved and then becomes the
    /// state; where it fails, nothing has happened. Statements that become due by it are made with it.
    ///
    /// Hypervisor and bank are not told; that is [`HostDaemon::follow_up`], which must not be waited for with the state
    /// locked. Who has nothing to get back from the bank does not wait for it: `enforce` is enough, and the bank is told
    /// at the next tick.
    pub(super) fn change<T>(
        &self,
        change: impl FnOnce(&mut State, Timestamp) -> Result<T, MarketError>,
    ) -> Result<T, MarketError> {
        let mut state = self.lock();
        // The time is taken where nobody else can come between: else the market would see it go back.
        let now = self.clock.now();
        self.change_whole(&mut state, now, change)
    }

    /// The same for who has locked the state.
    fn change_whole<T, E: From<DaemonError>>(
        &self,
        state: &mut State,
        now: Timestamp,
        change: impl FnOnce(&mut State, Timestamp) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut next = state.clone();
        let result = change(&mut next, now)?;
        next.make_statements(now);
        if next != *state {
            if state.differs_in_time_only(&next) {
                self.store.leave_behind();
            } else {
                self.store.save(&next, state)?;
                self.counters.saved();
            }
            self.news.add(std::mem::take(&mut next.news));
            *state = next;
        }
        Ok(result)
    }

    /// Changes the state like [`HostDaemon::change`], after charging for the time up to now by what was used. `change` is
    /// given what was found on the hypervisor.
    fn change_charged<T>(
        &self,
        change: impl FnOnce(&mut State, Timestamp, &[DomainStatus]) -> Result<T, MarketError>,
    ) -> Result<T, MarketError> {
        // One look at the CPU times at a time: they only grow from one to the next.
        let mut pending = alone(&self.measuring);
        let domains = self.hypervisor.domains(self.clock.now()).map_err(|error| self.hypervisor_failed(error))?;
        let changed = self.change(|state, now| {
            state.pass_time(&Look::of(&domains, *pending, now));
            change(state, now, &domains)
        })?;
        *pending = None;
        self.owes_time.store(false, Ordering::Relaxed);
        Ok(changed)
    }

    /// The same, where the hypervisor answers; otherwise the time up to now is charged at the next tick, and `change` is
    /// told of no domains.
    pub(super) fn change_charged_if_possible<T>(
        &self,
        change: impl Fn(&mut State, Timestamp, &[DomainStatus]) -> Result<T, MarketError>,
    ) -> Result<T, MarketError> {
        match self.change_charged(&change) {
            Err(MarketError::Daemon(error @ DaemonError::Hypervisor { .. })) => {
                self.faults.note(self.clock.now(), "measuring what domains use", &error);
                self.change(|state, now| change(state, now, &[]))
            }
            outcome => outcome,
        }
    }

    /// Brings hypervisor and bank up to date.
    pub(super) fn follow_up(&self) {
        self.enforce();
        self.report_to_bank();
    }

    /// Charges for the time since the last event, where `follow` has set the clock anew: it is called where nobody else
    /// can come between, and says how much of the time is charged at most.
    pub(super) fn account_for_time(&self, follow: impl FnOnce() -> Option<TimeSpan>) -> Result<(), DaemonError> {
        let charged = self.charge_for_time(follow);
        if charged.is_err() {
            // The bank must not believe that the host is gone because its hypervisor is.
            let stated = self.change(|_, _| Ok(()));
            self.note_failed("making statements", stated);
        }
        self.enforce();
        charged
    }

    /// Charges for the time since the last event, makes the statements that are due, and takes over what the owner has
    /// set.
    fn charge_for_time(&self, follow: impl FnOnce() -> Option<TimeSpan>) -> Result<(), DaemonError> {
        let settings = alone(&self.settings).clone();
        let mut pending = alone(&self.measuring);
        let domains = self.hypervisor.domains(self.clock.now()).map_err(|error| self.hypervisor_failed(error))?;
        let mut state = self.lock();
        if let Some(limit) = follow() {
            *pending = Some(TimeSpan::from_micros(pending.unwrap_or_default().micros().saturating_add(limit.micros())));
            self.owes_time.store(true, Ordering::Relaxed);
        }
        let now = self.clock.now();
        let settings = state.settings(&settings);
        let is_set_anew = settings.in_place_of(state.auctioneer.config()) != *state.auctioneer.config();
        let tick = Tick { look: Look::of(&domains, *pending, now), statements: Vec::new() };
        let entry = Entry::Tick(tick);
        // What is set anew does not follow from what was seen, and a market without accounts has nothing to be kept.
        if state.is_idle() || is_set_anew || !self.store.keep(&entry, &[])? {
            self.change_whole(&mut state, now, |next, now| {
                next.take_entry(entry);
                next.forget(now);
                if is_set_anew {
                    next.adopt_settings(&settings, now);
                }
                Ok::<_, DaemonError>(())
            })?;
            *pending = None;
            self.owes_time.store(false, Ordering::Relaxed);
            return Ok(());
        }
        // What is on disk cannot fail any more. A tick touches every account, so that it is applied in place.
        let _whole = WholeOrNothing;
        state.take_entry(entry);
        *pending = None;
        self.owes_time.store(false, Ordering::Relaxed);
        self.counters.saved();
        if state.forget(now) {
            // The records still have it, and what comes next may follow from its being gone.
            self.store.write_all_next();
        }
        self.keep_what_follows(&mut state, now)
    }

    /// Makes the statements that are due after a tick, keeps them with what is to be told of it, and tells it.
    fn keep_what_follows(&self, state: &mut State, now: Timestamp) -> Result<(), DaemonError> {
        let made = state.make_statements(now);
        if made.is_empty() && state.news.is_empty() {
            return Ok(());
        }
        let kept = match self.store.keep(&Entry::Statements(made.clone()), &state.news) {
            // The log is long, and all is written anew.
            Ok(false) => self.store.save(state, state),
            kept => kept.map(drop),
        };
        if let Err(error) = kept {
            // The bank must not hear of them; and what is to be told is kept with what happens next.
            state.take_back_statements(&made);
            return Err(error);
        }
        self.news.add(std::mem::take(&mut state.news));
        Ok(())
    }

    /// An error of a change that nobody can refuse.
    pub(super) fn not_refused(&self, error: MarketError) -> DaemonError {
        match error {
            MarketError::Daemon(error) => error,
            other => DaemonError::Config { host: self.name().clone(), reason: other.to_string() },
        }
    }

    pub(super) fn note_failed<T>(&self, what: &str, outcome: Result<T, MarketError>) {
        if let Err(error) = outcome {
            self.faults.note(self.clock.now(), what, &error);
        }
    }

    pub(super) fn hypervisor_failed(&self, source: HypervisorError) -> DaemonError {
        DaemonError::Hypervisor { host: self.name().clone(), source }
    }

    /// What the host sells to an account for one pool.
    pub(super) fn offers(&self, account: AccountId, pool: &PoolName) -> Result<OffersReport, DaemonError> {
        let facts = self.hypervisor.facts().map_err(|error| self.hypervisor_failed(error))?;
        let domains = self.hypervisor.domains(self.clock.now()).map_err(|error| self.hypervisor_failed(error))?;
        let state = self.lock();
        let id = HostAccountId::new(account, pool.clone());
        let kept = Quantity::from_bytes(kept_for_others(&id, &domains));
        let offers = state.auctioneer.offers_to(&id).into_iter().map(|(kind, offer)| {
            let kept = if kind == ResourceKind::Disk { kept } else { Quantity::ZERO };
            let offer = OfferToAccount {
                capacity: offer.capacity,
                available: offer.available.saturating_sub(kept),
                base_price: offer.base_price,
                others: offer.bids,
            };
            (kind, offer)
        });
        let closed = state.closed.get(&id).into_iter().flat_map(|closed| &closed.escrows).copied();
        Ok(OffersReport {
            offers: offers.collect(),
            images: own_image::visible(&facts.images, Some(&account)),
            is_draining: state.auctioneer.is_draining(),
            unsettled: closed.filter(|escrow| !state.is_settled(escrow)).collect(),
            prices: published::prices(&state),
            unique: published::unique_offers(&state),
        })
    }

    /// Holds minima for a while.
    pub(super) fn quote(&self, account: AccountId, request: QuoteRequest) -> Result<Quote, MarketError> {
        let id = HostAccountId::new(account, request.pool.clone());
        let host = self.id;
        self.change(|state, now| {
            Self::check_not_banned(state, &account)?;
            let event = Event::Quote { account: id.clone(), minima: request.minima.clone(), valid_for: QUOTE_VALID };
            apply(state, event, now)?;
            let prices = state.auctioneer.quote_of(&id).map(|quote| (quote.prices.clone(), quote.valid_until));
            let (prices, expires_at) = prices.unwrap_or_else(|| (BTreeMap::new(), now));
            Ok(Quote { host, account, pool: request.pool, minima: request.minima, prices, issued_at: now, expires_at })
        })
    }

    /// Sets the bid of a host account.
    pub(super) fn bid(
        &self,
        account: AccountId,
        pool: &PoolName,
        request: BidRequest,
    ) -> Result<AccountReport, MarketError> {
        let id = HostAccountId::new(account, pool.clone());
        if let Some(report) = self.bid_at_once(&id, &request)? {
            self.enforce();
            return Ok(report);
        }
        // A smaller bid is refused while the account's domains have more: what was shrunk or removed just now counts.
        let report = self.change_charged_if_possible(|state, now, domains| {
            check_generation(state, &id, request.generation)?;
            Self::check_not_banned(state, &account)?;
            check_covers(&request.bid, state.auctioneer.config(), &id, domains)?;
            apply(state, Event::Bid { account: id.clone(), bid: request.bid.clone() }, now)?;
            state.note_generation(&id, request.generation);
            report(state, &id)
        })?;
        self.enforce();
        Ok(report)
    }

    /// Sets a bid without looking at what was used until now: that is charged at the next tick. `None` where it is
    /// refused like this, or has no effect: a closer look may show that it can be had.
    fn bid_at_once(&self, id: &HostAccountId, request: &BidRequest) -> Result<Option<AccountReport>, MarketError> {
        let Ok(domains) = self.hypervisor.domains(self.clock.now()) else { return Ok(None) };
        let mut state = self.lock();
        if self.owes_time.load(Ordering::Relaxed) {
            return Ok(None);
        }
        check_generation(&state, id, request.generation)?;
        Self::check_not_banned(&state, &id.account)?;
        check_covers(&request.bid, state.auctioneer.config(), id, &domains)?;
        let accepted = AcceptedBid {
            at: self.clock.now(),
            account: id.clone(),
            generation: request.generation,
            bid: request.bid.clone(),
        };
        let mut next = state.clone();
        if next.take_bid(&accepted).is_err() {
            return Ok(None);
        }
        let report = report(&next, id)?;
        let is_kept = self.keep_at_once(&mut state, next, &Entry::Bid(accepted))?;
        Ok(is_kept.then_some(report))
    }

    /// Keeps what came in, and goes on from `next`, which follows from it. False where it cannot be kept by itself: then
    /// nothing has happened.
    pub(super) fn keep_at_once(&self, state: &mut State, mut next: State, entry: &Entry) -> Result<bool, DaemonError> {
        let news = std::mem::take(&mut next.news);
        if !self.store.keep(entry, &news)? {
            return Ok(false);
        }
        self.counters.saved();
        self.news.add(news);
        *state = next;
        Ok(true)
    }

    /// What a bid would bring, without anything being changed.
    pub(super) fn preview(
        &self,
        account: AccountId,
        pool: &PoolName,
        request: &PreviewRequest,
    ) -> Result<PreviewReport, MarketError> {
        let id = HostAccountId::new(account, pool.clone());
        let market = {
            let state = self.lock();
            Self::check_not_banned(&state, &account)?;
            state.auctioneer.clone()
        };
        let preview = market.preview(&id, request.bid.clone(), request.extra_funds)?;
        let view = preview.account;
        Ok(PreviewReport {
            state: view.state,
            rate: view.rate,
            rates: view.rates,
            contingency: view.contingency,
            allocation: view.allocation,
            unique: view.unique,
            expires_at: view.expires_at,
            displaced: preview.displaced.len(),
        })
    }

    /// Takes out of a host account what is above `leave` and can be given back.
    pub(super) fn refund(
        &self,
        account: AccountId,
        pool: &PoolName,
        request: RefundRequest,
    ) -> Result<AccountReport, MarketError> {
        let id = HostAccountId::new(account, pool.clone());
        let refund = |state: &mut State, now, _: &[DomainStatus]| {
            check_generation(state, &id, request.generation)?;
            let view = state.auctioneer.account(&id).ok_or_else(|| MarketError::NoAccount(pool.clone()))?;
            let amount = view.balance.saturating_sub_at_zero(request.leave).min(view.refundable);
            if amount > Credits::ZERO {
                apply(state, Event::Refund { account: id.clone(), amount }, now)?;
            }
            state.note_generation(&id, request.generation);
            report(state, &id)
        };
        let report = self.change_charged_if_possible(refund)?;
        self.follow_up();
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
        let is_open = {
            let state = self.lock();
            check_generation(&state, &id, generation)?;
            state.auctioneer.account(&id).is_some()
        };
        if is_open {
            self.change_charged(|state, now, _| {
                check_generation(state, &id, generation)?;
                state.note_generation(&id, generation);
                // The time that passed may have closed it.
                if state.auctioneer.account(&id).is_none() {
                    return Ok(());
                }
                Ok(apply(state, Event::Close { account: id.clone() }, now)?)
            })?;
        } else {
            self.change(|state, _| {
                state.note_generation(&id, generation);
                Ok(())
            })?;
        }
        self.follow_up();
        let state = self.lock();
        let closed = state.closed.get(&id).ok_or_else(|| MarketError::NoAccount(pool.clone()))?;
        let is_settled = closed.escrows.iter().all(|escrow| state.is_settled(escrow));
        Ok(CloseReport { charged: closed.charged, refunded: closed.refunded, is_settled })
    }

    /// The state of one host account.
    pub(super) fn account(&self, account: AccountId, pool: &PoolName) -> Option<AccountReport> {
        report(&self.lock(), &HostAccountId::new(account, pool.clone())).ok()
    }

    /// What a host account was charged lately.
    pub(super) fn charges(&self, account: AccountId, pool: &PoolName) -> Option<ChargesReport> {
        let id = HostAccountId::new(account, pool.clone());
        let (book, charged, opened_at, interval) = {
            let state = self.lock();
            let opened_at = state.accounts.get(&id)?.opened_at;
            let market = &state.auctioneer;
            (state.charges.clone(), market.account(&id)?.charged, opened_at, market.config().interval)
        };
        Some(book.report(&id, charged, opened_at, interval))
    }

    /// The state of all host accounts of an account.
    pub(super) fn accounts(&self, account: AccountId) -> Vec<AccountReport> {
        let state = self.lock();
        let its = state.accounts.keys().filter(|id| id.account == account);
        its.filter_map(|id| report(&state, id).ok()).collect()
    }
}

/// Refuses a bid whose minima do not cover what the account has on the host. The market sees to that for who is active; a
/// bid of somebody else takes effect when money comes in, and must not then stand for less than is there.
fn check_covers(bid: &Bid, config: &HostConfig, id: &HostAccountId, domains: &[DomainStatus]) -> Result<(), Refusal> {
    let used = usage_of(id, domains);
    for (kind, used) in [(ResourceKind::Memory, used.memory), (ResourceKind::Disk, used.disk)] {
        let minimum = bid.preferences().get(&kind).map(|preference| preference.min.of(config.capacity_of(kind)));
        let share = minimum.unwrap_or_default();
        if used > share {
            return Err(Refusal::BelowUse { kind, used, share });
        }
    }
    Ok(())
}

/// Refuses a plan that is older than the newest seen for the pool.
fn check_generation(state: &State, id: &HostAccountId, asked: u64) -> Result<(), MarketError> {
    match state.generation(id) {
        Some(current) if asked < current => Err(MarketError::StaleGeneration { current, asked }),
        _ => Ok(()),
    }
}

pub(super) fn report(state: &State, id: &HostAccountId) -> Result<AccountReport, MarketError> {
    let view = state.auctioneer.account(id).ok_or_else(|| MarketError::NoAccount(id.pool.clone()))?;
    let has_shares = matches!(view.state, AccountState::Active | AccountState::Warned { .. });
    let notes = state.accounts.get(id);
    Ok(AccountReport {
        account: id.account,
        pool: id.pool.clone(),
        opened_at: notes.map(|notes| notes.opened_at).unwrap_or_default(),
        funded: view.funded,
        charged: view.charged,
        balance: view.balance,
        refundable: view.refundable,
        contingency: view.contingency,
        rate: view.rate,
        rates: view.rates,
        bid: view.bid,
        unique: view.unique,
        expires_at: view.expires_at,
        allocation: if has_shares { view.allocation } else { BTreeMap::new() },
        state: view.state,
        generation: notes.map_or(0, |notes| notes.generation),
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

/// What an account's domains may have of memory or disk: what its bid reserves. What the auction gives beyond that can
/// go to others at any time, and a domain cannot give it back.
pub(super) fn reserved(state: &State, id: &HostAccountId, kind: ResourceKind) -> Quantity {
    let preference = state.auctioneer.bid_of(id).and_then(|bid| bid.preferences().get(&kind));
    let minimum = preference.map(|preference| preference.min.of(state.auctioneer.config().capacity_of(kind)));
    minimum.unwrap_or_default().min(state.auctioneer.share_of(id, kind))
}
