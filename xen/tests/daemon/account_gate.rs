//! What an account finds behind its own gate: its own, and of that only what is looked at. Every call there is, is tried.

use std::io::Read as _;
use std::sync::Arc;

use tycoon_market::{AccountId, Timestamp};
use tycoon_xen::enforcer::{AccountGate, Enforcer};
use tycoon_xen::hypervisor::{Hypervisor, HypervisorError};
use tycoon_xen::memory::{ForeignDomain, MemoryHost, MemoryHostConfig};
use tycoon_xen::remote::message::Call;
use tycoon_xen::spec::{DomainSpec, Ownership};
use tycoon_xen::status::Kept;

use crate::daemon::scene::*;

fn now() -> Timestamp {
    Timestamp::from_seconds(1_800_000_000)
}

fn account(party: Party) -> AccountId {
    party.at("hello").account
}

fn ownership(party: Party, spec: &DomainSpec) -> Ownership {
    Ownership {
        account: account(party),
        pool: pool("hello"),
        path: spec.path.clone(),
        generation: 1,
        digest: spec.digest(),
    }
}

/// A simulated machine with a domain of Alice's, one of Bob's, and a foreign one.
fn host() -> (Arc<MemoryHost>, Arc<Enforcer>) {
    let database = sled::Config::new().temporary(true).open().unwrap();
    let machine = MemoryHost::open(database.open_tree("machine").unwrap(), MemoryHostConfig::default()).unwrap();
    let machine = Arc::new(machine);
    let foreign = ForeignDomain { name: "mail".into(), vcpus: 1, memory_bytes: GIB, disk_bytes: GIB, address: None };
    machine.add_foreign(&foreign, now()).unwrap();
    let enforcer = Arc::new(Enforcer::new(machine.clone()));
    enforcer.domains(now()).unwrap();
    for party in [ALICE, BOB] {
        let web = spec("web.0");
        let own = ownership(party, &web);
        enforcer.ensure_image(&web.image).unwrap();
        enforcer.ensure_volumes(&web, &own).unwrap();
        enforcer.define(&web, &own, now()).unwrap();
        enforcer.start(&own.hypervisor_name(), now()).unwrap();
    }
    (machine, enforcer)
}

fn name_of(party: Party) -> String {
    ownership(party, &spec("web.0")).hypervisor_name()
}

/// One call of every kind, about the domain of this name.
fn every_call(name: &str) -> Vec<Call> {
    let (name, now) = (name.to_owned(), Timestamp::from_micros(i64::MAX));
    let (spec, ownership) = (Box::new(spec("web.0")), Box::new(ownership(ALICE, &spec("web.0"))));
    let all = vec![
        Call::Facts,
        Call::Domains { now },
        Call::Domain { name: name.clone(), now },
        Call::EnsureImage { image: spec.image.clone() },
        Call::EnsureVolumes { spec: spec.clone(), ownership: ownership.clone() },
        Call::Define { spec, ownership, now },
        Call::Start { name: name.clone(), now },
        Call::Stop { name: name.clone(), grace_ms: 0, now },
        Call::Suspend { name: name.clone(), now },
        Call::Remove { name: name.clone(), now },
        Call::Keep {
            name: name.clone(),
            kept: Box::new(Kept { until: now, image: String::new(), volumes: Vec::new() }),
            now,
        },
        Call::Listens { name: name.clone(), port: 22, now },
        Call::SetCpu { name: name.clone(), weight: 1, cap_percent: 1, now },
        Call::SetMemory { name, memory_bytes: 1, now },
    ];
    for call in &all {
        // A new call must be added above, and its answer below, before this compiles again.
        match call {
            Call::Facts
            | Call::Domains { .. }
            | Call::Domain { .. }
            | Call::EnsureImage { .. }
            | Call::EnsureVolumes { .. }
            | Call::Define { .. }
            | Call::Start { .. }
            | Call::Stop { .. }
            | Call::Suspend { .. }
            | Call::Remove { .. }
            | Call::Keep { .. }
            | Call::Listens { .. }
            | Call::SetCpu { .. }
            | Call::SetMemory { .. } => {}
        }
    }
    all
}

/// What a call comes to at a gate: the names of the domains that were seen.
fn done(gate: &AccountGate, call: &Call) -> Result<Vec<String>, HypervisorError> {
    let nothing = |_| Vec::new();
    match call {
        Call::Facts => gate.facts().map(|_| Vec::new()),
        Call::Domains { now } => Ok(gate.domains(*now)?.into_iter().map(|domain| domain.name).collect()),
        Call::Domain { name, now } => Ok(gate.domain(name, *now)?.into_iter().map(|domain| domain.name).collect()),
        Call::EnsureImage { image } => gate.ensure_image(image).map(nothing),
        Call::EnsureVolumes { spec, ownership } => gate.ensure_volumes(spec, ownership).map(nothing),
        Call::Define { spec, ownership, now } => gate.define(spec, ownership, *now).map(nothing),
        Call::Start { name, now } => gate.start(name, *now).map(nothing),
        Call::Stop { name, grace_ms, now } => gate.stop(name, *grace_ms, *now).map(nothing),
        Call::Suspend { name, now } => gate.suspend(name, *now).map(nothing),
        Call::Remove { name, now } => gate.remove(name, *now).map(nothing),
        Call::Keep { name, kept, now } => gate.keep(name, kept, *now).map(nothing),
        Call::Listens { name, port, now } => gate.listens(name, *port, *now).map(nothing),
        Call::SetCpu { name, weight, cap_percent, now } => {
            gate.set_cpu(name, *weight, *cap_percent, *now).map(|()| Vec::new())
        }
        Call::SetMemory { name, memory_bytes, now } => gate.set_memory(name, *memory_bytes, *now).map(|()| Vec::new()),
    }
}

