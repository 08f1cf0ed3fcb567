//! What the market remembers besides its state, so that a call need not look at every account. All of it follows from the
//! state: it is not saved, and a market that was read from its state does the same without it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Auctioneer;
use super::account::{Account, AccountState};
use super::plan::{minimum, solvent};
use crate::{HostAccountId, ResourceKind, Timestamp};

/// What follows from the state of the market.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    is_made: bool,
    /// Who may bid on each resource, or hold something of it.
    bidders: BTreeMap<ResourceKind, Arc<BTreeSet<HostAccountId>>>,
    /// True where nobody can come or go because of what others do: whoever can pay has what she asks for, and nothing
    /// is held beyond what there is.
    pub(super) is_calm: bool,
    /// Before this time no account changes by itself.
    pub(super) quiet_until: Option<Timestamp>,
}

/// Two markets are the same where their states are.
impl PartialEq for Index {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Index {
    /// Who may bid on `kind`, or hold something of it, in the order of ids.
    pub(super) fn bidders(&self, kind: ResourceKind) -> impl Iterator<Item = &HostAccountId> {
        self.bidders.get(&kind).into_iter().flat_map(|bidders| bidders.iter())
    }

    /// True where `id` is one of them.
    pub(super) fn is_bidder(&self, kind: ResourceKind, id: &HostAccountId) -> bool {
        self.bidders.get(&kind).is_some_and(|bidders| bidders.contains(id))
    }

    /// Notes on what an account bids, and what it holds.
    pub(super) fn add(&mut self, id: &HostAccountId, account: &Account) {
        for kind in kinds_of(account) {
            let bidders = self.bidders.entry(kind).or_default();
            if !bidders.contains(id) {
                Arc::make_mut(bidders).insert(id.clone());
            }
        }
    }

    /// Forgets an account that bids on `kind` no longer.
    pub(super) fn remove_from(&mut self, kind: ResourceKind, id: &HostAccountId) {
        if let Some(bidders) = self.bidders.get_mut(&kind) {
            Arc::make_mut(bidders).remove(id);
        }
    }

    /// Forgets an account.
    pub(super) fn remove(&mut self, id: &HostAccountId) {
        for bidders in self.bidders.values_mut().filter(|bidders| bidders.contains(id)) {
            Arc::make_mut(bidders).remove(id);
        }
    }

    /// Notes that an account changes by itself at `due`.
    pub(super) fn note_due(&mut self, due: Option<Timestamp>) {
        if let Some(due) = due {
            self.quiet_until = self.quiet_until.map(|quiet| quiet.min(due));
        }
    }
}

impl Auctioneer {
    /// Makes the index of a market that was read from its state.
    pub(super) fn make_index(&mut self) {
        if self.index.is_made {
            return;
        }
        let accounted_at = self.accounted_at;
        let mut index = Index { is_made: true, ..Index::default() };
        for (id, account) in self.accounts.iter_mut() {
            // A state that was saved before this was kept has no account that is not settled.
            account.settled_at.get_or_insert(accounted_at);
            index.add(id, account);
        }
        self.index = index;
    }

    /// Looks at every account for what the index says of all together.
    pub(super) fn note_calm(&mut self, is_overfull: bool) {
        self.index.is_calm = !is_overfull && self.accounts.values().all(|account| self.is_settled_in(account));
        self.index.quiet_until = Some(self.first_due());
    }

    /// True for an account that has what it asks for, or asks for nothing that it can pay.
    fn is_settled_in(&self, account: &Account) -> bool {
        let is_active = account.state == AccountState::Active;
        let can_pay = !account.evicted && solvent(&self.config.capacity, account);
        let has_all = || {
            let mut reserved = self.config.capacity.iter().filter(|(kind, _)| kind.is_reserved());
            reserved.all(|(&kind, &capacity)| account.held_of(kind) == minimum(account, kind, capacity))
        };
        is_active == can_pay && (!is_active || has_all())
    }

    /// When the first account changes by itself.
    pub(super) fn first_due(&self) -> Timestamp {
        let due = self.accounts.values().filter_map(|account| self.due_of(account)).min();
        due.unwrap_or(Timestamp::from_micros(i64::MAX))
    }
}

/// The resources that an account bids on, or holds something of.
pub(super) fn kinds_of(account: &Account) -> BTreeSet<ResourceKind> {
    let bid = account.bid.iter().flat_map(|bid| bid.preferences().keys().copied());
    bid.chain(account.held.keys().chain(account.shares.keys()).chain(account.paid.keys()).copied()).collect()
}
