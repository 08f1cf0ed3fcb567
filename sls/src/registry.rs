//! The rules of registration. Pure: times come in, and nothing is sent or stored.
//!
//! A host has at most one record here. It is **live** until `expiry` after it was last registered. Three rules keep
//! hosts from taking each other's place: a record replaces only records of the same key and only with a larger
//! sequence; a name that a live host holds is refused to others; and nothing from the future is accepted, so that
//! nobody can register ahead. What has expired stays for a while, not shown, so that its uptime is known when it
//! comes back and an old record cannot stand in for it.

use std::collections::BTreeMap;

use thiserror::Error;
use tycoon_market::{HostId, HostName, TimeSpan, Timestamp};

use crate::query::{PAGE_HOSTS, PAGE_HOSTS_MAX, Sort};
use crate::record::{HostRecord, VerifiedRecord};
use crate::uptime::{Uptime, UptimeFractions};

/// What an SLS's operator can set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How long a host stays live after a registration.
    pub expiry: TimeSpan,
    /// How far the clock of a host may be ahead.
    pub skew: TimeSpan,
    /// How old a record may be when it is registered.
    pub record_age_max: TimeSpan,
    /// How long an expired host is remembered.
    pub memory: TimeSpan,
    /// The most hosts, live and remembered.
    pub hosts_max: usize,
    /// The most bytes of records on one page.
    pub page_bytes_max: usize,
}

impl Default for Policy {
    /// Live for 120 s, remembered for a week, at most 20 000 hosts.
    fn default() -> Self {
        Self {
            expiry: TimeSpan::from_seconds(120),
            skew: TimeSpan::from_seconds(30),
            record_age_max: TimeSpan::from_seconds(300),
            memory: TimeSpan::from_seconds(7 * 86_400),
            hosts_max: 20_000,
            page_bytes_max: 512 << 10,
        }
    }
}

/// Why a registration is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RegisterError {
    /// A newer record, or another one of the same sequence, is here.
    #[error("host {host} has registered record {current} already, and this one is {offered}")]
    Stale {
        /// The host.
        host: HostId,
        /// The sequence registered.
        current: u64,
        /// The sequence offered.
        offered: u64,
    },
    /// Another live host has the name.
    #[error("the name `{name}` is held by the live host {holder}")]
    NameTaken {
        /// The name.
        name: HostName,
        /// Who holds it.
        holder: HostId,
    },
    /// Issued in the future.
    #[error(
        "the record was issued {ahead} ahead of this clock; at most {skew} is accepted (is the host's clock fast?)"
    )]
    FromTheFuture {
        /// How far it is ahead.
        ahead: TimeSpan,
        /// How far it may be.
        skew: TimeSpan,
    },
    /// Issued too long ago.
    #[error("the record was issued {age} ago; at most {most} is accepted (is the host's clock slow?)")]
    TooOld {
        /// Its age.
        age: TimeSpan,
        /// The greatest age.
        most: TimeSpan,
    },
    /// No room for another host.
    #[error("this service keeps {hosts_max} hosts and is full")]
    Full {
        /// How many it keeps.
        hosts_max: usize,
    },
}

/// A host in the registry.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// What it registered last.
    pub record: VerifiedRecord,
    /// When it registered for the first time.
    pub first_seen: Timestamp,
    /// When it registered last.
    pub last_seen: Timestamp,
    /// Until when it is live.
    pub expires_at: Timestamp,
    /// True where it left, or had expired when the clock was put back.
    pub(crate) is_gone: bool,
    /// Its uptime until `counted_until`.
    pub(crate) uptime: Uptime,
    pub(crate) counted_until: Timestamp,
}

impl Entry {
    /// True where the host was heard of lately enough.
    pub fn is_live(&self, now: Timestamp) -> bool {
        !self.is_gone && now < self.expires_at
    }

    /// How much of the last hour, day and week it was there.
    pub fn uptime(&self, now: Timestamp) -> UptimeFractions {
        let mut counted = self.clone();
        counted.count_until(now);
        counted.uptime.fractions()
    }

    /// Counts the time until `now`. Between two registrations it was there, unless it expired meanwhile.
    pub(crate) fn count_until(&mut self, now: Timestamp) {
        self.uptime.count(now.since(self.counted_until), self.is_live(now));
        self.counted_until = now;
    }
}

