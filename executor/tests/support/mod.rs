//! What the tests of the executor share.
#![allow(dead_code, reason = "each test file uses its part")]

pub mod faults;
pub mod plans;
pub mod site;
pub mod steps;
