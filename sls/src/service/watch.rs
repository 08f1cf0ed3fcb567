//! Those who watch: what changes is numbered, kept for a while, and told.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use tycoon_market::{HostId, HostName, Timestamp};
use tycoon_rpc::events::{Event, EventSender};

use super::{Listed, listed};
use crate::filter::Filter;
use crate::registry::{Change, Registry, What};

/// The changes that are kept for those who come back.
const KEPT_MAX: usize = 4096;
/// The events that may wait for one reader.
pub(super) const QUEUE_MAX: usize = 1024;
/// What a reader is told who missed something: she has to list the hosts anew.
pub const MISSED: &str = "missed";

/// What a watcher is told of a host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostEvent {
    /// What happened.
    pub what: What,
    /// To which host.
    pub host: HostId,
    /// Its name.
    pub name: HostName,
    /// The host as it is then, where it is still known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listed: Option<Listed>,
}

struct Watcher {
    sender: EventSender,
    filter: Option<Filter>,
}

/// All who watch, and what they may have missed.
pub(super) struct Watchers {
    /// The number of the next change. It starts with the time, so that it is larger than any before a restart.
    next: u64,
    kept: VecDeque<(u64, Change)>,
    watching: Vec<Watcher>,
}

impl Watchers {
    pub(super) fn new(now: Timestamp) -> Self {
        Self { next: u64::try_from(now.micros()).unwrap_or(0), kept: VecDeque::new(), watching: Vec::new() }
    }

    pub(super) fn count(&self) -> usize {
        self.watching.len()
    }

    /// Tells what changed.
    pub(super) fn tell(&mut self, registry: &mut Registry, now: Timestamp) {
        for change in registry.take_changes() {
            let number = self.next;
            self.next += 1;
            if !self.watching.is_empty() {
                let event = event(number, &change, registry, now);
                self.watching.retain(|watcher| {
                    let is_wanted = concerns(watcher.filter.as_ref(), &change, registry, now);
                    // Who is too slow is let go of: she comes back and says what she saw last.
                    !watcher.sender.is_gone() && (!is_wanted || watcher.sender.send(&event).is_ok())
                });
            }
            if self.kept.len() == KEPT_MAX {
                self.kept.pop_front();
            }
            self.kept.push_back((number, change));
        }
    }

    /// Lets go of those who have gone.
    pub(super) fn tidy(&mut self) {
        self.watching.retain(|watcher| !watcher.sender.is_gone());
    }

    /// Somebody watches from now on, and is told what she missed since the event `since`.
    pub(super) fn add(
        &mut self,
        sender: EventSender,
        filter: Option<Filter>,
        since: Option<u64>,
        registry: &Registry,
        now: Timestamp,
    ) {
        if let Some(since) = since {
            let first = self.kept.front().map_or(self.next, |(number, _)| *number);
            if since.saturating_add(1) < first || since >= self.next {
                let missed = Event { name: MISSED.to_owned(), id: self.next.checked_sub(1), data: "{}".to_owned() };
                // A queue that is empty takes it.
                let _ = sender.send(&missed);
            } else {
                let following = self.kept.iter().filter(|(number, _)| *number > since);
                for (number, change) in following {
                    if concerns(filter.as_ref(), change, registry, now)
                        && sender.send(&event(*number, change, registry, now)).is_err()
                    {
                        return;
                    }
                }
            }
        }
        self.watching.push(Watcher { sender, filter });
    }
}

fn concerns(filter: Option<&Filter>, change: &Change, registry: &Registry, now: Timestamp) -> bool {
    // Of a host that is forgotten nobody can say what it was like.
    let entry = registry.get(&change.host);
    filter.is_none_or(|filter| entry.is_none_or(|entry| entry.see(now, |seen| filter.matches(seen))))
}

fn event(number: u64, change: &Change, registry: &Registry, now: Timestamp) -> Event {
    let Change { what, host, name } = change.clone();
    let listed = registry.get(&host).map(|entry| listed(entry, now));
    let told = HostEvent { what, host, name, listed };
    Event {
        name: what.word().to_owned(),
        id: Some(number),
        // What holds texts and numbers only can always be written.
        data: serde_json::to_string(&told).unwrap_or_default(),
    }
}
