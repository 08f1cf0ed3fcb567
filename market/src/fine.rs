//! Amounts finer than a micro-credit, so that charging in many small steps equals charging in one.

use serde::{Deserialize, Serialize};

use crate::Credits;

/// Units of [`FineCredits`] in one micro-credit.
const PER_MICRO_CREDIT: u128 = 1_000_000_000_000_000_000;

/// Money in units of 10⁻²⁴ credits: pico-credits per second × microseconds × parts per million.
///
/// Everything a rate, a time and a degree of use can cost is a whole number of these, so nothing is ever rounded
/// between one charge and the next. All operations saturate: the largest [`Credits`] is far below the limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct FineCredits(#[serde(with = "decimal")] u128);

impl FineCredits {
    pub(crate) const ZERO: Self = Self(0);

    pub(crate) const fn new(units: u128) -> Self {
        Self(units)
    }

    /// The same amount; a negative one is none.
    pub(crate) fn from_credits(credits: Credits) -> Self {
        Self(u128::try_from(credits.micros()).unwrap_or(0) * PER_MICRO_CREDIT)
    }

    /// The whole micro-credits in this amount.
    pub(crate) fn whole(self) -> Credits {
        Credits::from_micros(i64::try_from(self.0 / PER_MICRO_CREDIT).unwrap_or(i64::MAX))
    }

    pub(crate) const fn units(self) -> u128 {
        self.0
    }

    pub(crate) const fn is_zero(self) -> bool {
        self.0 == 0
    }

    pub(crate) const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// `self - other`, but not below zero.
    pub(crate) const fn less(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

/// Serialises a `u128` as a decimal text, which every format can hold.
pub(crate) mod decimal {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(crate) fn serialize<S: Serializer>(number: &u128, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(number)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u128, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|_| D::Error::custom(format!("`{text}` is not a whole number")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fine_amounts_hold_all_credits_exactly() {
        assert_eq!(FineCredits::from_credits(Credits::MAX).whole(), Credits::MAX);
        let half = FineCredits::new(PER_MICRO_CREDIT / 2);
        assert_eq!(half.whole(), Credits::ZERO);
        assert_eq!(half.plus(half).whole(), Credits::from_micros(1));
        assert_eq!(serde_json::to_string(&half).unwrap(), "\"500000000000000000\"");
        assert_eq!(serde_json::from_str::<FineCredits>("\"500000000000000000\"").unwrap(), half);
    }
}
