//! Many hosts whose prices move independently of each other: how the sum of what they give is distributed.
//!
//! To plan every host with the price that is not exceeded with probability p keeps the promise for their sum exactly where
//! all prices move together, and far more often than it says where they do not: one host is dear while another is cheap. Here
//! the bids of a best response stand against prices that are drawn, and the performance that is reached in the part p of
//! the draws is what is promised. The draws are stratified (a Latin hypercube: each host has every one of its prices once,
//! in an order of its own), so that a thousand of them do, and they come from a generator that is passed in: the same seed
//! gives the same answer.
//!
//! Plans with a few cushions are tried, the same on every host, and the best is taken: for few hosts that is one near p, for
//! many one near the middle price. The plans do not depend on the question, so that the answers agree with each other.

use rand_core::Rng;

use super::{Distribution, ManyHostsPrediction, PredictionError, check, check_probability};
use crate::best_response::{self, HostOffer, Problem};

/// Draws of the prices of all hosts.
pub const SAMPLES: usize = 1_000;
/// The most prices that are drawn: hosts × draws.
const PRICES_MAX: usize = 4_000_000;
/// The cushions of the plans that are tried.
const CUSHIONS: [f64; 5] = [0.25, 0.5, 0.75, 0.9, 0.97];
/// Halvings of the budget.
const HALVINGS: usize = 60;

/// Predictions for best response on many hosts with independent prices.
#[derive(Clone, Debug, PartialEq)]
pub struct JointPrediction {
    /// The performance of each whole host.
    capacities: Vec<f64>,
    /// The prices of each host in the draws.
    draws: Vec<Vec<f64>>,
    /// The price of each host that is not exceeded in every part of the draws.
    sorted: Vec<Vec<f64>>,
}

impl JointPrediction {
    /// Draws the prices of all hosts of `market`.
    ///
    /// # Errors
    /// What the market's own questions are refused for, and too many hosts.
    pub fn new(market: &ManyHostsPrediction, rng: &mut dyn Rng) -> Result<Self, PredictionError> {
        if market.hosts.len().saturating_mul(SAMPLES) > PRICES_MAX {
            return Err(PredictionError::TooManyHosts { hosts: market.hosts.len(), most: PRICES_MAX / SAMPLES });
        }
        let (mut draws, mut sorted, mut capacities) = (Vec::new(), Vec::new(), Vec::new());
        for (capacity, forecast) in &market.hosts {
            let distribution: Distribution = forecast.distribution(market.model)?;
            let prices: Vec<f64> =
                (0..SAMPLES).map(|index| distribution.quantile((index as f64 + 0.5) / SAMPLES as f64)).collect();
            let mut order = prices.clone();
            // Fisher and Yates' shuffle.
            for last in (1..order.len()).rev() {
                order.swap(last, (rng.next_u64() % (last as u64 + 1)) as usize);
            }
            draws.push(order);
            sorted.push(prices);
            capacities.push(*capacity);
        }
        Ok(Self { capacities, draws, sorted })
    }

    /// The performance that a budget of `price` gets in the part `probability` of the draws.
    ///
    /// # Errors
    /// Numbers that are none.
    pub fn performance(&self, price: f64, probability: f64) -> Result<f64, PredictionError> {
        check_probability(probability)?;
        let mut best = 0.0_f64;
        for cushion in CUSHIONS {
            let mut reached = self.reached(price, cushion)?;
            // The greatest performance that at least the part p of the draws reaches.
            let index = ((1.0 - probability) * SAMPLES as f64 + 1e-9).floor() as usize;
            let index = index.min(SAMPLES - 1);
            let (_, at, _) = reached.select_nth_unstable_by(index, f64::total_cmp);
            best = best.max(*at);
        }
        Ok(best)
    }

    /// The budget that gets `performance` in the part `probability` of the draws, found by halving.
    ///
    /// # Errors
    /// Numbers that are none, and a performance that the hosts do not have.
    pub fn price(&self, performance: f64, probability: f64) -> Result<f64, PredictionError> {
        check("performance", performance)?;
        let capacity: f64 = self.capacities.iter().sum();
        if performance >= capacity {
            return Err(PredictionError::BeyondCapacity { performance, capacity });
        }
        if performance == 0.0 {
            return Ok(0.0);
        }
        let highest: f64 = self.sorted.iter().filter_map(|prices| prices.last()).sum();
        let mut enough = highest.max(1e-12);
        while self.performance(enough, probability)? < performance {
            enough *= 2.0;
            if enough > 1e29 {
                return Err(PredictionError::BeyondCapacity { performance, capacity });
            }
        }
        let mut little = 0.0;
        for _ in 0..HALVINGS {
            let middle = f64::midpoint(little, enough);
            if self.performance(middle, probability)? >= performance {
                enough = middle;
            } else {
                little = middle;
            }
        }
        Ok(enough)
    }

    /// The part of the draws in which a budget of `price` gets `performance`.
    ///
    /// # Errors
    /// Numbers that are none.
    pub fn probability(&self, performance: f64, price: f64) -> Result<f64, PredictionError> {
        check("performance", performance)?;
        let mut most = 0;
        for cushion in CUSHIONS {
            let reached = self.reached(price, cushion)?;
            // The last digits of a sum may differ from those of what was promised.
            most = most.max(reached.iter().filter(|sum| **sum >= performance * (1.0 - 1e-12)).count());
        }
        Ok(most as f64 / SAMPLES as f64)
    }

    /// What the best response to the prices with this cushion reaches in every draw.
    fn reached(&self, price: f64, cushion: f64) -> Result<Vec<f64>, PredictionError> {
        let index = ((cushion * SAMPLES as f64) as usize).min(SAMPLES - 1);
        let offer = |(capacity, prices): (&f64, &Vec<f64>)| HostOffer::new(*capacity, prices[index]);
        let hosts = self.capacities.iter().zip(&self.sorted).map(offer).collect();
        let bids = best_response::solve(&Problem { budget: price, hosts })?.bids;
        let mut reached = vec![0.0; SAMPLES];
        for ((capacity, draws), bid) in self.capacities.iter().zip(&self.draws).zip(bids).filter(|(_, bid)| *bid > 0.0)
        {
            for (sum, others) in reached.iter_mut().zip(draws) {
                *sum += capacity * bid / (bid + others);
            }
        }
        Ok(reached)
    }
}
