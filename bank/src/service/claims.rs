//! What hosts claimed of escrows and the bank refused: the payer is told, since nobody else would.
//!
//! A claim that is somewhat too high tells of two clocks that differ, and the host corrects it; what goes further is kept, the
//! last of each escrow, in memory: it is news and no part of the books.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tycoon_market::{AccountId, Credits, EscrowId, HostId, PoolName, Statement, TimeSpan, Timestamp};

use crate::api::RefusedClaim;
use crate::ledger::{Escrow, Refusal};

/// The most claims that are kept; the oldest goes for a new one.
const CLAIMS_MAX: usize = 10_000;
/// What a host may be ahead of the bank's clock and go unmentioned.
const AHEAD_MAX: TimeSpan = TimeSpan::from_seconds(120);

/// A host's claim on its way through the ledger.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    escrow: EscrowId,
    payer: AccountId,
    pool: PoolName,
    host: HostId,
    claimed: Credits,
    /// What clocks that differ may account for.
    unmentioned: Credits,
}

impl Claim {
    /// What `statement` claims of `escrow`.
    pub(super) fn of(escrow: &Escrow, statement: &Statement) -> Self {
        let (unmentioned, _) = escrow.order.highest_rate.charge(AHEAD_MAX, 0);
        let order = &escrow.order;
        Self {
            escrow: order.id,
            payer: order.payer,
            pool: order.pool.clone(),
            host: order.host,
            claimed: statement.terms.drawn_total,
            unmentioned,
        }
    }

    /// The most that the bank grants, where the refusal is one that a payer has to hear of.
    fn granted(&self, refusal: &Refusal) -> Option<Credits> {
        match refusal {
            Refusal::TooFast { at_most, .. } => {
                let excess = self.claimed.checked_sub(*at_most)?;
                (excess > self.unmentioned).then_some(*at_most)
            }
            Refusal::OverDrawn { amount, .. } => Some(*amount),
            _ => None,
        }
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
    pub(super) fn refused(&self, claim: &Claim, refusal: &Refusal, at: Timestamp) {
        let Some(granted) = claim.granted(refusal) else { return };
        let mut all = self.all();
        if all.len() >= CLAIMS_MAX && !all.contains_key(&claim.escrow) {
            let oldest = all.iter().min_by_key(|(_, refused)| refused.at).map(|(id, _)| *id);
            oldest.map(|id| all.remove(&id));
        }
        let times = all.get(&claim.escrow).map_or(0, |before| before.times).saturating_add(1);
        let refused = RefusedClaim {
            escrow: claim.escrow,
            payer: claim.payer,
            pool: claim.pool.clone(),
            host: claim.host,
            claimed: claim.claimed,
            granted,
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
