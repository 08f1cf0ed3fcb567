//! How a thread that does something again and again is asked to stop.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// A wish to stop, for a thread that waits most of the time.
#[derive(Debug, Default)]
pub struct Stop {
    is_wanted: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    /// Waits for a time; true where it is to stop.
    pub fn wait(&self, time: Duration) -> bool {
        let wanted = self.is_wanted.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(wanted, time, |wanted| !*wanted);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Asks it to stop.
    pub fn ask(&self) {
        *self.is_wanted.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }
}
