//! What a domain is: the state a host observes.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use tycoon_market::{TimeSpan, Timestamp};

use crate::restart::RestartReport;
use crate::save::SaveImage;
use crate::spec::{DomainSpec, KeepVolumes, Ownership, VolumeSpec};

/// The state of a domain.
///
/// ```text
///  (absent) --define--> Stopped --start--> Running --shutdown/crash--> Stopped | Crashed
///                          ^                  |  ^
///                          |          suspend v  | resume
///                          +---- destroy --- Paused
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DomainState {
    /// Defined and not running.
    Stopped,
    /// Running, and not yet known to be up.
    Booting,
    /// Running.
    Running,
    /// Stopped in memory.
    Paused,
    /// Asked to shut down, and not yet gone.
    ShuttingDown,
    /// Ended by a fault of its own.
    Crashed,
}

impl DomainState {
    /// The state as people read it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Booting => "booting",
            Self::Running => "running",
            Self::Paused => "suspended",
            Self::ShuttingDown => "shutting down",
            Self::Crashed => "crashed",
        }
    }

    /// True where it holds memory and may use CPU.
    pub const fn is_active(self) -> bool {
        matches!(self, Self::Booting | Self::Running | Self::Paused | Self::ShuttingDown)
    }
}

/// A domain as its host sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainStatus {
    /// The hypervisor's name for it.
    pub name: String,
    /// Whose it is; `None` for a domain that Tycoon did not make and never touches.
    pub ownership: Option<Ownership>,
    /// The spec it was last defined from, kept on the host with the domain, so that any client can show exactly
    /// what a new description would change; `None` for foreign domains, and where only volumes exist yet.
    pub spec: Option<DomainSpec>,
    /// Its state.
    pub state: DomainState,
    /// Virtual CPUs; 0 where only volumes exist yet. A running domain takes a new number at its next start.
    pub vcpus: u32,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// The most memory in bytes that it can be given while it runs; `None` where it does not run, or has no such limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_max_bytes: Option<u64>,
    /// The names and sizes in bytes of its volumes that exist.
    pub volumes: Vec<(String, u64)>,
    /// The address of its first interface, once known.
    pub address: Option<Ipv4Addr>,
    /// CPU time it has used since it was made.
    pub cpu_time: TimeSpan,
    /// Its scheduler weight.
    pub weight: u16,
    /// Its cap in percent of one CPU; 0 for none.
    pub cap_percent: u32,
    /// The names of its volumes that were there before it: an earlier domain of its name left them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub adopted: Vec<String>,
    /// What is kept, where the domain was removed and only volumes are left of it; `None` for a domain that is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<Kept>,
    /// How it fared with its restart policy, where it has one. The host's daemon knows that, not its hypervisor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarts: Option<RestartReport>,
}

impl DomainStatus {
    /// The memory in bytes that its account has to hold for it: what it has, but of one that is given more while its
    /// account buys more no more than its own.
    pub fn held_memory_bytes(&self) -> u64 {
        match &self.spec {
            Some(spec) if spec.is_elastic() => self.memory_bytes.min(spec.memory_bytes),
            _ => self.memory_bytes,
        }
    }
}

/// Volumes that stay on a host after their domain was removed, whole and marked with its owner, until a domain of the
/// same name takes them up again, their owner has them removed, or their time is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// When the host removes them: nobody pays for them.
    pub until: Timestamp,
    /// The image that the root volume was made from.
    pub image: String,
    /// What they are.
    pub volumes: Vec<VolumeSpec>,
}

impl Kept {
    /// True where the volume of this name is among them.
    pub fn has(&self, volume: &str) -> bool {
        self.volumes.iter().any(|kept| kept.name == volume)
    }

    /// What is left of them where only some of the volumes that exist stay.
    #[must_use]
    pub fn only(mut self, stays: impl Fn(&str) -> bool) -> Self {
        self.volumes.retain(|volume| stays(&volume.name));
        self
    }
}

impl DomainStatus {
    /// Where its root volume is saved before it is removed, as its description says; nowhere where it has none.
    pub fn saved_at_end(&self) -> Option<SaveImage> {
        let has_root = self.volumes.iter().any(|(name, _)| name == "root");
        self.spec.as_ref().filter(|_| has_root && self.kept.is_none()).and_then(|spec| spec.save_image.clone())
    }

    /// The names of the volumes that stay when it is removed, as its description says.
    pub fn stays_at_end(&self) -> Vec<String> {
        let policy = self.spec.as_ref().map_or(KeepVolumes::Never, |spec| spec.keep_volumes);
        self.stays_under(policy)
    }

    /// The same, if its description said `policy`. What is kept already stays, and so does what the description took as
    /// existing: it is not the domain's.
    pub fn stays_under(&self, policy: KeepVolumes) -> Vec<String> {
        let described = self.spec.iter().flat_map(|spec| &spec.volumes);
        let existing: Vec<&str> =
            described.filter(|volume| volume.existing).map(|volume| volume.name.as_str()).collect();
        let stays = |name: &String| match policy {
            _ if self.kept.is_some() || existing.contains(&name.as_str()) => true,
            KeepVolumes::Always => true,
            KeepVolumes::IfPreexisting => self.adopted.contains(name),
            KeepVolumes::Never => false,
        };
        self.volumes.iter().map(|(name, _)| name).filter(|name| stays(name)).cloned().collect()
    }

    /// What is left of it where the volumes with these names stay until `until`; `None` where none of them exists.
    pub fn leaving(&self, names: &[String], until: Timestamp) -> Option<Kept> {
        let described = self.spec.as_ref().map(|spec| spec.volumes.as_slice());
        let described = described.or(self.kept.as_ref().map(|kept| kept.volumes.as_slice())).unwrap_or_default();
        let image = self.spec.as_ref().map(|spec| &spec.image).or(self.kept.as_ref().map(|kept| &kept.image));
        let volumes: Vec<VolumeSpec> = self
            .volumes
            .iter()
            .filter(|(name, _)| names.contains(name))
            .map(|(name, size_bytes)| {
                let known = described.iter().find(|volume| volume.name == *name).cloned();
                let volume = known.unwrap_or_else(|| VolumeSpec::plain(name, *size_bytes));
                VolumeSpec { size_bytes: *size_bytes, ..volume }
            })
            .collect();
        let image = image.cloned().unwrap_or_default();
        (!volumes.is_empty()).then_some(Kept { until, image, volumes })
    }
}
