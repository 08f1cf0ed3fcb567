//! What one account's bid or money changes, where that concerns nobody but those who bid on the same resources.
//!
//! As long as whoever can pay has what she asks for (the market is *calm*), nobody comes or goes because of others. Then a
//! change of one account re-solves the auctions of those of its resources in which its rate, minimum or maximum changed,
//! and looks at nobody who bids on other resources only. Where the minima no longer fit, or become too dear for
//! somebody's escrows, or where the account itself has to go, all of [the plan](super::plan) is made anew. Both ways
//! lead to the same state, bit for bit: the tests compare them.

use std::collections::{BTreeMap, BTreeSet};

use super::account::{Account, AccountState, total};
use super::by_kind::ByKind;
use super::event::Effect;
use super::index::kinds_of;
use super::plan::{Role, Verdict, exceeds, minimum, solvent};
use super::{Auctioneer, Refusal};
use crate::auction::{Bidder, Outcome};
use crate::{Amount, HostAccountId, Quantity, Rate, ResourceKind, Timestamp, UniqueWish};

/// What of an account the auctions depend on.
pub(super) struct Demand {
    kinds: BTreeMap<ResourceKind, (Rate, Option<(Amount, Amount)>)>,
    unique: BTreeMap<UniqueWish, Rate>,
}

impl Demand {
    /// What an account asks for now.
    pub(super) fn of(account: &Account) -> Self {
        let preferences = account.bid.as_ref().map(|bid| bid.preferences());
        let bounds =
            |kind| preferences.and_then(|all| all.get(&kind)).map(|preference| (preference.min, preference.max));
        let kinds = kinds_of(account).into_iter().map(|kind| (kind, (account.rate_of(kind), bounds(kind)))).collect();
        Self { kinds, unique: account.unique.rates.clone() }
    }
}

/// The auction of one resource, and who took part in which role.
struct Sale<'a> {
    takers: Vec<(&'a HostAccountId, Role, Bidder)>,
    outcome: Outcome,
}

/// What one account's change does.
struct Change {
    prices: Vec<(ResourceKind, Rate)>,
    verdicts: BTreeMap<HostAccountId, Verdict>,
    /// Who bids on a resource no longer.
    gone: Vec<(ResourceKind, HostAccountId)>,
}

impl Auctioneer {
    /// Divides anew what a change of one account concerns, which asked for `before` until now. Returns true where the
    /// account is entitled.
    ///
    /// # Errors
    /// The account is not open.
    pub(super) fn resolve_for(
        &mut self,
        id: &HostAccountId,
        before: &Demand,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) -> Result<bool, Refusal> {
        let Some(account) = self.accounts.get(id) else { return Err(Refusal::AccountUnknown(id.clone())) };
        self.index.add(id, account);
        let bids_on_unique = !before.unique.is_empty() || !account.unique.rates.is_empty();
        let can_pay = self.can_pay(account);
        let change = if self.index.is_calm && !bids_on_unique { self.change_for(id, account, before) } else { None };
        let Some(change) = change else {
            let place = self.accounts.keys().position(|other| other == id);
            let verdicts = self.resolve(now, effects);
            return Ok(place.and_then(|place| verdicts.get(place)).is_some_and(|verdict| verdict.entitled));
        };
        self.prices.extend(change.prices);
        for (id, verdict) in &change.verdicts {
            self.carry_out(id, verdict, now, effects);
        }
        for (kind, id) in &change.gone {
            self.index.remove_from(*kind, id);
        }
        // Nothing is due of addresses and ports, so that who holds them stays.
        self.forget_long_free(now);
        for id in change.verdicts.keys() {
            let due = self.accounts.get(id).and_then(|account| self.due_of(account));
            self.index.note_due(due);
        }
        Ok(can_pay)
    }

    fn can_pay(&self, account: &Account) -> bool {
        !account.evicted && solvent(&self.config.capacity, account)
    }

    /// What changes in a calm market; `None` where all must be looked at.
    fn change_for(&self, id: &HostAccountId, account: &Account, before: &Demand) -> Option<Change> {
        let verdict_of = |account: &Account, role| Verdict {
            entitled: role == Role::Active,
            role,
            held: account.held,
            shares: account.shares,
            paid: account.paid,
        };
        let mut change = Change { prices: Vec::new(), verdicts: BTreeMap::new(), gone: Vec::new() };
        match (account.state, self.can_pay(account)) {
            (AccountState::Idle | AccountState::Active, true) => {}
            (AccountState::Idle, false) => {
                change.verdicts.insert(id.clone(), verdict_of(account, Role::Out));
                return Some(change);
            }
            _ => return None,
        }
        let kinds = self.concerned(account, before);
        let mut own = verdict_of(account, Role::Active);
        own.held = self.hand_over_to(id, account, &kinds)?;
        change.verdicts.insert(id.clone(), own);
        for kind in kinds {
            let sale = self.sell(kind, id, &change.verdicts)?;
            change.prices.push((kind, sale.outcome.price));
            let mut without: BTreeSet<&HostAccountId> = self.index.bidders(kind).collect();
            let Sale { takers, outcome, .. } = sale;
            for ((taker, role, bidder), (share, rate)) in
                takers.into_iter().zip(outcome.shares.into_iter().zip(outcome.rates))
            {
                without.remove(taker);
                let rate = self.rate_to_pay(taker, kind, role, bidder, rate);
                let account = self.accounts.get(taker)?;
                let is_same = account.share_of(kind) == share && account.paid.of(kind) == rate;
                if is_same && !change.verdicts.contains_key(taker) {
                    continue;
                }
                let verdict = change.verdicts.entry(taker.clone()).or_insert_with(|| verdict_of(account, role));
                set_or_remove(&mut verdict.shares, kind, (share > Quantity::ZERO).then_some(share));
                set_or_remove(&mut verdict.paid, kind, (rate > Rate::ZERO).then_some(rate));
            }
            if without.contains(id) {
                let own = change.verdicts.get_mut(id)?;
                own.shares.remove(&kind);
                own.paid.remove(&kind);
                if account.bid.as_ref().is_none_or(|bid| !bid.preferences().contains_key(&kind)) {
                    change.gone.push((kind, id.clone()));
                }
            }
        }
        self.all_can_be_paid(&change).then_some(change)
    }

