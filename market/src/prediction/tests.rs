use super::*;
use crate::price_statistics::{PriceStatistics, Window};
use crate::{Rate, TimeSpan};
use proptest::prelude::*;

/// The models that need no histogram. Without a shape those of three and four moments are that of two.
const MODELS: [PriceModel; 6] = [
    PriceModel::Normal,
    PriceModel::MaximumEntropyOfMean,
    PriceModel::MaximumEntropy,
    PriceModel::MaximumEntropyOfThree,
    PriceModel::MaximumEntropyOfFour,
    PriceModel::Cantelli,
];

fn close(one: f64, two: f64, tolerance: f64) -> bool {
    (one - two).abs() <= tolerance * one.abs().max(two.abs()).max(1e-12)
}

fn host(model: PriceModel) -> HostPrediction {
    HostPrediction { capacity: 2.0, price: PriceForecast::new(10.0, 3.0).unwrap(), model }
}

/// The worked example of the market's documentation: c = 2, q = 0.5, p = 0.9, μ = 10, σ = 3.
#[test]
fn the_worked_example_comes_out() {
    for (model, price) in
        [(PriceModel::Normal, 4.6149), (PriceModel::Cantelli, 6.3333), (PriceModel::MaximumEntropyOfMean, 7.6753)]
    {
        assert!((host(model).price(0.5, 0.9).unwrap() - price).abs() < 1e-4, "{model:?}");
    }
    let two_moments = host(PriceModel::MaximumEntropy).price(0.5, 0.9).unwrap();
    assert!((two_moments - 4.6149).abs() < 0.01, "far from zero it is nearly normal: {two_moments}");
}

/// Prices that are 5 for 88 % of the time and 46.7 in bursts: the normal model's 90 % hold 88 % of the time.
#[test]
fn in_bursts_only_cantelli_keeps_its_promise() {
    let (mean, second) = (0.88 * 5.0 + 0.12 * 46.7, 0.88 * 25.0 + 0.12 * 46.7 * 46.7);
    let forecast = PriceForecast::new(mean, f64::sqrt(second - mean * mean)).unwrap();
    let covered = |model| if forecast.quantile(model, 0.9).unwrap() >= 46.7 { 1.0 } else { 0.88 };
    assert_eq!(covered(PriceModel::Normal), 0.88);
    assert_eq!(covered(PriceModel::MaximumEntropyOfMean), 0.88);
    assert_eq!(covered(PriceModel::Cantelli), 1.0);
}

/// The same bursts: four moments are enough to know of them.
#[test]
fn four_moments_know_of_bursts() {
    let (low, high, rarely) = (5.0, 46.7, 0.12_f64);
    let mean = low * (1.0 - rarely) + high * rarely;
    let deviation = (high - low) * (rarely * (1.0 - rarely)).sqrt();
    let skewness = (1.0 - 2.0 * rarely) / (rarely * (1.0 - rarely)).sqrt();
    let forecast = PriceForecast::new(mean, deviation).unwrap();
    let forecast = forecast.with_shape(skewness, Some(skewness * skewness - 2.0)).unwrap();
    let quantile = forecast.quantile(PriceModel::MaximumEntropyOfFour, 0.9).unwrap();
    assert!(quantile > 40.0, "the burst is planned for: {quantile}");
    assert!(forecast.quantile(PriceModel::MaximumEntropyOfFour, 0.8).unwrap() < 8.0, "and is rare");
    assert!(forecast.quantile(PriceModel::MaximumEntropy, 0.9).unwrap() < 46.7, "of which two moments know nothing");
}

#[test]
fn the_empirical_model_knows_what_was() {
    let mut statistics = PriceStatistics::default();
    for index in 0..5000 {
        let price = if index % 25 < 22 { 5.0 } else { 46.7 };
        statistics.note(Rate::from_picos_per_second((price * 1e12) as u64), TimeSpan::from_seconds(10));
    }
    let forecast = PriceForecast::of_window(statistics.window(Window::Day), 2.0).unwrap();
    assert!(close(forecast.mean(), 20.0, 0.01), "{}", forecast.mean());
    let quantile = |probability| forecast.quantile(PriceModel::Empirical, probability).unwrap();
    assert!((10.0..15.0).contains(&quantile(0.8)), "two times five, within its bin: {}", quantile(0.8));
    assert!((90.0..100.0).contains(&quantile(0.95)), "{}", quantile(0.95));
    let unknown = PriceForecast::new(1.0, 0.0).unwrap();
    assert_eq!(unknown.quantile(PriceModel::Empirical, 0.5), Err(PredictionError::NoHistory));
}

