//! `tycoon host bid`, `status`, `accounts` and `prices`: what is wanted, what it brings, and what it costs.

use clap::Args;
use serde_json::{Value, json};
use tycoon_executor::link::{LinkError, NO_ACCOUNT};
use tycoon_market::bid::Bid;
use tycoon_market::bid_text::{BidChange, show_bid};
use tycoon_market::{Credits, PoolName, ResourceKind, Timestamp, UniqueId, UniqueKind};
use tycoon_xen::market::{AccountReport, BidRequest, OffersReport, PreviewReport, PreviewRequest};

use super::account::{number, shares, state};
use super::chosen::{Chosen, HostsArg, ask};
use super::money::{PoolArg, account_json, account_table};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Output, table};
use crate::site::Session;

/// Arguments of `tycoon host bid`.
#[derive(Args, Debug)]
pub struct BidArgs {
    /// The hosts, then the bid: `3y CPU:1,0.1CPU,1CPU,0.2 memory:1,256MiB,1GiB`
    #[arg(value_name = "HOST… BID", required = true, num_args = 1..)]
    words: Vec<String>,
    /// The host account.
    #[command(flatten)]
    pool: PoolArg,
    /// Only show what the bid would bring
    #[arg(long)]
    dry_run: bool,
    /// For --dry-run: as if so many credits more were put in before
    #[arg(long, value_name = "CREDITS", requires = "dry_run", default_value = "0")]
    extra: Credits,
}

/// Arguments of `tycoon host status`.
#[derive(Args, Debug)]
pub struct StatusArgs {
    /// The hosts.
    #[command(flatten)]
    hosts: HostsArg,
    /// The host account.
    #[command(flatten)]
    pool: PoolArg,
}

/// Arguments of `tycoon host accounts` and `tycoon host prices`.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// The hosts.
    #[command(flatten)]
    hosts: HostsArg,
}

/// Arguments of `tycoon host accounts`.
#[derive(Args, Debug)]
pub struct AccountsArgs {
    /// The hosts.
    #[command(flatten)]
    hosts: HostsArg,
    /// For the owner: everybody's accounts
    #[arg(long)]
    everybody: bool,
}

/// Tells the hosts from the bid: a bid begins with a length of time or with a resource.
fn divided(words: &[String]) -> Result<(HostsArg, String), Failure> {
    let is_of_bid = |word: &String| {
        word.contains(':')
            || tycoon_market::duration_text::parse_duration(word, Timestamp::default()).is_ok()
            || word == "0"
    };
    let begin = words.iter().position(is_of_bid).unwrap_or(words.len());
    let (hosts, bid) = words.split_at(begin);
    if hosts.is_empty() || bid.is_empty() {
        let missing = if hosts.is_empty() { "no host is named" } else { "there is no bid" };
        return Err(Failure::new(Exit::Usage, missing).help(
            "name hosts, then what is wanted of each: tycoon host bid host1 host2 30d CPU:1,0.1CPU,1CPU memory:1,256MiB,1GiB",
        ));
    }
    Ok((HostsArg { hosts: hosts.to_vec() }, bid.join(" ")))
}

/// Sets bids, or shows what they would bring.
pub fn bid(arguments: &BidArgs, output: &Output) -> Result<Exit, Failure> {
    let (hosts, text) = divided(&arguments.words)?;
    let session = Session::open(output, "tycoon host bid")?;
    let change = BidChange::parse(&text, session.now()).map_err(|error| {
        Failure::from_error(Exit::Usage, &error).help(
            "a bid is a length of time and NAME:weight,min,max,contingency for each resource; `tycoon market` shows more",
        )
    })?;
    let chosen = hosts.choose(&session)?;
    let pool = &arguments.pool.pool;
    let new_bid = |chosen: &Chosen| -> Result<(Bid, u64), LinkError> {
        let account = chosen.host.link.account(pool)?;
        let old = account.as_ref().and_then(|account| account.bid.as_ref());
        let bid = change.apply(old).map_err(|error| {
            LinkError::refused("bid", error.to_string(), Some("what is left out keeps the value of the bid before"))
        })?;
        Ok((bid, account.map_or(0, |account| account.generation)))
    };
    let exit = if arguments.dry_run {
        let answers = ask(&chosen, |chosen| {
            let request = PreviewRequest { bid: new_bid(chosen)?.0, extra_funds: arguments.extra };
            chosen.client()?.preview(pool, &request).map_err(LinkError::from)
        });
        answers.show(output, preview_json, |previews| preview_table(previews, output))
    } else {
        let answers = ask(&chosen, |chosen| {
            let (bid, generation) = new_bid(chosen)?;
            chosen.client()?.bid(pool, &BidRequest { generation, bid }).map_err(LinkError::from)
        });
        answers.show(output, account_json, |accounts| account_table(accounts, output))
    };
    session.close()?;
    Ok(exit)
}

