//! Exit codes: what a script can tell from them.

use std::process::ExitCode;

/// How the program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// As asked.
    Ok,
    /// It failed; nothing was done, or what was done is said.
    Failed,
    /// The command line is wrong.
    Usage,
    /// `plan --exit-code`, `fmt --check`: there is something to do.
    ChangesPending,
    /// Some of it was done.
    Partly,
    /// The budget or the balance is too small.
    Budget,
    /// Somebody else holds the lock.
    Locked,
    /// Interrupted.
    Interrupted,
}

impl Exit {
    /// The number.
    pub const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::ChangesPending => 3,
            Self::Partly => 4,
            Self::Budget => 5,
            Self::Locked => 6,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
