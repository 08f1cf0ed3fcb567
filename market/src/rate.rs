//! Rates of payment: credits per time.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Credits, TimeSpan};

/// Pico-credits in one micro-credit.
const PICOS_PER_MICRO: i128 = 1_000_000;
/// Microseconds in one second.
const MICROS_PER_SECOND: i128 = 1_000_000;

/// A rate of payment in pico-credits (10⁻¹² credits) per second, never negative.
///
/// One credit a year is 3.17e-8 credits per second, that is 31 710 pico-credits per second: fine enough that
/// no bid of interest rounds to nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rate(u64);

impl Rate {
    /// Nothing per second.
    pub const ZERO: Self = Self(0);

    /// A rate of `picos` pico-credits per second.
    pub const fn from_picos_per_second(picos: u64) -> Self {
        Self(picos)
    }

    /// The rate in pico-credits per second.
    pub const fn picos_per_second(self) -> u64 {
        self.0
    }

    /// The rate that spends `credits` in `span`, rounded down; `None` for an empty span, negative credits or a
    /// rate of more than 18 million credits per second.
    pub fn of(credits: Credits, span: TimeSpan) -> Option<Self> {
        if span.is_zero() || credits.is_negative() {
            return None;
        }
        let picos = i128::from(credits.micros()) * PICOS_PER_MICRO * MICROS_PER_SECOND / i128::from(span.micros());
        u64::try_from(picos).ok().map(Self)
    }

    /// The rate from credits per hour, for constants and tests. Negative and not-a-number give zero.
    pub fn from_credits_per_hour(credits: f64) -> Self {
        Self((credits * 1e12 / 3600.0).round().max(0.0) as u64)
    }

    /// Credits per hour as a float, for display and planning only.
    pub fn credits_per_hour(self) -> f64 {
        self.0 as f64 * 3600.0 / 1e12
    }

    /// What this rate costs in `span`: whole micro-credits, and the remainder in units of 10⁻¹⁸ credits
    /// (pico-credits × microseconds) that an exact account carries to its next charge.
    pub fn charge(self, span: TimeSpan, carried: u64) -> (Credits, u64) {
        const UNITS_PER_MICRO_CREDIT: i128 = PICOS_PER_MICRO * MICROS_PER_SECOND;
        let total = i128::from(self.0) * i128::from(span.micros()) + i128::from(carried);
        let micros = i64::try_from(total / UNITS_PER_MICRO_CREDIT).unwrap_or(i64::MAX);
        (Credits::from_micros(micros), (total % UNITS_PER_MICRO_CREDIT) as u64)
    }

    /// `self + other`, or `None` on overflow.
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(picos) => Some(Self(picos)),
            None => None,
        }
    }
}

impl fmt::Display for Rate {
    /// Credits per hour with four decimals: `2.5000/h`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:.4}/h", self.credits_per_hour()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charges_in_pieces_equal_one_charge_for_the_whole_time() {
        let rate = Rate::of(Credits::from_micros(10_000_000), TimeSpan::from_seconds(3600)).unwrap();
        let (whole, _) = rate.charge(TimeSpan::from_seconds(3600), 0);
        let (mut pieces, mut carried) = (Credits::ZERO, 0);
        for _ in 0..360 {
            let (charge, rest) = rate.charge(TimeSpan::from_seconds(10), carried);
            pieces = pieces.checked_add(charge).unwrap();
            carried = rest;
        }
        assert_eq!(pieces, whole);
        assert_eq!(whole, Credits::from_micros(9_999_999), "the rate is rounded down, so a micro-credit stays");
    }

    #[test]
    fn a_rate_needs_a_time_and_money() {
        assert_eq!(Rate::of(Credits::from_micros(1), TimeSpan::ZERO), None);
        assert_eq!(Rate::of(Credits::from_micros(-1), TimeSpan::from_seconds(1)), None);
        assert_eq!(Rate::of(Credits::MAX, TimeSpan::from_micros(1)), None, "overflow is refused");
    }
}
