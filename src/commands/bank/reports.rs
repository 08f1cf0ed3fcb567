//! Reports: what happened on an account, line by line or added up.

use std::collections::BTreeMap;

use clap::Args;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::json;
use tycoon_bank::ledger::{Account, Cause, Entry, EscrowEnd, Line};
use tycoon_market::{Credits, EscrowId, PoolName, Timestamp};

use super::access::{Access, failed};
use super::accounts::Party;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Output, table};
use crate::site::world::Surroundings;
use crate::time::local;

/// Arguments of `tycoon bank history`.
#[derive(Args, Debug)]
pub struct HistoryArgs {
    /// How many entries
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=500))]
    pub limit: u16,
    /// The account; yours where none is given
    #[arg(long, value_name = "ACCOUNT")]
    pub account: Option<Party>,
    /// Only entries of one month
    #[arg(long, value_name = "YYYY-MM")]
    pub month: Option<Month>,
    /// Only entries of one kind, such as `received` or `earned`
    #[arg(long, value_name = "KIND")]
    pub kind: Option<String>,
    /// Go on behind the entries shown before, from the number that they ended with
    #[arg(long, value_name = "NUMBER")]
    pub before: Option<u64>,
}

/// Arguments of `tycoon bank statement`.
#[derive(Args, Debug)]
pub struct StatementArgs {
    /// The account; yours where none is given
    #[arg(long, value_name = "ACCOUNT")]
    pub account: Option<Party>,
    /// The month; this one where none is given
    #[arg(long, value_name = "YYYY-MM")]
    pub month: Option<Month>,
    /// Only lines of one pool
    #[arg(long, value_name = "NAME")]
    pub pool: Option<PoolName>,
}

/// Arguments of `tycoon bank usage`.
#[derive(Args, Debug)]
pub struct UsageArgs {
    /// The month; this one where none is given
    #[arg(long, value_name = "YYYY-MM")]
    pub month: Option<Month>,
    /// Print comma-separated values
    #[arg(long)]
    pub csv: bool,
}

/// A month of the calendar, in the local time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Month(Date);

impl std::str::FromStr for Month {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "write a year and a month, such as 2026-03".to_owned();
        let (year, month) = text.split_once('-').ok_or_else(wrong)?;
        let (year, month) = (year.parse().map_err(|_| wrong())?, month.parse().map_err(|_| wrong())?);
        Date::new(year, month, 1).map(Self).map_err(|_| wrong())
    }
}

impl Month {
    /// The month that `time` is in.
    fn of(time: Timestamp) -> Result<Self, Failure> {
        let time = jiff::Timestamp::from_microsecond(time.micros())
            .map_err(|error| Failure::from_error(Exit::Failed, &error))?;
        Ok(Self(time.to_zoned(TimeZone::system()).date().first_of_month()))
    }

    /// Its beginning, and that of the next one.
    fn span(self) -> Result<(Timestamp, Timestamp), Failure> {
        let failed = |error: jiff::Error| Failure::from_error(Exit::Failed, &error);
        let start = |date: Date| {
            let zoned = date.to_zoned(TimeZone::system()).map_err(failed)?;
            Ok::<_, Failure>(Timestamp::from_micros(zoned.timestamp().as_microsecond()))
        };
        let next = self.0.checked_add(jiff::Span::new().months(1)).map_err(failed)?;
        Ok((start(self.0)?, start(next)?))
    }
}

fn month_or_present(month: Option<Month>) -> Result<Month, Failure> {
    month.map_or_else(|| Month::of(Surroundings::find()?.clock.now()), Ok)
}

/// Lists what changed a balance.
pub fn history(access: &Access, arguments: &HistoryArgs, output: &Output) -> Result<Exit, Failure> {
    let id = match arguments.account {
        Some(Party(id)) => id,
        None => access.own_id()?,
    };
    let span = arguments.month.map(Month::span).transpose()?;
    let span = span.map(|(from, to)| (from.micros().to_string(), to.micros().to_string()));
    let mut filters: Vec<(&str, &str)> = Vec::new();
    if let Some((from, to)) = &span {
        filters.extend([("from", from.as_str()), ("to", to.as_str())]);
    }
    filters.extend(arguments.kind.as_deref().map(|kind| ("kind", kind)));
    let before = arguments.before.map(|before| before.to_string());
    let limit = usize::from(arguments.limit);
    let page =
        access.client().filtered_history(&id, before.as_deref(), limit, &filters).map_err(|error| failed(&error))?;
    if output.json {
        output.print_json(&page.items);
        return Ok(Exit::Ok);
    }
    let rows: Vec<Vec<String>> = page
        .items
        .iter()
        .map(|entry| vec![local(entry.at), entry.change.to_string(), entry.balance.to_string(), describe(entry)])
        .collect();
    output.print(&table(&["WHEN", "CHANGE", "BALANCE", "WHAT FOR"], &rows, &[1, 2], output.stdout));
    if let Some(next) = page.next {
        output.message(&format!("there is more: go on with --before {next}"));
    }
    Ok(Exit::Ok)
}

