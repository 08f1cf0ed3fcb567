//! What is known when a plan is made: always a little old, and perhaps incomplete.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tycoon_market::auctioneer::AccountState;
use tycoon_market::ids::EscrowId;
use tycoon_market::{
    AccountId, Credits, HostId, HostName, PublicKey, Quantity, Rate, ResourceKind, TimeSpan, Timestamp,
};
use tycoon_xen::spec::DomainPath;
use tycoon_xen::status::DomainStatus;

use crate::plan::{PlanId, Unreached};

/// Everything a plan is made from, beside the pool itself.
#[derive(Clone, Debug)]
pub struct World {
    /// When this was collected.
    pub collected_at: Timestamp,
    /// Whose plan it is.
    pub account: AccountId,
    /// The keys that may spend for the account, in ascending order. They may log in to its domains.
    pub keys: Vec<PublicKey>,
    /// What the account holds at the bank, without what is in escrow.
    pub balance: Credits,
    /// The hosts, ordered by name.
    pub hosts: Vec<HostView>,
    /// What earlier plans for this pool left to know.
    pub history: History,
}

impl World {
    /// The host with this id.
    pub fn host(&self, id: &HostId) -> Option<&HostView> {
        self.hosts.iter().find(|host| host.id == *id)
    }
}

/// What earlier plans left. It comes from the pool's journal where there is one; without it, the hosts' own
/// records of the pool are enough.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The last plan that was begun.
    pub parent: Option<PlanId>,
    /// The newest generation that is known of.
    pub generation: u64,
    /// The running budget period.
    pub period: Option<Period>,
    /// Where each domain was last put.
    pub placements: BTreeMap<DomainPath, HostId>,
}

/// The time for which a pool's budget is meant, and what had been charged before it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Period {
    /// When it began.
    pub started_at: Timestamp,
    /// How long it lasts.
    pub duration: TimeSpan,
    /// The budget for it.
    pub budget: Credits,
    /// What the hosts' open accounts had charged for the pool before it began.
    pub charged_before: Credits,
}

impl Period {
    /// When it ends.
    pub fn ends_at(&self) -> Timestamp {
        self.started_at.plus(self.duration)
    }
}

/// The TCP ports of a host that are sold to one pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ports {
    /// What one costs at least.
    pub base_price: Rate,
    /// Those that are free, as ranges.
    pub free: Vec<(u16, u16)>,
    /// Those that others hold, or the pool, as ranges.
    pub held: Vec<(u16, u16)>,
    /// Those that the pool holds there.
    pub own: BTreeSet<u16>,
}

impl Ports {
    /// True where the pool has the port or can have it.
    pub fn offers(&self, port: u16) -> bool {
        self.own.contains(&port) || is_in(&self.free, port)
    }

    /// True where the host sells the port and somebody has it.
    pub fn is_held(&self, port: u16) -> bool {
        is_in(&self.held, port)
    }
}

fn is_in(ranges: &[(u16, u16)], port: u16) -> bool {
    ranges.iter().any(|(first, last)| (*first..=*last).contains(&port))
}

/// One host as the service location service and the host itself describe it.
#[derive(Clone, Debug)]
pub struct HostView {
    /// Its id.
    pub id: HostId,
    /// Its name.
    pub name: HostName,
    /// True for a host that exists only in a process.
    pub is_simulated: bool,
    /// Its architecture: `x86_64`.
    pub architecture: String,
    /// The owner's labels.
    pub labels: BTreeMap<String, String>,
    /// The images it holds.
    pub images: Vec<String>,
    /// What it sells, and at what price.
    pub offers: BTreeMap<ResourceKind, Offer>,
    /// The TCP ports that it sells.
    pub ports: Ports,
    /// True where the host itself has told what it holds; false where it does not answer.
    pub is_inspected: bool,
    /// Why nothing new can be put on it, where nothing can, as the rest of a sentence that starts with its name:
    /// `does not answer`, `is being drained by its owner`.
    pub closed: Option<String>,
    /// The domains of this pool and account on it, ordered by path, also those of which only volumes are kept.
    pub domains: Vec<DomainStatus>,
    /// The account's funds and bid for this pool on it.
    pub account: Option<HostAccountView>,
    /// Escrows at the bank for this pool and host that the host has not credited yet: left by a plan that was
    /// interrupted between bank and host.
    pub unredeemed: Vec<Unredeemed>,
    /// True where the bank holds credits of this pool in escrow for the host, whether or not the host answers.
    pub has_escrow: bool,
    /// The fastest that the host may draw what the pool's account there holds; `None` where it holds nothing. It bids no
    /// faster than that, however much comes on top.
    pub fastest: Option<Rate>,
    /// True where the host has closed an account of this pool and could not tell the bank yet, so that money is still
    /// to come back.
    pub is_unsettled: bool,
}

impl HostView {
    /// The domains that are there: those of which more is left than kept volumes.
    pub fn present(&self) -> impl Iterator<Item = &DomainStatus> {
        self.domains.iter().filter(|status| status.kept.is_none())
    }
}

impl World {
    /// The hosts that cannot be asked and may hold something of the pool: it was last there, or the bank holds its
    /// credits for them. What they hold is left as it is.
    pub fn unreached(&self) -> Vec<Unreached> {
        let was_on = |host: &HostView| self.history.placements.values().any(|last| *last == host.id);
        let unreached = self.hosts.iter().filter(|host| !host.is_inspected && (host.has_escrow || was_on(host)));
        let told = |host: &HostView| Unreached {
            id: host.id,
            name: host.name.clone(),
            why: host.closed.clone().unwrap_or_else(|| "does not answer".to_owned()),
        };
        unreached.map(told).collect()
    }
}

/// Money that waits at the bank for a host that has not seen its receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unredeemed {
    /// The escrow.
    pub escrow: EscrowId,
    /// Its amount.
    pub amount: Credits,
}

/// What a host sells of one resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// What it has.
    pub capacity: Quantity,
    /// What newcomers' minima can still have: capacity less all minima and quotes. This pool's own minima on the
    /// host are counted as available, for a plan may use them again.
    pub available: Quantity,
    /// The owner's reserve, per price unit.
    pub base_price: Rate,
    /// The sum of the others' bids: this pool's own bid is not in it.
    pub others: Rate,
}

/// The funds and bid of this account for this pool at one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostAccountView {
    /// When it was opened.
    pub opened_at: Timestamp,
    /// All that was ever put in.
    pub funded: Credits,
    /// All that was charged.
    pub charged: Credits,
    /// What is left to bid with and to refund.
    pub balance: Credits,
    /// What its bid pays at most, all resources together.
    pub rate: Rate,
    /// Whether it runs, and why not.
    pub state: AccountState,
    /// When its bid ends.
    pub expires_at: Option<Timestamp>,
    /// The minima of its bid.
    pub minima: BTreeMap<ResourceKind, Quantity>,
    /// What it holds of each resource now.
    pub allocation: BTreeMap<ResourceKind, Quantity>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_offered_held_or_not_sold() {
        let ports = Ports {
            free: vec![(2200, 2209), (2212, 2299)],
            held: vec![(2210, 2211)],
            own: BTreeSet::from([2211]),
            ..Ports::default()
        };
        assert!(ports.offers(2200) && ports.offers(2211) && !ports.offers(2210) && !ports.offers(22));
        assert!(ports.is_held(2210) && !ports.is_held(2212) && !ports.is_held(22));
    }
}
