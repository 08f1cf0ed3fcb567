//! The side that asks: it registers with every SLS and merges what they know.
//!
//! An SLS is believed only in what it alone can know (when it heard of a host); what a host says is checked against
//! the host's own signature. Where several SLSs know a host, its newest record wins.

use std::collections::BTreeMap;
use std::thread;

use http::Method;
use thiserror::Error;
use tycoon_market::{HostId, HostName, PublicKey, Timestamp};
use tycoon_rpc::{CallError, Caller};

use crate::facts::{Facts, Texts};
use crate::fields::{Field, Seen};
use crate::order::Cursor;
use crate::query::{HostQuery, PAGE_HOSTS_MAX, Sort};
use crate::reach::{Reach, Standing};
use crate::record::{HostRecord, RecordError, SignedRecord, VerifiedRecord};
use crate::roll::{Roll, RollError, SignedRoll};
use crate::service::{Listed, Listing, Registered, RollPublished, SlsFacts, Withdrawn};
use crate::uptime::UptimeFractions;

/// The most pages read from one SLS: many more than there can be hosts.
const PAGES_MAX: usize = 10_000;
/// The most hosts read from one SLS.
const HOSTS_MAX: usize = 200_000;

/// Why an SLS gave no usable answer.
#[derive(Debug, Error)]
pub enum SlsError {
    /// The call failed.
    #[error("the call failed")]
    Call(#[from] CallError),
    /// It lists what its host did not sign.
    #[error("a record that it lists is not to be believed")]
    Record(#[from] RecordError),
    /// It has a roll that the site did not sign.
    #[error("the roll that it has is not to be believed")]
    Roll(#[from] RollError),
    /// Its pages do not end.
    #[error("its listing does not come to an end")]
    Endless,
    /// No SLS is configured.
    #[error("no service location service is configured; name one with `tycoon init --sls URL`")]
    NoService,
}

impl SlsError {
    /// True where the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Call(error) if error.is_transient())
    }
}

/// An SLS: what people call it, and how to reach it.
#[derive(Clone)]
pub struct NamedCaller {
    /// Its address or name, for messages.
    pub name: String,
    /// How it is called.
    pub caller: Caller,
}

/// What went wrong with one of several SLSs.
#[derive(Debug, Error)]
#[error("the service location service {sls} is of no use")]
pub struct SlsProblem {
    /// Which.
    pub sls: String,
    /// What went wrong.
    pub source: SlsError,
}

/// A host that an SLS told about, and whose record is signed by the host.
#[derive(Clone, Debug, PartialEq)]
pub struct SeenHost {
    /// Its record.
    pub record: VerifiedRecord,
    /// When an SLS heard of it first.
    pub first_seen: Timestamp,
    /// When an SLS heard of it last.
    pub last_seen: Timestamp,
    /// True where an SLS heard of it lately enough.
    pub is_live: bool,
    /// Where it is reached, as an SLS found out; verified where any of them verified it.
    pub reach: Reach,
    /// The best uptime that any SLS saw.
    pub uptime: UptimeFractions,
}

impl SeenHost {
    /// What the host says.
    pub const fn record(&self) -> &HostRecord {
        self.record.record()
    }

    /// The URLs at which it is reached: where an SLS verified it, else where it says it is.
    pub fn addresses(&self) -> &[String] {
        if self.reach.addresses.is_empty() { &self.record().addresses } else { &self.reach.addresses }
    }

    /// True where the query asks for it.
    fn is_wanted(&self, query: &HostQuery) -> bool {
        let facts = Facts::of(self.record(), &mut Texts::default());
        // For how long it was silent only a service can say.
        if query.filter.as_ref().is_some_and(|filter| filter.asks_for(&Field::Silence)) {
            return HostQuery { filter: None, ..query.clone() }.matches(&self.seen(&facts));
        }
        query.matches(&self.seen(&facts))
    }

    /// The host as queries see it, with the facts of its record.
    pub fn seen<'a>(&'a self, facts: &'a Facts) -> Seen<'a, 'a> {
        // By whose clock it was heard of last is not known here: the service has looked at that.
        let silence = tycoon_market::TimeSpan::ZERO;
        Seen { facts, standing: self.reach.standing, uptime: &self.uptime, silence }
    }

    fn place(&self) -> (&HostName, HostId) {
        (&self.record().name, self.record().host)
    }
}

/// What several SLSs know together.
#[derive(Debug)]
pub struct Hosts {
    /// The hosts, ordered by name and then by id. Two hosts have one name only where different SLSs admitted them.
    pub hosts: Vec<SeenHost>,
    /// The SLSs that gave no answer, or listed a host that is not to be believed, and why. What they alone know is
    /// missing.
    pub problems: Vec<SlsProblem>,
}

/// The roll of a site, as several SLSs have it.
#[derive(Debug)]
pub struct FoundRoll {
    /// The newest, checked, and as it travels; `None` where none has any.
    pub newest: Option<(Roll, SignedRoll)>,
    /// The SLSs that gave no answer, or one that is not to be believed, and why.
    pub problems: Vec<SlsProblem>,
}

/// A client of one or several SLSs.
#[derive(Clone)]
pub struct SlsClient {
    services: Vec<NamedCaller>,
}

impl SlsClient {
    /// A client of these services.
    pub const fn new(services: Vec<NamedCaller>) -> Self {
        Self { services }
    }

