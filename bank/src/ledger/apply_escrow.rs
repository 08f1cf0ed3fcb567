//! The rules of escrows: opening, settling by statement, lapsing.

use tycoon_market::{Credits, EscrowId, HostId, PublicKey, Statement};

use super::account::ESCROWS_OPEN_MAX;
use super::apply::{Answer, Moment, allowed, move_balance, negative, receiving, spend};
use super::{Cause, Draft, Due, Escrow, EscrowEnd, EscrowOrder, KeyRole, Line, Refusal, View};

/// Moves money from the payer's account into a new escrow.
pub(super) fn open(
    draft: &mut Draft<'_>,
    moment: Moment,
    order: &EscrowOrder,
    by: &PublicKey,
) -> Result<Answer, Refusal> {
    let mut payer = draft.existing_account(&order.payer)?;
    allowed(draft, &payer, by, KeyRole::Spender, "spend")?;
    if let Some(earlier) = draft.escrow(&order.id)? {
        let same = earlier.order == *order;
        return if same { Ok(Answer::Escrow(earlier)) } else { Err(Refusal::EscrowIdTaken(order.id)) };
    }
    if order.amount <= Credits::ZERO {
        return Err(Refusal::NoAmount(order.amount));
    }
    if order.longest.is_zero() || order.highest_rate.picos_per_second() == 0 {
        return Err(Refusal::NothingDrawable);
    }
    if HostId::of(&order.host_key) != order.host {
        return Err(Refusal::NotTheHost { host: order.host, key: order.host_key });
    }
    receiving(draft, &order.beneficiary)?;
    if payer.escrows_open >= ESCROWS_OPEN_MAX {
        return Err(Refusal::TooManyEscrows);
    }
    spend(&mut payer, by, order.amount, moment.at)?;
    payer.escrows_open += 1;
    draft.put_account(payer);
    let mut books = draft.founded()?;
    books.escrows_open += 1;
    draft.put_books(books);
    let cause = Cause::SetAside { escrow: order.id, pool: order.pool.clone(), host: order.host };
    move_balance(draft, moment, order.payer, negative(order.amount), cause)?;
    hold(draft, order, order.amount)?;
    let escrow = Escrow::open(order.clone(), moment.at);
    draft.put_escrow(escrow.clone());
    draft.add_line(order.payer, Line { set_aside: order.amount, ..line(moment, &escrow) });
    Ok(Answer::Escrow(escrow))
}

/// A line of the payer's statement about `escrow` in which nothing has happened yet.
fn line(moment: Moment, escrow: &Escrow) -> Line {
    let order = &escrow.order;
    Line {
        at: moment.at,
        record: moment.record,
        escrow: order.id,
        pool: order.pool.clone(),
        host: order.host,
        host_key: order.host_key,
        set_aside: Credits::ZERO,
        drawn: Credits::ZERO,
        returned: Credits::ZERO,
        statement: None,
        end: None,
    }
}

/// Adds what has happened to `after` since `before` to the payer's statement.
fn add_line(draft: &mut Draft<'_>, moment: Moment, before: &Escrow, after: &Escrow) -> Result<(), Refusal> {
    let heard = if after.statement == before.statement { None } else { after.statement.clone() };
    let line = Line {
        drawn: difference(after.drawn, before.drawn)?,
        returned: difference(after.released, before.released)?,
        statement: heard,
        end: after.end,
        ..line(moment, after)
    };
    // A host that only says that it is there adds no line: it would say so every few minutes, for ever.
    if !line.drawn.is_zero() || !line.returned.is_zero() || line.end.is_some() {
        draft.add_line(after.order.payer, line);
    }
    Ok(())
}

