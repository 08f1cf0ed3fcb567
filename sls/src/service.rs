//! The SLS as a service.
//!
//! | call | by whom | answer |
//! |---|---|---|
//! | `POST /v1/hosts` | anybody who has a newer record that a host signed; with the host's signature any record | [`Registered`] |
//! | `DELETE /v1/hosts/{id}` | a host, for itself | [`Withdrawn`] |
//! | `GET /v1/hosts?…` | anybody | [`Listing`]; the query is [`HostQuery`], and `fields=` selects fields |
//! | `GET /v1/hosts/{id}` | anybody | [`Listed`] |
//! | `GET /v1/events?…` | anybody | [`HostEvent`]s, as they happen |
//! | `GET /v1/roll?site=KEY` | anybody | [`SignedRoll`](crate::roll::SignedRoll) |
//! | `POST /v1/roll` | anybody who has a newer roll of a site that is served | [`RollPublished`] |
//! | `GET /v1/sls` | anybody | [`SlsFacts`] |
//!
//! `fields=name,cpu.price` answers a [`Selection`] instead of a listing: hosts cut down to those fields, which nobody
//! signed any more. It is for eyes and small scripts.

mod calls;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use http::{Method, Request, Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tycoon_market::{HostId, PublicKey, TimeSpan, Timestamp};
use tycoon_rpc::events::{self, LAST_EVENT_ID};
use tycoon_rpc::{
    Begun, Call, Clock, Limits, PeerAddress, Problem, Receiver, ReplayPolicy, Service, Signer, receiver, routes,
};

use crate::fields::Field;
use crate::query::HostQuery;
use crate::reach::{Reach, Standing};
use crate::record::{RECORD_BYTES_MAX, RecordError, SignedRecord};
use crate::registry::{Callback, Entry, Judgement, Policy, RegisterError, Registry};
use crate::roll::{CheckedRoll, Rolls};
use crate::store::{Group, Groups, Restored, Store, StoreError};
use crate::uptime::UptimeFractions;
pub use calls::openapi;
use calls::{Named, ROUTES};
use watch::Watchers;
pub use watch::{HostEvent, MISSED};

/// How often what has expired is looked for.
const TIDY_INTERVAL: TimeSpan = TimeSpan::from_seconds(10);
/// The most fields that one query selects.
const FIELDS_MAX: usize = 32;
/// A host whose turn it was not is called back after this time.
const CALL_BACK_LATER: TimeSpan = TimeSpan::from_seconds(1);

/// The answer to a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// Until when the host is live at least, by this service's clock, in whole seconds.
    pub expires_at: Timestamp,
    /// How long a registration lasts; a host registers again in a quarter of it.
    pub expiry: TimeSpan,
    /// Whether the service knows that the host answers where it says.
    #[serde(default)]
    pub standing: Standing,
}

/// The answer to a host that leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withdrawn {
    /// False where it was not live any more.
    pub was_live: bool,
}

/// A host as a listing shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Listed {
    /// What the host says and signed.
    pub signed: SignedRecord,
    /// When it was first heard of.
    pub first_seen: Timestamp,
    /// When it was last heard of.
    pub last_seen: Timestamp,
    /// False where that is too long ago.
    pub is_live: bool,
    /// Where it is reached, as this service found out.
    #[serde(default)]
    pub reach: Reach,
    /// How much of the last hour, day and week it was there.
    pub uptime: UptimeFractions,
}

/// A page of hosts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Listing {
    /// The hosts, in the order that was asked for.
    pub hosts: Vec<Listed>,
    /// How many hosts match in all.
    pub total: usize,
    /// What to give as `page` for the hosts that follow; `None` on the last page.
    pub next_page: Option<String>,
}

/// A page of hosts, cut down to some fields. Nobody signed it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Selection {
    /// The hosts' fields, in the order that was asked for.
    pub selected: Vec<Map<String, Value>>,
    /// How many hosts match in all.
    pub total: usize,
    /// What to give as `page` for the hosts that follow; `None` on the last page.
    pub next_page: Option<String>,
}

/// The answer to a roll.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollPublished {
    /// Its number.
    pub sequence: u64,
    /// How many hosts it admits.
    pub hosts: usize,
}

