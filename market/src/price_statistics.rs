//! What the price of a resource was: the last hour, day and week.
//!
//! A window of length T forgets exponentially: after a time t the past counts e^(−t/T) of what it did (HPDC'06 has
//! 1 − 1/n for each of n samples of a window, which is the same for short steps). Mean, deviation, skewness and kurtosis
//! are kept as central moments, updated so that no digits are lost where the price hardly moves. Each window also has
//! a histogram with a fixed number of bins, whose range grows and shrinks with the price.
//!
//! Prices are floats here, in credits per second for one price unit: they are compared and predicted, never paid.

mod histogram;
mod history;
mod summary;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use self::histogram::{BINS, Histogram};
pub use self::history::{POINTS, PriceHistory};
pub use self::summary::{PriceSummary, SummaryError, WindowSummary};
use crate::{Rate, TimeSpan};

/// The windows over which prices are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Window {
    /// One hour.
    Hour,
    /// One day.
    Day,
    /// One week.
    Week,
}

impl Window {
    /// All windows, from the shortest.
    pub const ALL: [Self; 3] = [Self::Hour, Self::Day, Self::Week];

    /// How long it is.
    pub const fn span(self) -> TimeSpan {
        TimeSpan::from_seconds(match self {
            Self::Hour => 3_600,
            Self::Day => 86_400,
            Self::Week => 7 * 86_400,
        })
    }

    /// How long a point of its history is.
    pub const fn point(self) -> TimeSpan {
        TimeSpan::from_micros(self.span().micros() / POINTS as u64)
    }

    /// Its name.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
        }
    }
}

/// The price of one resource, now and over all windows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PriceStatistics {
    spot: f64,
    hour: WindowStatistics,
    day: WindowStatistics,
    week: WindowStatistics,
}

impl PriceStatistics {
    /// Notes that one price unit cost `price` for `span`.
    pub fn note(&mut self, price: Rate, span: TimeSpan) {
        // A rate counts pico-credits.
        self.spot = price.picos_per_second() as f64 / 1e12;
        if span.is_zero() {
            return;
        }
        for window in Window::ALL {
            let keep = decay(span.seconds_f64() / window.span().seconds_f64());
            let spot = self.spot;
            let statistics = self.window_mut(window);
            statistics.note(spot, keep);
            statistics.history.note(price, span, window.point());
        }
    }

    /// Lets `span` pass of which no price is known, as while a daemon was down: what was fades, and nothing comes in its
    /// place, so that what is noted next counts for more.
    pub fn gap(&mut self, span: TimeSpan) {
        for window in Window::ALL {
            let keep = decay(span.seconds_f64() / window.span().seconds_f64());
            self.window_mut(window).fade(keep);
        }
    }

    /// Takes in the prices of another resource, or of the same one elsewhere, as if both had been noted side by side,
    /// each for half of the time that it knows of.
    pub fn merge(&mut self, other: &Self) {
        self.spot = f64::midpoint(self.spot, other.spot);
        for window in Window::ALL {
            let theirs = other.window(window).clone();
            self.window_mut(window).merge(&theirs);
        }
    }

    /// The price that was noted last, in credits per second.
    pub const fn spot(&self) -> f64 {
        self.spot
    }

    /// The statistics of one window.
    pub const fn window(&self, window: Window) -> &WindowStatistics {
        match window {
            Window::Hour => &self.hour,
            Window::Day => &self.day,
            Window::Week => &self.week,
        }
    }

    fn window_mut(&mut self, window: Window) -> &mut WindowStatistics {
        match window {
            Window::Hour => &mut self.hour,
            Window::Day => &mut self.day,
            Window::Week => &mut self.week,
        }
    }
}

/// e^(−x) for x ≥ 0, made of divisions alone, so that every machine finds the same: the series of e^(x/256) up to the
/// fifth power, and that eight times squared.
fn decay(x: f64) -> f64 {
    let part = x / 256.0;
    let series = 1.0 + part * (1.0 + part / 2.0 * (1.0 + part / 3.0 * (1.0 + part / 4.0 * (1.0 + part / 5.0))));
    let mut factor = 1.0 / series;
    for _ in 0..8 {
        factor *= factor;
    }
    factor
}

