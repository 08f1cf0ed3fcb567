//! Counting everything anew: the proof that no credit was lost.
//!
//! The audit reads the journal alone, from its first record: it checks the chain of hashes, repeats every operation by
//! the rules, adds up all accounts and escrows, checks the signed requests behind the operations, and compares the
//! result with an index.

use std::path::Path;

use tycoon_market::{AccountId, Credits, EscrowId};

use crate::bank::{Bank, BankError, repeat};
use crate::evidence::Payload;
use crate::export::Visitor;
use crate::journal::{self, Check};
use crate::ledger::{Books, View as _};
use crate::store::{Head, MemoryStore, Store, StoreError};

/// The rows that are compared at a time.
const PAGE: usize = 1000;

/// What an audit found.
#[derive(Clone, Debug, PartialEq)]
pub struct Audit {
    /// The last record.
    pub head: Head,
    /// The totals as the journal gives them.
    pub books: Option<Books>,
    /// The sum of all balances, counted one by one.
    pub in_accounts: Credits,
    /// The sum of what all escrows hold, counted one by one.
    pub in_escrow: Credits,
    /// The sum of what all open reservations hold, counted one by one.
    pub in_reservations: Credits,
    /// Records with a signed request that holds and asks for just that; the others the bank made by itself.
    pub signed: u64,
    /// Bytes of a torn record at the end; the next start removes them.
    pub torn: u64,
    /// What is wrong; empty where all is well.
    pub findings: Vec<String>,
}

impl Audit {
    /// True where all is well.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }
}

/// Audits the journal in `folder`, and compares `index` with it where there is one. Damage to the chain is an error;
/// what does not add up is a finding.
pub fn audit(folder: &Path, index: Option<&dyn Store>) -> Result<Audit, BankError> {
    let mut torn = 0;
    let mut audit = audit_records(index, &mut |visit| {
        let (end, _) = journal::read(folder, &Head::EMPTY, Check::Everything, visit)?;
        torn = end.torn;
        Ok(())
    })?;
    audit.torn = torn;
    Ok(audit)
}

/// Audits the books of an open bank, and compares its index with its records. Operations that come meanwhile are waited
/// for nowhere, so that they may be found missing in one of the two; then it is asked again.
pub fn audit_bank(bank: &Bank) -> Result<Audit, BankError> {
    audit_records(None, &mut |visit| bank.records(visit))
}

/// Audits the records that `records` shows, from the first.
pub fn audit_records(
    index: Option<&dyn Store>,
    records: &mut dyn FnMut(&mut Visitor<'_>) -> Result<(), BankError>,
) -> Result<Audit, BankError> {
    let counted = MemoryStore::new();
    let mut findings = Vec::new();
    let mut signed = 0;
    records(&mut |record| {
        match origin(record.payload) {
            Ok(Origin::Asked) => signed += 1,
            Ok(Origin::Internal) => {}
            Err(what) => findings.push(format!("record {}: {what}", record.head.record)),
        }
        repeat(&counted, record)
    })?;
    let (mut in_accounts, mut in_escrow, mut in_reservations) = (Credits::ZERO, Credits::ZERO, Credits::ZERO);
    each_account(&counted, |account| {
        if account.balance.is_negative() {
            findings.push(format!("the account {} has a negative balance: {}", account.id, account.balance));
        }
        in_accounts = in_accounts.checked_add(account.balance).unwrap_or(Credits::MAX);
    })?;
    each_escrow(&counted, |escrow| {
        if escrow.held().is_negative() {
            findings.push(format!("the escrow {} has paid more than it held", escrow.order.id));
        }
        in_escrow = in_escrow.checked_add(escrow.held()).unwrap_or(Credits::MAX);
    })?;
    each_reservation(&counted, |reservation| {
        if reservation.end.is_none() {
            in_reservations = in_reservations.checked_add(reservation.order.amount).unwrap_or(Credits::MAX);
        }
    })?;
    let books = counted.books()?;
    let issued = books.as_ref().map_or(Credits::ZERO, |books| books.issued);
    if Credits::checked_sum([in_accounts, in_escrow, in_reservations]) != Some(issued) {
        findings.push(format!(
            "accounts ({in_accounts}), escrows ({in_escrow}) and reservations ({in_reservations}) are not what was \
             issued ({issued})"
        ));
    }
    if let Some(index) = index {
        compare(&counted, index, &mut findings)?;
    }
    let head = counted.head()?;
    Ok(Audit { head, books, in_accounts, in_escrow, in_reservations, signed, torn: 0, findings })
}

/// Who vouches for an operation.
enum Origin {
    /// A signed request that holds and asks for it.
    Asked,
    /// Nobody: the bank did it by itself, or its operator did it without a call.
    Internal,
}

/// Who vouches for the operation of a record, or what is wrong with the signed request behind it.
fn origin(payload: &str) -> Result<Origin, &'static str> {
    match serde_json::from_str(payload) {
        Ok(Payload { evidence: Some(evidence), .. }) if !evidence.holds() => {
            Err("the signed request behind it does not hold")
        }
        Ok(Payload { evidence: Some(evidence), operation }) if !evidence.asks_for(&operation) => {
            Err("the signed request behind it asks for something else")
        }
        Ok(Payload { evidence: Some(_), .. }) => Ok(Origin::Asked),
        // A record that cannot be read cannot be repeated either, which says what is wrong with it.
        Ok(Payload { evidence: None, .. }) | Err(_) => Ok(Origin::Internal),
    }
}

