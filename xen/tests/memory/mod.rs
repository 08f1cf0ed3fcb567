//! Tests of the `memory` driver.

mod conformance;
mod durability;
mod faults;
mod host;
mod random_operations;
mod scene;
