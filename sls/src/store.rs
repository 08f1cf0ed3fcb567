//! The registry in a sled tree, so that a restarted SLS is useful at once.
//!
//! Nothing here must survive: hosts register again in half a minute. So writes are not waited for, and what cannot be
//! read, or is not signed as it should be, is left out and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use serde::{Deserialize, Serialize};
use sled::Tree;
use thiserror::Error;
use tycoon_market::{HostId, PublicKey, TimeSpan, Timestamp};

use crate::reach::Reach;
use crate::record::SignedRecord;
use crate::registry::{Entry, Policy, Registry};
use crate::roll::SignedRoll;
use crate::uptime::Uptime;

/// The version of the values.
const VERSION: u32 = 1;
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
    /// How many stored hosts were left out because they could not be read or believed.
    pub damaged: usize,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    signed: SignedRecord,
    first_seen: Timestamp,
    last_seen: Timestamp,
    expires_at: Timestamp,
    is_gone: bool,
    #[serde(default)]
    reach: Reach,
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
        let mut damaged = 0;
        for item in &self.tree {
            let (key, value) = item.map_err(failed)?;
            if key == ALIVE_KEY || key.starts_with(ROLL_PREFIX) {
                continue;
            }
            match entry(&key, &value, &mut registry) {
                None => damaged += 1,
                Some(mut entry) => {
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
                    registry.restore(entry);
                }
            }
        }
        registry.shrink(now);
        self.remove(&registry.tidy(now))?;
        Ok(Restored { registry, damaged })
    }

    /// Writes a host that registered or left.
    pub fn write(&self, entry: &Entry, now: Timestamp) -> Result<(), StoreError> {
        let stored = Stored {
            version: VERSION,
            signed: entry.signed.clone(),
            first_seen: entry.first_seen,
            last_seen: entry.last_seen,
            expires_at: entry.expires_at,
            // Who contends for a name has to do so again.
            is_gone: entry.is_gone || entry.contends,
            reach: entry.reach.clone(),
            uptime: entry.uptime,
            counted_until: entry.counted_until,
        };
        let host = entry.facts.host;
        if let Ok(value) = serde_json::to_vec(&stored) {
            self.tree.insert(host.as_bytes(), value).map_err(|source| StoreError { doing: "writing", source })?;
        }
        self.note_alive_now_and_then(now)
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

    /// Removes hosts that were forgotten.
    pub fn remove(&self, hosts: &[HostId]) -> Result<(), StoreError> {
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
    fn note_alive_now_and_then(&self, now: Timestamp) -> Result<(), StoreError> {
        let noted = Timestamp::from_micros(self.noted.load(Ordering::Relaxed));
        if now >= noted && now.since(noted) < ALIVE_INTERVAL { Ok(()) } else { self.note_alive(now) }
    }
}

fn roll_key(site: &PublicKey) -> Vec<u8> {
    [ROLL_PREFIX, site.as_bytes()].concat()
}

fn entry(key: &[u8], value: &[u8], registry: &mut Registry) -> Option<Entry> {
    let stored: Stored = serde_json::from_slice(value).ok().filter(|stored: &Stored| stored.version == VERSION)?;
    let (record, signed) = stored.signed.verify().ok()?.into_parts();
    (record.host.as_bytes() == key).then(|| Entry {
        facts: registry.facts_of(&record),
        signed,
        first_seen: stored.first_seen,
        last_seen: stored.last_seen,
        expires_at: stored.expires_at,
        is_gone: stored.is_gone,
        contends: false,
        was_live: false,
        reach: stored.reach,
        observed: None,
        uptime: stored.uptime,
        counted_until: stored.counted_until,
    })
}