/// What an SLS says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlsFacts {
    /// The key that signs its answers.
    pub key: PublicKey,
    /// The version of its program.
    pub software_version: String,
    /// How many hosts are live.
    pub live_hosts: usize,
    /// How many hosts are live or remembered.
    pub known_hosts: usize,
    /// How long a registration lasts.
    pub expiry: TimeSpan,
    /// True where it calls hosts back at their addresses.
    #[serde(default)]
    pub verifies: bool,
    /// The time by its clock.
    pub now: Timestamp,
}

/// What the service has counted since it started.
#[derive(Debug, Default)]
struct Counters {
    registrations: AtomicU64,
    refusals: AtomicU64,
    callbacks: AtomicU64,
    queries: AtomicU64,
}

/// What the service has counted, and how much it keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlsNumbers {
    /// Registrations accepted.
    pub registrations: u64,
    /// Registrations refused.
    pub refusals: u64,
    /// Hosts called back.
    pub callbacks: u64,
    /// Listings answered.
    pub queries: u64,
    /// Hosts that are live.
    pub live: u64,
    /// Live hosts that answered at their address.
    pub verified: u64,
    /// Hosts that are live or remembered.
    pub known: u64,
    /// Those who watch.
    pub watchers: u64,
}

/// The service.
pub struct SlsService {
    receiver: Receiver,
    store: Option<Store>,
    clock: Arc<dyn Clock>,
    state: RwLock<State>,
    /// Who stores a group is alone in it from looking at its hosts until they are written.
    storing: Mutex<()>,
    counters: Counters,
}

struct State {
    registry: Registry,
    watchers: Watchers,
    rolls: Rolls,
    /// The groups of hosts of which not all is stored yet.
    unstored: Groups,
    tidied_at: Timestamp,
}

impl SlsService {
    /// A service that signs with `signer`. With a `store` it starts with what that remembers, and keeps it there.
    pub fn open(
        signer: Arc<dyn Signer>,
        clock: Arc<dyn Clock>,
        replay: ReplayPolicy,
        policy: Policy,
        store: Option<Store>,
    ) -> Result<Self, StoreError> {
        let now = clock.now();
        let (mut registry, unstored, rows) = match &store {
            Some(store) => {
                let Restored { registry, to_write, rows, .. } = store.restore(policy, now)?;
                (registry, to_write, rows)
            }
            None => (Registry::new(policy), Groups::default(), Vec::new()),
        };
        // What was there before is no news.
        registry.take_changes();
        let receiver = Receiver::new(signer, clock.clone(), replay, Limits::DEFAULT);
        let state = State { registry, watchers: Watchers::new(now), rolls: Rolls::default(), unstored, tidied_at: now };
        let (state, storing) = (RwLock::new(state), Mutex::default());
        let service = Self { receiver, store, clock, state, storing, counters: Counters::default() };
        if let Some(store) = service.store.as_ref().filter(|_| !rows.is_empty()) {
            service.keep(usize::MAX)?;
            store.remove_rows(&rows)?;
        }
        Ok(service)
    }

    /// The same service with its gate changed.
    #[must_use]
    pub fn with_receiver(mut self, change: impl FnOnce(Receiver) -> Receiver) -> Self {
        self.receiver = change(self.receiver);
        self
    }

    /// The same service, which keeps the rolls of these sites.
    pub fn with_sites(self, sites: impl IntoIterator<Item = PublicKey>) -> Result<Self, StoreError> {
        let mut rolls = Rolls::of(sites);
        if let Some(store) = &self.store {
            for site in rolls.sites().copied().collect::<Vec<_>>() {
                if let Some(roll) = store.roll(&site)? {
                    // What is not believed any more is left out; the operator publishes again.
                    let _ = CheckedRoll::of(roll).and_then(|roll| rolls.publish(roll));
                }
            }
        }
        self.write().rolls = rolls;
        Ok(self)
    }

    /// The key that signs its answers.
    pub fn public_key(&self) -> PublicKey {
        self.receiver.public_key()
    }

    /// Waits until what is kept is on disk, before a clean end.
    pub fn flush(&self) -> Result<(), StoreError> {
        let Some(store) = &self.store else { return Ok(()) };
        self.keep(usize::MAX)?;
        store.note_alive(self.clock.now())?;
        store.flush()
    }

