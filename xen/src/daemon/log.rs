//! What came in since the records were written, and how it is applied anew after a crash: see `store`.

use serde::{Deserialize, Serialize};
use tycoon_market::receipt::ReceiptTerms;
use tycoon_market::{Bid, HostAccountId, PublicKey, Timestamp};

use super::state::State;
use super::statements::MadeStatement;
use super::usage::Look;

/// An entry of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Entry {
    Bid(AcceptedBid),
    Fund(AcceptedFunds),
    Tick(Tick),
    /// Statements that a tick made due. They are not made anew: what the bank has acknowledged since is not in the records,
    /// and it must never hear two different statements with one number.
    Statements(Vec<MadeStatement>),
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

/// Money that was accepted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AcceptedFunds {
    pub(super) at: Timestamp,
    /// Who handed the receipt in.
    pub(super) sender: PublicKey,
    /// What it says.
    pub(super) terms: ReceiptTerms,
}

/// Time that was charged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tick {
    /// By what was used until then.
    pub(super) look: Look,
    /// The statements that it made due, where an earlier program kept it, which wrote both together.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) statements: Vec<MadeStatement>,
}

impl Entry {
    /// True for a tick, which touches every account.
    pub(super) const fn is_tick(&self) -> bool {
        matches!(self, Self::Tick(_))
    }
}

/// Held while the state is changed in place: were it to panic half-way, the process ends, and the next one begins with what
/// is on disk.
pub(super) struct WholeOrNothing;

impl Drop for WholeOrNothing {
    #[expect(
        clippy::disallowed_methods,
        reason = "nobody may see a market that took half of an entry, and it is all on disk"
    )]
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(
                "the market could not take what is on disk already; this process ends, and nothing is lost"
            );
            std::process::abort();
        }
    }
}

impl State {
    /// Applies what came in, now or before a crash.
    pub(super) fn take_entry(&mut self, entry: Entry) {
        match entry {
            Entry::Bid(bid) => {
                if let Err(refusal) = self.take_bid(&bid) {
                    // Only a program of another version, with other rules, can come to this.
                    tracing::error!(account = %bid.account, %refusal, "a bid that was accepted is refused after a restart");
                }
            }
            Entry::Fund(funds) => {
                // Whole or not at all.
                let mut next = self.clone();
                match next.take_funds(&funds) {
                    Ok(()) => *self = next,
                    Err(refusal) => {
                        let (escrow, payer) = (funds.terms.escrow, funds.terms.payer);
                        tracing::error!(%escrow, %payer, %refusal, "money that was accepted is refused after a restart");
                    }
                }
            }
            Entry::Tick(tick) => {
                self.pass_time(&tick.look);
                self.note_charges();
                tick.statements.iter().for_each(|made| self.take_statement(made));
            }
            Entry::Statements(made) => made.iter().for_each(|made| self.take_statement(made)),
        }
    }
}
