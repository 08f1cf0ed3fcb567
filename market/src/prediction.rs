//! What a performance will cost, and how surely: from the published statistics of prices.
//!
//! A bid is placed against a price y that will move. Instead of the mean one plans with the price ŷ_p that is not
//! exceeded with probability p: the *cushion* (HPDC'06, HPDC'07). With F the distribution of the price of a host of
//! capacity c, a bid of X gets a performance of at least c·X/(X + F⁻¹(p)) with probability p; the other two questions,
//! what to bid and how sure it is, are its inverses. For many hosts the best response takes the place of the formula.
//!
//! The models differ in what they take for granted of the price. Cantelli's takes nothing for granted but mean and
//! deviation and never promises too much; prices come in bursts, for which the normal model does. The cushion is for
//! planning only: what is paid is what is bid.

mod joint;
mod normal;
mod shape;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::best_response::{self, BestResponseError, HostOffer, Problem};
use crate::price_statistics::{BINS, Histogram, WindowStatistics, WindowSummary};

pub use self::joint::{JointPrediction, SAMPLES};
use self::shape::Shape;

/// How the distribution of a price is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PriceModel {
    /// A normal distribution with the mean and deviation. Promises too much where prices have peaks.
    Normal,
    /// The distribution that assumes least, given a mean alone and that prices are not negative: exponential.
    MaximumEntropyOfMean,
    /// The distribution that assumes least, given mean and deviation and that prices are not negative: a normal one cut
    /// off at zero; exponential where the deviation reaches the mean.
    MaximumEntropy,
    /// The distribution that assumes least, given mean, deviation and skewness, on the prices from zero to ten deviations
    /// above the mean; found numerically.
    MaximumEntropyOfThree,
    /// The same, given the kurtosis too: it knows of peaks. Where the skewness is not known it is that of two moments.
    MaximumEntropyOfFour,
    /// Cantelli's bound: true for every distribution with the mean and deviation.
    Cantelli,
    /// The histogram of what the prices were.
    Empirical,
}

impl PriceModel {
    /// All models.
    pub const ALL: [Self; 7] = [
        Self::Normal,
        Self::MaximumEntropyOfMean,
        Self::MaximumEntropy,
        Self::MaximumEntropyOfThree,
        Self::MaximumEntropyOfFour,
        Self::Cantelli,
        Self::Empirical,
    ];

    /// Its name: `normal`, `maximum-entropy`, `maximum-entropy-of-four` …
    pub const fn word(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::MaximumEntropyOfMean => "maximum-entropy-of-mean",
            Self::MaximumEntropy => "maximum-entropy",
            Self::MaximumEntropyOfThree => "maximum-entropy-of-three",
            Self::MaximumEntropyOfFour => "maximum-entropy-of-four",
            Self::Cantelli => "cantelli",
            Self::Empirical => "empirical",
        }
    }
}

/// What is known of a price to come.
#[derive(Clone, Debug, PartialEq)]
pub struct PriceForecast {
    mean: f64,
    deviation: f64,
    skewness: Option<f64>,
    excess_kurtosis: Option<f64>,
    histogram: Option<Histogram>,
}

/// Why there is no prediction.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum PredictionError {
    /// Not a probability.
    #[error("{0} is not a probability; it must be at least 0 and below 1, for nothing is certain")]
    Probability(f64),
    /// Not an amount.
    #[error("the {what} is {value}; it must be a number and not negative")]
    Number {
        /// Which number.
        what: &'static str,
        /// The number given.
        value: f64,
    },
    /// Not a number.
    #[error("the {what} is {value}; it must be a number")]
    Shape {
        /// Which number.
        what: &'static str,
        /// The number given.
        value: f64,
    },
    /// Bins that are no histogram.
    #[error("{0} bins are no histogram; give 1 to {BINS} of them, not all without weight, and a top above 0")]
    Bins(usize),
    /// More than the host has.
    #[error("a performance of {performance} is all or more than the host's capacity of {capacity}")]
    BeyondCapacity {
        /// What was asked for.
        performance: f64,
        /// What there is.
        capacity: f64,
    },
    /// Nothing is known of past prices.
    #[error("there is no history of prices for the empirical model; take another, or wait")]
    NoHistory,
    /// More hosts than prices can be drawn for.
    #[error("there are {hosts} hosts; independent prices are drawn for {most} at most, so name fewer")]
    TooManyHosts {
        /// How many there are.
        hosts: usize,
        /// How many there may be.
        most: usize,
    },
    /// The hosts have no best response.
    #[error(transparent)]
    BestResponse(#[from] BestResponseError),
}

