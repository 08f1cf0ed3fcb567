//! A distribution with a fixed number of bins, whose range follows what is noted.

use serde::{Deserialize, Serialize};

/// Bins of a histogram.
pub const BINS: usize = 32;
/// The part of the weight above half of the range below which the range shrinks.
const SHRINK_BELOW: f64 = 1e-3;

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
    pub(super) fn note(&mut self, price: f64, keep: f64) {
        // A histogram that was read may have another number of bins.
        self.bins.resize(BINS, 0.0);
        self.fade(keep);
        self.add(price, 1.0 - keep);
    }

    /// Lets what was noted fade, where nothing is known of the time that passed.
    pub(super) fn fade(&mut self, keep: f64) {
        for bin in &mut self.bins {
            *bin *= keep;
        }
    }

    /// Adds the weight of a price, and follows it with the range.
    fn add(&mut self, price: f64, weight: f64) {
        if self.width == 0.0 && price > 0.0 {
            // The first price lies in the middle of the range. What was noted before was zero and stays in the first bin.
            self.width = price * 2.0 / BINS as f64;
        }
        while self.width > 0.0 && price >= self.width * BINS as f64 {
            self.widen();
        }
        let index = if self.width > 0.0 { (price / self.width) as usize } else { 0 };
        self.bins[index.min(BINS - 1)] += weight;
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

    /// Bins from zero up to `top`, with these weights, as they come from elsewhere: not negative, [`BINS`] at most.
    pub(crate) fn of_bins(top: f64, weights: impl IntoIterator<Item = f64>) -> Self {
        let mut bins: Vec<f64> = weights.into_iter().take(BINS).collect();
        bins.resize(BINS, 0.0);
        Self { width: top / BINS as f64, bins }
    }

    /// Takes in the weights of another histogram times `part`. Where the ranges differ, each of its bins comes in as its
    /// middle, so that quantiles are off by a bin of the wider one at most.
    pub(super) fn merge(&mut self, other: &Self, part: f64) {
        for (index, bin) in other.bins.iter().enumerate().filter(|(_, bin)| **bin > 0.0) {
            self.add(other.width * (index as f64 + 0.5), bin * part);
        }
    }

    /// The distribution of the price times `factor`.
    pub fn scaled(&self, factor: f64) -> Self {
        Self { width: self.width * factor, bins: self.bins.clone() }
    }

    pub(super) fn weight(&self) -> f64 {
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
