//! What a host says about itself, signed by its key.
//!
//! A record travels as the very bytes that were signed, inside JSON that anybody can read. Fields that a program does
//! not know yet are passed on unharmed, because nobody but the host writes the bytes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use thiserror::Error;
use tycoon_market::price_statistics::PriceSummary;
use tycoon_market::{
    AccountId, HostId, HostName, PublicKey, Quantity, Rate, ResourceKind, Signature, Timestamp, UniqueKind, Verifier,
};
use tycoon_rpc::Signer;

/// The largest record in bytes of JSON.
pub const RECORD_BYTES_MAX: usize = 64 << 10;
/// The largest number of addresses of a host.
pub const ADDRESSES_MAX: usize = 8;
/// The largest number of labels of a host.
pub const LABELS_MAX: usize = 64;
/// The largest number of images that a host names.
pub const IMAGES_MAX: usize = 512;

/// What the signed bytes start with: a signature for one purpose is none for another.
const RECORD_DOMAIN: &[u8] = b"tycoon host record v1\0";

/// A host as its daemon describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRecord {
    /// The host's id: that of its key.
    pub host: HostId,
    /// The name its owner gave it.
    pub name: HostName,
    /// The key its daemon signs with. That it is one is found out where its signature is checked, and not twice.
    #[serde(deserialize_with = "PublicKey::deserialize_stored")]
    pub key: PublicKey,
    /// The URLs at which its daemon answers, best first, 1 to 8; none for a simulated host.
    pub addresses: Vec<String>,
    /// The account that earns.
    pub owner: AccountId,
    /// The owner's labels, by which descriptions choose hosts.
    pub labels: BTreeMap<String, String>,
    /// The machine's architecture: `x86_64`.
    pub architecture: String,
    /// Hypervisor and version, for people.
    pub hypervisor: String,
    /// True for a host that exists only in a process.
    pub is_simulated: bool,
    /// What it sells.
    pub offers: BTreeMap<ResourceKind, PublishedOffer>,
    /// What a price unit of what it sells costs and has cost; a host may leave it out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub prices: BTreeMap<ResourceKind, PriceSummary>,
    /// The addresses and ports that it sells.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unique: BTreeMap<UniqueKind, PublishedUnique>,
    /// The names of the images it can provide.
    pub images: Vec<String>,
    /// Where sessions of accounts reach the machine over SSH: `tycoon@host1.example.org:22`; none where they do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh: Option<String>,
    /// The SSH host key of the machine, as in `known_hosts` without the name; none where there is no SSH.
    pub ssh_host_key: Option<String>,
    /// The version of its daemon.
    pub software_version: String,
    /// The CPU that all domains together used lately.
    pub load: Quantity,
    /// Counts this host's records: the larger number is the newer record. A daemon that starts takes the time in
    /// microseconds where that is larger than what it counted to, so that a lost count does no harm.
    pub sequence: u64,
    /// When it was issued, by the host's clock.
    pub issued_at: Timestamp,
}

/// What a host sells of one resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedOffer {
    /// What all domains together can have.
    pub capacity: Quantity,
    /// What newcomers' minima can still have.
    pub available: Quantity,
    /// The owner's reserve, per price unit.
    pub base_price: Rate,
    /// The sum of all bids.
    pub bids: Rate,
}

/// What a host sells of one kind of unique resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedUnique {
    /// How many there are.
    pub count: u64,
    /// How many nobody holds.
    pub free: u64,
    /// What one costs at least.
    pub base_price: Rate,
    /// The highest price that a holder pays.
    pub highest: Rate,
}

