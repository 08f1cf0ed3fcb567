//! What a client may ask the auctioneer of a host: the words of the host's market calls.
//!
//! Every change is idempotent: funding counts a receipt once, the same bid again changes nothing, a refund says what
//! shall be left, and closing a closed account answers what it answered before.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tycoon_market::auctioneer::{AccountState, ChargeLine, UniqueState};
use tycoon_market::bid::Bid;
use tycoon_market::ids::EscrowId;
use tycoon_market::price_statistics::PriceSummary;
use tycoon_market::receipt::Receipt;
use tycoon_market::{
    AccountId, Credits, HostId, HostName, PoolName, PublicKey, Quantity, Rate, ResourceKind, TimeSpan, Timestamp,
    UniqueId, UniqueKind, UniqueWish,
};

/// `GET /v1/host`: who and what the host is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostInfo {
    /// Its id.
    pub host: HostId,
    /// Its key.
    pub key: PublicKey,
    /// Its name.
    pub name: HostName,
    /// The time by its clock.
    pub now: Timestamp,
    /// Who earns what it charges.
    pub owner: AccountId,
    /// The key of the bank whose receipts it takes.
    pub bank: PublicKey,
    /// The machine's architecture: `x86_64`.
    pub architecture: String,
    /// Hypervisor and version, for people.
    pub hypervisor: String,
    /// True for a host that exists only in a process.
    pub is_simulated: bool,
    /// What its owner says of it.
    pub labels: BTreeMap<String, String>,
    /// The version of its daemon.
    pub software_version: String,
}

/// `POST /v1/quotes`: can these minima be had?
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuoteRequest {
    /// The pool.
    pub pool: PoolName,
    /// The minima of the bid that will follow.
    pub minima: BTreeMap<ResourceKind, Quantity>,
}

/// The answer: until it expires, these minima are held for the account at no more than these prices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quote {
    /// The host.
    pub host: HostId,
    /// Whose it is.
    pub account: AccountId,
    /// The pool.
    pub pool: PoolName,
    /// What is held.
    pub minima: BTreeMap<ResourceKind, Quantity>,
    /// The sum of base price and the others' bids for all of a resource, when the quote was given.
    pub prices: BTreeMap<ResourceKind, Rate>,
    /// When it was given.
    pub issued_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// `POST /v1/accounts/{pool}/funds`: credits the host account with an escrow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FundRequest {
    /// The bank's receipt of the escrow.
    pub receipt: Receipt,
}

/// `PUT /v1/accounts/{pool}/bid`: sets the bid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BidRequest {
    /// The generation of the plan that asks; older ones are refused.
    pub generation: u64,
    /// The bid.
    pub bid: Bid,
}

/// `POST /v1/accounts/{pool}/bid/preview`: what a bid would bring now. Nothing is changed by asking.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreviewRequest {
    /// The bid.
    pub bid: Bid,
    /// What would be put in before.
    #[serde(default)]
    pub extra_funds: Credits,
}

/// What a bid would bring now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PreviewReport {
    /// Where the account would stand.
    pub state: AccountState,
    /// What the bid would pay at most, all resources together.
    pub rate: Rate,
    /// What of that would go to each resource.
    pub rates: BTreeMap<ResourceKind, Rate>,
    /// What would be set aside to defend the minima.
    pub contingency: Credits,
    /// What it would have of each resource.
    pub allocation: BTreeMap<ResourceKind, Quantity>,
    /// The addresses and ports that it would hold.
    pub unique: BTreeMap<UniqueWish, UniqueId>,
    /// When the bid would end.
    pub expires_at: Option<Timestamp>,
    /// How many others would be displaced by it.
    pub displaced: usize,
}

/// `POST /v1/accounts/{pool}/refunds`: takes out all that is above what shall be left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefundRequest {
    /// The generation of the plan that asks; older ones are refused.
    pub generation: u64,
    /// What shall be left to bid with.
    pub leave: Credits,
}

