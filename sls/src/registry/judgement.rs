//! Who has to be called back, and what follows from what was found there.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use tycoon_market::{HostId, PublicKey, TimeSpan, Timestamp};

use super::alarms::Alarms;
use super::{Registry, What};
use crate::reach::{Connection, Reach, Standing};

/// A verified host is asked again after this time.
pub const RECHECK: TimeSpan = TimeSpan::from_seconds(600);
/// A host that could not be verified is asked again after this time.
pub const RECHECK_UNVERIFIED: TimeSpan = TimeSpan::from_seconds(120);
/// A host that was rejected is not asked again for this time.
const REJECTION: TimeSpan = TimeSpan::from_seconds(30);
/// The most rejected hosts that are remembered.
const REJECTED_MAX: usize = 10_000;

/// A host to be called back, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callback {
    /// The host.
    pub host: HostId,
    /// Its key.
    pub key: PublicKey,
    /// Where it says it is.
    pub addresses: Box<[Arc<str>]>,
    /// From where it registered.
    pub observed: Option<IpAddr>,
}

/// What was found out about where a host is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It is accepted at these addresses.
    Accept {
        /// Whether it was verified.
        standing: Standing,
        /// How it seems to be connected, where that was found out.
        connection: Option<Connection>,
        /// Where it is reached, best first.
        addresses: Vec<String>,
    },
    /// Somebody else is there.
    Reject {
        /// What was found.
        reason: String,
    },
}

#[derive(Clone, Debug, Default)]
pub(super) struct Judged {
    due: Alarms,
    rejected: HashMap<HostId, (Timestamp, String)>,
    /// Who says or was found to be at an address.
    claims: HashMap<Box<str>, Vec<HostId>>,
}

/// An address as it is compared.
fn plain(address: &str) -> Box<str> {
    address.trim_end_matches('/').to_ascii_lowercase().into()
}

impl Judged {
    /// The host is to be called back at `time`, or sooner where that is planned already.
    pub(super) fn is_due(&mut self, host: HostId, time: Timestamp) {
        self.due.set(host, time);
    }

    /// Why and for how long a host is refused.
    pub(super) fn rejection(&self, host: &HostId, now: Timestamp) -> Option<(String, TimeSpan)> {
        let (until, reason) = self.rejected.get(host)?;
        (now < *until && until.since(now) <= REJECTION).then(|| (reason.clone(), until.since(now)))
    }

    fn reject(&mut self, host: HostId, reason: &str, now: Timestamp) {
        if self.rejected.len() >= REJECTED_MAX {
            self.rejected.clear();
        }
        self.rejected.insert(host, (now.plus(REJECTION), reason.to_owned()));
    }

    pub(super) fn tidy(&mut self, now: Timestamp) {
        self.rejected.retain(|_, (until, _)| now < *until && until.since(now) <= REJECTION);
    }

    fn claim(&mut self, address: &str, host: HostId) {
        let claimers = self.claims.entry(plain(address)).or_default();
        if !claimers.contains(&host) {
            claimers.push(host);
        }
    }

    fn release(&mut self, address: &str, host: &HostId) {
        let address = plain(address);
        if let Some(claimers) = self.claims.get_mut(&address) {
            claimers.retain(|other| other != host);
            if claimers.is_empty() {
                self.claims.remove(&address);
            }
        }
    }
}

impl Registry {
    /// At most `most` hosts that are to be called back now. Each is given out once, until it is judged or registers from
    /// elsewhere.
    pub fn callbacks_due(&mut self, now: Timestamp, most: usize) -> Vec<Callback> {
        let mut callbacks = Vec::new();
        while callbacks.len() < most
            && let Some(host) = self.judged.due.next(now)
        {
            let Some(entry) = self.get(&host) else { continue };
            if entry.is_gone || now >= entry.expires_at {
                continue;
            }
            let (addresses, observed) = (entry.facts.addresses.clone(), entry.observed);
            callbacks.push(Callback { host, key: entry.facts.key, addresses, observed });
        }
        callbacks
    }

    /// The host is to be called back later, because it was not its turn.
    pub fn call_back_at(&mut self, host: HostId, time: Timestamp) {
        self.judged.is_due(host, time);
    }

    /// Takes notice of what calling back found.
    pub fn judge(&mut self, asked: &Callback, judgement: Judgement, now: Timestamp) {
        let now = self.settle(now);
        let host = asked.host;
        let Some(entry) = self.get(&host).filter(|entry| !entry.is_gone) else { return };
        if entry.facts.addresses != asked.addresses {
            // It has moved meanwhile.
            self.judged.is_due(host, now);
            return;
        }
        match judgement {
            Judgement::Reject { reason } => self.reject(host, &reason, now),
            Judgement::Accept { standing, connection, addresses } => {
                let reach = Reach { standing, addresses, connection, checked_at: Some(now) };
                self.accept(host, reach, now);
            }
        }
    }

