//! What queries look at: the facts of a record in a small space, so that a hundred thousand hosts can be gone through
//! while others register.

use std::collections::HashSet;
use std::sync::Arc;

use tycoon_market::{AccountId, HostId, HostName, PublicKey, Quantity, ResourceKind, Timestamp, UniqueKind};

use crate::record::{HostRecord, PublishedOffer, PublishedUnique};

/// Keeps one copy of each text that many hosts share.
#[derive(Clone, Debug, Default)]
pub struct Texts(HashSet<Arc<str>>);

impl Texts {
    /// The text, as it is kept.
    fn keep(&mut self, text: &str) -> Arc<str> {
        if let Some(kept) = self.0.get(text) {
            return kept.clone();
        }
        let kept: Arc<str> = text.into();
        self.0.insert(kept.clone());
        kept
    }

    /// Lets go of what no host has any more.
    pub fn tidy(&mut self) {
        self.0.retain(|text| Arc::strong_count(text) > 1);
    }
}

/// The facts of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The host.
    pub host: HostId,
    /// Its key.
    pub key: PublicKey,
    /// What all its domains used lately.
    pub load: Quantity,
    /// Counts its records.
    pub sequence: u64,
    /// When the record was issued.
    pub issued_at: Timestamp,
    /// What it sells, in the order of [`ResourceKind::ALL`].
    pub offers: [Option<PublishedOffer>; ResourceKind::ALL.len()],
    /// True for a host that exists only in a process.
    pub is_simulated: bool,
    /// Its name.
    pub name: HostName,
    /// Who earns.
    pub owner: AccountId,
    /// Its architecture.
    pub architecture: Arc<str>,
    /// Its hypervisor.
    pub hypervisor: Arc<str>,
    /// The version of its daemon.
    pub software_version: Arc<str>,
    /// Its labels, in order.
    pub labels: Box<[(Arc<str>, Arc<str>)]>,
    /// The images that it has.
    pub images: Box<[Arc<str>]>,
    /// The URLs that it says it is at.
    pub addresses: Box<[Arc<str>]>,
    /// The unique resources that it sells, in the order of [`UniqueKind::ALL`].
    pub unique: [Option<PublishedUnique>; UniqueKind::ALL.len()],
}

impl Facts {
    /// The facts of a record.
    pub fn of(record: &HostRecord, texts: &mut Texts) -> Self {
        Self {
            host: record.host,
            key: record.key,
            load: record.load,
            sequence: record.sequence,
            issued_at: record.issued_at,
            offers: ResourceKind::ALL.map(|kind| record.offers.get(&kind).copied()),
            is_simulated: record.is_simulated,
            name: record.name.clone(),
            owner: record.owner,
            architecture: texts.keep(&record.architecture),
            hypervisor: texts.keep(&record.hypervisor),
            software_version: texts.keep(&record.software_version),
            labels: record.labels.iter().map(|(label, value)| (texts.keep(label), texts.keep(value))).collect(),
            images: record.images.iter().map(|image| texts.keep(image)).collect(),
            // Addresses are no two hosts' own.
            addresses: record.addresses.iter().map(|address| address.as_str().into()).collect(),
            unique: UniqueKind::ALL.map(|kind| record.unique.get(&kind).copied()),
        }
    }

    /// What it sells of a resource.
    pub fn offer(&self, kind: ResourceKind) -> Option<&PublishedOffer> {
        ResourceKind::ALL.iter().position(|other| *other == kind).and_then(|place| self.offers[place].as_ref())
    }

    /// The value of a label.
    pub fn label(&self, label: &str) -> Option<&str> {
        self.labels.iter().find(|(name, _)| **name == *label).map(|(_, value)| &**value)
    }

    /// True where all but the passing things are the same: counts and times, load, and what is bid.
    pub fn is_same_host(&self, other: &Self) -> bool {
        let lasting = |facts: &Self| {
            let terms = |offer: &PublishedOffer| (offer.capacity, offer.base_price);
            facts.offers.each_ref().map(|offer| offer.as_ref().map(terms))
        };
        self.name == other.name
            && self.owner == other.owner
            && self.labels == other.labels
            && self.images == other.images
            && self.addresses == other.addresses
            && self.software_version == other.software_version
            && self.hypervisor == other.hypervisor
            && lasting(self) == lasting(other)
    }
}
