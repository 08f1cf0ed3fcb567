//! The rules of reservations: making, resolving, expiring.

use tycoon_market::{AccountId, Credits, PublicKey, TransferId};

use super::apply::{Answer, Moment, allowed, check_text, move_balance, negative, receiving, spend};
use super::reservation::{RESERVATION_MAX, RESERVATIONS_OPEN_MAX};
use super::{
    Cause, Draft, Due, KeyRole, Refusal, Reservation, ReservationEnd, ReservationOrder, Resolution, Resolver, Transfer,
    View,
};

/// Takes money from the payer and holds it.
pub(super) fn reserve(
    draft: &mut Draft<'_>,
    moment: Moment,
    order: &ReservationOrder,
    by: &PublicKey,
) -> Result<Answer, Refusal> {
    let mut payer = draft.existing_account(&order.payer)?;
    allowed(draft, &payer, by, KeyRole::Spender, "spend")?;
    if let Some(earlier) = draft.reservation(&order.payer, &order.id)? {
        let same = earlier.order == *order;
        return if same { Ok(Answer::Reservation(earlier)) } else { Err(Refusal::TransferIdTaken(order.id)) };
    }
    if draft.transfer(&order.payer, &order.id)?.is_some() {
        return Err(Refusal::TransferIdTaken(order.id));
    }
    check_text("memo", &order.memo)?;
    if order.amount <= Credits::ZERO {
        return Err(Refusal::NoAmount(order.amount));
    }
    if order.timeout.is_zero() || order.timeout > RESERVATION_MAX {
        return Err(Refusal::BadTimeout);
    }
    if order.payer == order.payee {
        return Err(Refusal::ToItself(order.payer));
    }
    receiving(draft, &order.payee)?;
    if payer.allowance.is_some() && payer.parent != Some(order.payee) {
        return Err(Refusal::AllowanceOnly(payer.id));
    }
    if payer.reservations_open >= RESERVATIONS_OPEN_MAX {
        return Err(Refusal::TooManyReservations);
    }
    spend(&mut payer, by, order.amount, moment.at)?;
    draft.put_account(payer);
    count(draft, order, order.amount, 1)?;
    let cause = Cause::Reserved { id: order.id, to: order.payee, memo: order.memo.clone() };
    move_balance(draft, moment, order.payer, negative(order.amount), cause)?;
    let expires_at = moment.at.plus(order.timeout);
    let reservation = Reservation { order: order.clone(), at: moment.at, expires_at, end: None };
    draft.put_reservation(reservation.clone());
    Ok(Answer::Reservation(reservation))
}

/// Posts or voids a reservation.
pub(super) fn resolve(
    draft: &mut Draft<'_>,
    moment: Moment,
    payer: AccountId,
    id: TransferId,
    resolution: Resolution,
    by: &PublicKey,
) -> Result<Answer, Refusal> {
    let reservation = draft.reservation(&payer, &id)?.ok_or(Refusal::NoReservation { payer, id })?;
    may_resolve(draft, &reservation, by)?;
    let reserved = reservation.order.amount;
    let end = match resolution {
        Resolution::Void {} => ReservationEnd::Voided,
        Resolution::Post { amount } => ReservationEnd::Posted { amount: amount.unwrap_or(reserved) },
    };
    match reservation.end {
        Some(earlier) if earlier == end => return Ok(Answer::Reservation(reservation)),
        Some(earlier) => return Err(Refusal::Resolved { id, how: told(earlier) }),
        // It is as good as expired, also where nobody has looked yet.
        None if moment.at >= reservation.expires_at => {
            return Err(Refusal::Resolved { id, how: told(ReservationEnd::Expired) });
        }
        None => {}
    }
    if let ReservationEnd::Posted { amount } = end
        && (amount <= Credits::ZERO || amount > reserved)
    {
        return Err(Refusal::BadPosting { asked: amount, reserved });
    }
    finish(draft, moment, reservation, end).map(Answer::Reservation)
}

