//! Work on domains that is asked for over HTTP, and may take longer than anybody waits for one answer.
//!
//! Every request says what shall be, so that it may be asked again. While it is being carried out, the same request of
//! the same account waits for that instead of beginning anew; what came of it is kept for whoever asks next.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};
use tycoon_market::AccountId;

use super::alone;
use crate::protocol::{Answer, HostError};

/// How long one call waits for what is under way.
const WAIT: Duration = Duration::from_secs(15);
/// After work that took so long, whoever asked for it has gone, and comes back: a server answers within this time.
const LONG: Duration = Duration::from_secs(30);
/// For how long what came of long work is kept.
const KEPT: Duration = Duration::from_secs(300);
/// Pieces of work that are under way or kept.
const JOBS_MAX: usize = 256;
/// The same, of one account.
const JOBS_OF_ACCOUNT_MAX: usize = 64;

type Outcome = Result<Answer, HostError>;

/// What is under way.
#[derive(Default)]
pub(super) struct Jobs(Mutex<HashMap<JobKey, Arc<Job>>>);

/// Whose work, and which.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct JobKey {
    account: AccountId,
    request: [u8; 32],
}

#[derive(Default)]
struct Job {
    state: Mutex<JobState>,
    changed: Condvar,
}

#[derive(Default)]
enum JobState {
    #[default]
    UnderWay,
    Done(Outcome, Instant),
    /// Whoever carried it out did not come back.
    Lost,
}

/// Why there is no outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoOutcome {
    /// It is still under way.
    UnderWay,
    /// There is too much under way.
    TooMany,
}

/// Ends the work of whoever carries it out, also where that panics.
struct Carrying<'a> {
    jobs: &'a Jobs,
    key: JobKey,
    job: Arc<Job>,
    began: Instant,
    outcome: Option<Outcome>,
}

impl Drop for Carrying<'_> {
    fn drop(&mut self) {
        let is_kept = self.outcome.is_some() && self.began.elapsed() >= LONG;
        *alone(&self.job.state) = match self.outcome.take() {
            Some(outcome) => JobState::Done(outcome, Instant::now()),
            None => JobState::Lost,
        };
        self.job.changed.notify_all();
        if !is_kept {
            self.jobs.remove(&self.key, &self.job);
        }
    }
}

impl Jobs {
    /// What comes of `work`, which the bytes of `request` stand for.
    pub(super) fn run(
        &self,
        account: AccountId,
        request: &[u8],
        work: impl FnOnce() -> Outcome,
    ) -> Result<Outcome, NoOutcome> {
        let key = JobKey { account, request: Sha256::digest(request).into() };
        let job = {
            let mut jobs = alone(&self.0);
            jobs.retain(|_, job| !job.is_old());
            match jobs.get(&key) {
                Some(job) => Err(job.clone()),
                None => {
                    let of_account = jobs.keys().filter(|key| key.account == account).count();
                    if jobs.len() >= JOBS_MAX || of_account >= JOBS_OF_ACCOUNT_MAX {
                        return Err(NoOutcome::TooMany);
                    }
                    let job = Arc::<Job>::default();
                    jobs.insert(key, job.clone());
                    Ok(job)
                }
            }
        };
        match job {
            Ok(job) => {
                let mut carrying = Carrying { jobs: self, key, job, began: Instant::now(), outcome: None };
                let outcome = work();
                carrying.outcome = Some(outcome.clone());
                Ok(outcome)
            }
            Err(job) => {
                let outcome = job.wait()?;
                // It is told once: who asks again means it anew.
                self.remove(&key, &job);
                Ok(outcome)
            }
        }
    }

    /// Removes a job, and not another one that the same request has begun since.
    fn remove(&self, key: &JobKey, job: &Arc<Job>) {
        let mut jobs = alone(&self.0);
        if jobs.get(key).is_some_and(|found| Arc::ptr_eq(found, job)) {
            jobs.remove(key);
        }
    }
}

impl Job {
    fn is_old(&self) -> bool {
        matches!(&*alone(&self.state), JobState::Done(_, at) if at.elapsed() > KEPT)
    }

    fn wait(&self) -> Result<Outcome, NoOutcome> {
        let state = alone(&self.state);
        let (state, _) = self
            .changed
            .wait_timeout_while(state, WAIT, |state| matches!(state, JobState::UnderWay))
            .unwrap_or_else(PoisonError::into_inner);
        match &*state {
            JobState::Done(outcome, _) => Ok(outcome.clone()),
            JobState::UnderWay | JobState::Lost => Err(NoOutcome::UnderWay),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    fn account(number: u8) -> AccountId {
        use tycoon_rpc::Signer as _;
        AccountId::of(&tycoon_rpc::SecretKey::from_seed(&[number; 32]).public_key())
    }

    fn ensured() -> Outcome {
        Ok(Answer::Ensured { changed: true, domain: None })
    }

    #[test]
    fn the_same_request_waits_for_what_is_under_way() {
        let jobs = Jobs::default();
        let (begin, begun) = channel();
        let (finish, finished) = channel();
        std::thread::scope(|scope| {
            let jobs = &jobs;
            let first = scope.spawn(move || {
                jobs.run(account(1), b"start web", move || {
                    begin.send(()).unwrap();
                    finished.recv().unwrap();
                    ensured()
                })
            });
            begun.recv().unwrap();
            let second = scope.spawn(|| jobs.run(account(1), b"start web", || panic!("it is under way already")));
            // Somebody else's request of the same text is another one.
            assert_eq!(jobs.run(account(2), b"start web", ensured), Ok(ensured()));
            // The table, who carries it out, and who waits have it.
            let waits = || alone(&jobs.0).values().any(|job| Arc::strong_count(job) >= 3);
            let deadline = Instant::now() + Duration::from_secs(30);
            while !waits() {
                assert!(Instant::now() < deadline, "the second request does not wait");
                std::thread::yield_now();
            }
            finish.send(()).unwrap();
            assert_eq!(first.join().unwrap(), Ok(ensured()));
            assert_eq!(second.join().unwrap(), Ok(ensured()));
        });
        assert!(alone(&jobs.0).is_empty(), "short work is not kept");
    }

    #[test]
    fn work_that_panics_is_not_under_way_for_ever_and_one_account_cannot_take_all_places() {
        let jobs = Jobs::default();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            jobs.run(account(1), b"start web", || panic!("a fault"))
        }));
        assert!(panicked.is_err());
        assert_eq!(jobs.run(account(1), b"start web", ensured), Ok(ensured()));
        for number in 0..JOBS_OF_ACCOUNT_MAX {
            let key = JobKey { account: account(1), request: Sha256::digest(number.to_be_bytes()).into() };
            alone(&jobs.0).insert(key, Arc::default());
        }
        assert_eq!(jobs.run(account(1), b"start db", ensured), Err(NoOutcome::TooMany));
        assert_eq!(jobs.run(account(2), b"start db", ensured), Ok(ensured()));
    }
}