/// Why a record is not believed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RecordError {
    /// Too many bytes.
    #[error("the record has {bytes} bytes; at most {RECORD_BYTES_MAX} are accepted")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Not the JSON of a record.
    #[error("the record cannot be read: {0}")]
    Unreadable(String),
    /// A field holds what it must not.
    #[error("the record's `{field}` is not accepted: {reason}")]
    Field {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The id is not that of the key.
    #[error("the record is for host {host}, and its key is that of host {of_key}")]
    NotTheKeysHost {
        /// The host it names.
        host: HostId,
        /// The host of its key.
        of_key: HostId,
    },
    /// The key that should have signed is not the record's.
    #[error("the record of host {host} is to be signed with another key than its own")]
    NotTheSigner {
        /// The host it names.
        host: HostId,
    },
    /// Another key signed it, or it was changed.
    #[error("the record of host {host} is not signed with the host's key")]
    BadSignature {
        /// The host it names.
        host: HostId,
    },
}

impl HostRecord {
    /// That every field is within its bounds, and that the id is that of the key.
    pub fn check(&self) -> Result<(), RecordError> {
        let of_key = HostId::of(&self.key);
        if of_key != self.host {
            return Err(RecordError::NotTheKeysHost { host: self.host, of_key });
        }
        let addresses = self.addresses.len();
        if addresses > ADDRESSES_MAX || (addresses == 0 && !self.is_simulated) {
            let reason = format!("there are {addresses}; 1 to {ADDRESSES_MAX} are accepted");
            return Err(RecordError::Field { field: "addresses", reason });
        }
        self.addresses.iter().try_for_each(|address| url(address))?;
        count("labels", self.labels.len(), LABELS_MAX)?;
        for (label, value) in &self.labels {
            text("labels", label, 1, 63)?;
            text("labels", value, 0, 255)?;
            // Queries write labels as `rack=3,gpu=yes`.
            if label.contains(['=', ',']) || value.contains(',') {
                let reason = format!("`{label}={value}` has a `,` or a second `=`");
                return Err(RecordError::Field { field: "labels", reason });
            }
        }
        count("images", self.images.len(), IMAGES_MAX)?;
        self.images.iter().try_for_each(|image| text("images", image, 1, 128))?;
        text("architecture", &self.architecture, 1, 32)?;
        text("hypervisor", &self.hypervisor, 1, 128)?;
        text("software_version", &self.software_version, 1, 64)?;
        if let Some(place) = &self.ssh {
            text("ssh", place, 1, 300)?;
        }
        if let Some(key) = &self.ssh_host_key {
            text("ssh_host_key", key, 1, 1024)?;
        }
        for (kind, prices) in &self.prices {
            prices.check().map_err(|error| {
                let reason = format!("those of {kind}: {error}");
                RecordError::Field { field: "prices", reason }
            })?;
        }
        if let Some((kind, unique)) = self.unique.iter().find(|(_, unique)| unique.free > unique.count) {
            let reason = format!("{} of {kind} are free, out of {}", unique.free, unique.count);
            return Err(RecordError::Field { field: "unique", reason });
        }
        match self.offers.iter().find(|(_, offer)| offer.available > offer.capacity) {
            None => Ok(()),
            Some((kind, offer)) => {
                let (available, capacity) = (kind.show(offer.available), kind.show(offer.capacity));
                let reason = format!("{available} of {kind} is available, out of {capacity}");
                Err(RecordError::Field { field: "offers", reason })
            }
        }
    }
}

impl HostRecord {
    /// The record, made to fit: where it is larger than [`RECORD_BYTES_MAX`], histograms and histories of prices are left
    /// out, and then prices altogether. What it sells, and for how much now, stays.
    pub fn fitted(mut self) -> Self {
        if !self.fits() {
            self.prices.values_mut().for_each(PriceSummary::strip);
        }
        if !self.fits() {
            self.prices.clear();
        }
        self
    }

    fn fits(&self) -> bool {
        serde_json::to_string(self).is_ok_and(|json| json.len() <= RECORD_BYTES_MAX)
    }
}

fn count(field: &'static str, count: usize, max: usize) -> Result<(), RecordError> {
    if count <= max {
        return Ok(());
    }
    Err(RecordError::Field { field, reason: format!("there are {count}; at most {max} are accepted") })
}

