//! The auction of one divisible resource: continuous proportional share with maxima and minima.
//!
//! Of a resource of capacity R with base price p per unit, bidder i with rate b_i gets
//! r_i = R·b_i / (p·R + Σ_j b_j). In other words: there is one price π per unit, everybody gets b_i/π, and the
//! base price is a bidder of rate p·R who buys R·p/π for nobody. What a maximum leaves over lowers the price for
//! the others (water-filling). Who gets less than a minimum is topped up to it and pays π for each unit of it.
//! Minima first take what the base price kept back, and only then push the price up for those above theirs.
//!
//! The price is found exactly, by looking at the rates at which a bidder meets its minimum or maximum.

use thiserror::Error;

use crate::{Quantity, Rate};

/// One bidder for the resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bidder {
    /// What it bids.
    pub rate: Rate,
    /// What it gets at least.
    pub min: Quantity,
    /// What it gets at most; a maximum below the minimum counts as the minimum.
    pub max: Quantity,
}

/// The result of an auction; the lists are in the order of the bidders.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// What each bidder gets; the sum is at most the capacity.
    pub shares: Vec<Quantity>,
    /// What each bidder pays when it uses its share: its bid, or what its minimum costs where that is more.
    pub rates: Vec<Rate>,
    /// The price of one price unit.
    pub price: Rate,
}

/// Why an auction has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the minima ask for {} but there is only {}", minima.amount(), capacity.amount())]
pub struct MinimaExceedCapacity {
    /// The sum of all minima.
    pub minima: Quantity,
    /// What there is.
    pub capacity: Quantity,
}

/// Divides `capacity` among the bidders; `base_price` is for `price_unit` of the resource.
pub fn allocate(
    capacity: Quantity,
    base_price: Rate,
    price_unit: Quantity,
    bidders: &[Bidder],
) -> Result<Outcome, MinimaExceedCapacity> {
    let minima = bidders
        .iter()
        .fold(Quantity::ZERO, |sum, bidder| sum.checked_add(bidder.min).unwrap_or(Quantity::new(u64::MAX)));
    if minima > capacity {
        return Err(MinimaExceedCapacity { minima, capacity });
    }
    let unit = price_unit.amount().max(1) as f64;
    let total = capacity.amount() as f64;
    let base = base_price.picos_per_second() as f64 / unit;
    let wants: Vec<Want> = bidders.iter().map(|bidder| Want::of(bidder, capacity)).collect();

    let without_minima: Vec<Want> = wants.iter().map(|want| Want { min: 0.0, ..*want }).collect();
    let mut price = price_of(total, base * total, &without_minima);
    if wants.iter().map(|want| want.demand(price)).sum::<f64>() > total {
        price = price.max(price_of(total, 0.0, &wants));
    }

    let mut shares: Vec<Quantity> =
        bidders.iter().zip(&wants).map(|(bidder, want)| want.share(bidder, price)).collect();
    trim_to_capacity(&mut shares, bidders, capacity);
    let rates = bidders.iter().zip(&wants).map(|(bidder, want)| want.rate_paid(bidder, price)).collect();
    Ok(Outcome { shares, rates, price: rate_from(price * unit) })
}

/// A bidder in floating point: rate in pico-credits per second, amounts in base units.
#[derive(Clone, Copy)]
struct Want {
    rate: f64,
    min: f64,
    max: f64,
}

impl Want {
    fn of(bidder: &Bidder, capacity: Quantity) -> Self {
        let min = bidder.min.amount() as f64;
        let max = bidder.max.min(capacity).amount() as f64;
        Self { rate: bidder.rate.picos_per_second() as f64, min, max: max.max(min) }
    }

    /// What this bidder gets where a unit costs `price`.
    fn demand(&self, price: f64) -> f64 {
        if self.rate == 0.0 {
            self.min
        } else if price == 0.0 {
            self.max
        } else {
            (self.rate / price).clamp(self.min, self.max)
        }
    }

    /// The demand in whole units, exactly the minimum or maximum where it meets one.
    fn share(&self, bidder: &Bidder, price: f64) -> Quantity {
        let demand = self.demand(price);
        if demand <= self.min {
            bidder.min
        } else if demand >= self.max {
            Quantity::new(self.max as u64)
        } else {
            Quantity::new(demand as u64).max(bidder.min)
        }
    }

    /// The bid, or the price of the minimum (rounded up) where that is more.
    fn rate_paid(&self, bidder: &Bidder, price: f64) -> Rate {
        let minimum_costs = self.min * price;
        if minimum_costs > self.rate { rate_from(minimum_costs.ceil()).max(bidder.rate) } else { bidder.rate }
    }

    /// The price below which the maximum is met.
    fn capped_below(&self) -> f64 {
        if self.max > 0.0 { self.rate / self.max } else { f64::INFINITY }
    }

    /// The price above which the minimum is met.
    fn at_minimum_above(&self) -> f64 {
        if self.min > 0.0 { self.rate / self.min } else { f64::INFINITY }
    }
}

/// A bidder whose form of demand still depends on the price that is looked for.
struct Open<'a> {
    want: &'a Want,
    capped_below: f64,
    at_minimum_above: f64,
}

