//! Everything about a Xen host.
//!
//! Without features this crate is only words: [`spec`] (what a domain should be), [`status`] (what it is), [`image`]
//! (what it starts from) and [`protocol`] (what a client may ask a host). Planner and clients need no more.
//!
//! With the feature `host` it is the host itself: the `hypervisor` trait and its drivers (`memory`, a host in the
//! process), the `conformance` rules that every driver keeps, and the daemon that runs the auctioneer and enforces
//! its allocation.

pub mod events;
pub mod image;
pub mod machine;
pub mod market;
pub mod owner;
pub mod policy;
pub mod protocol;
pub mod restart;
pub mod save;
pub mod spec;
#[cfg(feature = "host")]
pub mod spec_check;
pub mod status;

#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "host")]
pub mod conformance;
#[cfg(feature = "host")]
pub mod daemon;
#[cfg(feature = "host")]
pub mod enforcer;
#[cfg(feature = "host")]
pub mod entry;
#[cfg(feature = "host")]
pub mod guard;
#[cfg(feature = "host")]
pub mod hypervisor;
#[cfg(feature = "libvirt")]
pub mod libvirt;
#[cfg(feature = "host")]
mod listening;
#[cfg(feature = "host")]
mod local_socket;
#[cfg(feature = "host")]
pub mod memory;
#[cfg(feature = "host")]
pub mod own_image;
#[cfg(feature = "host")]
mod quiet_volume;
#[cfg(feature = "host")]
pub mod remote;
#[cfg(feature = "host")]
pub mod storage;
#[cfg(feature = "host")]
pub mod survey;
#[cfg(feature = "host")]
pub mod tiny;
