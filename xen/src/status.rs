//! What a domain is: the state a host observes.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use tycoon_market::TimeSpan;

use crate::restart::RestartReport;
use crate::spec::{DomainSpec, Ownership};

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
    /// How it fared with its restart policy, where it has one. The host's daemon knows that, not its hypervisor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarts: Option<RestartReport>,
}
