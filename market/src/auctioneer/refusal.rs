//! Why the market of a host refuses a call.

use thiserror::Error;

use super::account::Reason;
use super::config::ConfigError;
use crate::{Credits, EscrowId, HostAccountId, Quantity, Rate, ResourceKind, UniqueWish};

/// Why an event was refused. It has left everything as it was.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// No such account.
    #[error("there is no host account {0} here; open it first")]
    AccountUnknown(HostAccountId),
    /// As many accounts as the owner allows.
    #[error("this host has {0} accounts, as many as its owner allows")]
    TooManyAccounts(usize),
    /// An account with more receipts than is allowed.
    #[error("this account was funded {0} times, as often as the host allows; fund less often with more")]
    TooManyReceipts(usize),
    /// As many quotes as the owner allows.
    #[error("this host holds {0} quotes, as many as its owner allows; try again in a minute")]
    TooManyQuotes(usize),
    /// A receipt that was used for another account, or for one that is closed.
    #[error("receipt {0} was already used here")]
    ReceiptUsed(EscrowId),
    /// A receipt that came before with another amount.
    #[error("receipt {receipt} was credited with {credited} before, not with {amount}")]
    ReceiptDiffers {
        /// The receipt.
        receipt: EscrowId,
        /// What it was credited with.
        credited: Credits,
        /// What it is said to hold now.
        amount: Credits,
    },
    /// A receipt that the account was not funded with.
    #[error("this account was not funded with receipt {0}")]
    ReceiptUnknown(EscrowId),
    /// An amount that is not above zero.
    #[error("{0} credits are not an amount to move; it must be above 0")]
    NotAnAmount(Credits),
    /// More than can be counted.
    #[error("the account would have been funded with more than can be counted")]
    TooMuchMoney,
    /// More than can be given back.
    #[error("only {refundable} credits can be given back, not {amount}; closing the account gives back all")]
    NotSoMuch {
        /// What was asked for.
        amount: Credits,
        /// What is there.
        refundable: Credits,
    },
    /// A resource that this host does not sell.
    #[error("this host does not sell {0}")]
    NotSold(ResourceKind),
    /// A unique resource that this host does not sell.
    #[error("this host does not sell `{0}`")]
    UniqueNotSold(UniqueWish),
    /// A configuration that cannot be used.
    #[error("the configuration cannot be used: {0}")]
    Config(#[from] ConfigError),
    /// A quote for nothing.
    #[error("a quote holds something for some time; this one asks for nothing or for no time")]
    EmptyQuote,
    /// A minimum above the maximum on this host.
    #[error("the minimum of {kind}, {}, is above its maximum, {}, on this host", kind.show(*min), kind.show(*max))]
    MinAboveMax {
        /// The resource.
        kind: ResourceKind,
        /// The minimum.
        min: Quantity,
        /// The maximum.
        max: Quantity,
    },
    /// A minimum that does not fit beside those of the others.
    #[error(
        "{} of {kind} are not available: {} are; take less, bid more on {kind}, or take another host",
        kind.show(*asked), kind.show(*available)
    )]
    NotAvailable {
        /// The resource.
        kind: ResourceKind,
        /// The minimum asked for.
        asked: Quantity,
        /// What is free for this account.
        available: Quantity,
    },
    /// Money that does not last for one interval.
    #[error("this costs {needed} credits per interval and the account has {funds}; fund it first")]
    CannotPay {
        /// What one interval costs.
        needed: Credits,
        /// What there is to spend.
        funds: Credits,
    },
    /// Escrows that allow less than the minima cost.
    #[error("the minima cost more than the {0} that the escrows allow; fund with a higher rate or take less")]
    AboveHighestRate(Rate),
    /// A call that would stop the caller's own domains.
    #[error("this would stop the account's own domains ({0}); only closing the account may do that")]
    WouldStop(Reason),
    /// Less than the account's domains have.
    #[error(
        "the domains of this account have {} of {kind}, this would leave {}; shrink or stop them first",
        kind.show(*used), kind.show(*share)
    )]
    BelowUse {
        /// The resource.
        kind: ResourceKind,
        /// What they have.
        used: Quantity,
        /// The share after the call.
        share: Quantity,
    },
    /// A host that is being emptied.
    #[error("the owner of this host is draining it; take another host")]
    Draining,
    /// An account that was put out.
    #[error("the owner of this host has put this account out; close it and take another host")]
    Evicted,
}

impl Refusal {
    /// A stable word for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::AccountUnknown(_) => "account-unknown",
            Self::TooManyAccounts(_) => "too-many-accounts",
            Self::TooManyReceipts(_) => "too-many-receipts",
            Self::TooManyQuotes(_) => "too-many-quotes",
            Self::ReceiptUsed(_) => "receipt-used",
            Self::ReceiptDiffers { .. } => "receipt-differs",
            Self::ReceiptUnknown(_) => "receipt-unknown",
            Self::NotAnAmount(_) => "not-an-amount",
            Self::TooMuchMoney => "too-much-money",
            Self::NotSoMuch { .. } => "not-so-much",
            Self::NotSold(_) => "not-sold",
            Self::UniqueNotSold(_) => "unique-not-sold",
            Self::Config(_) => "config",
            Self::EmptyQuote => "empty-quote",
            Self::MinAboveMax { .. } => "min-above-max",
            Self::NotAvailable { .. } => "not-available",
            Self::CannotPay { .. } => "cannot-pay",
            Self::AboveHighestRate(_) => "above-highest-rate",
            Self::WouldStop(_) => "would-stop",
            Self::BelowUse { .. } => "below-use",
            Self::Draining => "draining",
            Self::Evicted => "evicted",
        }
    }
}