/// A host account as its host sees it: `GET /v1/accounts/{pool}`, and the answer to every change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AccountReport {
    /// Whose it is.
    pub account: AccountId,
    /// For which pool.
    pub pool: PoolName,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// All that was ever put in.
    pub funded: Credits,
    /// All that was charged.
    pub charged: Credits,
    /// What is left, contingency included.
    pub balance: Credits,
    /// What of it can be given back now.
    #[serde(default)]
    pub refundable: Credits,
    /// What of it is set aside to defend the minima.
    #[serde(default)]
    pub contingency: Credits,
    /// What the bid pays at most, all resources together.
    pub rate: Rate,
    /// What of that goes to each resource.
    pub rates: BTreeMap<ResourceKind, Rate>,
    /// The bid.
    pub bid: Option<Bid>,
    /// The addresses and ports that it holds, by what it asked for.
    #[serde(default)]
    pub unique: BTreeMap<UniqueWish, UniqueId>,
    /// When the bid ends.
    pub expires_at: Option<Timestamp>,
    /// Where it stands: idle, waiting, active, warned or stopped.
    pub state: AccountState,
    /// What it holds of each resource now.
    pub allocation: BTreeMap<ResourceKind, Quantity>,
    /// The newest generation of a plan that changed it.
    pub generation: u64,
    /// How far each escrow is drawn and released.
    pub escrows: Vec<EscrowReport>,
}

/// How far a host has drawn and released one escrow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EscrowReport {
    /// The escrow.
    pub escrow: EscrowId,
    /// Its amount.
    pub amount: Credits,
    /// What was charged to it.
    pub drawn: Credits,
    /// What was given back of it.
    pub released: Credits,
}

/// `GET /v1/accounts/{pool}/charges`: what the account was charged lately, line by line. `earlier` and the amounts of all
/// intervals add up to `charged`, to the micro-credit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChargesReport {
    /// Whose it is.
    pub account: AccountId,
    /// For which pool.
    pub pool: PoolName,
    /// The time between two allocations.
    pub interval: TimeSpan,
    /// All that was charged.
    pub charged: Credits,
    /// What of it was charged before the first line that is kept.
    pub earlier: Credits,
    /// The last intervals in which something was charged, 24 at most, the oldest first.
    pub intervals: Vec<IntervalCharges>,
}

/// What an account was charged in one interval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IntervalCharges {
    /// The end of what was charged for.
    pub until: Timestamp,
    /// The sum of the lines.
    pub amount: Credits,
    /// What it is made of.
    pub lines: Vec<ChargeLine>,
}

/// `DELETE /v1/accounts/{pool}`: what came of closing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloseReport {
    /// All that was charged over the account's life.
    pub charged: Credits,
    /// All that goes back to the payer.
    pub refunded: Credits,
    /// True where the bank has confirmed the last statements, so that the money is back already.
    pub is_settled: bool,
}

/// `GET /v1/offers?pool=`: what the host sells now, as the asking account can have it for one pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OffersReport {
    /// By resource.
    pub offers: BTreeMap<ResourceKind, OfferToAccount>,
    /// The images it can provide.
    pub images: Vec<String>,
    /// True where the owner takes no new domains.
    pub is_draining: bool,
    /// Escrows of the asking account and pool that the host has credited and closed, and about which the bank has not
    /// acknowledged the last statement yet: they look open at the bank, and cannot be used again.
    pub unsettled: Vec<EscrowId>,
    /// What a price unit of each resource costs and has cost, all bids included.
    #[serde(default)]
    pub prices: BTreeMap<ResourceKind, PriceSummary>,
    /// The addresses and ports that are sold.
    #[serde(default)]
    pub unique: BTreeMap<UniqueKind, UniqueOffer>,
}

/// What a host sells of one kind of unique resources.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UniqueOffer {
    /// What one costs at least.
    pub base_price: Rate,
    /// Those that are held or were within the last day one by one, the others as ranges; the first 1,024 of them.
    pub states: Vec<UniqueState>,
}

/// What a host sells of one resource to one account and pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferToAccount {
    /// What it has in all.
    pub capacity: Quantity,
    /// What minima can have: capacity less everybody else's minima and quotes.
    pub available: Quantity,
    /// The owner's reserve, per price unit.
    pub base_price: Rate,
    /// The sum of everybody else's bids.
    pub others: Rate,
}