impl PriceForecast {
    /// A price with this mean and deviation.
    ///
    /// # Errors
    /// Numbers that are none, or negative.
    pub fn new(mean: f64, deviation: f64) -> Result<Self, PredictionError> {
        check("mean price", mean)?;
        check("deviation", deviation)?;
        Ok(Self { mean, deviation, skewness: None, excess_kurtosis: None, histogram: None })
    }

    /// The same price, of which the skewness and perhaps the excess kurtosis are known.
    ///
    /// # Errors
    /// Numbers that are none.
    pub fn with_shape(mut self, skewness: f64, excess_kurtosis: Option<f64>) -> Result<Self, PredictionError> {
        for (what, value) in [("skewness", skewness), ("excess kurtosis", excess_kurtosis.unwrap_or(0.0))] {
            if !value.is_finite() {
                return Err(PredictionError::Shape { what, value });
            }
        }
        (self.skewness, self.excess_kurtosis) = (Some(skewness), excess_kurtosis);
        Ok(self)
    }

    /// The same price, which was as often in each of the bins from zero to `top` as their weights say.
    ///
    /// # Errors
    /// Numbers that are none or negative, too many bins, or none with a weight.
    pub fn with_bins(mut self, top: f64, bins: &[f64]) -> Result<Self, PredictionError> {
        check("top of the histogram", top)?;
        bins.iter().try_for_each(|bin| check("weight of a bin", *bin))?;
        let weight: f64 = bins.iter().sum();
        if bins.len() > BINS || weight <= 0.0 || !weight.is_finite() || top == 0.0 {
            return Err(PredictionError::Bins(bins.len()));
        }
        // Bins of the width given, and empty ones above.
        self.histogram = Some(Histogram::of_bins(top * BINS as f64 / bins.len() as f64, bins.iter().copied()));
        Ok(self)
    }

    /// A price that behaves as it did in a window of the past, times `factor` (price units of the host, say).
    ///
    /// # Errors
    /// A factor that is no number, or negative.
    pub fn of_window(window: &WindowStatistics, factor: f64) -> Result<Self, PredictionError> {
        check("factor", factor)?;
        let forecast = Self::new(window.mean().max(0.0) * factor, window.deviation() * factor)?;
        let mut forecast = forecast.with_shape(window.skewness(), Some(window.excess_kurtosis()))?;
        forecast.histogram = (window.filled() > 0.0).then(|| window.histogram().scaled(factor));
        Ok(forecast)
    }

    /// The same of what a host has published.
    ///
    /// # Errors
    /// A factor that is no number, or negative.
    pub fn of_summary(window: &WindowSummary, factor: f64) -> Result<Self, PredictionError> {
        check("factor", factor)?;
        let price = |rate: crate::Rate| rate.picos_per_second() as f64 / 1e12 * factor;
        let milli = |value: i64| value as f64 / 1000.0;
        let forecast = Self::new(price(window.mean), price(window.deviation))?;
        let mut forecast =
            forecast.with_shape(milli(window.skewness_milli), Some(milli(window.excess_kurtosis_milli)))?;
        forecast.histogram = window.histogram().map(|histogram| histogram.scaled(factor));
        Ok(forecast)
    }

    /// The mean price.
    pub const fn mean(&self) -> f64 {
        self.mean
    }

    /// The standard deviation of the price.
    pub const fn deviation(&self) -> f64 {
        self.deviation
    }

    /// The price that is not exceeded with `probability`: F⁻¹(p).
    ///
    /// # Errors
    /// A probability that is none, and an empirical model without history.
    pub fn quantile(&self, model: PriceModel, probability: f64) -> Result<f64, PredictionError> {
        check_probability(probability)?;
        Ok(self.distribution(model)?.quantile(probability))
    }

    /// The probability that the price is at most `price`: F.
    ///
    /// # Errors
    /// A price that is none, and an empirical model without history.
    pub fn probability(&self, model: PriceModel, price: f64) -> Result<f64, PredictionError> {
        if price.is_nan() || price < 0.0 {
            return Err(PredictionError::Number { what: "price", value: price });
        }
        Ok(self.distribution(model)?.probability(price))
    }

