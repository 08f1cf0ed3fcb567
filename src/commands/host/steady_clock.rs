//! The clock of a host's market: it goes as the machine does since its start, also while that sleeps, whatever somebody
//! does to the time of day. When the time of day is set anew, the clock follows once it is told to, and says by how much.

use std::sync::atomic::{AtomicI64, Ordering};

use rustix::time::{ClockId, clock_gettime};
use tycoon_market::{TimeSpan, Timestamp};
use tycoon_rpc::{Clock, SystemClock};

/// A difference to the time of day that is left as it is: clocks are corrected by so little all the time.
const SLACK: TimeSpan = TimeSpan::from_seconds(1);

/// The clock.
pub struct SteadyClock {
    /// From the machine's start to 1970, in microseconds.
    offset: AtomicI64,
}

/// What became of the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    None,
    /// It was set forward.
    Forward(TimeSpan),
    /// It was set back.
    Back(TimeSpan),
}

impl SteadyClock {
    /// A clock that shows the time of day now.
    pub fn start() -> Self {
        Self { offset: AtomicI64::new(SystemClock.now().micros().saturating_sub(since_boot())) }
    }

    /// Follows the time of day, where that differs clearly.
    pub fn follow(&self) -> Step {
        let (own, day) = (self.now(), SystemClock.now());
        let (forward, back) = (day.since(own), own.since(day));
        if forward.max(back) <= SLACK {
            return Step::None;
        }
        self.offset.store(day.micros().saturating_sub(since_boot()), Ordering::SeqCst);
        if forward.is_zero() { Step::Back(back) } else { Step::Forward(forward) }
    }
}

impl Clock for SteadyClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.offset.load(Ordering::SeqCst).saturating_add(since_boot()))
    }
}

/// Since the machine's start, in microseconds.
fn since_boot() -> i64 {
    let time = clock_gettime(ClockId::Boottime);
    time.tv_sec.saturating_mul(1_000_000).saturating_add(time.tv_nsec / 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_when_it_is_told_to_and_says_by_how_much() {
        let clock = SteadyClock::start();
        assert_eq!(clock.follow(), Step::None);
        clock.offset.fetch_sub(3_600_000_000, Ordering::SeqCst);
        assert!(matches!(clock.follow(), Step::Forward(by) if by > TimeSpan::from_seconds(3_500)));
        clock.offset.fetch_add(3_600_000_000, Ordering::SeqCst);
        assert!(matches!(clock.follow(), Step::Back(by) if by > TimeSpan::from_seconds(3_500)));
        assert_eq!(clock.follow(), Step::None);
    }
}
