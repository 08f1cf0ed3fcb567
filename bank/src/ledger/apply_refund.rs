//! The rule of refunds: who was paid gives back, in whole or in parts, and never more than was paid.

use tycoon_market::{Credits, PublicKey};

use super::apply::{Answer, Moment, allowed, check_text, move_balance, negative, receiving, spend};
use super::{Cause, Draft, KeyRole, RefundOrder, Refusal, Transfer, View};

/// Gives back what a transfer paid, or a part of it.
pub(super) fn refund(
    draft: &mut Draft<'_>,
    moment: Moment,
    order: &RefundOrder,
    by: &PublicKey,
) -> Result<Answer, Refusal> {
    let mut account = draft.existing_account(&order.payer)?;
    allowed(draft, &account, by, KeyRole::Spender, "give back")?;
    if let Some(earlier) = draft.transfer(&order.payer, &order.id)? {
        let same = earlier.refund_of == Some(order.of)
            && earlier.payee == order.payee
            && earlier.memo == order.memo
            && order.amount.is_none_or(|amount| amount == earlier.amount);
        return if same { Ok(Answer::Transfer(earlier)) } else { Err(Refusal::TransferIdTaken(order.id)) };
    }
    if draft.reservation(&order.payer, &order.id)?.is_some() {
        return Err(Refusal::TransferIdTaken(order.id));
    }
    let paid = draft.transfer(&order.payee, &order.of)?;
    // Nobody was paid by an issue's issuer, and what was given back once stays there.
    let paid = paid.filter(|paid| paid.payee == order.payer && !paid.issued && paid.refund_of.is_none());
    let mut paid = paid.ok_or(Refusal::NoTransfer { payer: order.payee, payee: order.payer, id: order.of })?;
    check_text("memo", &order.memo)?;
    let left = paid.amount.checked_sub(paid.refunded).ok_or(Refusal::TooMuch)?;
    let amount = order.amount.unwrap_or(left);
    if order.amount.is_some() && amount <= Credits::ZERO {
        return Err(Refusal::NoAmount(amount));
    }
    if left.is_zero() || amount > left {
        return Err(Refusal::OverRefunded { asked: amount, left });
    }
    receiving(draft, &order.payee)?;
    if account.allowance.is_some() && account.parent != Some(order.payee) {
        return Err(Refusal::AllowanceOnly(account.id));
    }
    spend(&mut account, by, amount, moment.at)?;
    draft.put_account(account);
    let (id, of, memo) = (order.id, order.of, || order.memo.clone());
    let given = Cause::Refund { id, of, to: order.payee, memo: memo() };
    let balance = move_balance(draft, moment, order.payer, negative(amount), given)?;
    let returned = Cause::Refunded { id, of, from: order.payer, memo: memo() };
    move_balance(draft, moment, order.payee, amount, returned)?;
    paid.refunded = paid.refunded.checked_add(amount).ok_or(Refusal::TooMuch)?;
    draft.put_transfer(paid);
    let refund = Transfer {
        id,
        payer: order.payer,
        payee: order.payee,
        amount,
        memo: memo(),
        issued: false,
        at: moment.at,
        record: moment.record,
        balance,
        refunded: Credits::ZERO,
        refund_of: Some(of),
    };
    draft.put_transfer(refund.clone());
    Ok(Answer::Transfer(refund))
}
