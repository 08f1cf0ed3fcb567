//! The registry in a sled tree, so that a restarted SLS is useful at once.
//!
//! Nothing here must survive: hosts register again in half a minute. So writes are not waited for, and what cannot be
//! read, or is not signed as it should be, is left out and counted.
//!
//! A database takes as much time for one record as all the rest of a registration, and records are much alike. So they
//! are kept in groups, by the first bits of the host's id, and a group is compressed: of a hundred thousand hosts two
//! dozen each, of a hundred hosts nearly always one.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sled::Tree;
use thiserror::Error;
use tycoon_market::{HostId, PublicKey, TimeSpan, Timestamp};
use tycoon_rpc::compact;

use crate::reach::Reach;
use crate::record::SignedRecord;
use crate::registry::{Entry, Policy, Registry};
use crate::roll::SignedRoll;
use crate::uptime::Uptime;

/// The version of the values.
const VERSION: u32 = 1;
/// The number of bits of a host's id that say its group.
const GROUP_BITS: u32 = 12;
/// The bytes of the keys of groups. The keys of earlier programs, which kept each host by itself, are ids, and longer.
const GROUP_KEY_BYTES: usize = 2;
/// The key of the time when this SLS last wrote. It is longer than an id, so it is none.
const ALIVE_KEY: &[u8] = b"when this service last wrote";
/// The keys of rolls: this and the key of the site, longer than an id too.
const ROLL_PREFIX: &[u8] = b"the roll of a site";
/// After a longer time than this, what is stored says nothing about what is live.
const DOWN_MAX: TimeSpan = TimeSpan::from_seconds(86_400);
/// That this service is running is noted this often, however much is written: it says for how long it was down.
const ALIVE_INTERVAL: TimeSpan = TimeSpan::from_seconds(1);

/// The database failed.
#[derive(Debug, Error)]
#[error("the registry's database failed while {doing}")]
pub struct StoreError {
    doing: &'static str,
    source: sled::Error,
}

/// Where a registry is kept.
#[derive(Clone, Debug)]
pub struct Store {
    tree: Tree,
    /// When it was noted last that this service is running, in microseconds; `i64::MIN` where it was not.
    noted: Arc<AtomicI64>,
}

/// A registry that was read back.
#[derive(Debug)]
pub struct Restored {
    /// The registry.
    pub registry: Registry,
    /// How many stored hosts (or groups of them) were left out because they could not be read or believed.
    pub damaged: usize,
    /// The groups that are to be written anew: a host of them is forgotten, or is stored as earlier programs did.
    pub to_write: Groups,
    /// What earlier programs stored, and is to be removed when the groups are written.
    pub(crate) rows: Vec<HostId>,
}

/// A number of hosts that are stored together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group(u16);

impl Group {
    /// How many there are.
    pub(crate) const COUNT: usize = 1 << GROUP_BITS;

    /// The group of a host.
    pub fn of(host: &HostId) -> Self {
        let [first, second, ..] = *host.as_bytes();
        Self(u16::from_be_bytes([first, second]) >> (u16::BITS - GROUP_BITS))
    }

    const fn key(self) -> [u8; GROUP_KEY_BYTES] {
        self.0.to_be_bytes()
    }
}

/// Some groups, which are taken in turns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Groups {
    groups: BTreeSet<Group>,
    /// The one that was taken last.
    last: Option<Group>,
}

impl Groups {
    /// Adds the group of a host.
    pub fn add(&mut self, host: &HostId) {
        self.groups.insert(Group::of(host));
    }

    /// Adds what was taken, and could not be written.
    pub fn put_back(&mut self, groups: impl IntoIterator<Item = Group>) {
        self.groups.extend(groups);
    }

