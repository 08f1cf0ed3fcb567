//! What a prediction starts from: the prices of hosts, of the site or of a file.

use std::collections::BTreeSet;

use serde::Deserialize;
use tycoon_executor::inventory::ask_all;
use tycoon_market::prediction::PriceForecast;
use tycoon_market::price_statistics::Window;
use tycoon_market::{PoolName, ResourceKind};
use tycoon_xen::market::OffersReport;

use super::read_json;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::site::Session;

/// The seconds of the hour that prices of the site are told for.
const HOUR: f64 = 3_600.0;
/// The most hosts of a file.
const HOSTS_MAX: usize = 100_000;

/// What is known of the hosts.
pub struct Known {
    /// What a price is counted in.
    pub unit: String,
    /// What a performance is counted in.
    pub of: String,
    /// The hosts.
    pub hosts: Vec<KnownHost>,
    /// Hosts of which nothing can be said, and why.
    pub silent: Vec<(String, String)>,
}

/// What is known of one host. Prices are for the whole host.
pub struct KnownHost {
    /// Its name.
    pub name: String,
    /// The performance of the whole host.
    pub capacity: f64,
    /// The price of the moment.
    pub spot: Option<f64>,
    /// How much of the window is known, from 0 to 1; none where it was not said.
    pub filled: Option<f64>,
    /// What is known of the price to come.
    pub forecast: PriceForecast,
    /// The prices of equal parts of the window, the oldest first.
    pub history: Vec<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    #[serde(default)]
    unit: Option<String>,
    hosts: Vec<HostInput>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HostInput {
    id: String,
    capacity: f64,
    mean: f64,
    #[serde(default)]
    deviation: f64,
    #[serde(default)]
    skewness: Option<f64>,
    #[serde(default)]
    excess_kurtosis: Option<f64>,
    #[serde(default)]
    histogram: Option<HistogramInput>,
    #[serde(default)]
    spot: Option<f64>,
    #[serde(default)]
    history: Vec<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HistogramInput {
    top: f64,
    bins: Vec<f64>,
}

/// Reads the hosts of a file.
pub fn from_file(name: &str) -> Result<Known, Failure> {
    let input: Input = read_json(name, "predict")?;
    if input.hosts.len() > HOSTS_MAX {
        let message = format!("there are {} hosts; at most {HOSTS_MAX} are read", input.hosts.len());
        return Err(Failure::new(Exit::Failed, message));
    }
    let mut seen = BTreeSet::new();
    let mut hosts = Vec::new();
    for (index, host) in input.hosts.into_iter().enumerate() {
        let HostInput { id, capacity, mean, deviation, skewness, excess_kurtosis, histogram, spot, history } = host;
        let wrong = |message: String| Failure::new(Exit::Failed, message);
        if id.is_empty() || id.chars().any(char::is_control) {
            return Err(wrong(format!("the id of hosts[{index}] is {id:?}"))
                .help("an id is a text that can be shown on one line"));
        }
        if !seen.insert(id.clone()) {
            return Err(wrong(format!("two hosts are called `{id}`")).help("give every host an id of its own"));
        }
        let numbers = [("capacity", Some(capacity)), ("spot", spot)].into_iter();
        let mut numbers = numbers.chain(history.iter().map(|price| ("history", Some(*price))));
        if let Some((what, Some(value))) =
            numbers.find(|(_, value)| value.is_some_and(|value| !value.is_finite() || value < 0.0))
        {
            return Err(wrong(format!("the {what} of host `{id}` is {value}; it must be a number and not negative")));
        }
        if capacity == 0.0 {
            return Err(wrong(format!("the capacity of host `{id}` is 0")).help("leave a host out that has nothing"));
        }
        let forecast = || {
            let mut forecast = PriceForecast::new(mean, deviation)?;
            if let Some(skewness) = skewness {
                forecast = forecast.with_shape(skewness, excess_kurtosis)?;
            }
            match &histogram {
                Some(histogram) => forecast.with_bins(histogram.top, &histogram.bins),
                None => Ok(forecast),
            }
        };
        let forecast = forecast()
            .map_err(|error| Failure::from_error(Exit::Failed, &error).context(&format!("host `{id}` is not good")))?;
        hosts.push(KnownHost { name: id, capacity, spot, filled: None, forecast, history });
    }
    let unit = input.unit.unwrap_or_else(|| "credits per second".to_owned());
    Ok(Known { unit, of: String::new(), hosts, silent: Vec::new() })
}

/// Asks the hosts of the site.
pub fn from_site(resource: ResourceKind, window: Window, output: &Output) -> Result<Known, Failure> {
    let session = Session::open(output, "tycoon market predict")?;
    let site = session.site();
    let found = site.hosts().map_err(|error| Failure::from_error(Exit::Failed, &error))?;
    let nobody: PoolName = "0".parse().map_err(|error| Failure::from_error(Exit::Failed, &error))?;
    let answers = ask_all(&found, |host| host.link.offers(&nobody));
    session.close()?;
    let (mut hosts, mut silent) = (Vec::new(), Vec::new());
    for (host, answer) in found.iter().zip(answers) {
        let name = host.name.to_string();
        match answer {
            Err(error) => silent.push((name, format!("cannot be asked: {error}"))),
            Ok(report) => match known(&name, &report, resource, window)? {
                Some(host) => hosts.push(host),
                None => silent.push((name, format!("sells no {resource}"))),
            },
        }
    }
    let of = resource.price_unit_word().to_owned();
    Ok(Known { unit: "credits per hour".to_owned(), of, hosts, silent })
}

fn known(
    name: &str,
    report: &OffersReport,
    resource: ResourceKind,
    window: Window,
) -> Result<Option<KnownHost>, Failure> {
    let failed = |error| Failure::from_error(Exit::Failed, &error).context(&format!("host `{name}` tells nonsense"));
    let Some(offer) = report.offers.get(&resource).filter(|offer| offer.capacity.amount() > 0) else {
        return Ok(None);
    };
    let units = offer.capacity.amount() as f64 / resource.price_unit().amount() as f64;
    let now = offer.base_price.credits_per_hour() * units + offer.others.credits_per_hour();
    let prices = report.prices.get(&resource);
    let known = prices.map(|prices| prices.window(window)).filter(|window| window.filled_ppm > 0);
    let (filled, forecast, history) = match known {
        Some(window) => {
            let forecast = PriceForecast::of_summary(window, units * HOUR).map_err(failed)?;
            let history = window.history.iter().map(|price| price.credits_per_hour() * units).collect();
            (f64::from(window.filled_ppm) / 1e6, forecast, history)
        }
        // Nothing was noted yet: all that is known is the price of the moment.
        None => (0.0, PriceForecast::new(now, 0.0).map_err(failed)?, Vec::new()),
    };
    let name = name.to_owned();
    Ok(Some(KnownHost { name, capacity: units, spot: Some(now), filled: Some(filled), forecast, history }))
}
