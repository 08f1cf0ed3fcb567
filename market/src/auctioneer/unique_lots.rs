//! The auction of unique resources: addresses and ports.
//!
//! ```text
//! free ──highest bid, at least the base price──▶ held ──1.1 × what it would have to pay, for 3 intervals──▶ held by another
//!   ▲                                              │
//!   └──────────── no bid on it any more ───────────┘
//! ```
//!
//! The holder pays the largest of its own minimal bid, the second bid and the base price: that is the published price
//! (seed 004, option 1b). Who bids and does not hold pays its bid, so that a bid that only disturbs costs something; after
//! one interval it is withdrawn, unless it says `stand`. A challenger is not withdrawn while it challenges. Who holds
//! without using pays more from day to day, up to its whole bid after a week. Losing one resource touches nothing else
//! of a bid.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::Auctioneer;
use super::account::Account;
use super::event::Effect;
use super::plan::Role;
use crate::{HostAccountId, Rate, TimeSpan, Timestamp, UniqueId, UniqueKind, UniquePreference, UniqueWish};

const DAY: TimeSpan = TimeSpan::from_seconds(86_400);
/// After so many days without use a holder pays its whole bid.
const IDLE_DAYS_MAX: u64 = 7;
/// A challenger bids at least 11 tenths of what it would have to pay.
const CHALLENGE: (u128, u128) = (11, 10);
/// For so many intervals.
const CHALLENGE_INTERVALS: u64 = 3;

/// A unique resource that somebody holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Lot {
    pub(super) holder: HostAccountId,
    wish: UniqueWish,
    pub(super) price: Rate,
    challenge: Option<Challenge>,
    idle_since: Option<Timestamp>,
    /// Whole days without use, as far as they count in the price.
    idle_days: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Challenge {
    account: HostAccountId,
    since: Timestamp,
}

/// What an account's bids on unique resources have come to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(super) struct UniqueBids {
    /// What is bid: fixed with the other rates.
    pub(super) rates: BTreeMap<UniqueWish, Rate>,
    /// What is held for a wish.
    pub(super) held: BTreeMap<UniqueWish, UniqueId>,
    /// Since when a bid is losing.
    losing_since: BTreeMap<UniqueWish, Timestamp>,
    /// Bids that lost for an interval.
    withdrawn: BTreeSet<UniqueWish>,
    /// What is paid in all.
    pub(super) paid: Rate,
}

impl UniqueBids {
    /// A changed bid begins anew.
    pub(super) fn restart(&mut self) {
        self.losing_since.clear();
        self.withdrawn.clear();
    }

    /// Moves what is due, by a function of time.
    pub(super) fn move_deadlines(&mut self, moved: &impl Fn(Timestamp) -> Timestamp) {
        for since in self.losing_since.values_mut() {
            *since = moved(*since);
        }
    }
}

/// A bid on a unique resource.
#[derive(Clone)]
struct UniqueBid {
    account: HostAccountId,
    wish: UniqueWish,
    rate: Rate,
    preference: UniquePreference,
    sequence: u64,
}

impl UniqueBid {
    /// Higher bids first, then older accounts.
    fn rank(&self) -> (Rate, std::cmp::Reverse<u64>) {
        (self.rate, std::cmp::Reverse(self.sequence))
    }
}

impl Lot {
    pub(super) fn move_deadlines(&mut self, moved: &impl Fn(Timestamp) -> Timestamp) {
        if let Some(challenge) = &mut self.challenge {
            challenge.since = moved(challenge.since);
        }
        self.idle_since = self.idle_since.map(moved);
    }

    fn idle_days_at(&self, now: Timestamp) -> u64 {
        self.idle_since.map_or(0, |since| (now.since(since).micros() / DAY.micros()).min(IDLE_DAYS_MAX))
    }
}

