//! Makes a plan real, and finds out what is real.
//!
//! The planner decides; this crate acts. [`inventory`] asks bank and hosts what there is and makes the planner's
//! world of it; [`engine`] runs a plan's steps, in parallel where they do not need one another; [`journal`] writes
//! down what is about to be done before it is done, so that a killed run can be taken up again; [`run`] puts them
//! together as `up` and `down`.
//!
//! Invariants: nothing is decided here; every step may be repeated; what the journal says was begun and not ended
//! is looked at again in the world, never assumed.

pub mod engine;
pub mod error;
pub mod inventory;
pub mod journal;
pub mod link;
pub mod lock;
pub mod perform;
pub mod progress;
pub mod run;
pub mod save;
pub mod ssh;
pub mod status;
pub mod volumes;

pub use error::ExecutorError;
pub use journal::Journal;
pub use link::{BankLink, HostLink, Site};
