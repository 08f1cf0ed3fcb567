//! Looking at the market of a host without changing it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::account::{AccountState, ReceiptTotals, total};
use super::plan::{Role, minimum};
use super::{Auctioneer, HostConfig, Quote, Refusal};
use crate::price_statistics::PriceStatistics;
use crate::{
    Bid, Credits, EscrowId, HostAccountId, Quantity, Rate, ResourceKind, Timestamp, UniqueId, UniqueKind, UniqueWish,
};

/// One host account, as its owner may see it. charged + refunded + balance = funded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AccountView {
    /// Where it stands.
    pub state: AccountState,
    /// All the money it was funded with.
    pub funded: Credits,
    /// What was charged, up to the last tick or change of this account.
    pub charged: Credits,
    /// What went back.
    pub refunded: Credits,
    /// What is left, contingency included.
    pub balance: Credits,
    /// What of the balance can be given back now; CPU and network used since the last tick count as fully used.
    pub refundable: Credits,
    /// What of the balance is set aside to defend the minima.
    pub contingency: Credits,
    /// What it bids.
    pub rate: Rate,
    /// What it bids on each resource.
    pub rates: BTreeMap<ResourceKind, Rate>,
    /// What it pays if it uses its shares: its bid, or more where minima are topped up.
    pub paid: BTreeMap<ResourceKind, Rate>,
    /// The unique resources that it holds, by what it asked for.
    #[serde(default)]
    pub unique: BTreeMap<UniqueWish, UniqueId>,
    /// Its bid.
    pub bid: Option<Bid>,
    /// Its shares.
    pub allocation: BTreeMap<ResourceKind, Quantity>,
    /// When what is left is spread anew.
    pub expires_at: Option<Timestamp>,
    /// What has become of each receipt.
    pub receipts: Vec<ReceiptTotals>,
}

/// What a host offers of one resource. Rates are for the whole host, prices for one price unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Offer {
    /// What is sold.
    pub capacity: Quantity,
    /// What is not taken by minima and quotes.
    pub available: Quantity,
    /// The owner's reserve for one price unit.
    pub base_price: Rate,
    /// The sum of all bids.
    pub bids: Rate,
    /// What one price unit costs now.
    pub price: Rate,
}

/// What a host offers of one kind of unique resources.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct UniqueOffer {
    /// What one costs at least.
    pub base_price: Rate,
    /// The lowest one that nobody holds.
    pub free: Option<UniqueId>,
    /// What the holder of each that is held pays.
    pub held: BTreeMap<UniqueId, Rate>,
}

/// What a bid would bring.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Preview {
    /// The account, as it would be.
    pub account: AccountView,
    /// Accounts that would be warned because of it.
    pub displaced: Vec<HostAccountId>,
}

impl Auctioneer {
    /// What the owner has set.
    pub const fn config(&self) -> &HostConfig {
        &self.config
    }

    /// The time up to which everything is accounted for.
    pub const fn accounted_at(&self) -> Timestamp {
        self.accounted_at
    }

    /// True while the owner admits nobody.
    pub const fn is_draining(&self) -> bool {
        self.draining
    }

    /// The open accounts.
    pub fn account_ids(&self) -> impl Iterator<Item = &HostAccountId> {
        self.accounts.keys()
    }

    /// Where an account stands; `None` where it is not open.
    pub fn state_of(&self, id: &HostAccountId) -> Option<AccountState> {
        self.accounts.get(id).map(|account| account.state)
    }

    /// What an account has of a resource.
    pub fn share_of(&self, id: &HostAccountId, kind: ResourceKind) -> Quantity {
        self.accounts.get(id).map(|account| account.share_of(kind)).unwrap_or_default()
    }

    /// What an account bids.
    pub fn bid_of(&self, id: &HostAccountId) -> Option<&Bid> {
        self.accounts.get(id)?.bid.as_deref()
    }

    /// One account, or `None` where it is not open.
    pub fn account(&self, id: &HostAccountId) -> Option<AccountView> {
        let account = self.accounts.get(id)?;
        let money = &account.money;
        Some(AccountView {
            state: account.state,
            funded: money.funded(),
            charged: money.charged(),
            refunded: money.refunded(),
            balance: money.balance(),
            refundable: self.as_if_settled(id, account).refundable(),
            contingency: money.contingency.whole(),
            rate: account.rate(),
            rates: account.rates.to_map(),
            paid: account.paid.to_map(),
            unique: account.unique.held.clone(),
            bid: account.bid.as_deref().cloned(),
            allocation: account.shares.to_map(),
            expires_at: account.expires_at,
            receipts: money.receipts(),
        })
    }

    /// What has become of the receipts of all open accounts, the oldest of each first.
    pub fn open_receipts(&self) -> impl Iterator<Item = &ReceiptTotals> {
        self.accounts.values().flat_map(|account| account.money.totals())
    }

    /// What has become of a receipt, also after its account was closed, and whose it is.
    pub fn receipt(&self, id: EscrowId) -> Option<(&HostAccountId, ReceiptTotals)> {
        let open = self.accounts.iter().find_map(|(owner, account)| Some((owner, account.money.receipt(id)?.clone())));
        open.or_else(|| self.closed.get(&id).map(|closed| (&closed.account, closed.totals.clone())))
    }

