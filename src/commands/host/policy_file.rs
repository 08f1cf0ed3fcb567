//! The owner's file of prices and rules: KDL, one name and value a line. It is read again when it changes.
//!
//! ```text
//! cpu-price "0.50"
//! memory-sold "80%"
//! interval "10s"
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;

use tycoon_market::auctioneer::HostConfig;
use tycoon_market::{Credits, Quantity, Rate, ResourceKind, TimeSpan};
use tycoon_xen::hypervisor::Hypervisor;
use tycoon_xen::policy::{OwnerPolicy, PolicyName};

use super::serve::capacity_of;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::service::settings::Settings;

/// What one CPU, one GiB of memory and one GiB of disk cost for an hour where the owner says nothing, in micro-credits.
const USUAL_PRICES: [(ResourceKind, i64); 3] =
    [(ResourceKind::Cpu, 500_000), (ResourceKind::Memory, 100_000), (ResourceKind::Disk, 2_000)];

/// The file, and what was last made of it.
pub struct PolicyFile {
    path: Option<PathBuf>,
    last: Option<(OwnerPolicy, BTreeMap<ResourceKind, Quantity>)>,
    complaint: Option<String>,
}

impl PolicyFile {
    /// The file at `path`; only the usual values where there is none.
    pub const fn at(path: Option<PathBuf>) -> Self {
        Self { path, last: None, complaint: None }
    }

    /// What is sold now.
    pub fn config(&mut self, hypervisor: &dyn Hypervisor) -> Result<HostConfig, Failure> {
        let (policy, capacity) = (self.read()?, capacity_of(hypervisor)?);
        self.config_of(policy, capacity)
    }

    fn config_of(
        &mut self,
        policy: OwnerPolicy,
        capacity: BTreeMap<ResourceKind, Quantity>,
    ) -> Result<HostConfig, Failure> {
        let prices = USUAL_PRICES.into_iter().filter(|(kind, _)| capacity.contains_key(kind));
        let hour = TimeSpan::from_seconds(3_600);
        let prices =
            prices.map(|(kind, micros)| (kind, Rate::of(Credits::from_micros(micros), hour).unwrap_or_default()));
        let mut config = HostConfig::new(capacity.clone(), prices.collect());
        policy.apply_to(&mut config);
        config.check().map_err(|error| {
            let failure = Failure::from_error(Exit::Failed, &error).context("nothing can be sold like this");
            match &self.path {
                Some(path) => failure.help(format!("mend {}", path.display())),
                None => failure,
            }
        })?;
        self.last = Some((policy, capacity));
        Ok(config)
    }

    /// What is sold now, where that has changed since the last time. The same complaint is made once.
    pub fn changed_config(&mut self, hypervisor: &dyn Hypervisor) -> Result<Option<HostConfig>, Failure> {
        let looked = self.read().and_then(|policy| Ok((policy, capacity_of(hypervisor)?)));
        let outcome = match looked {
            Ok(now) if Some(&now) == self.last.as_ref() => Ok(None),
            Ok((policy, capacity)) => self.config_of(policy, capacity).map(Some),
            Err(failure) => Err(failure),
        };
        let complaint = outcome.as_ref().err().map(Failure::message);
        let is_known = complaint.is_some() && complaint == self.complaint;
        self.complaint = complaint;
        if is_known { Ok(None) } else { outcome }
    }

    fn read(&self) -> Result<OwnerPolicy, Failure> {
        let mut policy = OwnerPolicy::default();
        let Some(path) = &self.path else { return Ok(policy) };
        let names = PolicyName::ALL.map(PolicyName::word);
        let settings = Settings::read(path, &names)?;
        for name in PolicyName::ALL {
            if let Some(value) = settings.text(name.word()) {
                policy.set(name, value).map_err(|error| {
                    Failure::new(Exit::Usage, format!("the policy file {}: {error}", path.display()))
                })?;
            }
        }
        Ok(policy)
    }
}
