//! The parties a run talks to, as it needs them. A site (embedded or real) provides them; tests provide faulty ones.
//!
//! All calls block, and all changes are idempotent: a call whose answer was lost is simply made again.

use std::collections::BTreeMap;
use std::sync::Arc;

use thiserror::Error;
use tycoon_bank::api::RefusedClaim;
use tycoon_market::ids::EscrowId;
use tycoon_market::receipt::Receipt;
use tycoon_market::{AccountId, Credits, HostId, HostName, PoolName, PublicKey, Rate, Timestamp};
use tycoon_planner::plan::PlannedEscrow;
use tycoon_rpc::CallError;
pub use tycoon_rpc::Clock;
use tycoon_xen::market::{
    AccountReport, BidRequest, ChargesReport, CloseReport, OffersReport, Quote, QuoteRequest, RefundRequest,
};
use tycoon_xen::protocol::{Answer, HostError, Request};
use tycoon_xen::save::VolumeStream;

/// The code with which a host says that it has no account of that name.
pub const NO_ACCOUNT: &str = "host.no-account";
/// The codes of faults behind a service that may pass by themselves, whatever their status says.
const PASSING: [&str; 3] = ["host.hypervisor", "host.bank", "bank.failed"];

/// Why a party did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LinkError {
    /// It does not answer.
    #[error("{reason}")]
    Unreachable {
        /// Why.
        reason: String,
    },
    /// It refuses.
    #[error("{message}")]
    Refused {
        /// Its stable code.
        code: String,
        /// What it says.
        message: String,
        /// What it proposes.
        help: Option<String>,
        /// True where the same call may succeed later: it is busy or starting, or what is behind it fails.
        is_transient: bool,
    },
    /// The host refuses, or fails, to do something with a domain.
    #[error(transparent)]
    Host(#[from] HostError),
    /// It answers something that makes no sense.
    #[error("its answer makes no sense: {reason}")]
    Nonsense {
        /// What is wrong with it.
        reason: String,
    },
}

impl BankEscrow {
    /// What the host may still draw of it, where it is open.
    pub fn left(&self) -> Credits {
        if self.is_open { self.amount.saturating_sub_at_zero(self.drawn) } else { Credits::ZERO }
    }
}

impl From<CallError> for LinkError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Refused(problem) => Self::Refused {
                code: problem.code.clone(),
                message: if problem.detail.is_empty() { problem.title.clone() } else { problem.detail.clone() },
                help: problem.help.clone(),
                is_transient: problem.is_transient() || PASSING.contains(&problem.code.as_str()),
            },
            CallError::Transport(error) => Self::Unreachable { reason: error.to_string() },
            // A service that is overloaded, or somebody before it, refuses without a signature.
            other if other.is_transient() => Self::Unreachable { reason: other.to_string() },
            other => Self::Nonsense { reason: other.to_string() },
        }
    }
}

impl LinkError {
    /// A refusal that does not pass by itself, and what to do about it.
    pub fn refused(code: &str, message: impl Into<String>, help: Option<&str>) -> Self {
        let (code, message, help) = (code.to_owned(), message.into(), help.map(str::to_owned));
        Self::Refused { code, message, help, is_transient: false }
    }

    /// True where the same call may succeed later without any change.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Host(error) => error.is_transient(),
            Self::Refused { is_transient, .. } => *is_transient,
            Self::Nonsense { .. } => false,
        }
    }

    /// What to do about it, where that is known.
    pub fn help(&self) -> Option<&str> {
        match self {
            Self::Refused { help, .. } => help.as_deref(),
            _ => None,
        }
    }
}

/// An account at the bank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BankAccount {
    /// What it holds, without what is in escrow.
    pub balance: Credits,
    /// The keys that may spend, in ascending order. They may log in to the account's domains.
    pub keys: Vec<PublicKey>,
}

/// An escrow of this account at the bank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BankEscrow {
    /// Its id.
    pub id: EscrowId,
    /// The pool it is for.
    pub pool: PoolName,
    /// The host it is for.
    pub host: HostId,
    /// When it was opened, by the bank's clock.
    pub opened_at: Timestamp,
    /// Its amount.
    pub amount: Credits,
    /// What the host has drawn.
    pub drawn: Credits,
    /// What came back.
    pub released: Credits,
    /// True while the host may still draw.
    pub is_open: bool,
    /// The fastest that the host may draw.
    pub highest_rate: Rate,
}