impl Auctioneer {
    /// Decides who holds what, for how much, and who pays for a bid that loses.
    pub(super) fn resolve_unique(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if self.config.unique.is_empty() && self.lots.is_empty() {
            return;
        }
        let before: BTreeMap<UniqueId, HostAccountId> =
            self.lots.iter().map(|(id, lot)| (*id, lot.holder.clone())).collect();
        let mut bids = self.unique_bids();
        loop {
            self.release_lots(&bids);
            self.hand_out_lots(&bids, now);
            if !self.withdraw_losers(&bids, now) {
                break;
            }
            bids = self.unique_bids();
        }
        self.price_lots(&bids, now);
        self.note_unique(&bids);
        self.note_holders(&before, now);
        for (id, holder) in &before {
            if self.lots.get(id).is_none_or(|lot| lot.holder != *holder) && self.accounts.contains_key(holder) {
                effects.push(Effect::RevokeUnique { account: holder.clone(), id: *id });
            }
        }
        for (id, lot) in &self.lots {
            if before.get(id) != Some(&lot.holder) {
                effects.push(Effect::GrantUnique { account: lot.holder.clone(), id: *id });
            }
        }
    }

    /// The bids that count: of accounts that have their shares, not withdrawn.
    fn unique_bids(&self) -> Vec<UniqueBid> {
        let mut bids = Vec::new();
        for (id, account) in self.accounts.iter() {
            let Some(bid) = &account.bid else { continue };
            let (sequence, unique) = (account.sequence, &account.unique);
            for (&wish, preference) in bid.unique() {
                let rate = unique.rates.get(&wish).copied().unwrap_or_default();
                let takes_part = matches!(Role::of(account.state), Role::Active | Role::Grace);
                if takes_part && rate > Rate::ZERO && !unique.withdrawn.contains(&wish) {
                    bids.push(UniqueBid { account: id.clone(), wish, rate, preference: *preference, sequence });
                }
            }
        }
        bids
    }

    /// Lets go of what nobody pays for.
    fn release_lots(&mut self, bids: &[UniqueBid]) {
        let unique = &self.config.unique;
        self.lots.retain(|id, lot| {
            let base = unique.get(&id.kind()).map_or(Rate::ZERO, |sale| sale.base_price);
            let sold = unique.get(&id.kind()).is_some_and(|sale| sale.contains(*id));
            sold && bids.iter().any(|bid| bid.account == lot.holder && bid.wish == lot.wish && bid.rate >= base)
        });
    }

    fn hand_out_lots(&mut self, bids: &[UniqueBid], now: Timestamp) {
        let wanted: BTreeSet<UniqueId> = bids
            .iter()
            .filter_map(|bid| match bid.wish {
                UniqueWish::This(id) => Some(id),
                UniqueWish::Any(_) => None,
            })
            .collect();
        let held: Vec<UniqueId> = self.lots.keys().copied().collect();
        for id in wanted.iter().copied().chain(held.into_iter().filter(|id| !wanted.contains(id))) {
            self.hand_out(id, bids, now);
        }
        // Any one: the cheapest free one, and of equal ones that which nobody asks for by name.
        let mut seekers: Vec<&UniqueBid> =
            bids.iter().filter(|bid| matches!(bid.wish, UniqueWish::Any(_)) && !self.holds(bid)).collect();
        seekers.sort_by_key(|bid| std::cmp::Reverse(bid.rank()));
        for bid in seekers {
            let Some(sale) = self.config.unique.get(&bid.wish.kind()) else { continue };
            if bid.rate < sale.base_price {
                continue;
            }
            let free = sale.ids().find(|id| !self.lots.contains_key(id) && !wanted.contains(id));
            if let Some(id) = free {
                self.lots.insert(id, Lot::of(bid));
            }
        }
    }

