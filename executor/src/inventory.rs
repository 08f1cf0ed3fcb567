//! Asks bank and hosts what there is, and makes the planner's world of it.

use std::collections::{BTreeMap, BTreeSet};

use tycoon_market::auctioneer::{UniqueStanding, UniqueState};
use tycoon_market::bid::{Amount, Bid};
use tycoon_market::ids::EscrowId;
use tycoon_market::{HostId, HostName, PoolName, Quantity, ResourceKind, UniqueId, UniqueKind};
use tycoon_planner::world::{History, HostAccountView, HostView, Offer, Ports, Unredeemed, World};
use tycoon_xen::market::{AccountReport, OffersReport, UniqueOffer};
use tycoon_xen::protocol::{Answer, Request};
use tycoon_xen::status::DomainStatus;

use crate::error::ExecutorError;
use crate::link::{BankEscrow, LinkError, Site, SiteHost};

/// Why nothing is put on a host to which only a way is known, as the rest of a sentence that begins with its name.
const NOT_LISTED: &str = "is not listed by the site now";
/// How many hosts are asked at once.
const HOSTS_AT_ONCE: usize = 16;

/// What was collected: the planner's world, and the ways to the hosts in it.
pub struct Inventory {
    /// The world.
    pub world: World,
    /// The hosts, in the same order.
    pub hosts: Vec<SiteHost>,
}

impl Inventory {
    /// The host with this id.
    pub fn host(&self, id: &HostId) -> Option<&SiteHost> {
        self.hosts.iter().find(|host| host.id == *id)
    }
}

/// Collects everything that concerns `pool`. Hosts in `excluded` take nothing new, for the reason given.
///
/// # Errors
/// Where the bank or the list of hosts cannot be had. A host that does not answer is no error: it is said so.
pub fn collect(
    site: &dyn Site,
    pool: &PoolName,
    history: History,
    excluded: &BTreeMap<HostId, String>,
) -> Result<Inventory, ExecutorError> {
    let bank = |what| move |source| ExecutorError::Bank { what, source };
    let own = site.bank().account().map_err(bank("the account"))?;
    let escrows = site.bank().escrows(Some(pool)).map_err(bank("the pool's escrows"))?;
    let mut hosts = site.hosts().map_err(ExecutorError::Hosts)?;
    let Unlisted { reachable, lost } = unlisted(site, &hosts, &escrows, &history);
    let mut excluded = excluded.clone();
    excluded.extend(reachable.iter().map(|host| (host.id, NOT_LISTED.to_owned())));
    hosts.extend(reachable);
    let mut views = ask_all(&hosts, |host| view(host, pool, &escrows, excluded.get(&host.id)));
    views.extend(lost.into_iter().filter_map(lost_view));
    let world = World {
        collected_at: site.clock().now(),
        account: site.account(),
        keys: own.keys,
        balance: own.balance,
        hosts: views,
        history,
    };
    Ok(Inventory { world, hosts })
}

