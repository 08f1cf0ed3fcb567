//! What can happen to the market of a host, and what it then wants done.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::account::{Reason, ReceiptTotals};
use super::charge::ChargeLine;
use super::config::HostConfig;
use super::quote::Quote;
use crate::{Bid, Credits, EscrowId, HostAccountId, Quantity, Rate, ResourceKind, TimeSpan, Timestamp, UniqueId};

/// Something that happens to the market of a host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum Event {
    /// Opens a host account without money. An account that is open stays as it is.
    Open {
        /// The account.
        account: HostAccountId,
    },
    /// Adds the money of an escrow. A receipt counts once: the second time nothing happens.
    Fund {
        /// The account.
        account: HostAccountId,
        /// The receipt's id, which is its escrow's.
        receipt: EscrowId,
        /// The money in the escrow.
        amount: Credits,
        /// The bank lets nobody draw faster than this; the account spends no faster.
        highest_rate: Option<Rate>,
    },
    /// Sets the bid. The same bid again changes nothing.
    Bid {
        /// The account.
        account: HostAccountId,
        /// The bid.
        bid: Bid,
    },
    /// Gives money back.
    Refund {
        /// The account.
        account: HostAccountId,
        /// How much.
        amount: Credits,
    },
    /// Ends the account: its domains and disks go, its money goes back. CPU and network used since the last tick are
    /// charged as fully used; tick first to charge exactly.
    Close {
        /// The account.
        account: HostAccountId,
    },
    /// The bank has ended an escrow: nothing more can be drawn, the rest of it has gone back.
    EndReceipt {
        /// The account.
        account: HostAccountId,
        /// The receipt's id.
        receipt: EscrowId,
    },
    /// The time to charge and to divide anew.
    Tick {
        /// What each account used since the last tick; who is missing used nothing.
        usage: BTreeMap<HostAccountId, Usage>,
        /// Set where the daemon was down since the last event: at most this much time is charged, only to accounts
        /// with an entry in `usage`, and deadlines move by the rest.
        downtime_limit: Option<TimeSpan>,
    },
    /// Holds minima at no more than today's price, in place of an earlier quote.
    Quote {
        /// The account, which need not be open.
        account: HostAccountId,
        /// What to hold.
        minima: BTreeMap<ResourceKind, Quantity>,
        /// For how long; the host's longest time at most.
        valid_for: TimeSpan,
    },
    /// Lets go of a quote. It is no error where there is none.
    ReleaseQuote {
        /// The account.
        account: HostAccountId,
    },
    /// The owner changes a base price.
    SetBasePrice {
        /// The resource.
        kind: ResourceKind,
        /// The price of one price unit.
        rate: Rate,
    },
    /// The owner, or the hardware, changes what is sold.
    SetCapacity {
        /// The resource.
        kind: ResourceKind,
        /// What is sold of it.
        capacity: Quantity,
    },
    /// The owner sets everything anew: what is sold, base prices, times and limits. Times that run go on to the end that
    /// they had.
    Configure {
        /// The new configuration.
        config: Box<HostConfig>,
    },
    /// Tells which unique resources are in use. Who holds one and does not use it pays more from day to day. A host that
    /// never tells has none that is idle.
    UniqueUse {
        /// Those in use.
        used: BTreeSet<UniqueId>,
    },
    /// The owner admits no new bids and quotes (or does again). Accounts that run go on.
    SetDraining {
        /// True to drain.
        draining: bool,
    },
    /// The owner puts an account out: warned, stopped, and deleted like one that is displaced.
    Evict {
        /// The account.
        account: HostAccountId,
    },
}

/// What an account used since the last tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Usage {
    /// Processor time: two CPUs used fully for a second are two seconds.
    pub cpu_time: TimeSpan,
    /// Bits that came in.
    pub received_bits: u64,
    /// Bits that went out.
    pub sent_bits: u64,
    /// Memory that its domains have now.
    pub memory: Quantity,
    /// Disk space that its volumes have now.
    pub disk: Quantity,
}

/// What the market wants done, in this order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Effect {
    /// The account is admitted (again): it may run domains.
    Activate {
        /// The account.
        account: HostAccountId,
    },
    /// The account now has these shares; none where the map is empty.
    Allocate {
        /// The account.
        account: HostAccountId,
        /// Its shares.
        shares: BTreeMap<ResourceKind, Quantity>,
    },
    /// The account now holds a unique resource.
    GrantUnique {
        /// The account.
        account: HostAccountId,
        /// The resource.
        id: UniqueId,
    },
    /// The account no longer holds a unique resource.
    RevokeUnique {
        /// The account.
        account: HostAccountId,
        /// The resource.
        id: UniqueId,
    },
    /// Tell the account that its domains will be shut down, unless it does something about it.
    Warn {
        /// The account.
        account: HostAccountId,
        /// Why.
        reason: Reason,
        /// When.
        stop_at: Timestamp,
    },
    /// Shut the account's domains down cleanly. Its disk stays.
    Stop {
        /// The account.
        account: HostAccountId,
        /// Why.
        reason: Reason,
        /// When its disk will be deleted.
        delete_at: Timestamp,
    },
    /// Delete the account's disk. The account is closed too.
    DeleteDisk {
        /// The account.
        account: HostAccountId,
        /// Why.
        reason: Reason,
    },
    /// The account's bid has expired; what is left is spread over a long time.
    Expired {
        /// The account.
        account: HostAccountId,
        /// The rate that it now bids.
        rate: Rate,
    },
    /// Money was charged.
    Charged {
        /// The account.
        account: HostAccountId,
        /// How much.
        amount: Credits,
        /// The totals of the receipts that it was drawn from.
        receipts: Vec<ReceiptTotals>,
        /// What it is made of: the amounts of the lines add up to it exactly.
        lines: Vec<ChargeLine>,
    },
    /// Money is to go back.
    Refunded {
        /// The account.
        account: HostAccountId,
        /// How much.
        amount: Credits,
        /// The totals of the receipts that it is released from.
        receipts: Vec<ReceiptTotals>,
    },
    /// The account is closed: whatever is left of its domains and disks is to go.
    Closed {
        /// The account.
        account: HostAccountId,
        /// The final totals of all its receipts.
        receipts: Vec<ReceiptTotals>,
        /// What it was charged last.
        lines: Vec<ChargeLine>,
    },
    /// Minima are held.
    Quoted {
        /// The account.
        account: HostAccountId,
        /// What, for how long, and what it will cost at most.
        quote: Quote,
    },
    /// The clock went back; no time was charged and deadlines moved with it.
    ClockWentBack {
        /// By how much.
        by: TimeSpan,
    },
}
