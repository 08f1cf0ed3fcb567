//! `tycoon market predict`: what a performance will cost, what a price will bring, and how surely.

use std::collections::BTreeMap;

use clap::{Args, ValueEnum};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use serde_json::{Value, json};
use tycoon_market::ResourceKind;
use tycoon_market::prediction::{
    HostPrediction, JointPrediction, ManyHostsPrediction, PredictionError, PriceForecast, PriceModel,
};
use tycoon_market::price_statistics::Window;

use super::predict_input::{Known, KnownHost, from_file, from_site};
use super::{chart, number};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Output, Style, table};

/// What `--help` says beyond the options.
pub const FORMAT: &str = r#"Three questions, each the inverse of the others: what to bid for a performance, what performance a bid gets, and with what
probability a bid gets a performance. Without options: half of each host, a bid as high as the mean price, 90 %.

Models of the price to come:
  normal                    prices spread evenly around their mean; promises too much where they have peaks
  maximum-entropy-of-mean   nothing but the mean is taken for granted
  maximum-entropy           mean and deviation; -of-three with the skewness, -of-four with the kurtosis too
  cantelli                  true whatever the distribution; careful
  empirical                 what the prices were

For several hosts the budget is divided by best response. `each` plans every host with the price that is not exceeded with
the probability; this is exact where all prices move together. `together` draws independent prices for all hosts.

Input of --input, in JSON; capacities and prices are for the whole host:
  {"unit": "credits per hour",
   "hosts": [{"id": "h1", "capacity": 2, "mean": 10, "deviation": 3, "skewness": 0.5, "excess_kurtosis": 1,
              "spot": 9, "history": [8, 9, 12], "histogram": {"top": 20, "bins": [1, 6, 2, 1]}}]}
Only `id`, `capacity` and `mean` must be there; the bins of a histogram are of equal width from zero to `top`."#;

/// Arguments of `tycoon market predict`.
#[derive(Args, Debug)]
pub struct PredictArgs {
    /// The hosts; all that are known where none is named
    #[arg(value_name = "HOST")]
    hosts: Vec<String>,
    /// Take the prices from a file instead of the site; `-` is standard input
    #[arg(long, value_name = "FILE")]
    input: Option<String>,
    /// The performance wanted, in price units of the resource (CPUs, GiB, Mbit/s)
    #[arg(long, value_name = "AMOUNT", allow_negative_numbers = true)]
    performance: Option<f64>,
    /// The price to bid; per hour at the site's hosts
    #[arg(long, value_name = "CREDITS", allow_negative_numbers = true)]
    price: Option<f64>,
    /// The probability, at least 0 and below 1
    #[arg(long, value_name = "PART", default_value_t = 0.9, allow_negative_numbers = true)]
    probability: f64,
    /// The models to use; the usual ones where none is named
    #[arg(long = "model", value_name = "MODEL", value_parser = parse_model)]
    models: Vec<PriceModel>,
    /// The resource of the site's hosts
    #[arg(long, value_name = "RESOURCE", default_value = "CPU", value_parser = parse_resource)]
    resource: ResourceKind,
    /// Over what time the prices of the site's hosts were
    #[arg(long, value_enum, default_value_t = WindowChoice::Day, value_name = "WINDOW")]
    window: WindowChoice,
    /// The seed of the drawn prices
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
}

/// One of the windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum WindowChoice {
    Hour,
    Day,
    Week,
}

/// The models that are used where none is named.
const USUAL: [PriceModel; 5] = [
    PriceModel::Normal,
    PriceModel::MaximumEntropy,
    PriceModel::MaximumEntropyOfFour,
    PriceModel::Cantelli,
    PriceModel::Empirical,
];
/// The quantiles that are shown.
const QUANTILES: [f64; 3] = [0.5, 0.9, 0.99];

fn parse_model(word: &str) -> Result<PriceModel, String> {
    PriceModel::ALL.into_iter().find(|model| model.word() == word).ok_or_else(|| {
        let words: Vec<&str> = PriceModel::ALL.iter().map(|model| model.word()).collect();
        format!("the models are {}", words.join(", "))
    })
}

fn parse_resource(word: &str) -> Result<ResourceKind, String> {
    ResourceKind::from_word(word).ok_or_else(|| {
        let words: Vec<&str> = ResourceKind::ALL.iter().map(|kind| kind.word()).collect();
        format!("the resources are {}", words.join(", "))
    })
}

/// The three quantities of the three questions.
#[derive(Clone, Copy)]
struct Asked {
    performance: f64,
    price: f64,
    probability: f64,
}

