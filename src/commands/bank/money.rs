//! Money: paying, reserving, issuing, and the receipts of it.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::json;
use tycoon_bank::api::{IssueRequest, Paid, TransferRequest};
use tycoon_bank::ledger::{RefundOrder, Reservation, ReservationEnd, ReservationOrder, Resolution, Resolver};
use tycoon_bank::transfer_receipt::TransferReceipt;
use tycoon_market::{AccountId, Credits, TimeSpan, TransferId};

use super::access::{Access, BankChoice, failed};
use super::accounts::{Party, span};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::files;
use crate::folders::Folders;
use crate::output::Output;
use crate::parties::Parties;
use crate::site::Session;
use crate::time::local;

/// The largest receipt that is read from a file, in bytes.
const RECEIPT_BYTES_MAX: u64 = 64 << 10;

/// Arguments of `tycoon bank transfer`.
#[derive(Args, Debug)]
pub struct TransferArgs {
    /// Who receives it: an account's id, or its first key
    #[arg(value_name = "TO")]
    pub to: Party,
    /// How much
    #[arg(value_name = "CREDITS")]
    pub amount: Credits,
    /// What for
    #[arg(long, default_value = "", value_name = "TEXT")]
    pub memo: String,
    /// Who pays: yours where none is given, or a sub-account of yours
    #[arg(long, value_name = "ACCOUNT")]
    pub from: Option<Party>,
    /// The transfer's id: the same id pays once, however often it is asked for
    #[arg(long, value_name = "ID")]
    pub id: Option<TransferId>,
}

/// Arguments of `tycoon bank refund`.
#[derive(Args, Debug)]
pub struct RefundArgs {
    /// The transfer that paid
    #[arg(value_name = "ID")]
    pub of: TransferId,
    /// Who paid
    #[arg(long, value_name = "ACCOUNT")]
    pub payer: Party,
    /// How much to give back; all that was not given back yet where nothing is said
    #[arg(long, value_name = "CREDITS")]
    pub amount: Option<Credits>,
    /// What for
    #[arg(long, default_value = "", value_name = "TEXT")]
    pub memo: String,
    /// Who gives back: yours where none is given, or a sub-account of yours
    #[arg(long, value_name = "ACCOUNT")]
    pub from: Option<Party>,
    /// The refund's id: the same id gives back once, however often it is asked for
    #[arg(long, value_name = "ID")]
    pub id: Option<TransferId>,
}

/// Who resolves a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ResolverChoice {
    /// Who pays.
    Payer,
    /// Who receives.
    Payee,
    /// Both.
    Either,
}

/// Arguments of `tycoon bank reserve`.
#[derive(Args, Debug)]
pub struct ReserveArgs {
    /// What would be paid.
    #[command(flatten)]
    pub transfer: TransferArgs,
    /// How long the reservation lasts
    #[arg(long = "for", value_name = "DURATION", value_parser = span)]
    pub lasts: TimeSpan,
    /// Who posts or voids it
    #[arg(long, value_enum, default_value_t = ResolverChoice::Payer, value_name = "WHO")]
    pub resolver: ResolverChoice,
}

/// A reservation, by its id.
#[derive(Args, Debug)]
pub struct ReservationArgs {
    /// The reservation
    #[arg(value_name = "ID")]
    pub id: TransferId,
    /// Who reserved; you where nobody is named
    #[arg(long, value_name = "ACCOUNT")]
    pub payer: Option<Party>,
}

/// Arguments of `tycoon bank post`.
#[derive(Args, Debug)]
pub struct PostArgs {
    /// Which.
    #[command(flatten)]
    pub reservation: ReservationArgs,
    /// How much; all of it where nothing is said
    #[arg(long, value_name = "CREDITS")]
    pub amount: Option<Credits>,
}

/// Arguments of `tycoon bank void`.
#[derive(Args, Debug)]
pub struct VoidArgs {
    /// Which.
    #[command(flatten)]
    pub reservation: ReservationArgs,
}

