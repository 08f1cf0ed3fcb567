//! The rules: what an operation does to the state, or why it is refused.

use tycoon_market::{AccountId, Credits, PublicKey, Timestamp};

use super::account::TEXT_CHARS_MAX;
use super::{
    Account, AccountKind, Books, Cause, Changes, Draft, Due, Entry, Escrow, KeyRole, Operation, Refusal, Reservation,
    Transfer, View, apply_account, apply_escrow, apply_refund, apply_reservation, apply_transfer,
};

/// What came of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The bank is founded, or its epoch has changed.
    Books(Books),
    /// The account as it is now.
    Account(Account),
    /// The transfer or issue as it was made.
    Transfer(Transfer),
    /// What came of each of several transfers, in their order.
    Transfers(Vec<Result<Transfer, Refusal>>),
    /// The reservation as it is now.
    Reservation(Reservation),
    /// The escrow as it is now.
    Escrow(Escrow),
    /// What was due and has been done.
    Done(Vec<Due>),
}

impl Answer {
    /// The transfer, where it is one.
    pub const fn transfer(&self) -> Option<&Transfer> {
        match self {
            Self::Transfer(transfer) => Some(transfer),
            _ => None,
        }
    }
}

/// Where and when an operation takes place: in which journal record, and at what time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The number of the journal record.
    pub record: u64,
    /// The time, never earlier than that of the record before.
    pub at: Timestamp,
}

/// Decides over `operation`. The changes are empty where it was done before: repeating is harmless.
pub fn apply(view: &dyn View, moment: Moment, operation: &Operation) -> Result<(Answer, Changes), Refusal> {
    let mut draft = Draft::new(view);
    let answer = decide(&mut draft, moment, operation)?;
    if let Some(books) = draft.books()?
        && !books.are_balanced()
    {
        // No operation above can get here; a rule that is wrong must stop rather than lose money.
        return Err(Refusal::TooMuch);
    }
    Ok((answer, draft.into_changes()))
}

fn decide(draft: &mut Draft<'_>, moment: Moment, operation: &Operation) -> Result<Answer, Refusal> {
    match operation {
        Operation::Found { bank, issuer, epoch } => found(draft, moment, *bank, *issuer, *epoch),
        Operation::NewEpoch { epoch } => new_epoch(draft, *epoch),
        Operation::OpenAccount { key, kind, label, opener } => {
            apply_account::open(draft, moment, *key, *kind, label, opener.as_ref())
        }
        Operation::CloseAccount { account, to, by } => apply_account::close(draft, moment, *account, *to, by),
        Operation::SetAllowance { account, allowance, by } => {
            apply_account::set_allowance(draft, moment, *account, allowance.as_ref(), by)
        }
        Operation::Renew { accounts } => apply_account::renew(draft, moment, accounts),
        Operation::ChangeKeys { account, change, by } => {
            apply_account::change_keys(draft, moment, *account, change, by)
        }
        Operation::Issue { id, to, amount, memo, by } => {
            apply_transfer::issue(draft, moment, *id, *to, *amount, memo, by)
        }
        Operation::Transfer { id, payer, payee, amount, memo, by } => {
            apply_transfer::transfer(draft, moment, *id, *payer, *payee, *amount, memo, by)
        }
        Operation::Transfers { orders, linked, by } => apply_transfer::several(draft, moment, orders, *linked, by),
        Operation::Refund { order, by } => apply_refund::refund(draft, moment, order, by),
        Operation::Reserve { order, by } => apply_reservation::reserve(draft, moment, order, by),
        Operation::Resolve { payer, id, resolution, by } => {
            apply_reservation::resolve(draft, moment, *payer, *id, *resolution, by)
        }
        Operation::OpenEscrow { order, by } => apply_escrow::open(draft, moment, order, by),
        Operation::Settle { statement } => apply_escrow::settle(draft, moment, statement),
        Operation::Lapse { escrows, reservations } => lapse(draft, moment, escrows, reservations),
    }
}

/// Does what is due of escrows and reservations; others among them stay as they are.
fn lapse(
    draft: &mut Draft<'_>,
    moment: Moment,
    escrows: &[tycoon_market::EscrowId],
    reservations: &[(AccountId, tycoon_market::TransferId)],
) -> Result<Answer, Refusal> {
    let mut done = apply_escrow::lapse(draft, moment, escrows)?;
    done.extend(apply_reservation::expire(draft, moment, reservations)?);
    if done.is_empty() { Err(Refusal::NothingLapsed) } else { Ok(Answer::Done(done)) }
}

