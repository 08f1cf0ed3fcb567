//! When something has to be done about which host. To look at a hundred thousand hosts for the few of which that is so
//! takes long, and nobody else could be answered meanwhile.

use std::collections::{BTreeSet, HashMap};

use tycoon_market::{HostId, Timestamp};

/// At most one time for each host.
#[derive(Clone, Debug, Default)]
pub(super) struct Alarms {
    due: BTreeSet<(Timestamp, HostId)>,
    due_of: HashMap<HostId, Timestamp>,
}

impl Alarms {
    /// The host's time is `time`, or sooner where that is planned already.
    pub(super) fn set(&mut self, host: HostId, time: Timestamp) {
        match self.due_of.get(&host) {
            Some(planned) if *planned <= time => return,
            Some(planned) => drop(self.due.remove(&(*planned, host))),
            None => {}
        }
        self.due_of.insert(host, time);
        self.due.insert((time, host));
    }

    /// A host whose time has come, and has no time planned from now on.
    pub(super) fn next(&mut self, now: Timestamp) -> Option<HostId> {
        let (time, host) = *self.due.first()?;
        if time > now {
            return None;
        }
        self.due.pop_first();
        self.due_of.remove(&host);
        Some(host)
    }

    /// Nothing is to be done about the host.
    pub(super) fn remove(&mut self, host: &HostId) {
        if let Some(planned) = self.due_of.remove(host) {
            self.due.remove(&(planned, *host));
        }
    }
}
