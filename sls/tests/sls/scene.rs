//! What the tests work with: hosts with keys, records, and services in the process.

use std::sync::Arc;

use tycoon_market::{AccountId, HostId, Quantity, Rate, ResourceKind, Timestamp};
use tycoon_rpc::{Caller, Clock, CountedNonces, FixedClock, InProcess, ReplayPolicy, SecretKey, Service, Signer};
use tycoon_sls::client::NamedCaller;
use tycoon_sls::store::Store;
use tycoon_sls::{HostRecord, Policy, PublishedOffer, SignedRecord, SlsService, VerifiedRecord};

pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(1_000_000_000 + seconds)
}

pub fn key(number: u8) -> SecretKey {
    SecretKey::from_seed(&[number; 32])
}

pub fn id(number: u8) -> HostId {
    HostId::of(&key(number).public_key())
}

/// The record of host `number`, issued at `seconds`, which is its sequence too.
pub fn record(number: u8, seconds: i64) -> HostRecord {
    let public = key(number).public_key();
    let offer = |capacity, available, bids| PublishedOffer {
        capacity,
        available,
        base_price: Rate::from_picos_per_second(1000),
        bids: Rate::from_picos_per_second(bids),
    };
    HostRecord {
        host: HostId::of(&public),
        name: format!("host{number}").parse().unwrap(),
        key: public,
        addresses: vec![format!("http://host{number}.example.org:7700")],
        owner: AccountId::of(&public),
        labels: [("rack".to_owned(), (number % 3).to_string())].into(),
        architecture: "x86_64".into(),
        hypervisor: "Xen 4.17".into(),
        is_simulated: number % 2 == 1,
        offers: [
            (
                ResourceKind::Cpu,
                offer(Quantity::from_cpus(8), Quantity::from_cpus(u64::from(number % 8)), 100 * u64::from(number)),
            ),
            (ResourceKind::Memory, offer(Quantity::from_bytes(1 << 33), Quantity::from_bytes(1 << 32), 0)),
        ]
        .into(),
        prices: Default::default(),
        unique: Default::default(),
        images: vec!["std:tiny".into()],
        ssh: None,
        ssh_host_key: None,
        software_version: "0.1.0".into(),
        load: Quantity::ZERO,
        sequence: seconds as u64,
        issued_at: at(seconds),
    }
}

pub fn sign(record: &HostRecord, number: u8) -> SignedRecord {
    SignedRecord::sign(record, &key(number)).unwrap()
}

/// The record as somebody on the way would change it.
pub fn changed(signed: &SignedRecord, from: &str, to: &str) -> SignedRecord {
    let json = serde_json::to_string(signed).unwrap();
    assert!(json.contains(from), "{json}");
    serde_json::from_str(&json.replacen(from, to, 1)).unwrap()
}

pub fn verified(number: u8, seconds: i64) -> VerifiedRecord {
    sign(&record(number, seconds), number).verify().unwrap()
}

pub fn tree() -> sled::Tree {
    sled::Config::new().temporary(true).open().unwrap().open_tree("sls").unwrap()
}

/// The key number of services.
const SERVICE: u8 = 200;

pub struct Site {
    pub clock: Arc<FixedClock>,
    pub service: Arc<SlsService>,
}

impl Site {
    pub fn new(policy: Policy, store: Option<Store>) -> Self {
        Self::at(Arc::new(FixedClock::new(at(0))), policy, store)
    }

    pub fn at(clock: Arc<FixedClock>, policy: Policy, store: Option<Store>) -> Self {
        let service =
            SlsService::open(Arc::new(key(SERVICE)), clock.clone(), ReplayPolicy::IN_PROCESS, policy, store).unwrap();
        Self { clock, service: Arc::new(service) }
    }

    pub fn caller(&self, number: u8) -> Caller {
        caller(number, self.service.clone(), &self.clock)
    }

    pub fn named(&self, name: &str, number: u8) -> NamedCaller {
        NamedCaller { name: name.into(), caller: self.caller(number) }
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// A caller with the key `number` of a service with the key of services.
pub fn caller<S: Service + 'static>(number: u8, service: Arc<S>, clock: &Arc<FixedClock>) -> Caller {
    use std::sync::atomic::{AtomicU64, Ordering};
    static SEED: AtomicU64 = AtomicU64::new(0);
    let nonces = CountedNonces::new(SEED.fetch_add(1, Ordering::Relaxed));
    Caller::new(Arc::new(key(number)), key(SERVICE).public_key(), Arc::new(InProcess(service)))
        .with_clock(clock.clone())
        .with_nonces(Arc::new(nonces))
}

pub fn service_key() -> SecretKey {
    key(SERVICE)
}
