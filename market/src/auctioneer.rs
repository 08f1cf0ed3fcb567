//! The market of one host, as a pure state machine.
//!
//! An [`Event`] at a time goes in, [`Effect`]s come out: what the host daemon is to do. A refused event leaves the state
//! exactly as it was. The state can be serialised at any time; the same events at the same times give the same state.
//!
//! Money is counted in integers and per receipt. After every event charged + refundable = funded holds exactly, and
//! [`Auctioneer::audit`] checks it.
//!
//! Start reading with [`Event`]; the rules are in `calls` (what is admitted), `plan` (who gets what), `advance` (what it
//! costs as time goes by) and `unique_lots` (addresses and ports).

mod account;
mod accounts;
mod advance;
mod by_kind;
mod calls;
mod charge;
mod config;
mod event;
mod index;
mod money;
mod one_bid;
mod parts;
mod plan;
mod quote;
mod refusal;
mod savepoint;
mod settle;
mod unique_lots;
mod unique_states;
mod unmeasured;
mod view;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::auction::{self, Bidder, Outcome};
use crate::fine::FineCredits;
use crate::price_statistics::PriceStatistics;
use crate::{Credits, EscrowId, HostAccountId, Quantity, Rate, ResourceKind, TimeSpan, Timestamp, UniqueId};

use self::account::Account;
pub use self::account::{AccountState, Reason, ReceiptTotals};
use self::accounts::Accounts;
use self::by_kind::ByKind;
pub use self::charge::{ChargeFor, ChargeLine, add_line};
pub use self::config::{ConfigError, HostConfig, UniqueSale};
pub use self::event::{Effect, Event, Usage};
use self::index::Index;
pub use self::parts::{Part, PartChange, PartKey, PartRef};
pub use self::quote::Quote;
pub use self::refusal::Refusal;
use self::unique_lots::Lot;
use self::unique_states::UniqueRecord;
pub use self::unique_states::{UniqueStanding, UniqueState};
pub use self::view::{AccountView, Offer, Preview, UniqueOffer};

/// Parts per million in a whole.
const PPM: u32 = 1_000_000;

/// The market of one host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Auctioneer {
    config: HostConfig,
    draining: bool,
    /// Everything up to here is charged, or noted until the next tick.
    accounted_at: Timestamp,
    /// The last tick: use is known up to here.
    ticked_at: Timestamp,
    next_sequence: u64,
    accounts: Accounts,
    quotes: BTreeMap<HostAccountId, Quote>,
    /// The price of one price unit of each resource.
    prices: BTreeMap<ResourceKind, Rate>,
    /// The unique resources that are held.
    #[serde(default)]
    lots: BTreeMap<UniqueId, Lot>,
    /// What the unique resources that are held, or were lately, have cost.
    #[serde(default)]
    unique_records: BTreeMap<UniqueId, UniqueRecord>,
    /// What the prices were.
    #[serde(default)]
    statistics: BTreeMap<ResourceKind, PriceStatistics>,
    /// The receipts of closed accounts, which must not be credited again.
    closed: BTreeMap<EscrowId, ClosedReceipt>,
    /// What follows from all that.
    #[serde(skip)]
    index: Index,
}

/// A receipt of an account that is closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct ClosedReceipt {
    account: HostAccountId,
    totals: ReceiptTotals,
    closed_at: Timestamp,
}

/// What of an account is compared before and after an event.
#[derive(Default)]
struct Before {
    shares: ByKind<Quantity>,
    charged: Credits,
    oldest_open: usize,
}

impl Before {
    fn of(account: &Account) -> Self {
        let (charged, oldest_open) = (account.money.charged(), account.money.oldest_open());
        Self { shares: account.shares, charged, oldest_open }
    }
}

