//! The simulated host's own rules: capacity, time, addresses, durability.

use std::net::Ipv4Addr;

use tycoon_market::{Quantity, ResourceKind, TimeSpan};
use tycoon_xen::hypervisor::{Hypervisor, HypervisorError};
use tycoon_xen::memory::{Demand, ForeignDomain, MemoryHost, MemoryHostConfig, PrivateNetwork};
use tycoon_xen::spec::{Addressing, DomainSpec, Ownership};
use tycoon_xen::status::DomainState;

use super::scene::{GIB, MIB, account, at, config, define, host, ownership, spec, start, tree};

fn used(host: &MemoryHost, name: &str, second: i64) -> TimeSpan {
    host.domain(name, at(second)).unwrap().unwrap().cpu_time
}

fn state(host: &MemoryHost, name: &str, second: i64) -> DomainState {
    host.domain(name, at(second)).unwrap().unwrap().state
}

fn foreign(memory_bytes: u64) -> ForeignDomain {
    ForeignDomain { name: "db.old".into(), vcpus: 1, memory_bytes, disk_bytes: 2 * GIB, address: None }
}

#[test]
fn capacity_is_what_control_domain_and_foreign_domains_leave() {
    let host = host(config());
    host.add_foreign(&foreign(GIB), at(0)).unwrap();
    let facts = host.facts().unwrap();
    assert!(facts.is_simulated);
    assert_eq!(
        facts.capacity,
        [
            (ResourceKind::Cpu, Quantity::from_cpus(1)),
            (ResourceKind::Memory, Quantity::from_bytes(3 * GIB)),
            (ResourceKind::Disk, Quantity::from_bytes(18 * GIB)),
        ]
    );
}

#[test]
fn memory_is_held_while_a_domain_runs_and_runs_out() {
    let host = host(config());
    let names: Vec<String> = (0..4).map(|n| start(&host, &spec(&format!("web.{n}")), at(0))).collect();
    let fifth = define(&host, &spec("web.4"), at(0));
    let full = HypervisorError::Full {
        kind: ResourceKind::Memory,
        available: Quantity::ZERO,
        asked: Quantity::from_bytes(GIB),
    };
    assert_eq!(host.start(&fifth, at(1)), Err(full));
    assert_eq!(host.set_memory(&names[0], GIB / 2, at(2)), Ok(()));
    assert!(host.start(&fifth, at(3)).is_err(), "half a GiB is not enough");
    host.stop(&names[1], 0, at(4)).unwrap();
    assert_eq!(host.start(&fifth, at(5)), Ok(true));
    assert!(matches!(host.set_memory(&names[0], 2 * GIB, at(6)), Err(HypervisorError::Full { .. })));
    let mut larger = spec("web.0");
    larger.memory_bytes = 2 * GIB;
    let refusal = host.define(&larger, &ownership(&larger), at(6));
    assert!(matches!(refusal, Err(HypervisorError::Full { .. })), "a running domain takes memory at once: {refusal:?}");
    assert_eq!(host.domain(&names[0], at(6)).unwrap().unwrap().memory_bytes, GIB / 2, "a refusal changes nothing");
}

#[test]
fn cpu_goes_by_weight_and_no_domain_gets_more_than_its_cap() {
    let host = host(MemoryHostConfig { cpus: 1, ..config() });
    let (one, three) = (start(&host, &spec("a"), at(0)), start(&host, &spec("b"), at(0)));
    host.set_cpu(&three, 768, 0, at(0)).unwrap();
    assert_eq!(used(&host, &one, 100), TimeSpan::from_seconds(25));
    assert_eq!(used(&host, &three, 100), TimeSpan::from_seconds(75));
    host.set_cpu(&three, 768, 20, at(100)).unwrap();
    assert_eq!(used(&host, &three, 200), TimeSpan::from_seconds(75 + 20));
    assert_eq!(used(&host, &one, 200), TimeSpan::from_seconds(25 + 80), "what a cap leaves, others use");
    host.stop(&three, 0, at(200)).unwrap();
    assert_eq!(used(&host, &one, 300), TimeSpan::from_seconds(25 + 80 + 100));
}

#[test]
fn foreign_domains_use_cpu_too() {
    let host = host(MemoryHostConfig { cpus: 1, ..config() });
    let name = start(&host, &spec("a"), at(0));
    host.add_foreign(&foreign(GIB), at(0)).unwrap();
    assert_eq!(used(&host, &name, 10), TimeSpan::from_seconds(5));
}

