//! `tycoon host account`: what a host has charged, line by line.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::{Value, json};
use tycoon_executor::link::{LinkError, SiteHost};
use tycoon_market::auctioneer::{AccountState, ChargeFor, ChargeLine};
use tycoon_market::{Credits, PoolName, Quantity, ResourceKind};
use tycoon_xen::market::{AccountReport, ChargesReport};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Output, table};
use crate::site::Session;
use crate::time::{local, local_with_seconds};

/// Arguments of `tycoon host account`.
#[derive(Args, Debug)]
pub struct AccountArgs {
    /// The host
    #[arg(value_name = "HOST")]
    host: String,
    /// Only the account of this pool
    #[arg(long, value_name = "POOL")]
    pool: Option<PoolName>,
}

/// Explains the charges of one host.
pub fn run(arguments: &AccountArgs, output: &Output) -> Result<Exit, Failure> {
    let session = Session::open(output, "tycoon host account")?;
    let site = session.site();
    let hosts = site.hosts().map_err(|error| Failure::from_error(Exit::Failed, &error))?;
    let host = hosts.iter().find(|host| host.name.as_str() == arguments.host);
    let host = host.ok_or_else(|| unknown(&arguments.host, &hosts))?;
    let asked = ask(host, arguments.pool.as_ref());
    session.close()?;
    let accounts = asked.map_err(|error| {
        let failure = Failure::from_error(Exit::Failed, &error).context(&format!("host {} does not tell", host.name));
        match error.help() {
            Some(help) => failure.help(help),
            None => failure,
        }
    })?;
    if let (Some(pool), true) = (&arguments.pool, accounts.is_empty()) {
        return Err(Failure::new(Exit::Failed, format!("there is no account for pool `{pool}` on host {}", host.name))
            .help("`tycoon ls` lists your pools, `tycoon status POOL` says on which hosts it is"));
    }
    if output.json {
        output.print_json(&accounts.iter().map(|(account, charges)| to_json(account, charges)).collect::<Vec<_>>());
        return Ok(Exit::Ok);
    }
    if accounts.is_empty() {
        output.print(&format!("You have no account on host {}.\n", host.name));
    }
    for (number, (account, charges)) in accounts.iter().enumerate() {
        if number > 0 {
            output.print("\n");
        }
        print(account, charges, output);
    }
    Ok(Exit::Ok)
}

fn unknown(name: &str, hosts: &[SiteHost]) -> Failure {
    let near = hosts.iter().max_by(|one, two| {
        strsim::jaro_winkler(name, one.name.as_str()).total_cmp(&strsim::jaro_winkler(name, two.name.as_str()))
    });
    let help = match near {
        Some(near) => format!("did you mean `{}`? `tycoon hosts` lists the hosts", near.name),
        None => "`tycoon hosts` lists the hosts".to_owned(),
    };
    Failure::new(Exit::Failed, format!("there is no host `{name}`")).help(help)
}

/// The accounts of all pools, or of one, with their charges. One that is closed meanwhile is left out.
fn ask(host: &SiteHost, pool: Option<&PoolName>) -> Result<Vec<(AccountReport, ChargesReport)>, LinkError> {
    let accounts = match pool {
        Some(pool) => host.link.account(pool)?.into_iter().collect(),
        None => host.link.accounts()?,
    };
    let mut found = Vec::new();
    for account in accounts {
        if let Some(charges) = host.link.charges(&account.pool)? {
            found.push((account, charges));
        }
    }
    Ok(found)
}