    /// Takes out at most `most`: those that follow on the ones that were taken last, so that each has its turn.
    pub fn take(&mut self, most: usize) -> BTreeSet<Group> {
        use std::ops::Bound::{Excluded, Unbounded};
        let after = self.last.map_or(Unbounded, Excluded);
        let in_turn = self.groups.range((after, Unbounded)).chain(&self.groups).copied();
        let taken: Vec<Group> = in_turn.take(most.min(self.groups.len())).collect();
        self.last = taken.last().copied();
        let taken: BTreeSet<Group> = taken.into_iter().collect();
        self.groups.retain(|group| !taken.contains(group));
        taken
    }
}

/// A host as it is stored: borrowed where it is written.
#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    version: u32,
    signed: Cow<'a, SignedRecord>,
    first_seen: Timestamp,
    last_seen: Timestamp,
    expires_at: Timestamp,
    is_gone: bool,
    #[serde(default)]
    reach: Cow<'a, Reach>,
    uptime: Uptime,
    counted_until: Timestamp,
}

impl Store {
    /// Keeps a registry in `tree`.
    pub fn new(tree: Tree) -> Self {
        Self { tree, noted: Arc::new(AtomicI64::new(i64::MIN)) }
    }

    /// Reads the registry back. The time for which this service was down counts neither for nor against a host: what
    /// was live then is live now, and has as long to register again as it had.
    pub fn restore(&self, policy: Policy, now: Timestamp) -> Result<Restored, StoreError> {
        let failed = |source| StoreError { doing: "reading", source };
        let alive = self.tree.get(ALIVE_KEY).map_err(failed)?;
        let alive: Option<Timestamp> = alive.and_then(|value| serde_json::from_slice(&value).ok());
        let down = alive.map_or(TimeSpan::ZERO, |alive| now.since(alive));
        let mut registry = Registry::new(policy);
        let (mut damaged, mut rows) = (0, Vec::new());
        let mut restored = |value: &[u8], is_its_key: &dyn Fn(&HostId) -> bool| {
            let mut entry = entry(value, &mut registry).filter(|entry| is_its_key(&entry.facts.host))?;
            if registry.get(&entry.facts.host).is_some() {
                // A crash came before it was removed where an earlier program had put it.
                return Some(entry.facts.host);
            }
            if let Some(alive) = alive {
                entry.count_until(alive);
                let was_live = entry.is_live(alive);
                if was_live && down <= DOWN_MAX {
                    entry.expires_at = entry.expires_at.plus(down);
                }
            }
            // What is later than now was written by a clock that was fast.
            entry.last_seen = entry.last_seen.min(now);
            entry.expires_at = entry.expires_at.min(now.plus(policy.expiry));
            entry.counted_until = now;
            entry.was_live = entry.is_live(now);
            let host = entry.facts.host;
            registry.restore(entry);
            Some(host)
        };
        for item in &self.tree {
            let (key, value) = item.map_err(failed)?;
            if key == ALIVE_KEY || key.starts_with(ROLL_PREFIX) {
                continue;
            }
            if key.len() == GROUP_KEY_BYTES {
                match unpacked(&value) {
                    None => damaged += 1,
                    Some(hosts) => {
                        let is_its_key = |host: &HostId| Group::of(host).key() == *key;
                        let read = hosts.iter().filter_map(|host| restored(host.get().as_bytes(), &is_its_key)).count();
                        damaged += hosts.len() - read;
                    }
                }
            } else {
                match restored(&value, &|host| host.as_bytes() == &*key) {
                    None => damaged += 1,
                    Some(host) => rows.push(host),
                }
            }
        }
        registry.shrink(now);
        let mut to_write = Groups::default();
        registry.tidy(now).iter().chain(&rows).for_each(|host| to_write.add(host));
        Ok(Restored { registry, damaged, to_write, rows })
    }

    /// A group of hosts in the form in which it is written.
    pub(crate) fn listed<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Vec<u8> {
        let stored = entries.into_iter().map(|entry| Stored {
            version: VERSION,
            signed: Cow::Borrowed(&entry.signed),
            first_seen: entry.first_seen,
            last_seen: entry.last_seen,
            expires_at: entry.expires_at,
            // Who contends for a name has to do so again.
            is_gone: entry.is_gone || entry.contends,
            reach: Cow::Borrowed(&entry.reach),
            uptime: entry.uptime,
            counted_until: entry.counted_until,
        });
        let stored: Vec<_> = stored.collect();
        // All of it was read from JSON.
        if stored.is_empty() { Vec::new() } else { serde_json::to_vec(&stored).unwrap_or_default() }
    }

