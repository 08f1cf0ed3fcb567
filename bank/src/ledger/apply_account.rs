//! The rules of accounts: opening, closing, keys, allowances.

use tycoon_market::{AccountId, Credits, PublicKey};

use super::account::KEYS_MAX;
use super::allowance::PERIOD_MIN;
use super::apply::{Answer, Moment, allowed, check_text, move_balance, negative, owns_parent, receiving, spend};
use super::{
    Account, AccountKey, AccountKind, Allowance, AllowanceTerms, Cause, Draft, Due, KeyChange, KeyRole, Opener,
    Refusal, View,
};

/// Opens an account; the opener, where there is one, pays its deposit.
pub(super) fn open(
    draft: &mut Draft<'_>,
    moment: Moment,
    key: PublicKey,
    kind: AccountKind,
    label: &str,
    opener: Option<&Opener>,
) -> Result<Answer, Refusal> {
    draft.founded()?;
    check_text("label", label)?;
    let id = AccountId::of(&key);
    let parent = opener.filter(|opener| opener.sub).map(|opener| opener.account);
    if let Some(account) = draft.account_of_key(&key)? {
        let existing = draft.existing_account(&account)?;
        let same = (existing.id, existing.kind, existing.label.as_str(), existing.parent) == (id, kind, label, parent);
        return if same { Ok(Answer::Account(existing)) } else { Err(Refusal::KeyTaken { key, account }) };
    }
    if draft.account(&id)?.is_some() {
        return Err(Refusal::KeyUsed { key, account: id });
    }
    if kind == AccountKind::Issuer {
        return Err(Refusal::NotAllowed { key, account: id, what: "be an issuer: the bank has one" });
    }
    let Some(opener) = opener else {
        return add(draft, moment, key, kind, label, None).map(Answer::Account);
    };
    charge_opener(draft, moment, opener)?;
    add(draft, moment, key, kind, label, parent)?;
    if !opener.deposit.is_zero() {
        let (from, to) = (Cause::Deposit { account: id }, Cause::Deposit { account: opener.account });
        move_balance(draft, moment, opener.account, negative(opener.deposit), from)?;
        move_balance(draft, moment, id, opener.deposit, to)?;
    }
    draft.existing_account(&id).map(Answer::Account)
}

/// Checks that the opener may open one more account with its deposit, and counts it.
fn charge_opener(draft: &mut Draft<'_>, moment: Moment, opener: &Opener) -> Result<(), Refusal> {
    let mut account = draft.existing_account(&opener.account)?;
    let (role, what) = match (opener.sub, opener.deposit.is_zero()) {
        (true, _) => (KeyRole::Owner, "open sub-accounts"),
        (false, false) => (KeyRole::Spender, "spend"),
        (false, true) => (KeyRole::Reader, "open accounts"),
    };
    allowed(draft, &account, &opener.by, role, what)?;
    if opener.deposit.is_negative() {
        return Err(Refusal::BadDeposit(opener.deposit));
    }
    if opener.sub && account.parent.is_some() {
        return Err(Refusal::SubOfSub(account.id));
    }
    if account.allowance.is_some() && !opener.deposit.is_zero() {
        return Err(Refusal::AllowanceOnly(account.id));
    }
    if account.accounts_opened >= opener.accounts_max {
        return Err(Refusal::TooManyAccounts { account: account.id, most: opener.accounts_max });
    }
    spend(&mut account, &opener.by, opener.deposit, moment.at)?;
    account.accounts_opened += 1;
    account.children += u64::from(opener.sub);
    draft.put_account(account);
    Ok(())
}

