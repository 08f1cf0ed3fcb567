//! What happens while a plan is carried out, for whoever shows it.

use tycoon_planner::plan::{Plan, Step};

use tycoon_xen::spec::DomainPath;

use crate::journal::Outcome;
use crate::save::Saved;

/// Something that happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// A plan begins.
    PlanBegun {
        /// The plan.
        plan: &'a Plan,
    },
    /// A step begins.
    StepBegun {
        /// The step.
        step: &'a Step,
    },
    /// A step failed and is tried again.
    StepRetried {
        /// The step.
        step: &'a Step,
        /// Why it failed.
        error: &'a str,
        /// Which try comes now, from 2.
        attempt: u32,
    },
    /// A step ended.
    StepEnded {
        /// The step.
        step: &'a Step,
        /// How.
        outcome: &'a Outcome,
    },
    /// The run was asked to stop: running steps are finished, no new ones begin.
    Stopping,
    /// So much of a root volume has come.
    Saving {
        /// The domain.
        path: &'a DomainPath,
        /// What has come, in bytes.
        bytes: u64,
        /// All of it.
        total_bytes: u64,
    },
    /// A root volume is saved.
    Saved {
        /// The file.
        saved: &'a Saved,
    },
    /// Something the user should know.
    Note {
        /// The text.
        text: &'a str,
    },
}

/// Shows progress.
pub trait Observer: Send + Sync {
    /// Takes notice of an event.
    fn observe(&self, event: &Event<'_>);
}

/// Shows nothing.
pub struct Silent;

impl Observer for Silent {
    fn observe(&self, _event: &Event<'_>) {}
}
