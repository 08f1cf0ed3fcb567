//! The host's side of registration: it says to every SLS, again and again, that it is there.
//!
//! [`Announcer`] holds the rules: when to register next, and what is news. [`Announcing`] is a thread that goes by them:
//! it registers with all SLSs, goes on where some or all of them fail, and withdraws when it is stopped.
//!
//! ```ignore
//! let announcing = Announcing::start(
//!     SlsClient::new(services),                 // callers that sign with the host's key
//!     AnnouncePolicy::default(),
//!     host_id,
//!     move || daemon.signed_record().map_err(|error| error.to_string()),   // a new sequence each time
//!     announce::log,
//! )?;
//! announcing.now();   // after a change of price or policy
//! announcing.stop();  // leaves, and waits for the thread
//! ```

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tycoon_market::{HostId, TimeSpan};

use crate::client::{SlsClient, SlsProblem};
use crate::reach::Standing;
use crate::record::SignedRecord;
use crate::service::Registered;

/// How often a host registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnnouncePolicy {
    /// From one registration to the next.
    pub interval: TimeSpan,
    /// To the first try after a failure; each further one waits twice as long, up to the interval. As long is also
    /// waited for an SLS that is still finding out where the host is.
    pub retry: TimeSpan,
    /// At least so much is between two registrations, however often somebody asks for one.
    pub pause_min: TimeSpan,
}

impl Default for AnnouncePolicy {
    /// Every 30 s; after a failure 2 s later; never more than one in a second.
    fn default() -> Self {
        Self {
            interval: TimeSpan::from_seconds(30),
            retry: TimeSpan::from_seconds(2),
            pause_min: TimeSpan::from_seconds(1),
        }
    }
}

/// What became of one registration with one SLS.
#[derive(Debug)]
pub struct Report {
    /// Which SLS.
    pub sls: String,
    /// Its answer, or why there is none.
    pub outcome: Result<Registered, SlsProblem>,
    /// True where it is another outcome than the last time, so that it is worth a line in a log.
    pub is_news: bool,
}

/// What became of one round of registrations.
#[derive(Debug)]
pub enum Round {
    /// They were made; one report for each SLS.
    Made(Vec<Report>),
    /// There was no record to register, for this reason.
    NoRecord(String),
}

/// The rules of announcing. Pure: it is told what became of a round, and says how long to wait.
#[derive(Debug)]
pub struct Announcer {
    policy: AnnouncePolicy,
    /// What was heard last of each SLS, in their order.
    heard: Vec<Option<Heard>>,
    failed_rounds: u32,
    is_pending: bool,
    expiry_min: Option<TimeSpan>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Heard {
    Registered(Standing),
    Failed(String),
}

impl Announcer {
    /// Nothing was registered yet.
    pub const fn new(policy: AnnouncePolicy) -> Self {
        Self { policy, heard: Vec::new(), failed_rounds: 0, is_pending: false, expiry_min: None }
    }

    /// Takes notice of a round: the names of the SLSs and what they answered, in the same order every time.
    pub fn note(&mut self, answers: Vec<(String, Result<Registered, SlsProblem>)>) -> Vec<Report> {
        self.heard.resize(answers.len(), None);
        let registered = || answers.iter().filter_map(|(_, answer)| answer.as_ref().ok());
        self.is_pending = registered().any(|registered| registered.standing == Standing::Pending);
        self.expiry_min = registered().map(|registered| registered.expiry).min();
        let has_failed = registered().count() < answers.len();
        self.failed_rounds = if has_failed { self.failed_rounds.saturating_add(1) } else { 0 };
        let reports = answers.into_iter().zip(&mut self.heard).map(|((sls, outcome), last)| {
            let heard = match &outcome {
                Ok(registered) => Heard::Registered(registered.standing),
                Err(problem) => Heard::Failed(problem.source.to_string()),
            };
            let is_news = last.as_ref() != Some(&heard);
            *last = Some(heard);
            Report { sls, outcome, is_news }
        });
        reports.collect()
    }

    /// Takes notice of a round that was not made.
    pub const fn note_no_record(&mut self) {
        self.failed_rounds = self.failed_rounds.saturating_add(1);
    }