fn found(
    draft: &mut Draft<'_>,
    moment: Moment,
    bank: PublicKey,
    issuer: PublicKey,
    epoch: u64,
) -> Result<Answer, Refusal> {
    if draft.books()?.is_some() {
        return Err(Refusal::AlreadyFounded);
    }
    let books = Books {
        bank,
        issuer: AccountId::of(&issuer),
        epoch,
        issued: Credits::ZERO,
        in_accounts: Credits::ZERO,
        in_escrow: Credits::ZERO,
        in_reservations: Credits::ZERO,
        accounts: 0,
        escrows_open: 0,
        reservations_open: 0,
    };
    draft.put_books(books);
    apply_account::add(draft, moment, issuer, AccountKind::Issuer, "issuer", None)?;
    Ok(Answer::Books(draft.founded()?))
}

fn new_epoch(draft: &mut Draft<'_>, epoch: u64) -> Result<Answer, Refusal> {
    let mut books = draft.founded()?;
    if epoch <= books.epoch {
        return Err(Refusal::OldEpoch { asked: epoch, present: books.epoch });
    }
    books.epoch = epoch;
    draft.put_books(books.clone());
    Ok(Answer::Books(books))
}

/// Refuses what `key` may not do for `account`. Who owns the parent of a sub-account, without limit, owns it too.
pub(super) fn allowed(
    draft: &Draft<'_>,
    account: &Account,
    key: &PublicKey,
    role: KeyRole,
    what: &'static str,
) -> Result<(), Refusal> {
    if account.closed_at.is_some() {
        return Err(Refusal::Closed(account.id));
    }
    if account.allows(key, role) || owns_parent(draft, account, key)? {
        return Ok(());
    }
    Err(Refusal::NotAllowed { key: *key, account: account.id, what })
}

/// True where `key` owns the parent of `account`.
pub(super) fn owns_parent(draft: &Draft<'_>, account: &Account, key: &PublicKey) -> Result<bool, Refusal> {
    let Some(parent) = account.parent else { return Ok(false) };
    let parent = draft.existing_account(&parent)?;
    Ok(parent.key(key).is_some_and(|entry| entry.role == KeyRole::Owner && entry.limit.is_none()))
}

/// Checks that `account` has `amount` and that `key`, which is allowed to spend, stays within its limit.
pub(super) fn spend(account: &mut Account, key: &PublicKey, amount: Credits, at: Timestamp) -> Result<(), Refusal> {
    if account.balance < amount {
        return Err(Refusal::Insufficient { account: account.id, balance: account.balance, amount });
    }
    match account.keys.iter_mut().find(|entry| entry.key == *key) {
        Some(entry) => entry.spend(amount, at),
        // A key of the parent, which has no limit.
        None => Ok(()),
    }
}

/// The account that is to receive something.
pub(super) fn receiving(draft: &Draft<'_>, id: &AccountId) -> Result<Account, Refusal> {
    let account = draft.existing_account(id)?;
    if account.closed_at.is_some() { Err(Refusal::Closed(*id)) } else { Ok(account) }
}

/// Changes the balance of `account`, with an entry in its history, and returns the new one. The caller makes the opposite
/// change elsewhere.
pub(super) fn move_balance(
    draft: &mut Draft<'_>,
    moment: Moment,
    account: AccountId,
    change: Credits,
    cause: Cause,
) -> Result<Credits, Refusal> {
    let mut account = draft.existing_account(&account)?;
    let mut books = draft.founded()?;
    account.balance = account.balance.checked_add(change).ok_or(Refusal::TooMuch)?;
    books.in_accounts = books.in_accounts.checked_add(change).ok_or(Refusal::TooMuch)?;
    account.entries += 1;
    let entry = Entry {
        number: account.entries,
        record: moment.record,
        at: moment.at,
        change,
        balance: account.balance,
        cause,
    };
    let balance = account.balance;
    draft.add_entry(account.id, entry);
    draft.put_account(account);
    draft.put_books(books);
    Ok(balance)
}

pub(super) fn check_text(what: &'static str, text: &str) -> Result<(), Refusal> {
    let fits = text.chars().count() <= TEXT_CHARS_MAX && !text.chars().any(char::is_control);
    if fits { Ok(()) } else { Err(Refusal::BadText(what)) }
}

/// The opposite of an amount.
pub(super) fn negative(amount: Credits) -> Credits {
    Credits::from_micros(-amount.micros())
}
