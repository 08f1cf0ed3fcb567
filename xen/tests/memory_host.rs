//! The simulated host keeps the rules of a hypervisor, and its own.

mod memory;
