//! The rules of transfers and issues.

use tycoon_market::{AccountId, Credits, PublicKey, TransferId};

use super::apply::{Answer, Moment, allowed, check_text, move_balance, negative, receiving, spend};
use super::operation::TRANSFERS_MAX;
use super::{Cause, Draft, KeyRole, Refusal, Transfer, TransferOrder, View};

/// Puts credits into circulation.
pub(super) fn issue(
    draft: &mut Draft<'_>,
    moment: Moment,
    id: TransferId,
    to: AccountId,
    amount: Credits,
    memo: &str,
    by: &PublicKey,
) -> Result<Answer, Refusal> {
    let issuer = draft.founded()?.issuer;
    let account = draft.existing_account(&issuer)?;
    allowed(draft, &account, by, KeyRole::Owner, "issue credits")?;
    let transfer = Transfer {
        id,
        payer: issuer,
        payee: to,
        amount,
        memo: memo.to_owned(),
        issued: true,
        at: moment.at,
        record: moment.record,
        balance: Credits::ZERO,
        refunded: Credits::ZERO,
        refund_of: None,
    };
    if let Some(earlier) = earlier(draft, &transfer)? {
        return Ok(Answer::Transfer(earlier));
    }
    check(draft, &transfer)?;
    let mut books = draft.founded()?;
    books.issued = books.issued.checked_add(amount).ok_or(Refusal::TooMuch)?;
    draft.put_books(books);
    let cause = Cause::Issued { id, memo: memo.to_owned() };
    let balance = move_balance(draft, moment, to, amount, cause)?;
    Ok(Answer::Transfer(made(draft, Transfer { balance, ..transfer })))
}

/// Moves credits from one account to another.
pub(super) fn transfer(
    draft: &mut Draft<'_>,
    moment: Moment,
    id: TransferId,
    payer: AccountId,
    payee: AccountId,
    amount: Credits,
    memo: &str,
    by: &PublicKey,
) -> Result<Answer, Refusal> {
    pay(draft, moment, &TransferOrder { id, payer, payee, amount, memo: memo.to_owned() }, by).map(Answer::Transfer)
}

/// Makes several transfers: all or none where they are linked, else each by itself.
pub(super) fn several(
    draft: &mut Draft<'_>,
    moment: Moment,
    orders: &[TransferOrder],
    linked: bool,
    by: &PublicKey,
) -> Result<Answer, Refusal> {
    if orders.is_empty() || orders.len() > TRANSFERS_MAX {
        return Err(Refusal::TransferCount);
    }
    let mut outcomes = Vec::with_capacity(orders.len());
    for (index, order) in orders.iter().enumerate() {
        // What a refused transfer has changed so far is forgotten with its draft.
        let mut own = Draft::new(draft);
        match pay(&mut own, moment, order, by) {
            Ok(transfer) => {
                let changes = own.into_changes();
                draft.absorb(changes);
                outcomes.push(Ok(transfer));
            }
            Err(Refusal::Store(error)) => return Err(Refusal::Store(error)),
            Err(reason) if linked => return Err(Refusal::Linked { number: index + 1, reason: Box::new(reason) }),
            Err(reason) => outcomes.push(Err(reason)),
        }
    }
    Ok(Answer::Transfers(outcomes))
}

fn pay(draft: &mut Draft<'_>, moment: Moment, order: &TransferOrder, by: &PublicKey) -> Result<Transfer, Refusal> {
    let TransferOrder { id, payer, payee, amount, ref memo } = *order;
    let mut account = draft.existing_account(&payer)?;
    allowed(draft, &account, by, KeyRole::Spender, "spend")?;
    let transfer = Transfer {
        id,
        payer,
        payee,
        amount,
        memo: memo.clone(),
        issued: false,
        at: moment.at,
        record: moment.record,
        balance: Credits::ZERO,
        refunded: Credits::ZERO,
        refund_of: None,
    };
    if let Some(earlier) = earlier(draft, &transfer)? {
        return Ok(earlier);
    }
    if draft.reservation(&payer, &id)?.is_some() {
        return Err(Refusal::TransferIdTaken(id));
    }
    check(draft, &transfer)?;
    if payer == payee {
        return Err(Refusal::ToItself(payer));
    }
    if account.allowance.is_some() && account.parent != Some(payee) {
        return Err(Refusal::AllowanceOnly(payer));
    }
    spend(&mut account, by, amount, moment.at)?;
    draft.put_account(account);
    let cause = Cause::Sent { id, to: payee, memo: memo.clone() };
    let balance = move_balance(draft, moment, payer, negative(amount), cause)?;
    move_balance(draft, moment, payee, amount, Cause::Received { id, from: payer, memo: memo.clone() })?;
    Ok(made(draft, Transfer { balance, ..transfer }))
}

/// The transfer that was made with the id of `asked` before; a refusal where it was another one.
fn earlier(draft: &Draft<'_>, asked: &Transfer) -> Result<Option<Transfer>, Refusal> {
    let Some(earlier) = draft.transfer(&asked.payer, &asked.id)? else { return Ok(None) };
    let content = |transfer: &Transfer| {
        (transfer.payee, transfer.amount, transfer.memo.clone(), transfer.issued, transfer.refund_of)
    };
    if content(&earlier) == content(asked) { Ok(Some(earlier)) } else { Err(Refusal::TransferIdTaken(asked.id)) }
}

fn check(draft: &Draft<'_>, transfer: &Transfer) -> Result<(), Refusal> {
    check_text("memo", &transfer.memo)?;
    if transfer.amount <= Credits::ZERO {
        return Err(Refusal::NoAmount(transfer.amount));
    }
    receiving(draft, &transfer.payee).map(|_| ())
}

fn made(draft: &mut Draft<'_>, transfer: Transfer) -> Transfer {
    draft.put_transfer(transfer.clone());
    transfer
}