fn describe(entry: &Entry) -> String {
    match &entry.cause {
        Cause::Issued { memo, .. } => format!("issued: {memo}"),
        Cause::Sent { to, memo, .. } => format!("to {}: {memo}", to.short()),
        Cause::Received { from, memo, .. } => format!("from {}: {memo}", from.short()),
        Cause::Refund { to, memo, .. } => format!("given back to {}: {memo}", to.short()),
        Cause::Refunded { from, memo, .. } => format!("given back by {}: {memo}", from.short()),
        Cause::Deposit { account } => format!("deposit of a new account: {}", account.short()),
        Cause::Reserved { to, memo, .. } => format!("reserved for {}: {memo}", to.short()),
        Cause::Unreserved { to, .. } => format!("back from a reservation for {}", to.short()),
        Cause::Allowance { account } => format!("allowance: {}", account.short()),
        Cause::Closed { account } => format!("closed: {}", account.short()),
        Cause::SetAside { pool, host, .. } => format!("set aside for pool {pool} on host {}", host.short()),
        Cause::Returned { pool, host, .. } => format!("back from pool {pool} on host {}", host.short()),
        Cause::Earned { host, from, .. } => format!("earned by host {} from {}", host.short(), from.short()),
    }
}

/// What is wrong with a line: a host that did not sign what it drew, or that signed another total.
fn wrong_with(line: &Line, drawn: &mut BTreeMap<EscrowId, Credits>) -> Option<&'static str> {
    let before = drawn.get(&line.escrow).copied();
    let total = before.unwrap_or_default().checked_add(line.drawn).unwrap_or(Credits::MAX);
    drawn.insert(line.escrow, total);
    match &line.statement {
        None if !line.drawn.is_zero() => Some("drawn without a statement"),
        None => None,
        Some(statement) if statement.verify(&line.host_key).is_err() => Some("not signed by the host"),
        Some(statement) if statement.terms.escrow != line.escrow => Some("a statement of another escrow"),
        // An escrow that was opened before the month has drawn totals from before it.
        Some(statement) if before.is_some() && statement.terms.drawn_total != total => {
            Some("the host signed another total")
        }
        Some(statement) => {
            drawn.insert(line.escrow, statement.terms.drawn_total);
            None
        }
    }
}