    /// The distribution of the price: worth keeping where it is asked often, for that of four moments takes a while.
    fn distribution(&self, model: PriceModel) -> Result<Distribution, PredictionError> {
        let (mean, deviation) = (self.mean, self.deviation);
        let two = || Distribution::Truncated(normal::Truncated::with(mean, deviation));
        let shape = |skewness: f64, kurtosis| Distribution::Shape(Shape::with(mean, deviation, skewness, kurtosis));
        Ok(match model {
            PriceModel::MaximumEntropyOfMean => Distribution::Exponential { mean },
            PriceModel::Empirical => Distribution::Histogram(self.histogram.clone().ok_or(PredictionError::NoHistory)?),
            _ if deviation == 0.0 => Distribution::Certain(mean),
            PriceModel::Normal => Distribution::Normal { mean, deviation },
            PriceModel::Cantelli => Distribution::Cantelli { mean, deviation },
            PriceModel::MaximumEntropy => two(),
            PriceModel::MaximumEntropyOfThree => self.skewness.map_or_else(two, |skewness| shape(skewness, None)),
            PriceModel::MaximumEntropyOfFour => {
                self.skewness.map_or_else(two, |skewness| shape(skewness, self.excess_kurtosis))
            }
        })
    }
}

/// The distribution of a price by a model.
enum Distribution {
    Certain(f64),
    Normal { mean: f64, deviation: f64 },
    Exponential { mean: f64 },
    Truncated(normal::Truncated),
    Shape(Shape),
    Cantelli { mean: f64, deviation: f64 },
    Histogram(Histogram),
}

impl Distribution {
    /// F⁻¹ of a probability from 0 to below 1. Prices are not negative.
    fn quantile(&self, probability: f64) -> f64 {
        let price = match self {
            Self::Certain(price) => *price,
            Self::Normal { mean, deviation } => mean + deviation * normal::upper_quantile(1.0 - probability),
            Self::Exponential { mean } => -mean * (1.0 - probability).ln(),
            Self::Truncated(truncated) => truncated.quantile(probability),
            Self::Shape(shape) => shape.quantile(probability),
            Self::Cantelli { mean, deviation } => mean + deviation * (probability / (1.0 - probability)).sqrt(),
            Self::Histogram(histogram) => histogram.quantile(probability),
        };
        price.max(0.0)
    }

    /// F of a price that is not negative.
    fn probability(&self, price: f64) -> f64 {
        match self {
            Self::Certain(mean) => {
                if price >= *mean {
                    1.0
                } else {
                    0.0
                }
            }
            Self::Normal { mean, deviation } => 1.0 - normal::upper_tail((price - mean) / deviation),
            Self::Exponential { mean } if *mean == 0.0 => 1.0,
            Self::Exponential { mean } => 1.0 - (-price / mean).exp(),
            Self::Truncated(truncated) => truncated.probability(price),
            Self::Shape(shape) => shape.probability(price),
            Self::Cantelli { mean, .. } if price < *mean => 0.0,
            Self::Cantelli { .. } if price.is_infinite() => 1.0,
            Self::Cantelli { mean, deviation } => {
                let ratio = (price - mean) / deviation;
                ratio * ratio / (1.0 + ratio * ratio)
            }
            Self::Histogram(histogram) => histogram.probability(price),
        }
    }
}

/// Predictions for one host.
#[derive(Clone, Debug, PartialEq)]
pub struct HostPrediction {
    /// The performance of the whole host.
    pub capacity: f64,
    /// The price of the whole host: what the others bid, and the base price.
    pub price: PriceForecast,
    /// How its distribution is found.
    pub model: PriceModel,
}

impl HostPrediction {
    /// What must be bid for `performance` with `probability`: F⁻¹(p)·(q/c)/(1 − q/c).
    ///
    /// # Errors
    /// Numbers that are none, and a performance that the host does not have.
    pub fn price(&self, performance: f64, probability: f64) -> Result<f64, PredictionError> {
        let share = self.share_of(performance)?;
        Ok(self.price.quantile(self.model, probability)? * share / (1.0 - share))
    }

