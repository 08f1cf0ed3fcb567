//! What an account asks of a host: for how long, of what, how much, and how dear it is to it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::unique::{UniquePreference, UniqueWish};
use crate::{Quantity, ResourceKind, TimeSpan};

/// The longest duration of a bid: 100 years of 365 days.
pub const DURATION_MAX: TimeSpan = TimeSpan::from_seconds(100 * 365 * 86_400);
/// The largest weight of a preference; the smallest is its inverse.
pub const WEIGHT_MAX: f64 = 1e9;
/// The most unique resources in one bid.
pub const UNIQUE_MAX: usize = 64;

/// How much of a resource: an absolute quantity, or a fraction of the host's capacity.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Amount {
    /// A quantity in the base unit of its resource.
    Quantity(Quantity),
    /// A fraction of the capacity, from 0 to 1.
    Fraction(f64),
}

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self::Quantity(Quantity::ZERO);
    /// All that the host has.
    pub const ALL: Self = Self::Fraction(1.0);

    /// The quantity this means on a host of `capacity`; fractions are rounded down.
    pub fn of(self, capacity: Quantity) -> Quantity {
        match self {
            Self::Quantity(quantity) => quantity,
            Self::Fraction(fraction) if fraction >= 1.0 => capacity,
            Self::Fraction(fraction) => Quantity::new((capacity.amount() as f64 * fraction) as u64),
        }
    }

    /// True where `self` exceeds `other` on every host; an amount and a fraction can only be compared on a host.
    fn always_exceeds(self, other: Self) -> bool {
        match (self, other) {
            (Self::Quantity(one), Self::Quantity(two)) => one > two,
            (Self::Fraction(one), Self::Fraction(two)) => one > two,
            _ => false,
        }
    }
}

/// What a bid wants of one resource.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preference {
    /// The part of the funds that is bid on this resource, relative to the weights of the others; above 0.
    pub weight: f64,
    /// Below this the domains cannot run: the account is topped up to it, or displaced.
    pub min: Amount,
    /// More than this is of no use: the rest goes to the others.
    pub max: Amount,
    /// The part of this resource's funds that is set aside to defend the minima, from 0 to below 1.
    #[serde(default)]
    pub contingency: f64,
}

impl Preference {
    /// A preference without contingency.
    pub const fn new(weight: f64, min: Amount, max: Amount) -> Self {
        Self { weight, min, max, contingency: 0.0 }
    }
}

/// A checked bid of one host account.
///
/// Two equal bids mean the same: sending a bid again changes nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "UncheckedBid", into = "UncheckedBid")]
pub struct Bid {
    duration: TimeSpan,
    preferences: BTreeMap<ResourceKind, Preference>,
    unique: BTreeMap<UniqueWish, UniquePreference>,
}

/// Why a bid is not one.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum BidError {
    /// No time to spend the funds in, or too much of it.
    #[error("a bid lasts longer than no time and at most 100 years, not {0}")]
    Duration(TimeSpan),
    /// No resource at all.
    #[error("the bid asks for nothing; name at least one resource, such as `CPU:1,0,1`")]
    NothingWanted,
    /// A weight that is not a positive number.
    #[error("the weight of {kind} is {weight}; a weight is a number above 0, from 1e-9 to 1e9")]
    Weight {
        /// The resource.
        kind: ResourceKind,
        /// The weight given.
        weight: f64,
    },
    /// A weight of a unique resource that is not a positive number.
    #[error("the weight of {wish} is {weight}; a weight is a number above 0, from 1e-9 to 1e9")]
    UniqueWeight {
        /// What is wanted.
        wish: UniqueWish,
        /// The weight given.
        weight: f64,
    },
    /// More unique resources than one account may bid for.
    #[error("the bid asks for {0} unique resources; at most {UNIQUE_MAX} can be asked for in one bid")]
    TooManyUnique(usize),
    /// A fraction outside of 0 to 1.
    #[error("{fraction} of {kind} is not a fraction from 0 to 1")]
    Fraction {
        /// The resource.
        kind: ResourceKind,
        /// The fraction given.
        fraction: f64,
    },
    /// A minimum above the maximum.
    #[error("the minimum of {0} is above its maximum")]
    MinAboveMax(ResourceKind),
    /// A contingency outside of 0 to below 1.
    #[error(
        "the contingency of {kind} is {contingency}; it is the part of the funds set aside, from 0 to below 1. \
         Old Tycoon files have values such as 10000.9: write 0.2 to set a fifth aside"
    )]
    Contingency {
        /// The resource.
        kind: ResourceKind,
        /// The contingency given.
        contingency: f64,
    },
}