impl Auctioneer {
    /// An empty market that begins at `now`.
    ///
    /// # Errors
    /// A configuration that cannot be used.
    pub fn new(config: HostConfig, now: Timestamp) -> Result<Self, ConfigError> {
        config.check()?;
        let mut market = Self {
            config,
            draining: false,
            accounted_at: now,
            ticked_at: now,
            next_sequence: 0,
            accounts: Accounts::default(),
            quotes: BTreeMap::new(),
            prices: BTreeMap::new(),
            lots: BTreeMap::new(),
            unique_records: BTreeMap::new(),
            statistics: BTreeMap::new(),
            closed: BTreeMap::new(),
            index: Index::default(),
        };
        market.make_index();
        market.resolve(now, &mut Vec::new());
        Ok(market)
    }

    /// Applies an event that happens at `now`.
    ///
    /// # Errors
    /// A [`Refusal`], with everything as it was before.
    pub fn apply(&mut self, event: Event, now: Timestamp) -> Result<Vec<Effect>, Refusal> {
        self.make_index();
        let mut effects = Vec::new();
        // In the order of ids.
        let before: Vec<(HostAccountId, Before)> = match event {
            // A tick is never refused, and looks at everybody anyway.
            Event::Tick { usage, downtime_limit } => {
                let before = self.accounts.iter().map(|(id, account)| (id.clone(), Before::of(account))).collect();
                self.tick(&usage, downtime_limit, now, &mut effects);
                before
            }
            event => {
                if self.is_repeated(&event)? {
                    return Ok(Vec::new());
                }
                let savepoint = self.begin();
                self.advance(now, &mut effects);
                if let Err(refusal) = self.handle(event, now, &mut effects) {
                    self.take_back(savepoint);
                    return Err(refusal);
                }
                let touched = self.accounts.watched().into_iter();
                touched.map(|(id, account)| (id, account.as_deref().map(Before::of).unwrap_or_default())).collect()
            }
        };
        self.tell_changes(before, &mut effects);
        Ok(effects)
    }

    /// Adds what has changed in shares and charges since `before` to the effects: all shares, then all charges.
    fn tell_changes(&mut self, before: Vec<(HostAccountId, Before)>, effects: &mut Vec<Effect>) {
        let mut charges = Vec::new();
        for (id, old) in before {
            let Some(account) = self.accounts.get_mut(&id) else { continue };
            let lines = std::mem::take(&mut account.lines);
            if account.shares != old.shares {
                effects.push(Effect::Allocate { account: id.clone(), shares: account.shares.to_map() });
            }
            let amount = account.money.charged().saturating_sub_at_zero(old.charged);
            if !amount.is_zero() {
                let receipts = account.money.drawn_from(old.oldest_open);
                charges.push(Effect::Charged { account: id, amount, receipts, lines });
            }
        }
        effects.append(&mut charges);
    }

    /// True for a call that has been made before and changes nothing now.
    fn is_repeated(&self, event: &Event) -> Result<bool, Refusal> {
        Ok(match event {
            Event::Open { account } => self.accounts.contains_key(account),
            Event::Fund { account, receipt, amount, .. } => self.is_credited(account, *receipt, *amount)?,
            Event::Bid { account, bid } => self.account_of(account)?.bid.as_deref() == Some(bid),
            Event::ReleaseQuote { account } => !self.quotes.contains_key(account),
            Event::SetBasePrice { kind, rate } => self.config.base_price.get(kind) == Some(rate),
            Event::SetCapacity { kind, capacity } => self.config.capacity.get(kind) == Some(capacity),
            Event::Configure { config } => self.config == config.in_place_of(&self.config),
            Event::SetDraining { draining } => self.draining == *draining,
            Event::Evict { account } => self.account_of(account)?.evicted,
            Event::EndReceipt { account, receipt } => self
                .account_of(account)?
                .money
                .receipt(*receipt)
                .ok_or(Refusal::ReceiptUnknown(*receipt))?
                .left()
                .is_zero(),
            Event::Refund { .. }
            | Event::Close { .. }
            | Event::Quote { .. }
            | Event::UniqueUse { .. }
            | Event::Tick { .. } => false,
        })
    }

