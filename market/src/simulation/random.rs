//! Numbers from a generator that comes in as an argument.

use rand_core::Rng;

/// Evenly from 0 to below 1, in steps of 2⁻⁵³.
pub(super) fn unit(rng: &mut dyn Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

/// Evenly from `least` to `most`.
pub(super) fn between(rng: &mut dyn Rng, least: f64, most: f64) -> f64 {
    least + (most - least) * unit(rng)
}

/// Distributed exponentially with this mean.
pub(super) fn exponential(rng: &mut dyn Rng, mean: f64) -> f64 {
    // 1 − unit is above 0, so that the logarithm is finite.
    -(1.0 - unit(rng)).ln() * mean
}

/// `count` different numbers below `below`, in rising order (Floyd's sampling). `count` is at most `below`.
pub(super) fn sample(rng: &mut dyn Rng, count: usize, below: usize) -> Vec<u32> {
    let mut chosen = std::collections::BTreeSet::new();
    for last in below - count..below {
        let pick = ((unit(rng) * (last + 1) as f64) as usize).min(last);
        if !chosen.insert(pick as u32) {
            chosen.insert(last as u32);
        }
    }
    chosen.into_iter().collect()
}
