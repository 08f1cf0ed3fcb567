//! What must hold for every text that is read as a bid.

use std::collections::BTreeMap;

use tycoon_market::auctioneer::{Auctioneer, Event, HostConfig};
use tycoon_market::bid_text::{BidChange, show_bid};
use tycoon_market::{Credits, EscrowId, HostAccountId, Quantity, Rate, ResourceKind, Timestamp};

/// Reads `text` as a bid; where it is one, prints it and reads it again, applies it to itself, and hands it to a market.
///
/// # Panics
/// Where anything is not as it must be.
pub fn check_text(text: &str) {
    let now = Timestamp::from_seconds(1_760_000_000);
    let Ok(change) = BidChange::parse(text, now) else { return };
    let Ok(bid) = change.apply(None) else { return };
    let shown = show_bid(&bid);
    let again = BidChange::parse(&shown, now).unwrap_or_else(|error| panic!("`{text}` prints as `{shown}`: {error}"));
    let again = again.apply(None).unwrap_or_else(|error| panic!("`{text}` prints as `{shown}`: {error}"));
    assert_eq!(show_bid(&again), shown, "what is printed is read as itself");
    let twice = change.apply(Some(&bid)).unwrap_or_else(|error| panic!("`{text}` after itself: {error}"));
    assert_eq!(twice, bid, "`{text}` said twice is `{text}`");

    let id: HostAccountId = "0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f/pool".parse().expect("an account");
    let mut market = market(now);
    let receipt = EscrowId::from_bytes([1; 16]);
    let (amount, highest_rate) = (Credits::from_whole(1_000).expect("an amount"), None);
    for event in [
        Event::Open { account: id.clone() },
        Event::Fund { account: id.clone(), receipt, amount, highest_rate },
        Event::Bid { account: id, bid },
    ] {
        let before = market.clone();
        if market.apply(event, now).is_err() {
            assert_eq!(market, before, "a refused bid changes nothing");
        }
        market.audit().unwrap_or_else(|wrong| panic!("`{text}`: {wrong}"));
    }
}

fn market(now: Timestamp) -> Auctioneer {
    let capacity = ResourceKind::ALL.map(|kind| (kind, Quantity::new(1 << 40)));
    let base_price = ResourceKind::ALL.map(|kind| (kind, Rate::from_picos_per_second(1_000)));
    let config = HostConfig::new(BTreeMap::from(capacity), BTreeMap::from(base_price));
    Auctioneer::new(config, now).expect("a market")
}
