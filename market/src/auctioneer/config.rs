//! What the owner of a host sets.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{Quantity, Rate, ResourceKind, TimeSpan, UniqueId, UniqueKind};

const MINUTE: u64 = 60;
const DAY: u64 = 86_400;

/// What a host sells, for how much at least, and how patient it is. Only `capacity` has no default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct HostConfig {
    /// What is sold of each resource. What is not enforced is not sold.
    pub capacity: BTreeMap<ResourceKind, Quantity>,
    /// The owner's reserve, per price unit of the resource; nothing for a resource without one.
    #[serde(default)]
    pub base_price: BTreeMap<ResourceKind, Rate>,
    /// The unique resources that are sold: none by default.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unique: BTreeMap<UniqueKind, UniqueSale>,
    /// The time between two allocations: 10 s.
    #[serde(default = "interval")]
    pub interval: TimeSpan,
    /// From the warning to the clean shutdown of a displaced or penniless account: 5 minutes.
    #[serde(default = "warning_grace")]
    pub warning_grace: TimeSpan,
    /// From the shutdown to the deletion of the disk: 7 days.
    #[serde(default = "disk_grace")]
    pub disk_grace: TimeSpan,
    /// Over what time the rest of an expired bid is spread: 30 days.
    #[serde(default = "respread")]
    pub respread: TimeSpan,
    /// The part of the rate that an idle account pays for CPU and network, in parts per million: a tenth.
    #[serde(default = "idle_charge_ppm")]
    pub idle_charge_ppm: u32,
    /// The longest time for which a quote is held: 2 minutes.
    #[serde(default = "quote_longest")]
    pub quote_longest: TimeSpan,
    /// For how long the receipts of closed accounts are remembered: 400 days. It must exceed the life of an escrow.
    #[serde(default = "receipt_memory")]
    pub receipt_memory: TimeSpan,
    /// The most host accounts that may be open: 1024.
    #[serde(default = "accounts_max")]
    pub accounts_max: usize,
    /// The most receipts that one host account may be funded with: 4096.
    #[serde(default = "receipts_max")]
    pub receipts_max: usize,
    /// The most quotes held at one time: 256.
    #[serde(default = "quotes_max")]
    pub quotes_max: usize,
}

/// The unique resources of one kind that a host sells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct UniqueSale {
    /// Single ones.
    #[serde(default)]
    pub single: BTreeSet<UniqueId>,
    /// Ranges, each from the first to the last.
    #[serde(default)]
    pub ranges: Vec<(UniqueId, UniqueId)>,
    /// What one of them costs at least.
    #[serde(default)]
    pub base_price: Rate,
}

impl UniqueSale {
    /// True where `id` is sold.
    pub fn contains(&self, id: UniqueId) -> bool {
        self.single.contains(&id) || self.ranges.iter().any(|(first, last)| (*first..=*last).contains(&id))
    }

    /// All that are sold; what is in several ranges comes several times.
    pub fn ids(&self) -> impl Iterator<Item = UniqueId> {
        let in_ranges = self.ranges.iter().flat_map(|&(first, last)| {
            std::iter::successors(Some(first), move |id| id.next()).take_while(move |id| *id <= last)
        });
        self.single.iter().copied().chain(in_ranges)
    }

    /// The first that is not of this kind.
    fn stranger(&self, kind: UniqueKind) -> Option<UniqueId> {
        let ends = self.ranges.iter().flat_map(|(first, last)| [*first, *last]);
        self.single.iter().copied().chain(ends).find(|id| id.kind() != kind)
    }
}

/// Why a configuration cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// Nothing to sell.
    #[error("the host sells nothing; set the capacity of at least one resource")]
    NothingSold,
    /// A base price for what is not sold.
    #[error("there is a base price for {0}, of which nothing is sold; set its capacity or remove the price")]
    PriceWithoutCapacity(ResourceKind),
    /// A unique resource under the wrong kind.
    #[error("`{id}` is sold as {kind}, but it is none")]
    WrongKind {
        /// The kind it is listed under.
        kind: UniqueKind,
        /// The resource.
        id: UniqueId,
    },
    /// A time that must not be zero.
    #[error("`{0}` must be longer than no time")]
    NoTime(&'static str),
    /// A charge above the whole rate.
    #[error("`idle-charge-ppm` is {0}; it is at most 1000000 (the whole rate)")]
    IdleCharge(u32),
}

impl HostConfig {
    /// A configuration with the default times and limits.
    pub fn new(capacity: BTreeMap<ResourceKind, Quantity>, base_price: BTreeMap<ResourceKind, Rate>) -> Self {
        Self {
            capacity,
            base_price,
            unique: BTreeMap::new(),
            interval: interval(),
            warning_grace: warning_grace(),
            disk_grace: disk_grace(),
            respread: respread(),
            idle_charge_ppm: idle_charge_ppm(),
            quote_longest: quote_longest(),
            receipt_memory: receipt_memory(),
            accounts_max: accounts_max(),
            receipts_max: receipts_max(),
            quotes_max: quotes_max(),
        }
    }

    /// The owner's reserve for one price unit of `kind`.
    pub fn base_price_of(&self, kind: ResourceKind) -> Rate {
        self.base_price.get(&kind).copied().unwrap_or_default()
    }

    /// What is sold of `kind`.
    pub fn capacity_of(&self, kind: ResourceKind) -> Quantity {
        self.capacity.get(&kind).copied().unwrap_or_default()
    }

    /// This configuration on a market that had another: of what is not sold any more there is none, but it may still be
    /// held.
    pub fn in_place_of(&self, before: &Self) -> Self {
        let mut config = self.clone();
        for kind in before.capacity.keys() {
            config.capacity.entry(*kind).or_insert(Quantity::ZERO);
        }
        config
    }

    /// Checks the configuration.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.capacity.values().all(|quantity| *quantity == Quantity::ZERO) {
            return Err(ConfigError::NothingSold);
        }
        if let Some(kind) = self.base_price.keys().find(|kind| !self.capacity.contains_key(kind)) {
            return Err(ConfigError::PriceWithoutCapacity(*kind));
        }
        for (&kind, sale) in &self.unique {
            if let Some(id) = sale.stranger(kind) {
                return Err(ConfigError::WrongKind { kind, id });
            }
        }
        for (name, span) in [("interval", self.interval), ("respread", self.respread)] {
            if span.is_zero() {
                return Err(ConfigError::NoTime(name));
            }
        }
        if self.idle_charge_ppm > super::PPM {
            return Err(ConfigError::IdleCharge(self.idle_charge_ppm));
        }
        Ok(())
    }
}

fn interval() -> TimeSpan {
    TimeSpan::from_seconds(10)
}

fn warning_grace() -> TimeSpan {
    TimeSpan::from_seconds(5 * MINUTE)
}

fn disk_grace() -> TimeSpan {
    TimeSpan::from_seconds(7 * DAY)
}

fn respread() -> TimeSpan {
    TimeSpan::from_seconds(30 * DAY)
}

fn idle_charge_ppm() -> u32 {
    100_000
}

fn quote_longest() -> TimeSpan {
    TimeSpan::from_seconds(2 * MINUTE)
}

fn receipt_memory() -> TimeSpan {
    TimeSpan::from_seconds(400 * DAY)
}

fn accounts_max() -> usize {
    1024
}

fn receipts_max() -> usize {
    4096
}

fn quotes_max() -> usize {
    256
}
