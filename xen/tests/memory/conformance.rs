//! The rules of every driver, on simulated hosts that boot at once and that take their time.

use std::cell::Cell;

use tycoon_market::{TimeSpan, Timestamp};
use tycoon_xen::conformance::{Surroundings, check_all};
use tycoon_xen::hypervisor::{Hypervisor, HypervisorError};
use tycoon_xen::memory::{ForeignDomain, MemoryHost, MemoryHostConfig};

use super::scene::{GIB, at, config, tree};

struct Simulated {
    tree: sled::Tree,
    config: MemoryHostConfig,
    now: Cell<Timestamp>,
}

impl Surroundings for Simulated {
    fn open(&self) -> Result<Box<dyn Hypervisor>, HypervisorError> {
        Ok(Box::new(MemoryHost::open(self.tree.clone(), self.config.clone())?))
    }

    fn now(&self) -> Timestamp {
        self.now.get()
    }

    fn pass(&self, span: TimeSpan) {
        self.now.set(self.now.get().plus(span));
    }
}

fn check(config: MemoryHostConfig) {
    let simulated = Simulated { tree: tree(), config, now: Cell::new(at(0)) };
    let host = MemoryHost::open(simulated.tree.clone(), simulated.config.clone()).unwrap();
    let foreign = ForeignDomain { name: "db.old".into(), vcpus: 1, memory_bytes: GIB, disk_bytes: GIB, address: None };
    host.add_foreign(&foreign, at(0)).unwrap();
    drop(host);
    let broken = check_all(&simulated);
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn a_host_without_delays_keeps_all_rules() {
    check(config());
}

#[test]
fn a_host_whose_guests_take_their_time_keeps_all_rules() {
    let (boot_time, shutdown_time) = (TimeSpan::from_seconds(7), TimeSpan::from_seconds(3));
    check(MemoryHostConfig { boot_time, shutdown_time, ..config() });
}

#[test]
fn a_host_whose_guests_never_shut_down_by_themselves_keeps_all_rules() {
    check(MemoryHostConfig { shutdown_time: TimeSpan::from_seconds(1_000_000), ..config() });
}