fn preview_json(preview: &PreviewReport) -> Value {
    let shares: serde_json::Map<String, Value> =
        preview.allocation.iter().map(|(kind, share)| (kind.word().to_owned(), json!(share))).collect();
    json!({
        "state": preview.state, "rate_credits_per_hour": preview.rate.credits_per_hour(),
        "contingency_micro": preview.contingency.micros(), "allocation": shares, "unique": preview.unique,
        "expires_at_us": preview.expires_at.map(Timestamp::micros), "displaced": preview.displaced,
    })
}

fn preview_table(previews: &[(&str, &PreviewReport)], output: &Output) -> String {
    let mut rows = Vec::new();
    for (host, preview) in previews {
        let mut shares = shares(&preview.allocation);
        shares.extend(preview.unique.values().map(|id| show_unique(*id, *id)));
        rows.push(vec![
            (*host).to_owned(),
            state(preview.state),
            number(preview.rate.credits_per_hour()),
            preview.contingency.rounded(6),
            if shares.is_empty() { "–".to_owned() } else { shares.join(", ") },
            preview.displaced.to_string(),
        ]);
    }
    let header = ["HOST", "STATE", "BID PER HOUR", "SET ASIDE", "WOULD HAVE", "DISPLACES"];
    let mut text = table(&header, &rows, &[2, 3, 5], output.stdout);
    text.push_str("Nothing was changed.\n");
    text
}

/// Shows the user's host account of one pool, in full.
pub fn status(arguments: &StatusArgs, output: &Output) -> Result<Exit, Failure> {
    let session = Session::open(output, "tycoon host status")?;
    let chosen = arguments.hosts.choose(&session)?;
    let pool = &arguments.pool.pool;
    let answers = ask(&chosen, |chosen| {
        chosen.host.link.account(pool)?.ok_or_else(|| {
            let help = "`tycoon host accounts` lists those that there are";
            LinkError::refused(NO_ACCOUNT, format!("there is no account for pool `{pool}`"), Some(help))
        })
    });
    session.close()?;
    Ok(answers.show(output, account_json, |accounts| {
        let mut text = account_table(accounts, output);
        for (host, account) in accounts {
            if let Some(bid) = &account.bid {
                text.push_str(&format!("{host} bids {}\n", show_bid(bid)));
            }
            for (wish, id) in &account.unique {
                text.push_str(&format!("{host} gives {} for {wish}\n", show_unique(*id, *id)));
            }
        }
        text
    }))
}

/// Lists host accounts of all pools.
pub fn accounts(arguments: &AccountsArgs, output: &Output) -> Result<Exit, Failure> {
    let session = Session::open(output, "tycoon host accounts")?;
    let chosen = arguments.hosts.choose(&session)?;
    let answers = ask(&chosen, |chosen| {
        if arguments.everybody {
            chosen.client()?.everybodys_accounts().map_err(LinkError::from)
        } else {
            chosen.host.link.accounts()
        }
    });
    session.close()?;
    let to_json =
        |accounts: &Vec<AccountReport>| json!({ "accounts": accounts.iter().map(account_json).collect::<Vec<_>>() });
    Ok(answers.show(output, to_json, |hosts| {
        let all: Vec<(&str, &AccountReport)> =
            hosts.iter().flat_map(|(host, accounts)| accounts.iter().map(move |account| (*host, account))).collect();
        if all.is_empty() { "There are no accounts.\n".to_owned() } else { account_table(&all, output) }
    }))
}