/// Gives back what is held by reservations whose time is over; others among `reservations` stay as they are.
pub(super) fn expire(
    draft: &mut Draft<'_>,
    moment: Moment,
    reservations: &[(AccountId, TransferId)],
) -> Result<Vec<Due>, Refusal> {
    let mut expired = Vec::new();
    for (payer, id) in reservations {
        let (payer, id) = (*payer, *id);
        let reservation = draft.reservation(&payer, &id)?.ok_or(Refusal::NoReservation { payer, id })?;
        if reservation.due_at().is_some_and(|due| moment.at >= due) {
            finish(draft, moment, reservation, ReservationEnd::Expired)?;
            expired.push(Due::Reservation(payer, id));
        }
    }
    Ok(expired)
}

fn may_resolve(draft: &Draft<'_>, reservation: &Reservation, by: &PublicKey) -> Result<(), Refusal> {
    let order = &reservation.order;
    let sides: &[AccountId] = match order.resolver {
        Resolver::Payer => &[order.payer],
        Resolver::Payee => &[order.payee],
        Resolver::Either => &[order.payer, order.payee],
    };
    let mut refusal = Refusal::NoReservation { payer: order.payer, id: order.id };
    for side in sides {
        let account = draft.existing_account(side)?;
        match allowed(draft, &account, by, KeyRole::Spender, "resolve the reservation") {
            Ok(()) => return Ok(()),
            Err(other) => refusal = other,
        }
    }
    Err(refusal)
}

/// Moves what is held to where `end` says.
fn finish(
    draft: &mut Draft<'_>,
    moment: Moment,
    mut reservation: Reservation,
    end: ReservationEnd,
) -> Result<Reservation, Refusal> {
    let order = reservation.order.clone();
    count(draft, &order, negative(order.amount), -1)?;
    let posted = match end {
        ReservationEnd::Posted { amount } => amount,
        ReservationEnd::Voided | ReservationEnd::Expired => Credits::ZERO,
    };
    let rest = order.amount.checked_sub(posted).ok_or(Refusal::TooMuch)?;
    if !rest.is_zero() {
        let cause = Cause::Unreserved { id: order.id, to: order.payee };
        move_balance(draft, moment, order.payer, rest, cause)?;
    }
    if !posted.is_zero() {
        let cause = Cause::Received { id: order.id, from: order.payer, memo: order.memo.clone() };
        move_balance(draft, moment, order.payee, posted, cause)?;
        let balance = draft.existing_account(&order.payer)?.balance;
        draft.put_transfer(Transfer {
            id: order.id,
            payer: order.payer,
            payee: order.payee,
            amount: posted,
            memo: order.memo,
            issued: false,
            at: moment.at,
            record: moment.record,
            balance,
            refunded: Credits::ZERO,
            refund_of: None,
        });
    }
    reservation.end = Some(end);
    draft.put_reservation(reservation.clone());
    Ok(reservation)
}

/// Changes what reservations hold, in the books and for the payer, and how many are open.
fn count(draft: &mut Draft<'_>, order: &ReservationOrder, change: Credits, open: i64) -> Result<(), Refusal> {
    let mut payer = draft.existing_account(&order.payer)?;
    payer.reserved = payer.reserved.checked_add(change).ok_or(Refusal::TooMuch)?;
    payer.reservations_open = payer.reservations_open.saturating_add_signed(open);
    draft.put_account(payer);
    let mut books = draft.founded()?;
    books.in_reservations = books.in_reservations.checked_add(change).ok_or(Refusal::TooMuch)?;
    books.reservations_open = books.reservations_open.saturating_add_signed(open);
    draft.put_books(books);
    Ok(())
}

fn told(end: ReservationEnd) -> String {
    match end {
        ReservationEnd::Posted { amount } => format!("posted with {amount} credits"),
        ReservationEnd::Voided => "voided".to_owned(),
        ReservationEnd::Expired => "expired".to_owned(),
    }
}
