//! What the host says to those who come over SSH.

use tycoon_market::{AccountId, PublicKey, ResourceKind};

use super::HostDaemon;
use super::market::reserved;

/// Where a host is reached over SSH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshPlace {
    /// Where: `tycoon@host1.example.org:22`.
    pub address: String,
    /// The key that it shows.
    pub host_key: Option<PublicKey>,
}

impl HostDaemon {
    /// True for a key of which the bank has told: whose it is is known without asking anybody.
    pub fn knows_key(&self, key: &PublicKey) -> bool {
        self.lock().keys.knows(key)
    }

    /// What the images that an account brings for itself may have in all, in bytes: as much as its bids reserve of the
    /// disk. Who pays for nothing brings nothing.
    pub fn upload_bytes(&self, account: &AccountId) -> u64 {
        let state = self.lock();
        if state.banned.contains(account) {
            return 0;
        }
        let its = state.accounts.keys().filter(|id| id.account == *account);
        its.map(|id| reserved(&state, id, ResourceKind::Disk).amount()).fold(0, u64::saturating_add)
    }
}
