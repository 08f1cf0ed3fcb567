//! The host daemon with a real bank, a simulated host and a clock that stands still until it is set.

mod daemon;
