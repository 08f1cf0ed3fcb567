//! How a host's state is kept: record by record in a tree, many to a row (see `packs`), and what comes in and what is told
//! of it in another. Whatever a change has changed is written together and flushed once, so that it is on disk whole or not
//! at all.
//!
//! ```text
//! state                     what there is once: version, owner's policy, marks of CPU times
//! packs/market/…            the market: head, account/…, statistics/…, unique/…, closed/…
//! packs/account/…  packs/closed/…   what is remembered of open and of closed accounts beside their money
//! packs/escrow/…            what the bank is to be told of an escrow
//! packs/keys/…              whose keys are whose, by account
//! packs/kept-alive/…        domains that are started again when they end, by the hypervisor's names
//! charges/…                 what was charged lately, by number
//!
//! log/…                     what came in since the records were written, by number
//! events/…                  what happened lately, by number
//! ```
//!
//! The small rows that are written all the time have a tree of their own, since the database writes a leaf, which is
//! sixteen rows, again after every few changes to it: next to the packs that would be a megabyte. Earlier programs had them
//! among the records.
//!
//! Until version 2 all but the charges was one value, in version 3 each record a row, and in 4 the log was among the packs. Charges are written as
//! `packed_charges` says, and were JSON before.
//!
//! A tick changes every account, and a bid the shares of everybody: with a thousand accounts nearly every record. So that
//! they cost little, only what came in is written to the log (see `log`), and what follows from it with the next change
//! of another kind, or when the log has become long. After a crash the log is applied anew, in its order and each entry
//! at its time, to what the records say: the market is a pure machine, so that the same comes out.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sled::Transactional as _;
use sled::transaction::{ConflictableTransactionError, TransactionError};
use tycoon_market::auctioneer::{Auctioneer, HostConfig, Part, PartChange};
use tycoon_market::{AccountId, Credits, EscrowId, HostAccountId, HostName, TimeSpan, Timestamp};
use tycoon_rpc::reclaim;

use super::charges::{ChargeBook, Versions};
use super::keep::KeptAlive;
use super::keys::{AccountKeys, KeyBook};
use super::log::Entry;
use super::packed_charges::PackedCharges;
use super::packs::{PACKS, Touched};
use super::state::{AccountNotes, ClosedNotes, State, VERSION};
use super::statements::StatementNotes;
use super::{DaemonError, alone, packs};
use crate::events::{EVENTS_KEPT, HostEvent};
use crate::policy::OwnerPolicy;

/// The key of what there is once.
const STATE_KEY: &[u8] = b"state";
/// The version in which everything was one value.
const WHOLE_VERSION: u32 = 2;
/// The version in which each record was a row.
const ROWS_VERSION: u32 = 3;
/// The version in which the log was among the packs.
const PACKS_VERSION: u32 = 4;
const MARKET: &str = "market/";
const ACCOUNT: &str = "account/";
const CLOSED: &str = "closed/";
const STATEMENT: &str = "escrow/";
const KEYS: &str = "keys/";
const KEPT_ALIVE: &str = "kept-alive/";
/// What the keys of the charges of an interval begin with; the number of the interval follows.
const CHARGES: &[u8] = b"charges/";
/// What the keys of events begin with; their number follows.
const EVENTS: &[u8] = b"events/";

/// What the keys of the log begin with; the number of the entry follows.
const LOG: &[u8] = b"log/";
/// The same, as earlier programs kept bids.
const BIDS: &[u8] = b"bid/";

/// Entries of the log at most; then all is saved.
const LOG_MAX: u64 = 1_024;
/// Ticks among them at most, and bytes of all together: so long may reading it anew take.
const LOG_TICKS_MAX: u64 = 256;
const LOG_BYTES_MAX: usize = 8 << 20;
/// Rows whose old versions are freed with each writing: it seldom has more, and what remains is freed with the next ones.
const ROWS_FREED: usize = 2_048;

/// What the records are worth.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Records {
    /// They say what was in memory before the last change: what differs is written.
    Current,
    /// They lack what is in the log, or in memory only: all are written anew, when something cannot be kept beside them.
    Behind,
    /// There are none, or they have the form of an earlier version, or their log was read once already, or they have what
    /// was forgotten: nothing is kept beside them, and the next change writes all anew.
    ToBeWhole,
}

/// What is on disk.
struct OnDisk {
    records: Records,
    /// The charges that are there.
    charges: Versions,
    /// The numbers of the log's entries: from the first to before the second.
    log: (u64, u64),
    ticks: u64,
    bytes: usize,
}

