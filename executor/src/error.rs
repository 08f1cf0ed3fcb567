//! Why a run could not begin or go on. That single steps fail is in its report, not here.

use thiserror::Error;
use tycoon_market::HostName;
use tycoon_planner::PlanError;
use tycoon_xen::spec::DomainPath;

use crate::journal::JournalError;
use crate::link::LinkError;
use crate::lock::LockError;

/// Why a run could not begin or go on.
#[derive(Debug, Error)]
pub enum ExecutorError {
    /// The bank cannot be asked.
    #[error("the bank cannot be asked for {what}")]
    Bank {
        /// What was asked.
        what: &'static str,
        /// Why.
        #[source]
        source: LinkError,
    },
    /// No host can be found.
    #[error("the hosts cannot be listed")]
    Hosts(#[source] LinkError),
    /// A host that is needed refuses its quote, and planning without it did not help.
    #[error("{host} does not hold what the plan needs")]
    Quote {
        /// The host.
        host: HostName,
        /// Why.
        #[source]
        source: LinkError,
    },
    /// There is no plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Another process is at work on the pool.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The plan makes no sense.
    #[error(
        "step {step} of the plan needs one that does not come before it; this is a fault of the planner, please report it"
    )]
    Order {
        /// The number of the step.
        step: u32,
    },
    /// Only a host says where something is to be saved.
    #[error("`{path}` is to be saved to {folder} before it is removed, and only its host says so: nothing was done")]
    UnknownFolder {
        /// The domain.
        path: DomainPath,
        /// The folder.
        folder: String,
    },
    /// The threads that do the steps could not be started.
    #[error("the steps cannot be started")]
    Runtime(#[source] std::io::Error),
    /// A step ended in a way it must not.
    #[error("a fault of this program: {reason}; please report it")]
    Panicked {
        /// What is known of it.
        reason: String,
    },
}