/// Moments and histogram of the price in one window.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct WindowStatistics {
    /// How much of the window is filled, from 0 to 1.
    filled: f64,
    mean: f64,
    /// Central moments: the mean of (x − mean)², (x − mean)³ and (x − mean)⁴.
    second: f64,
    third: f64,
    fourth: f64,
    histogram: Histogram,
    /// What the mean price was, point by point.
    #[serde(default)]
    history: PriceHistory,
}

impl WindowStatistics {
    /// Notes `price`, where the past keeps the part `keep` of its weight.
    fn note(&mut self, price: f64, keep: f64) {
        let before = self.filled * keep;
        self.filled = before + (1.0 - keep);
        if self.filled <= 0.0 {
            return;
        }
        // Mixing the past (weight a) with one value (weight b = 1 − a), about their common mean.
        let (a, b) = (before / self.filled, (1.0 - keep) / self.filled);
        let d = price - self.mean;
        let (second, third) = (self.second, self.third);
        self.mean += b * d;
        self.second = a * (second + b * d * d);
        self.third = a * (third - 3.0 * b * d * second + b * (a - b) * d * d * d);
        self.fourth = a
            * (self.fourth - 4.0 * b * d * third
                + 6.0 * b * b * d * d * second
                + b * (a * a * a + b * b * b) * d * d * d * d);
        self.histogram.note(price, keep);
    }

    /// Lets the past fade to the part `keep` of its weight.
    fn fade(&mut self, keep: f64) {
        self.filled *= keep;
        self.histogram.fade(keep);
    }

    /// Mixes in another window, by how much each of them knows. The moments are those of both together (Chan, Golub and
    /// LeVeque's formulas with weights); of the history, which cannot be mixed, the own one is kept.
    fn merge(&mut self, other: &Self) {
        let both = self.filled + other.filled;
        if both <= 0.0 {
            return;
        }
        let (a, b) = (self.filled / both, other.filled / both);
        let d = other.mean - self.mean;
        let (second, third) = (self.second, self.third);
        self.mean += b * d;
        self.second = a * second + b * other.second + a * b * d * d;
        self.third =
            a * third + b * other.third + 3.0 * a * b * d * (other.second - second) + a * b * (a - b) * d * d * d;
        self.fourth = a * self.fourth
            + b * other.fourth
            + 4.0 * a * b * d * (other.third - third)
            + 6.0 * a * b * d * d * (a * other.second + b * second)
            + a * b * (a * a - a * b + b * b) * d * d * d * d;
        self.filled = both / 2.0;
        self.histogram.fade(0.5);
        self.histogram.merge(&other.histogram, 0.5);
    }

    /// How much of the window is filled, from 0 (nothing was noted) to 1.
    pub const fn filled(&self) -> f64 {
        self.filled
    }

    /// The mean price in credits per second.
    pub const fn mean(&self) -> f64 {
        self.mean
    }

    /// The standard deviation of the price in credits per second.
    pub fn deviation(&self) -> f64 {
        self.second.max(0.0).sqrt()
    }

    /// The skewness: 0 for a symmetric price, above where it has rare peaks.
    pub fn skewness(&self) -> f64 {
        self.standardised(self.third, 3)
    }

    /// The excess kurtosis: 0 as for a normal distribution, above where there are more extremes.
    pub fn excess_kurtosis(&self) -> f64 {
        if self.is_constant() { 0.0 } else { self.standardised(self.fourth, 4) - 3.0 }
    }

    /// What the mean price was, point by point.
    pub const fn history(&self) -> &PriceHistory {
        &self.history
    }

    /// The distribution of the price.
    pub const fn histogram(&self) -> &Histogram {
        &self.histogram
    }

    fn is_constant(&self) -> bool {
        self.deviation() <= self.mean.abs() * 1e-12
    }

    fn standardised(&self, moment: f64, power: i32) -> f64 {
        if self.is_constant() { 0.0 } else { moment / self.deviation().powi(power) }
    }
}