/// Arguments of `tycoon bank issue`.
#[derive(Args, Debug)]
pub struct IssueArgs {
    /// Who receives it: an account's id, or its first key
    #[arg(value_name = "TO")]
    pub to: Party,
    /// How much
    #[arg(value_name = "CREDITS")]
    pub amount: Credits,
    /// What for
    #[arg(long, default_value = "", value_name = "TEXT")]
    pub memo: String,
    /// The issue's id: the same id issues once, however often it is asked for
    #[arg(long, value_name = "ID")]
    pub id: Option<TransferId>,
}

/// Arguments of `tycoon bank receipt`.
#[derive(Args, Debug)]
pub struct ReceiptArgs {
    /// The transfer
    #[arg(value_name = "ID", required_unless_present = "check")]
    pub id: Option<TransferId>,
    /// Who paid; you where nobody is named
    #[arg(long, value_name = "ACCOUNT")]
    pub payer: Option<Party>,
    /// Check a receipt in a file, without asking the bank
    #[arg(long, value_name = "FILE", conflicts_with_all = ["id", "payer"])]
    pub check: Option<PathBuf>,
}

fn new_id(given: Option<TransferId>) -> Result<TransferId, Failure> {
    if let Some(id) = given {
        return Ok(id);
    }
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::new(Exit::Failed, format!("the operating system gave no random bytes: {error}")))?;
    Ok(TransferId::from_bytes(bytes))
}

/// What went wrong with an order that has an id: it may have been carried out all the same.
fn failed_order(error: &tycoon_rpc::CallError, id: TransferId) -> Failure {
    let failure = failed(error);
    if error.problem().is_some() {
        failure
    } else {
        failure.help(format!("whether it was done is not known; repeat the command with --id {id}: it is done once"))
    }
}

fn order(access: &Access, arguments: &TransferArgs) -> Result<TransferRequest, Failure> {
    let payer = match arguments.from {
        Some(Party(id)) => id,
        None => access.own_id()?,
    };
    Ok(TransferRequest {
        id: new_id(arguments.id)?,
        payer,
        payee: arguments.to.0,
        amount: arguments.amount,
        memo: arguments.memo.clone(),
    })
}

fn show_paid(paid: &Paid, output: &Output) {
    if output.json {
        output.print_json(paid);
        return;
    }
    let transfer = &paid.transfer;
    output.print(&format!(
        "transfer  {}\nfrom      {}\nto        {}\namount    {}\nbalance   {}\nat        {}, record {}\n",
        transfer.id,
        transfer.payer,
        transfer.payee,
        transfer.amount,
        transfer.balance,
        local(transfer.at),
        transfer.record
    ));
}

fn show_reservation(reservation: &Reservation, output: &Output) {
    if output.json {
        output.print_json(reservation);
        return;
    }
    let order = &reservation.order;
    let state = match reservation.end {
        None => format!("open until {}", local(reservation.expires_at)),
        Some(ReservationEnd::Posted { amount }) => format!("posted with {amount}"),
        Some(ReservationEnd::Voided) => "voided".to_owned(),
        Some(ReservationEnd::Expired) => "expired".to_owned(),
    };
    output.print(&format!(
        "reservation  {}\nfrom         {}\nto           {}\namount       {}\nstate        {state}\n",
        order.id, order.payer, order.payee, order.amount
    ));
}

/// Pays.
pub fn transfer(access: &Access, arguments: &TransferArgs, output: &Output) -> Result<Exit, Failure> {
    let order = order(access, arguments)?;
    let paid = access.client().transfer(&order).map_err(|error| failed_order(&error, order.id))?;
    show_paid(&paid, output);
    Ok(Exit::Ok)
}

/// Gives back what a transfer paid.
pub fn refund(access: &Access, arguments: &RefundArgs, output: &Output) -> Result<Exit, Failure> {
    let order = RefundOrder {
        id: new_id(arguments.id)?,
        payer: payer_of(access, arguments.from)?,
        payee: arguments.payer.0,
        of: arguments.of,
        amount: arguments.amount,
        memo: arguments.memo.clone(),
    };
    let paid = access.client().refund(&order).map_err(|error| failed_order(&error, order.id))?;
    show_paid(&paid, output);
    Ok(Exit::Ok)
}

