//! From a pool and a world to a plan. **Pure**: no clock, no input or output, no randomness.
//!
//! [`plan_up`] compares what a description asks for with what the world holds and returns a [`Plan`]: which
//! domain goes to which host, what is bid there, what is paid, the steps in their order, and a report that says
//! why. [`plan_down`] plans the way back. The executor carries plans out and makes no choices of its own.
//!
//! Invariants: the same arguments give the same plan; a plan for a world that already is as it should be has no
//! steps; no plan spends more than the pool's budget or the account's balance.
//!
//! Start with [`world`] (what is known), [`plan`] (what comes out) and [`up`] (how).

pub mod bidding;
pub mod codes;
pub mod desired;
pub mod difference;
pub mod down;
pub mod error;
pub mod facts;
pub mod fit;
pub mod late;
pub mod lint;
pub mod notes;
pub mod placement;
pub mod plan;
pub mod steps;
pub mod up;
pub mod world;

pub use down::{Saving, plan_down};
pub use error::PlanError;
pub use plan::Plan;
pub use up::plan_up;
pub use world::World;
