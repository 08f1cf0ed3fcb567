//! The rules of the ledger, pure: no clock, no files, no randomness.
//!
//! [`apply::apply`] takes the state as a [`View`], the time and an [`Operation`], and either refuses ([`Refusal`]) or
//! returns an [`Answer`] with the [`Changes`] that make it true. Replaying the same operations gives the same state.
//!
//! Every credit is in one place: an account, a reservation, or an escrow. Money moves in pairs, from one place to another,
//! and enters only by an issue; so the sum of all of them is what was issued, after every operation.

pub mod account;
pub mod allowance;
pub mod apply;
mod apply_account;
mod apply_escrow;
mod apply_refund;
mod apply_reservation;
mod apply_transfer;
pub mod draft;
pub mod escrow;
pub mod history;
pub mod line;
pub mod operation;
pub mod refusal;
pub mod reservation;

pub use account::{Account, AccountKey, AccountKind, KeyRole, SpendingLimit};
pub use allowance::{Allowance, AllowanceTerms};
pub use apply::{Answer, apply};
pub use draft::{Books, Changes, Draft, View};
pub use escrow::{Escrow, EscrowEnd, EscrowOrder, SILENCE_MAX};
pub use history::{Cause, Entry, Transfer};
pub use line::{Due, Line, LinePlace};
pub use operation::{KeyChange, Opener, Operation, RefundOrder, TransferOrder};
pub use refusal::Refusal;
pub use reservation::{Reservation, ReservationEnd, ReservationOrder, Resolution, Resolver};
