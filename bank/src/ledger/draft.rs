//! The state as the rules see it, and the changes they make.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tycoon_market::{AccountId, Credits, EscrowId, PublicKey, TransferId};

use super::{Account, Entry, Escrow, Line, Refusal, Reservation, Transfer};
use crate::store::StoreError;

/// The totals of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Books {
    /// The bank's key.
    #[serde(deserialize_with = "PublicKey::deserialize_stored")]
    pub bank: PublicKey,
    /// The account of the issuer.
    pub issuer: AccountId,
    /// The present epoch.
    pub epoch: u64,
    /// What has been issued.
    pub issued: Credits,
    /// The sum of all balances.
    pub in_accounts: Credits,
    /// The sum of what all escrows hold.
    pub in_escrow: Credits,
    /// The sum of what all open reservations hold.
    #[serde(default)]
    pub in_reservations: Credits,
    /// The number of accounts.
    pub accounts: u64,
    /// The number of open escrows.
    pub escrows_open: u64,
    /// The number of open reservations.
    #[serde(default)]
    pub reservations_open: u64,
}

impl Books {
    /// True where the sum of all accounts, escrows and reservations is what was issued.
    pub fn are_balanced(&self) -> bool {
        let parts = [self.in_accounts, self.in_escrow, self.in_reservations];
        Credits::checked_sum(parts) == Some(self.issued)
    }
}

/// The state of the ledger, read by key.
pub trait View {
    /// The totals; `None` before the founding.
    fn books(&self) -> Result<Option<Books>, StoreError>;
    /// The account `id`.
    fn account(&self, id: &AccountId) -> Result<Option<Account>, StoreError>;
    /// The account that `key` acts for.
    fn account_of_key(&self, key: &PublicKey) -> Result<Option<AccountId>, StoreError>;
    /// The transfer `id` of `payer`.
    fn transfer(&self, payer: &AccountId, id: &TransferId) -> Result<Option<Transfer>, StoreError>;
    /// The reservation `id` of `payer`.
    fn reservation(&self, payer: &AccountId, id: &TransferId) -> Result<Option<Reservation>, StoreError>;
    /// The escrow `id`.
    fn escrow(&self, id: &EscrowId) -> Result<Option<Escrow>, StoreError>;
}

/// What an operation changes: whole rows, by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The totals.
    pub books: Option<Books>,
    /// Accounts.
    pub accounts: BTreeMap<AccountId, Account>,
    /// Which account a key acts for; `None` for none any more.
    pub keys: BTreeMap<PublicKey, Option<AccountId>>,
    /// New transfers.
    pub transfers: BTreeMap<(AccountId, TransferId), Transfer>,
    /// Reservations.
    pub reservations: BTreeMap<(AccountId, TransferId), Reservation>,
    /// Escrows.
    pub escrows: BTreeMap<EscrowId, Escrow>,
    /// New entries of histories, by their account, in their order.
    pub entries: BTreeMap<AccountId, Vec<Entry>>,
    /// New lines of payers' statements.
    pub lines: Vec<(AccountId, Line)>,
}

impl Changes {
    /// True where nothing changes.
    pub fn is_empty(&self) -> bool {
        self.books.is_none()
            && self.accounts.is_empty()
            && self.keys.is_empty()
            && self.transfers.is_empty()
            && self.reservations.is_empty()
            && self.escrows.is_empty()
            && self.entries.is_empty()
            && self.lines.is_empty()
    }

    /// The totals as they will be; `None` where they do not change. The same for the rows below, each by its key.
    pub(crate) fn books(&self) -> Option<Option<Books>> {
        self.books.clone().map(Some)
    }

    pub(crate) fn account(&self, id: &AccountId) -> Option<Option<Account>> {
        self.accounts.get(id).cloned().map(Some)
    }

    pub(crate) fn account_of_key(&self, key: &PublicKey) -> Option<Option<AccountId>> {
        self.keys.get(key).copied()
    }

    pub(crate) fn transfer(&self, payer: &AccountId, id: &TransferId) -> Option<Option<Transfer>> {
        self.transfers.get(&(*payer, *id)).cloned().map(Some)
    }

    pub(crate) fn reservation(&self, payer: &AccountId, id: &TransferId) -> Option<Option<Reservation>> {
        self.reservations.get(&(*payer, *id)).cloned().map(Some)
    }

    pub(crate) fn escrow(&self, id: &EscrowId) -> Option<Option<Escrow>> {
        self.escrows.get(id).cloned().map(Some)
    }

