//! What a host publishes of its market: offers, prices as they were, addresses and ports.

use std::collections::BTreeMap;

use tycoon_market::price_statistics::PriceSummary;
use tycoon_market::{ResourceKind, UniqueKind};
use tycoon_sls::record::{PublishedOffer, PublishedUnique};

use super::state::State;
use crate::market::UniqueOffer;

/// The most states of one kind of unique resources that a host tells.
const UNIQUE_STATES_MAX: usize = 1_024;

/// What is sold of each resource.
pub(super) fn offers(state: &State) -> BTreeMap<ResourceKind, PublishedOffer> {
    let published = |offer: tycoon_market::auctioneer::Offer| PublishedOffer {
        capacity: offer.capacity,
        available: offer.available,
        base_price: offer.base_price,
        bids: offer.bids,
    };
    state.auctioneer.offers().into_iter().map(|(kind, offer)| (kind, published(offer))).collect()
}

/// What a price unit of each resource costs and has cost.
pub(super) fn prices(state: &State) -> BTreeMap<ResourceKind, PriceSummary> {
    state.auctioneer.statistics().iter().map(|(&kind, prices)| (kind, PriceSummary::of(prices))).collect()
}

/// How many addresses and ports there are, and what they cost.
pub(super) fn unique(state: &State) -> BTreeMap<UniqueKind, PublishedUnique> {
    let sold = &state.auctioneer.config().unique;
    let published = state.auctioneer.unique_offers().into_iter().filter_map(|(kind, offer)| {
        let count = sold.get(&kind)?.count();
        let held = u64::try_from(offer.held.len()).unwrap_or(u64::MAX);
        let highest = offer.held.values().copied().max().unwrap_or_default();
        let free = count.saturating_sub(held);
        Some((kind, PublishedUnique { count, free, base_price: offer.base_price, highest }))
    });
    published.collect()
}

/// The addresses and ports, one by one where they are held.
pub(super) fn unique_offers(state: &State) -> BTreeMap<UniqueKind, UniqueOffer> {
    let sold = &state.auctioneer.config().unique;
    let offer = |kind: UniqueKind, base_price| {
        let mut states = state.auctioneer.unique_states(kind);
        states.truncate(UNIQUE_STATES_MAX);
        UniqueOffer { base_price, states }
    };
    sold.iter().map(|(&kind, sale)| (kind, offer(kind, sale.base_price))).collect()
}
