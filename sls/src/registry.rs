//! The rules of registration. Pure: times come in, and nothing is sent or stored.
//!
//! A host has at most one record here. It is **live** until `expiry` after it was last registered. Rules that keep hosts
//! from taking each other's place: a record replaces only records of the same key and only with a larger sequence; a
//! name that a live host holds is refused to others; nothing from the future is accepted, so that nobody can register
//! ahead; and, where the service [verifies](crate::reach), whoever answers at an address displaces whoever only claims it.
//! What has expired stays for a while, not shown, so that its uptime is known when it comes back and an old record
//! cannot stand in for it.

use std::collections::HashMap;
use std::net::IpAddr;

use thiserror::Error;
use tycoon_market::{HostId, HostName, TimeSpan, Timestamp};

use crate::facts::{Facts, Texts};
use crate::fields::{Seen, UptimeOf};
use crate::order::Cursor;
use crate::query::{HostQuery, PAGE_HOSTS, PAGE_HOSTS_MAX};
use crate::reach::{Reach, Standing};
use crate::record::{SignedRecord, VerifiedRecord};
use crate::uptime::{Uptime, UptimeFractions};
use alarms::Alarms;
use labels::LabelIndex;

mod alarms;
mod changes;
mod judgement;
mod labels;

pub use changes::{Change, What};
pub use judgement::{Callback, Judgement, RECHECK, RECHECK_UNVERIFIED};

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
    /// True where hosts are called back at their addresses.
    pub verifies: bool,
}

impl Default for Policy {
    /// Live for 120 s, remembered for a week, at most 20 000 hosts, not called back.
    fn default() -> Self {
        Self {
            expiry: TimeSpan::from_seconds(120),
            skew: TimeSpan::from_seconds(30),
            record_age_max: TimeSpan::from_seconds(300),
            memory: TimeSpan::from_seconds(7 * 86_400),
            hosts_max: 20_000,
            page_bytes_max: 512 << 10,
            verifies: false,
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
    /// Somebody else answers at its address.
    #[error("{reason}")]
    NotThere {
        /// What was found there.
        reason: String,
        /// For how long it is not asked for again.
        wait: TimeSpan,
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
    /// What queries look at.
    pub facts: Facts,
    /// Until when it is live.
    pub expires_at: Timestamp,
    /// True where it left, or had expired when the clock was put back.
    pub(crate) is_gone: bool,
    /// True while it wants a name that an unverified host has, and is not verified itself: it is not shown.
    pub(crate) contends: bool,
    /// True where its disappearance is still to be told.
    pub(crate) was_live: bool,
    /// When it registered for the first time.
    pub first_seen: Timestamp,
    /// When it registered last.
    pub last_seen: Timestamp,
    /// What it registered last.
    pub signed: SignedRecord,
    /// Where it is reached, as was found out.
    pub reach: Reach,
    /// From where it registered last, where that is known.
    pub(crate) observed: Option<IpAddr>,
    /// Its uptime until `counted_until`.
    pub(crate) uptime: Uptime,
    pub(crate) counted_until: Timestamp,
}

/// The uptime of an entry at a time, worked out where it is asked for.
struct UptimeAt<'a> {
    entry: &'a Entry,
    now: Timestamp,
}

impl UptimeOf for UptimeAt<'_> {
    fn uptime(&self) -> UptimeFractions {
        self.entry.uptime(self.now)
    }
}

impl Entry {
    /// True where the host was heard of lately enough.
    pub fn is_live(&self, now: Timestamp) -> bool {
        !self.is_gone && !self.contends && now < self.expires_at
    }

    /// From when on it is not remembered any more, where it has not registered again.
    fn forgotten_at(&self, memory: TimeSpan) -> Timestamp {
        self.expires_at.plus(memory).plus(TimeSpan::from_micros(1))
    }

