//! The clock of the embedded site: it can be led through time that has passed while nobody looked.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tycoon_market::Timestamp;
use tycoon_rpc::Clock;

/// No time is led through.
const LIVE: i64 = i64::MIN;

/// Shows the machine's time, but for when it is led through the past.
pub struct SiteClock {
    machine: Arc<dyn Clock>,
    led: AtomicI64,
}

impl SiteClock {
    /// A clock that shows the time of `machine`.
    pub const fn new(machine: Arc<dyn Clock>) -> Self {
        Self { machine, led: AtomicI64::new(LIVE) }
    }

    /// The machine's time.
    pub fn machine_now(&self) -> Timestamp {
        self.machine.now()
    }

    /// Shows `time` from now on.
    pub fn lead(&self, time: Timestamp) {
        self.led.store(time.micros(), Ordering::SeqCst);
    }

    /// Shows the machine's time again.
    pub fn release(&self) {
        self.led.store(LIVE, Ordering::SeqCst);
    }
}

impl Clock for SiteClock {
    fn now(&self) -> Timestamp {
        match self.led.load(Ordering::SeqCst) {
            LIVE => self.machine.now(),
            led => Timestamp::from_micros(led),
        }
    }
}