#[test]
fn guests_use_the_part_of_their_cpus_that_the_seed_gives_them() {
    let demand = Demand { lowest_percent: 20, highest_percent: 50 };
    let busy = |seed| {
        let host = host(MemoryHostConfig { demand, seed, ..config() });
        let name = start(&host, &spec("a"), at(0));
        used(&host, &name, 1000)
    };
    assert_eq!(busy(1), busy(1));
    assert_ne!(busy(1), busy(2));
    assert!((200..=500).contains(&(busy(1).micros() / 1_000_000)));
}

#[test]
fn boot_and_shutdown_take_virtual_time_whether_anybody_looks_or_not() {
    let (boot_time, shutdown_time) = (TimeSpan::from_seconds(10), TimeSpan::from_seconds(5));
    let host = host(MemoryHostConfig { boot_time, shutdown_time, ..config() });
    let name = start(&host, &spec("a"), at(0));
    assert_eq!(state(&host, &name, 9), DomainState::Booting);
    assert_eq!(state(&host, &name, 10), DomainState::Running);
    assert_eq!(host.stop(&name, 60_000, at(20)), Ok(true));
    assert_eq!(host.stop(&name, 60_000, at(21)), Ok(false), "it was asked already");
    assert_eq!(state(&host, &name, 24), DomainState::ShuttingDown);
    assert!(matches!(host.start(&name, at(24)), Err(HypervisorError::Failed { .. })));
    // A year later: it used CPU until second 25 and no longer.
    assert_eq!(used(&host, &name, 365 * 86_400), TimeSpan::from_seconds(25));
    assert_eq!(state(&host, &name, 365 * 86_400), DomainState::Stopped);
}

#[test]
fn a_guest_that_does_not_shut_down_in_its_grace_is_destroyed() {
    let host = host(MemoryHostConfig { shutdown_time: TimeSpan::from_seconds(600), ..config() });
    let name = start(&host, &spec("a"), at(0));
    host.stop(&name, 30_000, at(0)).unwrap();
    assert_eq!(state(&host, &name, 29), DomainState::ShuttingDown);
    assert_eq!(state(&host, &name, 30), DomainState::Stopped);
    host.start(&name, at(40)).unwrap();
    host.stop(&name, 30_000, at(40)).unwrap();
    assert_eq!(host.stop(&name, 0, at(41)), Ok(true), "patience can be lost");
    assert_eq!(state(&host, &name, 41), DomainState::Stopped);
}

#[test]
fn a_clock_that_goes_back_is_no_time() {
    let host = host(config());
    let name = start(&host, &spec("a"), at(0));
    assert_eq!(used(&host, &name, 100), TimeSpan::from_seconds(100));
    assert_eq!(used(&host, &name, 90), TimeSpan::from_seconds(100), "calls overtook each other");
    assert_eq!(used(&host, &name, 101), TimeSpan::from_seconds(101));
    assert_eq!(used(&host, &name, -86_400), TimeSpan::from_seconds(101), "the clock was put back by a day");
    assert_eq!(used(&host, &name, -86_390), TimeSpan::from_seconds(111), "and time goes on from there");
}

#[test]
fn time_in_pieces_is_time_at_once_to_the_microsecond() {
    let make = || {
        let host = host(MemoryHostConfig { demand: Demand { lowest_percent: 1, highest_percent: 99 }, ..config() });
        let names = ["a", "b", "c"].map(|path| start(&host, &spec(path), at(0)));
        host.set_cpu(&names[0], 100, 33, at(0)).unwrap();
        host
    };
    let (whole, pieces) = (make(), make());
    for step in 0..997 {
        pieces.domains(at(0).plus(TimeSpan::from_micros(step * 10_007))).unwrap();
    }
    assert_eq!(pieces.domains(at(10)), whole.domains(at(10)));
}

#[test]
fn crashes_and_power_losses_end_domains_and_leave_what_is_defined() {
    let host = host(config());
    let name = start(&host, &spec("a"), at(0));
    assert_eq!(host.crash(&name, at(1)), Ok(true));
    assert_eq!(state(&host, &name, 2), DomainState::Crashed);
    assert_eq!(host.stop(&name, 0, at(2)), Ok(false));
    assert_eq!(host.start(&name, at(3)), Ok(true));
    assert_eq!(host.power_off_inside(&name, at(4)), Ok(true));
    assert_eq!(state(&host, &name, 5), DomainState::Stopped);
    assert_eq!(host.start(&name, at(5)), Ok(true));
    host.power_cycle(at(6)).unwrap();
    assert_eq!(state(&host, &name, 7), DomainState::Stopped);
    assert_eq!(used(&host, &name, 100), TimeSpan::from_seconds(1 + 1 + 1));
}