/// The bank, for one account.
pub trait BankLink: Send + Sync {
    /// What the account holds and who may use it.
    fn account(&self) -> Result<BankAccount, LinkError>;

    /// The account's escrows for one pool or for all, open and closed.
    fn escrows(&self, pool: Option<&PoolName>) -> Result<Vec<BankEscrow>, LinkError>;

    /// Has the escrow open. The same escrow again is no error.
    fn open_escrow(&self, pool: &PoolName, host: &SiteHost, escrow: &PlannedEscrow) -> Result<Receipt, LinkError>;

    /// The receipt of an escrow.
    fn receipt(&self, escrow: EscrowId) -> Result<Receipt, LinkError>;

    /// What hosts claimed of the account's escrows beyond what they may have, and the bank refused.
    fn refused_claims(&self) -> Result<Vec<RefusedClaim>, LinkError>;
}

/// One host, for one account.
pub trait HostLink: Send + Sync {
    /// What it sells now, as this account and pool can have it.
    fn offers(&self, pool: &PoolName) -> Result<OffersReport, LinkError>;

    /// Has minima held for a while.
    fn quote(&self, request: &QuoteRequest) -> Result<Quote, LinkError>;

    /// The host account of one pool.
    fn account(&self, pool: &PoolName) -> Result<Option<AccountReport>, LinkError>;

    /// The host accounts of all pools.
    fn accounts(&self) -> Result<Vec<AccountReport>, LinkError>;

    /// What the host account of one pool was charged lately, line by line.
    fn charges(&self, pool: &PoolName) -> Result<Option<ChargesReport>, LinkError>;

    /// Credits the host account with an escrow, once.
    fn fund(&self, pool: &PoolName, receipt: &Receipt) -> Result<AccountReport, LinkError>;

    /// Sets the bid.
    fn bid(&self, pool: &PoolName, request: &BidRequest) -> Result<AccountReport, LinkError>;

    /// Takes out what is above what shall be left.
    fn refund(&self, pool: &PoolName, request: &RefundRequest) -> Result<AccountReport, LinkError>;

    /// Closes the host account.
    fn close(&self, pool: &PoolName, generation: u64) -> Result<CloseReport, LinkError>;

    /// Asks something about domains.
    fn request(&self, request: &Request) -> Result<Answer, LinkError>;

    /// The blocks of a volume of one of the account's domains, by the hypervisor's name of the domain. Whether it can be read
    /// is known once it is opened; a stream that breaks later says so when it is read.
    fn open_volume(&self, name: &str, volume: &str) -> Result<VolumeStream, LinkError> {
        let reason = format!("nothing leads to the volume `{volume}` of `{name}` on this host");
        Err(LinkError::refused("volume.no-way", reason, None))
    }

    /// Keeps the blocks of such a volume as the disk of an image of the account's on the host. True where it had none with
    /// this content.
    fn keep_as_image(&self, name: &str, volume: &str, image: &str) -> Result<bool, LinkError> {
        let reason =
            format!("nothing leads to the volume `{volume}` of `{name}` on this host, to keep it as `{image}`");
        Err(LinkError::refused("volume.no-way", reason, None))
    }
}

/// A host that was found, and the way to it.
#[derive(Clone)]
pub struct SiteHost {
    /// Its id.
    pub id: HostId,
    /// Its name.
    pub name: HostName,
    /// Who earns what it charges.
    pub owner: AccountId,
    /// Its key.
    pub key: tycoon_market::PublicKey,
    /// True where it exists only in a process.
    pub is_simulated: bool,
    /// Its architecture.
    pub architecture: String,
    /// The owner's labels.
    pub labels: BTreeMap<String, String>,
    /// The way to it.
    pub link: Arc<dyn HostLink>,
}

/// Everything a run talks to.
pub trait Site: Send + Sync {
    /// Whose run it is.
    fn account(&self) -> AccountId;

    /// The bank.
    fn bank(&self) -> &dyn BankLink;

    /// The hosts, ordered by name.
    fn hosts(&self) -> Result<Vec<SiteHost>, LinkError>;

    /// A host that is not among them now, where a way to it is known all the same: one that was stopped, say, or that the
    /// site does not admit any more. What a pool has there can be looked at and taken away; nothing is put there.
    fn other_host(&self, _id: &HostId) -> Option<SiteHost> {
        None
    }

    /// The clock.
    fn clock(&self) -> &dyn Clock;
}