/// Lists what hosts drew and gave back, and checks it.
pub fn statement(access: &Access, arguments: &StatementArgs, output: &Output) -> Result<Exit, Failure> {
    let id = match arguments.account {
        Some(Party(id)) => id,
        None => access.own_id()?,
    };
    let (from, to) = month_or_present(arguments.month)?.span()?;
    let lines = access.client().lines(&id, from, to).map_err(|error| failed(&error))?;
    let mut drawn = BTreeMap::new();
    let checked: Vec<(Line, Option<&'static str>)> = lines
        .into_iter()
        .filter(|line| arguments.pool.as_ref().is_none_or(|pool| line.pool == *pool))
        .map(|line| {
            let wrong = wrong_with(&line, &mut drawn);
            (line, wrong)
        })
        .collect();
    let wrong = checked.iter().filter(|(_, wrong)| wrong.is_some()).count();
    if output.json {
        let values: Vec<_> = checked.iter().map(|(line, wrong)| json!({ "line": line, "wrong": wrong })).collect();
        output.print_json(&values);
    } else {
        let rows: Vec<Vec<String>> = checked
            .iter()
            .map(|(line, wrong)| {
                let end = match line.end {
                    None => "",
                    Some(EscrowEnd::Closed) => "closed",
                    Some(EscrowEnd::Lapsed) => "lapsed",
                };
                let check = match (wrong, &line.statement) {
                    (Some(wrong), _) => (*wrong).to_owned(),
                    (None, Some(_)) => "signed".to_owned(),
                    (None, None) => String::new(),
                };
                vec![
                    local(line.at),
                    line.pool.to_string(),
                    line.host.short(),
                    amount(line.set_aside),
                    amount(line.drawn),
                    amount(line.returned),
                    [end, &check].join(" ").trim().to_owned(),
                ]
            })
            .collect();
        let header = ["WHEN", "POOL", "HOST", "SET ASIDE", "DRAWN", "RETURNED", ""];
        output.print(&table(&header, &rows, &[3, 4, 5], output.stdout));
        if wrong == 0 {
            output.print("Every amount that a host drew is signed by that host.\n");
        } else {
            output.print(&format!("{}: {wrong} lines\n", output.stdout.red("wrong")));
        }
    }
    Ok(if wrong == 0 { Exit::Ok } else { Exit::Failed })
}

fn amount(amount: Credits) -> String {
    if amount.is_zero() { String::new() } else { amount.to_string() }
}

/// What one account paid for one pool.
#[derive(Clone, Copy, Debug, Default)]
struct Paid {
    set_aside: Credits,
    drawn: Credits,
    returned: Credits,
    lines: u64,
}

/// Adds up what was paid in a month, by account and pool.
pub fn usage(access: &Access, arguments: &UsageArgs, output: &Output) -> Result<Exit, Failure> {
    let month = month_or_present(arguments.month)?;
    let (from, to) = month.span()?;
    let accounts = access.client().accounts().map_err(|error| failed(&error))?;
    let mut rows: Vec<(Account, PoolName, Paid)> = Vec::new();
    for account in accounts {
        let mut pools: BTreeMap<PoolName, Paid> = BTreeMap::new();
        for line in access.client().lines(&account.id, from, to).map_err(|error| failed(&error))? {
            let paid = pools.entry(line.pool).or_default();
            let add = |sum: Credits, part: Credits| sum.checked_add(part).unwrap_or(Credits::MAX);
            paid.set_aside = add(paid.set_aside, line.set_aside);
            paid.drawn = add(paid.drawn, line.drawn);
            paid.returned = add(paid.returned, line.returned);
            paid.lines += 1;
        }
        rows.extend(pools.into_iter().map(|(pool, paid)| (account.clone(), pool, paid)));
    }
    let month = month.0.strftime("%Y-%m").to_string();
    if output.json {
        let values = rows.iter().map(|(account, pool, paid)| {
            json!({
                "month": month, "account": account.id, "label": account.label, "pool": pool,
                "drawn_micro": paid.drawn.micros(), "set_aside_micro": paid.set_aside.micros(),
                "returned_micro": paid.returned.micros(), "lines": paid.lines,
            })
        });
        output.print_json(&values.collect::<Vec<_>>());
    } else if arguments.csv {
        let mut text = "month,account,label,pool,drawn,set_aside,returned,lines\n".to_owned();
        for (account, pool, paid) in &rows {
            let label = csv(&account.label);
            text.push_str(&format!(
                "{month},{},{label},{pool},{},{},{},{}\n",
                account.id, paid.drawn, paid.set_aside, paid.returned, paid.lines
            ));
        }
        output.print(&text);
    } else {
        let cells = rows.iter().map(|(account, pool, paid)| {
            let name = if account.label.is_empty() { account.id.short() } else { account.label.clone() };
            vec![name, pool.to_string(), paid.drawn.to_string(), paid.set_aside.to_string(), paid.returned.to_string()]
        });
        let header = ["ACCOUNT", "POOL", "PAID", "SET ASIDE", "RETURNED"];
        output.print(&table(&header, &cells.collect::<Vec<_>>(), &[2, 3, 4], output.stdout));
    }
    Ok(Exit::Ok)
}

/// A text as a field of comma-separated values (RFC 4180); what a spreadsheet would take for a formula is made text.
fn csv(text: &str) -> String {
    let text = if text.starts_with(['=', '+', '-', '@']) { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_keep_their_content_and_start_no_formula() {
        assert_eq!(csv("physics"), "physics");
        assert_eq!(csv("a, \"b\""), "\"a, \"\"b\"\"\"");
        assert_eq!(csv("=1+1"), "'=1+1");
    }

    #[test]
    fn a_month_reads_and_spans() {
        let (from, to) = "2026-12".parse::<Month>().unwrap().span().unwrap();
        assert!((30 * 86_400..32 * 86_400).contains(&(to.since(from).micros() / 1_000_000)));
        for text in ["2026", "2026-13", "x-1", "2026-0"] {
            assert!(text.parse::<Month>().is_err(), "{text}");
        }
    }
}
