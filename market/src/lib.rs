//! The words and the mathematics of the market.
//!
//! Everything here is **pure**: no input or output, no clock, no threads, no global state. Times and the
//! world come in as arguments, so that a market can be simulated, replayed and tested.
//!
//! Start with [`credits`] (money), [`resource`] and [`unique`] (what is sold), [`time`] and [`key`]; then [`bid`] and
//! [`bid_text`] (what is wanted), [`auction`] (who gets what of one resource) and [`auctioneer`], which is the market of
//! one host as a state machine. [`best_response`] and [`prediction`] are the bidder's side: what to bid, and how sure it
//! is. `docs/market.md` says all of it with worked examples, which the tests run.

pub mod auction;
pub mod auctioneer;
pub mod best_response;
pub mod bid;
pub mod bid_text;
pub mod credits;
pub mod duration_text;
mod fine;
pub mod hex_id;
pub mod host_account;
pub mod ids;
pub mod key;
pub mod name;
pub mod prediction;
pub mod price_statistics;
pub mod rate;
pub mod receipt;
pub mod resource;
pub mod simulation;
pub mod text_form;
pub mod time;
pub mod unique;

pub use auctioneer::Auctioneer;
pub use bid::{Amount, Bid, Preference};
pub use credits::Credits;
pub use host_account::HostAccountId;
pub use ids::{EscrowId, TransferId};
pub use key::{AccountId, HostId, PublicKey, PublicKeyError, Verifier};
pub use name::{HostName, PoolName};
pub use rate::Rate;
pub use receipt::{Receipt, ReceiptTerms, Signature, Statement, StatementTerms};
pub use resource::{Quantity, ResourceKind};
pub use time::{TimeSpan, Timestamp};
pub use unique::{UniqueId, UniqueKind, UniquePreference, UniqueWish};