/// Asks every host the same, several at once, and returns the answers in the hosts' order.
pub fn ask_all<H: Sync, T: Send>(hosts: &[H], ask: impl Fn(&H) -> T + Sync) -> Vec<T> {
    let mut answers = Vec::with_capacity(hosts.len());
    for group in hosts.chunks(HOSTS_AT_ONCE) {
        if let [host] = group {
            answers.push(ask(host));
            continue;
        }
        std::thread::scope(|scope| {
            let threads: Vec<_> = group.iter().map(|host| scope.spawn(|| ask(host))).collect();
            for thread in threads {
                match thread.join() {
                    Ok(answer) => answers.push(answer),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
        });
    }
    answers
}

/// Hosts that may hold something of a pool and are not among those that the site lists.
pub(crate) struct Unlisted {
    /// Those to which a way is known.
    pub(crate) reachable: Vec<SiteHost>,
    /// The others.
    pub(crate) lost: Vec<HostId>,
}

/// Hosts that may hold something, for a pool was last there or the bank has its credits in escrow for them, and that are
/// not among those that this site lists.
pub(crate) fn unlisted(site: &dyn Site, hosts: &[SiteHost], escrows: &[BankEscrow], history: &History) -> Unlisted {
    let funded = escrows.iter().filter(|escrow| escrow.is_open).map(|escrow| escrow.host);
    let mut ids: BTreeSet<HostId> = funded.chain(history.placements.values().copied()).collect();
    for host in hosts {
        ids.remove(&host.id);
    }
    let mut unlisted = Unlisted { reachable: Vec::new(), lost: Vec::new() };
    for id in ids {
        match site.other_host(&id) {
            Some(host) => unlisted.reachable.push(host),
            None => unlisted.lost.push(id),
        }
    }
    unlisted
}

/// What a host is called to which no way is known, and why it cannot be asked.
pub(crate) fn lost_name(id: &HostId) -> Option<(HostName, String)> {
    let reason = "is not among the hosts that were given; give the list that names it, or wait until it is found again";
    Some((format!("host-{}", id.short()).parse().ok()?, reason.to_owned()))
}

fn lost_view(id: HostId) -> Option<HostView> {
    let (name, reason) = lost_name(&id)?;
    Some(HostView {
        id,
        name,
        is_simulated: false,
        architecture: String::new(),
        labels: BTreeMap::new(),
        images: Vec::new(),
        offers: BTreeMap::new(),
        ports: Ports::default(),
        is_inspected: false,
        closed: Some(reason),
        domains: Vec::new(),
        account: None,
        unredeemed: Vec::new(),
        has_escrow: true,
        fastest: None,
        is_unsettled: false,
    })
}

/// What one host tells.
struct Told {
    offers: OffersReport,
    account: Option<AccountReport>,
    domains: Vec<DomainStatus>,
}

fn ask(host: &SiteHost, pool: &PoolName) -> Result<Told, LinkError> {
    Ok(Told { offers: host.link.offers(pool)?, account: host.link.account(pool)?, domains: domains(host, Some(pool))? })
}

/// The domains of this account on a host, of one pool or of all.
pub fn domains(host: &SiteHost, pool: Option<&PoolName>) -> Result<Vec<DomainStatus>, LinkError> {
    match host.link.request(&Request::Inspect { pool: pool.cloned() })? {
        Answer::Domains { domains } => Ok(domains),
        Answer::Ensured { .. } => Err(LinkError::Nonsense { reason: "it was asked for its domains".into() }),
    }
}

/// The escrows at the bank, of one pool, that a host may still be handed: open, not drawn from and not released, and
/// neither credited to the account nor closed by the host and still to be settled.
pub fn unredeemed<'a>(
    escrows: &'a [BankEscrow],
    host: &HostId,
    account: Option<&AccountReport>,
    offers: &OffersReport,
) -> impl Iterator<Item = &'a BankEscrow> {
    let credited = account.into_iter().flat_map(|account| &account.escrows).map(|escrow| escrow.escrow);
    let redeemed: BTreeSet<EscrowId> = credited.chain(offers.unsettled.iter().copied()).collect();
    let host = *host;
    escrows
        .iter()
        .filter(move |escrow| escrow.host == host && escrow.is_open && !redeemed.contains(&escrow.id))
        .filter(|escrow| escrow.drawn.is_zero() && escrow.released.is_zero())
}

fn view(host: &SiteHost, pool: &PoolName, escrows: &[BankEscrow], excluded: Option<&String>) -> HostView {
    let told = ask(host, pool);
    let mut view = HostView {
        id: host.id,
        name: host.name.clone(),
        is_simulated: host.is_simulated,
        architecture: host.architecture.clone(),
        labels: host.labels.clone(),
        images: Vec::new(),
        offers: BTreeMap::new(),
        ports: Ports::default(),
        is_inspected: false,
        closed: None,
        domains: Vec::new(),
        account: None,
        unredeemed: Vec::new(),
        has_escrow: escrows.iter().any(|escrow| escrow.host == host.id && escrow.is_open),
        fastest: None,
        is_unsettled: false,
    };
    match told {
        Err(error) => view.closed = Some(format!("cannot be asked: {error}")),
        Ok(told) => {
            let waiting = unredeemed(escrows, &host.id, told.account.as_ref(), &told.offers);
            view.unredeemed = waiting.map(|escrow| Unredeemed { escrow: escrow.id, amount: escrow.amount }).collect();
            view.is_unsettled = !told.offers.unsettled.is_empty();
            let redeemed = |escrow: &&BankEscrow| {
                let mut credited = told.account.iter().flat_map(|account| &account.escrows);
                escrow.is_open && !escrow.left().is_zero() && credited.any(|own| own.escrow == escrow.id)
            };
            view.fastest = escrows.iter().filter(redeemed).map(|escrow| escrow.highest_rate).min();
            view.is_inspected = true;
            view.closed = told.offers.is_draining.then(|| "is being drained by its owner".to_owned());
            view.images = told.offers.images;
            view.offers = told
                .offers
                .offers
                .into_iter()
                .map(|(kind, offer)| {
                    let offer = Offer {
                        capacity: offer.capacity,
                        available: offer.available,
                        base_price: offer.base_price,
                        others: offer.others,
                    };
                    (kind, offer)
                })
                .collect();
            let own = told.account.iter().flat_map(|account| account.unique.values());
            view.ports = ports(told.offers.unique.get(&UniqueKind::TcpPort), own);
            view.domains = told.domains;
            view.account = told.account.map(account_view);
        }
    }
    if let Some(reason) = excluded {
        view.closed.get_or_insert_with(|| reason.clone());
    }
    view
}

