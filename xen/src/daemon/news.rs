//! What happened on the market, in order and numbered: a bounded log on disk, and whoever waits for the next event.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::Response;
use tycoon_market::auctioneer::{Effect, Reason};
use tycoon_market::{AccountId, Credits, HostAccountId, Quantity, ResourceKind, Timestamp};
use tycoon_rpc::events::{self, EventSender};

use super::state::State;
use crate::events::{EVENTS_KEPT, EVENTS_PER_ANSWER_MAX, EventsReport, Happening, HostEvent};

/// Callers that may wait for events at one time; further ones are answered at once.
const WAITERS_MAX: usize = 64;
/// Streams of events that are read at one time.
const READERS_MAX: usize = 16;
/// Events of before that a new reader is told at most; who wants more asks for pages.
const BEFORE_MAX: usize = 1_024;
/// Events that wait for a reader who is slow; then she is let go.
const QUEUE: usize = 2 * BEFORE_MAX;
/// What a reader is told before anything else who missed something: `/v1/events` has what is still kept.
const MISSED: &str = "missed";
/// A share that differs by more than this part from the one that was told last is told again, in percent.
const CLEAR_PERCENT: u64 = 20;

/// The last events.
#[derive(Debug, Default)]
pub(super) struct News {
    log: Mutex<Log>,
    changed: Condvar,
}

/// Somebody who reads the events as they come.
#[derive(Debug)]
struct Reader {
    /// Whose events; everybody's where there is none.
    of: Option<AccountId>,
    sender: EventSender,
}

#[derive(Debug, Default)]
struct Log {
    readers: Vec<Reader>,
    events: VecDeque<Arc<HostEvent>>,
    /// The number of the last event, also where it is forgotten.
    last: u64,
    waiters: usize,
}

impl News {
    /// The log of events that were read, in their order.
    pub(super) fn of(events: Vec<HostEvent>, last: u64) -> Self {
        let log = Log { events: events.into_iter().map(Arc::new).collect(), last, ..Log::default() };
        Self { log: Mutex::new(log), changed: Condvar::new() }
    }

    /// Takes in what has happened and is on disk.
    pub(super) fn add(&self, events: Vec<HostEvent>) {
        if events.is_empty() {
            return;
        }
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        for event in events {
            log.last = log.last.max(event.number);
            log.tell(&event);
            log.events.push_back(Arc::new(event));
        }
        while log.events.len() > EVENTS_KEPT {
            log.events.pop_front();
        }
        drop(log);
        self.changed.notify_all();
    }

    /// A stream of the events after a number (of the last ones where there is none), of one account or of all, and of
    /// those that come; `None` where there are as many readers as there may be.
    pub(super) fn stream(&self, after: Option<u64>, of: Option<AccountId>) -> Option<Response<Vec<u8>>> {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.readers.retain(|reader| !reader.sender.is_gone());
        if log.readers.len() >= READERS_MAX {
            return None;
        }
        let (sender, response) = events::stream(QUEUE);
        let reader = Reader { of, sender };
        let begin = log.events.partition_point(|event| after.is_some_and(|after| event.number <= after));
        let its: Vec<&Arc<HostEvent>> = log.events.range(begin..).filter(|event| reader.reads(event)).collect();
        let left_out = its.len().saturating_sub(BEFORE_MAX);
        // Who does not say what she knows has missed nothing.
        if after.is_some_and(|after| left_out > 0 || log.is_torn(after)) {
            let missed = events::Event { name: MISSED.to_owned(), id: None, data: "{}".to_owned() };
            // Whoever is gone already is noticed below.
            let _ = reader.sender.send(&missed);
        }
        if its.into_iter().skip(left_out).any(|event| !reader.tell(&told(event))) {
            return Some(response);
        }
        log.readers.push(reader);
        Some(response)
    }

