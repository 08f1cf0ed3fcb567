//! Random operations on a simulated host: what must hold after every one of them.

use proptest::prelude::*;
use tycoon_market::{Quantity, ResourceKind, TimeSpan, Timestamp};
use tycoon_xen::hypervisor::{Hypervisor, HypervisorError};
use tycoon_xen::memory::{ForeignDomain, MemoryHost, MemoryHostConfig};
use tycoon_xen::spec::{Addressing, DomainSpec, Ownership};
use tycoon_xen::status::DomainStatus;

use super::scene::{GIB, MIB, account, at, config, spec, tree};

#[derive(Clone, Debug)]
enum Step {
    Pass { seconds: u64 },
    EnsureImage,
    EnsureVolumes { domain: u8, gib: u64 },
    Define { domain: u8, vcpus: u32, half_gib: u64, static_address: Option<u8> },
    Start { domain: u8 },
    Stop { domain: u8, grace_ms: u64 },
    Remove { domain: u8 },
    SetCpu { domain: u8, weight: u16, cap: u32 },
    SetMemory { domain: u8, half_gib: u64 },
    Crash { domain: u8 },
}

/// Domains 0 to 3 are ours, of two accounts; 4 is foreign.
const FOREIGN: u8 = 4;

fn step() -> impl Strategy<Value = Step> {
    let domain = 0..=FOREIGN;
    let ours = 0..FOREIGN;
    prop_oneof![
        (0_u64..100).prop_map(|seconds| Step::Pass { seconds }),
        Just(Step::EnsureImage),
        (ours.clone(), 0_u64..12).prop_map(|(domain, gib)| Step::EnsureVolumes { domain, gib }),
        (ours.clone(), 0_u32..4, 0_u64..8, proptest::option::of(0_u8..8)).prop_map(
            |(domain, vcpus, half_gib, static_address)| Step::Define { domain, vcpus, half_gib, static_address }
        ),
        domain.clone().prop_map(|domain| Step::Start { domain }),
        (domain.clone(), 0_u64..60_000).prop_map(|(domain, grace_ms)| Step::Stop { domain, grace_ms }),
        domain.clone().prop_map(|domain| Step::Remove { domain }),
        (domain.clone(), 0_u16..2000, 0_u32..300).prop_map(|(domain, weight, cap)| Step::SetCpu {
            domain,
            weight,
            cap
        }),
        (domain, 0_u64..12).prop_map(|(domain, half_gib)| Step::SetMemory { domain, half_gib }),
        ours.prop_map(|domain| Step::Crash { domain }),
    ]
}

fn subject(domain: u8) -> (DomainSpec, Ownership) {
    let spec = spec(&format!("d.{}", domain / 2));
    let owner = Ownership {
        account: account(usize::from(domain % 2)),
        pool: "random".parse().unwrap(),
        path: spec.path.clone(),
        generation: 1,
        digest: spec.digest(),
    };
    (spec, owner)
}

fn name(domain: u8) -> String {
    if domain == FOREIGN { "foreign".into() } else { subject(domain).1.hypervisor_name() }
}

/// Does a step; true where it says that it changed something, `None` where it was refused or says nothing.
fn act(host: &MemoryHost, step: &Step, now: Timestamp) -> Option<bool> {
    let result = match *step {
        Step::Pass { .. } => return None,
        Step::EnsureImage => host.ensure_image("std:tiny"),
        Step::EnsureVolumes { domain, gib } => {
            let (mut spec, owner) = subject(domain);
            spec.volumes[0].size_bytes = gib * GIB;
            host.ensure_volumes(&spec, &owner)
        }
        Step::Define { domain, vcpus, half_gib, static_address } => {
            let (mut spec, owner) = subject(domain);
            (spec.vcpus, spec.memory_bytes) = (vcpus, half_gib * GIB / 2);
            if let Some(last) = static_address {
                spec.nics[0].address =
                    Addressing::Static { address: [10, 64, 0, last].into(), prefix: 24, gateway: None };
            }
            host.define(&spec, &owner, now)
        }
        Step::Start { domain } => host.start(&name(domain), now),
        Step::Stop { domain, grace_ms } => host.stop(&name(domain), grace_ms, now),
        Step::Remove { domain } => host.remove(&name(domain), now),
        Step::SetCpu { domain, weight, cap } => {
            host.set_cpu(&name(domain), weight, cap, now).ok()?;
            return None;
        }
        Step::SetMemory { domain, half_gib } => {
            host.set_memory(&name(domain), half_gib * GIB / 2, now).ok()?;
            return None;
        }
        Step::Crash { domain } => host.crash(&name(domain), now),
    };
    match result {
        Ok(changed) => Some(changed),
        Err(HypervisorError::NameTaken(taken)) => {
            assert_eq!(taken, "foreign", "only the foreign domain's name is taken");
            None
        }
        Err(_) => None,
    }
}

