//! What the price of a resource was: the last hour, day and week.
//!
//! A window of length T forgets exponentially: after a time t the past counts e^(−t/T) of what it did (HPDC'06 has
//! 1 − 1/n for each of n samples of a window, which is the same for short steps). Mean, deviation, skewness and kurtosis
//! are kept as central moments, updated so that no digits are lost where the price hardly moves. Each window also has
//! a histogram with a fixed number of bins, whose range grows and shrinks with the price.
//!
//! Prices are floats here, in credits per second for one price unit: they are compared and predicted, never paid.

use serde::{Deserialize, Serialize};

use crate::{Rate, TimeSpan};

/// Bins of a histogram.
pub const BINS: usize = 32;
/// The part of the weight above half of the range below which the range shrinks.
const SHRINK_BELOW: f64 = 1e-3;

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
            self.window_mut(window).note(spot, keep);
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

/// A distribution of prices in bins of equal width from zero up, whose range follows the price.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Histogram {
    /// The width of a bin; 0 as long as no price above zero was noted.
    width: f64,
    /// The weight of each bin.
    bins: Vec<f64>,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { width: 0.0, bins: vec![0.0; BINS] }
    }
}

impl Histogram {
    fn note(&mut self, price: f64, keep: f64) {
        // A histogram that was read may have another number of bins.
        self.bins.resize(BINS, 0.0);
        for bin in &mut self.bins {
            *bin *= keep;
        }
        if self.width == 0.0 && price > 0.0 {
            // The first price lies in the middle of the range. What was noted before was zero and stays in the first bin.
            self.width = price * 2.0 / BINS as f64;
        }
        while self.width > 0.0 && price >= self.width * BINS as f64 {
            self.widen();
        }
        let index = if self.width > 0.0 { (price / self.width) as usize } else { 0 };
        self.bins[index.min(BINS - 1)] += 1.0 - keep;
        while self.is_too_wide(price) {
            self.narrow();
        }
    }

    /// Doubles the range: two bins become one.
    fn widen(&mut self) {
        let merged: Vec<f64> = self.bins.chunks(2).map(|pair| pair.iter().sum()).collect();
        self.bins.fill(0.0);
        self.bins[..merged.len()].copy_from_slice(&merged);
        self.width *= 2.0;
    }

    fn is_too_wide(&self, price: f64) -> bool {
        let above: f64 = self.bins[BINS / 2..].iter().sum();
        let fits = price < self.width * (BINS / 2) as f64;
        fits && price > 0.0 && above <= SHRINK_BELOW * self.weight()
    }

    /// Halves the range: a bin becomes two, each with half of its weight. The little that is above goes into the last.
    fn narrow(&mut self) {
        let above: f64 = self.bins[BINS / 2..].iter().sum();
        let halves: Vec<f64> = self.bins[..BINS / 2].iter().flat_map(|weight| [weight / 2.0, weight / 2.0]).collect();
        self.bins = halves;
        self.bins[BINS - 1] += above;
        self.width /= 2.0;
    }

    /// The distribution of the price times `factor`.
    pub fn scaled(&self, factor: f64) -> Self {
        Self { width: self.width * factor, bins: self.bins.clone() }
    }

    fn weight(&self) -> f64 {
        self.bins.iter().sum()
    }

    /// The width of a bin in credits per second.
    pub const fn width(&self) -> f64 {
        self.width
    }

    /// The weights of the bins, which begin at zero.
    pub fn bins(&self) -> &[f64] {
        &self.bins
    }

    /// The probability that the price is at most `price`, evenly spread within a bin.
    pub fn probability(&self, price: f64) -> f64 {
        let weight = self.weight();
        if weight <= 0.0 || price.is_nan() || price < 0.0 {
            return 0.0;
        }
        if self.width == 0.0 {
            return 1.0;
        }
        let position = price / self.width;
        let whole = (position as usize).min(self.bins.len());
        let below: f64 = self.bins[..whole].iter().sum();
        let part = self.bins.get(whole).map_or(0.0, |bin| bin * (position - whole as f64));
        ((below + part) / weight).min(1.0)
    }

