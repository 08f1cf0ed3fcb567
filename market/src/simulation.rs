//! The market in virtual time: many users bid on many hosts, round after round.
//!
//! Users and hosts run the code of the real market: users ask [`crate::best_response`], hosts divide themselves by
//! [`crate::auction`], or, where a [`Scenario`] asks for it, by a whole [`crate::Auctioneer`] with funds, charges and an
//! audit. A round is one allocation interval. Nothing here has a clock or draws a number of its own: the same scenario
//! with the same generator gives the same result, to the last bit.
//!
//! What is measured is defined in [`Sample`] (every round) and [`Summary`] (at the end). The measures, the preferences and
//! what to expect are those of Feldman, Lai, Zhang, "A price-anticipating resource allocation mechanism for distributed
//! shared clusters" (EC'05). `docs/simulation.md` shows them.
//!
//! Start with [`Scenario`] and [`Simulation`].

mod auctioneers;
mod auctions;
mod engine;
mod hosts;
mod measures;
mod random;
mod scenario;
mod strategy;
mod user;
mod welfare;

#[cfg(test)]
mod tests;

pub use auctioneers::AuctioneerFault;
pub use engine::{Simulation, SimulationError};
pub use measures::{GroupSummary, Sample, Summary, Wealth};
pub use scenario::{
    Arrival, Failures, HostMarket, Hosts, Preferences, Scenario, ScenarioError, Strategy, Update, UserGroup,
};
