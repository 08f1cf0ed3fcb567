//! What an account used of CPU and network since the last tick is not known before the next one.

use serde::{Deserialize, Serialize};

use super::PPM;
use super::by_kind::ByKind;
use crate::fine::{FineCredits, decimal};
use crate::{Rate, ResourceKind, TimeSpan};

/// Time and money since the last tick for which the use is not known yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Unmeasured {
    /// Bid rate × time, in pico-credits per second × microseconds.
    #[serde(with = "decimal")]
    pub(super) bid: u128,
    /// Top-up rate × time.
    #[serde(with = "decimal")]
    pub(super) top_up: u128,
    /// Share × time, in base units × microseconds.
    #[serde(with = "decimal")]
    pub(super) share: u128,
    /// The time.
    pub(super) time: TimeSpan,
}

impl Unmeasured {
    /// What it costs if all of it was used.
    pub(super) fn full_cost(&self) -> FineCredits {
        FineCredits::new(self.bid.saturating_add(self.top_up).saturating_mul(u128::from(PPM)))
    }

    /// The most that its time costs at `rate`, in fine credits.
    pub(super) fn at_rate(&self, rate: Rate) -> u128 {
        u128::from(rate.picos_per_second())
            .saturating_mul(u128::from(self.time.micros()))
            .saturating_mul(u128::from(PPM))
    }
}

/// The same by kind of resource. Right after a tick there is none, and then it takes no memory: it is half of all that is
/// known of an account.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "ByKind<Unmeasured>", into = "ByKind<Unmeasured>")]
pub(super) struct UnmeasuredByKind(Option<Box<ByKind<Unmeasured>>>);

impl UnmeasuredByKind {
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// To be added to; nothing where there was nothing.
    pub(super) fn entry(&mut self, kind: ResourceKind) -> &mut Unmeasured {
        self.0.get_or_insert_default().entry(kind)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (ResourceKind, &Unmeasured)> {
        self.0.iter().flat_map(|by_kind| by_kind.iter()).map(|(kind, unmeasured)| (*kind, unmeasured))
    }

    /// All is known now.
    pub(super) fn clear(&mut self) {
        self.0 = None;
    }
}

impl From<ByKind<Unmeasured>> for UnmeasuredByKind {
    fn from(by_kind: ByKind<Unmeasured>) -> Self {
        Self((!by_kind.is_empty()).then(|| Box::new(by_kind)))
    }
}

impl From<UnmeasuredByKind> for ByKind<Unmeasured> {
    fn from(unmeasured: UnmeasuredByKind) -> Self {
        unmeasured.0.map(|by_kind| *by_kind).unwrap_or_default()
    }
}
