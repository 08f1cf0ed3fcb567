//! `tycoon bank`: your account at the bank, and the bank itself.

pub mod access;
mod accounts;
mod books;
mod money;
mod reports;
pub mod serve;
mod store;

use clap::{Args, Subcommand};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use access::BankChoice;

/// Arguments of `tycoon bank`.
#[derive(Args, Debug)]
pub struct BankArgs {
    /// Which bank.
    #[command(flatten)]
    pub choice: BankChoice,
    /// What to do.
    #[command(subcommand)]
    pub command: BankCommand,
}

/// What to ask the bank, or to do with one.
#[derive(Subcommand, Debug)]
pub enum BankCommand {
    /// Show what everybody may know about the bank
    Info,
    /// Show what you have, and what is set aside for hosts
    Balance(accounts::BalanceArgs),
    /// List your account and its sub-accounts; all accounts, for the issuer
    Accounts,
    /// Open an account for a key
    #[command(alias = "create")]
    CreateAccount(accounts::CreateArgs),
    /// Close an account, in favour of another
    Close(accounts::CloseArgs),
    /// Put a new key in the place of yours
    RotateKey(accounts::RotateArgs),
    /// List the keys of an account, or add, change or remove one
    Keys(accounts::KeysArgs),
    /// Grant a sub-account money again and again, to be used or lost
    Allowance(accounts::AllowanceArgs),
    /// Pay somebody
    Transfer(money::TransferArgs),
    /// Give back what somebody paid you, in whole or in part
    Refund(money::RefundArgs),
    /// Reserve money for somebody, to be posted or voided later
    Reserve(money::ReserveArgs),
    /// Post a reservation, in whole or in part
    Post(money::PostArgs),
    /// Void a reservation
    Void(money::VoidArgs),
    /// Put credits into circulation; only the issuer may
    Issue(money::IssueArgs),
    /// Show the signed receipt of a transfer, or check one offline
    Receipt(money::ReceiptArgs),
    /// List what changed your balance, the latest first
    History(reports::HistoryArgs),
    /// List what hosts drew from your escrows and gave back, and check their signatures line by line
    Statement(reports::StatementArgs),
    /// Add up what was paid in a month, by account and pool
    Usage(reports::UsageArgs),
    /// Count all money anew from the bank's records, and check that none was lost
    Audit(books::StoreArgs),
    /// Write all records of a bank as one text
    Export(books::ExportArgs),
    /// Make a bank of an export
    Import(books::ImportArgs),
    /// Copy a bank's journal while it runs
    Backup(books::BackupArgs),
    /// Make a bank of a backup, in a new epoch that refuses receipts from before
    Restore(books::RestoreArgs),
    /// Put old segments of a bank's journal away into another folder
    Archive(books::ArchiveArgs),
    /// Serve a bank on the network
    Serve(serve::ServeArgs),
}

/// Does it.
pub fn run(arguments: &BankArgs, output: &Output) -> Result<Exit, Failure> {
    use BankCommand as C;
    let choice = &arguments.choice;
    match &arguments.command {
        C::Serve(arguments) => return serve::run(arguments, output),
        C::Export(arguments) => return books::export(arguments, output),
        C::Import(arguments) => return books::import(arguments, output),
        C::Backup(arguments) => return books::backup(arguments, output),
        C::Restore(arguments) => return books::restore(arguments, output),
        C::Archive(arguments) => return books::archive(arguments, output),
        C::Audit(arguments) if arguments.store.is_some() => return books::audit(arguments, output),
        C::Receipt(arguments) if arguments.check.is_some() => return money::check_receipt(arguments, choice, output),
        _ => {}
    }
    let access = choice.open(output, "tycoon bank")?;
    let exit = match &arguments.command {
        C::Info => accounts::info(&access, output),
        C::Balance(arguments) => accounts::balance(&access, arguments, output),
        C::Accounts => accounts::list(&access, output),
        C::CreateAccount(arguments) => accounts::create(&access, arguments, output),
        C::Close(arguments) => accounts::close(&access, arguments, output),
        C::RotateKey(arguments) => accounts::rotate(&access, choice, arguments, output),
        C::Keys(arguments) => accounts::keys(&access, arguments, output),
        C::Allowance(arguments) => accounts::allowance(&access, arguments, output),
        C::Transfer(arguments) => money::transfer(&access, arguments, output),
        C::Refund(arguments) => money::refund(&access, arguments, output),
        C::Reserve(arguments) => money::reserve(&access, arguments, output),
        C::Post(arguments) => money::post(&access, arguments, output),
        C::Void(arguments) => money::void(&access, arguments, output),
        C::Issue(arguments) => money::issue(&access, arguments, output),
        C::Receipt(arguments) => money::receipt(&access, arguments, output),
        C::History(arguments) => reports::history(&access, arguments, output),
        C::Statement(arguments) => reports::statement(&access, arguments, output),
        C::Usage(arguments) => reports::usage(&access, arguments, output),
        C::Audit(_) => books::audit_of(&access, output),
        C::Serve(_) | C::Export(_) | C::Import(_) | C::Backup(_) | C::Restore(_) | C::Archive(_) => Ok(Exit::Ok),
    }?;
    access.close()?;
    Ok(exit)
}