/// Adds an account with nothing on it.
pub(super) fn add(
    draft: &mut Draft<'_>,
    moment: Moment,
    key: PublicKey,
    kind: AccountKind,
    label: &str,
    parent: Option<AccountId>,
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
        reserved: Credits::ZERO,
        reservations_open: 0,
        parent,
        allowance: None,
        accounts_opened: 0,
        children: 0,
        closed_at: None,
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

/// Closes an account. What reaches a closed account later, as the owner of a host that goes on drawing, is fetched by
/// closing it again.
pub(super) fn close(
    draft: &mut Draft<'_>,
    moment: Moment,
    id: AccountId,
    to: AccountId,
    by: &PublicKey,
) -> Result<Answer, Refusal> {
    let mut account = draft.existing_account(&id)?;
    if !account.allows(by, KeyRole::Owner) && !owns_parent(draft, &account, by)? {
        return Err(Refusal::NotAllowed { key: *by, account: id, what: "close the account" });
    }
    if id == to {
        return Err(Refusal::ToItself(id));
    }
    receiving(draft, &to)?;
    let in_the_way = [
        (account.kind == AccountKind::Issuer, "the issuer's part in the bank".to_owned()),
        (account.escrows_open > 0, format!("{} open escrows", account.escrows_open)),
        (account.reservations_open > 0, format!("{} open reservations", account.reservations_open)),
        (account.children > 0, format!("{} sub-accounts", account.children)),
        (
            account.allowance.is_some() && account.parent != Some(to),
            "an allowance, so that what is left goes to its parent account".to_owned(),
        ),
    ];
    if let Some((_, what)) = in_the_way.into_iter().find(|(stands, _)| *stands) {
        return Err(Refusal::StillOpen { account: id, what });
    }
    if account.closed_at.is_none() {
        for entry in &account.keys {
            draft.put_key(entry.key, None);
        }
        if let Some(parent) = account.parent {
            let mut parent = draft.existing_account(&parent)?;
            parent.children = parent.children.saturating_sub(1);
            draft.put_account(parent);
        }
        account.allowance = None;
        account.closed_at = Some(moment.at);
        draft.put_account(account.clone());
    }
    if !account.balance.is_zero() {
        move_balance(draft, moment, id, negative(account.balance), Cause::Closed { account: to })?;
        move_balance(draft, moment, to, account.balance, Cause::Closed { account: id })?;
    }
    draft.existing_account(&id).map(Answer::Account)
}

/// Changes the keys of an account.
pub(super) fn change_keys(
    draft: &mut Draft<'_>,
    moment: Moment,
    id: AccountId,
    change: &KeyChange,
    by: &PublicKey,
) -> Result<Answer, Refusal> {
    let mut account = draft.existing_account(&id)?;
    allowed(draft, &account, by, KeyRole::Owner, "change the keys")?;
    let before = account.keys.clone();
    match change {
        KeyChange::Put { key, role, limit } => {
            free_for(draft, key, id)?;
            match account.keys.iter_mut().find(|entry| entry.key == *key) {
                Some(entry) => (entry.role, entry.limit) = (*role, *limit),
                None => account.keys.push(AccountKey::new(*key, *role, *limit)),
            }
            if account.keys.len() != before.len() {
                draft.put_key(*key, Some(id));
            }
        }
        KeyChange::Replace { key, with } => {
            free_for(draft, with, id)?;
            match (account.key(key).is_some(), account.key(with).is_some()) {
                (true, false) => {}
                // It was done before.
                (false, true) => return Ok(Answer::Account(account)),
                (true, true) => return Err(Refusal::KeyTaken { key: *with, account: id }),
                (false, false) => return Err(Refusal::NoKey { account: id, key: *key }),
            }
            for entry in account.keys.iter_mut().filter(|entry| entry.key == *key) {
                entry.key = *with;
            }
            draft.put_key(*key, None);
            draft.put_key(*with, Some(id));
        }
        KeyChange::Remove { key } => {
            if account.key(key).is_none() {
                return Err(Refusal::NoKey { account: id, key: *key });
            }
            account.keys.retain(|entry| entry.key != *key);
            draft.put_key(*key, None);
        }
    }
    account.keys.sort_by_key(|entry| entry.key);
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

fn free_for(draft: &Draft<'_>, key: &PublicKey, id: AccountId) -> Result<(), Refusal> {
    match draft.account_of_key(key)? {
        Some(other) if other != id => Err(Refusal::KeyTaken { key: *key, account: other }),
        _ => Ok(()),
    }
}

/// Grants, changes or ends the allowance of a sub-account. Its first period begins at once.
pub(super) fn set_allowance(
    draft: &mut Draft<'_>,
    moment: Moment,
    id: AccountId,
    terms: Option<&AllowanceTerms>,
    by: &PublicKey,
) -> Result<Answer, Refusal> {
    let mut account = draft.existing_account(&id)?;
    if account.closed_at.is_some() {
        return Err(Refusal::Closed(id));
    }
    if account.parent.is_none() {
        return Err(Refusal::NoSubAccount(id));
    }
    if !owns_parent(draft, &account, by)? {
        return Err(Refusal::NotAllowed { key: *by, account: id, what: "grant an allowance" });
    }
    if account.allowance.map(|allowance| allowance.terms) == terms.copied() {
        return Ok(Answer::Account(account));
    }
    let Some(terms) = terms else {
        account.allowance = None;
        draft.put_account(account.clone());
        return Ok(Answer::Account(account));
    };
    let ends_early = terms.until.is_some_and(|until| until <= moment.at);
    if terms.amount <= Credits::ZERO || terms.period < PERIOD_MIN || ends_early {
        return Err(Refusal::BadAllowance);
    }
    account.allowance = Some(Allowance::beginning(*terms, moment.at));
    draft.put_account(account);
    bring_to(draft, moment, id, terms.amount)?;
    draft.existing_account(&id).map(Answer::Account)
}

/// Begins the next period of allowances whose time has come; others among `accounts` stay as they are.
pub(super) fn renew(draft: &mut Draft<'_>, moment: Moment, accounts: &[AccountId]) -> Result<Answer, Refusal> {
    let mut renewed = Vec::new();
    for id in accounts {
        let mut account = draft.existing_account(id)?;
        let Some(allowance) = account.allowance.filter(|allowance| moment.at >= allowance.next_at) else { continue };
        let is_over = allowance.is_over(moment.at);
        account.allowance = (!is_over).then(|| allowance.renewed(moment.at));
        draft.put_account(account);
        bring_to(draft, moment, *id, if is_over { Credits::ZERO } else { allowance.terms.amount })?;
        renewed.push(Due::Allowance(*id));
    }
    if renewed.is_empty() { Err(Refusal::NothingRenewed) } else { Ok(Answer::Done(renewed)) }
}

/// Brings the balance of a sub-account to `amount`, from or to its parent, as far as the parent can pay.
fn bring_to(draft: &mut Draft<'_>, moment: Moment, id: AccountId, amount: Credits) -> Result<(), Refusal> {
    let account = draft.existing_account(&id)?;
    let Some(parent) = account.parent else { return Err(Refusal::NoSubAccount(id)) };
    let missing = amount.checked_sub(account.balance).ok_or(Refusal::TooMuch)?;
    let change = missing.min(draft.existing_account(&parent)?.balance);
    if change.is_zero() {
        return Ok(());
    }
    move_balance(draft, moment, parent, negative(change), Cause::Allowance { account: id })?;
    move_balance(draft, moment, id, change, Cause::Allowance { account: parent })?;
    Ok(())
}