    /// How much of the last hour, day and week it was there.
    pub fn uptime(&self, now: Timestamp) -> UptimeFractions {
        let mut counted = self.uptime;
        counted.count(now.since(self.counted_until), self.is_live(now));
        counted.fractions()
    }

    /// Does something with the host as queries see it.
    pub fn see<T>(&self, now: Timestamp, look: impl FnOnce(&Seen<'_, '_>) -> T) -> T {
        let uptime = UptimeAt { entry: self, now };
        let (facts, standing) = (&self.facts, self.reach.standing);
        look(&Seen { facts, standing, uptime: &uptime, silence: now.since(self.last_seen) })
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
    /// Where the next page begins; `None` on the last.
    pub next: Option<Cursor>,
}

/// The hosts that an SLS knows.
#[derive(Clone, Debug)]
pub struct Registry {
    policy: Policy,
    /// In no order, and without gaps: queries go through all of it.
    entries: Vec<Entry>,
    places: HashMap<HostId, usize>,
    /// The latest time that was brought.
    latest: Timestamp,
    /// Who registered a name last, where it has the name still. The host may have expired.
    names: HashMap<HostName, HostId>,
    texts: Texts,
    labels: LabelIndex,
    /// When hosts expire, or have expired for long enough to be forgotten; perhaps too early, never too late.
    expiring: Alarms,
    judged: judgement::Judged,
    changes: Vec<Change>,
    /// Who was forgotten and may still be stored.
    forgotten: Vec<HostId>,
}

impl PartialEq for Registry {
    /// True where both know the same; in which order, and what is still to be told, is no matter.
    fn eq(&self, other: &Self) -> bool {
        let by_id = |registry: &Self| {
            let mut entries: Vec<_> = registry.entries.clone();
            entries.sort_by_key(|entry| entry.facts.host);
            entries
        };
        self.policy == other.policy
            && self.latest == other.latest
            && self.names == other.names
            && by_id(self) == by_id(other)
    }
}

impl Registry {
    /// An empty registry.
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            entries: Vec::new(),
            places: HashMap::new(),
            latest: Timestamp::from_micros(i64::MIN),
            names: HashMap::new(),
            texts: Texts::default(),
            labels: LabelIndex::default(),
            expiring: Alarms::default(),
            judged: judgement::Judged::default(),
            changes: Vec::new(),
            forgotten: Vec::new(),
        }
    }

    /// What the operator set.
    pub const fn policy(&self) -> Policy {
        self.policy
    }