/// The answers to the three questions; none where the question has no answer.
#[derive(Clone, Copy)]
struct Answers {
    price: Option<f64>,
    performance: Option<f64>,
    probability: Option<f64>,
}

/// The answers of every model.
type ModelAnswers = Vec<(PriceModel, Answers)>;

/// Predicts.
pub fn run(arguments: &PredictArgs, output: &Output) -> Result<Exit, Failure> {
    check(arguments)?;
    let window = match arguments.window {
        WindowChoice::Hour => Window::Hour,
        WindowChoice::Day => Window::Day,
        WindowChoice::Week => Window::Week,
    };
    let mut known = match &arguments.input {
        Some(name) => from_file(name)?,
        None => from_site(arguments.resource, window, output)?,
    };
    choose(&mut known, &arguments.hosts)?;
    let models = if arguments.models.is_empty() { USUAL.to_vec() } else { arguments.models.clone() };
    let mut hosts = Vec::new();
    for host in &known.hosts {
        let asked = asked(arguments, host.capacity, host.forecast.mean());
        hosts.push((host, asked, answer_host(host, asked, &models)?));
    }
    let set = if known.hosts.len() > 1 { Some(answer_set(arguments, &known.hosts, &models)?) } else { None };
    if output.json {
        output.print_json(&to_json(arguments, &known, &hosts, set.as_ref()));
        return Ok(Exit::Ok);
    }
    for (host, asked, answers) in &hosts {
        print_host(&known, host, *asked, answers, window, arguments.input.is_none(), output)?;
    }
    if let Some(set) = &set {
        print_set(&known, set, output);
    }
    for (name, reason) in &known.silent {
        output.message(&format!("note: {name} {reason}"));
    }
    Ok(Exit::Ok)
}

/// Refuses what is no number before anything is asked.
fn check(arguments: &PredictArgs) -> Result<(), Failure> {
    for (what, value) in [("performance", arguments.performance), ("price", arguments.price)] {
        if let Some(value) = value.filter(|value| !value.is_finite() || *value < 0.0) {
            let message = format!("the {what} is {value}; it must be a number and not negative");
            return Err(Failure::new(Exit::Usage, message));
        }
    }
    if !(0.0..1.0).contains(&arguments.probability) {
        return Err(Failure::from_error(Exit::Usage, &PredictionError::Probability(arguments.probability)));
    }
    Ok(())
}

/// Keeps the hosts that were named, in their order.
fn choose(known: &mut Known, names: &[String]) -> Result<(), Failure> {
    if !names.is_empty() {
        let mut all: BTreeMap<String, KnownHost> =
            std::mem::take(&mut known.hosts).into_iter().map(|host| (host.name.clone(), host)).collect();
        let there: Vec<String> = all.keys().cloned().collect();
        for name in names {
            match all.remove(name) {
                Some(host) => known.hosts.push(host),
                None if known.hosts.iter().any(|host| host.name == *name) => {}
                None => {
                    let silent = known.silent.iter().find(|(host, _)| host == name);
                    let message = match silent {
                        Some((_, reason)) => format!("host `{name}` {reason}"),
                        None => format!("there is no host `{name}`"),
                    };
                    let near = there
                        .iter()
                        .max_by(|one, two| strsim::jaro_winkler(name, one).total_cmp(&strsim::jaro_winkler(name, two)));
                    let help = near.map_or("`tycoon hosts` lists the hosts".to_owned(), |near| {
                        format!("did you mean `{near}`? There are {}", shortened(&there))
                    });
                    return Err(Failure::new(Exit::Failed, message).help(help));
                }
            }
        }
        known.silent.clear();
    }
    if known.hosts.is_empty() {
        return Err(Failure::new(Exit::Failed, "there is no host to say anything of"));
    }
    Ok(())
}

fn shortened(names: &[String]) -> String {
    let shown: Vec<&str> = names.iter().take(8).map(String::as_str).collect();
    let more = if names.len() > shown.len() { " …" } else { "" };
    format!("{}{more}", shown.join(", "))
}

/// What is asked of a host, or of a set, of this capacity and mean price.
fn asked(arguments: &PredictArgs, capacity: f64, mean: f64) -> Asked {
    Asked {
        performance: arguments.performance.unwrap_or(capacity / 2.0),
        price: arguments.price.unwrap_or(mean),
        probability: arguments.probability,
    }
}