/// That a text can be printed on a terminal and has a bearable length in bytes.
fn text(field: &'static str, text: &str, min: usize, max: usize) -> Result<(), RecordError> {
    if text.len() < min || text.len() > max {
        let reason = format!("a text of {} bytes; {min} to {max} are accepted", text.len());
        return Err(RecordError::Field { field, reason });
    }
    if text.chars().any(char::is_control) {
        return Err(RecordError::Field { field, reason: "a text with control characters".to_owned() });
    }
    Ok(())
}

fn url(address: &str) -> Result<(), RecordError> {
    const FIELD: &str = "addresses";
    text(FIELD, address, 1, 256)?;
    // A host whose market runs elsewhere, and which is only reached by SSH, says where its SSH server is.
    let rest = ["https://", "http://", "ssh://"].iter().find_map(|scheme| address.strip_prefix(scheme));
    let has_authority = rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'));
    // A user in a URL makes it look like another host's.
    if !has_authority || !address.bytes().all(|b| b.is_ascii_graphic()) || address.contains('@') {
        let reason = format!("`{address}` is not an address such as `https://host1.example.org:7700`");
        return Err(RecordError::Field { field: FIELD, reason });
    }
    Ok(())
}

/// A record with its signature, as it travels. Nothing about it is checked: see [`SignedRecord::verify`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedRecord {
    /// The very bytes that were signed.
    record: Box<RawValue>,
    signature: Signature,
}

impl PartialEq for SignedRecord {
    fn eq(&self, other: &Self) -> bool {
        self.json() == other.json() && self.signature == other.signature
    }
}

impl Eq for SignedRecord {}

impl SignedRecord {
    /// Checks a record and signs it with its host's key.
    pub fn sign(record: &HostRecord, signer: &dyn Signer) -> Result<Self, RecordError> {
        record.check()?;
        if signer.public_key() != record.key {
            return Err(RecordError::NotTheSigner { host: record.host });
        }
        let record =
            serde_json::value::to_raw_value(record).map_err(|error| RecordError::Unreadable(error.to_string()))?;
        check_size(record.get())?;
        let signature = Signature::from_bytes(signer.sign(&signed_bytes(record.get())));
        Ok(Self { record, signature })
    }

    /// The record as the JSON that was signed.
    pub fn json(&self) -> &str {
        self.record.get()
    }

    /// Checks size, fields, id and signature. Whether it is new enough is not said.
    pub fn verify(self) -> Result<VerifiedRecord, RecordError> {
        check_size(self.json())?;
        let record: HostRecord =
            serde_json::from_str(self.json()).map_err(|error| RecordError::Unreadable(error.to_string()))?;
        record.check()?;
        let verifier = Verifier::of(&record.key).map_err(|error| RecordError::Unreadable(error.to_string()))?;
        if !verifier.verifies(&signed_bytes(self.json()), self.signature.as_bytes()) {
            return Err(RecordError::BadSignature { host: record.host });
        }
        Ok(VerifiedRecord { record, signed: self })
    }
}

fn check_size(json: &str) -> Result<(), RecordError> {
    if json.len() > RECORD_BYTES_MAX { Err(RecordError::TooLarge { bytes: json.len() }) } else { Ok(()) }
}

fn signed_bytes(json: &str) -> Vec<u8> {
    [RECORD_DOMAIN, json.as_bytes()].concat()
}

/// A record that its host signed. There is no other way to make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedRecord {
    record: HostRecord,
    signed: SignedRecord,
}

impl VerifiedRecord {
    /// What it says.
    pub const fn record(&self) -> &HostRecord {
        &self.record
    }

    /// What it says, and the record as it travels.
    pub fn into_parts(self) -> (HostRecord, SignedRecord) {
        (self.record, self.signed)
    }

    /// The record as it travels.
    pub const fn signed(&self) -> &SignedRecord {
        &self.signed
    }
}