/// Shows what hosts sell, and at what price: resources, addresses and ports.
pub fn prices(arguments: &ListArgs, output: &Output) -> Result<Exit, Failure> {
    let session = Session::open(output, "tycoon host prices")?;
    let chosen = arguments.hosts.choose(&session)?;
    // Offers depend on the pool that asks; this is what a pool of which nothing is there yet would see.
    let nobody: PoolName = "0".parse().map_err(|error| Failure::from_error(Exit::Failed, &error))?;
    let answers = ask(&chosen, |chosen| chosen.host.link.offers(&nobody));
    session.close()?;
    Ok(answers.show(output, prices_json, |reports| {
        let mut rows = Vec::new();
        for (host, report) in reports {
            rows.extend(resource_rows(host, report));
            rows.extend(unique_rows(host, report));
        }
        let header = ["HOST", "RESOURCE", "FREE", "OF", "BASE PRICE", "NOW", "MEAN OF THE HOUR", "OF THE DAY"];
        let mut text = table(&header, &rows, &[2, 3, 4, 5, 6, 7], output.stdout);
        text.push_str("Prices are credits per hour, of one CPU, one GiB, one Mbit/s, one address or port.\n");
        if reports.iter().any(|(_, report)| !report.unique.is_empty()) {
            text.push_str("In a bid, a port is `TCPv4Port,any` or `TCPv4Port,8000`, an address `IPv4Address,any`.\n");
        }
        text
    }))
}

fn resource_rows(host: &str, report: &OffersReport) -> Vec<Vec<String>> {
    let row = |(kind, offer): (&ResourceKind, &tycoon_xen::market::OfferToAccount)| {
        let prices = report.prices.get(kind);
        let price = |rate: Option<tycoon_market::Rate>| {
            rate.map_or_else(|| "–".to_owned(), |rate| number(rate.credits_per_hour()))
        };
        vec![
            host.to_owned(),
            kind.to_string(),
            kind.show(offer.available),
            kind.show(offer.capacity),
            number(offer.base_price.credits_per_hour()),
            price(prices.map(|prices| prices.spot)),
            price(prices.map(|prices| prices.hour.mean)),
            price(prices.map(|prices| prices.day.mean)),
        ]
    };
    report.offers.iter().map(row).collect()
}

fn unique_rows(host: &str, report: &OffersReport) -> Vec<Vec<String>> {
    use tycoon_market::auctioneer::UniqueStanding;
    let mut rows = Vec::new();
    for offer in report.unique.values() {
        for state in &offer.states {
            let is_free = matches!(state.standing, UniqueStanding::Free);
            let count = count(state.first, state.last);
            rows.push(vec![
                host.to_owned(),
                show_unique(state.first, state.last),
                if is_free { count } else { 0 }.to_string(),
                count.to_string(),
                number(offer.base_price.credits_per_hour()),
                number(state.price.credits_per_hour()),
                "–".to_owned(),
                "–".to_owned(),
            ]);
        }
    }
    rows
}

/// Addresses or ports for people, from the first to the last.
fn show_unique(first: UniqueId, last: UniqueId) -> String {
    let bare = |id: UniqueId| match id {
        UniqueId::Address(address) => address.to_string(),
        UniqueId::Port(port) => port.to_string(),
    };
    let (one, many) = match first.kind() {
        UniqueKind::Ipv4Address => ("address", "addresses"),
        UniqueKind::TcpPort => ("port", "ports"),
    };
    if first == last { format!("{one} {}", bare(first)) } else { format!("{many} {} to {}", bare(first), bare(last)) }
}

/// How many there are from the first to the last.
fn count(first: UniqueId, last: UniqueId) -> u64 {
    let number = |id: UniqueId| match id {
        UniqueId::Address(address) => u64::from(u32::from(address)),
        UniqueId::Port(port) => u64::from(port),
    };
    number(last).saturating_sub(number(first)) + 1
}

fn prices_json(report: &OffersReport) -> Value {
    let offers: serde_json::Map<String, Value> = report
        .offers
        .iter()
        .map(|(kind, offer)| {
            let prices = report.prices.get(kind);
            let value = json!({
                "capacity": offer.capacity, "available": offer.available,
                "base_price_credits_per_hour": offer.base_price.credits_per_hour(),
                "others_bids_credits_per_hour": offer.others.credits_per_hour(),
                "spot_credits_per_hour": prices.map(|prices| prices.spot.credits_per_hour()),
            });
            (kind.word().to_owned(), value)
        })
        .collect();
    json!({ "offers": offers, "unique": report.unique, "draining": report.is_draining })
}