/// An answer; none where the host does not have the performance, or where there is no history.
fn optional(answer: Result<f64, PredictionError>) -> Result<Option<f64>, Failure> {
    use tycoon_market::best_response::BestResponseError;
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(
            PredictionError::BeyondCapacity { .. }
            | PredictionError::NoHistory
            | PredictionError::TooManyHosts { .. }
            | PredictionError::BestResponse(BestResponseError::Utility { .. }),
        ) => Ok(None),
        Err(error) => Err(Failure::from_error(Exit::Failed, &error)),
    }
}

fn answer_host(host: &KnownHost, asked: Asked, models: &[PriceModel]) -> Result<ModelAnswers, Failure> {
    let answers = models.iter().map(|&model| {
        let prediction = HostPrediction { capacity: host.capacity, price: host.forecast.clone(), model };
        let answers = Answers {
            price: optional(prediction.price(asked.performance, asked.probability))?,
            performance: optional(prediction.performance(asked.price, asked.probability))?,
            probability: optional(prediction.probability(asked.performance, asked.price))?,
        };
        Ok((model, answers))
    });
    answers.collect()
}

/// What is asked of all hosts, and the answers, with every host planned for itself and with independent prices.
struct SetAnswers {
    asked: Asked,
    models: Vec<(PriceModel, Answers, Option<Answers>)>,
}

fn answer_set(arguments: &PredictArgs, hosts: &[KnownHost], models: &[PriceModel]) -> Result<SetAnswers, Failure> {
    let capacity = hosts.iter().map(|host| host.capacity).sum();
    let mean = hosts.iter().map(|host| host.forecast.mean()).sum();
    let asked = asked(arguments, capacity, mean);
    let Asked { performance, price, probability } = asked;
    let mut answers = Vec::new();
    for &model in models {
        let hosts = hosts.iter().map(|host| (host.capacity, host.forecast.clone())).collect();
        let market = ManyHostsPrediction { hosts, model };
        let each = Answers {
            price: optional(market.price(performance, probability))?,
            performance: optional(market.performance(price, probability))?,
            probability: optional(market.probability(performance, price))?,
        };
        let joint = match JointPrediction::new(&market, &mut ChaCha8Rng::seed_from_u64(arguments.seed)) {
            Err(PredictionError::NoHistory | PredictionError::TooManyHosts { .. }) => None,
            Err(error) => return Err(Failure::from_error(Exit::Failed, &error)),
            Ok(joint) => Some(Answers {
                price: optional(joint.price(performance, probability))?,
                performance: optional(joint.performance(price, probability))?,
                probability: optional(joint.probability(performance, price))?,
            }),
        };
        answers.push((model, each, joint));
    }
    Ok(SetAnswers { asked, models: answers })
}

fn print_host(
    known: &Known,
    host: &KnownHost,
    asked: Asked,
    answers: &[(PriceModel, Answers)],
    window: Window,
    is_of_site: bool,
    output: &Output,
) -> Result<(), Failure> {
    let style = output.stdout;
    let mut facts = vec![format!("mean {}", number(host.forecast.mean()))];
    facts.push(format!("deviation {}", number(host.forecast.deviation())));
    facts.extend(host.spot.map(|spot| format!("now {}", number(spot))));
    let of = if is_of_site { format!(", last {}", window.word()) } else { String::new() };
    output.print(&format!(
        "{}: {} in {}{of}: {}\n",
        style.bold(&host.name),
        amount(host.capacity, known),
        known.unit,
        facts.join(", ")
    ));
    if host.filled == Some(0.0) {
        output.print("  no prices have been noted yet; the price of the moment is taken for certain\n");
    }
    if !host.history.is_empty() {
        output.print(&format!("  history  {}\n", chart::line(&host.history, style)));
    }
    let model = shown_model(&host.forecast);
    let quantiles = quantiles(&host.forecast, model)?;
    let most = quantiles.iter().map(|(_, price)| *price).fold(0.0, f64::max);
    for (index, (probability, price)) in quantiles.iter().enumerate() {
        let name = if index == 0 { "up to" } else { "" };
        let percent = number(probability * 100.0);
        output.print(&format!(
            "  {name:5}  {percent:>3} %  {:>9}  {}\n",
            number(*price),
            chart::bar(*price, most, style)
        ));
    }
    let rows: Vec<Vec<String>> = answers.iter().map(|(model, answers)| row(model.word(), answers)).collect();
    output.print(&answers_table(&rows, known, asked, style));
    output.print("\n");
    Ok(())
}

