//! Replay defence: a request counts once.
//!
//! The seed (004, 6/15/2007) combines timestamps with a buffer of what was seen; its holes were that far-future stamps
//! push out honest ones, that senders pushed out each other, and that a restart forgot it. Here each known sender has a
//! share of her own, what is ahead of the clock is refused, a full buffer refuses rather than forgets, and after a
//! restart everything is refused that could have been accepted before it.

use std::collections::{BTreeMap, HashMap};

use thiserror::Error;
use tycoon_market::{PublicKey, TimeSpan, Timestamp};

/// What a service does with requests made before it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterRestart {
    /// Refuses what was created before start + skew: it may have been accepted before the restart.
    Refuse,
    /// Accepts it: for a transport within one process, on which nothing can be replayed.
    Accept,
}

/// How old, how early and how many requests may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplayPolicy {
    /// The greatest age of a request.
    pub window: TimeSpan,
    /// How far the clock of a sender may be ahead.
    pub skew: TimeSpan,
    /// Requests of one sender remembered within the window; further ones are refused.
    pub per_sender_max: usize,
    /// Requests of all unknown senders together remembered within the window.
    pub strangers_max: usize,
    /// Requests of all senders together remembered within the window.
    pub total_max: usize,
    /// What happens to requests made before the start.
    pub after_restart: AfterRestart,
}

impl ReplayPolicy {
    /// For services on a network: 5 minutes back, 30 seconds ahead.
    pub const NETWORK: Self = Self {
        window: TimeSpan::from_seconds(300),
        skew: TimeSpan::from_seconds(30),
        per_sender_max: 16_384,
        strangers_max: 16_384,
        total_max: 1 << 20,
        after_restart: AfterRestart::Refuse,
    };

    /// For services in the caller's own process.
    pub const IN_PROCESS: Self = Self { after_restart: AfterRestart::Accept, ..Self::NETWORK };
}

/// Why a request is not fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ReplayError {
    /// Older than the window.
    #[error("the request is {age} old; at most {window} is accepted (is the sender's clock slow?)")]
    TooOld {
        /// Its age.
        age: TimeSpan,
        /// The greatest age accepted.
        window: TimeSpan,
    },
    /// Further ahead than the skew.
    #[error("the request is {ahead} ahead of this clock; at most {skew} is accepted (is the sender's clock fast?)")]
    FromTheFuture {
        /// How far it is ahead.
        ahead: TimeSpan,
        /// How far it may be.
        skew: TimeSpan,
    },
    /// Accepted before.
    #[error("the request was received before; a repeated call needs a new nonce")]
    Seen,
    /// It may have been accepted before the restart.
    #[error("the service has just started and accepts requests made from {wait} from now on")]
    Restarting {
        /// How long to wait.
        wait: TimeSpan,
    },
    /// Too many requests within the window.
    #[error("too many requests within {window}; slow down")]
    Busy {
        /// The window.
        window: TimeSpan,
    },
}

/// Remembers which requests were accepted.
#[derive(Debug)]
pub struct ReplayGuard {
    policy: ReplayPolicy,
    started: Timestamp,
    /// All of them, the oldest first, and whether the sender was known: most senders have one or two, and a buffer for each
    /// would take ten times the memory.
    seen: BTreeMap<Entry, bool>,
    /// How many there are by known senders, and by all others together.
    of_known: HashMap<PublicKey, usize>,
    of_strangers: usize,
    /// Nothing created up to here is accepted: it may have been forgotten.
    forgotten: Timestamp,
    /// Up to where requests may have been accepted before the restart, where that is known.
    marked: Option<Timestamp>,
}

/// One accepted request: when it was created, by whom, and its nonce.
type Entry = (Timestamp, PublicKey, [u8; 16]);

