//! Who takes part, and what everybody gets: the rule of displacement and the auctions of all resources.
//!
//! Three questions, in this order:
//! 1. Whose minima fit together, and can be paid? As long as those of a resource exceed what there is, one account is
//!    left out: the one with the lowest rate per unit of minimum, then the youngest. The same where the escrows of an
//!    account do not allow what its minima cost. Who is left in is *entitled*. This depends on bids and money alone,
//!    not on who runs now, so that nobody comes and goes in turns.
//! 2. Who can start now? Memory and disk are handed over, not shared: an entitled newcomer waits until the accounts
//!    that it displaces have been stopped.
//! 3. What does everybody get, and what does it cost?

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::account::{Account, AccountState, Reason, total};
use super::by_kind::ByKind;
use super::event::Effect;
use super::quote::cost_at;
use super::{Auctioneer, auction_of};
use crate::auction::{Bidder, Outcome};
use crate::{HostAccountId, Quantity, Rate, ResourceKind, Timestamp};

/// The part an account plays in the auctions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Bids, and has its minima.
    Active,
    /// Bids, and keeps its memory and disk until it is stopped.
    Grace,
    /// Keeps its disk.
    DiskOnly,
    /// Gets nothing.
    Out,
}

impl Role {
    pub(super) const fn of(state: AccountState) -> Self {
        match state {
            AccountState::Active => Self::Active,
            AccountState::Warned { .. } => Self::Grace,
            AccountState::Stopped { .. } => Self::DiskOnly,
            AccountState::Idle | AccountState::Waiting => Self::Out,
        }
    }

    /// The role of one that is not, or no longer, admitted.
    const fn of_outsider(state: AccountState) -> Self {
        match Self::of(state) {
            Self::Active => Self::Grace,
            other => other,
        }
    }
}

/// One account on the way through the plan.
struct Seat<'a> {
    id: &'a HostAccountId,
    account: &'a Account,
    entitled: bool,
    role: Role,
    held: ByKind<Quantity>,
    shares: ByKind<Quantity>,
    paid: ByKind<Rate>,
}

/// What an account gets by the plan.
#[derive(Clone, Copy)]
pub(super) struct Verdict {
    pub(super) entitled: bool,
    pub(super) role: Role,
    pub(super) held: ByKind<Quantity>,
    pub(super) shares: ByKind<Quantity>,
    pub(super) paid: ByKind<Rate>,
}

impl Auctioneer {
    /// Divides everything anew and moves the accounts between their states. Returns what each gets, in the order of the
    /// accounts.
    pub(super) fn resolve(&mut self, now: Timestamp, effects: &mut Vec<Effect>) -> Vec<Verdict> {
        let (prices, verdicts, is_overfull) = self.plan();
        self.prices = prices;
        // Usually nobody gets anything else than before.
        let pairs = self.accounts.iter().zip(&verdicts);
        let changed = pairs.filter(|((_, account), verdict)| !self.is_carried_out(account, verdict, now));
        let changed: Vec<_> = changed.map(|((id, _), verdict)| (id.clone(), *verdict)).collect();
        for (id, verdict) in changed {
            self.carry_out(&id, &verdict, now, effects);
        }
        self.resolve_unique(now, effects);
        self.note_calm(is_overfull);
        verdicts
    }

    /// True where an account has what it gets by the plan, and stands where it is to stand.
    fn is_carried_out(&self, account: &Account, verdict: &Verdict, now: Timestamp) -> bool {
        account.state == self.state_by(account, verdict, now)
            && account.held == verdict.held
            && account.shares == verdict.shares
            && account.paid == verdict.paid
    }

    /// Where an account is to stand by the plan.
    fn state_by(&self, account: &Account, verdict: &Verdict, now: Timestamp) -> AccountState {
        match (verdict.role, account.state) {
            (Role::Active, _) => AccountState::Active,
            (_, AccountState::Active) => {
                AccountState::Warned { reason: self.reason_of(account), stop_at: now.plus(self.config.warning_grace) }
            }
            (_, AccountState::Idle | AccountState::Waiting) => {
                let waits = account.bid.is_some() && self.reason_of(account) == Reason::Displaced;
                if waits { AccountState::Waiting } else { AccountState::Idle }
            }
            (_, state @ (AccountState::Warned { .. } | AccountState::Stopped { .. })) => state,
        }
    }

