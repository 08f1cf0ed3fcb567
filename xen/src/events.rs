//! What happened on the market of a host, as its log and its stream of events tell it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tycoon_market::auctioneer::Reason;
use tycoon_market::ids::EscrowId;
use tycoon_market::{AccountId, Credits, PoolName, Quantity, Rate, ResourceKind, Timestamp, UniqueId};

use crate::spec::DomainPath;

/// The events that a host keeps; older ones are forgotten.
pub const EVENTS_KEPT: usize = 4_096;
/// The most events in one answer.
pub const EVENTS_PER_ANSWER_MAX: usize = 512;

/// Something that happened to one host account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostEvent {
    /// Counts the events of the host from 1.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// To whom.
    pub account: AccountId,
    /// To which pool of hers.
    pub pool: PoolName,
    /// What.
    #[serde(flatten)]
    pub what: Happening,
}

/// What can happen to a host account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Happening {
    /// Money came in.
    Funded {
        /// The escrow.
        escrow: EscrowId,
        /// How much.
        amount: Credits,
    },
    /// Money was given back.
    Refunded {
        /// How much.
        amount: Credits,
    },
    /// It was admitted, or has clearly more or less than when this was told last.
    Allocated {
        /// What it has now.
        shares: BTreeMap<ResourceKind, Quantity>,
    },
    /// It holds an address or a port.
    Granted {
        /// Which.
        id: UniqueId,
    },
    /// Somebody else holds its address or port now.
    Outbid {
        /// Which.
        id: UniqueId,
    },
    /// Its domains will be shut down, because its money is used up or the owner puts it out.
    Warned {
        /// Why.
        reason: Reason,
        /// When.
        stop_at: Timestamp,
    },
    /// Its domains will be shut down, because others bid more for its minima.
    Displaced {
        /// When.
        stop_at: Timestamp,
    },
    /// Its domains are shut down.
    Stopped {
        /// Why.
        reason: Reason,
        /// When its disks will be deleted.
        delete_at: Timestamp,
    },
    /// Its disks are deleted.
    Deleted {
        /// Why.
        reason: Reason,
    },
    /// Its bid has expired; what is left is spread over a long time.
    Expired {
        /// The rate that it bids now.
        rate: Rate,
    },
    /// A domain that its host keeps running has ended, and nobody had asked for that.
    Ended {
        /// Which.
        domain: DomainPath,
        /// True where it was a fault of its own.
        is_crash: bool,
        /// When it is started again; `None` where its policy leaves it as it is.
        restart_at: Option<Timestamp>,
    },
    /// A domain that had ended was started again.
    Restarted {
        /// Which.
        domain: DomainPath,
        /// How often that was within the time of its policy.
        restarts: u32,
    },
    /// A domain has ended more often than its policy allows: it is not started again.
    GaveUp {
        /// Which.
        domain: DomainPath,
        /// True where the last end was a fault of its own.
        is_crash: bool,
        /// How often it was started again within the time of its policy.
        restarts: u32,
    },
    /// A domain did not give back in time memory that its account does not buy any more: it is shut down.
    Hoarded {
        /// Which.
        domain: DomainPath,
        /// What it had, in bytes.
        memory_bytes: u64,
        /// What it was to have, in bytes.
        given_bytes: u64,
    },
    /// It is closed.
    Closed {
        /// All that was charged.
        charged: Credits,
        /// All that goes back.
        refunded: Credits,
    },
}

impl Happening {
    /// Its word: `displaced`.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Funded { .. } => "funded",
            Self::Refunded { .. } => "refunded",
            Self::Allocated { .. } => "allocated",
            Self::Granted { .. } => "granted",
            Self::Outbid { .. } => "outbid",
            Self::Warned { .. } => "warned",
            Self::Displaced { .. } => "displaced",
            Self::Stopped { .. } => "stopped",
            Self::Deleted { .. } => "deleted",
            Self::Expired { .. } => "expired",
            Self::Ended { .. } => "ended",
            Self::Restarted { .. } => "restarted",
            Self::GaveUp { .. } => "gave-up",
            Self::Hoarded { .. } => "hoarded",
            Self::Closed { .. } => "closed",
        }
    }
}

/// `GET /v1/events?after=&wait=`: what happened to the caller's accounts, or, for the owner, to all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventsReport {
    /// The events, the oldest first.
    pub events: Vec<HostEvent>,
    /// What to ask for next time: everything up to this number has been looked at.
    pub last: u64,
    /// True where events after the number that was asked for are forgotten already.
    pub is_torn: bool,
}