#[test]
fn what_is_no_number_is_refused() {
    let host = host(PriceModel::Normal);
    for wrong in [f64::NAN, -0.1, 1.0, f64::INFINITY] {
        assert!(host.price(0.5, wrong).is_err(), "{wrong} is no probability below one");
    }
    for wrong in [f64::NAN, -1.0, f64::INFINITY] {
        assert!(host.performance(wrong, 0.5).is_err() && host.price(wrong, 0.5).is_err());
        assert!(PriceForecast::new(wrong, 1.0).is_err() && PriceForecast::new(1.0, wrong).is_err());
    }
    assert!(matches!(host.price(2.0, 0.5), Err(PredictionError::BeyondCapacity { .. })));
    assert_eq!(host.probability(0.0, 0.0), Ok(1.0), "nothing is certain to be had for nothing");
}

#[test]
fn a_price_that_never_moves_is_certain() {
    let price = PriceForecast::new(4.0, 0.0).unwrap();
    for model in [PriceModel::Normal, PriceModel::MaximumEntropy, PriceModel::Cantelli] {
        assert_eq!(price.quantile(model, 0.99), Ok(4.0));
        assert_eq!(price.probability(model, 4.0), Ok(1.0));
        assert_eq!(price.probability(model, 3.9), Ok(0.0));
    }
}

#[test]
fn bins_of_ones_own_are_a_history() {
    let forecast = PriceForecast::new(1.0, 0.5).unwrap().with_bins(4.0, &[3.0, 0.0, 0.0, 1.0]).unwrap();
    let quantile = |probability| forecast.quantile(PriceModel::Empirical, probability).unwrap();
    assert_eq!((quantile(0.375), quantile(0.75)), (0.5, 1.0));
    assert_eq!(quantile(0.875), 3.5, "bins of a width of one, from zero up");
    for bins in [vec![], vec![0.0; 3], vec![1.0; 33]] {
        let wrong = PriceForecast::new(1.0, 0.5).unwrap().with_bins(4.0, &bins);
        assert_eq!(wrong, Err(PredictionError::Bins(bins.len())));
    }
    assert!(PriceForecast::new(1.0, 0.5).unwrap().with_bins(f64::NAN, &[1.0]).is_err());
    assert!(PriceForecast::new(1.0, 0.5).unwrap().with_bins(1.0, &[-1.0]).is_err());
    assert!(PriceForecast::new(1.0, 0.5).unwrap().with_shape(f64::NAN, None).is_err());
}

/// What is published predicts what the statistics predict.
#[test]
fn a_published_window_predicts_as_the_window_itself() {
    use crate::price_statistics::PriceSummary;
    let mut statistics = PriceStatistics::default();
    for index in 0..20_000_u64 {
        let price = 1e-4 * (1.0 + (index % 97) as f64 / 50.0);
        statistics.note(Rate::from_picos_per_second((price * 1e12) as u64), TimeSpan::from_seconds(10));
    }
    let summary = PriceSummary::of(&statistics);
    let exact = PriceForecast::of_window(statistics.window(Window::Day), 4.0).unwrap();
    let published = PriceForecast::of_summary(summary.window(Window::Day), 4.0).unwrap();
    for model in PriceModel::ALL {
        let [one, two] = [&exact, &published].map(|forecast| forecast.quantile(model, 0.9).unwrap());
        assert!(close(one, two, 5e-3), "{model:?}: {one} {two}");
    }
}

fn twenty_hosts(model: PriceModel) -> ManyHostsPrediction {
    let price = |index: u32| PriceForecast::new(1.0 + f64::from(index % 5) / 4.0, 0.6).unwrap();
    ManyHostsPrediction { hosts: (0..20).map(|index| (2.0 + f64::from(index % 3), price(index))).collect(), model }
}

fn chance(seed: u64) -> impl rand_core::Rng {
    use rand_core::SeedableRng as _;
    rand_chacha::ChaCha8Rng::seed_from_u64(seed)
}

/// Where prices are independent, the joint quantile promises more than planning every host with its own cushion does,
/// and what it promises is kept by prices that were not drawn for it.
#[test]
fn independent_hosts_promise_more_together() {
    let market = twenty_hosts(PriceModel::MaximumEntropy);
    let joint = JointPrediction::new(&market, &mut chance(1)).unwrap();
    let careful = market.performance(20.0, 0.9).unwrap();
    let promised = joint.performance(20.0, 0.9).unwrap();
    assert!(promised > careful * 1.1, "{promised} for {careful}");
    let other = JointPrediction::new(&market, &mut chance(2)).unwrap();
    let kept = other.probability(promised, 20.0).unwrap();
    assert!((0.87..0.94).contains(&kept), "kept in {kept} of other draws");
    assert!(joint.probability(careful, 20.0).unwrap() > 0.99, "the careful promise is kept nearly always");
    assert!(joint.price(careful, 0.9).unwrap() < 20.0 * 0.95);
    let again = JointPrediction::new(&market, &mut chance(1)).unwrap();
    assert_eq!(again, joint, "the same seed draws the same");
}

