//! Asking again: how often, and after what pause.
//!
//! Only calls that may be repeated without harm are made again, and every call of this protocol is one: transfers,
//! escrows and issues carry the client's own ids, statements are running totals, everything else says what shall be.
//! Each attempt is signed anew, with a nonce of its own, so that a service never takes it for a replay.

use std::time::Duration;

use http::{HeaderMap, header};

/// How often a call is made, and how long the pauses are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts in all; 1 for never again.
    pub attempts_max: u32,
    /// The greatest pause before the second attempt; it doubles with each one.
    pub first_pause_max: Duration,
    /// The greatest pause of all, whatever a service asks for.
    pub pause_max: Duration,
    /// Where no response comes, no further attempt begins after so long: a service behind a wire that is cut costs a
    /// whole timeout each time.
    pub silence_max: Duration,
}

impl RetryPolicy {
    /// One attempt: for services in the same process.
    pub const NEVER: Self = Self {
        attempts_max: 1,
        first_pause_max: Duration::ZERO,
        pause_max: Duration::ZERO,
        silence_max: Duration::ZERO,
    };

    /// For services on a network: five attempts within some ten seconds, where failures come at once; two at a wire that is cut.
    pub const NETWORK: Self = Self {
        attempts_max: 5,
        first_pause_max: Duration::from_millis(200),
        pause_max: Duration::from_secs(5),
        silence_max: Duration::from_secs(8),
    };

    /// The pause before attempt `next` (2 for the first repetition): between nothing and a bound that doubles, by
    /// `chance` in `0..=u32::MAX`, so that clients do not come back all at once; and at least what the service asked
    /// for, within [`pause_max`](Self::pause_max).
    pub fn pause(&self, next: u32, chance: u32, asked: Option<Duration>) -> Duration {
        let doubled = 1_u32.checked_shl(next.saturating_sub(2)).unwrap_or(u32::MAX);
        let bound = self.first_pause_max.saturating_mul(doubled).min(self.pause_max);
        let jittered = bound.mul_f64(f64::from(chance) / f64::from(u32::MAX));
        (jittered + asked.unwrap_or_default()).min(self.pause_max)
    }
}

/// How long a reply asks to wait, by its `Retry-After` in seconds; dates are not understood.
pub fn asked_pause(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_within_their_bounds_and_keep_to_what_was_asked() {
        let policy = RetryPolicy::NETWORK;
        assert_eq!(policy.pause(2, u32::MAX, None), Duration::from_millis(200));
        assert_eq!(policy.pause(3, u32::MAX, None), Duration::from_millis(400));
        assert_eq!(policy.pause(3, 0, None), Duration::ZERO);
        assert_eq!(policy.pause(90, u32::MAX, None), Duration::from_secs(5));
        assert_eq!(policy.pause(2, 0, Some(Duration::from_secs(1))), Duration::from_secs(1));
        assert_eq!(policy.pause(2, u32::MAX, Some(Duration::from_secs(3600))), Duration::from_secs(5));
    }

    #[test]
    fn what_a_reply_asks_for_is_read() {
        let mut headers = HeaderMap::new();
        assert_eq!(asked_pause(&headers), None);
        headers.insert(header::RETRY_AFTER, " 2 ".parse().unwrap());
        assert_eq!(asked_pause(&headers), Some(Duration::from_secs(2)));
        headers.insert(header::RETRY_AFTER, "Wed, 21 Oct 2026 07:28:00 GMT".parse().unwrap());
        assert_eq!(asked_pause(&headers), None);
    }
}
