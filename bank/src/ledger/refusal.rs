//! Why the ledger refuses.

use thiserror::Error;
use tycoon_market::{AccountId, Credits, EscrowId, HostId, PublicKey, TransferId};

use super::SpendingLimit;
use super::account::{ESCROWS_OPEN_MAX, KEYS_MAX, TEXT_CHARS_MAX};
use crate::store::StoreError;

/// Why an operation was refused. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The ledger has no founding record.
    #[error("the bank has not been founded")]
    NotFounded,
    /// The ledger has one already.
    #[error("the bank has been founded already")]
    AlreadyFounded,
    /// An epoch that is not higher than the present one.
    #[error("epoch {asked} is not higher than the present epoch {present}")]
    OldEpoch {
        /// What was asked for.
        asked: u64,
        /// The present epoch.
        present: u64,
    },
    /// No such account.
    #[error("there is no account {0}")]
    NoAccount(AccountId),
    /// There is no such transfer, or none that can be given back.
    #[error("the account {payer} has made no transfer {id} to the account {payee} that could be given back")]
    NoTransfer {
        /// The account that should have paid.
        payer: AccountId,
        /// The account that should have been paid.
        payee: AccountId,
        /// The id.
        id: TransferId,
    },
    /// More would be given back than was paid.
    #[error("{asked} credits cannot be given back: of what was paid, {left} are left")]
    OverRefunded {
        /// What is asked for.
        asked: Credits,
        /// What was not given back yet.
        left: Credits,
    },
    /// No such reservation.
    #[error("the account {payer} has no reservation {id}")]
    NoReservation {
        /// The account that should have reserved.
        payer: AccountId,
        /// The id.
        id: TransferId,
    },
    /// The reservation was resolved otherwise.
    #[error("the reservation {id} was {how} already")]
    Resolved {
        /// The reservation.
        id: TransferId,
        /// How.
        how: String,
    },
    /// More is posted than was reserved, or nothing.
    #[error("{asked} credits cannot be posted: {reserved} are reserved")]
    BadPosting {
        /// What is asked for.
        asked: Credits,
        /// What is reserved.
        reserved: Credits,
    },
    /// The reservation would last too long, or no time at all.
    #[error("a reservation lasts {} at most, and longer than no time", super::reservation::RESERVATION_MAX)]
    BadTimeout,
    /// The account has too many reservations.
    #[error("an account has at most {} open reservations", super::reservation::RESERVATIONS_OPEN_MAX)]
    TooManyReservations,
    /// The account is closed.
    #[error("the account {0} is closed")]
    Closed(AccountId),
    /// The account cannot be closed yet.
    #[error("the account {account} cannot be closed: it has {what}")]
    StillOpen {
        /// The account.
        account: AccountId,
        /// What stands in the way.
        what: String,
    },
    /// The opener has opened as many accounts as it may.
    #[error("the account {account} has opened {most} accounts, which is all it may")]
    TooManyAccounts {
        /// The opener.
        account: AccountId,
        /// The bound.
        most: u64,
    },
    /// A deposit that is negative.
    #[error("the deposit is {0}; it must not be negative")]
    BadDeposit(Credits),
    /// Sub-accounts have none of their own.
    #[error("the account {0} is a sub-account, which has no sub-accounts of its own")]
    SubOfSub(AccountId),
    /// Only sub-accounts have allowances.
    #[error("the account {0} is no sub-account; only those have allowances")]
    NoSubAccount(AccountId),
    /// The terms of an allowance make no sense.
    #[error(
        "an allowance needs an amount above zero, a period of {} at least, and an end that is not past",
        super::allowance::PERIOD_MIN
    )]
    BadAllowance,
    /// An allowance is for hosts.
    #[error("the account {0} has an allowance, which pays hosts or goes back to the parent account, and nobody else")]
    AllowanceOnly(AccountId),
    /// None of the allowances begins a period.
    #[error("none of these allowances begins a period now")]
    NothingRenewed,
    /// Too many or no transfers.
    #[error("a call makes 1 to {} transfers", super::operation::TRANSFERS_MAX)]
    TransferCount,
    /// One of linked transfers was refused, and so were all.
    #[error("transfer {number} of the linked ones was refused, so that none was made: {reason}")]
    Linked {
        /// Which one, from 1.
        number: usize,
        /// Why.
        reason: Box<Refusal>,
    },
    /// The operation is too large for a record of the journal.
    #[error("the operation has {0} bytes, which is more than a record of the journal takes")]
    TooLarge(usize),
    /// The signed request was received before, by this or another process of the bank.
    #[error("the request was received before; a repeated call needs a new nonce")]
    Seen,
    /// No such escrow.
    #[error("there is no escrow {0}")]
    NoEscrow(EscrowId),
    /// The key belongs to another account, or to one that was opened differently.
    #[error("the key {} belongs to the account {account} already", key.fingerprint())]
    KeyTaken {
        /// The key.
        key: PublicKey,
        /// The account.
        account: AccountId,
    },
    /// The id of the new account belongs to one whose first key was replaced.
    #[error("the key {} opened the account {account} once and cannot open another", key.fingerprint())]
    KeyUsed {
        /// The key.
        key: PublicKey,
        /// The account.
        account: AccountId,
    },
    /// The account has no such key.
    #[error("the account {account} has no key {}", key.fingerprint())]
    NoKey {
        /// The account.
        account: AccountId,
        /// The key.
        key: PublicKey,
    },
    /// The account has too many keys.
    #[error("an account has at most {KEYS_MAX} keys")]
    TooManyKeys,
    /// The account would be left without an owner's key.
    #[error("an account needs one key with the role `owner`; give it to another key first")]
    LastOwner,
    /// The key may not do this.
    #[error("the key {} may not {what} for the account {account}", key.fingerprint())]
    NotAllowed {
        /// The key.
        key: PublicKey,
        /// The account.
        account: AccountId,
        /// What it may not do.
        what: &'static str,
    },
    /// The amount is zero or negative.
    #[error("the amount is {0}; it must be more than nothing")]
    NoAmount(Credits),
    /// There is not enough money.
    #[error("the account {account} has {balance} credits; {amount} are needed")]
    Insufficient {
        /// The account.
        account: AccountId,
        /// Its balance.
        balance: Credits,
        /// What is needed.
        amount: Credits,
    },
    /// The key's spending limit is reached.
    #[error(
        "the key may spend {} credits in {}; {left} are left, {amount} are needed", limit.amount, limit.period
    )]
    OverLimit {
        /// What is needed.
        amount: Credits,
        /// What is left in the present period.
        left: Credits,
        /// The limit.
        limit: SpendingLimit,
    },
    /// Payer and payee are the same.
    #[error("payer and payee are the same account {0}")]
    ToItself(AccountId),
    /// More than the ledger can count.
    #[error("the ledger can count at most {} credits in all", Credits::MAX)]
    TooMuch,
    /// A transfer with this id and another content exists.
    #[error("the payer has used the id {0} for another transfer")]
    TransferIdTaken(TransferId),
    /// An escrow with this id and another content exists.
    #[error("the id {0} is taken by another escrow")]
    EscrowIdTaken(EscrowId),
    /// A text is too long or has control characters.
    #[error("the {0} must have at most {TEXT_CHARS_MAX} characters and no control characters")]
    BadText(&'static str),
    /// The host id is not that of the host key.
    #[error("the host {host} does not have the key {}", key.fingerprint())]
    NotTheHost {
        /// The host.
        host: HostId,
        /// The key.
        key: PublicKey,
    },
    /// An escrow without duration or rate could never be drawn.
    #[error("an escrow needs a longest duration and a highest rate above zero")]
    NothingDrawable,
    /// The payer has too many open escrows.
    #[error("an account has at most {ESCROWS_OPEN_MAX} open escrows")]
    TooManyEscrows,
    /// The statement's signature is not the host's.
    #[error("the statement of escrow {0} is not signed by its host")]
    ForgedStatement(EscrowId),
    /// The host has signed two different statements with one sequence number.
    #[error("the host has signed another statement with the sequence {sequence} for escrow {escrow}")]
    StatementConflict {
        /// The escrow.
        escrow: EscrowId,
        /// The sequence number.
        sequence: u64,
    },
    /// A total of the statement is lower than before.
    #[error("the statement of escrow {escrow} takes back: {what} was {before} and would be {after}")]
    StatementGoesBack {
        /// The escrow.
        escrow: EscrowId,
        /// Which total.
        what: &'static str,
        /// The total before.
        before: Credits,
        /// The total in the statement.
        after: Credits,
    },
    /// The totals exceed the escrow.
    #[error("the statement of escrow {escrow} adds up to more than the {amount} credits set aside")]
    OverDrawn {
        /// The escrow.
        escrow: EscrowId,
        /// The total drawn in the statement.
        drawn: Credits,
        /// Its amount.
        amount: Credits,
    },
    /// The host draws faster than the payer allowed.
    #[error("the statement draws {drawn} credits from escrow {escrow}; by now {at_most} may be drawn")]
    TooFast {
        /// The escrow.
        escrow: EscrowId,
        /// The total in the statement.
        drawn: Credits,
        /// The most that may be drawn by now.
        at_most: Credits,
    },
    /// The escrow has ended.
    #[error("the escrow {0} has ended")]
    Ended(EscrowId),
    /// None of the escrows has lapsed.
    #[error("none of these escrows has lapsed")]
    NothingLapsed,
    /// The state could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}