    /// What has to be done now and then: notices who has expired, tells who watches, and stores some `most` of the hosts that
    /// are not stored yet as they are now. What is not stored in time, the hosts will say again.
    pub fn maintain(&self, most: usize) -> Result<(), StoreError> {
        let now = self.clock.now();
        let mut state = self.write();
        state.tidy(now);
        state.watchers.tidy();
        drop(state);
        self.keep(most)
    }

    /// Stores some `most` of the hosts that are not stored yet.
    fn keep(&self, most: usize) -> Result<(), StoreError> {
        let Some(store) = &self.store else { return Ok(()) };
        let groups = {
            let mut state = self.write();
            let in_each = state.registry.entries().count().div_ceil(Group::COUNT).max(1);
            state.unstored.take(most.div_ceil(in_each))
        };
        self.store_groups(store, groups)?;
        store.note_alive_now_and_then(self.clock.now())
    }

    /// Stores groups of hosts; those that cannot be stored now have their turn again.
    fn store_groups(&self, store: &Store, groups: BTreeSet<Group>) -> Result<(), StoreError> {
        if groups.is_empty() {
            return Ok(());
        }
        let _alone = self.storing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut members: BTreeMap<Group, Vec<HostId>> = groups.into_iter().map(|group| (group, Vec::new())).collect();
        for host in self.read().registry.hosts() {
            if let Some(members) = members.get_mut(&Group::of(host)) {
                members.push(*host);
            }
        }
        while let Some((group, hosts)) = members.pop_first() {
            // One at a time, so that nobody waits for the disk.
            let listed = {
                let state = self.read();
                Store::listed(hosts.iter().filter_map(|host| state.registry.get(host)))
            };
            if let Err(error) = store.write(group, &listed) {
                self.write().unstored.put_back(members.into_keys().chain([group]));
                return Err(error);
            }
        }
        Ok(())
    }

    /// Whether the service can keep what it knows.
    pub fn check(&self) -> Result<(), StoreError> {
        self.store.as_ref().map_or(Ok(()), |store| store.note_alive(self.clock.now()))
    }

    /// What was counted.
    pub fn numbers(&self) -> SlsNumbers {
        let state = self.read();
        let now = self.clock.now();
        let live = || state.registry.live(now);
        let count = |number: usize| number as u64;
        SlsNumbers {
            registrations: self.counters.registrations.load(Ordering::Relaxed),
            refusals: self.counters.refusals.load(Ordering::Relaxed),
            callbacks: self.counters.callbacks.load(Ordering::Relaxed),
            queries: self.counters.queries.load(Ordering::Relaxed),
            live: count(live().count()),
            verified: count(live().filter(|entry| entry.reach.standing == Standing::Verified).count()),
            known: count(state.registry.entries().count()),
            watchers: count(state.watchers.count()),
        }
    }

    /// At most `most` hosts that are to be called back now.
    pub fn callbacks_due(&self, most: usize) -> Vec<Callback> {
        let due = self.write().registry.callbacks_due(self.clock.now(), most);
        self.counters.callbacks.fetch_add(due.len() as u64, Ordering::Relaxed);
        due
    }

    /// The host could not be called back now.
    pub fn call_back_later(&self, host: HostId) {
        let time = self.clock.now().plus(CALL_BACK_LATER);
        self.write().registry.call_back_at(host, time);
    }

