//! The distribution of greatest entropy with given mean, deviation, skewness and kurtosis, found numerically.
//!
//! Among all densities on an interval the one that assumes least, given the means of t, t², t³ (and t⁴), is
//! exp(Σ λ_k·P_k(t)); the λ minimise the convex function ln ∫ exp(Σ λ_k·P_k) − Σ λ_k·μ_k (Jaynes; HPDC'06 plans with the
//! first of these). P_k are Legendre's polynomials on the interval, for which Newton's method stays well conditioned, and a
//! little is added for large λ: so there is always an answer, also where only a few prices ever occurred and no density
//! has their moments; it is then as narrow around them as the grid allows.
//!
//! The density is kept as a distribution function that is linear between the points of a grid. Quantile and probability are
//! each other's inverses exactly.

/// Cells of the grid.
const CELLS: usize = 1_000;
/// The upper end of the interval, in deviations above the mean. Prices are not negative, which is the lower end.
const DEVIATIONS_ABOVE: f64 = 10.0;
/// The weight of λ²/2 in what is minimised.
const RIDGE: f64 = 1e-9;
/// Steps of Newton's method.
const STEPS_MAX: usize = 200;
/// The moments agree to this.
const TOLERANCE: f64 = 1e-10;
/// The most moments.
const MOMENTS: usize = 4;

/// A distribution on an interval, linear between the points of a grid.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shape {
    low: f64,
    /// The width of a cell.
    width: f64,
    /// The probability below the upper end of each cell; the last is 1.
    below: Vec<f64>,
}

impl Shape {
    /// With this mean and deviation above zero, this skewness, and this excess kurtosis where it counts.
    pub(super) fn with(mean: f64, deviation: f64, skewness: f64, excess_kurtosis: Option<f64>) -> Self {
        // In deviations from the mean.
        let (low, high) = (-(mean / deviation).min(DEVIATIONS_ABOVE), DEVIATIONS_ABOVE);
        let count = if excess_kurtosis.is_some() { 4 } else { 3 };
        let raw = [0.0, 1.0, skewness, excess_kurtosis.unwrap_or(0.0) + 3.0];
        let (middle, half) = (f64::midpoint(low, high), (high - low) / 2.0);
        let wanted = legendre_means(&raw, middle, half);
        let cell = 2.0 / CELLS as f64;
        let points: Vec<[f64; MOMENTS]> =
            (0..CELLS).map(|index| legendre(-1.0 + (index as f64 + 0.5) * cell)).collect();
        let weights = fit(&points, &wanted, count);
        let total: f64 = weights.iter().sum();
        let mut sum = 0.0;
        let mut below: Vec<f64> = weights
            .iter()
            .map(|weight| {
                sum += weight / total;
                sum
            })
            .collect();
        if let Some(last) = below.last_mut() {
            *last = 1.0;
        }
        Self { low: mean + deviation * low, width: deviation * half * cell, below }
    }

    pub(super) fn quantile(&self, probability: f64) -> f64 {
        let index = self.below.partition_point(|below| *below < probability).min(self.below.len() - 1);
        let before = if index == 0 { 0.0 } else { self.below[index - 1] };
        let within = self.below[index] - before;
        let part = if within > 0.0 { ((probability - before) / within).clamp(0.0, 1.0) } else { 0.0 };
        self.low + self.width * (index as f64 + part)
    }

    pub(super) fn probability(&self, value: f64) -> f64 {
        let position = (value - self.low) / self.width;
        if position.is_nan() || position <= 0.0 {
            return 0.0;
        }
        let index = position as usize;
        if index >= self.below.len() {
            return 1.0;
        }
        let before = if index == 0 { 0.0 } else { self.below[index - 1] };
        before + (self.below[index] - before) * (position - index as f64)
    }
}

/// Legendre's polynomials of degree 1 to 4 at `z` from −1 to 1.
fn legendre(z: f64) -> [f64; MOMENTS] {
    let z2 = z * z;
    [z, (3.0 * z2 - 1.0) / 2.0, z * (5.0 * z2 - 3.0) / 2.0, ((35.0 * z2 - 30.0) * z2 + 3.0) / 8.0]
}

