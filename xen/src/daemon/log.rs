//! What came in since the records were written, and how it is applied anew after a crash: see `store`.

use serde::{Deserialize, Serialize};
use tycoon_market::{Bid, HostAccountId, Timestamp};

use super::state::State;
use super::statements::MadeStatement;
use super::usage::Look;

/// An entry of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Entry {
    Bid(AcceptedBid),
    Tick(Tick),
}

/// A bid that was accepted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AcceptedBid {
    pub(super) at: Timestamp,
    pub(super) account: HostAccountId,
    pub(super) generation: u64,
    pub(super) bid: Bid,
}

/// Time that was charged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tick {
    /// By what was used until then.
    pub(super) look: Look,
    /// The statements that it made due. They are not made anew: what the bank has acknowledged since is not in the
    /// records, and it must never hear two different statements with one number.
    pub(super) statements: Vec<MadeStatement>,
}

impl Entry {
    /// True for a tick, which touches every account.
    pub(super) const fn is_tick(&self) -> bool {
        matches!(self, Self::Tick(_))
    }
}

impl State {
    /// Applies what came in before a crash.
    pub(super) fn take_entry(&mut self, entry: Entry) {
        match entry {
            Entry::Bid(bid) => {
                if let Err(refusal) = self.take_bid(&bid) {
                    // Only a program of another version, with other rules, can come to this.
                    tracing::error!(account = %bid.account, %refusal, "a bid that was accepted is refused after a restart");
                }
            }
            Entry::Tick(tick) => {
                self.pass_time(&tick.look);
                self.note_charges();
                tick.statements.iter().for_each(|made| self.take_statement(made));
            }
        }
    }
}
