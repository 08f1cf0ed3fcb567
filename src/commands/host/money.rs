//! `tycoon host create-account|fund|refund|close-account`: money to hosts and back.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::{Value, json};
use tycoon_executor::inventory::unredeemed;
use tycoon_executor::link::{BankLink, LinkError};
use tycoon_market::duration_text::parse_duration;
use tycoon_market::ids::EscrowId;
use tycoon_market::{Credits, PoolName, Quantity, Rate, ResourceKind, TimeSpan, Timestamp};
use tycoon_planner::plan::PlannedEscrow;
use tycoon_xen::market::{AccountReport, CloseReport, QuoteRequest, RefundRequest};

use super::chosen::{Chosen, HostsArg, ask};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Output, table};
use crate::site::Session;

/// Which of the user's host accounts.
#[derive(Args, Debug, Clone)]
pub struct PoolArg {
    /// The pool that the host account is for
    #[arg(long, value_name = "POOL", default_value = "default")]
    pub pool: PoolName,
}

/// Arguments of `tycoon host create-account` and `tycoon host fund`.
#[derive(Args, Debug)]
pub struct FundArgs {
    /// The hosts.
    #[command(flatten)]
    hosts: HostsArg,
    /// The host account.
    #[command(flatten)]
    pool: PoolArg,
    /// How many credits each host gets to bid with; they stay at the bank, and a host draws what it has charged
    #[arg(long, short, value_name = "CREDITS")]
    amount: Credits,
    /// For how long the hosts may draw; what is left then comes back
    #[arg(long = "for", value_name = "TIME", default_value = "30d", value_parser = time)]
    longest: TimeSpan,
    /// The most that a host may draw for an hour, in credits [the amount]
    #[arg(long, value_name = "CREDITS")]
    highest_rate: Option<Credits>,
}

/// Arguments of `tycoon host refund`.
#[derive(Args, Debug)]
pub struct RefundArgs {
    /// The hosts.
    #[command(flatten)]
    hosts: HostsArg,
    /// The host account.
    #[command(flatten)]
    pool: PoolArg,
    /// How many credits to leave at each host; all that is above comes back
    #[arg(long, value_name = "CREDITS", default_value = "0")]
    leave: Credits,
}

/// Arguments of `tycoon host close-account`.
#[derive(Args, Debug)]
pub struct CloseArgs {
    /// The hosts.
    #[command(flatten)]
    hosts: HostsArg,
    /// The host account.
    #[command(flatten)]
    pool: PoolArg,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Reads a length of time: `30d`, `12h`.
pub fn time(text: &str) -> Result<TimeSpan, String> {
    parse_duration(text, Timestamp::default()).map_err(|error| error.to_string())
}

/// Opens host accounts with money in them.
pub fn create(arguments: &FundArgs, output: &Output) -> Result<Exit, Failure> {
    put_in(arguments, true, "tycoon host create-account", output)
}

/// Puts money into host accounts.
pub fn fund(arguments: &FundArgs, output: &Output) -> Result<Exit, Failure> {
    put_in(arguments, false, "tycoon host fund", output)
}

fn put_in(arguments: &FundArgs, is_new: bool, command: &str, output: &Output) -> Result<Exit, Failure> {
    if arguments.amount <= Credits::ZERO {
        return Err(Failure::new(Exit::Usage, "an amount must be above 0").help("give it with --amount 10"));
    }
    if arguments.longest.is_zero() {
        return Err(Failure::new(Exit::Usage, "a host needs some time to draw").help("give it with --for 30d"));
    }
    let hour = TimeSpan::from_seconds(3_600);
    let fastest = arguments.highest_rate.unwrap_or(arguments.amount);
    let highest_rate = Rate::of(fastest, hour)
        .filter(|_| fastest > Credits::ZERO)
        .ok_or_else(|| Failure::new(Exit::Usage, format!("{fastest} credits an hour is no rate")).help("give more"))?;
    let session = Session::open(output, command)?;
    let chosen = arguments.hosts.choose(&session)?;
    let site = session.site();
    let plan = |amount| -> Result<PlannedEscrow, LinkError> {
        Ok(PlannedEscrow { id: new_id()?, amount, longest: arguments.longest, highest_rate })
    };
    let answers =
        ask(&chosen, |chosen| put_into(site.bank(), chosen, &arguments.pool.pool, arguments.amount, is_new, &plan));
    session.close()?;
    Ok(answers.show(output, account_json, |accounts| account_table(accounts, output)))
}

/// Funds one host account. Money that was set aside for it before and never handed in, because something broke between
/// bank and host, is handed in first, and counts.
fn put_into(
    bank: &dyn BankLink,
    chosen: &Chosen,
    pool: &PoolName,
    amount: Credits,
    is_new: bool,
    plan: &dyn Fn(Credits) -> Result<PlannedEscrow, LinkError>,
) -> Result<AccountReport, LinkError> {
    let link = &chosen.host.link;
    let account = link.account(pool)?;
    let refused = |code: &str, message: String, help: String| Err(LinkError::refused(code, message, Some(&help)));
    match (&account, is_new) {
        (Some(_), true) => {
            let help = format!("put more into it with `tycoon host fund {} --pool {pool}`", chosen.host.name);
            return refused("host.account-exists", format!("there is an account for pool `{pool}` already"), help);
        }
        (None, false) => {
            let help = format!("open it with `tycoon host create-account {} --pool {pool}`", chosen.host.name);
            return refused("host.no-account", format!("there is no account for pool `{pool}`"), help);
        }
        _ => {}
    }
    let offers = link.offers(pool)?;
    if is_new && offers.is_draining {
        let message = "the owner drains the host: it takes no new accounts".to_owned();
        return refused("host.draining", message, "choose another host; `tycoon hosts` lists them".to_owned());
    }
    // A host that takes nothing from this account says so now, before any money is on its way.
    // The least that there is is held for a minute.
    let least = BTreeMap::from([(ResourceKind::Cpu, Quantity::new(1))]);
    link.quote(&QuoteRequest { pool: pool.clone(), minima: least })?;
    let mut missing = amount;
    let mut report = None;
    let escrows = bank.escrows(Some(pool))?;
    for escrow in unredeemed(&escrows, &chosen.host.id, account.as_ref(), &offers) {
        report = Some(link.fund(pool, &bank.receipt(escrow.id)?)?);
        missing = missing.saturating_sub_at_zero(escrow.amount);
    }
    if missing > Credits::ZERO {
        let receipt = bank.open_escrow(pool, &chosen.host, &plan(missing)?)?;
        report = Some(link.fund(pool, &receipt)?);
    }
    report.ok_or_else(|| LinkError::Nonsense { reason: "nothing was put in".into() })
}

fn new_id() -> Result<EscrowId, LinkError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| LinkError::Nonsense {
        reason: format!("the operating system gave no random bytes: {error}"),
    })?;
    Ok(EscrowId::from_bytes(bytes))
}

