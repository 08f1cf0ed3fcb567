//! What changed, for those who watch.

use serde::{Deserialize, Serialize};
use tycoon_market::{HostId, HostName};

use super::Registry;

/// What happened to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// It is there, for the first time or again.
    Appeared,
    /// It says something else of itself than before: name, addresses, labels, images, capacity, base prices. What passes
    /// by (bids, load, counts) is no change.
    Changed,
    /// It answered at its address.
    Verified,
    /// It could not be asked at its address.
    Unverified,
    /// It left.
    Left,
    /// It was not heard of for too long.
    Expired,
    /// Another host answered at its address, or took its name, and was verified.
    Superseded,
    /// Somebody else answers at its address.
    Rejected,
}

impl What {
    /// The word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Appeared => "appeared",
            Self::Changed => "changed",
            Self::Verified => "verified",
            Self::Unverified => "unverified",
            Self::Left => "left",
            Self::Expired => "expired",
            Self::Superseded => "superseded",
            Self::Rejected => "rejected",
        }
    }
}

/// Something that happened to a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What.
    pub what: What,
    /// To which host.
    pub host: HostId,
    /// Its name.
    pub name: HostName,
}

impl Registry {
    pub(super) fn tell(&mut self, what: What, host: HostId, name: &HostName) {
        self.changes.push(Change { what, host, name: name.clone() });
    }

    /// What happened since this was asked last.
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }
}