#[test]
fn addresses_are_given_once_and_free_after_removal() {
    let network = PrivateNetwork { base: Ipv4Addr::new(10, 9, 0, 0), prefix: 29 };
    let host = host(MemoryHostConfig { network, ..config() });
    let address = |name: &str| host.domain(name, at(0)).unwrap().unwrap().address;
    let small = |path: &str| {
        let mut spec = spec(path);
        spec.volumes[0].size_bytes = GIB;
        spec
    };
    let names: Vec<String> = (0..5).map(|n| define(&host, &small(&format!("n.{n}")), at(0))).collect();
    for (number, name) in names.iter().enumerate() {
        assert_eq!(address(name), Some(Ipv4Addr::new(10, 9, 0, 2 + number as u8)));
    }
    let one_more = small("n.5");
    let refusal = host.define(&one_more, &ownership(&one_more), at(0));
    assert!(matches!(refusal, Err(HypervisorError::Failed { .. })), "{refusal:?}");
    host.remove(&names[2], at(1)).unwrap();
    assert_eq!(host.define(&one_more, &ownership(&one_more), at(2)), Ok(true));
    assert_eq!(address(&ownership(&one_more).hypervisor_name()), Some(Ipv4Addr::new(10, 9, 0, 4)));
}

#[test]
fn addresses_that_are_not_free_are_refused() {
    let host = host(config());
    define(&host, &spec("a"), at(0));
    let ask = |address: [u8; 4], prefix| {
        let mut spec = spec("b");
        spec.nics[0].address = Addressing::Static { address: address.into(), prefix, gateway: None };
        host.define(&spec, &ownership(&spec), at(0))
    };
    for (address, why) in
        [([10, 64, 0, 2], "another's"), ([10, 64, 0, 1], "the gateway"), ([10, 64, 0, 0], "the network")]
    {
        assert_eq!(ask(address, 24), Err(HypervisorError::AddressTaken(address.into())), "{why}");
    }
    for (address, prefix) in [([127, 0, 0, 1], 8), ([0, 0, 0, 0], 0), ([224, 0, 0, 1], 4), ([192, 0, 2, 1], 33)] {
        assert!(matches!(ask(address, prefix), Err(HypervisorError::Refused { .. })), "{address:?}/{prefix}");
    }
    assert_eq!(ask([192, 0, 2, 7], 24), Ok(true));
}

#[test]
fn a_running_domain_keeps_its_address_from_others_until_it_stops() {
    let host = host(config());
    let name = start(&host, &spec("a"), at(0));
    let mut moved = spec("a");
    moved.nics[0].address = Addressing::Static { address: [192, 0, 2, 1].into(), prefix: 24, gateway: None };
    define(&host, &moved, at(1));
    assert_eq!(host.domain(&name, at(1)).unwrap().unwrap().address, Some([10, 64, 0, 2].into()));
    let other = define(&host, &spec("b"), at(1));
    assert_eq!(host.domain(&other, at(1)).unwrap().unwrap().address, Some([10, 64, 0, 3].into()));
    host.stop(&name, 0, at(2)).unwrap();
    assert_eq!(host.domain(&name, at(2)).unwrap().unwrap().address, Some([192, 0, 2, 1].into()));
}

#[test]
fn specs_that_make_no_machine_are_refused_with_the_reason() {
    let host = host(config());
    type Spoil = fn(&mut DomainSpec);
    let cases: [(&str, Spoil); 6] = [
        ("0 virtual CPUs", |spec| spec.vcpus = 0),
        ("129 virtual CPUs", |spec| spec.vcpus = 129),
        ("no memory", |spec| spec.memory_bytes = 0),
        ("volume `root` has no size", |spec| spec.volumes[0].size_bytes = 0),
        ("two volumes `root`", |spec| spec.volumes.push(spec.volumes[0].clone())),
        ("two network interfaces `eth0`", |spec| spec.nics.push(spec.nics[0].clone())),
    ];
    for (reason, spoil) in cases {
        let mut spec = spec("a");
        spoil(&mut spec);
        let refusal = host.define(&spec, &ownership(&spec), at(0)).unwrap_err().to_string();
        assert!(refusal.contains(reason), "{refusal} should say {reason}");
    }
    let other_path = ownership(&spec("b"));
    assert!(matches!(host.define(&spec("a"), &other_path, at(0)), Err(HypervisorError::Refused { .. })));
    assert_eq!(host.domains(at(0)), Ok(vec![]), "refusals leave nothing");
}

