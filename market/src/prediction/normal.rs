//! The normal distribution, and what is left of it when it is cut off at zero.

use std::f64::consts::PI;

/// Beyond this many deviations the tail is computed as a continued fraction, within it as a series.
const TAIL_FROM: f64 = 3.0;
/// The farthest point that is looked for, in deviations: beyond it lies less than the smallest number.
const FARTHEST: f64 = 38.0;
/// The lowest and highest point, in deviations from the peak, at which a normal distribution is cut off here. Lower, the
/// cut is not felt; higher, what is left is exponential.
const CUT: (f64, f64) = (-9.0, 30.0);

fn density(z: f64) -> f64 {
    (-z * z / 2.0).exp() / (2.0 * PI).sqrt()
}

/// The probability that a standard normal variable is above `z`, with its leading digits also far out.
pub(super) fn upper_tail(z: f64) -> f64 {
    if z < 0.0 {
        return 1.0 - upper_tail(-z);
    }
    if z > TAIL_FROM {
        // Laplace: φ(z) / (z + 1/(z + 2/(z + 3/(z + …)))).
        return density(z) / (1..=80).rev().fold(z, |below, step| z + f64::from(step) / below);
    }
    // ½ − φ(z)·(z + z³/3 + z⁵/(3·5) + …).
    let (mut term, mut sum) = (z, z);
    for step in 1..=60 {
        term *= z * z / f64::from(2 * step + 1);
        sum += term;
    }
    0.5 - density(z) * sum
}

/// The z above which a standard normal variable is with `probability` (above 0, at most 1): halving, and then Newton's
/// method on the logarithm of the tail, which is nearly a parabola.
pub(super) fn upper_quantile(probability: f64) -> f64 {
    if probability > 0.5 {
        return -upper_quantile_above(1.0 - probability);
    }
    upper_quantile_above(probability)
}

/// The same for at most one half, where z is not negative.
fn upper_quantile_above(probability: f64) -> f64 {
    let (mut low, mut high) = (0.0, FARTHEST);
    for _ in 0..10 {
        let middle = f64::midpoint(low, high);
        if upper_tail(middle) > probability {
            low = middle;
        } else {
            high = middle;
        }
    }
    let mut z = f64::midpoint(low, high);
    for _ in 0..6 {
        let (tail, slope) = (upper_tail(z), density(z));
        if probability <= 0.0 || tail <= 0.0 || slope <= 0.0 {
            break;
        }
        z = (z + (tail / probability).ln() * tail / slope).clamp(0.0, FARTHEST);
    }
    z
}

/// The distribution on the numbers from zero up that has the greatest entropy with a given mean and deviation.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Truncated {
    /// A normal distribution, cut off at `cut` deviations `scale` from its peak.
    Normal {
        /// Where it is cut off, in deviations from the peak.
        cut: f64,
        /// The deviation before the cut.
        scale: f64,
    },
    /// The limit of that: an exponential distribution.
    Exponential {
        /// Its mean.
        mean: f64,
    },
}

impl Truncated {
    /// With this mean and this deviation above zero.
    pub(super) fn with(mean: f64, deviation: f64) -> Self {
        // Deviation over mean grows with the cut, from 0 to 1.
        let variation = |cut: f64| {
            let hazard = density(cut) / upper_tail(cut);
            (1.0 + cut * hazard - hazard * hazard).max(0.0).sqrt() / (hazard - cut)
        };
        if mean <= 0.0 || deviation / mean >= variation(CUT.1) {
            return Self::Exponential { mean };
        }
        if deviation / mean <= variation(CUT.0) {
            return Self::Normal { cut: -mean / deviation, scale: deviation };
        }
        let (mut low, mut high) = CUT;
        for _ in 0..80 {
            let middle = f64::midpoint(low, high);
            if variation(middle) < deviation / mean {
                low = middle;
            } else {
                high = middle;
            }
        }
        let cut = f64::midpoint(low, high);
        Self::Normal { cut, scale: mean / (density(cut) / upper_tail(cut) - cut) }
    }

    pub(super) fn quantile(&self, probability: f64) -> f64 {
        match *self {
            Self::Normal { cut, scale } => scale * (upper_quantile((1.0 - probability) * upper_tail(cut)) - cut),
            Self::Exponential { mean } => -mean * (1.0 - probability).ln(),
        }
    }

    pub(super) fn probability(&self, value: f64) -> f64 {
        match *self {
            Self::Normal { cut, scale } => (1.0 - upper_tail(cut + value / scale) / upper_tail(cut)).max(0.0),
            Self::Exponential { mean } if mean > 0.0 => 1.0 - (-value / mean).exp(),
            Self::Exponential { .. } => 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_that_of_the_tables() {
        for (z, tail) in [
            (0.0, 0.5),
            (1.0, 0.158_655_253_931_457),
            (1.281_551_565_544_6, 0.1),
            (2.326_347_874_040_84, 0.01),
            (3.0, 1.349_898_031_630_1e-3),
            (5.0, 2.866_515_718_791_94e-7),
            (10.0, 7.619_853_024_160_53e-24),
        ] {
            assert!((upper_tail(z) / tail - 1.0).abs() < 1e-11, "{z}: {} for {tail}", upper_tail(z));
            assert!((upper_tail(-z) - (1.0 - tail)).abs() < 1e-15);
            assert!((upper_quantile(tail) - z).abs() < 1e-9, "{z}: {}", upper_quantile(tail));
        }
        let seam = upper_tail(TAIL_FROM) / upper_tail(TAIL_FROM + 1e-12);
        assert!((seam - 1.0).abs() < 1e-10, "series and fraction meet");
    }

    /// Mean and deviation of the fitted distribution, by adding up its quantiles, are those asked for.
    #[test]
    fn the_cut_distribution_has_the_mean_and_deviation_asked_for() {
        for deviation in [0.05, 0.3, 0.6, 0.9, 0.98] {
            let fitted = Truncated::with(1.0, deviation);
            let count = 4_000;
            let values: Vec<f64> =
                (0..count).map(|index| fitted.quantile((index as f64 + 0.5) / f64::from(count))).collect();
            let mean = values.iter().sum::<f64>() / f64::from(count);
            let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / f64::from(count);
            assert!((mean - 1.0).abs() < 2e-3, "{deviation}: {mean}");
            assert!((variance.sqrt() - deviation).abs() < 5e-3, "{deviation}: {}", variance.sqrt());
        }
        assert!(matches!(Truncated::with(1.0, 1.5), Truncated::Exponential { .. }));
    }
}
