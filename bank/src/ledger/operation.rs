//! What can be done to the ledger. These are the contents of the journal, so their form on disk must stay readable.

use serde::{Deserialize, Serialize};
use tycoon_market::{AccountId, Credits, EscrowId, PublicKey, Statement, TransferId};

use super::{AccountKind, AllowanceTerms, EscrowOrder, KeyRole, ReservationOrder, Resolution, SpendingLimit};

/// Transfers that one operation makes at most.
pub const TRANSFERS_MAX: usize = 256;

/// A change to the keys of an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum KeyChange {
    /// Adds a key, or changes the role and limit of one that is there.
    Put {
        /// The key.
        key: PublicKey,
        /// What it may do.
        role: KeyRole,
        /// How much it may spend.
        limit: Option<SpendingLimit>,
    },
    /// Puts a key in the place of another, with its role and limit.
    Replace {
        /// The key that is there.
        key: PublicKey,
        /// The key that shall be there.
        with: PublicKey,
    },
    /// Removes a key.
    Remove {
        /// The key.
        key: PublicKey,
    },
}

/// Who opens an account for somebody, and what that costs her.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opener {
    /// The account that opens it.
    pub account: AccountId,
    /// The key that asks for it.
    pub by: PublicKey,
    /// What the new account has at first; the opener pays it.
    pub deposit: Credits,
    /// True for a sub-account of the opener.
    pub sub: bool,
    /// The most accounts that the opener may open in all.
    pub accounts_max: u64,
}

/// A transfer as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransferOrder {
    /// The client's own id. Asking for the same again gives the same answer.
    pub id: TransferId,
    /// The account that pays.
    pub payer: AccountId,
    /// The account that receives.
    pub payee: AccountId,
    /// How much, in micro-credits.
    pub amount: Credits,
    /// What for.
    #[serde(default)]
    pub memo: String,
}

/// A refund as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefundOrder {
    /// The id of the transfer that gives back: the client's own. Asking for the same again gives the same answer.
    pub id: TransferId,
    /// The account that gives back; it had been paid.
    pub payer: AccountId,
    /// The account that had paid.
    pub payee: AccountId,
    /// The transfer that had paid.
    pub of: TransferId,
    /// How much, in micro-credits; all that was not given back yet where nothing is said.
    #[serde(default)]
    pub amount: Option<Credits>,
    /// What for.
    #[serde(default)]
    pub memo: String,
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Operation {
    /// Founds the bank, with the account of its issuer. The first operation of every ledger, and only that.
    Found {
        /// The bank's key.
        bank: PublicKey,
        /// The issuer's key.
        issuer: PublicKey,
        /// The first epoch.
        epoch: u64,
    },
    /// Starts a new epoch, after the bank was restored from a copy.
    NewEpoch {
        /// The epoch, higher than the present one.
        epoch: u64,
    },
    /// Opens an account.
    OpenAccount {
        /// Its first key.
        key: PublicKey,
        /// Whom it belongs to.
        kind: AccountKind,
        /// What its holder calls it.
        label: String,
        /// Who opens it; `None` for who opens her own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        opener: Option<Opener>,
    },
    /// Closes an account: what it has goes to another, and it does nothing more.
    CloseAccount {
        /// The account.
        account: AccountId,
        /// Who receives what it has.
        to: AccountId,
        /// The key that asks for it.
        by: PublicKey,
    },
    /// Grants a sub-account an allowance, changes it, or ends it.
    SetAllowance {
        /// The sub-account.
        account: AccountId,
        /// What is granted; `None` to end it.
        allowance: Option<AllowanceTerms>,
        /// The key that asks for it.
        by: PublicKey,
    },
    /// Begins the next period of allowances whose time has come.
    Renew {
        /// The sub-accounts.
        accounts: Vec<AccountId>,
    },
    /// Changes the keys of an account.
    ChangeKeys {
        /// The account.
        account: AccountId,
        /// What to change.
        change: KeyChange,
        /// The key that asks for it.
        by: PublicKey,
    },
    /// Puts credits into circulation.
    Issue {
        /// The issuer's own id.
        id: TransferId,
        /// The account that receives them.
        to: AccountId,
        /// How much.
        amount: Credits,
        /// What for.
        memo: String,
        /// The key that asks for it.
        by: PublicKey,
    },
    /// Moves credits from one account to another.
    Transfer {
        /// The payer's own id.
        id: TransferId,
        /// The account that pays.
        payer: AccountId,
        /// The account that receives.
        payee: AccountId,
        /// How much.
        amount: Credits,
        /// What for.
        memo: String,
        /// The key that asks for it.
        by: PublicKey,
    },
    /// Makes several transfers: all or none, or each by itself.
    Transfers {
        /// The transfers, in their order.
        orders: Vec<TransferOrder>,
        /// True where none is made unless all are.
        linked: bool,
        /// The key that asks for them.
        by: PublicKey,
    },
    /// Gives back what a transfer paid, or a part of it.
    Refund {
        /// What is ordered.
        order: RefundOrder,
        /// The key that asks for it.
        by: PublicKey,
    },
    /// Reserves credits for another account.
    Reserve {
        /// What is ordered.
        order: ReservationOrder,
        /// The key that asks for it.
        by: PublicKey,
    },
    /// Posts or voids a reservation.
    Resolve {
        /// The account that reserved.
        payer: AccountId,
        /// The reservation.
        id: TransferId,
        /// How it is resolved.
        resolution: Resolution,
        /// The key that asks for it.
        by: PublicKey,
    },
    /// Sets credits aside for a host account.
    OpenEscrow {
        /// What is ordered.
        order: EscrowOrder,
        /// The key that asks for it.
        by: PublicKey,
    },
    /// Pays a host by its statement.
    Settle {
        /// The statement, signed by the host.
        statement: Statement,
    },
    /// Returns what is held by escrows whose hosts were silent too long, and by reservations whose time is over.
    Lapse {
        /// The escrows.
        escrows: Vec<EscrowId>,
        /// The reservations, by payer and id.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        reservations: Vec<(AccountId, TransferId)>,
    },
}