    /// Why an account has no shares.
    fn reason_of(&self, account: &Account) -> Reason {
        if account.evicted {
            Reason::Evicted
        } else if solvent(&self.config.capacity, account) {
            Reason::Displaced
        } else {
            Reason::OutOfFunds
        }
    }

    /// Gives an account what it gets by the plan, where that is anything else than it has.
    pub(super) fn carry_out(
        &mut self,
        id: &HostAccountId,
        verdict: &Verdict,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let Some(account) = self.accounts.get(id) else { return };
        if self.is_carried_out(account, verdict, now) {
            return;
        }
        let state = self.state_by(account, verdict, now);
        let Some(account) = self.changing(id) else { return };
        match (account.state, state) {
            (AccountState::Active, AccountState::Warned { reason, stop_at }) => {
                effects.push(Effect::Warn { account: id.clone(), reason, stop_at });
            }
            (AccountState::Active, AccountState::Active) => {}
            (before, AccountState::Active) => {
                if matches!(before, AccountState::Idle | AccountState::Waiting)
                    && let Some(bid) = &account.bid
                    && account.expires_at.is_some()
                {
                    account.expires_at = Some(now.plus(bid.duration()));
                }
                effects.push(Effect::Activate { account: id.clone() });
            }
            _ => {}
        }
        account.state = state;
        account.held = verdict.held;
        account.shares = verdict.shares;
        account.paid = verdict.paid;
    }