    /// The price that is not exceeded with `probability`: the inverse of [`Histogram::probability`].
    pub fn quantile(&self, probability: f64) -> f64 {
        let target = probability.clamp(0.0, 1.0) * self.weight();
        let mut below = 0.0;
        for (index, bin) in self.bins.iter().enumerate() {
            if *bin > 0.0 && below + bin >= target {
                return self.width * (index as f64 + ((target - below) / bin).clamp(0.0, 1.0));
            }
            below += bin;
        }
        let last = self.bins.iter().rposition(|bin| *bin > 0.0).map_or(0, |index| index + 1);
        self.width * last as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STEP: TimeSpan = TimeSpan::from_seconds(10);

    fn close(one: f64, two: f64, tolerance: f64) -> bool {
        (one - two).abs() <= tolerance * one.abs().max(two.abs()).max(1e-9)
    }

    fn credits_per_second(price: f64) -> Rate {
        Rate::from_picos_per_second((price * 1e12) as u64)
    }

    #[test]
    fn the_past_fades_as_e_to_the_minus_time() {
        for x in [0.0_f64, 1e-6, 0.003, 0.1, 1.0, 5.0] {
            assert!(close(decay(x), (-x).exp(), 1e-9), "{x}: {} {}", decay(x), (-x).exp());
        }
        assert!(decay(50.0) < 1e-9 && decay(1e12) == 0.0 && decay(f64::MAX) == 0.0);
    }

    #[test]
    fn a_constant_price_has_itself_as_mean_and_no_deviation() {
        let mut statistics = PriceStatistics::default();
        for _ in 0..100 {
            statistics.note(credits_per_second(0.25), STEP);
        }
        for window in Window::ALL {
            let window = statistics.window(window);
            assert!(close(window.mean(), 0.25, 1e-12));
            assert_eq!((window.deviation(), window.skewness(), window.excess_kurtosis()), (0.0, 0.0, 0.0));
        }
        assert!(close(statistics.window(Window::Hour).filled(), 1.0 - (-1000.0_f64 / 3600.0).exp(), 1e-6));
        assert_eq!(statistics.spot(), 0.25);
    }

    #[test]
    fn an_old_price_is_forgotten_by_the_short_window_first() {
        let mut statistics = PriceStatistics::default();
        for (price, hours) in [(1.0, 168), (2.0, 3)] {
            for _ in 0..hours * 360 {
                statistics.note(credits_per_second(price), STEP);
            }
        }
        let mean = |window| statistics.window(window).mean();
        assert!(close(mean(Window::Hour), 2.0 - (-3.0_f64).exp(), 1e-3));
        assert!(close(mean(Window::Day), 2.0 - (-3.0_f64 / 24.0).exp(), 1e-2));
        assert!(mean(Window::Week) < 1.05);
    }

    /// The moments are those of the weighted samples, computed here the plain way.
    #[test]
    fn moments_are_those_of_the_weighted_past() {
        let prices: Vec<f64> =
            (0..500).map(|index| if index % 12 == 0 { 4.0 } else { 1.0 + (index % 7) as f64 / 10.0 }).collect();
        let mut window = WindowStatistics::default();
        let keep = 0.99;
        for price in &prices {
            window.note(*price, keep);
        }
        let weights: Vec<f64> = (0..500).map(|index| keep.powi(499 - index)).collect();
        let sum: f64 = weights.iter().sum();
        let mean = prices.iter().zip(&weights).map(|(price, weight)| price * weight).sum::<f64>() / sum;
        let central = |power| {
            prices.iter().zip(&weights).map(|(price, weight)| (price - mean).powi(power) * weight).sum::<f64>() / sum
        };
        let deviation = central(2).sqrt();
        assert!(close(window.mean(), mean, 1e-12));
        assert!(close(window.deviation(), deviation, 1e-12));
        assert!(close(window.skewness(), central(3) / deviation.powi(3), 1e-9));
        assert!(close(window.excess_kurtosis(), central(4) / deviation.powi(4) - 3.0, 1e-9));
        assert!(window.skewness() > 1.0, "rare peaks");
    }

    #[test]
    fn the_histogram_follows_the_price_over_magnitudes() {
        let mut histogram = Histogram::default();
        for price in [1e-9, 1e-3, 5.0] {
            for _ in 0..2000 {
                histogram.note(price, 0.98);
            }
            assert!(histogram.width() * BINS as f64 > price);
            assert!(histogram.width() < price, "the price has a bin of its own: {} for {price}", histogram.width());
            assert!(close(histogram.quantile(0.5), price, 0.1), "{} for {price}", histogram.quantile(0.5));
        }
        for _ in 0..2000 {
            histogram.note(1e-4, 0.98);
        }
        assert!(histogram.width() < 1e-4, "it narrows again: {}", histogram.width());
    }

    #[test]
    fn a_price_of_zero_is_a_price() {
        let mut histogram = Histogram::default();
        histogram.note(0.0, 0.5);
        assert_eq!((histogram.quantile(0.9), histogram.probability(0.0)), (0.0, 1.0));
        histogram.note(8.0, 0.5);
        assert!(histogram.probability(1.0) > 0.3);
    }

    proptest! {
        #[test]
        fn nothing_breaks_the_statistics(notes in prop::collection::vec((any::<u64>(), 0_u64..10_000_000_000_000), 1..50)) {
            let mut statistics = PriceStatistics::default();
            for (picos, micros) in notes {
                statistics.note(Rate::from_picos_per_second(picos), TimeSpan::from_micros(micros));
            }
            for window in Window::ALL.map(|window| statistics.window(window)) {
                for number in [window.mean(), window.deviation(), window.skewness(), window.excess_kurtosis()] {
                    prop_assert!(number.is_finite());
                }
                prop_assert!(window.mean() >= 0.0 && (0.0..=1.0 + 1e-9).contains(&window.filled()));
                prop_assert!(window.histogram().bins().iter().all(|bin| bin.is_finite() && *bin >= 0.0));
                prop_assert!(window.histogram().quantile(0.99) >= window.histogram().quantile(0.5));
            }
            let json = serde_json::to_string(&statistics).unwrap();
            prop_assert_eq!(serde_json::from_str::<PriceStatistics>(&json).unwrap(), statistics);
        }

        #[test]
        fn quantile_and_probability_are_inverse(
            prices in prop::collection::vec(0.001..10.0_f64, 1..60),
            probability in 0.001..0.999_f64,
        ) {
            let mut histogram = Histogram::default();
            for price in prices {
                histogram.note(price, 0.9);
            }
            let back = histogram.probability(histogram.quantile(probability));
            prop_assert!((back - probability).abs() < 1e-6, "{back} for {probability}");
        }
    }
}
