//! `tycoon bank`: your account at the bank.

use clap::Subcommand;
use serde_json::json;
use tycoon_bank::ledger::{Cause, Entry};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Output, table};
use crate::site::Session;
use crate::time::local;

/// What to ask the bank.
#[derive(Subcommand, Debug)]
pub enum BankCommand {
    /// Show what you have, and what is set aside for hosts
    Balance,
    /// List what changed your balance, the latest first
    History {
        /// How many entries
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=500))]
        limit: u16,
    },
    /// Count all money anew from the bank's journal, and check that none was lost
    Audit,
}

/// Asks the bank.
pub fn run(command: &BankCommand, output: &Output) -> Result<Exit, Failure> {
    let session = Session::open(output, "tycoon bank")?;
    let exit = match command {
        BankCommand::Balance => balance(&session, output),
        BankCommand::History { limit } => history(&session, usize::from(*limit), output),
        BankCommand::Audit => audit(&session, output),
    }?;
    session.close()?;
    Ok(exit)
}

fn balance(session: &Session, output: &Output) -> Result<Exit, Failure> {
    let account =
        session.embedded().bank_client().own_account().map_err(|error| Failure::from_error(Exit::Failed, &error))?;
    if output.json {
        output.print_json(&json!({
            "account": account.id,
            "balance_micro": account.balance.micros(),
            "set_aside_micro": account.set_aside.micros(),
            "escrows_open": account.escrows_open,
        }));
    } else {
        output.print(&format!(
            "account    {}\nbalance    {}\nset aside  {} in {} open escrows\n",
            account.id, account.balance, account.set_aside, account.escrows_open
        ));
    }
    Ok(Exit::Ok)
}

fn history(session: &Session, limit: usize, output: &Output) -> Result<Exit, Failure> {
    let account = session.identity().account();
    let page = session
        .embedded()
        .bank_client()
        .history(&account, None, limit)
        .map_err(|error| Failure::from_error(Exit::Failed, &error))?;
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
    Ok(Exit::Ok)
}

fn describe(entry: &Entry) -> String {
    match &entry.cause {
        Cause::Issued { memo, .. } => format!("issued: {memo}"),
        Cause::Sent { to, memo, .. } => format!("to {}: {memo}", to.short()),
        Cause::Received { from, memo, .. } => format!("from {}: {memo}", from.short()),
        Cause::SetAside { pool, host, .. } => format!("set aside for pool {pool} on host {}", host.short()),
        Cause::Returned { pool, host, .. } => format!("back from pool {pool} on host {}", host.short()),
        Cause::Earned { host, from, .. } => format!("earned by host {} from {}", host.short(), from.short()),
    }
}

fn audit(session: &Session, output: &Output) -> Result<Exit, Failure> {
    let audit = session.embedded().audit()?;
    let issued = audit.books.as_ref().map(|books| books.issued).unwrap_or_default();
    if output.json {
        output.print_json(&json!({
            "ok": audit.is_clean(),
            "records": audit.head.record,
            "issued_micro": issued.micros(),
            "in_accounts_micro": audit.in_accounts.micros(),
            "in_escrow_micro": audit.in_escrow.micros(),
            "findings": audit.findings,
        }));
    } else {
        output.print(&format!(
            "{} records, every one in the chain\nissued       {issued}\nin accounts  {}\nin escrow    {}\n",
            audit.head.record, audit.in_accounts, audit.in_escrow
        ));
        for finding in &audit.findings {
            output.print(&format!("{}: {finding}\n", output.stdout.red("wrong")));
        }
        if audit.is_clean() {
            output.print("It adds up: no credit was lost or made.\n");
        }
    }
    Ok(if audit.is_clean() { Exit::Ok } else { Exit::Failed })
}
