//! `tycoon host set|drain|evict|ban|withdraw`: what only the owner of a host may do.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use serde_json::{Value, json};
use tycoon_executor::link::LinkError;
use tycoon_market::{AccountId, PoolName};
use tycoon_xen::owner::{EvictReport, EvictRequest, OwnerReport, PolicyRequest, WithdrawReport};
use tycoon_xen::policy::{OwnerPolicy, PolicyName};

use super::account::number;
use super::chosen::{HostsArg, ask};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Output, table};
use crate::site::Session;
use crate::time::local;

/// Arguments of `tycoon host set`.
#[derive(Args, Debug)]
pub struct SetArgs {
    /// The hosts, then what to set: `cpu-price=0.50 memory-sold=80%`; nothing to see what is set
    #[arg(value_name = "HOST… NAME=VALUE", required = true, num_args = 1..)]
    words: Vec<String>,
    /// Take back what was set by command, so that the file or the usual value holds
    #[arg(long, value_name = "NAME")]
    reset: Vec<PolicyName>,
}

/// Arguments of `tycoon host drain`.
#[derive(Args, Debug)]
pub struct DrainArgs {
    /// The hosts.
    #[command(flatten)]
    hosts: HostsArg,
    /// Admit newcomers again
    #[arg(long)]
    end: bool,
}