    /// Takes notice of what calling back found.
    pub fn judge(&self, asked: &Callback, judgement: Judgement) {
        let now = self.clock.now();
        let mut state = self.write();
        state.registry.judge(asked, judgement, now);
        state.unstored.add(&asked.host);
        state.tell(now);
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        // Every change leaves the registry whole, so a thread that panicked left none half done.
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The registry as of now, for a change, and the time to use with it.
    fn current(&self, now: Timestamp) -> (RwLockWriteGuard<'_, State>, Timestamp) {
        let mut state = self.write();
        let now = state.registry.settle(now);
        if now < state.tidied_at || now.since(state.tidied_at) >= TIDY_INTERVAL {
            state.tidy(now);
        }
        (state, now)
    }

    /// The registry as of now, for a look, and the time to use with it.
    fn looked_at(&self, now: Timestamp) -> (RwLockReadGuard<'_, State>, Timestamp) {
        let state = self.read();
        if let Some(now) = state.registry.time(now) {
            return (state, now);
        }
        drop(state);
        let now = self.write().registry.settle(now);
        (self.read(), now)
    }

    fn answer(&self, call: &Call<'_>) -> Result<Response<Vec<u8>>, Problem> {
        let found = routes::find(ROUTES, call.request.method(), call.request.uri().path());
        let Some((route, parts)) = found else { return Err(call.no_such_call()) };
        match (route.call, parts.as_slice()) {
            (Named::Register, []) => {
                let registered = self.register(call);
                let counter = if registered.is_ok() { &self.counters.registrations } else { &self.counters.refusals };
                counter.fetch_add(1, Ordering::Relaxed);
                receiver::json(&registered?)
            }
            (Named::Withdraw, [host]) => receiver::json(&self.withdraw(call, host)?),
            (Named::List, []) => {
                self.counters.queries.fetch_add(1, Ordering::Relaxed);
                match call.query.get("fields") {
                    None => receiver::json(&self.list(call)?),
                    Some(fields) => receiver::json(&self.select(call, fields)?),
                }
            }
            (Named::Look, [host]) => receiver::json(&self.look(call, host)?),
            (Named::Events, []) => self.events(call),
            (Named::Roll, []) => self.roll(call),
            (Named::Publish, []) => receiver::json(&self.publish(call)?),
            (Named::Facts, []) => receiver::json(&self.facts(call.now)),
            _ => Err(call.no_such_call()),
        }
    }

    fn register(&self, call: &Call<'_>) -> Result<Registered, Problem> {
        // The envelope holds little more than the record, so more than this cannot be one.
        if call.request.body().len() > RECORD_BYTES_MAX + 1024 {
            return Err(refused_record(RecordError::TooLarge { bytes: call.request.body().len() }));
        }
        let signed: SignedRecord = call.json()?;
        let record = signed.verify().map_err(refused_record)?;
        let host = record.record().host;
        let is_own = match &call.signed {
            Some(signed) if record.record().key != signed.sender => return Err(not_yours(host)),
            signed => signed.is_some(),
        };
        let observed = call.request.extensions().get::<PeerAddress>().map(|address| address.0);
        let (mut state, now) = self.current(call.now);
        let expiry = state.registry.policy().expiry;
        // Without the host's word for the call, the record has to speak for itself: somebody else can have got hold of
        // one that was registered before.
        if let Some(known) = state.registry.get(&host).filter(|_| !is_own) {
            let (current, offered) = (known.facts.sequence, record.record().sequence);
            if offered <= current {
                return Err(refused_registration(RegisterError::Stale { host, current, offered }));
            }
        }
        let entry = state.registry.register(record, observed, now).map_err(refused_registration)?;
        // In whole seconds, so that all who register in one second are told the same, and one signature does for all.
        let expires_at = Timestamp::from_seconds(entry.expires_at.seconds());
        let registered = Registered { expires_at, expiry, standing: entry.reach.standing };
        state.unstored.add(&host);
        state.tell(now);
        Ok(registered)
    }

    fn withdraw(&self, call: &Call<'_>, host: &str) -> Result<Withdrawn, Problem> {
        let sender = call.sender()?;
        let host = host_id(host)?;
        if HostId::of(&sender) != host {
            return Err(not_yours(host));
        }
        let (mut state, now) = self.current(call.now);
        let was_live = state.registry.withdraw(&host, now);
        state.tell(now);
        drop(state);
        if let Some(store) = self.store.as_ref().filter(|_| was_live) {
            // A restarted service must not find it there.
            self.store_groups(store, [Group::of(&host)].into()).map_err(broken)?;
        }
        Ok(Withdrawn { was_live })
    }

    fn list(&self, call: &Call<'_>) -> Result<Listing, Problem> {
        self.page(call, listed).map(|(hosts, total, next_page)| Listing { hosts, total, next_page })
    }

    fn select(&self, call: &Call<'_>, fields: &str) -> Result<Selection, Problem> {
        let names: Vec<&str> = fields.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
        if names.len() > FIELDS_MAX {
            return Err(bad_fields(&format_args!(
                "it names {} fields; at most {FIELDS_MAX} are selected",
                names.len()
            )));
        }
        let mut selected: Vec<(&str, Option<Field>)> = Vec::new();
        for name in names {
            match name.parse::<Field>() {
                Ok(field) => selected.push((name, Some(field))),
                // A record may have fields that this program does not know.
                Err(_) if !name.contains('.') => selected.push((name, None)),
                Err(error) => return Err(bad_fields(&error)),
            }
        }
        let cut = |entry: &Entry, now: Timestamp| {
            let all: BTreeMap<&str, &RawValue> = match selected.iter().any(|(_, field)| field.is_none()) {
                true => serde_json::from_str(entry.signed.json()).unwrap_or_default(),
                false => BTreeMap::new(),
            };
            let values = selected.iter().filter_map(|(name, field)| {
                let value = match (field, *name) {
                    (Some(field), _) => entry.see(now, |seen| field.json(seen)),
                    (None, "reach") => serde_json::to_value(&entry.reach).ok()?,
                    (None, "uptime") => serde_json::to_value(entry.uptime(now)).ok()?,
                    (None, "last_seen") => entry.last_seen.micros().into(),
                    (None, "first_seen") => entry.first_seen.micros().into(),
                    (None, name) => serde_json::from_str(all.get(name)?.get()).ok()?,
                };
                Some(((*name).to_owned(), value))
            });
            values.collect::<Map<String, Value>>()
        };
        self.page(call, cut).map(|(selected, total, next_page)| Selection { selected, total, next_page })
    }

    fn page<T>(
        &self,
        call: &Call<'_>,
        show: impl Fn(&Entry, Timestamp) -> T,
    ) -> Result<(Vec<T>, usize, Option<String>), Problem> {
        let query = HostQuery::read(&call.query)?;
        let (state, now) = self.looked_at(call.now);
        let page = state.registry.query(now, &query);
        let shown = page.hosts.iter().map(|entry| show(entry, now)).collect();
        Ok((shown, page.total, page.next.map(|cursor| cursor.to_string())))
    }

    fn look(&self, call: &Call<'_>, host: &str) -> Result<Listed, Problem> {
        let host = host_id(host)?;
        let (state, now) = self.looked_at(call.now);
        state.registry.get(&host).map(|entry| listed(entry, now)).ok_or_else(|| {
            Problem::new(StatusCode::NOT_FOUND, "sls.no-host", "The host is not known").detail(format_args!("{host}"))
        })
    }

    fn events(&self, call: &Call<'_>) -> Result<Response<Vec<u8>>, Problem> {
        let HostQuery { filter, .. } = HostQuery::read(&call.query)?;
        let said = call.request.headers().get(LAST_EVENT_ID).and_then(|id| id.to_str().ok()?.parse().ok());
        let since: Option<u64> = call.query("since")?.or(said);
        let (sender, response) = events::stream(watch::QUEUE_MAX);
        let (mut state, now) = self.current(call.now);
        let State { registry, watchers, .. } = &mut *state;
        watchers.add(sender, filter, since, registry, now);
        Ok(response)
    }

    fn roll(&self, call: &Call<'_>) -> Result<Response<Vec<u8>>, Problem> {
        let site: PublicKey = call.query("site")?.ok_or_else(|| {
            Problem::new(StatusCode::BAD_REQUEST, "sls.query", "The query is not understood")
                .detail("`site` must be the key of a site")
        })?;
        let state = self.read();
        let newest = state.rolls.newest(&site).ok_or_else(|| {
            Problem::new(StatusCode::NOT_FOUND, "sls.no-roll", "There is no roll of that site")
                .detail(format_args!("the site with the key {} has published none here", site.fingerprint()))
        })?;
        receiver::json(newest)
    }

    fn publish(&self, call: &Call<'_>) -> Result<RollPublished, Problem> {
        let checked = CheckedRoll::of(call.json()?)?;
        let mut state = self.write();
        let roll = state.rolls.publish(checked)?;
        if let (Some(store), Some(kept)) = (&self.store, state.rolls.newest(&roll.site)) {
            store.write_roll(&roll.site, kept).map_err(broken)?;
        }
        Ok(RollPublished { sequence: roll.sequence, hosts: roll.hosts.len() })
    }

    fn facts(&self, now: Timestamp) -> SlsFacts {
        let (state, now) = self.looked_at(now);
        SlsFacts {
            key: self.public_key(),
            software_version: env!("CARGO_PKG_VERSION").to_owned(),
            live_hosts: state.registry.live(now).count(),
            known_hosts: state.registry.entries().count(),
            expiry: state.registry.policy().expiry,
            verifies: state.registry.policy().verifies,
            now,
        }
    }
}

impl State {
    fn tidy(&mut self, now: Timestamp) {
        let now = self.registry.settle(now);
        self.tidied_at = now;
        for host in self.registry.tidy(now) {
            self.unstored.add(&host);
        }
        self.tell(now);
    }