/// Reserves.
pub fn reserve(access: &Access, arguments: &ReserveArgs, output: &Output) -> Result<Exit, Failure> {
    let TransferRequest { id, payer, payee, amount, memo } = order(access, &arguments.transfer)?;
    let resolver = match arguments.resolver {
        ResolverChoice::Payer => Resolver::Payer,
        ResolverChoice::Payee => Resolver::Payee,
        ResolverChoice::Either => Resolver::Either,
    };
    let order = ReservationOrder { id, payer, payee, amount, memo, timeout: arguments.lasts, resolver };
    let reservation = access.client().reserve(&order).map_err(|error| failed_order(&error, id))?;
    show_reservation(&reservation, output);
    Ok(Exit::Ok)
}

fn payer_of(access: &Access, named: Option<Party>) -> Result<AccountId, Failure> {
    match named {
        Some(Party(id)) => Ok(id),
        None => access.own_id(),
    }
}

/// Posts a reservation.
pub fn post(access: &Access, arguments: &PostArgs, output: &Output) -> Result<Exit, Failure> {
    resolve(access, &arguments.reservation, Resolution::Post { amount: arguments.amount }, output)
}

/// Voids a reservation.
pub fn void(access: &Access, arguments: &VoidArgs, output: &Output) -> Result<Exit, Failure> {
    resolve(access, &arguments.reservation, Resolution::Void {}, output)
}

fn resolve(access: &Access, which: &ReservationArgs, how: Resolution, output: &Output) -> Result<Exit, Failure> {
    let payer = payer_of(access, which.payer)?;
    let reservation = access.client().resolve(&payer, &which.id, how).map_err(|error| failed(&error))?;
    show_reservation(&reservation, output);
    Ok(Exit::Ok)
}

/// Issues credits.
pub fn issue(access: &Access, arguments: &IssueArgs, output: &Output) -> Result<Exit, Failure> {
    let id = new_id(arguments.id)?;
    let request = IssueRequest { id, to: arguments.to.0, amount: arguments.amount, memo: arguments.memo.clone() };
    let paid = access.client().issue(&request).map_err(|error| failed_order(&error, id))?;
    show_paid(&paid, output);
    Ok(Exit::Ok)
}

/// Shows a transfer's receipt, as data that others can check.
pub fn receipt(access: &Access, arguments: &ReceiptArgs, output: &Output) -> Result<Exit, Failure> {
    let Some(id) = arguments.id else { return Err(Failure::new(Exit::Usage, "which transfer is not said")) };
    let payer = payer_of(access, arguments.payer)?;
    let paid = access.client().paid(&payer, &id).map_err(|error| failed(&error))?;
    output.print_json(&paid.receipt);
    Ok(Exit::Ok)
}

/// Checks a receipt in a file against the bank's pinned key.
pub fn check_receipt(arguments: &ReceiptArgs, choice: &BankChoice, output: &Output) -> Result<Exit, Failure> {
    let Some(path) = &arguments.check else { return Err(Failure::new(Exit::Usage, "which file is not said")) };
    let parties = Parties::read(&Folders::find("remote")?.config)?;
    let key = match choice.pinned(&parties, output)? {
        Some((_, key)) => key,
        None => {
            let (session, site) = Session::open_embedded(output, "tycoon bank receipt")?;
            session.close()?;
            site.bank_client().bank()
        }
    };
    let shown = path.display();
    let text = files::read_text("the receipt", path, RECEIPT_BYTES_MAX)?;
    let receipt: TransferReceipt = serde_json::from_str(&text)
        .map_err(|error| Failure::from_error(Exit::Failed, &error).context(&format!("{shown} holds no receipt")))?;
    receipt.verify(&key).map_err(|error| Failure::from_error(Exit::Failed, &error).help("do not rely on it"))?;
    let terms = &receipt.terms;
    if output.json {
        output.print_json(&json!({ "ok": true, "terms": terms }));
    } else {
        output.print(&format!(
            "The bank {} says that {} paid {} to {} at {}.\n",
            key.fingerprint(),
            terms.payer,
            terms.amount,
            terms.payee,
            local(terms.at)
        ));
    }
    Ok(Exit::Ok)
}