/// A page of hosts.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<'a> {
    /// The hosts, in order.
    pub hosts: Vec<&'a Entry>,
    /// How many hosts match in all.
    pub total: usize,
    /// True where more follow after the last.
    pub has_more: bool,
}

/// The hosts that an SLS knows.
#[derive(Clone, Debug, PartialEq)]
pub struct Registry {
    policy: Policy,
    entries: BTreeMap<HostId, Entry>,
    /// The latest time that was brought.
    latest: Timestamp,
    /// Who registered a name last, where it has the name still. The host may have expired.
    names: BTreeMap<HostName, HostId>,
}

impl Registry {
    /// An empty registry.
    pub const fn new(policy: Policy) -> Self {
        Self { policy, entries: BTreeMap::new(), latest: Timestamp::from_micros(i64::MIN), names: BTreeMap::new() }
    }

    /// What the operator set.
    pub const fn policy(&self) -> Policy {
        self.policy
    }

    /// Registers a record. Registering the same record again keeps the host live.
    pub fn register(&mut self, record: VerifiedRecord, now: Timestamp) -> Result<&Entry, RegisterError> {
        let now = self.settle(now);
        self.check(&record, now)?;
        let said = record.record();
        let (host, name) = (said.host, said.name.clone());
        let expires_at = now.plus(self.policy.expiry);
        let entry = match self.entries.remove(&host) {
            None => Entry {
                record,
                first_seen: now,
                last_seen: now,
                expires_at,
                is_gone: false,
                uptime: Uptime::default(),
                counted_until: now,
            },
            Some(mut entry) => {
                entry.count_until(now);
                if entry.record.record().name != name {
                    self.release(&host, &entry.record.record().name);
                }
                Entry { record, last_seen: now, expires_at, is_gone: false, ..entry }
            }
        };
        self.names.insert(name, host);
        Ok(self.entries.entry(host).or_insert(entry))
    }

    fn check(&mut self, record: &VerifiedRecord, now: Timestamp) -> Result<(), RegisterError> {
        let said = record.record();
        let (ahead, age) = (said.issued_at.since(now), now.since(said.issued_at));
        let Policy { skew, record_age_max: most, hosts_max, .. } = self.policy;
        if ahead > skew {
            return Err(RegisterError::FromTheFuture { ahead, skew });
        }
        if age > most {
            return Err(RegisterError::TooOld { age, most });
        }
        if let Some(entry) = self.entries.get(&said.host) {
            let (current, offered) = (entry.record.record().sequence, said.sequence);
            if offered < current || (offered == current && entry.record != *record) {
                return Err(RegisterError::Stale { host: said.host, current, offered });
            }
        }
        if let Some(holder) = self.holder(&said.name, now).filter(|holder| *holder != said.host) {
            return Err(RegisterError::NameTaken { name: said.name.clone(), holder });
        }
        if !self.entries.contains_key(&said.host) && self.entries.len() >= hosts_max {
            self.forget_one_expired(now).ok_or(RegisterError::Full { hosts_max })?;
        }
        Ok(())
    }

    /// The live host that holds a name.
    pub fn holder(&self, name: &HostName, now: Timestamp) -> Option<HostId> {
        let host = self.names.get(name)?;
        let entry = self.entries.get(host)?;
        entry.is_live(now).then_some(*host)
    }

    /// The host leaves: it is not live from now on. True where it was.
    pub fn withdraw(&mut self, host: &HostId, now: Timestamp) -> bool {
        let now = self.settle(now);
        let Some(entry) = self.entries.get_mut(host).filter(|entry| entry.is_live(now)) else { return false };
        entry.count_until(now);
        (entry.last_seen, entry.expires_at, entry.is_gone) = (now, now, true);
        true
    }