#[test]
fn new_root_volumes_need_their_image() {
    let host = host(MemoryHostConfig { images: ["debian-12".to_owned()].into(), ..config() });
    let mut spec = spec("a");
    spec.image = "debian-12".into();
    let ownership = ownership(&spec);
    assert_eq!(host.ensure_volumes(&spec, &ownership), Err(HypervisorError::NoImage("debian-12".into())));
    assert_eq!(host.ensure_image("debian-12"), Ok(true));
    assert_eq!(host.ensure_volumes(&spec, &ownership), Ok(true));
    assert_eq!(host.facts().unwrap().images, ["debian-12", "std:tiny"]);
}

#[test]
fn a_foreign_name_is_not_taken_over() {
    let host = host(config());
    let spec = spec("a");
    let name = ownership(&spec).hypervisor_name();
    host.add_foreign(&ForeignDomain { name: name.clone(), ..foreign(GIB) }, at(0)).unwrap();
    host.ensure_image(&spec.image).unwrap();
    let taken = HypervisorError::NameTaken(name);
    assert_eq!(host.ensure_volumes(&spec, &ownership(&spec)), Err(taken.clone()));
    assert_eq!(host.define(&spec, &ownership(&spec), at(0)), Err(taken));
}

#[test]
fn volumes_alone_are_seen_and_removed() {
    let host = host(config());
    let spec = spec("a");
    let ownership: Ownership = ownership(&spec);
    host.ensure_image(&spec.image).unwrap();
    host.ensure_volumes(&spec, &ownership).unwrap();
    let status = host.domains(at(0)).unwrap().remove(0);
    assert_eq!((status.ownership, status.spec, status.vcpus), (Some(ownership.clone()), None, 0));
    assert_eq!(host.start(&status.name, at(0)), Err(HypervisorError::NoDomain(status.name.clone())));
    assert_eq!(host.remove(&status.name, at(0)), Ok(true));
    assert_eq!(host.domains(at(0)), Ok(vec![]));
}

#[test]
fn two_accounts_have_two_domains_of_one_name() {
    let host = host(config());
    let spec = spec("a");
    define(&host, &spec, at(0));
    let other = Ownership { account: account(1), ..ownership(&spec) };
    host.ensure_volumes(&spec, &other).unwrap();
    assert_eq!(host.define(&spec, &other, at(0)), Ok(true));
    assert_eq!(host.domains(at(0)).unwrap().len(), 2);
}

#[test]
fn a_host_opened_again_is_the_same_and_time_has_passed() {
    let tree = tree();
    let host = MemoryHost::open(tree.clone(), config()).unwrap();
    let names = ["a", "b"].map(|path| start(&host, &spec(path), at(0)));
    host.set_cpu(&names[0], 1000, 70, at(3)).unwrap();
    host.crash(&names[1], at(5)).unwrap();
    let before = host.domains(at(10)).unwrap();
    drop(host);
    let host = MemoryHost::open(tree, config()).unwrap();
    assert_eq!(host.domains(at(10)).unwrap(), before);
    assert_eq!(used(&host, &names[0], 1000), TimeSpan::from_micros(3_000_000 + 997 * 700_000));
}

#[test]
fn a_host_can_grow_and_cannot_shrink_below_what_it_holds() {
    let tree = tree();
    let host = MemoryHost::open(tree.clone(), config()).unwrap();
    let name = start(&host, &spec("a"), at(0));
    drop(host);
    let small = MemoryHostConfig { memory_bytes: GIB + 512 * MIB, ..config() };
    let refusal = MemoryHost::open(tree.clone(), small).unwrap_err();
    assert!(matches!(refusal, HypervisorError::Full { kind: ResourceKind::Memory, .. }), "{refusal}");
    let host = MemoryHost::open(tree, MemoryHostConfig { memory_bytes: 64 * GIB, ..config() }).unwrap();
    assert_eq!(host.set_memory(&name, 60 * GIB, at(1)), Ok(()));
}

#[test]
fn what_another_version_wrote_is_not_guessed_at() {
    let tree = tree();
    drop(MemoryHost::open(tree.clone(), config()).unwrap());
    for (value, says) in [(r#"{"version":2,"value":{}}"#, "version 2"), ("{", "damaged")] {
        tree.insert("host", value).unwrap();
        let error = MemoryHost::open(tree.clone(), config()).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}