    fn is_credited(&self, id: &HostAccountId, receipt: EscrowId, amount: Credits) -> Result<bool, Refusal> {
        if let Some(totals) = self.account_of(id)?.money.receipt(receipt) {
            let credited = totals.funded;
            return if credited == amount {
                Ok(true)
            } else {
                Err(Refusal::ReceiptDiffers { receipt, credited, amount })
            };
        }
        let elsewhere = self.accounts.values().any(|account| account.money.receipt(receipt).is_some());
        if elsewhere || self.closed.contains_key(&receipt) { Err(Refusal::ReceiptUsed(receipt)) } else { Ok(false) }
    }

    fn account_of(&self, id: &HostAccountId) -> Result<&Account, Refusal> {
        self.accounts.get(id).ok_or_else(|| Refusal::AccountUnknown(id.clone()))
    }

    fn account_mut(&mut self, id: &HostAccountId) -> Result<&mut Account, Refusal> {
        self.changing(id).ok_or_else(|| Refusal::AccountUnknown(id.clone()))
    }

    fn handle(&mut self, event: Event, now: Timestamp, effects: &mut Vec<Effect>) -> Result<(), Refusal> {
        match event {
            Event::Open { account } => self.open(account),
            Event::Fund { account, receipt, amount, highest_rate } => {
                self.fund(&account, receipt, amount, highest_rate, now, effects)
            }
            Event::Bid { account, bid } => self.bid(&account, bid, now, effects),
            Event::Refund { account, amount } => self.refund(&account, amount, now, effects),
            Event::Close { account } => {
                self.account_of(&account)?;
                self.remove(&account, now, effects);
                self.resolve(now, effects);
                Ok(())
            }
            Event::EndReceipt { account, receipt } => self.end_receipt(&account, receipt, now, effects),
            Event::Tick { usage, downtime_limit } => {
                self.tick(&usage, downtime_limit, now, effects);
                Ok(())
            }
            Event::Quote { account, minima, valid_for } => self.quote(account, minima, valid_for, now, effects),
            Event::ReleaseQuote { account } => {
                self.quotes.remove(&account);
                self.resolve(now, effects);
                Ok(())
            }
            Event::SetBasePrice { kind, rate } => {
                if !self.config.capacity.contains_key(&kind) {
                    return Err(Refusal::NotSold(kind));
                }
                self.config.base_price.insert(kind, rate);
                self.resolve(now, effects);
                Ok(())
            }
            Event::SetCapacity { kind, capacity } => {
                self.config.capacity.insert(kind, capacity);
                self.resolve(now, effects);
                Ok(())
            }
            Event::Configure { config } => {
                config.check()?;
                self.config = config.in_place_of(&self.config);
                self.resolve(now, effects);
                Ok(())
            }
            Event::UniqueUse { used } => {
                self.note_use(&used, now);
                self.resolve(now, effects);
                Ok(())
            }
            Event::SetDraining { draining } => {
                self.draining = draining;
                Ok(())
            }
            Event::Evict { account } => {
                self.account_mut(&account)?.evicted = true;
                self.resolve(now, effects);
                Ok(())
            }
        }
    }
}

/// What `rate` costs in `span`, rounded up.
fn cost_of(rate: Rate, span: TimeSpan) -> Credits {
    let units = u128::from(rate.picos_per_second()).saturating_mul(u128::from(span.micros()));
    let cost = FineCredits::new(units.saturating_mul(u128::from(PPM)));
    let whole = cost.whole();
    if FineCredits::from_credits(whole) == cost {
        whole
    } else {
        Credits::from_micros(whole.micros().saturating_add(1))
    }
}

/// The auction of `kind`; the minima are granted already, so that they count as capacity where they exceed it.
fn auction_of(capacity: Quantity, base_price: Rate, kind: ResourceKind, bidders: &[Bidder]) -> Outcome {
    let granted = bidders.iter().map(|bidder| bidder.min.amount()).fold(0, u64::saturating_add);
    let capacity = capacity.max(Quantity::new(granted));
    auction::allocate(capacity, base_price, kind.price_unit(), bidders).unwrap_or_else(|_| {
        // Only minima that cannot be added up get here: then each has its minimum.
        let shares = bidders.iter().map(|bidder| bidder.min).collect();
        Outcome { shares, rates: bidders.iter().map(|bidder| bidder.rate).collect(), price: base_price }
    })
}
