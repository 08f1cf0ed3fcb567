//! The state of a market in parts, so that a daemon can keep it record by record: what has not changed is not written.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::account::Account;
use super::accounts::Accounts;
use super::index::Index;
use super::unique_lots::Lot;
use super::unique_states::UniqueRecord;
use super::{Auctioneer, ClosedReceipt, HostConfig, Quote};
use crate::price_statistics::PriceStatistics;
use crate::{EscrowId, HostAccountId, Rate, ResourceKind, Timestamp, UniqueId};

/// What a part is about. Written `head`, `account/…`, `statistics/…`, `unique/…` or `closed/…`, each in a way of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PartKey {
    /// The market itself.
    Head,
    /// An account.
    Account(HostAccountId),
    /// What the prices of a resource were.
    Statistics(ResourceKind),
    /// What a unique resource has cost.
    Unique(UniqueId),
    /// A receipt of an account that is closed.
    Closed(EscrowId),
}

impl fmt::Display for PartKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head => f.write_str("head"),
            Self::Account(id) => write!(f, "account/{id}"),
            Self::Statistics(kind) => write!(f, "statistics/{}", kind.word()),
            Self::Unique(id) => write!(f, "unique/{id}"),
            Self::Closed(escrow) => write!(f, "closed/{escrow}"),
        }
    }
}

/// A part of the state, to be serialised.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct PartRef<'a>(Content<'a>);

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Content<'a> {
    Head(HeadRef<'a>),
    Account(&'a HostAccountId, &'a Account),
    Statistics(ResourceKind, &'a PriceStatistics),
    Unique(UniqueId, &'a UniqueRecord),
    Closed(EscrowId, &'a ClosedReceipt),
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct HeadRef<'a> {
    config: &'a HostConfig,
    draining: bool,
    accounted_at: Timestamp,
    ticked_at: Timestamp,
    next_sequence: u64,
    quotes: Vec<(&'a HostAccountId, &'a Quote)>,
    prices: &'a BTreeMap<ResourceKind, Rate>,
    lots: Vec<(UniqueId, &'a Lot)>,
}

/// A part of the state, as it was read.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub struct Part(Owned);

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Owned {
    Head(Box<Head>),
    Account(HostAccountId, Box<Account>),
    Statistics(ResourceKind, Box<PriceStatistics>),
    Unique(UniqueId, Box<UniqueRecord>),
    Closed(EscrowId, Box<ClosedReceipt>),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Head {
    config: HostConfig,
    draining: bool,
    accounted_at: Timestamp,
    ticked_at: Timestamp,
    next_sequence: u64,
    quotes: Vec<(HostAccountId, Quote)>,
    prices: BTreeMap<ResourceKind, Rate>,
    lots: Vec<(UniqueId, Lot)>,
}

/// A change of the state: a part as it is now, or that it is gone.
#[derive(Clone, Debug)]
pub enum PartChange<'a> {
    /// It is new, or differs.
    Now(PartKey, PartRef<'a>),
    /// It is gone.
    Gone(PartKey),
}

impl<'a> PartChange<'a> {
    /// What the part is about.
    pub const fn key(&self) -> &PartKey {
        match self {
            Self::Now(key, _) | Self::Gone(key) => key,
        }
    }

    /// The part; `None` where it is gone.
    pub fn now(self) -> Option<(PartKey, PartRef<'a>)> {
        match self {
            Self::Now(key, part) => Some((key, part)),
            Self::Gone(_) => None,
        }
    }
}

impl Auctioneer {
    /// The parts that differ from those of `before`; all of them where there is nothing before.
    pub fn changed_parts<'a>(&'a self, before: Option<&'a Self>) -> Vec<PartChange<'a>> {
        let mut changes = Vec::new();
        if before.map(Self::head) != Some(self.head()) {
            changes.push(PartChange::Now(PartKey::Head, PartRef(Content::Head(self.head()))));
        }
        difference(
            self.accounts.all(),
            before.map(|before| before.accounts.all()),
            |id| PartKey::Account(id.clone()),
            |id, account| PartRef(Content::Account(id, account)),
            &mut changes,
        );
        difference(
            &self.statistics,
            before.map(|before| &before.statistics),
            |kind| PartKey::Statistics(*kind),
            |kind, prices| PartRef(Content::Statistics(*kind, prices)),
            &mut changes,
        );
        difference(
            &self.unique_records,
            before.map(|before| &before.unique_records),
            |id| PartKey::Unique(*id),
            |id, record| PartRef(Content::Unique(*id, record)),
            &mut changes,
        );
        difference(
            &self.closed,
            before.map(|before| &before.closed),
            |escrow| PartKey::Closed(*escrow),
            |escrow, receipt| PartRef(Content::Closed(*escrow, receipt)),
            &mut changes,
        );
        changes
    }

    /// The market that these parts are of; `None` where its head is not among them.
    pub fn of_parts(parts: impl IntoIterator<Item = Part>) -> Option<Self> {
        let (mut head, mut accounts, mut statistics) = (None, BTreeMap::new(), BTreeMap::new());
        let (mut unique_records, mut closed) = (BTreeMap::new(), BTreeMap::new());
        for Part(part) in parts {
            match part {
                Owned::Head(read) => head = Some(read),
                Owned::Account(id, account) => drop(accounts.insert(id, *account)),
                Owned::Statistics(kind, prices) => drop(statistics.insert(kind, *prices)),
                Owned::Unique(id, record) => drop(unique_records.insert(id, *record)),
                Owned::Closed(escrow, receipt) => drop(closed.insert(escrow, *receipt)),
            }
        }
        let head = head?;
        Some(Self {
            config: head.config,
            draining: head.draining,
            accounted_at: head.accounted_at,
            ticked_at: head.ticked_at,
            next_sequence: head.next_sequence,
            accounts: Accounts::of(accounts),
            quotes: head.quotes.into_iter().collect(),
            prices: head.prices,
            lots: head.lots.into_iter().collect(),
            unique_records,
            statistics,
            closed,
            index: Index::default(),
        })
    }

    fn head(&self) -> HeadRef<'_> {
        HeadRef {
            config: &self.config,
            draining: self.draining,
            accounted_at: self.accounted_at,
            ticked_at: self.ticked_at,
            next_sequence: self.next_sequence,
            quotes: self.quotes.iter().collect(),
            prices: &self.prices,
            lots: self.lots.iter().map(|(id, lot)| (*id, lot)).collect(),
        }
    }
}

/// Adds what differs between two maps.
fn difference<'a, K: Ord, V: PartialEq>(
    now: &'a BTreeMap<K, V>,
    before: Option<&'a BTreeMap<K, V>>,
    key: impl Fn(&K) -> PartKey,
    part: impl Fn(&'a K, &'a V) -> PartRef<'a>,
    changes: &mut Vec<PartChange<'a>>,
) {
    for (name, value) in now {
        if before.and_then(|before| before.get(name)) != Some(value) {
            changes.push(PartChange::Now(key(name), part(name, value)));
        }
    }
    let gone = before.into_iter().flat_map(BTreeMap::keys).filter(|name| !now.contains_key(*name));
    changes.extend(gone.map(|name| PartChange::Gone(key(name))));
}
