//! The SLS as a service.
//!
//! | call | by whom | answer |
//! |---|---|---|
//! | `POST /v1/hosts` | a host, for itself | [`Registered`] |
//! | `DELETE /v1/hosts/{id}` | a host, for itself | [`Withdrawn`] |
//! | `GET /v1/hosts?…` | anybody | [`Listing`]; the query is [`HostQuery`], and `fields=` selects fields |
//! | `GET /v1/hosts/{id}` | anybody | [`Listed`] |
//! | `GET /v1/sls` | anybody | [`SlsFacts`] |
//!
//! `fields=name,offers` answers a [`Selection`] instead of a listing: records cut down to those fields, which nobody
//! signed any more. It is for eyes and small scripts.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{Method, Request, Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tycoon_market::{HostId, PublicKey, TimeSpan, Timestamp};
use tycoon_rpc::{Call, Clock, Limits, Problem, Receiver, ReplayPolicy, Service, Signer, receiver};

use crate::query::HostQuery;
use crate::reach::Standing;
use crate::record::{RECORD_BYTES_MAX, RecordError, SignedRecord};
use crate::registry::{Entry, Policy, RegisterError, Registry};
use crate::store::{Store, StoreError};
use crate::uptime::UptimeFractions;

/// How often what has expired is looked for.
const TIDY_INTERVAL: TimeSpan = TimeSpan::from_seconds(10);
/// The most fields that one query selects.
const FIELDS_MAX: usize = 32;

/// The answer to a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// Until when the host is live, by this service's clock.
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
    pub next_page: Option<HostId>,
}

/// A page of hosts, cut down to some fields. Nobody signed it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Selection {
    /// The hosts' fields, in the order that was asked for.
    pub selected: Vec<Map<String, Value>>,
    /// How many hosts match in all.
    pub total: usize,
    /// What to give as `page` for the hosts that follow; `None` on the last page.
    pub next_page: Option<HostId>,
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
    /// The time by its clock.
    pub now: Timestamp,
}

/// The service.
pub struct SlsService {
    receiver: Receiver,
    store: Option<Store>,
    state: Mutex<State>,
}

