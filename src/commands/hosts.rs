//! `tycoon hosts`: what the hosts sell, and at what price.

use clap::Args;
use serde_json::json;
use tycoon_executor::inventory::ask_all;
use tycoon_market::price_statistics::{PriceSummary, WindowSummary};
use tycoon_market::{PoolName, ResourceKind};
use tycoon_xen::market::OfferToAccount;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Output, table};
use crate::site::Session;

/// Arguments of `tycoon hosts`.
#[derive(Args, Debug)]
pub struct HostsArgs {}

/// Lists the hosts.
pub fn run(_arguments: &HostsArgs, output: &Output) -> Result<Exit, Failure> {
    let session = Session::open(output, "tycoon hosts")?;
    let site = session.site();
    let hosts = site.hosts().map_err(|error| Failure::from_error(Exit::Failed, &error))?;
    // Offers depend on the pool that asks; this is what a pool of which nothing is there yet would see.
    let nobody: PoolName = "0".parse().map_err(|error| Failure::from_error(Exit::Failed, &error))?;
    let answers = ask_all(&hosts, |host| host.link.offers(&nobody));
    session.close()?;
    let mut rows = Vec::new();
    let mut values = Vec::new();
    for (host, answer) in hosts.iter().zip(&answers) {
        match answer {
            Ok(report) => {
                // Nothing new is put on a host that its owner drains.
                let mark = if report.is_draining { " (draining)" } else { "" };
                let mut row = vec![format!("{}{mark}", host.name)];
                row.extend(
                    [ResourceKind::Cpu, ResourceKind::Memory, ResourceKind::Disk]
                        .map(|kind| report.offers.get(&kind).map_or("–".into(), |offer| cell(kind, offer))),
                );
                row.push(report.images.join(" "));
                rows.push(row);
                values.push(json!({
                    "host": host.name, "id": host.id, "simulated": host.is_simulated,
                    "architecture": host.architecture, "labels": host.labels, "images": report.images,
                    "draining": report.is_draining,
                    "prices": report.prices.iter().map(|(kind, prices)| (kind.word(), prices_json(prices)))
                        .collect::<std::collections::BTreeMap<_, _>>(),
                    "unique": report.unique,
                    "offers": report.offers.iter().map(|(kind, offer)| (kind.word(), json!({
                        "capacity": offer.capacity, "available": offer.available,
                        "base_price_credits_per_hour": offer.base_price.credits_per_hour(),
                        "price_unit": kind.price_unit_word(),
                        "others_bids_credits_per_hour": offer.others.credits_per_hour(),
                    }))).collect::<std::collections::BTreeMap<_, _>>(),
                }));
            }
            Err(error) => {
                rows.push(vec![host.name.to_string(), format!("cannot be asked: {error}")]);
                values.push(json!({ "host": host.name, "id": host.id, "error": error.to_string() }));
            }
        }
    }
    if output.json {
        output.print_json(&values);
    } else {
        let header = ["HOST", "CPU", "MEMORY", "DISK", "IMAGES"];
        output.print(&table(&header, &rows, &[], output.stdout));
        output.print("Free of all, and the base price per hour of one CPU or GiB.\n");
        if hosts.iter().any(|host| host.is_simulated) {
            output.print(&output.stdout.dim("These hosts are simulated.\n"));
        }
    }
    Ok(Exit::Ok)
}

/// What one price unit costs and has cost, in credits per hour.
fn prices_json(prices: &PriceSummary) -> serde_json::Value {
    let window = |window: &WindowSummary| {
        json!({
            "filled": f64::from(window.filled_ppm) / 1e6,
            "mean_credits_per_hour": window.mean.credits_per_hour(),
            "deviation_credits_per_hour": window.deviation.credits_per_hour(),
            "skewness": window.skewness_milli as f64 / 1000.0,
            "excess_kurtosis": window.excess_kurtosis_milli as f64 / 1000.0,
            "histogram": { "top_credits_per_hour": window.top.credits_per_hour(), "ten_thousandths": window.bins },
            "history_credits_per_hour":
                window.history.iter().map(|price| price.credits_per_hour()).collect::<Vec<_>>(),
        })
    };
    json!({
        "spot_credits_per_hour": prices.spot.credits_per_hour(),
        "hour": window(&prices.hour), "day": window(&prices.day), "week": window(&prices.week),
    })
}

fn cell(kind: ResourceKind, offer: &OfferToAccount) -> String {
    format!(
        "{} of {} at {:.3}",
        kind.show(offer.available),
        kind.show(offer.capacity),
        offer.base_price.credits_per_hour()
    )
}