/// Compares every account and escrow of an index with those counted anew.
fn compare(counted: &MemoryStore, index: &dyn Store, findings: &mut Vec<String>) -> Result<(), StoreError> {
    if index.head()? != counted.head()? {
        findings.push(format!(
            "the index ends at record {}, the journal at {}",
            index.head()?.record,
            counted.head()?.record
        ));
        return Ok(());
    }
    let mut differing: Vec<String> = Vec::new();
    if index.books()? != counted.books()? {
        differing.push("the totals".to_owned());
    }
    let mut accounts: Vec<AccountId> = Vec::new();
    each_account(counted, |account| accounts.push(account.id))?;
    for id in &accounts {
        if index.account(id)? != counted.account(id)? {
            differing.push(format!("the account {id}"));
        }
    }
    let mut escrows: Vec<EscrowId> = Vec::new();
    each_escrow(counted, |escrow| escrows.push(escrow.order.id))?;
    for id in &escrows {
        if index.escrow(id)? != counted.escrow(id)? {
            differing.push(format!("the escrow {id}"));
        }
    }
    let mut reservations = Vec::new();
    each_reservation(counted, |reservation| reservations.push((reservation.order.payer, reservation.order.id)))?;
    for (payer, id) in &reservations {
        if index.reservation(payer, id)? != counted.reservation(payer, id)? {
            differing.push(format!("the reservation {id} of {payer}"));
        }
    }
    let (mut more_accounts, mut more_escrows, mut more_reservations) = (0, 0, 0);
    each_account(index, |_| more_accounts += 1)?;
    each_escrow(index, |_| more_escrows += 1)?;
    each_reservation(index, |_| more_reservations += 1)?;
    if (more_accounts, more_escrows, more_reservations) != (accounts.len(), escrows.len(), reservations.len()) {
        differing.push("the number of accounts, escrows or reservations".to_owned());
    }
    findings.extend(differing.into_iter().map(|what| format!("index and journal differ in {what}")));
    Ok(())
}

fn each_account(store: &dyn Store, mut visit: impl FnMut(&crate::ledger::Account)) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        let page = store.accounts(after.as_ref(), PAGE)?;
        page.iter().for_each(&mut visit);
        match page.last() {
            Some(last) => after = Some(last.id),
            None => return Ok(()),
        }
    }
}

fn each_escrow(store: &dyn Store, mut visit: impl FnMut(&crate::ledger::Escrow)) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        let page = store.escrows(after.as_ref(), PAGE)?;
        page.iter().for_each(&mut visit);
        match page.last() {
            Some(last) => after = Some(last.order.id),
            None => return Ok(()),
        }
    }
}

fn each_reservation(store: &dyn Store, mut visit: impl FnMut(&crate::ledger::Reservation)) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        let page = store.reservations(after.as_ref(), PAGE)?;
        page.iter().for_each(&mut visit);
        match page.last() {
            Some(last) => after = Some((last.order.payer, last.order.id)),
            None => return Ok(()),
        }
    }
}