/// Gives money back.
pub fn refund(arguments: &RefundArgs, output: &Output) -> Result<Exit, Failure> {
    let session = Session::open(output, "tycoon host refund")?;
    let chosen = arguments.hosts.choose(&session)?;
    let pool = &arguments.pool.pool;
    let answers = ask(&chosen, |chosen| {
        let generation = chosen.host.link.account(pool)?.map_or(0, |account| account.generation);
        let request = RefundRequest { generation, leave: arguments.leave };
        chosen.client()?.refund(pool, &request).map_err(LinkError::from)
    });
    session.close()?;
    Ok(answers.show(output, account_json, |accounts| account_table(accounts, output)))
}

/// Ends host accounts.
pub fn close(arguments: &CloseArgs, output: &Output) -> Result<Exit, Failure> {
    let session = Session::open(output, "tycoon host close-account")?;
    let chosen = arguments.hosts.choose(&session)?;
    let pool = &arguments.pool.pool;
    if output.can_ask && !arguments.yes {
        let names: Vec<&str> = chosen.iter().map(|chosen| chosen.host.name.as_str()).collect();
        let question = format!("Close the account for `{pool}` on {}? Its domains and disks go.", names.join(", "));
        if !output.confirm_until(&question, || session.is_interrupted()) {
            return Err(Failure::new(Exit::Failed, "nothing was closed"));
        }
    }
    let answers = ask(&chosen, |chosen| {
        let generation = chosen.host.link.account(pool)?.map_or(u64::MAX, |account| account.generation);
        chosen.client()?.close(pool, generation).map_err(LinkError::from)
    });
    session.close()?;
    let to_json = |report: &CloseReport| -> Value {
        json!({
            "charged_micro": report.charged.micros(), "refunded_micro": report.refunded.micros(),
            "settled": report.is_settled,
        })
    };
    Ok(answers.show(output, to_json, |reports| {
        let row = |(host, report): &(&str, &CloseReport)| {
            let settled = if report.is_settled { "back" } else { "on its way" };
            vec![(*host).to_owned(), report.charged.rounded(6), report.refunded.rounded(6), settled.to_owned()]
        };
        let rows: Vec<Vec<String>> = reports.iter().map(row).collect();
        table(&["HOST", "CHARGED", "RETURNED", "MONEY"], &rows, &[1, 2], output.stdout)
    }))
}

/// A host account as data.
pub fn account_json(account: &AccountReport) -> Value {
    let shares: serde_json::Map<String, Value> =
        account.allocation.iter().map(|(kind, share)| (kind.word().to_owned(), json!(share))).collect();
    json!({
        "account": account.account, "pool": account.pool, "state": account.state,
        "funded_micro": account.funded.micros(), "charged_micro": account.charged.micros(),
        "balance_micro": account.balance.micros(), "refundable_micro": account.refundable.micros(),
        "contingency_micro": account.contingency.micros(),
        "rate_credits_per_hour": account.rate.credits_per_hour(),
        "bid": account.bid.as_ref().map(tycoon_market::bid_text::show_bid),
        "expires_at_us": account.expires_at.map(Timestamp::micros), "allocation": shares,
        "unique": account.unique, "generation": account.generation,
    })
}

/// Host accounts, a line each.
pub fn account_table(accounts: &[(&str, &AccountReport)], output: &Output) -> String {
    let row = |(host, account): &(&str, &AccountReport)| {
        let shares = super::account::shares(&account.allocation);
        vec![
            (*host).to_owned(),
            account.pool.to_string(),
            super::account::state(account.state),
            account.balance.rounded(6),
            account.contingency.rounded(6),
            account.charged.rounded(6),
            super::account::number(account.rate.credits_per_hour()),
            if shares.is_empty() { "–".to_owned() } else { shares.join(", ") },
        ]
    };
    let header = ["HOST", "POOL", "STATE", "LEFT", "OF IT SET ASIDE", "CHARGED", "BID PER HOUR", "HAS"];
    table(&header, &accounts.iter().map(row).collect::<Vec<_>>(), &[3, 4, 5, 6], output.stdout)
}
