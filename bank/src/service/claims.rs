//! What hosts claimed of escrows and the bank refused: the payer is told, since nobody else would.
//!
//! A claim that is somewhat too high tells of two clocks that differ, and the host corrects it; what goes further is kept, the
//! last of each escrow, in memory: it is news and no part of the books.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tycoon_market::{AccountId, Credits, EscrowId, TimeSpan, Timestamp};

use crate::api::RefusedClaim;
use crate::ledger::{Escrow, Refusal};

/// The most claims that are kept; the oldest goes for a new one.
const CLAIMS_MAX: usize = 10_000;
/// What a host may be ahead of the bank's clock and go unmentioned.
const AHEAD_MAX: TimeSpan = TimeSpan::from_seconds(120);

/// What a host claimed, as the refusal of it says.
pub(super) struct Claim {
    /// Of which escrow.
    pub(super) escrow: EscrowId,
    claimed: Credits,
    granted: Credits,
    /// True where the escrow has that much, and only the time has not come.
    is_early: bool,
}

impl Claim {
    /// The claim that was refused; `None` where something else was.
    pub(super) const fn of(refusal: &Refusal) -> Option<Self> {
        match *refusal {
            Refusal::TooFast { escrow, drawn, at_most } => {
                Some(Self { escrow, claimed: drawn, granted: at_most, is_early: true })
            }
            Refusal::OverDrawn { escrow, drawn, amount } => {
                Some(Self { escrow, claimed: drawn, granted: amount, is_early: false })
            }
            _ => None,
        }
    }

    /// True where no two clocks differ by so much.
    fn is_worth_telling(&self, escrow: &Escrow) -> bool {
        let (by_clocks, _) = escrow.order.highest_rate.charge(AHEAD_MAX, 0);
        !self.is_early || self.claimed.checked_sub(self.granted).is_some_and(|excess| excess > by_clocks)
    }
}

/// The claims that were refused, the last of each escrow.
#[derive(Debug, Default)]
pub(super) struct Claims(Mutex<BTreeMap<EscrowId, RefusedClaim>>);

impl Claims {
    fn all(&self) -> MutexGuard<'_, BTreeMap<EscrowId, RefusedClaim>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in that `claim` of the host of `escrow` was refused.
    pub(super) fn add(&self, claim: &Claim, escrow: &Escrow, at: Timestamp) {
        if !claim.is_worth_telling(escrow) {
            return;
        }
        let mut all = self.all();
        if all.len() >= CLAIMS_MAX && !all.contains_key(&claim.escrow) {
            let oldest = all.iter().min_by_key(|(_, refused)| refused.at).map(|(id, _)| *id);
            oldest.map(|id| all.remove(&id));
        }
        let times = all.get(&claim.escrow).map_or(0, |before| before.times).saturating_add(1);
        let refused = RefusedClaim {
            escrow: claim.escrow,
            payer: escrow.order.payer,
            pool: escrow.order.pool.clone(),
            host: escrow.order.host,
            claimed: claim.claimed,
            granted: claim.granted,
            at,
            times,
        };
        all.insert(claim.escrow, refused);
    }

    /// Those on escrows of `payer`.
    pub(super) fn of(&self, payer: &AccountId) -> Vec<RefusedClaim> {
        self.all().values().filter(|refused| refused.payer == *payer).cloned().collect()
    }
}