    /// Writes a group of hosts as it was listed; removes it where there are none.
    pub(crate) fn write(&self, group: Group, listed: &[u8]) -> Result<(), StoreError> {
        let failed = |source| StoreError { doing: "writing", source };
        if listed.is_empty() {
            return self.tree.remove(group.key()).map(drop).map_err(failed);
        }
        let packed = compact::compressed(listed).map_err(|error| failed(sled::Error::Io(error)))?;
        self.tree.insert(group.key(), packed).map(drop).map_err(failed)
    }

    /// The roll of a site, where one was written.
    pub fn roll(&self, site: &PublicKey) -> Result<Option<SignedRoll>, StoreError> {
        let value = self.tree.get(roll_key(site)).map_err(|source| StoreError { doing: "reading", source })?;
        Ok(value.and_then(|value| serde_json::from_slice(&value).ok()))
    }

    /// Writes the roll of a site, and waits until it is on disk.
    pub fn write_roll(&self, site: &PublicKey, roll: &SignedRoll) -> Result<(), StoreError> {
        let failed = |source| StoreError { doing: "writing", source };
        if let Ok(value) = serde_json::to_vec(roll) {
            self.tree.insert(roll_key(site), value).map_err(failed)?;
        }
        self.flush()
    }

    /// Removes what earlier programs stored of these hosts, each by itself.
    pub(crate) fn remove_rows(&self, hosts: &[HostId]) -> Result<(), StoreError> {
        hosts.iter().try_for_each(|host| {
            self.tree.remove(host.as_bytes()).map(drop).map_err(|source| StoreError { doing: "removing", source })
        })
    }

    /// Waits until everything written is on disk.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.tree.flush().map(drop).map_err(|source| StoreError { doing: "writing", source })
    }

    /// Notes that this service is running: what comes after counts against nobody.
    pub fn note_alive(&self, now: Timestamp) -> Result<(), StoreError> {
        let value = now.micros().to_string().into_bytes();
        self.tree.insert(ALIVE_KEY, value).map_err(|source| StoreError { doing: "writing", source })?;
        self.noted.store(now.micros(), Ordering::Relaxed);
        Ok(())
    }

    /// The same where that was not noted lately, by this clock.
    pub(crate) fn note_alive_now_and_then(&self, now: Timestamp) -> Result<(), StoreError> {
        let noted = Timestamp::from_micros(self.noted.load(Ordering::Relaxed));
        if now >= noted && now.since(noted) < ALIVE_INTERVAL { Ok(()) } else { self.note_alive(now) }
    }
}

fn roll_key(site: &PublicKey) -> Vec<u8> {
    [ROLL_PREFIX, site.as_bytes()].concat()
}

/// The hosts of a group, which are still to be read one by one; `None` where it is damaged.
fn unpacked(group: &[u8]) -> Option<Vec<Box<RawValue>>> {
    serde_json::from_slice(&compact::decompressed(group).ok()?).ok()
}

fn entry(value: &[u8], registry: &mut Registry) -> Option<Entry> {
    let stored = serde_json::from_slice(value).ok().filter(|stored: &Stored<'_>| stored.version == VERSION)?;
    let (record, signed) = stored.signed.into_owned().verify().ok()?.into_parts();
    Some(Entry {
        facts: registry.facts_of(&record),
        signed,
        first_seen: stored.first_seen,
        last_seen: stored.last_seen,
        expires_at: stored.expires_at,
        is_gone: stored.is_gone,
        contends: false,
        was_live: false,
        reach: stored.reach.into_owned(),
        observed: None,
        uptime: stored.uptime,
        counted_until: stored.counted_until,
    })
}