/// The smallest price at which the bidders, and a reserve that spends `reserve` whatever it gets, want no more than
/// `total`.
///
/// The turns are not sorted: the interval in which the price lies shrinks around it, by about half of the turns that are
/// left at a time, and who is at her minimum, at her maximum or free all over it is only a part of a sum from then on.
fn price_of(total: f64, reserve: f64, wants: &[Want]) -> f64 {
    let (mut low, mut high) = (0.0_f64, f64::INFINITY);
    let (mut fixed, mut free_rate) = (0.0, reserve);
    let mut open: Vec<Open<'_>> = wants
        .iter()
        .map(|want| Open { want, capped_below: want.capped_below(), at_minimum_above: want.at_minimum_above() })
        .collect();
    loop {
        open.retain(|bidder| {
            let want = bidder.want;
            if want.rate == 0.0 || bidder.at_minimum_above <= low {
                fixed += want.min;
            } else if bidder.capped_below >= high {
                fixed += want.max;
            } else if bidder.capped_below <= low && bidder.at_minimum_above >= high {
                free_rate += want.rate;
            } else {
                return true;
            }
            false
        });
        let Some(pivot) = middle_turn(&open, low, high) else { break };
        // Demand falls as the price rises.
        let demand = fixed + free_rate / pivot + open.iter().map(|bidder| bidder.want.demand(pivot)).sum::<f64>();
        if demand > total {
            low = pivot;
        } else {
            high = pivot;
        }
    }
    if free_rate == 0.0 {
        return low;
    }
    let rest = total - fixed;
    let price = if rest > 0.0 { free_rate / rest } else { high };
    let price = price.clamp(low, high);
    if price.is_finite() { price } else { low }
}