    /// Hands one resource to the highest bid; from a holder only after a challenge.
    fn hand_out(&mut self, id: UniqueId, bids: &[UniqueBid], now: Timestamp) {
        let base = self.unique_base_price(id.kind());
        let names_it = |bid: &&UniqueBid| bid.wish == UniqueWish::This(id) && bid.rate >= base;
        let Some(lot) = self.lots.get(&id) else {
            if let Some(best) = bids.iter().filter(names_it).max_by_key(|bid| bid.rank()) {
                self.lots.insert(id, Lot::of(best));
            }
            return;
        };
        let holder_bids = bids.iter().find(|bid| bid.account == lot.holder && bid.wish == lot.wish);
        let holder_rate = holder_bids.map_or(Rate::ZERO, |bid| bid.rate);
        let others = bids.iter().filter(names_it).filter(|bid| bid.account != lot.holder);
        let Some(best) = others.max_by_key(|bid| bid.rank()).cloned() else {
            self.set_challenge(id, None);
            return;
        };
        let would_pay = holder_rate.max(base).max(best.preference.min_bid.min(best.rate));
        let (bid, price) = (u128::from(best.rate.picos_per_second()), u128::from(would_pay.picos_per_second()));
        let enough = bid * CHALLENGE.1 >= price * CHALLENGE.0 && best.rate > holder_rate;
        if !enough {
            self.set_challenge(id, None);
            return;
        }
        let since = match &lot.challenge {
            Some(challenge) if challenge.account == best.account => challenge.since,
            _ => now,
        };
        if now >= since.plus(self.challenge_time()) {
            self.lots.insert(id, Lot::of(&best));
        } else {
            self.set_challenge(id, Some(Challenge { account: best.account, since }));
        }
    }

    fn set_challenge(&mut self, id: UniqueId, challenge: Option<Challenge>) {
        if let Some(lot) = self.lots.get_mut(&id) {
            lot.challenge = challenge;
        }
    }

    fn challenge_time(&self) -> TimeSpan {
        TimeSpan::from_micros(self.config.interval.micros().saturating_mul(CHALLENGE_INTERVALS))
    }

    fn unique_base_price(&self, kind: UniqueKind) -> Rate {
        self.config.unique.get(&kind).map_or(Rate::ZERO, |sale| sale.base_price)
    }

    fn holds(&self, bid: &UniqueBid) -> bool {
        self.lots.values().any(|lot| lot.holder == bid.account && lot.wish == bid.wish)
    }

    fn challenges(&self, bid: &UniqueBid) -> bool {
        let UniqueWish::This(id) = bid.wish else { return false };
        let challenge = self.lots.get(&id).and_then(|lot| lot.challenge.as_ref());
        challenge.is_some_and(|challenge| challenge.account == bid.account)
    }

    /// Who names a resource, does not hold it and does not challenge is losing.
    fn loses(&self, bid: &UniqueBid) -> bool {
        matches!(bid.wish, UniqueWish::This(_)) && !self.holds(bid) && !self.challenges(bid)
    }

    /// Notes who is losing, and withdraws who did for an interval; true where somebody was withdrawn.
    fn withdraw_losers(&mut self, bids: &[UniqueBid], now: Timestamp) -> bool {
        let interval = self.config.interval;
        let counts =
            |id: &HostAccountId, wish: &UniqueWish| bids.iter().any(|bid| bid.account == *id && bid.wish == *wish);
        let loses_no_more = |(id, account): (&HostAccountId, &Account)| {
            account.unique.losing_since.keys().any(|wish| !counts(id, wish)).then(|| id.clone())
        };
        let freed: Vec<HostAccountId> = self.accounts.iter().filter_map(loses_no_more).collect();
        for id in freed {
            if let Some(account) = self.accounts.get_mut(&id) {
                account.unique.losing_since.retain(|wish, _| counts(&id, wish));
            }
        }
        let mut withdrawn = false;
        for bid in bids {
            let loses = self.loses(bid);
            let Some(account) = self.accounts.get(&bid.account) else { continue };
            if !loses && !account.unique.losing_since.contains_key(&bid.wish) {
                continue;
            }
            let Some(account) = self.accounts.get_mut(&bid.account) else { continue };
            if !loses {
                account.unique.losing_since.remove(&bid.wish);
                continue;
            }
            let since = *account.unique.losing_since.entry(bid.wish).or_insert(now);
            if !bid.preference.stand && now >= since.plus(interval) {
                account.unique.losing_since.remove(&bid.wish);
                account.unique.withdrawn.insert(bid.wish);
                withdrawn = true;
            }
            // Until when it may lose is known only now.
            self.index.quiet_until = None;
        }
        withdrawn
    }