/// Pays the beneficiary and the payer what a statement says.
pub(super) fn settle(draft: &mut Draft<'_>, moment: Moment, statement: &Statement) -> Result<Answer, Refusal> {
    let terms = &statement.terms;
    let id = terms.escrow;
    let mut escrow = draft.existing_escrow(&id)?;
    statement.verify(&escrow.order.host_key).map_err(|_| Refusal::ForgedStatement(id))?;
    if let Some(last) = &escrow.statement {
        if terms.sequence < last.terms.sequence || *terms == last.terms {
            return Ok(Answer::Escrow(escrow));
        }
        if terms.sequence == last.terms.sequence {
            return Err(Refusal::StatementConflict { escrow: id, sequence: terms.sequence });
        }
    }
    if escrow.end.is_some() {
        return Err(Refusal::Ended(id));
    }
    let totals = [
        ("the total drawn", escrow.drawn, terms.drawn_total),
        ("the total released", escrow.released, terms.released_total),
    ];
    for (what, before, after) in totals {
        if after < before {
            return Err(Refusal::StatementGoesBack { escrow: id, what, before, after });
        }
    }
    let amount = escrow.order.amount;
    if terms.drawn_total.checked_add(terms.released_total).is_none_or(|sum| sum > amount) {
        return Err(Refusal::OverDrawn { escrow: id, drawn: terms.drawn_total, amount });
    }
    let at_most = escrow.drawable_by(moment.at);
    if terms.drawn_total > at_most {
        return Err(Refusal::TooFast { escrow: id, drawn: terms.drawn_total, at_most });
    }
    let before = escrow.clone();
    draw(draft, moment, &mut escrow, terms.drawn_total)?;
    let released = if terms.closed { difference(amount, escrow.drawn)? } else { terms.released_total };
    release(draft, moment, &mut escrow, released)?;
    escrow.heard_at = moment.at;
    escrow.statement = Some(statement.clone());
    if terms.closed {
        end(draft, &mut escrow, EscrowEnd::Closed)?;
    }
    add_line(draft, moment, &before, &escrow)?;
    draft.put_escrow(escrow.clone());
    Ok(Answer::Escrow(escrow))
}

/// Returns to the payers what is held by escrows that have lapsed; others among `escrows` stay as they are.
pub(super) fn lapse(draft: &mut Draft<'_>, moment: Moment, escrows: &[EscrowId]) -> Result<Vec<Due>, Refusal> {
    let mut lapsed = Vec::new();
    for id in escrows {
        let mut escrow = draft.existing_escrow(id)?;
        if escrow.lapses_at().is_none_or(|deadline| moment.at < deadline) {
            continue;
        }
        let before = escrow.clone();
        let rest = difference(escrow.order.amount, escrow.drawn)?;
        release(draft, moment, &mut escrow, rest)?;
        end(draft, &mut escrow, EscrowEnd::Lapsed)?;
        add_line(draft, moment, &before, &escrow)?;
        draft.put_escrow(escrow);
        lapsed.push(Due::Escrow(*id));
    }
    Ok(lapsed)
}

/// Brings what was drawn up to `total`.
fn draw(draft: &mut Draft<'_>, moment: Moment, escrow: &mut Escrow, total: Credits) -> Result<(), Refusal> {
    let amount = difference(total, escrow.drawn)?;
    if amount.is_zero() {
        return Ok(());
    }
    escrow.drawn = total;
    hold(draft, &escrow.order, negative(amount))?;
    let order = &escrow.order;
    let cause = Cause::Earned { escrow: order.id, host: order.host, from: order.payer };
    move_balance(draft, moment, order.beneficiary, amount, cause).map(|_| ())
}

/// Brings what was released up to `total`.
fn release(draft: &mut Draft<'_>, moment: Moment, escrow: &mut Escrow, total: Credits) -> Result<(), Refusal> {
    let amount = difference(total, escrow.released)?;
    if amount.is_zero() {
        return Ok(());
    }
    escrow.released = total;
    hold(draft, &escrow.order, negative(amount))?;
    let order = &escrow.order;
    let cause = Cause::Returned { escrow: order.id, pool: order.pool.clone(), host: order.host };
    move_balance(draft, moment, order.payer, amount, cause).map(|_| ())
}

fn end(draft: &mut Draft<'_>, escrow: &mut Escrow, how: EscrowEnd) -> Result<(), Refusal> {
    escrow.end = Some(how);
    let mut payer = draft.existing_account(&escrow.order.payer)?;
    payer.escrows_open = payer.escrows_open.saturating_sub(1);
    draft.put_account(payer);
    let mut books = draft.founded()?;
    books.escrows_open = books.escrows_open.saturating_sub(1);
    draft.put_books(books);
    Ok(())
}

/// Changes what escrows hold, in the books and for the payer.
fn hold(draft: &mut Draft<'_>, order: &EscrowOrder, change: Credits) -> Result<(), Refusal> {
    let mut payer = draft.existing_account(&order.payer)?;
    payer.set_aside = payer.set_aside.checked_add(change).ok_or(Refusal::TooMuch)?;
    draft.put_account(payer);
    let mut books = draft.founded()?;
    books.in_escrow = books.in_escrow.checked_add(change).ok_or(Refusal::TooMuch)?;
    draft.put_books(books);
    Ok(())
}

fn difference(a: Credits, b: Credits) -> Result<Credits, Refusal> {
    a.checked_sub(b).ok_or(Refusal::TooMuch)
}
