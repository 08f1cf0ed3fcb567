//! The blocks of an account's volumes, for its user in the same process. Elsewhere they come over a session of the account, behind
//! its own gate.

use tycoon_market::AccountId;

use super::HostDaemon;
use super::session::failed;
use crate::protocol::HostError;
use crate::save::VolumeStream;

impl HostDaemon {
    /// The blocks of a volume of a domain of `account`, by the hypervisor's name of the domain; see
    /// [`crate::hypervisor::Hypervisor::open_volume`].
    ///
    /// # Errors
    /// [`HostError::BadRequest`] where the account has no such domain or volume, or the domain runs.
    pub fn open_volume(&self, account: AccountId, name: &str, volume: &str) -> Result<VolumeStream, HostError> {
        self.check_own(account, name)?;
        self.hypervisor.open_volume(name, volume).map_err(|error| failed("reading the volume", error))
    }

    /// Keeps such a volume as the disk of an image of the account's on this host; see
    /// [`crate::hypervisor::Hypervisor::keep_as_image`].
    ///
    /// # Errors
    /// As of [`HostDaemon::open_volume`], and where the image cannot have the name.
    pub fn keep_as_image(&self, account: AccountId, name: &str, volume: &str, image: &str) -> Result<bool, HostError> {
        self.check_own(account, name)?;
        self.hypervisor
            .keep_as_image(name, volume, image)
            .map_err(|error| failed("keeping the volume as an image", error))
    }

    fn check_own(&self, account: AccountId, name: &str) -> Result<(), HostError> {
        let domain = self.hypervisor.domain(name, self.clock.now());
        let domain = domain.map_err(|error| failed("looking at the domain", error))?;
        let owner = domain.and_then(|domain| domain.ownership);
        if owner.is_some_and(|own| own.account == account && own.hypervisor_name() == name) {
            return Ok(());
        }
        let shown: String = name.chars().take(80).collect();
        Err(HostError::BadRequest { reason: format!("this account has no domain {shown:?} on this host") })
    }
}
