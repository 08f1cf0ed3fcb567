//! The rules: what an operation does to the state, or why it is refused.

use tycoon_market::{AccountId, Credits, EscrowId, PublicKey, Timestamp, TransferId};

use super::account::{KEYS_MAX, TEXT_CHARS_MAX};
use super::{
    Account, AccountKey, AccountKind, Books, Cause, Changes, Draft, Entry, Escrow, KeyChange, KeyRole, Operation,
    Refusal, Transfer, View, apply_escrow,
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
    /// The escrow as it is now.
    Escrow(Escrow),
    /// The escrows that lapsed.
    Lapsed(Vec<EscrowId>),
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
        Operation::OpenAccount { key, kind, label } => open_account(draft, moment, *key, *kind, label),
        Operation::ChangeKeys { account, change, by } => change_keys(draft, moment, *account, change, by),
        Operation::Issue { id, to, amount, memo, by } => {
            let payer = draft.founded()?.issuer;
            pay(draft, moment, &Payment { id: *id, payer, payee: *to, amount: *amount, memo, issued: true }, by)
        }
        Operation::Transfer { id, payer, payee, amount, memo, by } => {
            let (payer, payee, amount) = (*payer, *payee, *amount);
            pay(draft, moment, &Payment { id: *id, payer, payee, amount, memo, issued: false }, by)
        }
        Operation::OpenEscrow { order, by } => apply_escrow::open(draft, moment, order, by),
        Operation::Settle { statement } => apply_escrow::settle(draft, moment, statement),
        Operation::Lapse { escrows } => apply_escrow::lapse(draft, moment, escrows),
    }
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
        accounts: 0,
        escrows_open: 0,
    };
    draft.put_books(books);
    add_account(draft, moment, issuer, AccountKind::Issuer, "issuer")?;
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

fn open_account(
    draft: &mut Draft<'_>,
    moment: Moment,
    key: PublicKey,
    kind: AccountKind,
    label: &str,
) -> Result<Answer, Refusal> {
    draft.founded()?;
    check_text("label", label)?;
    let id = AccountId::of(&key);
    if let Some(account) = draft.account_of_key(&key)? {
        let existing = draft.existing_account(&account)?;
        let same = existing.id == id && existing.kind == kind && existing.label == label;
        return if same { Ok(Answer::Account(existing)) } else { Err(Refusal::KeyTaken { key, account }) };
    }
    if draft.account(&id)?.is_some() {
        return Err(Refusal::KeyUsed { key, account: id });
    }
    if kind == AccountKind::Issuer {
        return Err(Refusal::NotAllowed { key, account: id, what: "be an issuer: the bank has one" });
    }
    add_account(draft, moment, key, kind, label).map(Answer::Account)
}

fn add_account(
    draft: &mut Draft<'_>,
    moment: Moment,
    key: PublicKey,
    kind: AccountKind,
    label: &str,
) -> Result<Account, Refusal> {
    let account = Account {
        id: AccountId::of(&key),
        kind,
        label: label.to_owned(),
        keys: vec![AccountKey::new(key, KeyRole::Owner, None)],
        keys_changed_at: moment.at,
        balance: Credits::ZERO,
        set_aside: Credits::ZERO,
        escrows_open: 0,
        entries: 0,
        opened_at: moment.at,
    };
    draft.put_key(key, Some(account.id));
    draft.put_account(account.clone());
    let mut books = draft.founded()?;
    books.accounts += 1;
    draft.put_books(books);
    Ok(account)
}

fn change_keys(
    draft: &mut Draft<'_>,
    moment: Moment,
    id: AccountId,
    change: &KeyChange,
    by: &PublicKey,
) -> Result<Answer, Refusal> {
    let mut account = draft.existing_account(&id)?;
    allowed(&account, by, KeyRole::Owner, "change the keys")?;
    let before = account.keys.clone();
    match change {
        KeyChange::Put { key, role, limit } => {
            match draft.account_of_key(key)? {
                Some(other) if other != id => return Err(Refusal::KeyTaken { key: *key, account: other }),
                _ => {}
            }
            match account.keys.iter_mut().find(|entry| entry.key == *key) {
                Some(entry) => (entry.role, entry.limit) = (*role, *limit),
                None => account.keys.push(AccountKey::new(*key, *role, *limit)),
            }
            account.keys.sort_by_key(|entry| entry.key);
            if account.keys != before {
                draft.put_key(*key, Some(id));
            }
        }
        KeyChange::Remove { key } => {
            if account.key(key).is_none() {
                return Err(Refusal::NoKey { account: id, key: *key });
            }
            account.keys.retain(|entry| entry.key != *key);
            draft.put_key(*key, None);
        }
    }
    if account.keys.len() > KEYS_MAX {
        return Err(Refusal::TooManyKeys);
    }
    if !account.keys.iter().any(|entry| entry.role == KeyRole::Owner && entry.limit.is_none()) {
        return Err(Refusal::LastOwner);
    }
    if account.keys != before {
        account.keys_changed_at = moment.at;
        draft.put_account(account.clone());
    }
    Ok(Answer::Account(account))
}

