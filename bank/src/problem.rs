//! Refusals of the ledger as problems with stable codes.

use http::StatusCode;
use tycoon_rpc::Problem;
use tycoon_rpc::trouble::{of_disk, with_causes};

use crate::bank::BankError;
use crate::journal::JournalError;
use crate::ledger::Refusal;
use crate::store::StoreError;

/// The problem of an error.
pub fn of(error: &BankError) -> Problem {
    match error {
        BankError::Refused(refusal) => of_refusal(refusal),
        BankError::Journal(failure) if let JournalError::NotWritten { source, .. } = &**failure => {
            tracing::error!(error = with_causes(failure), "the bank cannot write");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "bank.not-written", "The bank cannot write")
                .detail(format_args!("{}; nothing was recorded", of_disk(source)))
                .help("try again later: its operator must look at the disk")
        }
        BankError::Store(StoreError::Unavailable(_)) => {
            tracing::error!(%error, "the bank's database is away");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "bank.unavailable", "The bank's database is away")
                .detail("whether the operation was recorded is not known")
                .help("ask again with the same id: what was recorded is not done twice")
        }
        BankError::Store(StoreError::NotTaken { why, .. }) => {
            tracing::error!(%error, "the bank cannot write");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "bank.not-written", "The bank cannot write")
                .detail(format_args!("{why}; nothing was recorded"))
                .help("try again later: its operator must look at the disk")
        }
        // What is wrong inside is the operator's business; what it means for the caller is said.
        error => {
            tracing::error!(error = with_causes(error), "the bank failed");
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "bank.failed", "The bank failed")
                .detail("whether the operation was recorded is not known")
                .help("ask again with the same id: what was recorded is not done twice")
        }
    }
}