    /// What the services are called, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.services.iter().map(|service| service.name.as_str())
    }

    /// Registers a record, newer than all before, with every SLS; the answers in the order of the services.
    pub fn register(&self, record: &SignedRecord) -> Vec<Result<Registered, SlsProblem>> {
        self.ask_all(|caller| Ok(caller.post_unsigned("/v1/hosts", record)?))
    }

    /// Tells every SLS that the host leaves; the callers' key must be the host's.
    pub fn withdraw(&self, host: &HostId) -> Vec<Result<Withdrawn, SlsProblem>> {
        let path = format!("/v1/hosts/{host}");
        self.ask_all(|caller| Ok(caller.call::<(), _>(Method::DELETE, &path, &[], None)?))
    }

    /// The newest roll of a site that any SLS has; `None` where none has one. Rolls that the site did not sign are
    /// problems of their SLSs.
    pub fn roll(&self, site: &PublicKey) -> Result<FoundRoll, SlsProblem> {
        let text = site.to_string();
        let answers = self.ask_all(|caller| match caller.get::<SignedRoll>("/v1/roll", &[("site", &text)]) {
            Ok(signed) => Ok(Some((signed.verify_of(site)?, signed))),
            Err(CallError::Refused(problem)) if problem.code == "sls.no-roll" => Ok(None),
            Err(error) => Err(error.into()),
        });
        let (mut newest, mut problems, mut answered) = (None::<(Roll, SignedRoll)>, Vec::new(), false);
        for answer in answers {
            match answer {
                Err(problem) => problems.push(problem),
                Ok(found) => {
                    answered = true;
                    let sequence = |found: &Option<(Roll, SignedRoll)>| found.as_ref().map(|(roll, _)| roll.sequence);
                    if sequence(&found) > sequence(&newest) {
                        newest = found;
                    }
                }
            }
        }
        match problems.pop() {
            Some(problem) if !answered => Err(problem),
            last => {
                problems.extend(last);
                Ok(FoundRoll { newest, problems })
            }
        }
    }

    /// Publishes a roll with every SLS; the answers in the order of the services.
    pub fn publish(&self, roll: &SignedRoll) -> Vec<Result<RollPublished, SlsProblem>> {
        self.ask_all(|caller| Ok(caller.post("/v1/roll", roll)?))
    }

    /// What every SLS says about itself.
    pub fn facts(&self) -> Vec<Result<SlsFacts, SlsProblem>> {
        self.ask_all(|caller| Ok(caller.get("/v1/sls", &[])?))
    }

