//! What can be done to the ledger. These are the contents of the journal, so their form on disk must stay readable.

use serde::{Deserialize, Serialize};
use tycoon_market::{AccountId, Credits, EscrowId, PublicKey, Statement, TransferId};

use super::{AccountKind, EscrowOrder, KeyRole, SpendingLimit};

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
    /// Removes a key.
    Remove {
        /// The key.
        key: PublicKey,
    },
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
    /// Returns what is held by escrows whose hosts were silent too long.
    Lapse {
        /// The escrows.
        escrows: Vec<EscrowId>,
    },
}
