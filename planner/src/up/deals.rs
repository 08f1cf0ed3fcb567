//! The market side of a plan: which bids stand, which are new, and what is paid for them.

use std::collections::BTreeMap;

use tycoon_lang::pool;
use tycoon_market::auctioneer::{AccountState, Reason};
use tycoon_market::bid::{Amount, Bid, Preference};
use tycoon_market::{Credits, Quantity, Rate, ResourceKind, TimeSpan, UniqueId, UniquePreference, UniqueWish};

use super::{Draft, Placed};
use crate::bidding::{self, HostRates, Need};
use crate::down::leave;
use crate::error::{PlanError, rate_of};
use crate::fit::need_of;
use crate::plan::{Change, HostPlan, PlannedBid, PlannedEscrow};
use crate::world::{HostAccountView, Period, World};

/// What is left of a budget below this is not worth a transfer, in micro-credits.
const LEAST_TRANSFER: i64 = 1_000;
/// How long an escrow may outlast the bid it pays for: what is left after a bid's end is spread over 30 days.
const ESCROW_OUTLASTS: TimeSpan = TimeSpan::from_seconds(31 * 86_400);
/// A host may draw an escrow this many times as fast as the whole budget is meant to be spent, and no faster: the pool
/// may put more of its budget on the host later, and minima that others outbid are topped up faster than the bid pays.
/// The bank refuses more.
const HIGHEST_OVER_BUDGET: u64 = 2;

/// How much of the fastest that escrows allow is bid, so that rounding never goes beyond.
const WITHIN_FASTEST: f64 = 0.999;

/// The market side of one host.
pub(super) struct Deal {
    pub(super) plan: HostPlan,
    pub(super) first_bid: Option<Bid>,
    /// True where less is bid than the budget is good for, because of what the host may draw of earlier escrows.
    pub(super) is_cut: bool,
}

/// The rate that uses an amount up in a time; the highest that can be written where that is beyond it.
fn highest_within(amount: Credits, time: TimeSpan) -> Rate {
    let most = Rate::from_picos_per_second(u64::MAX / HIGHEST_OVER_BUDGET / 2);
    if time.is_zero() { Rate::ZERO } else { Rate::of(amount, time).map_or(most, |rate| rate.min(most)) }
}

/// True where a host account still pays for its bid.
fn is_funded(account: &HostAccountView, world: &World) -> bool {
    account.balance > Credits::ZERO
        && account.rate > Rate::ZERO
        && account.expires_at.is_some_and(|end| end > world.collected_at)
}

/// True where a bid of today may bring what the standing one does not: others bid more, or its money runs out.
const fn is_pressed(account: &HostAccountView) -> bool {
    use AccountState::{Active, Idle, Stopped, Waiting, Warned};
    match account.state {
        Active => false,
        Idle | Waiting => true,
        // Who is put out by the owner stays out, however much is bid.
        Warned { reason, .. } | Stopped { reason, .. } => !matches!(reason, Reason::Evicted),
    }
}

