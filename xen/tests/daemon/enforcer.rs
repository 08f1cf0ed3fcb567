//! The gate before a hypervisor: what no honest market asks for is refused, whoever asks.

use std::sync::Arc;

use tycoon_market::{HostAccountId, Timestamp};
use tycoon_xen::enforcer::Enforcer;
use tycoon_xen::hypervisor::{Hypervisor, HypervisorError};
use tycoon_xen::memory::{ForeignDomain, MemoryHost, MemoryHostConfig};
use tycoon_xen::spec::{DomainSpec, Ownership};

use crate::daemon::scene::*;

fn now() -> Timestamp {
    Timestamp::from_seconds(1_800_000_000)
}

fn ownership(party: Party, spec: &DomainSpec, generation: u64) -> Ownership {
    let HostAccountId { account, pool } = party.at("hello");
    Ownership { account, pool, path: spec.path.clone(), generation, digest: spec.digest() }
}

/// A simulated machine with a domain that is not Tycoon's, and the gate before it.
fn gate() -> (Arc<MemoryHost>, Enforcer) {
    let database = sled::Config::new().temporary(true).open().unwrap();
    let machine = MemoryHost::open(database.open_tree("machine").unwrap(), MemoryHostConfig::default()).unwrap();
    let machine = Arc::new(machine);
    let foreign = ForeignDomain { name: "mail".into(), vcpus: 1, memory_bytes: GIB, disk_bytes: GIB, address: None };
    machine.add_foreign(&foreign, now()).unwrap();
    let enforcer = Enforcer::new(machine.clone());
    enforcer.domains(now()).unwrap();
    (machine, enforcer)
}

fn is_refused<T>(outcome: Result<T, HypervisorError>) {
    let error = outcome.err().expect("it is refused");
    assert!(matches!(error, HypervisorError::Refused { .. } | HypervisorError::NameTaken(_)), "it is {error:?}");
}

#[test]
fn what_an_honest_market_asks_for_is_done() {
    let (_, gate) = gate();
    let web = spec("web.0");
    let own = ownership(ALICE, &web, 1);
    assert!(gate.ensure_image(&web.image).is_ok());
    assert!(gate.ensure_volumes(&web, &own).unwrap());
    assert!(gate.define(&web, &own, now()).unwrap());
    assert!(gate.start(&own.hypervisor_name(), now()).unwrap());
    gate.set_cpu(&own.hypervisor_name(), 256, 0, now()).unwrap();
    assert!(gate.remove(&own.hypervisor_name(), now()).unwrap());
}

#[test]
fn what_is_not_tycoons_is_not_touched() {
    let (machine, gate) = gate();
    is_refused(gate.start("mail", now()));
    is_refused(gate.stop("mail", 0, now()));
    is_refused(gate.remove("mail", now()));
    is_refused(gate.set_cpu("mail", 1, 0, now()));
    is_refused(gate.set_memory("mail", 1, now()));
    is_refused(gate.open_console("mail").map(drop));
    is_refused(gate.open_volume("mail", "root").map(drop));
    is_refused(gate.open_volume(&"../".repeat(1_000), "root").map(drop));
    is_refused(gate.keep_as_image("mail", "root", "mine"));
    assert!(machine.domain("mail", now()).unwrap().is_some());
}

#[test]
fn a_domain_stays_its_owners_and_goes_by_the_newest_plan() {
    let (_, gate) = gate();
    let web = spec("web.0");
    let own = ownership(ALICE, &web, 5);
    gate.ensure_image(&web.image).unwrap();
    gate.ensure_volumes(&web, &own).unwrap();
    gate.define(&web, &own, now()).unwrap();
    is_refused(gate.define(&web, &Ownership { generation: 4, ..own.clone() }, now()));
    let other = spec("db.0");
    is_refused(gate.define(&other, &own, now()));
    is_refused(gate.ensure_volumes(&other, &own));
    let changed = DomainSpec { vcpus: 2, ..web.clone() };
    is_refused(gate.define(&changed, &own, now()));
    assert!(gate.define(&changed, &ownership(ALICE, &changed, 5), now()).unwrap());
}

#[test]
fn names_and_numbers_that_nobody_needs_are_refused() {
    let (_, gate) = gate();
    is_refused(gate.ensure_image("../../etc/passwd"));
    let mut web = spec("web.0");
    web.image = "/etc/passwd".into();
    is_refused(gate.ensure_volumes(&web, &ownership(ALICE, &web, 1)));
    is_refused(gate.set_cpu("any", 0, 0, now()));
    is_refused(gate.set_cpu("any", 1, u32::MAX, now()));
}