    /// The events after a number, of one account or of all; where there are none yet, those that come within `wait`.
    pub(super) fn after(&self, after: u64, of: Option<&AccountId>, wait: Duration) -> EventsReport {
        let deadline = Instant::now() + wait;
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let may_wait = log.waiters < WAITERS_MAX;
        log.waiters += usize::from(may_wait);
        loop {
            let report = log.after(after, of);
            let left = deadline.saturating_duration_since(Instant::now());
            if !report.events.is_empty() || left.is_zero() || !may_wait {
                log.waiters -= usize::from(may_wait);
                return report;
            }
            log = self.changed.wait_timeout(log, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Reader {
    fn reads(&self, event: &HostEvent) -> bool {
        self.of.is_none_or(|account| account == event.account)
    }

    /// False where the reader has gone, or is too slow.
    fn tell(&self, event: &events::Event) -> bool {
        self.sender.send(event).is_ok()
    }
}

/// An event as it is sent.
fn told(event: &HostEvent) -> events::Event {
    // It is made of numbers, names and texts, so that it can always be written.
    let data = serde_json::to_string(event).unwrap_or_default();
    events::Event { name: event.what.word().to_owned(), id: Some(event.number), data }
}

impl Log {
    fn tell(&mut self, event: &HostEvent) {
        if self.readers.is_empty() {
            return;
        }
        let told = told(event);
        self.readers.retain(|reader| !reader.reads(event) || reader.tell(&told));
    }

    /// True where events after this one are not kept any more.
    fn is_torn(&self, after: u64) -> bool {
        let first_kept = self.events.front().map_or(self.last.saturating_add(1), |event| event.number);
        after.saturating_add(1) < first_kept
    }

    fn after(&self, after: u64, of: Option<&AccountId>) -> EventsReport {
        let is_its = |event: &&Arc<HostEvent>| of.is_none_or(|account| event.account == *account);
        let begin = self.events.partition_point(|event| event.number <= after);
        let events: Vec<HostEvent> = self
            .events
            .range(begin..)
            .filter(is_its)
            .take(EVENTS_PER_ANSWER_MAX)
            .map(|event| (**event).clone())
            .collect();
        let last = match events.last() {
            Some(event) if events.len() == EVENTS_PER_ANSWER_MAX => event.number,
            _ => self.last,
        };
        EventsReport { events, last, is_torn: self.is_torn(after) }
    }
}

impl State {
    /// Notes that something happened to an account.
    pub(super) fn tell(&mut self, id: &HostAccountId, at: Timestamp, what: Happening) {
        self.last_event = self.last_event.saturating_add(1);
        let (account, pool) = (id.account, id.pool.clone());
        self.news.push(HostEvent { number: self.last_event, at, account, pool, what });
    }

    /// Notes what of the effects of an event people want to know.
    pub(super) fn tell_effects(&mut self, effects: &[Effect], now: Timestamp) {
        let mut admitted: BTreeSet<&HostAccountId> = BTreeSet::new();
        for effect in effects {
            match effect {
                Effect::Activate { account } => {
                    admitted.insert(account);
                }
                Effect::Allocate { account, shares } => {
                    if admitted.remove(account) || self.is_clearly_other(account, shares) {
                        self.told_shares.insert(account.clone(), cpu_of(shares));
                        self.tell(account, now, Happening::Allocated { shares: shares.clone() });
                    }
                }
                Effect::GrantUnique { account, id } => self.tell(account, now, Happening::Granted { id: *id }),
                Effect::RevokeUnique { account, id } => self.tell(account, now, Happening::Outbid { id: *id }),
                Effect::Warn { account, reason: Reason::Displaced, stop_at } => {
                    self.tell(account, now, Happening::Displaced { stop_at: *stop_at });
                }
                Effect::Warn { account, reason, stop_at } => {
                    self.tell(account, now, Happening::Warned { reason: *reason, stop_at: *stop_at });
                }
                Effect::Stop { account, reason, delete_at } => {
                    self.tell(account, now, Happening::Stopped { reason: *reason, delete_at: *delete_at });
                }
                Effect::DeleteDisk { account, reason } => {
                    self.tell(account, now, Happening::Deleted { reason: *reason })
                }
                Effect::Expired { account, rate } => self.tell(account, now, Happening::Expired { rate: *rate }),
                Effect::Refunded { account, amount, .. } => {
                    self.tell(account, now, Happening::Refunded { amount: *amount });
                }
                Effect::Closed { account, receipts, .. } => {
                    let sum = |amounts: &mut dyn Iterator<Item = Credits>| {
                        Credits::checked_sum(amounts).unwrap_or(Credits::MAX)
                    };
                    let charged = sum(&mut receipts.iter().map(|totals| totals.drawn));
                    let refunded = sum(&mut receipts.iter().map(|totals| totals.released));
                    self.told_shares.remove(account);
                    self.tell(account, now, Happening::Closed { charged, refunded });
                }
                Effect::Charged { .. } | Effect::Quoted { .. } | Effect::ClockWentBack { .. } => {}
            }
        }
    }

    /// True where the CPU differs clearly from what was told last. What was told before a restart is not known any more:
    /// that is taken for told.
    fn is_clearly_other(&mut self, id: &HostAccountId, shares: &BTreeMap<ResourceKind, Quantity>) -> bool {
        let now = cpu_of(shares);
        let Some(told) = self.told_shares.get(id).copied() else {
            self.told_shares.insert(id.clone(), now);
            return false;
        };
        told.abs_diff(now).saturating_mul(100) > told.saturating_mul(CLEAR_PERCENT)
    }
}

fn cpu_of(shares: &BTreeMap<ResourceKind, Quantity>) -> u64 {
    shares.get(&ResourceKind::Cpu).copied().unwrap_or_default().amount()
}
