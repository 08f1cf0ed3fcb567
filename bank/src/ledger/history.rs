//! What has happened: transfers, and the entries of an account's history.

use serde::{Deserialize, Serialize};
use tycoon_market::{AccountId, Credits, EscrowId, HostId, PoolName, Timestamp, TransferId};

/// A transfer, or an issue, which is a transfer out of nowhere by the issuer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    /// The client's own id, unique among the payer's transfers.
    pub id: TransferId,
    /// The account that paid, or that issued.
    pub payer: AccountId,
    /// The account that received.
    pub payee: AccountId,
    /// How much.
    pub amount: Credits,
    /// What for.
    pub memo: String,
    /// True for an issue.
    pub issued: bool,
    /// When.
    pub at: Timestamp,
    /// The number of the journal record.
    pub record: u64,
    /// What the payer had after it (or, for an issue, the payee).
    #[serde(default)]
    pub balance: Credits,
    /// How much of it was given back so far.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub refunded: Credits,
    /// Which transfer of the payee to the payer this one gives back, in whole or in part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refund_of: Option<TransferId>,
}

fn is_nothing(amount: &Credits) -> bool {
    amount.is_zero()
}

/// Why the balance of an account changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Cause {
    /// Credits were issued to it.
    Issued {
        /// The issuer's id of the issue.
        id: TransferId,
        /// What for.
        memo: String,
    },
    /// It paid.
    Sent {
        /// The transfer.
        id: TransferId,
        /// Whom.
        to: AccountId,
        /// What for.
        memo: String,
    },
    /// It was paid.
    Received {
        /// The transfer.
        id: TransferId,
        /// By whom.
        from: AccountId,
        /// What for.
        memo: String,
    },
    /// It gave back what it had been paid, or a part of it.
    Refund {
        /// The transfer that gives back.
        id: TransferId,
        /// The transfer that had paid.
        of: TransferId,
        /// Who had paid.
        to: AccountId,
        /// What for.
        memo: String,
    },
    /// It was given back what it had paid, or a part of it.
    Refunded {
        /// The transfer that gives back.
        id: TransferId,
        /// The transfer that had paid.
        of: TransferId,
        /// Who had been paid.
        from: AccountId,
        /// What for.
        memo: String,
    },
    /// It opened another account, or was opened, with a deposit.
    Deposit {
        /// The other account.
        account: AccountId,
    },
    /// It reserved money for another account.
    Reserved {
        /// The reservation.
        id: TransferId,
        /// For whom.
        to: AccountId,
        /// What for.
        memo: String,
    },
    /// Money came back from a reservation.
    Unreserved {
        /// The reservation.
        id: TransferId,
        /// For whom it was.
        to: AccountId,
    },
    /// A period of an allowance began: it was granted money, or granted it, or what was not used went back.
    Allowance {
        /// The other account.
        account: AccountId,
    },
    /// It was closed, or another account was closed in its favour.
    Closed {
        /// The other account.
        account: AccountId,
    },
    /// It set money aside for a host.
    SetAside {
        /// The escrow.
        escrow: EscrowId,
        /// The pool it is for.
        pool: PoolName,
        /// The host.
        host: HostId,
    },
    /// Money came back from an escrow.
    Returned {
        /// The escrow.
        escrow: EscrowId,
        /// The pool it was for.
        pool: PoolName,
        /// The host.
        host: HostId,
    },
    /// A host of its owner drew what it had charged.
    Earned {
        /// The escrow.
        escrow: EscrowId,
        /// The host.
        host: HostId,
        /// Who paid.
        from: AccountId,
    },
}

impl Cause {
    /// Its kind in one word, as it stands in `kind`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Issued { .. } => "issued",
            Self::Sent { .. } => "sent",
            Self::Received { .. } => "received",
            Self::Refund { .. } => "refund",
            Self::Refunded { .. } => "refunded",
            Self::Deposit { .. } => "deposit",
            Self::Reserved { .. } => "reserved",
            Self::Unreserved { .. } => "unreserved",
            Self::Allowance { .. } => "allowance",
            Self::Closed { .. } => "closed",
            Self::SetAside { .. } => "set-aside",
            Self::Returned { .. } => "returned",
            Self::Earned { .. } => "earned",
        }
    }
}

/// One entry of an account's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number in the account's history, from 1.
    pub number: u64,
    /// The number of the journal record.
    pub record: u64,
    /// When.
    pub at: Timestamp,
    /// By how much the balance changed.
    pub change: Credits,
    /// The balance after it.
    pub balance: Credits,
    /// Why.
    pub cause: Cause,
}