    fn price_lots(&mut self, bids: &[UniqueBid], now: Timestamp) {
        let unique = &self.config.unique;
        for (&id, lot) in &mut self.lots {
            lot.idle_days = lot.idle_days_at(now);
            let Some(own) = bids.iter().find(|bid| bid.account == lot.holder && bid.wish == lot.wish) else { continue };
            let base = unique.get(&id.kind()).map_or(Rate::ZERO, |sale| sale.base_price);
            let others = bids.iter().filter(|bid| bid.wish == UniqueWish::This(id) && bid.account != lot.holder);
            let second = others.map(|bid| bid.rate).max().unwrap_or_default();
            let idle = u128::from(own.rate.picos_per_second()) * u128::from(lot.idle_days) / u128::from(IDLE_DAYS_MAX);
            let idle = Rate::from_picos_per_second(u64::try_from(idle).unwrap_or(u64::MAX));
            lot.price = own.preference.min_bid.max(second).max(idle).min(own.rate).max(base);
        }
    }

    /// Notes for each account what it holds and pays.
    fn note_unique(&mut self, bids: &[UniqueBid]) {
        let mut noted: BTreeMap<HostAccountId, (BTreeMap<UniqueWish, UniqueId>, Rate)> = BTreeMap::new();
        let mut pays = |id: &HostAccountId, rate: Rate, lot: Option<(UniqueWish, UniqueId)>| {
            let (held, paid) = noted.entry(id.clone()).or_default();
            held.extend(lot);
            *paid = paid.checked_add(rate).unwrap_or(Rate::from_picos_per_second(u64::MAX));
        };
        for (&id, lot) in &self.lots {
            pays(&lot.holder, lot.price, Some((lot.wish, id)));
        }
        for bid in bids {
            if matches!(bid.wish, UniqueWish::This(_)) && !self.holds(bid) {
                pays(&bid.account, bid.rate, None);
            }
        }
        let changed = |(id, account): (&HostAccountId, &Account)| {
            let (held, paid) = noted.get(id).cloned().unwrap_or_default();
            let is_same = account.unique.held == held && account.unique.paid == paid;
            (!is_same).then(|| (id.clone(), held, paid))
        };
        let changed: Vec<_> = self.accounts.iter().filter_map(changed).collect();
        for (id, held, paid) in changed {
            if let Some(account) = self.changing(&id) {
                account.unique.held = held;
                account.unique.paid = paid;
            }
        }
    }

    /// Notes which unique resources are in use; the others are idle from now on.
    pub(super) fn note_use(&mut self, used: &BTreeSet<UniqueId>, now: Timestamp) {
        for (id, lot) in &mut self.lots {
            lot.idle_since = if used.contains(id) { None } else { lot.idle_since.or(Some(now)) };
        }
    }

    /// The next time at which a challenge succeeds or an idle day is over.
    pub(super) fn next_lot_change(&self) -> Option<Timestamp> {
        let lots = self.lots.values().flat_map(|lot| {
            let succeeds = lot.challenge.as_ref().map(|challenge| challenge.since.plus(self.challenge_time()));
            let day = lot
                .idle_since
                .filter(|_| lot.idle_days < IDLE_DAYS_MAX)
                .map(|since| since.plus(TimeSpan::from_micros(DAY.micros().saturating_mul(lot.idle_days + 1))));
            [succeeds, day].into_iter().flatten()
        });
        lots.min()
    }

    /// The next time at which a losing bid of an account is withdrawn.
    pub(super) fn next_withdrawal(&self, account: &Account) -> Option<Timestamp> {
        let stands = |wish: &UniqueWish| {
            account.bid.as_ref().and_then(|bid| bid.unique().get(wish)).is_none_or(|preference| preference.stand)
        };
        let losing = account.unique.losing_since.iter().filter(|(wish, _)| !stands(wish));
        losing.map(|(_, since)| since.plus(self.config.interval)).min()
    }
}

impl Lot {
    fn of(bid: &UniqueBid) -> Self {
        Self {
            holder: bid.account.clone(),
            wish: bid.wish,
            price: Rate::ZERO,
            challenge: None,
            idle_since: None,
            idle_days: 0,
        }
    }
}