    /// Takes notice of the time, and returns it; a time that a slightly later one overtook becomes that one. Where the
    /// clock was put back, what had expired stays so, and nothing stays live for longer than if it had registered just
    /// now.
    pub fn settle(&mut self, now: Timestamp) -> Timestamp {
        const OVERTAKING_MAX: TimeSpan = TimeSpan::from_seconds(1);
        if now < self.latest {
            if self.latest.since(now) <= OVERTAKING_MAX {
                return self.latest;
            }
            for entry in self.entries.values_mut() {
                entry.is_gone = !entry.is_live(self.latest);
                entry.expires_at = entry.expires_at.min(now.plus(self.policy.expiry));
                entry.last_seen = entry.last_seen.min(now);
                entry.counted_until = entry.counted_until.min(now);
            }
        }
        self.latest = now;
        now
    }

    /// Forgets what expired longer ago than it is remembered, and returns it.
    pub fn tidy(&mut self, now: Timestamp) -> Vec<HostId> {
        let now = self.settle(now);
        let memory = self.policy.memory;
        let is_old = |entry: &Entry| !entry.is_live(now) && now.since(entry.expires_at) > memory;
        let old: Vec<HostId> = self.entries.iter().filter(|(_, entry)| is_old(entry)).map(|(host, _)| *host).collect();
        old.iter().for_each(|host| self.forget(host));
        old
    }

    /// Makes room: forgets what expired first.
    fn forget_one_expired(&mut self, now: Timestamp) -> Option<()> {
        let expired = self.entries.values().filter(|entry| !entry.is_live(now));
        let host = expired.min_by_key(|entry| entry.expires_at)?.record.record().host;
        self.forget(&host);
        Some(())
    }

    fn forget(&mut self, host: &HostId) {
        if let Some(entry) = self.entries.remove(host) {
            self.release(host, &entry.record.record().name);
        }
    }

    fn release(&mut self, host: &HostId, name: &HostName) {
        if self.names.get(name) == Some(host) {
            self.names.remove(name);
        }
    }

    /// A host, live or remembered.
    pub fn get(&self, host: &HostId) -> Option<&Entry> {
        self.entries.get(host)
    }

    /// All live hosts, ordered by id.
    pub fn live(&self, now: Timestamp) -> impl Iterator<Item = &Entry> {
        self.entries.values().filter(move |entry| entry.is_live(now))
    }

    /// All hosts, live and remembered, ordered by id.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// A page of live hosts for which `filter` holds: those that follow the host `after`, at most `size`. `None`
    /// where `after` is not known (any more), so that its place is not known either.
    pub fn query(
        &self,
        now: Timestamp,
        filter: impl Fn(&HostRecord) -> bool,
        sort: Sort,
        after: Option<HostId>,
        size: Option<usize>,
    ) -> Option<Page<'_>> {
        let start = match (after, sort) {
            (None, _) => None,
            // By id, the place is known without the host.
            (Some(after), Sort::Id) => Some(Sort::id_key(after)),
            (Some(after), _) => Some(sort.key(self.entries.get(&after)?.record.record())),
        };
        let mut matching: Vec<_> = self
            .live(now)
            .filter(|entry| filter(entry.record.record()))
            .map(|entry| (sort.key(entry.record.record()), entry))
            .collect();
        matching.sort_by(|(one, _), (other, _)| one.cmp(other));
        let total = matching.len();
        let first = start.map_or(0, |start| matching.partition_point(|(key, _)| *key <= start));

        let size = size.unwrap_or(PAGE_HOSTS).clamp(1, PAGE_HOSTS_MAX);
        let mut bytes = 0;
        let hosts: Vec<&Entry> = matching[first..]
            .iter()
            .map(|(_, entry)| *entry)
            .take(size)
            .take_while(|entry| {
                // The first fits always: a record is smaller than a page.
                let fits = bytes == 0 || bytes + entry.record.signed().json().len() <= self.policy.page_bytes_max;
                bytes += entry.record.signed().json().len();
                fits
            })
            .collect();
        let has_more = first + hosts.len() < total;
        Some(Page { hosts, total, has_more })
    }

    /// Puts an entry back that was stored.
    pub(crate) fn restore(&mut self, entry: Entry) {
        let record = entry.record.record();
        // Of two stored entries with one name, the later one holds it.
        let holder = self.names.get(&record.name).and_then(|holder| self.entries.get(holder));
        if holder.is_none_or(|holder| holder.expires_at <= entry.expires_at) {
            self.names.insert(record.name.clone(), record.host);
        }
        self.entries.insert(record.host, entry);
    }
}