    /// All live hosts that match, of all SLSs together. Order, page and size of the query are not used. An error where
    /// no SLS gave an answer: the first of theirs.
    pub fn hosts(&self, query: &HostQuery) -> Result<Hosts, SlsProblem> {
        merge(self.ask_all(|caller| all_pages(caller, query)), &self.services)
    }

    /// The first `most` live hosts that match, in the query's order, of all SLSs together, ordered. Page and size of the
    /// query are not used.
    pub fn first_hosts(&self, query: &HostQuery, most: usize) -> Result<Hosts, SlsProblem> {
        let mut found = merge(self.ask_all(|caller| first_pages(caller, query, most)), &self.services)?;
        let facts: Vec<Facts> =
            found.hosts.iter().map(|host| Facts::of(host.record(), &mut Texts::default())).collect();
        let mut places: Vec<(crate::order::Place<'_>, usize)> = Vec::new();
        for (number, (host, facts)) in found.hosts.iter().zip(&facts).enumerate() {
            places.push((query.sort.place(&host.seen(facts)), number));
        }
        places.sort_by(|(one, _), (other, _)| query.sort.compare(one, other));
        let order: Vec<usize> = places.into_iter().take(most).map(|(_, number)| number).collect();
        found.hosts = order.into_iter().map(|number| found.hosts[number].clone()).collect();
        Ok(found)
    }

    /// One host, live or not; `None` where no SLS knows it.
    pub fn host(&self, host: &HostId) -> Result<Option<SeenHost>, SlsProblem> {
        let path = format!("/v1/hosts/{host}");
        let look = |caller: &Caller| {
            let mut told = Told::default();
            match caller.get::<Listed>(&path, &[]) {
                // An answer for another host than the one asked for is as good as none.
                Ok(listed) => told.add(listed, |seen| seen.record().host == *host),
                Err(CallError::Refused(problem)) if problem.code == "sls.no-host" => {}
                Err(error) => return Err(error.into()),
            }
            Ok(told)
        };
        Ok(merge(self.ask_all(look), &self.services)?.hosts.pop())
    }

    /// Asks every SLS at the same time, so that one that does not answer delays no other.
    fn ask_all<T: Send>(&self, ask: impl Fn(&Caller) -> Result<T, SlsError> + Sync) -> Vec<Result<T, SlsProblem>> {
        let ask_one = |service: &NamedCaller| {
            ask(&service.caller).map_err(|source| SlsProblem { sls: service.name.clone(), source })
        };
        match self.services.as_slice() {
            [one] => vec![ask_one(one)],
            many => thread::scope(|scope| {
                let ask_one = &ask_one;
                let threads: Vec<_> = many.iter().map(|service| scope.spawn(move || ask_one(service))).collect();
                // A thread fails only by a panic, which goes on here.
                threads
                    .into_iter()
                    .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                    .collect()
            }),
        }
    }
}

/// What one SLS told.
#[derive(Default)]
struct Told {
    hosts: Vec<SeenHost>,
    /// The first record that is not to be believed. It spoils no other.
    disbelieved: Option<RecordError>,
}

impl Told {
    fn add(&mut self, listed: Listed, filter: impl Fn(&SeenHost) -> bool) {
        let Listed { signed, first_seen, last_seen, is_live, reach, uptime } = listed;
        match signed.verify() {
            Ok(record) => {
                let seen = SeenHost { record, first_seen, last_seen, is_live, reach, uptime };
                // The SLS is not trusted to have filtered.
                if filter(&seen) {
                    self.hosts.push(seen);
                }
            }
            Err(error) => self.disbelieved = self.disbelieved.take().or(Some(error)),
        }
    }
}

fn all_pages(caller: &Caller, query: &HostQuery) -> Result<Told, SlsError> {
    let mut query = HostQuery { sort: Sort::default(), after: None, size: None, ..query.clone() };
    let mut told = Told::default();
    for _ in 0..PAGES_MAX {
        let pairs = query.pairs();
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let listing: Listing = caller.get("/v1/hosts", &pairs)?;
        listing.hosts.into_iter().for_each(|listed| told.add(listed, |seen| seen.is_wanted(&query)));
        match listing.next_page {
            None => return Ok(told),
            // Pages by id must go up.
            Some(next) => {
                let next: Cursor = next.parse().map_err(|_| SlsError::Endless)?;
                let goes_up = query.after.as_ref().is_none_or(|after| after.host() < next.host());
                if !goes_up || told.hosts.len() > HOSTS_MAX {
                    return Err(SlsError::Endless);
                }
                query.after = Some(next);
            }
        }
    }
    Err(SlsError::Endless)
}

fn first_pages(caller: &Caller, query: &HostQuery, most: usize) -> Result<Told, SlsError> {
    let mut query = HostQuery { after: None, ..query.clone() };
    let mut told = Told::default();
    let mut read = 0;
    for _ in 0..PAGES_MAX {
        query.size = Some(most.saturating_sub(read).clamp(1, PAGE_HOSTS_MAX));
        let pairs = query.pairs();
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let listing: Listing = caller.get("/v1/hosts", &pairs)?;
        read += listing.hosts.len();
        listing.hosts.into_iter().for_each(|listed| told.add(listed, |seen| seen.is_wanted(&query)));
        match listing.next_page {
            Some(next) if read < most => query.after = Some(next.parse().map_err(|_| SlsError::Endless)?),
            _ => return Ok(told),
        }
    }
    Err(SlsError::Endless)
}

fn merge(answers: Vec<Result<Told, SlsProblem>>, services: &[NamedCaller]) -> Result<Hosts, SlsProblem> {
    let mut hosts: BTreeMap<HostId, SeenHost> = BTreeMap::new();
    let mut problems = Vec::new();
    let mut answered = false;
    for (answer, service) in answers.into_iter().zip(services) {
        match answer {
            Err(problem) => problems.push(problem),
            Ok(told) => {
                answered = true;
                let problem = |error: RecordError| SlsProblem { sls: service.name.clone(), source: error.into() };
                problems.extend(told.disbelieved.map(problem));
                for host in told.hosts {
                    let id = host.record().host;
                    let host = match hosts.remove(&id) {
                        None => host,
                        Some(other) => newest(host, other),
                    };
                    hosts.insert(id, host);
                }
            }
        }
    }
    if !answered {
        let none = || SlsProblem { sls: "(none)".to_owned(), source: SlsError::NoService };
        return Err(problems.into_iter().next().unwrap_or_else(none));
    }
    let mut hosts: Vec<SeenHost> = hosts.into_values().collect();
    hosts.sort_by(|one, other| one.place().cmp(&other.place()));
    Ok(Hosts { hosts, problems })
}

/// The newer record of one host, with the best that either SLS saw of it.
fn newest(one: SeenHost, other: SeenHost) -> SeenHost {
    let (first_seen, last_seen) = (one.first_seen.min(other.first_seen), one.last_seen.max(other.last_seen));
    let is_live = one.is_live || other.is_live;
    let uptime = UptimeFractions {
        hour: one.uptime.hour.max(other.uptime.hour),
        day: one.uptime.day.max(other.uptime.day),
        week: one.uptime.week.max(other.uptime.week),
    };
    let age = |host: &SeenHost| (host.record().sequence, host.record().issued_at);
    let is_newer = age(&one) >= age(&other);
    // Addresses that were verified are those of the key, whichever record they came with.
    let is_verified = |host: &SeenHost| host.reach.standing == Standing::Verified;
    let reach = match (is_verified(&one), is_verified(&other)) {
        (false, true) => other.reach,
        (true, false) => one.reach,
        _ => {
            if is_newer {
                one.reach
            } else {
                other.reach
            }
        }
    };
    let record = if is_newer { one.record } else { other.record };
    SeenHost { record, first_seen, last_seen, is_live, reach, uptime }
}