    fn tell(&mut self, now: Timestamp) {
        self.watchers.tell(&mut self.registry, now);
    }
}

impl Service for SlsService {
    fn handle(&self, request: Request<Vec<u8>>) -> Response<Vec<u8>> {
        let knows = |key: &PublicKey| self.read().registry.get(&HostId::of(key)).is_some();
        self.receiver.serve(request, knows, |call| self.answer(call))
    }

    /// Who registers or withdraws is answered at once. What is asked may have to look at every host.
    fn begin(self: Arc<Self>, request: Request<Vec<u8>>) -> Begun {
        if request.method() == Method::GET {
            return Begun::Waits(request);
        }
        Begun::Answered(self.handle(request))
    }
}

fn listed(entry: &Entry, now: Timestamp) -> Listed {
    Listed {
        signed: entry.signed.clone(),
        first_seen: entry.first_seen,
        last_seen: entry.last_seen,
        is_live: entry.is_live(now),
        reach: entry.reach.clone(),
        uptime: entry.uptime(now),
    }
}

fn bad_fields(detail: &dyn std::fmt::Display) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "sls.query", "The query is not understood")
        .detail(format_args!("the query's `fields`: {detail}"))
}

fn host_id(text: &str) -> Result<HostId, Problem> {
    text.parse().map_err(|error| {
        Problem::new(StatusCode::BAD_REQUEST, "sls.host-id", "That is not the id of a host").detail(error)
    })
}