/// A transfer or an issue as it is asked for.
struct Payment<'a> {
    id: TransferId,
    payer: AccountId,
    payee: AccountId,
    amount: Credits,
    memo: &'a str,
    issued: bool,
}

fn pay(draft: &mut Draft<'_>, moment: Moment, payment: &Payment<'_>, by: &PublicKey) -> Result<Answer, Refusal> {
    let Payment { id, payer, payee, amount, memo, issued } = *payment;
    let mut account = draft.existing_account(&payer)?;
    let (role, what) = if issued { (KeyRole::Owner, "issue credits") } else { (KeyRole::Spender, "spend") };
    allowed(&account, by, role, what)?;
    if let Some(earlier) = draft.transfer(&payer, &id)? {
        let same =
            (earlier.payee, earlier.amount, earlier.memo.as_str(), earlier.issued) == (payee, amount, memo, issued);
        return if same { Ok(Answer::Transfer(earlier)) } else { Err(Refusal::TransferIdTaken(id)) };
    }
    check_text("memo", memo)?;
    if amount <= Credits::ZERO {
        return Err(Refusal::NoAmount(amount));
    }
    if payer == payee && !issued {
        return Err(Refusal::ToItself(payer));
    }
    draft.existing_account(&payee)?;
    let memo = memo.to_owned();
    if issued {
        let mut books = draft.founded()?;
        books.issued = books.issued.checked_add(amount).ok_or(Refusal::TooMuch)?;
        draft.put_books(books);
        move_balance(draft, moment, payee, amount, Cause::Issued { id, memo: memo.clone() })?;
    } else {
        spend(&mut account, by, amount, moment.at)?;
        draft.put_account(account);
        let less = Credits::from_micros(-amount.micros());
        move_balance(draft, moment, payer, less, Cause::Sent { id, to: payee, memo: memo.clone() })?;
        move_balance(draft, moment, payee, amount, Cause::Received { id, from: payer, memo: memo.clone() })?;
    }
    let transfer = Transfer { id, payer, payee, amount, memo, issued, at: moment.at, record: moment.record };
    draft.put_transfer(transfer.clone());
    Ok(Answer::Transfer(transfer))
}

/// Refuses what `key` may not do for `account`.
pub(super) fn allowed(account: &Account, key: &PublicKey, role: KeyRole, what: &'static str) -> Result<(), Refusal> {
    if account.allows(key, role) {
        return Ok(());
    }
    Err(Refusal::NotAllowed { key: *key, account: account.id, what })
}

/// Checks that `account` has `amount` and that `key` may spend it, and counts it against the key's limit.
pub(super) fn spend(account: &mut Account, key: &PublicKey, amount: Credits, at: Timestamp) -> Result<(), Refusal> {
    if account.balance < amount {
        return Err(Refusal::Insufficient { account: account.id, balance: account.balance, amount });
    }
    match account.keys.iter_mut().find(|entry| entry.key == *key) {
        Some(entry) => entry.spend(amount, at),
        None => Err(Refusal::NoKey { account: account.id, key: *key }),
    }
}

/// Changes the balance of `account`, with an entry in its history. The caller makes the opposite change elsewhere.
pub(super) fn move_balance(
    draft: &mut Draft<'_>,
    moment: Moment,
    account: AccountId,
    change: Credits,
    cause: Cause,
) -> Result<(), Refusal> {
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
    draft.add_entry(account.id, entry);
    draft.put_account(account);
    draft.put_books(books);
    Ok(())
}

fn check_text(what: &'static str, text: &str) -> Result<(), Refusal> {
    let fits = text.chars().count() <= TEXT_CHARS_MAX && !text.chars().any(char::is_control);
    if fits { Ok(()) } else { Err(Refusal::BadText(what)) }
}