#[test]
fn of_all_calls_three_are_answered_and_they_show_what_is_ones_own() {
    let (machine, enforcer) = host();
    let before = machine.domains(now()).unwrap();
    let gate = AccountGate::new(enforcer, account(ALICE));
    for name in [name_of(ALICE), name_of(BOB), "mail".into(), "../../etc/passwd".into(), String::new()] {
        for call in every_call(&name) {
            let expected = match &call {
                Call::Facts => Ok(Vec::new()),
                Call::Domains { .. } => Ok(vec![name_of(ALICE)]),
                Call::Domain { .. } if name == name_of(ALICE) => Ok(vec![name_of(ALICE)]),
                Call::Domain { .. } => Ok(Vec::new()),
                _ => Err(()),
            };
            let outcome = done(&gate, &call);
            let is_refused =
                matches!(&outcome, Err(HypervisorError::Refused { reason, .. }) if reason.contains("market"));
            match expected {
                Ok(seen) => assert_eq!(outcome, Ok(seen), "{call:?}"),
                Err(()) => assert!(is_refused, "{call:?}: {outcome:?}"),
            }
        }
    }
    // Also the time that the client says is nobody's.
    assert_eq!(machine.domains(now()).unwrap(), before, "nothing has changed");
}

#[test]
fn a_console_is_opened_for_the_owner_alone() {
    let (_, enforcer) = host();
    let gate = AccountGate::new(enforcer.clone(), account(ALICE));
    assert!(gate.open_console(&name_of(ALICE)).is_ok());
    for name in [name_of(BOB), "mail".into(), "../web".into(), String::new()] {
        let error = gate.open_console(&name).err().expect("it is refused");
        assert!(matches!(&error, HypervisorError::Refused { reason, .. } if reason.contains("no domain")), "{error:?}");
    }
    // The same moment that it is not hers any more, it is closed to her.
    enforcer.remove(&name_of(ALICE), now()).unwrap();
    assert!(gate.open_console(&name_of(ALICE)).is_err());
    assert!(gate.open_volume(&name_of(ALICE), "root").is_err());
}

#[test]
fn a_volume_is_read_by_its_owner_alone() {
    let (machine, enforcer) = host();
    for party in [ALICE, BOB] {
        enforcer.stop(&name_of(party), 0, now()).unwrap();
    }
    let gate = AccountGate::new(enforcer.clone(), account(ALICE));
    let mut begin = [0; 100];
    gate.open_volume(&name_of(ALICE), "root").unwrap().content.read_exact(&mut begin).unwrap();
    assert!(String::from_utf8_lossy(&begin).contains(&name_of(ALICE)));
    for name in [name_of(BOB), "mail".into(), "../web".into(), String::new(), "x".repeat(10_000)] {
        let error = gate.open_volume(&name, "root").expect_err("it is refused");
        assert!(matches!(&error, HypervisorError::Refused { reason, .. } if reason.contains("no domain")), "{error:?}");
        assert!(error.to_string().len() < 250, "{error}");
    }
    let error = gate.open_volume(&name_of(ALICE), "../../etc/shadow").expect_err("it is refused");
    assert!(error.to_string().contains("has no volume"), "{error}");
    // One that runs is not read, and one that is hers no more neither.
    enforcer.start(&name_of(ALICE), now()).unwrap();
    assert!(gate.open_volume(&name_of(ALICE), "root").is_err());
    enforcer.remove(&name_of(ALICE), now()).unwrap();
    assert!(gate.open_volume(&name_of(ALICE), "root").is_err());
    // Bob's is his all the while.
    let bobs = AccountGate::new(enforcer, account(BOB));
    assert!(bobs.open_volume(&name_of(BOB), "root").is_ok());
    assert!(machine.domain(&name_of(BOB), now()).unwrap().is_some());
}

#[test]
fn before_the_market_has_told_the_time_nothing_is_shown() {
    let (machine, _) = host();
    let gate = AccountGate::new(Arc::new(Enforcer::new(machine)), account(ALICE));
    let error = gate.domains(now()).unwrap_err();
    assert!(error.to_string().contains("try again in a moment"), "{error}");
    assert!(gate.open_console(&name_of(ALICE)).is_err());
    assert!(gate.open_volume(&name_of(ALICE), "root").is_err());
}