fn not_yours(host: HostId) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "sls.not-yours", "Only a host itself registers and withdraws itself")
        .detail(format_args!("the call is not signed with the key of host {host}"))
}

fn refused_record(error: RecordError) -> Problem {
    let (status, code) = match error {
        RecordError::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "sls.record-too-large"),
        RecordError::BadSignature { .. } => (StatusCode::FORBIDDEN, "sls.record-signature"),
        RecordError::Unreadable(_)
        | RecordError::Field { .. }
        | RecordError::NotTheKeysHost { .. }
        | RecordError::NotTheSigner { .. } => (StatusCode::BAD_REQUEST, "sls.record"),
    };
    Problem::new(status, code, "The host's record is not accepted").detail(error)
}

fn refused_registration(error: RegisterError) -> Problem {
    let (status, code, help) = match error {
        RegisterError::Stale { .. } => (
            StatusCode::CONFLICT,
            "sls.stale",
            "register again with a larger sequence; where two daemons run with one key, stop one of them",
        ),
        RegisterError::NameTaken { .. } => {
            (StatusCode::CONFLICT, "sls.name-taken", "give this host another name in its configuration")
        }
        RegisterError::NotThere { .. } => (
            StatusCode::FORBIDDEN,
            "sls.not-there",
            "check the host's addresses: its daemon has to answer there, with its own key, from where this service is",
        ),
        RegisterError::FromTheFuture { .. } | RegisterError::TooOld { .. } => {
            (StatusCode::BAD_REQUEST, "sls.clock", "set the host's clock, best by NTP")
        }
        RegisterError::Full { .. } => {
            (StatusCode::SERVICE_UNAVAILABLE, "sls.full", "ask the site's operator to raise the limit")
        }
    };
    Problem::new(status, code, "The host is not registered").detail(error).help(help)
}

fn broken(error: StoreError) -> Problem {
    let cause = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "sls.store", "The service cannot keep its state")
        .detail(format_args!("{error}{cause}"))
}
