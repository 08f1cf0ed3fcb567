//! Money: integer micro-credits, never a float.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Micro-credits in one credit.
pub const MICROS_PER_CREDIT: i64 = 1_000_000;

/// An amount of money in micro-credits.
///
/// Serialised as the integer number of micro-credits. A balance is never negative; differences may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Credits(i64);

impl Credits {
    /// No money.
    pub const ZERO: Self = Self(0);
    /// The largest amount that can be written: about 9.2 million million credits.
    pub const MAX: Self = Self(i64::MAX);

    /// The amount of `micros` micro-credits.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// A whole number of credits; `None` where it does not fit.
    pub const fn from_whole(credits: i64) -> Option<Self> {
        match credits.checked_mul(MICROS_PER_CREDIT) {
            Some(micros) => Some(Self(micros)),
            None => None,
        }
    }

    /// The number of micro-credits.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// The amount in credits as a float, for ratios and display only; never for accounting.
    pub fn as_f64(self) -> f64 {
        self.0 as f64 / MICROS_PER_CREDIT as f64
    }

    /// `self + other`, or `None` on overflow.
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(micros) => Some(Self(micros)),
            None => None,
        }
    }

    /// `self - other`, or `None` on overflow. The result may be negative.
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(micros) => Some(Self(micros)),
            None => None,
        }
    }

    /// `self - other`, but not below zero.
    pub fn saturating_sub_at_zero(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0).max(0))
    }

    /// The sum of many amounts, or `None` on overflow.
    pub fn checked_sum(amounts: impl IntoIterator<Item = Self>) -> Option<Self> {
        amounts.into_iter().try_fold(Self::ZERO, Self::checked_add)
    }

    /// True for amounts below zero.
    pub const fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// True for no money at all.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The amount rounded to `decimals` decimals (at most six), for people: `9.37`.
    /// An amount that is not zero never prints as zero: it prints as `<0.01`.
    pub fn rounded(self, decimals: u32) -> String {
        let decimals = decimals.min(6);
        let unit = 10_i128.pow(6 - decimals);
        let micros = i128::from(self.0);
        let rounded = (micros.abs() + unit / 2) / unit;
        let sign = if micros < 0 { "-" } else { "" };
        if rounded == 0 && micros != 0 {
            return format!("{sign}<{:.*}", decimals as usize, 10_f64.powi(-(decimals as i32)));
        }
        let scale = 10_i128.pow(decimals);
        if decimals == 0 {
            return format!("{sign}{rounded}");
        }
        format!("{sign}{}.{:0width$}", rounded / scale, rounded % scale, width = decimals as usize)
    }
}

impl fmt::Display for Credits {
    /// Exact, with two to six decimals: `10.00`, `0.000001`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.unsigned_abs();
        let whole = micros / MICROS_PER_CREDIT as u64;
        let mut decimals = format!("{:06}", micros % MICROS_PER_CREDIT as u64);
        while decimals.len() > 2 && decimals.ends_with('0') {
            decimals.pop();
        }
        let sign = if self.0 < 0 { "-" } else { "" };
        f.pad(&format!("{sign}{whole}.{decimals}"))
    }
}

/// Why a text is not an amount of credits.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CreditsError {
    /// Not a decimal number.
    #[error("`{0}` is not an amount of credits; write a decimal number such as `10` or `0.25`")]
    NotANumber(String),
    /// More than six decimals.
    #[error("`{0}` has more than six decimals; the smallest amount is 0.000001 credits")]
    TooFine(String),
    /// Too large for the ledger.
    #[error("`{0}` is more than the ledger can hold (about 9.2 million million credits)")]
    TooLarge(String),
}

impl FromStr for Credits {
    type Err = CreditsError;

    /// Reads a decimal number: `10`, `0.25`, `-3.5`, `1_000`.
    fn from_str(text: &str) -> Result<Self, CreditsError> {
        let not_a_number = || CreditsError::NotANumber(text.to_owned());
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (whole, decimals) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        let is_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit() || b == b'_');
        let starts_with_digit = whole.starts_with(|c: char| c.is_ascii_digit());
        let dangling_point = unsigned.ends_with('.');
        if !starts_with_digit || dangling_point || !is_digits(whole) || !is_digits(decimals) {
            return Err(not_a_number());
        }
        let decimals = decimals.replace('_', "");
        let decimals = decimals.trim_end_matches('0');
        if decimals.len() > 6 {
            return Err(CreditsError::TooFine(text.to_owned()));
        }
        let digits = format!("{}{decimals:0<6}", whole.replace('_', ""));
        let micros: i64 = digits.parse().map_err(|_| CreditsError::TooLarge(text.to_owned()))?;
        Ok(Self(if negative { -micros } else { micros }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_prints_exactly_and_reads_back() {
        for (micros, text) in [
            (0, "0.00"),
            (1, "0.000001"),
            (10_000_000, "10.00"),
            (1_250_000, "1.25"),
            (-3_500_000, "-3.50"),
            (i64::MAX, "9223372036854.775807"),
        ] {
            let credits = Credits::from_micros(micros);
            assert_eq!(credits.to_string(), text);
            assert_eq!(text.parse(), Ok(credits));
        }
    }

    #[test]
    fn what_is_not_an_amount_is_refused_with_its_text() {
        for text in ["", "ten", "1e3", ".5", "5.", "--1", "1.2.3", "NaN", "inf", "0x10", "_1"] {
            assert_eq!(text.parse::<Credits>(), Err(CreditsError::NotANumber(text.to_owned())));
        }
        assert_eq!("0.0000001".parse::<Credits>(), Err(CreditsError::TooFine("0.0000001".into())));
        assert_eq!("9223372036855".parse::<Credits>(), Err(CreditsError::TooLarge("9223372036855".into())));
        assert_eq!("1_000.500000000".parse(), Ok(Credits::from_micros(1_000_500_000)));
    }

    #[test]
    fn rounding_never_shows_some_money_as_none() {
        assert_eq!(Credits::from_micros(9_374_999).rounded(2), "9.37");
        assert_eq!(Credits::from_micros(9_375_000).rounded(2), "9.38");
        assert_eq!(Credits::from_micros(12).rounded(2), "<0.01");
        assert_eq!(Credits::ZERO.rounded(2), "0.00");
        assert_eq!(Credits::from_micros(-1_500_000).rounded(0), "-2");
    }
}