fn print_set(known: &Known, set: &SetAnswers, output: &Output) {
    let style = output.stdout;
    let capacity: f64 = known.hosts.iter().map(|host| host.capacity).sum();
    output.print(&format!(
        "{}: {} by best response\n",
        style.bold(&format!("all {} hosts", known.hosts.len())),
        amount(capacity, known)
    ));
    let mut rows = Vec::new();
    for (model, each, joint) in &set.models {
        rows.push(row(&format!("{}, each", model.word()), each));
        if let Some(joint) = joint {
            rows.push(row(&format!("{}, together", model.word()), joint));
        }
    }
    output.print(&answers_table(&rows, known, set.asked, style));
}

/// The table of answers, under the questions.
fn answers_table(rows: &[Vec<String>], known: &Known, asked: Asked, style: Style) -> String {
    let Asked { performance, price, probability } = asked;
    let performance = [number(performance), known.of.clone()].join(" ");
    let (performance, price, sure) = (performance.trim_end(), number(price), number(probability * 100.0));
    let header = [
        "MODEL".to_owned(),
        format!("PRICE of {performance}, {sure} %"),
        format!("PERFORMANCE for {price}, {sure} %"),
        format!("PROBABILITY of {performance} for {price}"),
    ];
    indented(&table(&header.each_ref().map(String::as_str), rows, &[1, 2, 3], style))
}

fn row(name: &str, answers: &Answers) -> Vec<String> {
    let cell = |value: Option<f64>| value.map_or("–".to_owned(), number);
    let probability = answers.probability.map_or("–".to_owned(), |part| format!("{:.1} %", part * 100.0));
    vec![name.to_owned(), cell(answers.price), cell(answers.performance), probability]
}

fn amount(value: f64, known: &Known) -> String {
    if known.of.is_empty() { format!("capacity {}", number(value)) } else { format!("{} {}", number(value), known.of) }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

/// The model whose quantiles are drawn: what the prices were, where that is known.
fn shown_model(forecast: &PriceForecast) -> PriceModel {
    let is_known = forecast.quantile(PriceModel::Empirical, 0.5).is_ok();
    if is_known { PriceModel::Empirical } else { PriceModel::MaximumEntropy }
}

fn quantiles(forecast: &PriceForecast, model: PriceModel) -> Result<Vec<(f64, f64)>, Failure> {
    let quantile = |probability| Ok((probability, forecast.quantile(model, probability)?));
    let found: Result<_, PredictionError> = QUANTILES.into_iter().map(quantile).collect();
    found.map_err(|error| Failure::from_error(Exit::Failed, &error))
}

fn to_json(
    arguments: &PredictArgs,
    known: &Known,
    hosts: &[(&KnownHost, Asked, ModelAnswers)],
    set: Option<&SetAnswers>,
) -> Value {
    let hosts: Vec<Value> = hosts
        .iter()
        .map(|(host, asked, answers)| {
            let models: BTreeMap<&str, Value> = answers
                .iter()
                .map(|(model, answers)| {
                    let mut value = answers_json(answers);
                    let quantiles: BTreeMap<String, Option<f64>> = QUANTILES
                        .into_iter()
                        .map(|part| (part.to_string(), host.forecast.quantile(*model, part).ok()))
                        .collect();
                    value["quantiles"] = json!(quantiles);
                    (model.word(), value)
                })
                .collect();
            json!({
                "host": host.name, "capacity": host.capacity, "spot": host.spot, "filled": host.filled,
                "mean": host.forecast.mean(), "deviation": host.forecast.deviation(), "history": host.history,
                "asked": asked_json(*asked), "models": models,
            })
        })
        .collect();
    let set = set.map(|set| {
        let models: BTreeMap<&str, Value> = set
            .models
            .iter()
            .map(|(model, each, joint)| {
                (model.word(), json!({ "each": answers_json(each), "together": joint.as_ref().map(answers_json) }))
            })
            .collect();
        json!({ "asked": asked_json(set.asked), "models": models })
    });
    let silent: BTreeMap<&str, &str> =
        known.silent.iter().map(|(name, reason)| (name.as_str(), reason.as_str())).collect();
    let of_site = arguments.input.is_none();
    json!({
        "unit": known.unit,
        "resource": of_site.then(|| arguments.resource.word()),
        "hosts": hosts, "set": set, "silent": silent,
    })
}

fn asked_json(asked: Asked) -> Value {
    json!({ "performance": asked.performance, "price": asked.price, "probability": asked.probability })
}

fn answers_json(answers: &Answers) -> Value {
    json!({ "price": answers.price, "performance": answers.performance, "probability": answers.probability })
}