impl OnDisk {
    /// Something is in the log, or in memory only.
    fn fall_behind(&mut self) {
        if self.records == Records::Current {
            self.records = Records::Behind;
        }
    }
}

/// Called before a change is written and after it is on disk, so that a test can end the process there.
pub type SaveHook = Arc<dyn Fn() + Send + Sync>;

/// Keeps the state of one host in a tree.
pub(super) struct Store {
    host: HostName,
    tree: sled::Tree,
    log: sled::Tree,
    on_disk: Mutex<OnDisk>,
    hook: Option<SaveHook>,
}

/// The part of a state that every version has.
#[derive(Deserialize)]
struct VersionOnly {
    version: u32,
}

/// What there is once.
#[derive(Serialize)]
struct OnceRef<'a> {
    version: u32,
    founded_at: Timestamp,
    cpu_marks: &'a Option<BTreeMap<String, TimeSpan>>,
    policy: &'a OwnerPolicy,
    banned: &'a BTreeSet<AccountId>,
    earned: Credits,
    last_event: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Once {
    #[expect(dead_code, reason = "it was read before")]
    version: u32,
    founded_at: Timestamp,
    cpu_marks: Option<BTreeMap<String, TimeSpan>>,
    policy: OwnerPolicy,
    banned: BTreeSet<AccountId>,
    earned: Credits,
    last_event: u64,
}

impl<'a> OnceRef<'a> {
    fn of(state: &'a State) -> Self {
        Self {
            version: VERSION,
            founded_at: state.founded_at,
            cpu_marks: &state.cpu_marks,
            policy: &state.policy,
            banned: &state.banned,
            earned: state.earned,
            last_event: state.last_event,
        }
    }
}

/// What is written together, in both trees.
struct Writing<'a> {
    store: &'a Store,
    records: sled::Batch,
    log: sled::Batch,
}

impl Writing<'_> {
    fn put_events(&mut self, events: &[HostEvent]) -> Result<(), DaemonError> {
        for event in events {
            self.log.insert(event_key(event.number), self.store.written(event)?);
            if let Some(old) = event.number.checked_sub(EVENTS_KEPT as u64) {
                self.log.remove(event_key(old));
            }
        }
        Ok(())
    }

    /// Moves what earlier programs had among the records to where it belongs now. What is in their log, the records have.
    fn move_log(&mut self, last_event: u64) -> Result<(), DaemonError> {
        let is_kept = |number: u64| number.saturating_add(EVENTS_KEPT as u64) > last_event;
        for prefix in [EVENTS, LOG, BIDS] {
            for entry in self.store.tree.scan_prefix(prefix) {
                let (key, value) = entry.map_err(|source| self.store.failed("read", source))?;
                if prefix == EVENTS && number_in(&key, EVENTS).is_some_and(is_kept) {
                    self.log.insert(&key, value);
                }
                self.records.remove(key);
            }
        }
        Ok(())
    }

    /// Puts what differs between two maps.
    fn put_changes<K: Ord + ToString, V: Serialize + PartialEq>(
        &mut self,
        collection: &str,
        now: &BTreeMap<K, V>,
        before: Option<&BTreeMap<K, V>>,
    ) -> Result<(), DaemonError> {
        let touched = before.map_or(Touched::ALL, |before| {
            let changed = now.iter().filter(|(name, value)| before.get(name) != Some(value)).map(|(name, _)| name);
            let gone = before.keys().filter(|name| !now.contains_key(*name));
            Touched::by(changed.chain(gone).map(K::to_string))
        });
        self.put_packs(collection, &touched, || now.iter().map(|(name, value)| (name.to_string(), value)))
    }

    /// Puts the touched packs of a collection that consists of these records.
    fn put_packs<V: Serialize, I: Iterator<Item = (String, V)>>(
        &mut self,
        collection: &str,
        touched: &Touched,
        records: impl FnOnce() -> I,
    ) -> Result<(), DaemonError> {
        if touched.is_empty() {
            return Ok(());
        }
        for (number, records) in packs::sorted(touched, records()) {
            let key = packs::key(collection, number);
            if records.is_empty() {
                self.records.remove(key);
            } else {
                self.records.insert(key, packs::packed(&records).map_err(|error| self.store.damaged_pack(error))?);
            }
        }
        Ok(())
    }
}