impl ReplayGuard {
    /// A guard of a service that starts at `started`.
    pub fn new(policy: ReplayPolicy, started: Timestamp) -> Self {
        let forgotten = Timestamp::from_micros(i64::MIN);
        Self {
            policy,
            started,
            seen: BTreeMap::new(),
            of_known: HashMap::new(),
            of_strangers: 0,
            forgotten,
            marked: None,
        }
    }

    /// Says that nothing created after `mark` was accepted before the restart.
    pub const fn set_mark(&mut self, mark: Timestamp) {
        self.marked = Some(mark);
    }

    /// Accepts a request once. `known` says whether the sender has a share of her own; all others have one together.
    pub fn accept(
        &mut self,
        sender: PublicKey,
        known: bool,
        created: Timestamp,
        nonce: [u8; 16],
        now: Timestamp,
    ) -> Result<(), ReplayError> {
        let ReplayPolicy { window, skew, .. } = self.policy;
        let age = now.since(created);
        if age > window || created <= self.forgotten {
            return Err(ReplayError::TooOld { age, window });
        }
        let ahead = created.since(now);
        if ahead > skew {
            return Err(ReplayError::FromTheFuture { ahead, skew });
        }
        let accepts_from = self.marked.unwrap_or(self.started.plus(skew));
        if self.policy.after_restart == AfterRestart::Refuse && created <= accepts_from {
            // Times are signed in whole seconds, so one more second must pass.
            return Err(ReplayError::Restarting { wait: accepts_from.plus(TimeSpan::from_seconds(1)).since(now) });
        }
        let entry = (created, sender, nonce);
        if self.seen.contains_key(&entry) {
            return Err(ReplayError::Seen);
        }
        self.forget_old(now);
        let (count, most) = if known {
            (self.of_known.get(&sender).copied().unwrap_or_default(), self.policy.per_sender_max)
        } else {
            (self.of_strangers, self.policy.strangers_max)
        };
        if count >= most || self.seen.len() >= self.policy.total_max {
            return Err(ReplayError::Busy { window });
        }
        self.seen.insert(entry, known);
        if known {
            self.of_known.insert(sender, count + 1);
        } else {
            self.of_strangers = count + 1;
        }
        Ok(())
    }

