//! What went wrong lately, for the owner: faults of the hypervisor and of calls to the bank, which are tried again and
//! of which nobody else is told.

use std::collections::VecDeque;
use std::fmt::Display;
use std::sync::{Mutex, PoisonError};

use tycoon_market::Timestamp;

/// Different faults that are remembered; the oldest are forgotten first.
const FAULTS_MAX: usize = 64;
/// The longest reason that is kept, in characters.
const REASON_CHARS_MAX: usize = 500;

/// Something that went wrong, once or several times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostFault {
    /// When it last did.
    pub at: Timestamp,
    /// What was tried: `stopping hello.web.0-3f9c12ab`.
    pub what: String,
    /// Why it failed.
    pub reason: String,
    /// How often it failed in the same way.
    pub times: u64,
}

/// The last faults, in memory only.
#[derive(Debug, Default)]
pub(super) struct Faults(Mutex<VecDeque<HostFault>>);

impl Faults {
    /// Notes a fault.
    pub(super) fn note(&self, at: Timestamp, what: &str, reason: &dyn Display) {
        let reason: String = reason.to_string().chars().take(REASON_CHARS_MAX).collect();
        let mut faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = faults.iter().position(|fault| fault.what == what && fault.reason == reason);
        let times = known.and_then(|known| faults.remove(known)).map_or(0, |fault| fault.times);
        if faults.len() >= FAULTS_MAX {
            faults.pop_front();
        }
        faults.push_back(HostFault { at, what: what.to_owned(), reason, times: times.saturating_add(1) });
    }

    /// The last faults, the latest last.
    pub(super) fn list(&self) -> Vec<HostFault> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_fault_is_counted_and_others_push_out_the_oldest() {
        let faults = Faults::default();
        for second in 0..3 {
            faults.note(Timestamp::from_seconds(second), "stopping a", &"no answer");
        }
        let fault = |seconds, what: &str, times| HostFault {
            at: Timestamp::from_seconds(seconds),
            what: what.to_owned(),
            reason: "no answer".to_owned(),
            times,
        };
        assert_eq!(faults.list(), [fault(2, "stopping a", 3)]);
        for number in 0..FAULTS_MAX {
            faults.note(Timestamp::from_seconds(9), &format!("stopping {number}"), &"no answer");
        }
        assert_eq!(faults.list().len(), FAULTS_MAX);
        assert_eq!(faults.list()[0], fault(9, "stopping 0", 1));
    }
}
