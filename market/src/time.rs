//! Points and spans of time, in microseconds. Nothing here reads a clock.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A point in time: microseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The point `micros` microseconds after the Unix epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// The point `seconds` seconds after the Unix epoch, at most the largest that can be written.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000))
    }

    /// Microseconds since the Unix epoch.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// The time from `earlier` to `self`; a clock that went back counts as no time.
    pub const fn since(self, earlier: Self) -> TimeSpan {
        let micros = self.0.saturating_sub(earlier.0);
        TimeSpan(if micros > 0 { micros as u64 } else { 0 })
    }

    /// The point `span` later, at most the largest that can be written.
    pub const fn plus(self, span: TimeSpan) -> Self {
        let micros = if span.0 > i64::MAX as u64 { i64::MAX } else { span.0 as i64 };
        Self(self.0.saturating_add(micros))
    }
}

/// A length of time in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TimeSpan(u64);

impl TimeSpan {
    /// No time.
    pub const ZERO: Self = Self(0);

    /// A span of `micros` microseconds.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// A span of `seconds` seconds, at most the largest that can be written.
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1_000_000))
    }

    /// The span in microseconds.
    pub const fn micros(self) -> u64 {
        self.0
    }

    /// The span in seconds as a float, for ratios and display only.
    pub fn seconds_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// True for no time at all.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The shorter of two spans.
    pub fn min(self, other: Self) -> Self {
        Self(self.0.min(other.0))
    }

    /// `self - other`, but not below zero.
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for TimeSpan {
    /// At most two units, rounded down: `1h`, `2h 5m`, `59s`, `0.25s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];
        let seconds = self.0 / 1_000_000;
        if seconds == 0 && self.0 > 0 {
            return f.pad(&format!("{}s", self.seconds_f64()));
        }
        let first = UNITS.iter().position(|(_, size)| seconds >= *size).unwrap_or(UNITS.len() - 1);
        let (unit, size) = UNITS[first];
        let mut text = format!("{}{unit}", seconds / size);
        if let Some((next_unit, next_size)) = UNITS.get(first + 1) {
            let rest = seconds % size / next_size;
            if rest > 0 {
                text.push_str(&format!(" {rest}{next_unit}"));
            }
        }
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_goes_back_counts_as_no_time() {
        let (early, late) = (Timestamp::from_seconds(10), Timestamp::from_seconds(12));
        assert_eq!(late.since(early), TimeSpan::from_seconds(2));
        assert_eq!(early.since(late), TimeSpan::ZERO);
    }

    #[test]
    fn spans_print_in_at_most_two_units() {
        for (micros, text) in [
            (0, "0s"),
            (250_000, "0.25s"),
            (59_000_000, "59s"),
            (3_600_000_000, "1h"),
            (7_500_000_000, "2h 5m"),
            (90_061_000_000, "1d 1h"),
        ] {
            assert_eq!(TimeSpan::from_micros(micros).to_string(), text);
        }
    }
}