#[test]
fn the_joint_questions_agree() {
    for model in [PriceModel::Normal, PriceModel::MaximumEntropyOfMean, PriceModel::Cantelli] {
        let joint = JointPrediction::new(&twenty_hosts(model), &mut chance(3)).unwrap();
        for (budget, probability) in [(5.0, 0.5), (20.0, 0.9), (80.0, 0.98)] {
            let performance = joint.performance(budget, probability).unwrap();
            assert!(close(joint.price(performance, probability).unwrap(), budget, 1e-6), "{model:?}");
            let back = joint.probability(performance, budget).unwrap();
            assert!((back - probability).abs() <= 2.0 / SAMPLES as f64, "{model:?}: {back} for {probability}");
        }
    }
    let joint = JointPrediction::new(&twenty_hosts(PriceModel::Normal), &mut chance(3)).unwrap();
    assert!(joint.performance(f64::NAN, 0.5).is_err() && joint.performance(1.0, 1.0).is_err());
    assert!(matches!(joint.price(1e9, 0.5), Err(PredictionError::BeyondCapacity { .. })));
    assert_eq!((joint.price(0.0, 0.5), joint.performance(0.0, 0.5)), (Ok(0.0), Ok(0.0)));
    let none = ManyHostsPrediction { hosts: Vec::new(), model: PriceModel::Normal };
    assert!(JointPrediction::new(&none, &mut chance(1)).unwrap().performance(1.0, 0.5).is_ok());
    let hosts = vec![(1.0, PriceForecast::new(1.0, 1.0).unwrap()); 5_000];
    let many = ManyHostsPrediction { hosts, model: PriceModel::Normal };
    assert!(matches!(JointPrediction::new(&many, &mut chance(1)), Err(PredictionError::TooManyHosts { .. })));
}

proptest! {
    /// The three questions are each other's inverses.
    #[test]
    fn price_performance_and_probability_agree(
        mean in 0.01..100.0_f64,
        variation in 0.05..1.5_f64,
        capacity in 0.1..64.0_f64,
        part in 0.01..0.95_f64,
        probability in 0.5..0.99_f64,
    ) {
        for model in MODELS {
            let price = PriceForecast::new(mean, mean * variation).unwrap();
            let price = price.with_shape(variation, Some(1.5 * variation * variation)).unwrap();
            let host = HostPrediction { capacity, price, model };
            let bid = host.price(capacity * part, probability).unwrap();
            prop_assert!(close(host.performance(bid, probability).unwrap(), capacity * part, 1e-9), "{model:?}");
            let back = host.probability(capacity * part, bid).unwrap();
            prop_assert!((back - probability).abs() < 1e-9, "{model:?}: {back} for {probability}");
            let surer = host.price(capacity * part, probability + 0.009).unwrap();
            prop_assert!(surer >= bid, "to be surer costs more");
        }
    }

    /// Whatever two prices come, and however often: Cantelli's quantile is not exceeded more often than it says.
    #[test]
    fn cantelli_never_promises_too_much(
        low in 0.0..10.0_f64,
        high in 10.0..1000.0_f64,
        rarely in 0.001..0.999_f64,
        probability in 0.01..0.99_f64,
    ) {
        let mean = low * (1.0 - rarely) + high * rarely;
        let second = low * low * (1.0 - rarely) + high * high * rarely;
        let forecast = PriceForecast::new(mean, (second - mean * mean).max(0.0).sqrt()).unwrap();
        let quantile = forecast.quantile(PriceModel::Cantelli, probability).unwrap() * (1.0 + 1e-9);
        let kept = if quantile >= high { 1.0 } else if quantile >= low { 1.0 - rarely } else { 0.0 };
        prop_assert!(kept >= probability - 1e-9, "{kept} for {probability}");
    }
}

proptest! {
    // Each case halves its way to a probability four times: fewer of them will do.
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_questions_agree_for_many_hosts_too(
        hosts in prop::collection::vec((0.1..10.0_f64, 0.1..10.0_f64, 0.05..1.2_f64), 1..8),
        budget in 0.1..20.0_f64,
        probability in 0.5..0.99_f64,
    ) {
        for model in MODELS {
            let hosts = hosts
                .iter()
                .map(|&(capacity, mean, variation)| (capacity, PriceForecast::new(mean, mean * variation).unwrap()))
                .collect();
            let market = ManyHostsPrediction { hosts, model };
            let performance = market.performance(budget, probability).unwrap();
            prop_assert!(close(market.price(performance, probability).unwrap(), budget, 1e-6), "{model:?}");
            let back = market.probability(performance, budget).unwrap();
            prop_assert!((back - probability).abs() < 1e-6, "{model:?}: {back} for {probability}");
        }
    }
}