/// The problem of a refusal.
pub fn of_refusal(refusal: &Refusal) -> Problem {
    use Refusal as R;
    let (status, code, title) = match refusal {
        R::NotFounded | R::AlreadyFounded | R::OldEpoch { .. } => {
            (StatusCode::CONFLICT, "bank.founding", "The bank is not in a state to do this")
        }
        R::NoAccount(_) => (StatusCode::NOT_FOUND, "bank.no-account", "There is no such account"),
        R::NoTransfer { .. } => (StatusCode::NOT_FOUND, "bank.no-transfer", "There is no such transfer"),
        R::OverRefunded { .. } => (StatusCode::CONFLICT, "bank.over-refunded", "It was given back already"),
        R::NoReservation { .. } => (StatusCode::NOT_FOUND, "bank.no-reservation", "There is no such reservation"),
        R::Resolved { .. } => (StatusCode::CONFLICT, "bank.resolved", "The reservation is resolved"),
        R::BadPosting { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "bank.bad-posting", "The amount cannot be posted"),
        R::BadTimeout => (StatusCode::UNPROCESSABLE_ENTITY, "bank.bad-timeout", "The timeout is not accepted"),
        R::TooManyReservations => {
            (StatusCode::CONFLICT, "bank.too-many-reservations", "The account has too many open reservations")
        }
        R::Closed(_) => (StatusCode::CONFLICT, "bank.closed", "The account is closed"),
        R::StillOpen { .. } => (StatusCode::CONFLICT, "bank.still-open", "The account cannot be closed yet"),
        R::TooManyAccounts { .. } => {
            (StatusCode::FORBIDDEN, "bank.too-many-accounts-opened", "The account has opened too many others")
        }
        R::BadDeposit(_) => (StatusCode::UNPROCESSABLE_ENTITY, "bank.bad-deposit", "The deposit is not accepted"),
        R::SubOfSub(_) => (StatusCode::UNPROCESSABLE_ENTITY, "bank.sub-of-sub", "Sub-accounts have none of their own"),
        R::NoSubAccount(_) => (StatusCode::UNPROCESSABLE_ENTITY, "bank.no-sub-account", "It is no sub-account"),
        R::BadAllowance => (StatusCode::UNPROCESSABLE_ENTITY, "bank.bad-allowance", "The allowance is not accepted"),
        R::AllowanceOnly(_) => (StatusCode::FORBIDDEN, "bank.allowance-only", "An allowance is for hosts"),
        R::TransferCount => (StatusCode::UNPROCESSABLE_ENTITY, "bank.transfer-count", "Too many transfers, or none"),
        R::Linked { reason, .. } => {
            return Problem::new(StatusCode::CONFLICT, "bank.linked", "None of the linked transfers was made")
                .detail(refusal)
                .with("reason", of_refusal(reason).code.clone());
        }
        R::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "bank.too-large", "The operation is too large"),
        R::Seen => (StatusCode::UNAUTHORIZED, "call.seen", "The call is not fresh"),
        R::NoEscrow(_) => (StatusCode::NOT_FOUND, "bank.no-escrow", "There is no such escrow"),
        R::KeyTaken { .. } => (StatusCode::CONFLICT, "bank.key-taken", "The key has an account"),
        R::KeyUsed { .. } => (StatusCode::CONFLICT, "bank.key-used", "The key had an account"),
        R::NoKey { .. } => (StatusCode::NOT_FOUND, "bank.no-key", "The account has no such key"),
        R::TooManyKeys => (StatusCode::CONFLICT, "bank.too-many-keys", "The account has too many keys"),
        R::LastOwner => (StatusCode::CONFLICT, "bank.last-owner", "The account needs an owner"),
        R::NotAllowed { .. } => (StatusCode::FORBIDDEN, "bank.not-allowed", "The key may not do this"),
        R::NoAmount(_) => (StatusCode::UNPROCESSABLE_ENTITY, "bank.no-amount", "There is no amount"),
        R::Insufficient { .. } => {
            (StatusCode::PAYMENT_REQUIRED, "bank.insufficient-funds", "There is not enough money")
        }
        R::OverLimit { .. } => (StatusCode::FORBIDDEN, "bank.over-limit", "The key's spending limit is reached"),
        R::ToItself(_) => (StatusCode::UNPROCESSABLE_ENTITY, "bank.to-itself", "Payer and payee are the same"),
        R::TooMuch => (StatusCode::UNPROCESSABLE_ENTITY, "bank.too-much", "The amount is too large"),
        R::TransferIdTaken(_) | R::EscrowIdTaken(_) => (StatusCode::CONFLICT, "bank.id-taken", "The id is taken"),
        R::BadText(_) => (StatusCode::UNPROCESSABLE_ENTITY, "bank.bad-text", "A text is not accepted"),
        R::NotTheHost { .. } => {
            (StatusCode::UNPROCESSABLE_ENTITY, "bank.not-the-host", "Host and key do not belong together")
        }
        R::NothingDrawable => {
            (StatusCode::UNPROCESSABLE_ENTITY, "bank.nothing-drawable", "Nothing could be drawn from the escrow")
        }
        R::TooManyEscrows => (StatusCode::CONFLICT, "bank.too-many-escrows", "The account has too many open escrows"),
        R::ForgedStatement(_) => (StatusCode::FORBIDDEN, "bank.forged-statement", "The statement is not the host's"),
        R::StatementConflict { .. } => (StatusCode::CONFLICT, "bank.statement-conflict", "The host contradicts itself"),
        R::StatementGoesBack { .. } => {
            (StatusCode::CONFLICT, "bank.statement-goes-back", "A total of the statement is lower than before")
        }
        R::OverDrawn { .. } => (StatusCode::CONFLICT, "bank.over-drawn", "The statement exceeds the escrow"),
        R::TooFast { .. } => (StatusCode::CONFLICT, "bank.too-fast", "The host draws too fast"),
        R::Ended(_) => (StatusCode::CONFLICT, "bank.escrow-ended", "The escrow has ended"),
        R::NothingLapsed | R::NothingRenewed => (StatusCode::CONFLICT, "bank.nothing-lapsed", "Nothing has lapsed"),
        R::Store(
            StoreError::Pending
            | StoreError::Damaged(_)
            | StoreError::Failed(_)
            | StoreError::Unavailable(_)
            | StoreError::NotTaken { .. },
        ) => (StatusCode::INTERNAL_SERVER_ERROR, "bank.failed", "The bank failed"),
    };
    let problem = Problem::new(status, code, title);
    let problem = if code == "bank.failed" { problem } else { problem.detail(refusal) };
    match refusal {
        R::Insufficient { balance, amount, .. } => {
            problem.with("balance_micros", balance.micros()).with("amount_micros", amount.micros())
        }
        R::OverLimit { left, amount, .. } => {
            problem.with("left_micros", left.micros()).with("amount_micros", amount.micros())
        }
        R::OverRefunded { left, .. } => problem.with("left_micros", left.micros()),
        R::TooFast { at_most, .. } => problem.with("at_most_micros", at_most.micros()),
        R::TransferIdTaken(_) | R::EscrowIdTaken(_) => {
            problem.help("an id names one order for ever; take a new one for a new order")
        }
        _ => problem,
    }
}
