//! Allowances: money that a group gives a member again and again, and that is used or lost.
//!
//! An allowance belongs to a sub-account. At the beginning of each period its balance is brought to the amount: what is
//! missing comes from the parent account, what was not used returns to it. So nothing can be saved up; and as the
//! sub-account pays nobody but hosts and its parent, nothing can be put aside elsewhere.

use serde::{Deserialize, Serialize};
use tycoon_market::{Credits, TimeSpan, Timestamp};

/// The shortest period.
pub const PERIOD_MIN: TimeSpan = TimeSpan::from_seconds(60);

/// What is granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllowanceTerms {
    /// What the sub-account has at the beginning of each period, as far as the parent can pay.
    pub amount: Credits,
    /// How long a period is.
    pub period: TimeSpan,
    /// When the allowance ends; `None` for never.
    #[serde(default)]
    pub until: Option<Timestamp>,
}

/// The allowance of a sub-account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allowance {
    /// What is granted.
    pub terms: AllowanceTerms,
    /// When the next period begins, or the allowance ends.
    pub next_at: Timestamp,
}

impl Allowance {
    /// The allowance of a period that begins at `at`.
    pub fn beginning(terms: AllowanceTerms, at: Timestamp) -> Self {
        let next = at.plus(terms.period);
        Self { terms, next_at: terms.until.map_or(next, |until| next.min(until)) }
    }

    /// True where nothing is granted from `at` on.
    pub fn is_over(&self, at: Timestamp) -> bool {
        self.terms.until.is_some_and(|until| at >= until)
    }

    /// The period after those that have ended by `at`: periods in which nobody looked are not made up for.
    pub fn renewed(self, at: Timestamp) -> Self {
        let period = self.terms.period.micros().max(1);
        let begun = at.since(self.next_at).micros() / period * period;
        Self::beginning(self.terms, self.next_at.plus(TimeSpan::from_micros(begun)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_follow_each_other_whatever_was_missed() {
        let terms = AllowanceTerms { amount: Credits::ZERO, period: TimeSpan::from_seconds(100), until: None };
        let first = Allowance::beginning(terms, Timestamp::from_seconds(1000));
        assert_eq!(first.next_at, Timestamp::from_seconds(1100));
        assert_eq!(first.renewed(Timestamp::from_seconds(1100)).next_at, Timestamp::from_seconds(1200));
        assert_eq!(first.renewed(Timestamp::from_seconds(1350)).next_at, Timestamp::from_seconds(1400));
        let until = AllowanceTerms { until: Some(Timestamp::from_seconds(1150)), ..terms };
        let last = Allowance::beginning(until, Timestamp::from_seconds(1100));
        assert_eq!(last.next_at, Timestamp::from_seconds(1150));
        assert!(last.is_over(Timestamp::from_seconds(1150)));
    }
}