    /// How long to wait before the next round. An SLS that forgets sooner than usual is told sooner: four times within
    /// its expiry.
    pub fn pause(&self) -> TimeSpan {
        let AnnouncePolicy { interval, retry, pause_min } = self.policy;
        let usual = match self.expiry_min {
            Some(expiry) => interval.min(TimeSpan::from_micros(expiry.micros() / 4)),
            None => interval,
        };
        let pause = match (self.failed_rounds, self.is_pending) {
            (0, false) => usual,
            (0, true) => usual.min(retry),
            (failed, _) => {
                let doubled = retry.micros().saturating_mul(1 << (failed - 1).min(20));
                usual.min(TimeSpan::from_micros(doubled))
            }
        };
        pause.max(pause_min)
    }
}

/// What the thread is asked to do.
#[derive(Debug, Default)]
struct Wish {
    now: bool,
    stop: bool,
}

#[derive(Debug, Default)]
struct Signal {
    wish: Mutex<Wish>,
    changed: Condvar,
}

impl Signal {
    fn ask(&self, ask: impl FnOnce(&mut Wish)) {
        ask(&mut self.wish.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    /// Waits for `most`, or until a round is asked for, but at least for `least`; false where it is to stop.
    fn wait(&self, least: Duration, most: Duration) -> bool {
        let began = Instant::now();
        let mut wish = self.wish.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if wish.stop {
                return false;
            }
            let until = if wish.now { least } else { most };
            let Some(left) = until.checked_sub(began.elapsed()).filter(|left| !left.is_zero()) else {
                wish.now = false;
                return true;
            };
            wish = self.changed.wait_timeout(wish, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// A thread that registers a host with all its SLSs. Dropping it leaves the host registered until that expires;
/// [`Announcing::stop`] withdraws it.
#[derive(Debug)]
pub struct Announcing {
    signal: Arc<Signal>,
    thread: Option<JoinHandle<()>>,
}

impl Announcing {
    /// Starts to register. `record` makes the host's record of now, with a larger sequence than the last; where it
    /// fails, what was registered stays until it expires. `heard` is told of every round.
    pub fn start(
        client: SlsClient,
        policy: AnnouncePolicy,
        host: HostId,
        mut record: impl FnMut() -> Result<SignedRecord, String> + Send + 'static,
        mut heard: impl FnMut(&Round) + Send + 'static,
    ) -> io::Result<Self> {
        let signal = Arc::new(Signal::default());
        let asked = signal.clone();
        let announce = move || {
            let mut announcer = Announcer::new(policy);
            loop {
                let round = match record() {
                    Ok(record) => {
                        let names = client.names().map(str::to_owned);
                        Round::Made(announcer.note(names.zip(client.register(&record)).collect()))
                    }
                    Err(reason) => {
                        announcer.note_no_record();
                        Round::NoRecord(reason)
                    }
                };
                heard(&round);
                if !asked.wait(duration(policy.pause_min), duration(announcer.pause())) {
                    break;
                }
            }
            // Who cannot be told forgets the host by itself.
            drop(client.withdraw(&host));
        };
        let thread = thread::Builder::new().name("tycoon-announce".to_owned()).spawn(announce)?;
        Ok(Self { signal, thread: Some(thread) })
    }

    /// Asks for a registration at once, because something changed that users should know.
    pub fn now(&self) {
        self.signal.ask(|wish| wish.now = true);
    }

    /// Withdraws the host from all SLSs that answer, and waits until that is done.
    pub fn stop(mut self) {
        self.signal.ask(|wish| wish.stop = true);
        if let Some(thread) = self.thread.take() {
            // It fails only by a panic of `record` or `heard`, of which its own message has told.
            let _ = thread.join();
        }
    }
}

fn duration(span: TimeSpan) -> Duration {
    Duration::from_micros(span.micros())
}

/// Writes what is news of a round into the log.
pub fn log(round: &Round) {
    let reports = match round {
        Round::Made(reports) => reports,
        Round::NoRecord(reason) => {
            tracing::warn!(reason, "there is no record of this host to register");
            return;
        }
    };
    for report in reports.iter().filter(|report| report.is_news) {
        let sls = &report.sls;
        match &report.outcome {
            Ok(registered) => {
                tracing::info!(sls, standing = registered.standing.word(), "registered");
            }
            Err(problem) => {
                let error = &problem.source;
                tracing::warn!(sls, %error, "not registered there; trying again");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::SlsError;
    use tycoon_market::Timestamp;

    fn registered(standing: Standing, expiry: u64) -> Result<Registered, SlsProblem> {
        let expiry = TimeSpan::from_seconds(expiry);
        Ok(Registered { expires_at: Timestamp::from_seconds(0).plus(expiry), expiry, standing })
    }

    fn failed() -> Result<Registered, SlsProblem> {
        Err(SlsProblem { sls: "b".into(), source: SlsError::Endless })
    }

    fn round(announcer: &mut Announcer, b: Result<Registered, SlsProblem>) -> (Vec<bool>, f64) {
        let reports = announcer.note(vec![("a".into(), registered(Standing::Verified, 120)), ("b".into(), b)]);
        (reports.iter().map(|report| report.is_news).collect(), announcer.pause().seconds_f64())
    }

    #[test]
    fn a_failing_service_is_tried_sooner_then_as_often_as_the_others() {
        let mut announcer = Announcer::new(AnnouncePolicy::default());
        assert_eq!(round(&mut announcer, registered(Standing::Verified, 120)), (vec![true, true], 30.0));
        assert_eq!(round(&mut announcer, failed()), (vec![false, true], 2.0));
        for pause in [4.0, 8.0, 16.0, 30.0, 30.0] {
            assert_eq!(round(&mut announcer, failed()), (vec![false, false], pause));
        }
        assert_eq!(round(&mut announcer, registered(Standing::Verified, 120)), (vec![false, true], 30.0));
    }

    #[test]
    fn what_is_pending_is_asked_for_soon_and_short_memories_are_refreshed_in_time() {
        let mut announcer = Announcer::new(AnnouncePolicy::default());
        assert_eq!(round(&mut announcer, registered(Standing::Pending, 120)).1, 2.0);
        assert_eq!(round(&mut announcer, registered(Standing::Verified, 20)), (vec![false, true], 5.0));
        assert_eq!(round(&mut announcer, registered(Standing::Verified, 1)).1, 1.0, "but not all the time");
    }
}
