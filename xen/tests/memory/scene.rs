//! What the tests work with: a host in a temporary database, and domains for it.

use tycoon_market::{AccountId, PublicKey, Timestamp};
use tycoon_xen::hypervisor::Hypervisor;
use tycoon_xen::memory::{Demand, MemoryHost, MemoryHostConfig};
use tycoon_xen::spec::{Boot, CloudInit, DomainSpec, KeepVolumes, NicSpec, Ownership, RunRules, VolumeSpec};

pub const GIB: u64 = 1 << 30;
pub const MIB: u64 = 1 << 20;

pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(1_000_000_000 + seconds)
}

/// 2 CPUs, 4 GiB for domains, 20 GiB of disk; guests want all the CPU they can get.
pub fn config() -> MemoryHostConfig {
    MemoryHostConfig {
        cpus: 2,
        memory_bytes: 5 * GIB,
        control_memory_bytes: GIB,
        disk_bytes: 20 * GIB,
        demand: Demand::FULL,
        ..MemoryHostConfig::default()
    }
}

pub fn tree() -> sled::Tree {
    let database = sled::Config::new().temporary(true).open().unwrap();
    database.open_tree("host").unwrap()
}

pub fn host(config: MemoryHostConfig) -> MemoryHost {
    MemoryHost::open(tree(), config).unwrap()
}

/// The key and account number `number`, from 0.
pub fn account(number: usize) -> AccountId {
    let mut keys = (0..=u8::MAX).filter_map(|byte| PublicKey::from_bytes([byte & 0x7f; 32]).ok());
    AccountId::of(&keys.nth(number).unwrap())
}

/// One CPU, 1 GiB of memory, a root volume of 4 GiB.
pub fn spec(path: &str) -> DomainSpec {
    DomainSpec {
        path: path.parse().unwrap(),
        hostname: path.replace('.', "-"),
        vcpus: 1,
        memory_bytes: GIB,
        image: "std:tiny".into(),
        boot: Boot::default(),
        volumes: vec![VolumeSpec {
            name: "root".into(),
            size_bytes: 4 * GIB,
            filesystem: None,
            copy_on_write: false,
            store: None,
            existing: false,
        }],
        nics: vec![NicSpec::dhcp("eth0")],
        cloud_init: CloudInit::default(),
        keep_volumes: KeepVolumes::default(),
        save_image: None,
        rules: RunRules::default(),
    }
}

pub fn ownership(spec: &DomainSpec) -> Ownership {
    Ownership {
        account: account(0),
        pool: "hello".parse().unwrap(),
        path: spec.path.clone(),
        generation: 1,
        digest: spec.digest(),
    }
}

/// Image, volumes and definition; the name.
pub fn define(host: &dyn Hypervisor, spec: &DomainSpec, now: Timestamp) -> String {
    let ownership = ownership(spec);
    host.ensure_image(&spec.image).unwrap();
    host.ensure_volumes(spec, &ownership).unwrap();
    host.define(spec, &ownership, now).unwrap();
    ownership.hypervisor_name()
}

/// The same, started.
pub fn start(host: &dyn Hypervisor, spec: &DomainSpec, now: Timestamp) -> String {
    let name = define(host, spec, now);
    host.start(&name, now).unwrap();
    name
}
