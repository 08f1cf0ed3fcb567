//! How much of the last hour, day and week a host was there: bounded state, however long it is watched.

use serde::{Deserialize, Serialize};
use tycoon_market::TimeSpan;

const HOUR: TimeSpan = TimeSpan::from_seconds(3600);
const DAY: TimeSpan = TimeSpan::from_seconds(24 * 3600);
const WEEK: TimeSpan = TimeSpan::from_seconds(7 * 24 * 3600);

/// The uptime of a host over windows of an hour, a day and a week.
///
/// Each window is an exponentially weighted mean: what happened one window's length ago counts 1/e of what happens
/// now. Time that nobody watched (before the first record, and while the SLS itself was down) does not count at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Uptime {
    hour: Window,
    day: Window,
    week: Window,
}

/// The weights of watched time and of the part of it in which the host was there, each from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Window {
    watched: f64,
    up: f64,
}

/// An [`Uptime`] as fractions from 0 to 1, for people and planners.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct UptimeFractions {
    /// Over about the last hour.
    pub hour: f64,
    /// Over about the last day.
    pub day: f64,
    /// Over about the last week.
    pub week: f64,
}

impl Uptime {
    /// Counts `span` of watched time, in which the host was there or was not.
    pub fn count(&mut self, span: TimeSpan, is_up: bool) {
        for (window, length) in [(&mut self.hour, HOUR), (&mut self.day, DAY), (&mut self.week, WEEK)] {
            let kept = (-span.seconds_f64() / length.seconds_f64()).exp();
            window.watched = window.watched * kept + (1.0 - kept);
            window.up = window.up * kept + if is_up { 1.0 - kept } else { 0.0 };
        }
    }

    /// The fractions; a host that was watched for no time yet counts as up, for it has just said so.
    pub fn fractions(&self) -> UptimeFractions {
        let fraction = |window: Window| {
            if window.watched > 0.0 { (window.up / window.watched).clamp(0.0, 1.0) } else { 1.0 }
        };
        UptimeFractions { hour: fraction(self.hour), day: fraction(self.day), week: fraction(self.week) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_was_always_there_has_full_uptime_from_the_first_minute() {
        let mut uptime = Uptime::default();
        assert_eq!(uptime.fractions(), UptimeFractions { hour: 1.0, day: 1.0, week: 1.0 });
        for _ in 0..100 {
            uptime.count(TimeSpan::from_seconds(30), true);
            let UptimeFractions { hour, day, week } = uptime.fractions();
            assert!([hour, day, week].iter().all(|fraction| (fraction - 1.0).abs() < 1e-12));
        }
    }

    #[test]
    fn an_hour_of_absence_weighs_on_the_hour_more_than_on_the_week() {
        let mut uptime = Uptime::default();
        uptime.count(TimeSpan::from_seconds(30 * 24 * 3600), true);
        uptime.count(TimeSpan::from_seconds(3600), false);
        let UptimeFractions { hour, day, week } = uptime.fractions();
        assert!((hour - (-1.0_f64).exp()).abs() < 1e-6, "{hour}");
        assert!((day - (-1.0_f64 / 24.0).exp()).abs() < 1e-6, "{day}");
        assert!(week > 0.99, "{week}");
    }

    #[test]
    fn time_in_pieces_counts_as_time_at_once() {
        let (mut whole, mut pieces) = (Uptime::default(), Uptime::default());
        whole.count(TimeSpan::from_seconds(1000), true);
        whole.count(TimeSpan::from_seconds(1000), false);
        for second in 0..2000 {
            pieces.count(TimeSpan::from_seconds(1), second < 1000);
        }
        let (whole, pieces) = (whole.fractions(), pieces.fractions());
        assert!((whole.hour - pieces.hour).abs() < 1e-9 && (whole.week - pieces.week).abs() < 1e-9);
    }
}
