//! Price statistics as hosts publish them: whole numbers, few, and bounded.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{BINS, Histogram, POINTS, PriceStatistics, Window, WindowStatistics};
use crate::Rate;

/// The parts into which the weight of a histogram is divided.
const PARTS: f64 = 10_000.0;
/// The parts in a whole window.
const PPM: u32 = 1_000_000;

/// The price of one price unit of a resource, as its host publishes it: about a kilobyte of JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PriceSummary {
    /// What one price unit costs now.
    pub spot: Rate,
    /// The last hour.
    pub hour: WindowSummary,
    /// The last day.
    pub day: WindowSummary,
    /// The last week.
    pub week: WindowSummary,
}

/// The price in one window.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct WindowSummary {
    /// How much of the window is known, in parts per million.
    pub filled_ppm: u32,
    /// The mean price of one price unit.
    pub mean: Rate,
    /// Its standard deviation.
    pub deviation: Rate,
    /// Its skewness, in thousandths.
    pub skewness_milli: i64,
    /// Its excess kurtosis, in thousandths.
    pub excess_kurtosis_milli: i64,
    /// The upper end of the histogram, which begins at zero; zero where there is no histogram.
    #[serde(skip_serializing_if = "is_zero")]
    pub top: Rate,
    /// The weights of the histogram's bins of equal width, in ten-thousandths; those of zero at the end are left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bins: Vec<u16>,
    /// The mean prices of up to 24 equal parts of the window, the oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Rate>,
}

fn is_zero(rate: &Rate) -> bool {
    *rate == Rate::ZERO
}

/// What is wrong with published price statistics.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SummaryError {
    /// More than a whole window is known.
    #[error("{0} parts per million of the {window} are known; there are 1000000", window = .1.word())]
    Filled(u32, Window),
    /// Too many bins.
    #[error("the histogram of the {window} has {0} bins; at most {BINS} are accepted", window = .1.word())]
    Bins(usize, Window),
    /// Bins without a range.
    #[error("the histogram of the {window} has no upper end", window = .0.word())]
    NoTop(Window),
    /// Too many points.
    #[error("the history of the {window} has {0} points; at most {POINTS} are accepted", window = .1.word())]
    Points(usize, Window),
}

impl PriceSummary {
    /// What is published of `statistics`.
    pub fn of(statistics: &PriceStatistics) -> Self {
        let window = |window| WindowSummary::of(statistics.window(window));
        Self {
            spot: rate(statistics.spot()),
            hour: window(Window::Hour),
            day: window(Window::Day),
            week: window(Window::Week),
        }
    }

    /// One of the windows.
    pub const fn window(&self, window: Window) -> &WindowSummary {
        match window {
            Window::Hour => &self.hour,
            Window::Day => &self.day,
            Window::Week => &self.week,
        }
    }

    /// Leaves out histograms and histories, which are the most of it.
    pub fn strip(&mut self) {
        for window in [&mut self.hour, &mut self.day, &mut self.week] {
            window.top = Rate::ZERO;
            window.bins.clear();
            window.history.clear();
        }
    }

    /// That it is within its bounds.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), SummaryError> {
        Window::ALL.into_iter().try_for_each(|window| self.window(window).check(window))
    }
}

impl WindowSummary {
    fn of(window: &WindowStatistics) -> Self {
        let histogram = window.histogram();
        let top = rate(histogram.width() * BINS as f64);
        let weight = histogram.weight();
        let mut bins: Vec<u16> = if top == Rate::ZERO || weight <= 0.0 {
            Vec::new()
        } else {
            // A part of at most 10000 fits.
            histogram.bins().iter().map(|bin| (bin / weight * PARTS).round().clamp(0.0, PARTS) as u16).collect()
        };
        while bins.last() == Some(&0) {
            bins.pop();
        }
        let milli = |value: f64| (value * 1000.0).round().clamp(-1e15, 1e15) as i64;
        Self {
            filled_ppm: (window.filled() * f64::from(PPM)).round().clamp(0.0, f64::from(PPM)) as u32,
            mean: rate(window.mean()),
            deviation: rate(window.deviation()),
            skewness_milli: milli(window.skewness()),
            excess_kurtosis_milli: milli(window.excess_kurtosis()),
            top: if bins.is_empty() { Rate::ZERO } else { top },
            bins,
            history: window.history().points(),
        }
    }

    /// The histogram, in credits per second; `None` where none is published.
    pub fn histogram(&self) -> Option<Histogram> {
        let is_empty = self.bins.iter().all(|bin| *bin == 0);
        (!is_empty && self.top > Rate::ZERO).then(|| {
            let top = credits_per_second(self.top);
            Histogram::of_bins(top, self.bins.iter().map(|bin| f64::from(*bin) / PARTS))
        })
    }

    fn check(&self, window: Window) -> Result<(), SummaryError> {
        if self.filled_ppm > PPM {
            return Err(SummaryError::Filled(self.filled_ppm, window));
        }
        if self.bins.len() > BINS {
            return Err(SummaryError::Bins(self.bins.len(), window));
        }
        if !self.bins.is_empty() && self.top == Rate::ZERO {
            return Err(SummaryError::NoTop(window));
        }
        if self.history.len() > POINTS {
            return Err(SummaryError::Points(self.history.len(), window));
        }
        Ok(())
    }
}

fn rate(credits_per_second: f64) -> Rate {
    // Casts of floats saturate.
    Rate::from_picos_per_second((credits_per_second * 1e12).round().max(0.0) as u64)
}

fn credits_per_second(rate: Rate) -> f64 {
    rate.picos_per_second() as f64 / 1e12
}
