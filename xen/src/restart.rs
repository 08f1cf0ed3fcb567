//! When a domain that has ended is started again: the policy that is kept with it on its host, and how that went.

use serde::{Deserialize, Serialize};
use tycoon_market::duration_text::show_duration;
use tycoon_market::{TimeSpan, Timestamp};

/// The most restarts that a policy may ask for within its time.
pub const RESTARTS_MAX: u32 = 100;
/// The longest time in which restarts are counted: 30 days.
pub const WITHIN_MAX: TimeSpan = TimeSpan::from_seconds(30 * 86_400);
/// The longest wait before a restart: a day.
pub const BACKOFF_MAX: TimeSpan = TimeSpan::from_seconds(86_400);

/// After which ends a domain is started again, how often, and after which wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestartPolicy {
    /// After which ends.
    pub after: RestartAfter,
    /// How often at most within the time, 0 to [`RESTARTS_MAX`].
    pub times: u32,
    /// The time in which restarts are counted, at most [`WITHIN_MAX`].
    pub within: TimeSpan,
    /// The wait before the first restart. It doubles with each restart that is counted. At most [`BACKOFF_MAX`].
    pub backoff: TimeSpan,
    /// The longest wait, at most [`BACKOFF_MAX`].
    pub max_backoff: TimeSpan,
}

/// The ends after which a domain is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartAfter {
    /// A fault of its own.
    Failure,
    /// Any end that nobody asked its host for: also where it shut itself down, or its host lost its power.
    AnyEnd,
}

impl RestartAfter {
    /// Its word in descriptions.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Failure => "on-failure",
            Self::AnyEnd => "always",
        }
    }
}

impl RestartPolicy {
    /// True where it is about an end by a fault of the domain's own, or one of another kind.
    pub const fn covers(&self, is_crash: bool) -> bool {
        matches!(self.after, RestartAfter::AnyEnd) || is_crash
    }

    /// The wait before the next restart, after `restarts` that are counted.
    pub fn wait_after(&self, restarts: usize) -> TimeSpan {
        let doublings = u32::try_from(restarts).unwrap_or(u32::MAX).min(63);
        let micros = self.backoff.micros().saturating_mul(1_u64 << doublings);
        TimeSpan::from_micros(micros).min(self.max_backoff)
    }

    /// What is wrong with it, as a sentence.
    pub fn fault(&self) -> Option<String> {
        if self.times > RESTARTS_MAX {
            return Some(format!("{} restarts are asked for; {RESTARTS_MAX} are possible", self.times));
        }
        if self.within > WITHIN_MAX {
            return Some(format!("restarts are counted within {}; {WITHIN_MAX} is the longest", self.within));
        }
        let longest = self.backoff.max(self.max_backoff);
        (longest > BACKOFF_MAX)
            .then(|| format!("a wait of {longest} before a restart is asked for; {BACKOFF_MAX} is the longest"))
    }

    /// The policy for people, different for every policy: `on-failure, 3 times within 1h, after 5s to 5m`.
    pub fn describe(&self) -> String {
        let [within, backoff, longest] = [self.within, self.backoff, self.max_backoff].map(show_duration);
        format!("{}, {} times within {within}, after {backoff} to {longest}", self.after.word(), self.times)
    }
}

/// How a domain with a policy fared lately.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartReport {
    /// The restarts that are counted.
    pub restarts: u32,
    /// How many are possible within the policy's time.
    pub times: u32,
    /// The last of them.
    pub last: Option<Timestamp>,
    /// When it is started again; `None` where it runs, or is not started again.
    pub next: Option<Timestamp>,
    /// True where it ended once more than the policy allows: it is not started again until somebody does.
    pub has_given_up: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn policy() -> RestartPolicy {
        RestartPolicy {
            after: RestartAfter::Failure,
            times: 3,
            within: TimeSpan::from_seconds(3_600),
            backoff: TimeSpan::from_seconds(5),
            max_backoff: TimeSpan::from_seconds(30),
        }
    }

    #[test]
    fn the_wait_doubles_up_to_the_longest() {
        let waits: Vec<u64> = (0..5).map(|restarts| policy().wait_after(restarts).micros() / 1_000_000).collect();
        assert_eq!(waits, [5, 10, 20, 30, 30]);
        assert_eq!(policy().wait_after(usize::MAX), policy().max_backoff);
    }

    #[test]
    fn only_what_always_restarts_covers_an_end_in_order() {
        assert!(policy().covers(true) && !policy().covers(false));
        let always = RestartPolicy { after: RestartAfter::AnyEnd, ..policy() };
        assert!(always.covers(true) && always.covers(false));
    }

    #[test]
    fn what_is_beyond_every_bound_is_refused() {
        assert_eq!(policy().fault(), None);
        let second = TimeSpan::from_seconds(1);
        let more = |span: TimeSpan| TimeSpan::from_micros(span.micros() + second.micros());
        for wrong in [
            RestartPolicy { times: RESTARTS_MAX + 1, ..policy() },
            RestartPolicy { within: more(WITHIN_MAX), ..policy() },
            RestartPolicy { backoff: more(BACKOFF_MAX), ..policy() },
            RestartPolicy { max_backoff: more(BACKOFF_MAX), ..policy() },
        ] {
            assert!(wrong.fault().is_some(), "{wrong:?}");
        }
    }
}