    fn accept(&mut self, host: HostId, reach: Reach, now: Timestamp) {
        let Some(entry) = self.get(&host) else { return };
        let (name, contends) = (entry.facts.name.clone(), entry.contends);
        let is_verified = reach.standing == Standing::Verified;
        let holder = self.holder(&name, now).filter(|holder| *holder != host);
        let stands = |registry: &Self, other: &HostId| {
            registry.get(other).is_some_and(|entry| entry.is_live(now) && entry.reach.standing == Standing::Verified)
        };
        if let Some(holder) = holder.filter(|holder| contends && (!is_verified || stands(self, holder))) {
            let reason = format!("the name `{name}` is held by the live host {holder}");
            return self.reject(host, &reason, now);
        }
        let places = if reach.addresses.is_empty() { self.addresses_of(&host) } else { reach.addresses.clone() };
        let others = places.iter().filter_map(|address| self.judged.claims.get(&plain(address))).flatten();
        let others: Vec<HostId> = others.filter(|other| **other != host).copied().collect();
        let others: Vec<HostId> = others.into_iter().filter(|other| self.is_at(other, &places, now)).collect();
        if !is_verified && let Some(other) = others.iter().find(|other| stands(self, other)) {
            let reason = format!("host {other} answers at the address, and this one could not be verified");
            return self.reject(host, &reason, now);
        }
        if is_verified {
            for other in others {
                if stands(self, &other) {
                    // It answered there once. Now this one does; whether the other does too, it will be asked.
                    self.judged.is_due(other, now);
                } else {
                    self.supersede(other, now);
                }
            }
        }
        if contends {
            holder.into_iter().for_each(|holder| self.supersede(holder, now));
            self.names.insert(name.clone(), host);
        }
        places.iter().for_each(|address| self.judged.claim(address, host));
        let recheck = if is_verified { RECHECK } else { RECHECK_UNVERIFIED };
        self.judged.is_due(host, now.plus(recheck));
        let Some(entry) = self.get_mut(&host) else { return };
        let old = std::mem::replace(&mut entry.reach, reach);
        let standing = entry.reach.standing;
        if contends {
            entry.count_until(now);
            (entry.contends, entry.was_live) = (false, true);
            self.watch_host(&host);
            self.tell(What::Appeared, host, &name);
        }
        if old.standing != standing {
            let what = if is_verified { What::Verified } else { What::Unverified };
            self.tell(what, host, &name);
        }
        let old: Vec<String> = old.addresses.into_iter().filter(|address| !places.contains(address)).collect();
        old.iter().for_each(|address| self.judged.release(address, &host));
    }

    /// True where a live host is accepted at, or says it is at, one of the addresses.
    fn is_at(&self, host: &HostId, places: &[String], now: Timestamp) -> bool {
        self.get(host).is_some_and(|entry| entry.is_live(now))
            && self.addresses_of(host).iter().any(|own| places.iter().any(|place| plain(place) == plain(own)))
    }

    /// Where a host is accepted, or says it is where nothing was found out.
    fn addresses_of(&self, host: &HostId) -> Vec<String> {
        let Some(entry) = self.get(host) else { return Vec::new() };
        if entry.reach.addresses.is_empty() {
            entry.facts.addresses.iter().map(|address| address.to_string()).collect()
        } else {
            entry.reach.addresses.clone()
        }
    }

    /// Another host has taken its place.
    fn supersede(&mut self, host: HostId, now: Timestamp) {
        let Some(entry) = self.get_mut(&host) else { return };
        entry.count_until(now);
        (entry.is_gone, entry.was_live, entry.expires_at) = (true, false, now);
        let name = entry.facts.name.clone();
        self.watch_host(&host);
        self.release(&host, &name);
        self.tell(What::Superseded, host, &name);
    }

    fn reject(&mut self, host: HostId, reason: &str, now: Timestamp) {
        self.judged.reject(host, reason, now);
        let Some(entry) = self.get_mut(&host) else { return };
        entry.count_until(now);
        let (name, was_live) = (entry.facts.name.clone(), entry.was_live);
        let was_verified = entry.reach.standing == Standing::Verified;
        (entry.is_gone, entry.was_live, entry.expires_at) = (true, false, now);
        entry.reach = Reach { standing: Standing::Pending, ..Reach::default() };
        self.watch_host(&host);
        if was_live {
            self.tell(What::Rejected, host, &name);
        }
        if !was_verified {
            // Of a host that was never more than a claim nothing is remembered.
            self.forget(&host);
        }
    }

    /// Takes notice of where a host says it is.
    pub(super) fn claim_all(&mut self, host: HostId, old: &[Arc<str>], new: &[Arc<str>]) {
        if !self.policy.verifies || old == new {
            return;
        }
        old.iter().for_each(|address| self.judged.release(address, &host));
        new.iter().for_each(|address| self.judged.claim(address, host));
    }

    /// Takes notice of a host that is forgotten.
    pub(super) fn release_all(&mut self, entry: &super::Entry) {
        let host = entry.facts.host;
        entry.facts.addresses.iter().for_each(|address| self.judged.release(address, &host));
        entry.reach.addresses.iter().for_each(|address| self.judged.release(address, &host));
        self.judged.due.remove(&host);
    }
}
