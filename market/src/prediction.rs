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

mod normal;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::best_response::{self, BestResponseError, HostOffer, Problem};
use crate::price_statistics::{Histogram, WindowStatistics};

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
    /// Cantelli's bound: true for every distribution with the mean and deviation.
    Cantelli,
    /// The histogram of what the prices were.
    Empirical,
}

/// What is known of a price to come.
#[derive(Clone, Debug, PartialEq)]
pub struct PriceForecast {
    mean: f64,
    deviation: f64,
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
        Ok(Self { mean, deviation, histogram: None })
    }

    /// A price that behaves as it did in a window of the past, times `factor` (price units of the host, say).
    ///
    /// # Errors
    /// A factor that is no number, or negative.
    pub fn of_window(window: &WindowStatistics, factor: f64) -> Result<Self, PredictionError> {
        check("factor", factor)?;
        let mut forecast = Self::new(window.mean().max(0.0) * factor, window.deviation() * factor)?;
        forecast.histogram = (window.filled() > 0.0).then(|| window.histogram().scaled(factor));
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
        if !(0.0..1.0).contains(&probability) {
            return Err(PredictionError::Probability(probability));
        }
        let (mean, deviation) = (self.mean, self.deviation);
        let price = match model {
            PriceModel::Normal if deviation == 0.0 => mean,
            PriceModel::Normal => mean + deviation * normal::upper_quantile(1.0 - probability),
            PriceModel::MaximumEntropyOfMean => -mean * (1.0 - probability).ln(),
            PriceModel::MaximumEntropy if deviation == 0.0 => mean,
            PriceModel::MaximumEntropy => normal::Truncated::with(mean, deviation).quantile(probability),
            PriceModel::Cantelli => mean + deviation * (probability / (1.0 - probability)).sqrt(),
            PriceModel::Empirical => self.histogram()?.quantile(probability),
        };
        Ok(price.max(0.0))
    }

    /// The probability that the price is at most `price`: F.
    ///
    /// # Errors
    /// A price that is none, and an empirical model without history.
    pub fn probability(&self, model: PriceModel, price: f64) -> Result<f64, PredictionError> {
        if price.is_nan() || price < 0.0 {
            return Err(PredictionError::Number { what: "price", value: price });
        }
        let (mean, deviation) = (self.mean, self.deviation);
        let above = price - mean;
        let certain = if above >= 0.0 { 1.0 } else { 0.0 };
        Ok(match model {
            PriceModel::Normal | PriceModel::MaximumEntropy if deviation == 0.0 => certain,
            PriceModel::Normal => 1.0 - normal::upper_tail(above / deviation),
            PriceModel::MaximumEntropyOfMean if mean == 0.0 => 1.0,
            PriceModel::MaximumEntropyOfMean => 1.0 - (-price / mean).exp(),
            PriceModel::MaximumEntropy => normal::Truncated::with(mean, deviation).probability(price),
            PriceModel::Cantelli if above < 0.0 => 0.0,
            PriceModel::Cantelli if deviation == 0.0 || above.is_infinite() => certain,
            PriceModel::Cantelli => {
                let ratio = above / deviation;
                ratio * ratio / (1.0 + ratio * ratio)
            }
            PriceModel::Empirical => self.histogram()?.probability(price),
        })
    }

    fn histogram(&self) -> Result<&Histogram, PredictionError> {
        self.histogram.as_ref().ok_or(PredictionError::NoHistory)
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
/// independent it is kept more often than it says.
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
        let problem = Problem { budget: price, hosts: self.offers(probability)? };
        Ok(best_response::solve(&problem)?.utility)
    }

    /// The budget that gets `performance` with `probability`.
    ///
    /// # Errors
    /// Numbers that are none, and a performance that the hosts do not have.
    pub fn price(&self, performance: f64, probability: f64) -> Result<f64, PredictionError> {
        Ok(best_response::budget_for(performance, &self.offers(probability)?)?)
    }

    /// The probability with which a budget of `price` gets `performance`, found by halving.
    ///
    /// # Errors
    /// Numbers that are none.
    pub fn probability(&self, performance: f64, price: f64) -> Result<f64, PredictionError> {
        check("performance", performance)?;
        let (mut sure, mut unsure) = (0.0_f64, 1.0_f64);
        if self.performance(price, sure)? < performance {
            return Ok(0.0);
        }
        for _ in 0..60 {
            let middle = f64::midpoint(sure, unsure);
            if middle >= 1.0 {
                break;
            }
            if self.performance(price, middle)? >= performance {
                sure = middle;
            } else {
                unsure = middle;
            }
        }
        Ok(sure)
    }

    fn offers(&self, probability: f64) -> Result<Vec<HostOffer>, PredictionError> {
        let offer = |(capacity, price): &(f64, PriceForecast)| {
            Ok(HostOffer::new(*capacity, price.quantile(self.model, probability)?))
        };
        self.hosts.iter().map(offer).collect()
    }
}

fn check(what: &'static str, value: f64) -> Result<(), PredictionError> {
    if value.is_finite() && value >= 0.0 { Ok(()) } else { Err(PredictionError::Number { what, value }) }
}

#[cfg(test)]
mod tests;