/// What a foreign domain is, but for the CPU it uses.
fn looks(status: &DomainStatus) -> DomainStatus {
    DomainStatus { cpu_time: TimeSpan::ZERO, ..status.clone() }
}

fn check_capacity(host: &MemoryHost, config: &MemoryHostConfig, now: Timestamp) {
    let domains = host.domains(now).unwrap();
    let memory: u64 = domains.iter().filter(|d| d.state.is_active()).map(|d| d.memory_bytes).sum();
    assert!(memory <= config.domain_memory_bytes(), "{memory} bytes of memory are in use: {domains:#?}");
    let disk: u64 = domains.iter().flat_map(|d| &d.volumes).map(|(_, size)| size).sum();
    assert!(disk <= config.disk_bytes, "{disk} bytes of disk are in use: {domains:#?}");
    let mut addresses: Vec<_> = domains.iter().filter_map(|d| d.address).collect();
    let count = addresses.len();
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), count, "two domains have one address: {domains:#?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn the_host_stays_itself(
        steps in proptest::collection::vec(step(), 1..60),
        boot_seconds in 0_u64..20,
        shutdown_seconds in 0_u64..40,
        reopen_every in 1_usize..10,
    ) {
        let config = MemoryHostConfig {
            boot_time: TimeSpan::from_seconds(boot_seconds),
            shutdown_time: TimeSpan::from_seconds(shutdown_seconds),
            ..config()
        };
        let tree = tree();
        let mut host = MemoryHost::open(tree.clone(), config.clone()).unwrap();
        let foreign = ForeignDomain {
            name: name(FOREIGN), vcpus: 2, memory_bytes: GIB, disk_bytes: 512 * MIB, address: Some([10, 64, 0, 3].into()),
        };
        let mut now = at(0);
        host.add_foreign(&foreign, now).unwrap();
        let foreign = looks(&host.domain(&name(FOREIGN), now).unwrap().unwrap());
        let mut used = TimeSpan::ZERO;
        let started = now;

        for (number, step) in steps.iter().enumerate() {
            if let Step::Pass { seconds } = step {
                now = now.plus(TimeSpan::from_seconds(*seconds));
            }
            let before = host.domains(now).unwrap();
            match act(&host, step, now) {
                Some(true) => {
                    let after = host.domains(now).unwrap();
                    prop_assert_ne!(act(&host, step, now), Some(true), "{:?} changed something twice", step);
                    prop_assert_eq!(host.domains(now).unwrap(), after);
                }
                Some(false) => prop_assert_eq!(host.domains(now).unwrap(), before, "{:?} said no change", step),
                None => {
                    let after = host.domains(now).unwrap();
                    act(&host, step, now);
                    prop_assert_eq!(host.domains(now).unwrap(), after, "{:?} is not idempotent", step);
                }
            }
            check_capacity(&host, &config, now);
            prop_assert_eq!(looks(&host.domain(&name(FOREIGN), now).unwrap().unwrap()), foreign.clone());
            let all: u64 = host.domains(now).unwrap().iter().map(|d| d.cpu_time.micros()).sum();
            prop_assert!(all <= 2 * now.since(started).micros(), "more CPU was used than there is");
            let foreign_used = host.domain(&name(FOREIGN), now).unwrap().unwrap().cpu_time;
            prop_assert!(foreign_used >= used, "CPU time fell");
            used = foreign_used;

            if number % reopen_every == 0 {
                let live = host.domains(now).unwrap();
                drop(host);
                host = MemoryHost::open(tree.clone(), config.clone()).unwrap();
                prop_assert_eq!(host.domains(now).unwrap(), live);
            }
        }
        let facts = host.facts().unwrap();
        prop_assert!(facts.capacity.contains(&(ResourceKind::Memory, Quantity::from_bytes(3 * GIB))));
    }
}