impl Store {
    pub(super) fn new(host: HostName, tree: sled::Tree, log: sled::Tree) -> Self {
        let on_disk = OnDisk { records: Records::ToBeWhole, charges: Versions::new(), log: (0, 0), ticks: 0, bytes: 0 };
        Self { host, tree, log, on_disk: Mutex::new(on_disk), hook: None }
    }

    /// The same with a hook.
    pub(super) fn set_hook(&mut self, hook: SaveHook) {
        self.hook = Some(hook);
    }

    /// The state that is kept; a new one, not yet saved, where there is none.
    pub(super) fn open(&self, config: &HostConfig, now: Timestamp) -> Result<State, DaemonError> {
        let fresh = Auctioneer::new(config.clone(), now)
            .map_err(|error| DaemonError::Config { host: self.host.clone(), reason: error.to_string() })?;
        let Some(bytes) = self.tree.get(STATE_KEY).map_err(|source| self.failed("read", source))? else {
            return Ok(State::new(fresh, now));
        };
        let VersionOnly { version } = self.parsed(&bytes)?;
        let mut on_disk = alone(&self.on_disk);
        let mut state = match version {
            VERSION => {
                on_disk.records = Records::Current;
                self.read(self.parsed(&bytes)?, true, now)?
            }
            PACKS_VERSION => self.read(self.parsed(&bytes)?, true, now)?,
            ROWS_VERSION => self.read(self.parsed(&bytes)?, false, now)?,
            WHOLE_VERSION => State { version: VERSION, ..self.parsed(&bytes)? },
            found => return Err(DaemonError::Version { host: self.host.clone(), found, known: VERSION }),
        };
        let mut charges = BTreeMap::new();
        for entry in self.tree.scan_prefix(CHARGES) {
            let (key, value) = entry.map_err(|source| self.failed("read", source))?;
            if let Some(number) = number_in(&key, CHARGES) {
                charges.insert(number, PackedCharges::read(&value).map_err(|source| self.damaged(source))?);
            }
        }
        state.charges = ChargeBook::of(charges);
        on_disk.charges = state.charges.versions();
        let (told, mut may_be_untold) = (state.last_event, false);
        for entry in self.tree.scan_prefix(BIDS) {
            let (_, value) = entry.map_err(|source| self.failed("read", source))?;
            state.take_entry(Entry::Bid(self.parsed(&value)?));
            on_disk.records = Records::ToBeWhole;
        }
        for entry in self.tree.scan_prefix(LOG).chain(self.log.scan_prefix(LOG)) {
            let (key, value) = entry.map_err(|source| self.failed("read", source))?;
            // What was told of the entry before is there.
            state.news.clear();
            let entry: Entry = self.parsed(&value)?;
            may_be_untold = version >= PACKS_VERSION && entry.is_tick();
            state.take_entry(entry);
            let number = number_in(&key, LOG).unwrap_or_default();
            let first = if on_disk.log == (0, 0) { number } else { on_disk.log.0 };
            on_disk.log = (first, number.saturating_add(1));
            // Whoever opens it next is not to read it again.
            on_disk.records = Records::ToBeWhole;
        }
        if !may_be_untold {
            state.news.clear();
        }
        // A crash can come between a tick and what is told of it; then that is told now, after all that was told before.
        let told = self.last_told()?.unwrap_or_default().max(told);
        for (event, number) in state.news.iter_mut().zip(told.saturating_add(1)..) {
            event.number = number;
        }
        state.last_event = told.saturating_add(state.news.len() as u64);
        Ok(state)
    }

    /// Has everything written anew with what comes next.
    pub(super) fn write_all_next(&self) {
        alone(&self.on_disk).records = Records::ToBeWhole;
    }

    /// Keeps in mind that the state is changed without the records.
    pub(super) fn leave_behind(&self) {
        alone(&self.on_disk).fall_behind();
    }

    /// Keeps what came in, and what is told of it; both are on disk on return. False where it cannot be kept by itself:
    /// then the whole state is to be saved.
    pub(super) fn keep(&self, entry: &Entry, news: &[HostEvent]) -> Result<bool, DaemonError> {
        let mut on_disk = alone(&self.on_disk);
        let ticks = on_disk.ticks + u64::from(entry.is_tick());
        let is_long = on_disk.log.1.saturating_sub(on_disk.log.0) >= LOG_MAX || ticks > LOG_TICKS_MAX;
        if on_disk.records == Records::ToBeWhole || is_long || on_disk.bytes >= LOG_BYTES_MAX {
            return Ok(false);
        }
        let mut writing = self.writing();
        let number = on_disk.log.1;
        let bytes = self.written(entry)?;
        on_disk.bytes = on_disk.bytes.saturating_add(bytes.len());
        writing.log.insert([LOG, &number.to_be_bytes()].concat(), bytes);
        writing.put_events(news)?;
        self.write(|| self.log.apply_batch(writing.log))?;
        on_disk.fall_behind();
        on_disk.log.1 = number.saturating_add(1);
        on_disk.ticks = ticks;
        Ok(true)
    }