struct State {
    registry: Registry,
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
        let registry = match &store {
            Some(store) => store.restore(policy, now)?.registry,
            None => Registry::new(policy),
        };
        let receiver = Receiver::new(signer, clock, replay, Limits::DEFAULT);
        Ok(Self { receiver, store, state: Mutex::new(State { registry, tidied_at: now }) })
    }

    /// The key that signs its answers.
    pub fn public_key(&self) -> PublicKey {
        self.receiver.public_key()
    }

    /// Waits until what is kept is on disk, before a clean end.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.store.as_ref().map_or(Ok(()), Store::flush)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change leaves the registry whole, so a thread that panicked left none half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The registry as of now, and the time to use with it.
    fn current(&self, now: Timestamp) -> Result<(MutexGuard<'_, State>, Timestamp), Problem> {
        let mut state = self.state();
        let now = state.registry.settle(now);
        if now < state.tidied_at || now.since(state.tidied_at) >= TIDY_INTERVAL {
            state.tidied_at = now;
            let forgotten = state.registry.tidy(now);
            if let Some(store) = &self.store {
                store.remove(&forgotten).map_err(broken)?;
            }
        }
        Ok((state, now))
    }

    fn answer(&self, call: &Call<'_>) -> Result<Response<Vec<u8>>, Problem> {
        match (call.request.method(), call.path().as_slice()) {
            (&Method::POST, ["v1", "hosts"]) => receiver::json(&self.register(call)?),
            (&Method::DELETE, ["v1", "hosts", host]) => receiver::json(&self.withdraw(call, host)?),
            (&Method::GET, ["v1", "hosts"]) => match call.query.get("fields") {
                None => receiver::json(&self.list(call)?),
                Some(fields) => receiver::json(&self.select(call, fields)?),
            },
            (&Method::GET, ["v1", "hosts", host]) => receiver::json(&self.look(call, host)?),
            (&Method::GET, ["v1", "sls"]) => receiver::json(&self.facts(call.now)?),
            _ => Err(call.no_such_call()),
        }
    }

    fn register(&self, call: &Call<'_>) -> Result<Registered, Problem> {
        let sender = call.sender()?;
        // The envelope holds little more than the record, so more than this cannot be one.
        if call.request.body().len() > RECORD_BYTES_MAX + 1024 {
            return Err(refused_record(RecordError::TooLarge { bytes: call.request.body().len() }));
        }
        let record = call.json::<SignedRecord>()?.verify().map_err(refused_record)?;
        if record.record().key != sender {
            return Err(not_yours(record.record().host));
        }
        let (mut state, now) = self.current(call.now)?;
        let expiry = state.registry.policy().expiry;
        let entry = state.registry.register(record, now).map_err(refused_registration)?;
        if let Some(store) = &self.store {
            store.write(entry, now).map_err(broken)?;
        }
        Ok(Registered { expires_at: entry.expires_at, expiry, standing: Standing::Unverified })
    }

    fn withdraw(&self, call: &Call<'_>, host: &str) -> Result<Withdrawn, Problem> {
        let sender = call.sender()?;
        let host = host_id(host)?;
        if HostId::of(&sender) != host {
            return Err(not_yours(host));
        }
        let (mut state, now) = self.current(call.now)?;
        let was_live = state.registry.withdraw(&host, now);
        if let (Some(store), Some(entry)) = (&self.store, state.registry.get(&host)) {
            store.write(entry, now).map_err(broken)?;
        }
        Ok(Withdrawn { was_live })
    }

    fn list(&self, call: &Call<'_>) -> Result<Listing, Problem> {
        self.page(call, listed).map(|(hosts, total, next_page)| Listing { hosts, total, next_page })
    }

    fn select(&self, call: &Call<'_>, fields: &str) -> Result<Selection, Problem> {
        let fields: Vec<&str> = fields.split(',').take(FIELDS_MAX).collect();
        let cut = |entry: &Entry, _: Timestamp| {
            let mut all: Map<String, Value> = serde_json::from_str(entry.record.signed().json()).unwrap_or_default();
            all.retain(|field, _| fields.contains(&field.as_str()));
            all
        };
        self.page(call, cut).map(|(selected, total, next_page)| Selection { selected, total, next_page })
    }

    fn page<T>(
        &self,
        call: &Call<'_>,
        show: impl Fn(&Entry, Timestamp) -> T,
    ) -> Result<(Vec<T>, usize, Option<HostId>), Problem> {
        let query = HostQuery::read(&call.query)?;
        let (state, now) = self.current(call.now)?;
        let matches = |record: &_| query.matches(record);
        let page = state.registry.query(now, matches, query.sort, query.after, query.size).ok_or_else(|| {
            Problem::new(StatusCode::GONE, "sls.page-gone", "The page has no place any more")
                .detail("the host after which it starts is gone")
                .help("start again with the first page, or order by id")
        })?;
        let last = page.hosts.last().map(|entry| entry.record.record().host);
        let shown = page.hosts.iter().map(|entry| show(entry, now)).collect();
        Ok((shown, page.total, last.filter(|_| page.has_more)))
    }

    fn look(&self, call: &Call<'_>, host: &str) -> Result<Listed, Problem> {
        let host = host_id(host)?;
        let (state, now) = self.current(call.now)?;
        state.registry.get(&host).map(|entry| listed(entry, now)).ok_or_else(|| {
            Problem::new(StatusCode::NOT_FOUND, "sls.no-host", "The host is not known").detail(format_args!("{host}"))
        })
    }

    fn facts(&self, now: Timestamp) -> Result<SlsFacts, Problem> {
        let (state, now) = self.current(now)?;
        Ok(SlsFacts {
            key: self.public_key(),
            software_version: env!("CARGO_PKG_VERSION").to_owned(),
            live_hosts: state.registry.live(now).count(),
            known_hosts: state.registry.entries().count(),
            expiry: state.registry.policy().expiry,
            now,
        })
    }
}

impl Service for SlsService {
    fn handle(&self, request: Request<Vec<u8>>) -> Response<Vec<u8>> {
        let knows = |key: &PublicKey| self.state().registry.get(&HostId::of(key)).is_some();
        self.receiver.serve(request, knows, |call| self.answer(call))
    }
}

fn listed(entry: &Entry, now: Timestamp) -> Listed {
    Listed {
        signed: entry.record.signed().clone(),
        first_seen: entry.first_seen,
        last_seen: entry.last_seen,
        is_live: entry.is_live(now),
        uptime: entry.uptime(now),
    }
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