impl Draft<'_> {
    /// Says where the owner of a host puts the pool out, as no bid helps there, and where the pool stays on a host that
    /// takes nothing new.
    pub(super) fn note_hosts(&mut self) {
        for host in &self.world.hosts {
            if let Some(why) = host.closed.as_ref().filter(|_| host.is_inspected && host.present().next().is_some()) {
                self.notes.push(format!("{} {why}: what the pool has there stays, and nothing is added", host.name));
            }
            let Some(account) = &host.account else { continue };
            let note = match account.state {
                AccountState::Warned { reason: Reason::Evicted, .. } => {
                    format!("the owner of {} puts the pool out: what it has there will be shut down", host.name)
                }
                AccountState::Stopped { reason: Reason::Evicted, .. } => format!(
                    "the owner of {} has put the pool out: its domains there are shut down, and their disks will be deleted",
                    host.name
                ),
                _ => continue,
            };
            self.notes.push(note);
        }
    }

    /// True where a domain changes on the host, so that the bid there has to be looked at.
    fn changes_on(&self, number: usize) -> bool {
        let concerns = |placed: &Placed<'_>| placed.host == number || placed.leaves == Some(number);
        self.domains
            .values()
            .any(|placed| concerns(placed) && !matches!(placed.change, Change::Keep | Change::Start { .. }))
            || self.leaving.iter().any(|(host, _)| *host == number)
    }

    /// The market side of every host that the pool uses or leaves.
    ///
    /// A new period needs new bids: what is left of a bid after its end is spread thin over a month.
    pub(super) fn deals(
        &self,
        budget: &pool::Budget,
        period: &Period,
        is_new_period: bool,
    ) -> Result<Vec<Deal>, PlanError> {
        let left = period.ends_at().since(self.world.collected_at);
        let spent = self.charged().checked_sub(period.charged_before).unwrap_or(Credits::ZERO);
        let available = budget.amount.saturating_sub_at_zero(spent);
        let budget_changed = self
            .world
            .history
            .period
            .is_some_and(|before| (before.budget, before.duration) != (budget.amount, budget.duration));
        let mut kept_rate = 0.0;
        let (mut open, mut kept) = (Vec::new(), Vec::new());
        for (number, host) in self.world.hosts.iter().enumerate() {
            if self.rooms[number].need.domains == 0 {
                continue;
            }
            let stands = host.account.as_ref().filter(|account| {
                !budget_changed
                    && !self.changes_on(number)
                    && !is_new_period
                    && account.minima == self.rooms[number].need.minima()
                    && self.rooms[number].ports().all(|port| host.ports.own.contains(&port))
                    && is_funded(account, self.world)
                    && !is_pressed(account)
                    && host.unredeemed.is_empty()
            });
            if let Some(account) = stands.or(host.account.as_ref().filter(|_| !host.is_inspected)) {
                kept_rate += account.rate.picos_per_second() as f64;
                kept.push((number, account));
            } else if host.is_inspected {
                open.push(number);
            }
        }
        let hosts: Vec<_> =
            open.iter().map(|&number| (&self.world.hosts[number].offers, self.rooms[number].need)).collect();
        let budget_rate = highest_within(available, left);
        let all = budget_rate.picos_per_second() as f64;
        let of_ports: f64 =
            open.iter().map(|&number| self.port_rate(number) * self.rooms[number].ports().count() as f64).sum();
        // Where all bids stand, nothing is asked of the budget: what stands may use it up to the last digit.
        let rates = match hosts.as_slice() {
            [] => Vec::new(),
            hosts => bidding::bid(hosts, all - kept_rate - of_ports)
                .map_err(|short| self.too_small(short.needed + kept_rate + of_ports, spent, budget, period))?,
        };
        let mut deals: Vec<(usize, Deal)> = Vec::new();
        for (number, rates) in open.into_iter().zip(rates) {
            let within = self.within_escrows(number, &rates);
            let deal = self.new_deal(number, within.as_ref().unwrap_or(&rates), left, budget_rate)?;
            deals.push((number, Deal { is_cut: within.is_some(), ..deal }));
        }
        deals.extend(kept.into_iter().map(|(number, account)| (number, self.kept_deal(number, account))));
        for (number, host) in self.world.hosts.iter().enumerate() {
            let is_left =
                self.rooms[number].need.domains == 0 && (host.account.is_some() || !host.unredeemed.is_empty());
            if is_left && host.is_inspected {
                deals.push((number, Deal { plan: leave(host), first_bid: None, is_cut: false }));
            }
        }
        deals.sort_by_key(|(number, _)| *number);
        Ok(deals.into_iter().map(|(_, deal)| deal).collect())
    }

    fn charged(&self) -> Credits {
        let accounts = self.world.hosts.iter().filter_map(|host| host.account.as_ref());
        accounts.fold(Credits::ZERO, |sum, account| sum.checked_add(account.charged).unwrap_or(Credits::MAX))
    }

    fn too_small(&self, needed: f64, spent: Credits, budget: &pool::Budget, period: &Period) -> PlanError {
        let left = period.ends_at().since(self.world.collected_at);
        let rate = match rate_of(needed) {
            Ok(rate) => rate,
            Err(overflow) => return overflow,
        };
        let (more, _) = rate.charge(left, 0);
        // A little more than computed, so that the amount that is proposed is never refused for its last digit.
        let needed = Credits::from_micros(more.micros().saturating_add(more.micros() / 100 + 1));
        PlanError::BudgetTooSmall {
            budget: budget.amount,
            duration: budget.duration,
            needed: needed.checked_add(spent).unwrap_or(Credits::MAX),
            spent,
            span: budget.span,
        }
    }

    /// What is bid on a port of a host, in pico-credits per second: its price and a margin.
    fn port_rate(&self, number: usize) -> f64 {
        bidding::with_margin(self.world.hosts[number].ports.base_price.picos_per_second() as f64)
    }

    /// What to bid instead of `rates` where a host may not draw as fast as that of what is set aside for it already: a bid
    /// beyond it would be cut there, in all its parts alike, and could leave less for minima than they cost.
    fn within_escrows(&self, number: usize, rates: &HostRates) -> Option<HostRates> {
        let host = &self.world.hosts[number];
        let of_ports = self.port_rate(number) * self.rooms[number].ports().count() as f64;
        let fastest = host.fastest?.picos_per_second() as f64 * WITHIN_FASTEST - of_ports;
        if rates.total() <= fastest {
            return None;
        }
        // Where not even the least is within it, the host may say so.
        bidding::bid(&[(&host.offers, self.rooms[number].need)], fastest).ok()?.pop()
    }

    /// A new bid on a host, and the money for it.
    fn new_deal(&self, number: usize, rates: &HostRates, left: TimeSpan, budget_rate: Rate) -> Result<Deal, PlanError> {
        let host = &self.world.hosts[number];
        let need = self.rooms[number].need;
        let of_a_port = self.port_rate(number);
        let wish = |port| (UniqueWish::This(UniqueId::Port(port)), of_a_port);
        let ports: BTreeMap<UniqueWish, f64> = self.rooms[number].ports().map(wish).collect();
        let total = rate_of(rates.total() + ports.values().sum::<f64>())?;
        let (target, _) = total.charge(left, 0);
        let there = host.account.as_ref().map_or(Credits::ZERO, |account| account.balance);
        let waiting = host.unredeemed.iter().map(|escrow| escrow.amount);
        let there = waiting.fold(there, |sum, amount| sum.checked_add(amount).unwrap_or(Credits::MAX));
        let missing = target.checked_sub(there).unwrap_or(Credits::ZERO).micros();
        let burst = host
            .offers
            .get(&ResourceKind::Cpu)
            .map_or(0, |cpu| cpu.base_price.picos_per_second().saturating_mul(need.vcpus));
        let fastest = total.max(budget_rate).picos_per_second();
        let highest = fastest.saturating_mul(HIGHEST_OVER_BUDGET).saturating_add(burst);
        let mut plan = HostPlan::untouched(&self.world.hosts[number]);
        plan.minima = need.minima();
        plan.expected = rates.expected.clone();
        plan.redeem = host.unredeemed.iter().map(|escrow| escrow.escrow).collect();
        // A first escrow opens the account there, however little the bid takes.
        let is_first = host.account.is_none() && host.unredeemed.is_empty();
        if missing > LEAST_TRANSFER || is_first {
            plan.escrow = Some(PlannedEscrow {
                id: tycoon_market::ids::EscrowId::from_bytes([0; 16]),
                amount: Credits::from_micros(missing.max(LEAST_TRANSFER)),
                longest: TimeSpan::from_micros(left.micros().saturating_add(ESCROW_OUTLASTS.micros())),
                highest_rate: Rate::from_picos_per_second(highest),
            });
        } else if missing < -LEAST_TRANSFER {
            plan.refund = Credits::from_micros(-missing);
            plan.leave = target;
        }
        let by_resource = rates.rates.iter().map(|(kind, rate)| Ok((*kind, rate_of(*rate)?)));
        let by_resource = by_resource.collect::<Result<BTreeMap<_, _>, PlanError>>()?;
        plan.bid =
            Some(PlannedBid { rate: total, rates: by_resource, bid: Some(bid_for(rates, &need, &ports, left)?) });
        // While domains change, what they have now and what they will have both count.
        let during = need.max(self.present_need(number));
        let ports_during: BTreeMap<UniqueWish, f64> =
            self.present_ports(number).map(wish).chain(ports.clone()).collect();
        let first_bid = if during == need && ports_during == ports {
            None
        } else {
            Some(bid_for(rates, &during, &ports_during, left)?)
        };
        Ok(Deal { plan, first_bid, is_cut: false })
    }

    /// The ports of the host that lead to domains which stay there, and which the pool still holds.
    fn present_ports(&self, number: usize) -> impl Iterator<Item = u16> {
        let own = &self.world.hosts[number].ports.own;
        let staying = self.domains.values().filter(move |placed| placed.host == number);
        let now = staying.filter_map(|placed| placed.now.and_then(|status| status.spec.as_ref()));
        now.flat_map(|spec| spec.forwarded_ports()).filter(|port| own.contains(port))
    }

    /// What the domains that stay on the host have there now.
    fn present_need(&self, number: usize) -> Need {
        let staying = self
            .domains
            .values()
            .filter(|placed| placed.host == number && !matches!(placed.change, Change::Replace { .. }));
        let now = staying.filter_map(|placed| placed.now.and_then(|status| status.spec.as_ref()));
        now.fold(Need::default(), |sum, spec| sum.plus(need_of(spec)))
    }

    /// A bid that stands as it is.
    fn kept_deal(&self, number: usize, account: &HostAccountView) -> Deal {
        let mut plan = HostPlan::untouched(&self.world.hosts[number]);
        plan.minima = self.rooms[number].need.minima();
        plan.expected = account.allocation.clone();
        plan.bid = Some(PlannedBid { rate: account.rate, rates: BTreeMap::new(), bid: None });
        Deal { plan, first_bid: None, is_cut: false }
    }
}

fn bid_for(
    rates: &HostRates,
    need: &Need,
    ports: &BTreeMap<UniqueWish, f64>,
    duration: TimeSpan,
) -> Result<Bid, PlanError> {
    let (minima, maxima) = (need.minima(), need.maxima());
    let total = rates.total() + ports.values().sum::<f64>();
    let unique = ports.iter().map(|(wish, rate)| (*wish, UniquePreference::new(rate / total))).collect();
    let preferences = rates.rates.iter().map(|(kind, rate)| {
        let amount = |amounts: &BTreeMap<ResourceKind, Quantity>| amounts.get(kind).copied().unwrap_or_default();
        let preference = Preference {
            weight: rate / total,
            min: Amount::Quantity(amount(&minima)),
            max: Amount::Quantity(amount(&maxima)),
            contingency: 0.0,
        };
        (*kind, preference)
    });
    Bid::with_unique(duration, preferences.collect(), unique).map_err(|error| PlanError::Unsound {
        problem: format!("the bid cannot be made: {error}"),
        help: "this is a fault of the planner, not of your description; please report it".into(),
        span: None,
    })
}