impl Bid {
    /// Checks a bid for divisible resources.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn new(duration: TimeSpan, preferences: BTreeMap<ResourceKind, Preference>) -> Result<Self, BidError> {
        Self::with_unique(duration, preferences, BTreeMap::new())
    }

    /// Checks a bid for divisible and unique resources.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn with_unique(
        duration: TimeSpan,
        preferences: BTreeMap<ResourceKind, Preference>,
        unique: BTreeMap<UniqueWish, UniquePreference>,
    ) -> Result<Self, BidError> {
        if duration.is_zero() || duration > DURATION_MAX {
            return Err(BidError::Duration(duration));
        }
        if preferences.is_empty() && unique.is_empty() {
            return Err(BidError::NothingWanted);
        }
        for (&kind, preference) in &preferences {
            check_preference(kind, preference)?;
        }
        for (&wish, &UniquePreference { weight, .. }) in &unique {
            if !is_weight(weight) {
                return Err(BidError::UniqueWeight { wish, weight });
            }
        }
        if unique.len() > UNIQUE_MAX {
            return Err(BidError::TooManyUnique(unique.len()));
        }
        Ok(Self { duration, preferences, unique })
    }

    /// The time in which the funds are spent.
    pub const fn duration(&self) -> TimeSpan {
        self.duration
    }

    /// What is wanted of each resource.
    pub const fn preferences(&self) -> &BTreeMap<ResourceKind, Preference> {
        &self.preferences
    }

    /// The unique resources that are wanted.
    pub const fn unique(&self) -> &BTreeMap<UniqueWish, UniquePreference> {
        &self.unique
    }

    /// The part of the funds that is bid on a unique resource.
    pub fn unique_portion(&self, wish: UniqueWish) -> f64 {
        self.unique.get(&wish).map_or(0.0, |preference| preference.weight / self.weight_sum())
    }

    /// The part of the funds that is bid on `kind`: its weight over the sum of all weights.
    pub fn portion(&self, kind: ResourceKind) -> f64 {
        self.preferences.get(&kind).map_or(0.0, |preference| preference.weight / self.weight_sum())
    }

    /// The part of the funds that is set aside: Σ (w_r/Σw)·c_r, from 0 to below 1.
    pub fn contingency_ratio(&self) -> f64 {
        let sum = self.weight_sum();
        self.preferences.values().map(|preference| preference.weight / sum * preference.contingency).sum()
    }

    fn weight_sum(&self) -> f64 {
        let divisible: f64 = self.preferences.values().map(|preference| preference.weight).sum();
        divisible + self.unique.values().map(|preference| preference.weight).sum::<f64>()
    }
}

/// `contains` is false for NaN, so that it is refused like any other wrong number.
fn is_weight(weight: f64) -> bool {
    (1.0 / WEIGHT_MAX..=WEIGHT_MAX).contains(&weight)
}

fn check_preference(kind: ResourceKind, preference: &Preference) -> Result<(), BidError> {
    let Preference { weight, min, max, contingency } = *preference;
    if !is_weight(weight) {
        return Err(BidError::Weight { kind, weight });
    }
    for amount in [min, max] {
        if let Amount::Fraction(fraction) = amount
            && !(0.0..=1.0).contains(&fraction)
        {
            return Err(BidError::Fraction { kind, fraction });
        }
    }
    if min.always_exceeds(max) {
        return Err(BidError::MinAboveMax(kind));
    }
    if !(0.0..1.0).contains(&contingency) {
        return Err(BidError::Contingency { kind, contingency });
    }
    Ok(())
}

