//! Addresses that are sold: who may use them, and who does.
//!
//! A domain whose interface has a fixed address that the host sells is made and started only for the account that holds
//! the address, and is shut down when the account holds it no more: somebody else may have it then. What the host does
//! not sell, private addresses first of all, is not looked at here.

use std::collections::BTreeSet;

use tycoon_market::auctioneer::Event;
use tycoon_market::{HostAccountId, Timestamp, UniqueId, UniqueKind};

use super::books::apply;
use super::state::State;
use super::usage::DomainLook;
use crate::spec::{Addressing, DomainSpec};

/// The addresses that a domain is to have.
pub(super) fn fixed(spec: &DomainSpec) -> impl Iterator<Item = UniqueId> {
    spec.nics.iter().filter_map(|nic| match nic.address {
        Addressing::Static { address, .. } => Some(UniqueId::Address(address)),
        Addressing::Dhcp => None,
    })
}

impl State {
    /// The first address of a domain that the host sells and that the account does not hold.
    pub(super) fn address_not_held(&self, id: &HostAccountId, spec: &DomainSpec) -> Option<UniqueId> {
        let sale = self.auctioneer.config().unique.get(&UniqueKind::Ipv4Address)?;
        let held = self.auctioneer.account(id).map(|view| view.unique).unwrap_or_default();
        fixed(spec).find(|address| sale.contains(*address) && !held.values().any(|held| held == address))
    }

    /// Tells the market which of what is held is in use: addresses of domains that run, and all ports, of which nobody
    /// can tell. Who holds an address without using it pays more from day to day.
    pub(super) fn note_unique_use(&mut self, domains: &[DomainLook], now: Timestamp) {
        let offers = self.auctioneer.unique_offers();
        if offers.values().all(|offer| offer.held.is_empty()) {
            return;
        }
        let running = domains.iter().filter(|domain| domain.is_active).flat_map(|domain| &domain.addresses);
        let ports = offers.values().flat_map(|offer| offer.held.keys().copied());
        let ports = ports.filter(|id| id.kind() == UniqueKind::TcpPort);
        let used: BTreeSet<UniqueId> = running.copied().chain(ports).collect();
        // It is never refused.
        let _ = apply(self, Event::UniqueUse { used }, now);
    }
}