/// The ports that a host offers, of which a pool holds `own`.
fn ports<'a>(offer: Option<&UniqueOffer>, own: impl Iterator<Item = &'a UniqueId>) -> Ports {
    let port = |id: &UniqueId| match id {
        UniqueId::Port(port) => Some(*port),
        UniqueId::Address(_) => None,
    };
    let states = offer.into_iter().flat_map(|offer| &offer.states);
    let (held, free): (Vec<_>, Vec<_>) = states.partition(|state| state.standing == UniqueStanding::Held);
    let ranges = |states: Vec<&UniqueState>| {
        states.into_iter().filter_map(|state| Some((port(&state.first)?, port(&state.last)?))).collect()
    };
    Ports {
        base_price: offer.map(|offer| offer.base_price).unwrap_or_default(),
        free: ranges(free),
        held: ranges(held),
        own: own.filter_map(port).collect(),
    }
}

fn account_view(account: AccountReport) -> HostAccountView {
    HostAccountView {
        opened_at: account.opened_at,
        funded: account.funded,
        charged: account.charged,
        balance: account.balance,
        rate: account.rate,
        state: account.state,
        expires_at: account.expires_at,
        minima: account.bid.iter().flat_map(minima).collect(),
        allocation: account.allocation,
    }
}

/// The minima of a bid that are amounts; this program bids no fractions.
fn minima(bid: &Bid) -> impl Iterator<Item = (ResourceKind, Quantity)> {
    bid.preferences().iter().filter_map(|(kind, preference)| match preference.min {
        Amount::Quantity(quantity) => Some((*kind, quantity)),
        Amount::Fraction(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tycoon_market::{Credits, Rate, Timestamp};

    fn escrow(number: u8, host: HostId) -> BankEscrow {
        BankEscrow {
            id: EscrowId::from_bytes([number; 16]),
            pool: "hello".parse().unwrap(),
            host,
            opened_at: Timestamp::from_seconds(0),
            amount: Credits::from_micros(10),
            drawn: Credits::ZERO,
            released: Credits::ZERO,
            is_open: true,
            highest_rate: Rate::ZERO,
        }
    }

    #[test]
    fn a_host_is_handed_only_escrows_that_nobody_has_touched() {
        let key = |seed| tycoon_rpc::Signer::public_key(&tycoon_rpc::SecretKey::from_seed(&[seed; 32]));
        let (host, other) = (HostId::of(&key(1)), HostId::of(&key(2)));
        let some = Credits::from_micros(1);
        let escrows = [
            escrow(1, host),
            BankEscrow { drawn: some, ..escrow(2, host) },
            BankEscrow { released: some, ..escrow(3, host) },
            BankEscrow { is_open: false, ..escrow(4, host) },
            escrow(5, other),
            escrow(6, host),
        ];
        let offers = OffersReport {
            offers: BTreeMap::new(),
            images: Vec::new(),
            is_draining: false,
            unsettled: vec![escrows[5].id],
            prices: BTreeMap::new(),
            unique: BTreeMap::new(),
        };
        let handed: Vec<EscrowId> = unredeemed(&escrows, &host, None, &offers).map(|escrow| escrow.id).collect();
        assert_eq!(handed, [escrows[0].id]);
    }
}
