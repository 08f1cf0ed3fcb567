//! Counting everything anew: the proof that no credit was lost.
//!
//! The audit reads the journal alone, from its first record: it checks the chain of hashes, repeats every operation by
//! the rules, adds up all accounts and escrows, checks the signed requests behind the operations, and compares the
//! result with an index.

use std::path::Path;

use tycoon_market::{AccountId, Credits, EscrowId};

use crate::bank::{BankError, repeat};
use crate::evidence::Payload;
use crate::journal::{self, Check};
use crate::ledger::{Books, Operation, View as _};
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
    /// Operations with a signed request that holds.
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
    let counted = MemoryStore::new();
    let mut findings = Vec::new();
    let mut signed = 0;
    let (end, _) = journal::read(folder, &Head::EMPTY, Check::Everything, &mut |record| {
        match evidence_of(record.payload) {
            Ok(true) => signed += 1,
            Ok(false) => {}
            Err(what) => findings.push(format!("record {}: {what}", record.head.record)),
        }
        repeat(&counted, record)
    })?;
    let (mut in_accounts, mut in_escrow) = (Credits::ZERO, Credits::ZERO);
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
    let books = counted.books()?;
    let issued = books.as_ref().map_or(Credits::ZERO, |books| books.issued);
    if in_accounts.checked_add(in_escrow) != Some(issued) {
        findings.push(format!("accounts ({in_accounts}) and escrows ({in_escrow}) are not what was issued ({issued})"));
    }
    if let Some(index) = index {
        compare(&counted, index, &mut findings)?;
    }
    Ok(Audit { head: end.head, books, in_accounts, in_escrow, signed, torn: end.torn, findings })
}

/// True where the operation has a signed request behind it that holds, false where it needs none.
fn evidence_of(payload: &str) -> Result<bool, String> {
    let Ok(Payload { operation, evidence }) = serde_json::from_str(payload) else {
        // Repeating the record says what is wrong with it.
        return Ok(false);
    };
    let by = match &operation {
        Operation::Found { .. } | Operation::NewEpoch { .. } | Operation::Lapse { .. } => None,
        Operation::OpenAccount { .. } | Operation::Settle { .. } => None,
        Operation::ChangeKeys { by, .. }
        | Operation::Issue { by, .. }
        | Operation::Transfer { by, .. }
        | Operation::OpenEscrow { by, .. } => Some(*by),
    };
    match evidence {
        None => Ok(false),
        Some(evidence) if !evidence.holds() => Err("the signed request behind it does not hold".to_owned()),
        Some(evidence) if by.is_some_and(|by| by != evidence.key) => {
            Err("the signed request behind it is by another key".to_owned())
        }
        Some(_) => Ok(true),
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
    let (mut more_accounts, mut more_escrows) = (0, 0);
    each_account(index, |_| more_accounts += 1)?;
    each_escrow(index, |_| more_escrows += 1)?;
    if (more_accounts, more_escrows) != (accounts.len(), escrows.len()) {
        differing.push("the number of accounts or escrows".to_owned());
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