/// The means of Legendre's polynomials of z = (t − middle)/half, where those of t, t², t³ and t⁴ are `raw`.
fn legendre_means(raw: &[f64; MOMENTS], middle: f64, half: f64) -> [f64; MOMENTS] {
    let [m1, m2, m3, m4] = *raw;
    let c = -middle;
    let z1 = (m1 + c) / half;
    let z2 = (m2 + 2.0 * c * m1 + c * c) / half.powi(2);
    let z3 = (m3 + 3.0 * c * m2 + 3.0 * c * c * m1 + c.powi(3)) / half.powi(3);
    let z4 = (m4 + 4.0 * c * m3 + 6.0 * c * c * m2 + 4.0 * c.powi(3) * m1 + c.powi(4)) / half.powi(4);
    [z1, (3.0 * z2 - 1.0) / 2.0, (5.0 * z3 - 3.0 * z1) / 2.0, (35.0 * z4 - 30.0 * z2 + 3.0) / 8.0]
}

/// The weights exp(Σ λ_k·P_k) of the points, whose means of the first `count` polynomials are those wanted.
fn fit(points: &[[f64; MOMENTS]], wanted: &[f64; MOMENTS], count: usize) -> Vec<f64> {
    let mut lambda = [0.0; MOMENTS];
    let (mut value, mut weights) = dual(points, wanted, &lambda);
    for _ in 0..STEPS_MAX {
        let (gradient, hessian) = slope(points, wanted, &lambda, &weights, count);
        if gradient.iter().take(count).all(|part| part.abs() < TOLERANCE) {
            break;
        }
        let step = solve(hessian, gradient, count);
        let descent: f64 = step.iter().zip(&gradient).map(|(step, part)| step * part).sum();
        // Halve the step until it brings enough (Armijo).
        let mut length = 1.0;
        let mut is_better = false;
        for _ in 0..60 {
            let mut next = lambda;
            next.iter_mut().zip(&step).for_each(|(lambda, step)| *lambda -= length * step);
            let (next_value, next_weights) = dual(points, wanted, &next);
            if next_value <= value - 1e-4 * length * descent {
                is_better = next_value < value;
                (lambda, value, weights) = (next, next_value, next_weights);
                break;
            }
            length /= 2.0;
        }
        if !is_better {
            break;
        }
    }
    weights
}

/// What is minimised, and the weights of the points, of which the largest is 1.
fn dual(points: &[[f64; MOMENTS]], wanted: &[f64; MOMENTS], lambda: &[f64; MOMENTS]) -> (f64, Vec<f64>) {
    let dot = |one: &[f64; MOMENTS], two: &[f64; MOMENTS]| one.iter().zip(two).map(|(one, two)| one * two).sum::<f64>();
    let exponents: Vec<f64> = points.iter().map(|point| dot(point, lambda)).collect();
    let largest = exponents.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = exponents.iter().map(|exponent| (exponent - largest).exp()).collect();
    let total: f64 = weights.iter().sum();
    (largest + total.ln() - dot(wanted, lambda) + RIDGE / 2.0 * dot(lambda, lambda), weights)
}

type Square = [[f64; MOMENTS]; MOMENTS];

fn slope(
    points: &[[f64; MOMENTS]],
    wanted: &[f64; MOMENTS],
    lambda: &[f64; MOMENTS],
    weights: &[f64],
    count: usize,
) -> ([f64; MOMENTS], Square) {
    let total: f64 = weights.iter().sum();
    let (mut means, mut products) = ([0.0; MOMENTS], [[0.0; MOMENTS]; MOMENTS]);
    for (point, weight) in points.iter().zip(weights) {
        let weight = weight / total;
        for row in 0..count {
            means[row] += weight * point[row];
            for column in 0..=row {
                products[row][column] += weight * point[row] * point[column];
            }
        }
    }
    let mut gradient = [0.0; MOMENTS];
    for row in 0..count {
        gradient[row] = means[row] - wanted[row] + RIDGE * lambda[row];
        for column in 0..=row {
            products[row][column] -= means[row] * means[column];
            products[column][row] = products[row][column];
        }
        products[row][row] += RIDGE;
    }
    (gradient, products)
}