    /// How much changes: rows, and of histories the entries.
    pub fn rows(&self) -> usize {
        usize::from(self.books.is_some())
            + self.accounts.len()
            + self.keys.len()
            + self.transfers.len()
            + self.reservations.len()
            + self.escrows.len()
            + self.entries.values().map(Vec::len).sum::<usize>()
            + self.lines.len()
    }

    /// Adds later changes to these.
    pub fn absorb(&mut self, later: Self) {
        self.books = later.books.or(self.books.take());
        extend(&mut self.accounts, later.accounts);
        extend(&mut self.keys, later.keys);
        extend(&mut self.transfers, later.transfers);
        extend(&mut self.reservations, later.reservations);
        extend(&mut self.escrows, later.escrows);
        for (account, mut entries) in later.entries {
            self.entries.entry(account).or_default().append(&mut entries);
        }
        self.lines.extend(later.lines);
    }
}

/// Adds later rows. Where there are none before, which is so for whole batches, no row is moved.
fn extend<K: Ord, V>(rows: &mut BTreeMap<K, V>, later: BTreeMap<K, V>) {
    if rows.is_empty() {
        *rows = later;
    } else {
        rows.extend(later);
    }
}

/// A state with changes that are not made yet.
pub struct Draft<'a> {
    base: &'a dyn View,
    changes: Changes,
}

impl<'a> Draft<'a> {
    /// A draft without changes over `base`.
    pub fn new(base: &'a dyn View) -> Self {
        Self { base, changes: Changes::default() }
    }

    /// The changes.
    pub fn into_changes(self) -> Changes {
        self.changes
    }

    /// Adds later changes.
    pub fn absorb(&mut self, later: Changes) {
        self.changes.absorb(later);
    }

    pub(super) fn founded(&self) -> Result<Books, Refusal> {
        self.books()?.ok_or(Refusal::NotFounded)
    }

    pub(super) fn existing_account(&self, id: &AccountId) -> Result<Account, Refusal> {
        self.account(id)?.ok_or(Refusal::NoAccount(*id))
    }

    pub(super) fn existing_escrow(&self, id: &EscrowId) -> Result<Escrow, Refusal> {
        self.escrow(id)?.ok_or(Refusal::NoEscrow(*id))
    }

    pub(super) fn put_books(&mut self, books: Books) {
        self.changes.books = Some(books);
    }

    pub(super) fn put_account(&mut self, account: Account) {
        self.changes.accounts.insert(account.id, account);
    }

    pub(super) fn put_key(&mut self, key: PublicKey, account: Option<AccountId>) {
        self.changes.keys.insert(key, account);
    }

    pub(super) fn put_transfer(&mut self, transfer: Transfer) {
        self.changes.transfers.insert((transfer.payer, transfer.id), transfer);
    }

    pub(super) fn put_reservation(&mut self, reservation: Reservation) {
        let order = &reservation.order;
        self.changes.reservations.insert((order.payer, order.id), reservation);
    }

    pub(super) fn put_escrow(&mut self, escrow: Escrow) {
        self.changes.escrows.insert(escrow.order.id, escrow);
    }

    pub(super) fn add_entry(&mut self, account: AccountId, entry: Entry) {
        self.changes.entries.entry(account).or_default().push(entry);
    }

    pub(super) fn add_line(&mut self, payer: AccountId, line: Line) {
        self.changes.lines.push((payer, line));
    }
}

impl View for Draft<'_> {
    fn books(&self) -> Result<Option<Books>, StoreError> {
        self.changes.books().map_or_else(|| self.base.books(), Ok)
    }

    fn account(&self, id: &AccountId) -> Result<Option<Account>, StoreError> {
        self.changes.account(id).map_or_else(|| self.base.account(id), Ok)
    }

    fn account_of_key(&self, key: &PublicKey) -> Result<Option<AccountId>, StoreError> {
        self.changes.account_of_key(key).map_or_else(|| self.base.account_of_key(key), Ok)
    }

    fn transfer(&self, payer: &AccountId, id: &TransferId) -> Result<Option<Transfer>, StoreError> {
        self.changes.transfer(payer, id).map_or_else(|| self.base.transfer(payer, id), Ok)
    }

    fn reservation(&self, payer: &AccountId, id: &TransferId) -> Result<Option<Reservation>, StoreError> {
        self.changes.reservation(payer, id).map_or_else(|| self.base.reservation(payer, id), Ok)
    }

    fn escrow(&self, id: &EscrowId) -> Result<Option<Escrow>, StoreError> {
        self.changes.escrow(id).map_or_else(|| self.base.escrow(id), Ok)
    }
}
