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

#[test]
fn while_nothing_is_known_the_past_fades_and_the_mean_stays() {
    let mut statistics = PriceStatistics::default();
    for _ in 0..3_600 {
        statistics.note(credits_per_second(1.0), STEP);
    }
    let hour = statistics.window(Window::Hour).clone();
    statistics.gap(TimeSpan::from_seconds(3_600));
    let faded = statistics.window(Window::Hour);
    assert_eq!((faded.mean(), faded.deviation()), (hour.mean(), hour.deviation()));
    assert!(close(faded.filled(), hour.filled() * (-1.0_f64).exp(), 1e-9), "{}", faded.filled());
    assert!(close(faded.histogram().quantile(0.5), hour.histogram().quantile(0.5), 1e-9));
    // An hour of another price then counts for all that the past has lost.
    for _ in 0..360 {
        statistics.note(credits_per_second(2.0), STEP);
    }
    let (old, new) = ((-2.0_f64).exp(), 1.0 - (-1.0_f64).exp());
    let mean = (old + 2.0 * new) / (old + new);
    assert!(close(statistics.window(Window::Hour).mean(), mean, 1e-3));
    // A gap of ages leaves nothing, and breaks nothing.
    statistics.gap(TimeSpan::from_micros(u64::MAX));
    assert_eq!(statistics.window(Window::Week).filled(), 0.0);
    statistics.note(credits_per_second(3.0), STEP);
    assert!(close(statistics.window(Window::Week).mean(), 3.0, 1e-9));
}

/// The moments of two windows together are those of one that has seen both, side by side.
#[test]
fn merged_windows_have_the_moments_of_both() {
    let prices = |first: usize| (0..200).map(move |index| 1.0 + ((index * 7 + first) % 11) as f64 / 3.0 + first as f64);
    let mut windows = [WindowStatistics::default(), WindowStatistics::default()];
    for (window, first) in windows.iter_mut().zip([0, 4]) {
        // Nothing fades here: every price counts the same in the end.
        for (index, price) in prices(first).enumerate() {
            let count = index as f64;
            window.note(price, count / (count + 1.0));
        }
    }
    let [mut merged, other] = windows;
    merged.merge(&other);
    let all: Vec<f64> = prices(0).chain(prices(4)).collect();
    let mean = all.iter().sum::<f64>() / all.len() as f64;
    let central = |power| all.iter().map(|price| (price - mean).powi(power)).sum::<f64>() / all.len() as f64;
    assert!(close(merged.mean(), mean, 1e-9));
    assert!(close(merged.deviation(), central(2).sqrt(), 1e-9));
    assert!(close(merged.skewness(), central(3) / central(2).powf(1.5), 1e-9));
    assert!(close(merged.excess_kurtosis(), central(4) / central(2).powi(2) - 3.0, 1e-9));
    for price in [2.0, 4.0, 6.0, 8.0] {
        let below = all.iter().filter(|other| **other <= price).count() as f64 / all.len() as f64;
        let found = merged.histogram().probability(price);
        assert!((found - below).abs() < 0.08, "{found} for {below} below {price}");
    }
    let before = merged.clone();
    merged.merge(&WindowStatistics::default());
    assert!(close(merged.mean(), before.mean(), 1e-12) && close(merged.deviation(), before.deviation(), 1e-12));
}

#[test]
fn the_history_has_the_means_of_the_last_stretches() {
    let mut statistics = PriceStatistics::default();
    // 30 hours: the price is the hour's number.
    for hour in 0..30_u64 {
        for _ in 0..360 {
            statistics.note(Rate::from_picos_per_second(1000 * hour), STEP);
        }
    }
    statistics.note(Rate::from_picos_per_second(500_000), STEP);
    let day = statistics.window(Window::Day).history().points();
    let expected: Vec<Rate> =
        (7..30).map(|hour| 1000 * hour).chain([500_000]).map(Rate::from_picos_per_second).collect();
    assert_eq!(day, expected);
    // One long stretch and many short ones are the same.
    let (mut one, mut many) = (PriceStatistics::default(), PriceStatistics::default());
    one.note(credits_per_second(0.5), TimeSpan::from_seconds(100_000));
    for _ in 0..1_000 {
        many.note(credits_per_second(0.5), TimeSpan::from_seconds(100));
    }
    for window in Window::ALL {
        let [one, many] = [&one, &many].map(|statistics| statistics.window(window).history().points());
        assert_eq!(one, many, "{window:?}");
    }
}

#[test]
fn what_is_published_is_small_and_says_the_same() {
    let mut statistics = PriceStatistics::default();
    for index in 0..100_000_u64 {
        let price = if index % 25 < 22 { 5e-5 } else { 4.67e-4 };
        statistics.note(credits_per_second(price), STEP);
    }
    let summary = PriceSummary::of(&statistics);
    summary.check().unwrap();
    let json = serde_json::to_string(&summary).unwrap();
    assert!(json.len() < 2_500, "{} bytes: {json}", json.len());
    assert_eq!(serde_json::from_str::<PriceSummary>(&json).unwrap(), summary);
    for window in Window::ALL {
        let (exact, published) = (statistics.window(window), summary.window(window));
        let close_rate = |rate: Rate, value: f64| close(rate.picos_per_second() as f64 / 1e12, value, 1e-6);
        assert!(close_rate(published.mean, exact.mean()) && close_rate(published.deviation, exact.deviation()));
        assert!((published.skewness_milli as f64 / 1000.0 - exact.skewness()).abs() <= 5e-4);
        let histogram = published.histogram().unwrap();
        for probability in [0.1, 0.5, 0.9, 0.99] {
            let [one, two] = [&histogram, exact.histogram()].map(|histogram| histogram.quantile(probability));
            assert!((one - two).abs() <= exact.histogram().width(), "within a bin: {one} for {two}");
        }
    }
    let mut stripped = summary.clone();
    stripped.strip();
    assert!(stripped.hour.histogram().is_none() && stripped.hour.mean == summary.hour.mean);
    assert!(serde_json::to_string(&stripped).unwrap().len() < 600);
}

#[test]
fn published_statistics_beyond_their_bounds_are_refused() {
    let broken = |change: fn(&mut WindowSummary)| {
        let mut summary = PriceSummary::default();
        change(&mut summary.day);
        summary.check().unwrap_err().to_string()
    };
    assert!(broken(|window| window.filled_ppm = 1_000_001).contains("of the day"));
    assert!(broken(|window| window.bins = vec![1; BINS + 1]).contains("33 bins"));
    assert!(broken(|window| window.bins = vec![1]).contains("no upper end"));
    assert!(broken(|window| window.history = vec![Rate::ZERO; POINTS + 1]).contains("25 points"));
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