/// Solves `matrix`·x = `right` for the first `count` unknowns by elimination; the matrix is positive definite.
fn solve(mut matrix: Square, mut right: [f64; MOMENTS], count: usize) -> [f64; MOMENTS] {
    for pivot in 0..count {
        let largest = (pivot..count).max_by(|one, two| matrix[*one][pivot].abs().total_cmp(&matrix[*two][pivot].abs()));
        if let Some(row) = largest {
            matrix.swap(pivot, row);
            right.swap(pivot, row);
        }
        for row in pivot + 1..count {
            let factor = matrix[row][pivot] / matrix[pivot][pivot];
            let above = matrix[pivot];
            for (value, above) in matrix[row].iter_mut().zip(above).skip(pivot) {
                *value -= factor * above;
            }
            right[row] -= factor * right[pivot];
        }
    }
    let mut found = [0.0; MOMENTS];
    for row in (0..count).rev() {
        let known: f64 = (row + 1..count).map(|column| matrix[row][column] * found[column]).sum();
        found[row] = (right[row] - known) / matrix[row][row];
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(shape: &Shape) -> [f64; 4] {
        let values = || {
            let mut before = 0.0;
            shape.below.iter().enumerate().map(move |(index, below)| {
                let weight = below - before;
                before = *below;
                (shape.low + shape.width * (index as f64 + 0.5), weight)
            })
        };
        let mean: f64 = values().map(|(value, weight)| value * weight).sum();
        let central = |power| values().map(|(value, weight)| (value - mean).powi(power) * weight).sum::<f64>();
        let deviation = central(2).sqrt();
        [mean, deviation, central(3) / deviation.powi(3), central(4) / deviation.powi(4) - 3.0]
    }

    #[test]
    fn the_moments_are_those_asked_for() {
        for (mean, deviation, skewness, kurtosis) in [
            (10.0, 3.0, 0.0, 0.0),
            (10.0, 3.0, 0.5, 0.3),
            (10.0, 3.0, -0.4, 0.5),
            (5.0, 5.0, 2.0, 6.0),
            (1.0, 0.8, 1.5, 3.0),
            (1e-9, 3e-10, 0.8, 1.0),
        ] {
            let found = moments(&Shape::with(mean, deviation, skewness, Some(kurtosis)));
            for (found, wanted) in found.iter().zip([mean, deviation, skewness, kurtosis]) {
                assert!((found - wanted).abs() <= 2e-3 * wanted.abs().max(mean.min(1.0)), "{found} for {wanted}");
            }
            let three = moments(&Shape::with(mean, deviation, skewness.clamp(-0.5, 1.0), None));
            assert!((three[2] - skewness.clamp(-0.5, 1.0)).abs() < 5e-3, "{three:?}");
        }
    }

    #[test]
    fn the_moments_of_a_normal_and_of_an_exponential_price_give_those_back() {
        let normal = Shape::with(10.0, 2.0, 0.0, Some(0.0));
        assert!((normal.quantile(0.9) - (10.0 + 2.0 * 1.281_551_6)).abs() < 1e-2, "{}", normal.quantile(0.9));
        let exponential = Shape::with(1.0, 1.0, 2.0, Some(6.0));
        assert!((exponential.quantile(0.9) - 10.0_f64.ln()).abs() < 0.02, "{}", exponential.quantile(0.9));
        assert!((exponential.quantile(0.5) - 2.0_f64.ln()).abs() < 0.02, "{}", exponential.quantile(0.5));
    }

    /// No density has the moments of two prices: the answer is narrow around them.
    #[test]
    fn two_prices_are_found_again() {
        let (low, high, rarely) = (5.0, 46.7, 0.12_f64);
        let mean = low * (1.0 - rarely) + high * rarely;
        let deviation = (high - low) * (rarely * (1.0 - rarely)).sqrt();
        let skewness = (1.0 - 2.0 * rarely) / (rarely * (1.0 - rarely)).sqrt();
        let kurtosis = skewness * skewness + 1.0 - 3.0;
        let shape = Shape::with(mean, deviation, skewness, Some(kurtosis));
        assert!((shape.quantile(0.5) - low).abs() < 1.5, "{}", shape.quantile(0.5));
        assert!((shape.quantile(0.95) - high).abs() < 1.5, "{}", shape.quantile(0.95));
    }

    #[test]
    fn impossible_moments_break_nothing() {
        for (skewness, kurtosis) in [(0.0, -2.9), (5.0, 0.0), (-30.0, 2.0), (1e6, 1e12), (-1e6, -3.0)] {
            for kurtosis in [Some(kurtosis), None] {
                let shape = Shape::with(2.0, 1.0, skewness, kurtosis);
                let quantiles = [0.0, 0.1, 0.5, 0.9, 0.999].map(|probability| shape.quantile(probability));
                assert!(quantiles.iter().all(|price| price.is_finite() && *price >= 0.0), "{quantiles:?}");
                assert!(quantiles.windows(2).all(|pair| pair[0] <= pair[1]), "{quantiles:?}");
            }
        }
    }
}