    /// Registers a record that came from `observed`. Registering the same record again keeps the host live.
    pub fn register(
        &mut self,
        record: VerifiedRecord,
        observed: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<&Entry, RegisterError> {
        let now = self.settle(now);
        let contends = self.check(&record, now)?;
        let (said, signed) = record.into_parts();
        let facts = Facts::of(&said, &mut self.texts);
        let (host, name) = (facts.host, facts.name.clone());
        let expires_at = now.plus(self.policy.expiry);
        let place = match self.places.get(&host).copied() {
            None => {
                let standing = if self.policy.verifies { Standing::Pending } else { Standing::Unverified };
                self.entries.push(Entry {
                    facts,
                    expires_at,
                    is_gone: false,
                    contends,
                    was_live: !contends,
                    first_seen: now,
                    last_seen: now,
                    signed,
                    reach: Reach { standing, ..Reach::default() },
                    observed,
                    uptime: Uptime::default(),
                    counted_until: now,
                });
                let place = self.entries.len() - 1;
                self.places.insert(host, place);
                let addresses = self.entries[place].facts.addresses.clone();
                self.claim_all(host, &[], &addresses);
                self.labels.change(host, &[], &self.entries[place].facts.labels);
                if !contends {
                    self.tell(What::Appeared, host, &name);
                }
                place
            }
            Some(place) => {
                let entry = &mut self.entries[place];
                entry.count_until(now);
                let old = std::mem::replace(&mut entry.facts, facts);
                let (was_live, is_same) = (entry.is_live(now), old.is_same_host(&entry.facts));
                (entry.signed, entry.last_seen, entry.expires_at, entry.is_gone) = (signed, now, expires_at, false);
                entry.contends = contends;
                entry.was_live = !contends;
                let addresses = entry.facts.addresses.clone();
                let is_elsewhere = old.addresses != entry.facts.addresses || entry.observed != observed;
                entry.observed = observed;
                self.labels.change(host, &old.labels, &self.entries[place].facts.labels);
                if self.policy.verifies && (is_elsewhere || !was_live) {
                    self.judged.is_due(host, now);
                    self.claim_all(host, &old.addresses, &addresses);
                }
                if old.name != name {
                    self.release(&host, &old.name);
                }
                match (contends, was_live, is_same) {
                    (true, true, _) => self.tell(What::Left, host, &name),
                    (true, false, _) | (false, true, true) => {}
                    (false, true, false) => self.tell(What::Changed, host, &name),
                    (false, false, _) => self.tell(What::Appeared, host, &name),
                }
                place
            }
        };
        if !contends {
            self.names.insert(name, host);
        }
        self.watch(place);
        if self.policy.verifies && self.entries[place].reach.standing == Standing::Pending {
            self.judged.is_due(host, now);
        }
        Ok(&self.entries[place])
    }

    /// Whether a record may be registered; true where it can only contend for its name.
    fn check(&mut self, record: &VerifiedRecord, now: Timestamp) -> Result<bool, RegisterError> {
        let said = record.record();
        let (ahead, age) = (said.issued_at.since(now), now.since(said.issued_at));
        let Policy { skew, record_age_max: most, hosts_max, verifies, .. } = self.policy;
        if ahead > skew {
            return Err(RegisterError::FromTheFuture { ahead, skew });
        }
        if age > most {
            return Err(RegisterError::TooOld { age, most });
        }
        let known = self.get(&said.host);
        if let Some(entry) = known {
            let (current, offered) = (entry.facts.sequence, said.sequence);
            if offered < current || (offered == current && entry.signed != *record.signed()) {
                return Err(RegisterError::Stale { host: said.host, current, offered });
            }
        }
        if let Some((reason, wait)) = self.judged.rejection(&said.host, now) {
            return Err(RegisterError::NotThere { reason, wait });
        }
        let mut contends = false;
        if let Some(holder) = self.holder(&said.name, now).filter(|holder| *holder != said.host) {
            let holder_stands = self.get(&holder).is_some_and(|entry| entry.reach.standing == Standing::Verified);
            if holder_stands || !verifies {
                return Err(RegisterError::NameTaken { name: said.name.clone(), holder });
            }
            contends = true;
        }
        if known.is_none() && self.entries.len() >= hosts_max {
            self.forget_one_expired(now).ok_or(RegisterError::Full { hosts_max })?;
        }
        Ok(contends)
    }

    /// The live host that holds a name.
    pub fn holder(&self, name: &HostName, now: Timestamp) -> Option<HostId> {
        let host = self.names.get(name)?;
        self.get(host)?.is_live(now).then_some(*host)
    }

    /// The host leaves: it is not live from now on. True where it was.
    pub fn withdraw(&mut self, host: &HostId, now: Timestamp) -> bool {
        let now = self.settle(now);
        let Some(entry) = self.get_mut(host).filter(|entry| entry.is_live(now)) else { return false };
        entry.count_until(now);
        (entry.last_seen, entry.expires_at, entry.is_gone, entry.was_live) = (now, now, true, false);
        let name = entry.facts.name.clone();
        self.watch_host(host);
        self.tell(What::Left, *host, &name);
        true
    }

    /// Sees to it that the entry is looked at when it expires, or, where it has expired already, when it is forgotten.
    fn watch(&mut self, place: usize) {
        let entry = &self.entries[place];
        let until = if entry.was_live { entry.expires_at } else { entry.forgotten_at(self.policy.memory) };
        self.expiring.set(entry.facts.host, until);
    }

    /// The same for a host.
    fn watch_host(&mut self, host: &HostId) {
        if let Some(place) = self.places.get(host).copied() {
            self.watch(place);
        }
    }

    /// The time to use for a look; a time that a slightly later one overtook becomes that one. `None` where the clock was
    /// put back, so that [`Registry::settle`] has to be called.
    pub fn time(&self, now: Timestamp) -> Option<Timestamp> {
        const OVERTAKING_MAX: TimeSpan = TimeSpan::from_seconds(1);
        if now >= self.latest {
            return Some(now);
        }
        (self.latest.since(now) <= OVERTAKING_MAX).then_some(self.latest)
    }

    /// Takes notice of the time, and returns it; a time that a slightly later one overtook becomes that one. Where the
    /// clock was put back, what had expired stays so, and nothing stays live for longer than if it had registered just
    /// now.
    pub fn settle(&mut self, now: Timestamp) -> Timestamp {
        let settled = self.time(now).unwrap_or_else(|| {
            for entry in &mut self.entries {
                entry.is_gone = entry.is_gone || self.latest >= entry.expires_at;
                entry.expires_at = entry.expires_at.min(now.plus(self.policy.expiry));
                entry.last_seen = entry.last_seen.min(now);
                entry.counted_until = entry.counted_until.min(now);
            }
            (0..self.entries.len()).for_each(|place| self.watch(place));
            now
        });
        self.latest = settled;
        settled
    }

    /// Notices who has expired, forgets what expired longer ago than it is remembered, and returns who was forgotten
    /// since this was called last.
    pub fn tidy(&mut self, now: Timestamp) -> Vec<HostId> {
        let now = self.settle(now);
        let memory = self.policy.memory;
        while let Some(host) = self.expiring.next(now) {
            let Some(entry) = self.get_mut(&host) else { continue };
            if entry.was_live && now >= entry.expires_at {
                entry.was_live = false;
                let name = entry.facts.name.clone();
                self.tell(What::Expired, host, &name);
            }
            let Some(entry) = self.get(&host) else { continue };
            if !entry.is_live(now) && now >= entry.forgotten_at(memory) {
                self.forget(&host);
            } else {
                self.watch_host(&host);
            }
        }
        self.texts.tidy();
        self.judged.tidy(now);
        let mut forgotten = std::mem::take(&mut self.forgotten);
        // Who came back is not to be removed from the store.
        forgotten.retain(|host| !self.places.contains_key(host));
        forgotten
    }

    /// Forgets what expired first, where more hosts are remembered than may be.
    pub(crate) fn shrink(&mut self, now: Timestamp) {
        while self.entries.len() > self.policy.hosts_max && self.forget_one_expired(now).is_some() {}
    }

    /// Makes room: forgets what expired first.
    fn forget_one_expired(&mut self, now: Timestamp) -> Option<()> {
        let expired = self.entries.iter().filter(|entry| !entry.is_live(now));
        let host = expired.min_by_key(|entry| entry.expires_at)?.facts.host;
        self.forget(&host);
        Some(())
    }

    fn forget(&mut self, host: &HostId) {
        let Some(place) = self.places.remove(host) else { return };
        self.forgotten.push(*host);
        self.expiring.remove(host);
        let entry = self.entries.swap_remove(place);
        self.labels.change(*host, &entry.facts.labels, &[]);
        if let Some(moved) = self.entries.get(place) {
            self.places.insert(moved.facts.host, place);
        }
        self.release_all(&entry);
        self.release(host, &entry.facts.name);
    }

    fn release(&mut self, host: &HostId, name: &HostName) {
        if self.names.get(name) == Some(host) {
            self.names.remove(name);
        }
    }

    /// A host, live or remembered.
    pub fn get(&self, host: &HostId) -> Option<&Entry> {
        self.places.get(host).map(|place| &self.entries[*place])
    }

    fn get_mut(&mut self, host: &HostId) -> Option<&mut Entry> {
        self.places.get(host).map(|place| &mut self.entries[*place])
    }

    /// All live hosts, in no order.
    pub fn live(&self, now: Timestamp) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.is_live(now))
    }

    /// The ids of all hosts, live and remembered, in no order.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = &HostId> {
        self.places.keys()
    }

    /// All hosts, live and remembered, in no order.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// A page of live hosts that match.
    pub fn query<'a>(&'a self, now: Timestamp, query: &HostQuery) -> Page<'a> {
        let sort = &query.sort;
        let mut matching: Vec<(crate::order::Place<'a>, &'a Entry)> = Vec::new();
        let mut total = 0;
        let start = query.after.as_ref().map(Cursor::place);
        let mut look_at = |entry: &'a Entry| {
            if !query.with_remembered && !entry.is_live(now) {
                return;
            }
            let uptime = UptimeAt { entry, now };
            let (facts, standing) = (&entry.facts, entry.reach.standing);
            let seen = Seen { facts, standing, uptime: &uptime, silence: now.since(entry.last_seen) };
            if !query.matches(&seen) {
                return;
            }
            total += 1;
            let place = sort.place(&seen);
            if start.is_none_or(|start| sort.compare(&place, &start).is_gt()) {
                matching.push((place, entry));
            }
        };
        match self.labels.candidates(&query.label_wishes()) {
            Some(hosts) => hosts.filter_map(|host| self.get(host)).for_each(&mut look_at),
            None => self.entries.iter().for_each(&mut look_at),
        }
        let size = query.size.unwrap_or(PAGE_HOSTS).clamp(1, PAGE_HOSTS_MAX);
        let following = matching.len();
        if following > size {
            // Only what is on the page has to be in order.
            matching.select_nth_unstable_by(size, |(one, _), (other, _)| sort.compare(one, other));
            matching.truncate(size);
        }
        matching.sort_unstable_by(|(one, _), (other, _)| sort.compare(one, other));
        let mut bytes = 0;
        let fitting = matching.iter().take_while(|(_, entry)| {
            // The first fits always: a record is smaller than a page.
            let fits = bytes == 0 || bytes + entry.signed.json().len() <= self.policy.page_bytes_max;
            bytes += entry.signed.json().len();
            fits
        });
        let shown = fitting.count();
        matching.truncate(shown);
        let next = (shown < following).then(|| matching.last().map(|(place, _)| Cursor::at(place))).flatten();
        Page { hosts: matching.into_iter().map(|(_, entry)| entry).collect(), total, next }
    }

    /// Puts an entry back that was stored.
    pub(crate) fn restore(&mut self, entry: Entry) {
        let (host, name) = (entry.facts.host, entry.facts.name.clone());
        // Of two stored entries with one name, the later one holds it.
        let holder = self.names.get(&name).and_then(|holder| self.get(holder));
        if !entry.contends && holder.is_none_or(|holder| holder.expires_at <= entry.expires_at) {
            self.names.insert(name, host);
        }
        self.claim_all(host, &[], &entry.facts.addresses);
        if self.policy.verifies {
            // Who was not judged yet is asked at once.
            let due = entry.reach.checked_at.map_or(entry.last_seen, |checked| checked.plus(RECHECK));
            self.judged.is_due(host, due);
        }
        self.labels.change(host, &[], &entry.facts.labels);
        self.places.insert(host, self.entries.len());
        self.entries.push(entry);
        self.watch(self.entries.len() - 1);
    }

    /// Facts of a record, with the texts of this registry.
    pub(crate) fn facts_of(&mut self, record: &crate::record::HostRecord) -> Facts {
        Facts::of(record, &mut self.texts)
    }
}