    /// The prices, what each account gets, and whether more is held than there is.
    fn plan(&self) -> (BTreeMap<ResourceKind, Rate>, Vec<Verdict>, bool) {
        let mut seats: Vec<Seat<'_>> = self.accounts.iter().map(|(id, account)| self.seat(id, account)).collect();
        self.entitle(&mut seats);
        self.hand_over(&mut seats);
        let (prices, is_overfull) = self.divide(&mut seats);
        let verdict = |seat: Seat<'_>| {
            let Seat { entitled, role, held, shares, paid, .. } = seat;
            Verdict { entitled, role, held, shares, paid }
        };
        (prices, seats.into_iter().map(verdict).collect(), is_overfull)
    }

    fn seat<'a>(&self, id: &'a HostAccountId, account: &'a Account) -> Seat<'a> {
        Seat {
            id,
            account,
            entitled: !account.evicted && solvent(&self.config.capacity, account),
            role: Role::of_outsider(account.state),
            held: account.held,
            shares: ByKind::new(),
            paid: ByKind::new(),
        }
    }

    /// Question 1.
    fn entitle(&self, seats: &mut [Seat<'_>]) {
        let candidates: Vec<bool> = seats.iter().map(|seat| seat.entitled).collect();
        let mut left_out = BTreeSet::new();
        loop {
            for (index, seat) in seats.iter_mut().enumerate() {
                seat.entitled = candidates[index] && !left_out.contains(&index);
            }
            self.displace(seats);
            match self.unpayable(seats) {
                Some(index) => left_out.insert(index),
                None => return,
            };
        }
    }

    /// The account whose escrows allow less than its minima would cost if all that are entitled had theirs.
    fn unpayable(&self, seats: &[Seat<'_>]) -> Option<usize> {
        let entitled: Vec<usize> = (0..seats.len()).filter(|&index| seats[index].entitled).collect();
        if entitled.iter().all(|&index| seats[index].account.highest_rate.is_none()) {
            return None;
        }
        let mut paid = vec![Rate::ZERO; seats.len()];
        for (&kind, &capacity) in &self.config.capacity {
            let mut takers = Vec::new();
            let mut bidders = Vec::new();
            for &index in &entitled {
                let account = seats[index].account;
                if let Some(bidder) = self.bidder(account, kind, Role::Active, minimum(account, kind, capacity)) {
                    takers.push(index);
                    bidders.push(bidder);
                }
            }
            let outcome = self.auction(kind, &bidders);
            for ((index, bidder), rate) in takers.into_iter().zip(bidders).zip(outcome.rates) {
                let rate = self.at_most_quoted(seats[index].id, kind, bidder, rate);
                paid[index] = total([&paid[index], &rate]);
            }
        }
        let too_dear = entitled.into_iter().filter(|index| {
            let account = seats[*index].account;
            let paid = total([&paid[*index]].into_iter().chain(account.unique.rates.values()));
            paid > account.rate() && account.highest_rate.is_some_and(|highest| paid > highest)
        });
        too_dear.min_by_key(|&index| (seats[index].account.rate(), Reverse(seats[index].account.sequence)))
    }

    /// What an account pays for its minimum while a quote of it is in force.
    fn at_most_quoted(&self, id: &HostAccountId, kind: ResourceKind, bidder: Bidder, rate: Rate) -> Rate {
        let ceiling = self.quotes.get(id).and_then(|quote| quote.cost_of(kind, bidder.min));
        ceiling.map_or(rate, |ceiling| rate.min(ceiling).max(bidder.rate))
    }

    fn displace(&self, seats: &mut [Seat<'_>]) {
        for (&kind, &capacity) in &self.config.capacity {
            let minima: Vec<Quantity> = seats.iter().map(|seat| minimum(seat.account, kind, capacity)).collect();
            let quoted: Vec<Quantity> = seats.iter().map(|seat| self.quoted(seat.id, kind)).collect();
            let strangers: u128 = self.quoted_by_strangers(kind);
            loop {
                let demand = |index: usize| {
                    let wanted = if seats[index].entitled { minima[index] } else { Quantity::ZERO };
                    u128::from(wanted.max(quoted[index]).amount())
                };
                let sum: u128 = (0..seats.len()).map(demand).sum::<u128>() + strangers;
                if sum <= u128::from(capacity.amount()) {
                    break;
                }
                let victim = (0..seats.len())
                    .filter(|&index| seats[index].entitled && minima[index] > Quantity::ZERO)
                    // A quote that is in force protects the minima that it holds.
                    .min_by_key(|&index| {
                        let protected = quoted[index] >= minima[index];
                        let account = seats[index].account;
                        let rate = RatePerUnit { rate: account.rate_of(kind), minimum: minima[index] };
                        (protected, rate, Reverse(account.sequence))
                    });
                let Some(victim) = victim else { break };
                seats[victim].entitled = false;
            }
        }
    }

    /// Question 2.
    fn hand_over(&self, seats: &mut [Seat<'_>]) {
        let reserved: Vec<(ResourceKind, Quantity)> = self
            .config
            .capacity
            .iter()
            .map(|(&kind, &capacity)| (kind, capacity))
            .filter(|(kind, _)| kind.is_reserved())
            .collect();
        for seat in seats.iter_mut().filter(|seat| seat.entitled && seat.role == Role::Grace) {
            seat.role = Role::Active;
            for &(kind, capacity) in &reserved {
                let kept = minimum(seat.account, kind, capacity).min(seat.account.held_of(kind));
                set(&mut seat.held, kind, kept);
            }
        }
        let occupied = |seat: &Seat<'_>, kind| held(seat, kind).max(self.quoted(seat.id, kind));
        let mut free: BTreeMap<ResourceKind, u128> = BTreeMap::new();
        for &(kind, capacity) in &reserved {
            let taken: u128 = seats.iter().map(|seat| u128::from(occupied(seat, kind).amount())).sum();
            let taken = taken + self.quoted_by_strangers(kind);
            free.insert(kind, u128::from(capacity.amount()).saturating_sub(taken));
        }
        let mut order: Vec<usize> = (0..seats.len()).filter(|&index| seats[index].entitled).collect();
        order.sort_by_key(|&index| {
            let rank = match seats[index].role {
                Role::Active => 0,
                Role::DiskOnly => 1,
                Role::Grace | Role::Out => 2,
            };
            (rank, seats[index].account.sequence)
        });
        for index in order {
            let seat = &mut seats[index];
            let needs: Vec<(ResourceKind, Quantity, u128)> = reserved
                .iter()
                .map(|&(kind, capacity)| {
                    let wanted = minimum(seat.account, kind, capacity);
                    let more = wanted.max(self.quoted(seat.id, kind)).saturating_sub(occupied(seat, kind));
                    (kind, wanted, u128::from(more.amount()))
                })
                .collect();
            let fits = needs.iter().all(|(kind, _, more)| free.get(kind).is_some_and(|free| more <= free));
            if fits {
                seat.role = Role::Active;
                seat.held.clear();
                for (kind, wanted, more) in needs {
                    set(&mut seat.held, kind, wanted);
                    if let Some(free) = free.get_mut(&kind) {
                        *free -= more;
                    }
                }
            }
        }
    }

    /// Question 3.
    fn divide(&self, seats: &mut [Seat<'_>]) -> (BTreeMap<ResourceKind, Rate>, bool) {
        let mut prices = BTreeMap::new();
        let mut is_overfull = false;
        for (&kind, &capacity) in &self.config.capacity {
            let mut takers = Vec::new();
            let mut bidders = Vec::new();
            for (index, seat) in seats.iter().enumerate() {
                if let Some(bidder) = self.bidder(seat.account, kind, seat.role, held(seat, kind)) {
                    takers.push(index);
                    bidders.push(bidder);
                }
            }
            is_overfull |= exceeds(&bidders, capacity);
            let outcome = self.auction(kind, &bidders);
            prices.insert(kind, outcome.price);
            for ((index, bidder), (share, rate)) in
                takers.into_iter().zip(bidders).zip(outcome.shares.into_iter().zip(outcome.rates))
            {
                let seat = &mut seats[index];
                let rate = self.rate_to_pay(seat.id, kind, seat.role, bidder, rate);
                if share > Quantity::ZERO {
                    seat.shares.insert(kind, share);
                }
                if rate > Rate::ZERO {
                    seat.paid.insert(kind, rate);
                }
            }
        }
        (prices, is_overfull)
    }

    /// What an account pays of the rate that the auction asks for: who is in its grace pays its bid only.
    pub(super) fn rate_to_pay(
        &self,
        id: &HostAccountId,
        kind: ResourceKind,
        role: Role,
        bidder: Bidder,
        rate: Rate,
    ) -> Rate {
        if role == Role::Active { self.at_most_quoted(id, kind, bidder, rate) } else { bidder.rate }
    }

    /// How an account bids for `kind` in its role, where `held` of it is kept for the account.
    pub(super) fn bidder(&self, account: &Account, kind: ResourceKind, role: Role, held: Quantity) -> Option<Bidder> {
        let capacity = self.config.capacity_of(kind);
        let preference = account.bid.as_ref().and_then(|bid| bid.preferences().get(&kind));
        let wanted = preference.map_or(Quantity::ZERO, |preference| preference.max.of(capacity));
        let rate = account.rate_of(kind);
        match role {
            Role::Active if kind.is_reserved() => Some(Bidder { rate, min: held, max: wanted.max(held) }),
            Role::Active => Some(Bidder { rate, min: minimum(account, kind, capacity), max: wanted }),
            Role::Grace => Some(Bidder { rate, min: held, max: wanted.max(held) }),
            Role::DiskOnly if kind == ResourceKind::Disk => Some(Bidder { rate, min: held, max: held }),
            Role::DiskOnly | Role::Out => None,
        }
        .filter(|bidder| bidder.max > Quantity::ZERO)
    }

    /// Runs the auction of `kind`. Where the owner took capacity away, what is still held counts as capacity.
    pub(super) fn auction(&self, kind: ResourceKind, bidders: &[Bidder]) -> Outcome {
        auction_of(self.config.capacity_of(kind), self.config.base_price_of(kind), kind, bidders)
    }

    /// What a quote holds of `kind` for `id`.
    pub(super) fn quoted(&self, id: &HostAccountId, kind: ResourceKind) -> Quantity {
        self.quotes.get(id).and_then(|quote| quote.minima.get(&kind)).copied().unwrap_or_default()
    }

    /// What quotes hold of `kind` for accounts that are not open yet.
    fn quoted_by_strangers(&self, kind: ResourceKind) -> u128 {
        let strangers = self.quotes.iter().filter(|(id, _)| !self.accounts.contains_key(id));
        strangers.filter_map(|(_, quote)| quote.minima.get(&kind)).map(|minimum| u128::from(minimum.amount())).sum()
    }

    /// What is free of `kind` for the minima of `id`, besides what others have, are promised, or wait for.
    pub(super) fn available_for(&self, kind: ResourceKind, id: Option<&HostAccountId>) -> Quantity {
        let capacity = self.config.capacity_of(kind);
        let others = self.accounts.iter().filter(|(other, _)| Some(*other) != id);
        let taken: u128 = others
            .map(|(other, account)| {
                let held = account.held_of(kind);
                let promised = match account.state {
                    AccountState::Active | AccountState::Waiting => minimum(account, kind, capacity),
                    _ => Quantity::ZERO,
                };
                u128::from(held.max(promised).max(self.quoted(other, kind)).amount())
            })
            .sum();
        let strangers =
            self.quotes.iter().filter(|(other, _)| Some(*other) != id && !self.accounts.contains_key(other));
        let quoted: u128 = strangers
            .filter_map(|(_, quote)| quote.minima.get(&kind))
            .map(|minimum| u128::from(minimum.amount()))
            .sum();
        let taken = u64::try_from(taken + quoted).unwrap_or(u64::MAX);
        capacity.saturating_sub(Quantity::new(taken))
    }

    /// The price of one unit of `kind` if `id` had a minimum of `minimum` and bid nothing for it.
    pub(super) fn price_with(&self, kind: ResourceKind, id: &HostAccountId, minimum: Quantity) -> Rate {
        let mut bidders: Vec<Bidder> = Vec::new();
        let mut own = Bidder { rate: Rate::ZERO, min: minimum, max: minimum };
        for (other, account) in self.accounts.iter() {
            let Some(bidder) = self.bidder(account, kind, Role::of(account.state), account.held_of(kind)) else {
                continue;
            };
            if other == id {
                own = Bidder { min: bidder.min.max(minimum), max: bidder.max.max(minimum), ..bidder };
            } else {
                bidders.push(bidder);
            }
        }
        bidders.push(own);
        self.auction(kind, &bidders).price
    }
}

/// The rate that an account bids per unit of its minimum, compared exactly.
#[derive(Clone, Copy, Debug)]
struct RatePerUnit {
    rate: Rate,
    minimum: Quantity,
}

impl Ord for RatePerUnit {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let cross = |rate: Rate, minimum: Quantity| u128::from(rate.picos_per_second()) * u128::from(minimum.amount());
        cross(self.rate, other.minimum).cmp(&cross(other.rate, self.minimum))
    }
}

impl PartialOrd for RatePerUnit {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for RatePerUnit {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for RatePerUnit {}

/// True where the minima of the bidders are more than there is.
pub(super) fn exceeds(bidders: &[Bidder], capacity: Quantity) -> bool {
    bidders.iter().map(|bidder| u128::from(bidder.min.amount())).sum::<u128>() > u128::from(capacity.amount())
}

/// The minimum of an account's bid for `kind`.
pub(super) fn minimum(account: &Account, kind: ResourceKind, capacity: Quantity) -> Quantity {
    let preference = account.bid.as_ref().and_then(|bid| bid.preferences().get(&kind));
    preference.map_or(Quantity::ZERO, |preference| preference.min.of(capacity))
}

/// True where an account bids something, or has a minimum and money set aside to defend it.
pub(super) fn solvent(capacity: &BTreeMap<ResourceKind, Quantity>, account: &Account) -> bool {
    let has_minimum = || capacity.iter().any(|(&kind, &capacity)| minimum(account, kind, capacity) > Quantity::ZERO);
    let bids = account.rate() > Rate::ZERO && !account.money.bid.is_zero();
    account.bid.is_some() && (bids || (!account.money.contingency.is_zero() && has_minimum()))
}

fn held(seat: &Seat<'_>, kind: ResourceKind) -> Quantity {
    seat.held.of(kind)
}

fn set(held: &mut ByKind<Quantity>, kind: ResourceKind, quantity: Quantity) {
    if quantity > Quantity::ZERO {
        held.insert(kind, quantity);
    } else {
        held.remove(&kind);
    }
}

/// What `rates` and `minima` together cost: the price of a quote.
pub(super) fn cost_of_all(prices: &BTreeMap<ResourceKind, Rate>, minima: &BTreeMap<ResourceKind, Quantity>) -> Rate {
    let costs: Vec<Rate> = minima
        .iter()
        .map(|(&kind, &minimum)| cost_at(prices.get(&kind).copied().unwrap_or_default(), kind, minimum))
        .collect();
    total(&costs)
}