    fn writing(&self) -> Writing<'_> {
        Writing { store: self, records: sled::Batch::default(), log: sled::Batch::default() }
    }

    fn written<T: Serialize>(&self, value: &T) -> Result<Vec<u8>, DaemonError> {
        serde_json::to_vec(value).map_err(|source| self.damaged(source))
    }

    fn write(&self, apply: impl FnOnce() -> sled::Result<()>) -> Result<(), DaemonError> {
        self.strike();
        apply().map_err(|source| self.failed("written", source))?;
        // The file of both.
        self.log.flush().map_err(|source| self.failed("written", source))?;
        reclaim::after_writing(ROWS_FREED);
        self.strike();
        Ok(())
    }

    fn read(&self, once: Once, is_packed: bool, now: Timestamp) -> Result<State, DaemonError> {
        let parts: Vec<Part> = self.records(MARKET, is_packed)?.into_iter().map(|(_, part)| part).collect();
        let auctioneer = Auctioneer::of_parts(parts)
            .ok_or_else(|| self.damaged(serde::de::Error::custom("the market itself is missing among its records")))?;
        let keys = self.named::<AccountId, AccountKeys>(KEYS, is_packed)?;
        let mut state = State::new(auctioneer, now);
        state.founded_at = once.founded_at;
        state.accounts = self.named::<HostAccountId, AccountNotes>(ACCOUNT, is_packed)?.into();
        state.closed = self.named::<HostAccountId, ClosedNotes>(CLOSED, is_packed)?.into();
        state.keys = KeyBook::of(keys).into();
        state.cpu_marks = once.cpu_marks;
        state.statements = self.named::<EscrowId, StatementNotes>(STATEMENT, is_packed)?.into();
        state.kept_alive = self.named::<String, KeptAlive>(KEPT_ALIVE, is_packed)?;
        state.policy = once.policy;
        state.banned = once.banned;
        state.earned = once.earned;
        state.last_event = once.last_event;
        Ok(state)
    }

    /// The records of a collection, by name.
    fn records<T: DeserializeOwned>(&self, prefix: &str, is_packed: bool) -> Result<Vec<(String, T)>, DaemonError> {
        let mut found = Vec::new();
        let rows = if is_packed { [PACKS, prefix].concat() } else { prefix.to_owned() };
        for entry in self.tree.scan_prefix(&rows) {
            let (key, value) = entry.map_err(|source| self.failed("read", source))?;
            if is_packed {
                found.extend(packs::unpacked::<T>(&value).map_err(|error| self.damaged_pack(error))?);
            } else {
                let name = String::from_utf8_lossy(key.get(rows.len()..).unwrap_or_default()).into_owned();
                found.push((name, self.parsed(&value)?));
            }
        }
        Ok(found)
    }

    /// The same with names that were read.
    fn named<K: Ord + std::str::FromStr, T: DeserializeOwned>(
        &self,
        prefix: &str,
        is_packed: bool,
    ) -> Result<BTreeMap<K, T>, DaemonError> {
        let named = |(name, value): (String, T)| {
            let name = name.parse().map_err(|_| {
                self.damaged(serde::de::Error::custom(format_args!("`{prefix}{name}` is no name of a record")))
            })?;
            Ok((name, value))
        };
        self.records(prefix, is_packed)?.into_iter().map(named).collect()
    }

    fn parsed<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, DaemonError> {
        serde_json::from_slice(bytes).map_err(|source| self.damaged(source))
    }

    /// The number of the last event that is kept.
    fn last_told(&self) -> Result<Option<u64>, DaemonError> {
        let mut last = None;
        for tree in [&self.tree, &self.log] {
            let key = tree.scan_prefix(EVENTS).keys().next_back().transpose();
            last = last.max(key.map_err(|source| self.failed("read", source))?.and_then(|key| number_in(&key, EVENTS)));
        }
        Ok(last)
    }

    /// The events that are kept, in their order.
    pub(super) fn events(&self) -> Result<Vec<HostEvent>, DaemonError> {
        let mut events = Vec::new();
        for entry in self.tree.scan_prefix(EVENTS).chain(self.log.scan_prefix(EVENTS)) {
            let (_, value) = entry.map_err(|source| self.failed("read", source))?;
            events.push(self.parsed(&value)?);
        }
        Ok(events)
    }

    /// Saves the state, which was `before` until now; it is on disk on return, all of it or nothing.
    pub(super) fn save(&self, state: &State, before: &State) -> Result<(), DaemonError> {
        let mut on_disk = alone(&self.on_disk);
        let known = (on_disk.records == Records::Current).then_some(before);
        let mut writing = self.writing();
        if known.is_none() {
            // What is there still is written below.
            for prefix in [PACKS, MARKET, ACCOUNT, CLOSED, STATEMENT, KEYS, KEPT_ALIVE] {
                for key in self.tree.scan_prefix(prefix).keys() {
                    writing.records.remove(key.map_err(|source| self.failed("read", source))?);
                }
            }
            writing.move_log(state.last_event)?;
        }
        // Small, and written each time: so it also tells that there was a change.
        writing.records.insert(STATE_KEY, self.written(&OnceRef::of(state))?);
        let touched = known.map_or(Touched::ALL, |before| {
            Touched::by(
                state.auctioneer.changed_parts(Some(&before.auctioneer)).iter().map(|part| part.key().to_string()),
            )
        });
        let parts = || state.auctioneer.changed_parts(None).into_iter().filter_map(PartChange::now);
        writing.put_packs(MARKET, &touched, || parts().map(|(name, part)| (name.to_string(), part)))?;
        writing.put_changes(ACCOUNT, &state.accounts, known.map(|before| &*before.accounts))?;
        writing.put_changes(CLOSED, &state.closed, known.map(|before| &*before.closed))?;
        writing.put_changes(STATEMENT, &state.statements, known.map(|before| &*before.statements))?;
        writing.put_changes(KEPT_ALIVE, &state.kept_alive, known.map(|before| &before.kept_alive))?;
        if known.is_none_or(|before| before.keys != state.keys) {
            let before = known.map(|before| before.keys.by_account());
            writing.put_changes(KEYS, &state.keys.by_account(), before.as_ref())?;
        }
        for (number, charges) in state.charges.changes_since(&on_disk.charges) {
            let key = [CHARGES, &number.to_be_bytes()].concat();
            match charges {
                Some(charges) => writing.records.insert(key, charges),
                None => writing.records.remove(key),
            }
        }
        writing.put_events(&state.news)?;
        // An entry of which it is not known whether it was written has the next number.
        for number in on_disk.log.0..=on_disk.log.1 {
            writing.log.remove([LOG, &number.to_be_bytes()].concat());
        }
        let Writing { records, log, .. } = &writing;
        self.write(|| {
            let both = (&self.tree, &self.log).transaction(|(of_records, of_log)| {
                of_records.apply_batch(records)?;
                of_log.apply_batch(log)?;
                Ok::<_, ConflictableTransactionError<Infallible>>(())
            });
            both.map_err(|error| match error {
                TransactionError::Storage(source) => source,
                TransactionError::Abort(never) => match never {},
            })
        })?;
        let (charges, next) = (state.charges.versions(), on_disk.log.1.saturating_add(1));
        *on_disk = OnDisk { records: Records::Current, charges, log: (next, next), ticks: 0, bytes: 0 };
        Ok(())
    }

    fn strike(&self) {
        if let Some(hook) = &self.hook {
            hook();
        }
    }

    fn failed(&self, action: &'static str, source: sled::Error) -> DaemonError {
        DaemonError::Store { host: self.host.clone(), action, source }
    }

    fn damaged_pack(&self, error: std::io::Error) -> DaemonError {
        self.damaged(serde::de::Error::custom(error))
    }

    fn damaged(&self, source: serde_json::Error) -> DaemonError {
        DaemonError::Damaged { host: self.host.clone(), source }
    }
}

/// The number that follows `prefix` in a key.
fn number_in(key: &[u8], prefix: &[u8]) -> Option<u64> {
    key.get(prefix.len()..).and_then(|number| number.try_into().ok()).map(u64::from_be_bytes)
}

fn event_key(number: u64) -> Vec<u8> {
    [EVENTS, &number.to_be_bytes()].concat()
}