    /// The quote that is in force for an account.
    pub fn quote_of(&self, id: &HostAccountId) -> Option<&Quote> {
        self.quotes.get(id)
    }

    /// What the price of each resource was, in credits per second for one price unit.
    pub const fn statistics(&self) -> &BTreeMap<ResourceKind, PriceStatistics> {
        &self.statistics
    }

    /// What is sold here, and for how much.
    pub fn offers(&self) -> BTreeMap<ResourceKind, Offer> {
        self.offers_seen_by(None)
    }

    /// What is sold to one account: its own minima and quote count as available, its own bids are left out.
    pub fn offers_to(&self, id: &HostAccountId) -> BTreeMap<ResourceKind, Offer> {
        self.offers_seen_by(Some(id))
    }

    /// The unique resources that are sold here, and for how much.
    pub fn unique_offers(&self) -> BTreeMap<UniqueKind, UniqueOffer> {
        let offer = |kind: UniqueKind, sale: &super::UniqueSale| {
            let held = self.lots.iter().filter(|(id, _)| id.kind() == kind).map(|(id, lot)| (*id, lot.price)).collect();
            let free = sale.ids().find(|id| !self.lots.contains_key(id));
            UniqueOffer { base_price: sale.base_price, free, held }
        };
        self.config.unique.iter().map(|(&kind, sale)| (kind, offer(kind, sale))).collect()
    }

    fn offers_seen_by(&self, viewer: Option<&HostAccountId>) -> BTreeMap<ResourceKind, Offer> {
        let offer = |kind| {
            let rates: Vec<Rate> = self
                .accounts
                .iter()
                .filter(|(id, _)| viewer != Some(*id))
                .filter_map(|(_, account)| self.bidder(account, kind, Role::of(account.state), account.held_of(kind)))
                .map(|bidder| bidder.rate)
                .collect();
            let base_price = self.config.base_price_of(kind);
            Offer {
                capacity: self.config.capacity_of(kind),
                available: self.available_for(kind, viewer),
                base_price,
                bids: total(&rates),
                price: self.prices.get(&kind).copied().unwrap_or(base_price),
            }
        };
        self.config.capacity.keys().map(|&kind| (kind, offer(kind))).collect()
    }

    /// What `bid` would bring `id` with `extra_funds` more, now. Nothing is changed; the account need not be open.
    ///
    /// # Errors
    /// What the bid itself would be refused for.
    pub fn preview(&self, id: &HostAccountId, bid: Bid, extra_funds: Credits) -> Result<Preview, Refusal> {
        let mut market = self.clone();
        market.make_index();
        let now = self.accounted_at;
        let mut effects = Vec::new();
        if !market.accounts.contains_key(id) {
            market.open(id.clone())?;
        }
        if extra_funds > Credits::ZERO {
            let receipt = market.unused_receipt();
            market.fund(id, receipt, extra_funds, None, now, &mut effects)?;
        }
        if market.account_of(id)?.bid.as_deref() != Some(&bid) {
            market.bid(id, bid, now, &mut effects)?;
        }
        let is_active =
            |market: &Self, id| market.accounts.get(id).is_some_and(|account| account.state == AccountState::Active);
        let displaced = self.account_ids().filter(|other| is_active(self, other) && !is_active(&market, other));
        let displaced = displaced.cloned().collect();
        let account = market.account(id).ok_or_else(|| Refusal::AccountUnknown(id.clone()))?;
        Ok(Preview { account, displaced })
    }

    fn unused_receipt(&self) -> EscrowId {
        let ids = (0..u128::MAX).rev().map(|number| EscrowId::from_bytes(number.to_be_bytes()));
        let mut unused = ids.filter(|id| self.receipt(*id).is_none());
        // There are more ids than receipts, so that one is always found.
        unused.next().unwrap_or(EscrowId::from_bytes([0; 16]))
    }

    /// Checks everything that must hold after every event: money, shares and minima.
    ///
    /// # Errors
    /// What does not hold.
    pub fn audit(&self) -> Result<(), String> {
        for (id, account) in self.accounts.iter() {
            if let Some(wrong) = account.money.audit() {
                return Err(format!("{id}: {wrong}"));
            }
        }
        for (id, lot) in &self.lots {
            let holder = self.accounts.get(&lot.holder);
            if holder.is_none_or(|account| account.unique.held.values().filter(|held| *held == id).count() != 1) {
                return Err(format!("{id} is held by {}, who does not know", lot.holder));
            }
        }
        for (&kind, &capacity) in &self.config.capacity {
            let held: u128 = self.accounts.values().map(|account| u128::from(account.held_of(kind).amount())).sum();
            let limit = u128::from(capacity.amount()).max(held);
            let shares: u128 = self.accounts.values().map(|account| u128::from(account.share_of(kind).amount())).sum();
            if shares > limit {
                return Err(format!("{shares} of {kind} are given out, of {limit}"));
            }
            for (id, account) in self.accounts.iter() {
                let share = account.share_of(kind);
                let active = account.state == AccountState::Active;
                if active && !kind.is_reserved() && share < minimum(account, kind, capacity) {
                    return Err(format!("{id} has {share:?} of {kind}, less than its minimum"));
                }
                if share < account.held_of(kind) {
                    return Err(format!("{id} has {share:?} of {kind}, less than is kept for it"));
                }
            }
        }
        Ok(())
    }
}