    /// Forgets what is older than the window.
    fn forget_old(&mut self, now: Timestamp) {
        while let Some(oldest) = self.seen.first_entry() {
            let (created, sender, _) = *oldest.key();
            if now.since(created) <= self.policy.window {
                break;
            }
            let was_known = oldest.remove();
            self.forgotten = self.forgotten.max(created);
            if !was_known {
                self.of_strangers -= 1;
            } else if let Some(count) = self.of_known.get_mut(&sender) {
                *count -= 1;
                if *count == 0 {
                    self.of_known.remove(&sender);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{SecretKey, Signer as _};

    fn sender(seed: u8) -> PublicKey {
        SecretKey::from_seed(&[seed; 32]).public_key()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    fn guard(policy: ReplayPolicy) -> ReplayGuard {
        ReplayGuard::new(ReplayPolicy { after_restart: AfterRestart::Accept, ..policy }, at(0))
    }

    #[test]
    fn a_request_counts_once_and_only_within_its_window() {
        let mut guard = guard(ReplayPolicy::NETWORK);
        let jane = sender(1);
        assert_eq!(guard.accept(jane, true, at(1000), [1; 16], at(1000)), Ok(()));
        assert_eq!(guard.accept(jane, true, at(1000), [1; 16], at(1001)), Err(ReplayError::Seen));
        assert_eq!(guard.accept(jane, true, at(1000), [2; 16], at(1001)), Ok(()), "another nonce is another request");
        assert_eq!(guard.accept(sender(2), true, at(1000), [1; 16], at(1001)), Ok(()), "so is another sender");
        let late = guard.accept(jane, true, at(1000), [1; 16], at(1301));
        assert!(matches!(late, Err(ReplayError::TooOld { .. })), "{late:?}");
        let early = guard.accept(jane, true, at(1332), [3; 16], at(1301));
        assert!(matches!(early, Err(ReplayError::FromTheFuture { .. })), "{early:?}");
    }

    #[test]
    fn what_was_forgotten_is_not_accepted_when_the_clock_goes_back() {
        let mut guard = guard(ReplayPolicy::NETWORK);
        let jane = sender(1);
        guard.accept(jane, true, at(1000), [1; 16], at(1000)).unwrap();
        guard.accept(jane, true, at(2000), [2; 16], at(2000)).unwrap();
        let back = guard.accept(jane, true, at(1000), [1; 16], at(1000));
        assert!(matches!(back, Err(ReplayError::TooOld { .. })), "{back:?}");
    }

    #[test]
    fn a_full_buffer_refuses_and_hurts_nobody_else() {
        let mut guard = guard(ReplayPolicy { per_sender_max: 2, strangers_max: 1, ..ReplayPolicy::NETWORK });
        let (jane, joe) = (sender(1), sender(2));
        for nonce in 0..2 {
            guard.accept(jane, true, at(1000), [nonce; 16], at(1000)).unwrap();
        }
        let busy = Err(ReplayError::Busy { window: TimeSpan::from_seconds(300) });
        assert_eq!(guard.accept(jane, true, at(1000), [9; 16], at(1000)), busy);
        assert_eq!(guard.accept(joe, true, at(1000), [9; 16], at(1000)), Ok(()));
        assert_eq!(guard.accept(sender(3), false, at(1000), [9; 16], at(1000)), Ok(()));
        assert_eq!(guard.accept(sender(4), false, at(1000), [9; 16], at(1000)), busy, "strangers have one share");
        assert_eq!(guard.accept(jane, true, at(1301), [9; 16], at(1301)), Ok(()), "room comes back with time");
    }

    #[test]
    fn the_bound_on_all_requests_holds_and_room_comes_back() {
        let mut guard = guard(ReplayPolicy { total_max: 2, ..ReplayPolicy::NETWORK });
        for seed in 1..3 {
            guard.accept(sender(seed), true, at(1000), [0; 16], at(1000)).unwrap();
        }
        assert!(matches!(guard.accept(sender(3), true, at(1000), [0; 16], at(1000)), Err(ReplayError::Busy { .. })));
        assert_eq!(guard.accept(sender(3), true, at(1301), [0; 16], at(1301)), Ok(()));
    }

    #[test]
    fn a_stranger_who_becomes_known_cannot_be_replayed() {
        let mut guard = guard(ReplayPolicy::NETWORK);
        guard.accept(sender(1), false, at(1000), [1; 16], at(1000)).unwrap();
        assert_eq!(guard.accept(sender(1), true, at(1000), [1; 16], at(1000)), Err(ReplayError::Seen));
    }

    #[test]
    fn a_guard_that_knows_up_to_where_it_accepted_takes_what_is_later_at_once() {
        let mut guard = ReplayGuard::new(ReplayPolicy::NETWORK, at(1000));
        guard.set_mark(at(1001));
        let refused = guard.accept(sender(1), true, at(1001), [1; 16], at(1001));
        assert!(matches!(refused, Err(ReplayError::Restarting { .. })), "{refused:?}");
        assert_eq!(guard.accept(sender(1), true, at(1002), [1; 16], at(1002)), Ok(()));
    }

    #[test]
    fn after_a_restart_nothing_is_accepted_that_may_have_been_accepted_before() {
        let mut guard = ReplayGuard::new(ReplayPolicy::NETWORK, at(1000));
        let refused = guard.accept(sender(1), true, at(1030), [1; 16], at(1005));
        assert_eq!(refused, Err(ReplayError::Restarting { wait: TimeSpan::from_seconds(26) }));
        assert_eq!(guard.accept(sender(1), true, at(1031), [1; 16], at(1031)), Ok(()));
    }
}