/// A bid as it comes in, before it is checked.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename = "Bid")]
struct UncheckedBid {
    duration: TimeSpan,
    #[serde(default)]
    preferences: BTreeMap<ResourceKind, Preference>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    unique: BTreeMap<UniqueWish, UniquePreference>,
}

impl TryFrom<UncheckedBid> for Bid {
    type Error = BidError;

    fn try_from(bid: UncheckedBid) -> Result<Self, BidError> {
        Self::with_unique(bid.duration, bid.preferences, bid.unique)
    }
}

impl From<Bid> for UncheckedBid {
    fn from(bid: Bid) -> Self {
        Self { duration: bid.duration, preferences: bid.preferences, unique: bid.unique }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: TimeSpan = TimeSpan::from_seconds(3600);

    fn cpu(preference: Preference) -> Result<Bid, BidError> {
        Bid::new(HOUR, BTreeMap::from([(ResourceKind::Cpu, preference)]))
    }

    #[test]
    fn a_fraction_is_of_the_host_s_capacity_and_rounded_down() {
        let capacity = Quantity::new(1_000_003);
        assert_eq!(Amount::Fraction(0.5).of(capacity), Quantity::new(500_001));
        assert_eq!(Amount::ALL.of(capacity), capacity);
        assert_eq!(Amount::Quantity(Quantity::new(7)).of(capacity), Quantity::new(7));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let good = Preference::new(1.0, Amount::Fraction(0.1), Amount::ALL);
        assert!(cpu(good).is_ok());
        for weight in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(matches!(cpu(Preference { weight, ..good }), Err(BidError::Weight { .. })), "{weight}");
        }
        for fraction in [-0.1, 1.1, f64::NAN] {
            let bid = cpu(Preference { min: Amount::Fraction(fraction), ..good });
            assert!(matches!(bid, Err(BidError::Fraction { .. })), "{fraction}");
        }
        for contingency in [-0.1, 1.0, 10000.9, f64::NAN] {
            assert!(matches!(cpu(Preference { contingency, ..good }), Err(BidError::Contingency { .. })));
        }
        let upside_down = Preference { max: Amount::Fraction(0.05), ..good };
        assert_eq!(cpu(upside_down), Err(BidError::MinAboveMax(ResourceKind::Cpu)));
        assert_eq!(Bid::new(HOUR, BTreeMap::new()), Err(BidError::NothingWanted));
        let never = Bid::new(TimeSpan::ZERO, BTreeMap::from([(ResourceKind::Cpu, good)]));
        assert_eq!(never, Err(BidError::Duration(TimeSpan::ZERO)));
    }

    #[test]
    fn json_is_checked_like_a_call() {
        let bid = cpu(Preference::new(1.0, Amount::Fraction(0.1), Amount::ALL)).unwrap();
        let json = serde_json::to_string(&bid).unwrap();
        assert_eq!(serde_json::from_str::<Bid>(&json).unwrap(), bid);
        let wrong = json.replace("\"weight\":1.0", "\"weight\":0");
        assert!(serde_json::from_str::<Bid>(&wrong).is_err(), "{wrong}");
    }

    #[test]
    fn the_contingency_ratio_is_weighted_by_resource() {
        let preferences = BTreeMap::from([
            (ResourceKind::Cpu, Preference { contingency: 0.2, ..Preference::new(3.0, Amount::ZERO, Amount::ALL) }),
            (ResourceKind::Memory, Preference::new(1.0, Amount::ZERO, Amount::ALL)),
        ]);
        let bid = Bid::new(HOUR, preferences).unwrap();
        assert!((bid.contingency_ratio() - 0.15).abs() < 1e-15);
        assert_eq!(bid.portion(ResourceKind::Cpu), 0.75);
        assert_eq!(bid.portion(ResourceKind::Disk), 0.0);
    }
}