    /// The resources in whose auctions an account bids something else than `before`.
    fn concerned(&self, account: &Account, before: &Demand) -> BTreeSet<ResourceKind> {
        let after = Demand::of(account);
        let all = before.kinds.keys().chain(after.kinds.keys()).copied();
        let is_new = account.state != AccountState::Active;
        let changed = all.filter(|kind| is_new || before.kinds.get(kind) != after.kinds.get(kind));
        changed.filter(|kind| self.config.capacity.contains_key(kind)).collect()
    }

    /// What is kept for an account of memory and disk from now on; `None` where its minima do not fit.
    fn hand_over_to(
        &self,
        id: &HostAccountId,
        account: &Account,
        kinds: &BTreeSet<ResourceKind>,
    ) -> Option<ByKind<Quantity>> {
        let mut held = account.held;
        for &kind in kinds {
            let capacity = self.config.capacity_of(kind);
            let wanted = minimum(account, kind, capacity);
            // All minima fit together, and memory and disk also beside what those keep who have to go.
            let others = || self.index.bidders(kind).filter(|other| *other != id);
            let quoted = self.quotes.iter().filter(|(other, _)| *other != id && !self.index.is_bidder(kind, other));
            let quoted: u128 = quoted
                .filter_map(|(_, quote)| quote.minima.get(&kind))
                .map(|minimum| u128::from(minimum.amount()))
                .sum();
            let own = u128::from(wanted.max(self.quoted(id, kind)).amount());
            let of_others = |needs: &dyn Fn(&Account) -> Quantity| -> u128 {
                let with = others().filter_map(|other| Some((other, self.accounts.get(other)?)));
                with.map(|(other, account)| u128::from(needs(account).max(self.quoted(other, kind)).amount())).sum()
            };
            let minima = |account: &Account| {
                if self.can_pay(account) { minimum(account, kind, capacity) } else { Quantity::ZERO }
            };
            let available = u128::from(capacity.amount());
            if own + quoted + of_others(&minima) > available {
                return None;
            }
            if kind.is_reserved() {
                if own + quoted + of_others(&|account| account.held_of(kind)) > available {
                    return None;
                }
                set_or_remove(&mut held, kind, (wanted > Quantity::ZERO).then_some(wanted));
            }
        }
        Some(held)
    }

    /// Holds the auction of `kind`; `None` where more is held than there is.
    fn sell<'a>(
        &'a self,
        kind: ResourceKind,
        id: &HostAccountId,
        verdicts: &BTreeMap<HostAccountId, Verdict>,
    ) -> Option<Sale<'a>> {
        let mut takers = Vec::new();
        for taker in self.index.bidders(kind) {
            let account = self.accounts.get(taker)?;
            let (role, held) = match verdicts.get(taker) {
                Some(own) if taker == id => (own.role, own.held.of(kind)),
                _ => (Role::of(account.state), account.held_of(kind)),
            };
            if let Some(bidder) = self.bidder(account, kind, role, held) {
                takers.push((taker, role, bidder));
            }
        }
        let bidders: Vec<Bidder> = takers.iter().map(|(_, _, bidder)| *bidder).collect();
        if exceeds(&bidders, self.config.capacity_of(kind)) {
            return None;
        }
        let outcome = self.auction(kind, &bidders);
        Some(Sale { takers, outcome })
    }

    /// False where somebody's escrows allow less than what her shares cost now. Then the whole plan says who is left out;
    /// it leaves out of the count who is in its grace, so that it asks for no more than is counted here.
    fn all_can_be_paid(&self, change: &Change) -> bool {
        change.verdicts.iter().all(|(id, verdict)| {
            let Some(account) = self.accounts.get(id) else { return false };
            let Some(highest) = account.highest_rate else { return true };
            let paid = total(verdict.paid.values().chain(account.unique.rates.values()));
            verdict.role != Role::Active || paid <= account.rate() || paid <= highest
        })
    }
}

fn set_or_remove<T: Copy + Default>(map: &mut ByKind<T>, kind: ResourceKind, value: Option<T>) {
    match value {
        Some(value) => map.insert(kind, value),
        None => map.remove(&kind),
    }
}