/// A turn between `low` and `high` that about half of those turns are below: the middle of a sample of them.
fn middle_turn(open: &[Open<'_>], low: f64, high: f64) -> Option<f64> {
    const SAMPLE: usize = 63;
    let every = (open.len() / SAMPLE).max(1);
    let turns = open.iter().step_by(every).flat_map(|bidder| [bidder.capped_below, bidder.at_minimum_above]);
    let mut sample: Vec<f64> = turns.filter(|turn| low < *turn && *turn < high).collect();
    if sample.is_empty() {
        return None;
    }
    let middle = sample.len() / 2;
    Some(*sample.select_nth_unstable_by(middle, f64::total_cmp).1)
}

/// Takes back the few units by which rounding may exceed the capacity, from bidders above their minima.
fn trim_to_capacity(shares: &mut [Quantity], bidders: &[Bidder], capacity: Quantity) {
    let sum: u128 = shares.iter().map(|share| u128::from(share.amount())).sum();
    let mut excess = sum.saturating_sub(u128::from(capacity.amount()));
    for (share, bidder) in shares.iter_mut().zip(bidders) {
        if excess == 0 {
            break;
        }
        let spare = share.saturating_sub(bidder.min).amount();
        let taken = u64::try_from(excess).unwrap_or(u64::MAX).min(spare);
        *share = share.saturating_sub(Quantity::new(taken));
        excess -= u128::from(taken);
    }
}

/// A rate of `picos` pico-credits per second, rounded; the conversion saturates.
fn rate_from(picos: f64) -> Rate {
    Rate::from_picos_per_second(picos.round().max(0.0) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const UNIT: Quantity = Quantity::from_cpus(1);

    fn bidder(rate: u64, min: u64, max: u64) -> Bidder {
        Bidder { rate: Rate::from_picos_per_second(rate), min: Quantity::new(min), max: Quantity::new(max) }
    }

    fn run(capacity: u64, base: u64, bidders: &[Bidder]) -> Outcome {
        allocate(Quantity::new(capacity), Rate::from_picos_per_second(base), UNIT, bidders).unwrap()
    }

    fn amounts(outcome: &Outcome) -> Vec<u64> {
        outcome.shares.iter().map(|share| share.amount()).collect()
    }

    #[test]
    fn shares_are_proportional_to_bids_and_the_base_price_bids_too() {
        // R = 4 CPU, p = 100 per CPU: 4·b/(400 + 600).
        let outcome = run(4_000_000, 100, &[bidder(400, 0, 4_000_000), bidder(200, 0, 4_000_000)]);
        assert_eq!(amounts(&outcome), [1_600_000, 800_000]);
        assert_eq!(outcome.price, Rate::from_picos_per_second(250));
    }

    #[test]
    fn what_a_maximum_leaves_goes_to_the_others() {
        // Without the maximum: 2, 1 and 1 of 4 CPU. Capped at 1, the price is (200)/(3 CPU).
        let all = 4_000_000;
        let outcome = run(all, 0, &[bidder(200, 0, 1_000_000), bidder(100, 0, all), bidder(100, 0, all)]);
        assert_eq!(amounts(&outcome), [1_000_000, 1_500_000, 1_500_000]);
    }

    #[test]
    fn a_minimum_is_topped_up_at_the_price_of_the_unit() {
        // p·R + Σb = 1000 for 4 CPU: 250 per CPU. The second wants 1 CPU for a bid of 50.
        let all = 4_000_000;
        let outcome = run(all, 100, &[bidder(550, 0, all), bidder(50, 1_000_000, all)]);
        assert_eq!(amounts(&outcome), [2_200_000, 1_000_000], "the base price's part gives way first");
        assert_eq!(outcome.rates[1], Rate::from_picos_per_second(250));
        assert_eq!(outcome.rates[0], Rate::from_picos_per_second(550), "others pay what they bid");
    }

    #[test]
    fn minima_that_need_more_than_the_base_price_kept_back_raise_the_price() {
        let all = 4_000_000;
        let outcome = run(all, 0, &[bidder(300, 0, all), bidder(100, 2_000_000, all)]);
        assert_eq!(amounts(&outcome), [2_000_000, 2_000_000]);
        assert_eq!(outcome.price, Rate::from_picos_per_second(150));
        assert_eq!(outcome.rates[1], Rate::from_picos_per_second(300));
    }

    #[test]
    fn minima_may_take_all_there_is_but_not_more() {
        let all = 4_000_000;
        let outcome = run(all, 100, &[bidder(100, 3_000_000, all), bidder(0, 1_000_000, all)]);
        assert_eq!(amounts(&outcome), [3_000_000, 1_000_000]);
        let refused = allocate(
            Quantity::new(3_999_999),
            Rate::ZERO,
            UNIT,
            &[bidder(100, 3_000_000, all), bidder(0, 1_000_000, all)],
        );
        assert!(refused.is_err());
    }

    #[test]
    fn without_base_price_and_bids_nobody_pays() {
        let outcome = run(1_000_000, 0, &[bidder(0, 500_000, 1_000_000), bidder(0, 0, 1_000_000)]);
        assert_eq!(amounts(&outcome), [500_000, 0]);
        assert_eq!(outcome.price, Rate::ZERO);
        assert_eq!(amounts(&run(0, 100, &[bidder(5, 0, 10)])), [0]);
        assert_eq!(amounts(&run(10, 100, &[])), [0_u64; 0]);
    }

    fn bidders() -> impl Strategy<Value = (u64, u64, Vec<Bidder>)> {
        let one = (0_u64..=6, 0_u64..1_000, 0.0..1.0_f64, 0.0..1.0_f64);
        (1_u64..1 << 50, 0_u64..=1_000_000_000_000, prop::collection::vec(one, 0..12)).prop_map(
            |(capacity, base, list)| {
                let count = list.len().max(1) as f64;
                let bidders = list
                    .into_iter()
                    .map(|(magnitude, digits, min, max)| {
                        let min = (capacity as f64 * min * min / count) as u64;
                        let max = min.max((capacity as f64 * max) as u64);
                        bidder(digits * 10_u64.pow(2 * magnitude as u32), min, max)
                    })
                    .collect();
                (capacity, base, bidders)
            },
        )
    }

    proptest! {
        #[test]
        fn shares_fit_and_keep_their_bounds((capacity, base, bidders) in bidders()) {
            let outcome = run(capacity, base, &bidders);
            let sum: u64 = amounts(&outcome).iter().sum();
            prop_assert!(sum <= capacity, "{sum} of {capacity}");
            for ((share, rate), bidder) in outcome.shares.iter().zip(&outcome.rates).zip(&bidders) {
                prop_assert!(*share >= bidder.min && *share <= bidder.max);
                prop_assert!(*rate >= bidder.rate);
                if *share > bidder.min {
                    prop_assert_eq!(*rate, bidder.rate);
                }
            }
        }

        /// Without bounds the rule is the formula of the paper, with the base price as one more bidder.
        #[test]
        fn without_bounds_the_shares_are_the_formula((capacity, base, bidders) in bidders()) {
            let bidders: Vec<_> =
                bidders.iter().map(|b| Bidder { min: Quantity::ZERO, max: Quantity::new(u64::MAX), ..*b }).collect();
            let outcome = run(capacity, base, &bidders);
            let reserve = base as f64 * capacity as f64 / 1e6;
            let sum: f64 = reserve + bidders.iter().map(|b| b.rate.picos_per_second() as f64).sum::<f64>();
            for (share, bidder) in outcome.shares.iter().zip(&bidders) {
                if sum > 0.0 {
                    let expected = capacity as f64 * bidder.rate.picos_per_second() as f64 / sum;
                    prop_assert!((share.amount() as f64 - expected).abs() <= 1.0 + expected * 1e-12);
                }
            }
        }

        /// More money never buys less.
        #[test]
        fn who_bids_more_gets_no_less((capacity, base, bidders) in bidders(), more in 1_u64..1_000_000_000) {
            if bidders.is_empty() {
                return Ok(());
            }
            let mut raised = bidders.clone();
            raised[0].rate = raised[0].rate.checked_add(Rate::from_picos_per_second(more)).unwrap();
            let before = run(capacity, base, &bidders).shares[0].amount();
            let after = run(capacity, base, &raised).shares[0].amount();
            prop_assert!(after + 2 + capacity / (1 << 45) >= before, "{before} -> {after}");
        }
    }
}