fn print(account: &AccountReport, charges: &ChargesReport, output: &Output) {
    let style = output.stdout;
    output.print(&format!(
        "{}: {}; funded {}, charged {}, {} left; bids {} per hour\n",
        style.bold(&format!("Pool {}", account.pool)),
        state(account.state),
        account.funded.rounded(6),
        charges.charged.rounded(6),
        account.balance.rounded(6),
        number(account.rate.credits_per_hour()),
    ));
    let lines: Vec<&ChargeLine> = charges.intervals.iter().flat_map(|interval| &interval.lines).collect();
    if lines.is_empty() {
        output.print("Nothing was charged lately.\n");
    } else {
        let header = ["UNTIL", "SECONDS", "FOR", "USED", "SHARE", "PER HOUR", "AMOUNT"];
        let rows: Vec<Vec<String>> = lines.iter().map(|line| row(line)).collect();
        output.print(&table(&header, &rows, &[1, 3, 4, 5, 6], style));
    }
    let explained = Credits::checked_sum(lines.iter().map(|line| line.amount)).unwrap_or(Credits::MAX);
    output.print(&format!(
        "{} in these {} lines, {} before them: {} in all.\n",
        explained.rounded(6),
        lines.len(),
        charges.earlier.rounded(6),
        charges.charged.rounded(6),
    ));
    if lines.iter().any(|line| line.is_average) {
        output.print("~ rate and share changed meanwhile, and are means.\n");
    }
}

fn row(line: &ChargeLine) -> Vec<String> {
    let kind = resource(line.item);
    let show = |quantity: Quantity| match kind {
        Some(kind) if line.item != ChargeFor::Unique => kind.show(quantity),
        _ => "–".to_owned(),
    };
    let share = if matches!(line.item, ChargeFor::BeyondShare) { "–".to_owned() } else { show(line.share) };
    let mean = if line.is_average { "~" } else { "" };
    vec![
        local_with_seconds(line.until),
        number(line.time.seconds_f64()),
        name(line.item),
        show(line.used),
        share,
        format!("{mean}{}", number(line.rate.credits_per_hour())),
        line.amount.rounded(6),
    ]
}

fn resource(item: ChargeFor) -> Option<ResourceKind> {
    match item {
        ChargeFor::Bid(kind) | ChargeFor::TopUp(kind) => Some(kind),
        ChargeFor::BeyondShare => Some(ResourceKind::Cpu),
        ChargeFor::Unique | ChargeFor::Closing => None,
    }
}

fn name(item: ChargeFor) -> String {
    match item {
        ChargeFor::Bid(kind) => kind.to_string(),
        ChargeFor::TopUp(kind) => format!("{kind}, minimum"),
        ChargeFor::BeyondShare => "CPU beyond the share".to_owned(),
        ChargeFor::Unique => "addresses and ports".to_owned(),
        ChargeFor::Closing => "closing".to_owned(),
    }
}

pub fn state(state: AccountState) -> String {
    match state {
        AccountState::Idle => "idle".to_owned(),
        AccountState::Waiting => "waiting".to_owned(),
        AccountState::Active => "active".to_owned(),
        AccountState::Warned { reason, stop_at } => format!("{reason}, stops at {}", local(stop_at)),
        AccountState::Stopped { reason, delete_at } => {
            format!("{reason}, stopped; its disk goes at {}", local(delete_at))
        }
    }
}

/// What an account has of each resource: `0.5 CPU`, `1 GiB memory`.
pub fn shares(allocation: &BTreeMap<ResourceKind, Quantity>) -> Vec<String> {
    let share = |(kind, share): (&ResourceKind, &Quantity)| match kind {
        // The unit is the resource.
        ResourceKind::Cpu => kind.show(*share),
        _ => format!("{} {kind}", kind.show(*share)),
    };
    allocation.iter().map(share).collect()
}

/// A number with six decimals at most.
pub fn number(value: f64) -> String {
    let text = format!("{value:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn to_json(account: &AccountReport, charges: &ChargesReport) -> Value {
    let lines: Vec<Value> = charges
        .intervals
        .iter()
        .flat_map(|interval| &interval.lines)
        .map(|line| {
            json!({
                "for": name(line.item), "item": line.item, "until_us": line.until.micros(),
                "seconds": line.time.seconds_f64(), "rate_credits_per_hour": line.rate.credits_per_hour(),
                "share": line.share, "used": line.used, "is_average": line.is_average,
                "amount_micro": line.amount.micros(),
            })
        })
        .collect();
    json!({
        "pool": account.pool, "state": account.state, "funded_micro": account.funded.micros(),
        "charged_micro": charges.charged.micros(), "earlier_micro": charges.earlier.micros(),
        "balance_micro": account.balance.micros(), "lines": lines,
    })
}