    /// The performance that a bid of `price` gets with `probability`: c·X/(X + F⁻¹(p)).
    ///
    /// # Errors
    /// Numbers that are none.
    pub fn performance(&self, price: f64, probability: f64) -> Result<f64, PredictionError> {
        check("price", price)?;
        check("capacity", self.capacity)?;
        let others = self.price.quantile(self.model, probability)?;
        Ok(if price == 0.0 { 0.0 } else { self.capacity * price / (price + others) })
    }

    /// The probability that a bid of `price` gets `performance`: F(X·(c/q − 1)).
    ///
    /// # Errors
    /// Numbers that are none, and a performance that the host does not have.
    pub fn probability(&self, performance: f64, price: f64) -> Result<f64, PredictionError> {
        check("price", price)?;
        let share = self.share_of(performance)?;
        if share == 0.0 {
            return Ok(1.0);
        }
        self.price.probability(self.model, price * (1.0 / share - 1.0))
    }

    fn share_of(&self, performance: f64) -> Result<f64, PredictionError> {
        check("performance", performance)?;
        check("capacity", self.capacity)?;
        if performance >= self.capacity {
            return Err(PredictionError::BeyondCapacity { performance, capacity: self.capacity });
        }
        Ok(performance / self.capacity)
    }
}

/// Predictions for best response on many hosts.
///
/// Every host is planned with its own cushion. Where prices move together the promise is exact; where they are
/// independent it is kept more often than it says, and [`JointPrediction`] promises more.
#[derive(Clone, Debug, PartialEq)]
pub struct ManyHostsPrediction {
    /// The performance of each whole host, and its price.
    pub hosts: Vec<(f64, PriceForecast)>,
    /// How the distributions of the prices are found.
    pub model: PriceModel,
}

impl ManyHostsPrediction {
    /// The performance that a budget of `price` gets with `probability`.
    ///
    /// # Errors
    /// Numbers that are none.
    pub fn performance(&self, price: f64, probability: f64) -> Result<f64, PredictionError> {
        self.fitted()?.performance(price, probability)
    }

    /// The budget that gets `performance` with `probability`.
    ///
    /// # Errors
    /// Numbers that are none, and a performance that the hosts do not have.
    pub fn price(&self, performance: f64, probability: f64) -> Result<f64, PredictionError> {
        check_probability(probability)?;
        Ok(best_response::budget_for(performance, &self.fitted()?.offers(probability))?)
    }

    /// The probability with which a budget of `price` gets `performance`, found by halving.
    ///
    /// # Errors
    /// Numbers that are none.
    pub fn probability(&self, performance: f64, price: f64) -> Result<f64, PredictionError> {
        check("performance", performance)?;
        let fitted = self.fitted()?;
        let (mut sure, mut unsure) = (0.0_f64, 1.0_f64);
        if fitted.performance(price, sure)? < performance {
            return Ok(0.0);
        }
        for _ in 0..60 {
            let middle = f64::midpoint(sure, unsure);
            if middle >= 1.0 {
                break;
            }
            if fitted.performance(price, middle)? >= performance {
                sure = middle;
            } else {
                unsure = middle;
            }
        }
        Ok(sure)
    }

    fn fitted(&self) -> Result<Fitted, PredictionError> {
        let fit = |(capacity, price): &(f64, PriceForecast)| Ok((*capacity, price.distribution(self.model)?));
        Ok(Fitted(self.hosts.iter().map(fit).collect::<Result<_, PredictionError>>()?))
    }
}

/// Hosts with the distributions of their prices.
struct Fitted(Vec<(f64, Distribution)>);

impl Fitted {
    fn performance(&self, price: f64, probability: f64) -> Result<f64, PredictionError> {
        check_probability(probability)?;
        let problem = Problem { budget: price, hosts: self.offers(probability) };
        Ok(best_response::solve(&problem)?.utility)
    }

    /// The hosts, each at the price that is not exceeded with `probability`.
    fn offers(&self, probability: f64) -> Vec<HostOffer> {
        self.0.iter().map(|(capacity, price)| HostOffer::new(*capacity, price.quantile(probability))).collect()
    }
}

fn check_probability(probability: f64) -> Result<(), PredictionError> {
    if (0.0..1.0).contains(&probability) { Ok(()) } else { Err(PredictionError::Probability(probability)) }
}

fn check(what: &'static str, value: f64) -> Result<(), PredictionError> {
    if value.is_finite() && value >= 0.0 { Ok(()) } else { Err(PredictionError::Number { what, value }) }
}

#[cfg(test)]
mod tests;
