//! The bank: accounts, transfers, escrows, and the books that prove that no credit is ever lost.
//!
//! [`ledger`] holds the rules, pure: it decides over a [`ledger::View`] and yields changes. [`journal`] is the truth: a
//! hash-chained, fsynced file of operations. A [`store::Store`] is an index made from the journal, and can always be
//! made again. [`bank`] puts the three together, [`service`] answers signed calls, [`client`] makes them, and
//! [`audit`] counts everything anew.

pub mod api;
pub mod audit;
pub mod bank;
pub mod client;
pub mod evidence;
pub mod export;
pub mod journal;
pub mod journal_books;
pub mod ledger;
pub mod merkle;
mod pending;
pub mod postgres_books;
pub mod problem;
pub mod queue;
pub mod service;
pub mod store;
pub mod transfer_receipt;

pub use bank::{Bank, BankError, Options, Recovery};
pub use client::BankClient;
pub use service::{BankService, Registration};