/// Arguments of `tycoon host evict`.
#[derive(Args, Debug)]
pub struct EvictArgs {
    /// The hosts.
    #[command(flatten)]
    hosts: HostsArg,
    /// Whose domains are put out
    #[arg(long, value_name = "ACCOUNT")]
    account: AccountId,
    /// Only those of this pool
    #[arg(long, value_name = "POOL")]
    pool: Option<PoolName>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Arguments of `tycoon host ban`.
#[derive(Args, Debug)]
pub struct BanArgs {
    /// The hosts.
    #[command(flatten)]
    hosts: HostsArg,
    /// Who is kept out; what she has there is put out
    #[arg(long, value_name = "ACCOUNT")]
    account: AccountId,
    /// Let her in again
    #[arg(long)]
    end: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Arguments of `tycoon host withdraw`.
#[derive(Args, Debug)]
pub struct WithdrawArgs {
    /// The hosts.
    #[command(flatten)]
    hosts: HostsArg,
}

/// Sets prices and rules, or shows them.
pub fn set(arguments: &SetArgs, output: &Output) -> Result<Exit, Failure> {
    let (request, hosts) = wanted(arguments)?;
    let session = Session::open(output, "tycoon host set")?;
    let chosen = hosts.choose(&session)?;
    let is_look = request == PolicyRequest::default();
    let answers = ask(&chosen, |chosen| {
        let answer = if is_look { chosen.client()?.owner_report() } else { chosen.client()?.set_policy(&request) };
        answer.map_err(LinkError::from)
    });
    session.close()?;
    Ok(answers.show(output, report_json, |reports| report_table(reports, output)))
}

/// What is to be set, read here already so that a slip is told before any host is asked; and where.
fn wanted(arguments: &SetArgs) -> Result<(PolicyRequest, HostsArg), Failure> {
    let wrong = |error: tycoon_xen::policy::PolicyError| Failure::from_error(Exit::Usage, &error);
    let mut set = BTreeMap::new();
    let mut hosts = Vec::new();
    let mut trial = OwnerPolicy::default();
    for word in &arguments.words {
        match word.split_once('=') {
            // A label chooses hosts; whatever stands before the first name of a policy is one.
            Some((name, value)) => match name.parse::<PolicyName>() {
                Ok(name) => {
                    trial.set(name, value).map_err(wrong)?;
                    set.insert(name, value.to_owned());
                }
                Err(_) if set.is_empty() && hosts.is_empty() => hosts.push(word.clone()),
                Err(error) => return Err(wrong(error)),
            },
            None => hosts.push(word.clone()),
        }
    }
    if hosts.is_empty() {
        return Err(Failure::new(Exit::Usage, "no host is named").help("tycoon host set host1 cpu-price=0.50"));
    }
    let reset: BTreeSet<PolicyName> = arguments.reset.iter().copied().collect();
    Ok((PolicyRequest { set, reset }, HostsArg { hosts }))
}

/// Admits nobody new, or does again.
pub fn drain(arguments: &DrainArgs, output: &Output) -> Result<Exit, Failure> {
    let session = Session::open(output, "tycoon host drain")?;
    let chosen = arguments.hosts.choose(&session)?;
    let answers = ask(&chosen, |chosen| chosen.client()?.set_draining(!arguments.end).map_err(LinkError::from));
    session.close()?;
    Ok(answers.show(output, report_json, |reports| report_table(reports, output)))
}

/// Puts host accounts out.
pub fn evict(arguments: &EvictArgs, output: &Output) -> Result<Exit, Failure> {
    let session = Session::open(output, "tycoon host evict")?;
    let chosen = arguments.hosts.choose(&session)?;
    let question = format!("Put the domains of account {} out?", arguments.account.short());
    if output.can_ask && !arguments.yes && !output.confirm_until(&question, || session.is_interrupted()) {
        return Err(Failure::new(Exit::Failed, "nobody was put out"));
    }
    let request = EvictRequest { account: arguments.account, pool: arguments.pool.clone() };
    let answers = ask(&chosen, |chosen| chosen.client()?.evict(&request).map_err(LinkError::from));
    session.close()?;
    Ok(answers.show(
        output,
        |report: &EvictReport| json!({ "pools": report.pools }),
        |reports| {
            let line = |(host, report): &(&str, &EvictReport)| {
                let pools: Vec<String> = report.pools.iter().map(ToString::to_string).collect();
                format!("{host}: {} warned, then stopped and deleted\n", pools.join(", "))
            };
            reports.iter().map(line).collect()
        },
    ))
}

/// Keeps an account out, or lets it in again.
pub fn ban(arguments: &BanArgs, output: &Output) -> Result<Exit, Failure> {
    let session = Session::open(output, "tycoon host ban")?;
    let chosen = arguments.hosts.choose(&session)?;
    let question = format!("Keep account {} out, and put out what it has?", arguments.account.short());
    if output.can_ask
        && !arguments.yes
        && !arguments.end
        && !output.confirm_until(&question, || session.is_interrupted())
    {
        return Err(Failure::new(Exit::Failed, "nobody was kept out"));
    }
    let answers =
        ask(&chosen, |chosen| chosen.client()?.ban(arguments.account, !arguments.end).map_err(LinkError::from));
    session.close()?;
    Ok(answers.show(output, report_json, |reports| report_table(reports, output)))
}

/// Draws what was charged into the owner's account.
pub fn withdraw(arguments: &WithdrawArgs, output: &Output) -> Result<Exit, Failure> {
    let session = Session::open(output, "tycoon host withdraw")?;
    let chosen = arguments.hosts.choose(&session)?;
    let answers = ask(&chosen, |chosen| chosen.client()?.withdraw().map_err(LinkError::from));
    session.close()?;
    let to_json = |report: &WithdrawReport| {
        json!({
            "paid_micro": report.paid.micros(), "due_micro": report.income.due.micros(),
            "ever_charged_micro": report.income.ever_charged.micros(), "pending": report.pending,
        })
    };
    Ok(answers.show(output, to_json, |reports| {
        let row = |(host, report): &(&str, &WithdrawReport)| {
            vec![
                (*host).to_owned(),
                report.paid.rounded(6),
                report.income.due.rounded(6),
                report.income.ever_charged.rounded(6),
            ]
        };
        let rows: Vec<Vec<String>> = reports.iter().map(row).collect();
        table(&["HOST", "PAID NOW", "STILL DUE", "EVER CHARGED"], &rows, &[1, 2, 3], output.stdout)
    }))
}

fn report_json(report: &OwnerReport) -> Value {
    let policy: serde_json::Map<String, Value> =
        report.policy.values().map(|(name, value)| (name.word().to_owned(), json!(value))).collect();
    json!({
        "set_by_command": policy, "config": report.config, "next_config": report.next_config,
        "draining": report.is_draining, "banned": report.banned, "accounted_at_us": report.accounted_at.micros(),
        "charged_micro": report.income.charged.micros(), "paid_micro": report.income.paid.micros(),
        "due_micro": report.income.due.micros(), "ever_charged_micro": report.income.ever_charged.micros(),
        "faults": report.faults,
    })
}

fn report_table(reports: &[(&str, &OwnerReport)], output: &Output) -> String {
    let mut text = String::new();
    for (host, report) in reports {
        let style = output.stdout;
        let draining = if report.is_draining { ", draining" } else { "" };
        text.push_str(&format!("{}{draining}\n", style.bold(host)));
        let config = &report.next_config;
        let rows: Vec<Vec<String>> = config
            .capacity
            .iter()
            .map(|(kind, quantity)| {
                let price = config.base_price_of(*kind);
                vec![kind.to_string(), kind.show(*quantity), number(price.credits_per_hour())]
            })
            .chain(config.unique.iter().map(|(kind, sale)| {
                vec![
                    kind.to_string(),
                    sale.ids().take(65_536).count().to_string(),
                    number(sale.base_price.credits_per_hour()),
                ]
            }))
            .collect();
        text.push_str(&table(&["SELLS", "HOW MUCH", "BASE PRICE PER HOUR"], &rows, &[1, 2], style));
        let set: Vec<String> = report.policy.values().map(|(name, value)| format!("{name}={value}")).collect();
        if !set.is_empty() {
            text.push_str(&format!("set by command: {}\n", set.join(" ")));
        }
        if report.config != report.next_config {
            text.push_str(&format!("this holds from the next interval on, within {}\n", report.config.interval));
        }
        for account in &report.banned {
            text.push_str(&format!("kept out: {account}\n"));
        }
        let income = &report.income;
        text.push_str(&format!(
            "charged {} in all; of open escrows {} are paid and {} are due\n",
            income.ever_charged.rounded(6),
            income.paid.rounded(6),
            income.due.rounded(6),
        ));
        for fault in &report.faults {
            let times = if fault.times > 1 { format!(" ({} times)", fault.times) } else { String::new() };
            text.push_str(&format!("{}: {}: {}{times}\n", local(fault.at), fault.what, fault.reason));
        }
    }
    text
}
