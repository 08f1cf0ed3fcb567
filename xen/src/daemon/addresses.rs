//! Addresses that are sold: who may use them, and who does.
//!
//! A domain whose interface has a fixed address that the host sells is made and started only for the account that holds
//! the address, and is shut down when the account holds it no more: somebody else may have it then. What the host does
//! not sell, private addresses first of all, is not looked at here. The same holds for ports of the host that lead to a domain.

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
    /// The first address of a domain that the host sells, or port of the host that leads to it, that the account does not
    /// hold. Ports are the machine's own: one that is not sold leads nowhere.
    pub(super) fn unique_not_held(&self, id: &HostAccountId, spec: &DomainSpec) -> Option<UniqueId> {
        let sale = self.auctioneer.config().unique.get(&UniqueKind::Ipv4Address);
        let sold = fixed(spec).filter(|address| sale.is_some_and(|sale| sale.contains(*address)));
        let mut wanted = sold.chain(spec.forwarded_ports().map(UniqueId::Port)).peekable();
        wanted.peek()?;
        let held = self.auctioneer.account(id).map(|view| view.unique).unwrap_or_default();
        wanted.find(|id| !held.values().any(|held| held == id))
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
