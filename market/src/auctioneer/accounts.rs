//! The open accounts of a host. While a call is being applied it is noted what those that it touches were before: from
//! that the call is taken back where it is refused, and from that its effects are told. So a call costs what it touches,
//! not what there is. For the same reason accounts are shared by all copies of a market until one of them changes them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::account::Account;
use crate::HostAccountId;

/// What accounts were before; `None` for those that were not open.
pub(super) type Before = BTreeMap<HostAccountId, Option<Arc<Account>>>;

/// The open accounts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Accounts {
    open: BTreeMap<HostAccountId, Arc<Account>>,
    /// While a call is being applied: what those that it touched were before.
    #[serde(skip)]
    before: Option<Before>,
    /// Whose state was looked at, for the tests that count.
    #[cfg(test)]
    #[serde(skip)]
    visited: Visited,
}

/// Whose state was looked at. Looking makes no two markets different.
#[cfg(test)]
#[derive(Clone, Debug, Default)]
struct Visited(std::cell::RefCell<std::collections::BTreeSet<HostAccountId>>);

#[cfg(test)]
impl PartialEq for Visited {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Accounts {
    /// These accounts.
    pub(super) fn of(open: BTreeMap<HostAccountId, Account>) -> Self {
        Self {
            open: open.into_iter().map(|(id, account)| (id, Arc::new(account))).collect(),
            before: None,
            #[cfg(test)]
            visited: Visited(std::cell::RefCell::new(std::collections::BTreeSet::new())),
        }
    }

    /// All of them.
    pub(super) const fn all(&self) -> &BTreeMap<HostAccountId, Arc<Account>> {
        &self.open
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn contains_key(&self, id: &HostAccountId) -> bool {
        self.open.contains_key(id)
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &HostAccountId> {
        self.open.keys()
    }

    pub(super) fn get(&self, id: &HostAccountId) -> Option<&Account> {
        self.visit([id]);
        self.open.get(id).map(|account| &**account)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&HostAccountId, &Account)> {
        self.visit(self.open.keys());
        self.open.iter().map(|(id, account)| (id, &**account))
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Account> {
        self.iter().map(|(_, account)| account)
    }

    /// An account to be changed. What it is paid for must be settled first: see `Auctioneer::changing`.
    pub(super) fn get_mut(&mut self, id: &HostAccountId) -> Option<&mut Account> {
        self.visit([id]);
        if let Some(before) = &mut self.before
            && let Some(account) = self.open.get(id)
            && !before.contains_key(id)
        {
            before.insert(id.clone(), Some(account.clone()));
        }
        self.open.get_mut(id).map(Arc::make_mut)
    }

    /// All accounts to be changed.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&HostAccountId, &mut Account)> {
        self.visit(self.open.keys());
        if let Some(before) = &mut self.before {
            for (id, account) in &self.open {
                before.entry(id.clone()).or_insert_with(|| Some(account.clone()));
            }
        }
        self.open.iter_mut().map(|(id, account)| (id, Arc::make_mut(account)))
    }

    pub(super) fn insert(&mut self, id: HostAccountId, account: Account) {
        let former = self.open.insert(id.clone(), Arc::new(account));
        if let Some(before) = &mut self.before {
            before.entry(id).or_insert(former);
        }
    }

    pub(super) fn remove(&mut self, id: &HostAccountId) -> Option<Account> {
        let former = self.open.remove(id);
        if let Some(before) = &mut self.before
            && !before.contains_key(id)
        {
            before.insert(id.clone(), former.clone());
        }
        former.map(Arc::unwrap_or_clone)
    }

    /// From now on it is noted what accounts were before.
    pub(super) fn watch(&mut self) {
        self.before = Some(Before::new());
    }

    /// Ends that; returns what those that were touched were.
    pub(super) fn watched(&mut self) -> Before {
        self.before.take().unwrap_or_default()
    }

    /// Makes an account again what it was.
    pub(super) fn put_back(&mut self, id: HostAccountId, former: Option<Arc<Account>>) {
        match former {
            Some(account) => self.open.insert(id, account),
            None => self.open.remove(&id),
        };
    }

    #[cfg(test)]
    fn visit<'a>(&self, ids: impl IntoIterator<Item = &'a HostAccountId>) {
        self.visited.0.borrow_mut().extend(ids.into_iter().cloned());
    }

    #[cfg(not(test))]
    fn visit<'a>(&self, _: impl IntoIterator<Item = &'a HostAccountId>) {}

    /// Whose state was looked at since this was asked last.
    #[cfg(test)]
    pub(super) fn take_visited(&self) -> std::collections::BTreeSet<HostAccountId> {
        self.visited.0.take()
    }
}
