//! Records, addresses and names.

use std::fs;
use std::net::Ipv4Addr;

use tycoon_xen::hypervisor::HypervisorError;
use tycoon_xen::spec::{Addressing, NicSpec};
use tycoon_xen::storage::Storage as _;

use crate::bench::{Bench, owner, spec};

#[test]
fn a_record_outlives_the_process() {
    let bench = Bench::new();
    let spec = spec("web.0");
    let ownership = owner(&spec, 1);
    let interfaces = bench.open().note(&spec, &ownership).unwrap();
    let record = bench.open().record(&ownership.hypervisor_name()).unwrap().unwrap();
    assert_eq!((record.spec.as_ref(), &record.ownership, &record.interfaces), (Some(&spec), &ownership, &interfaces));
    assert_eq!(bench.open().records().unwrap(), [record]);
}

#[test]
fn a_damaged_record_is_named() {
    let bench = Bench::new();
    let spec = spec("web.0");
    let ownership = owner(&spec, 1);
    bench.open().note(&spec, &ownership).unwrap();
    let path = bench.machine.folder.join("domains").join(ownership.hypervisor_name()).join("record.json");
    fs::write(&path, "{\"version\": 1, \"dom").unwrap();
    let error = bench.open().records().unwrap_err().to_string();
    assert!(error.contains(path.to_str().unwrap()) && error.contains("is damaged"), "{error}");
    fs::write(&path, "{\"version\": 7}").unwrap();
    let error = bench.open().records().unwrap_err().to_string();
    assert!(error.contains("version 7") && error.contains("use a newer program"), "{error}");
}

#[test]
fn addresses_are_the_lowest_free_ones_and_stay() {
    let bench = Bench::new();
    let storage = bench.open();
    let address = |path: &str| {
        let spec = spec(path);
        storage.note(&spec, &owner(&spec, 1)).unwrap()[0].address.unwrap().octets()[3]
    };
    assert_eq!([address("a"), address("b"), address("a")], [10, 11, 10]);
    storage.remove(&owner(&spec("a"), 1).hypervisor_name()).unwrap();
    assert_eq!([address("b"), address("c"), address("d")], [11, 10, 12]);
    let one_more = spec("e");
    let error = storage.note(&one_more, &owner(&one_more, 1)).unwrap_err().to_string();
    assert!(error.contains("all addresses from 192.0.2.10 to 192.0.2.12 on the bridge `lan` are in use"), "{error}");
}

#[test]
fn taken_addresses_are_refused_and_gone_round() {
    let bench = Bench::new();
    let storage = bench.open();
    let with_address = |path: &str, last: u8| {
        let mut spec = spec(path);
        let address = Ipv4Addr::new(192, 0, 2, last);
        spec.nics = vec![NicSpec {
            address: Addressing::Static { address, prefix: 24, gateway: None },
            ..NicSpec::dhcp("eth0")
        }];
        (storage.note(&spec, &owner(&spec, 1)), address)
    };
    assert!(with_address("a", 10).0.is_ok());
    for (path, last) in [("b", 10), ("c", 1), ("d", 255)] {
        let (result, address) = with_address(path, last);
        assert_eq!(result, Err(HypervisorError::AddressTaken(address)));
    }
    let locks = bench.locks();
    assert!(locks.iter().all(|lock| lock.starts_with("hello.a-") || !lock.contains('.')), "refusals left {locks:?}");
    let dynamic = spec("e");
    let interfaces = storage.note(&dynamic, &owner(&dynamic, 1)).unwrap();
    assert_eq!(interfaces[0].address, Some(Ipv4Addr::new(192, 0, 2, 11)));
}

#[test]
fn hardware_addresses_are_unique_and_stay() {
    let bench = Bench::new();
    let storage = bench.open();
    let mut first = spec("a");
    let given = storage.note(&first, &owner(&first, 1)).unwrap()[0].mac;
    assert!(given.to_string().starts_with("00:16:3e:"), "{given}");
    first.memory_bytes += 1;
    assert_eq!(storage.note(&first, &owner(&first, 1)).unwrap()[0].mac, given);
    let mut thief = spec("b");
    thief.nics[0].mac = Some(given);
    let error = storage.note(&thief, &owner(&thief, 1)).unwrap_err().to_string();
    assert!(error.contains(&format!("has the hardware address {given}")), "{error}");
}

#[test]
fn without_a_range_the_network_gives_addresses() {
    let mut bench = Bench::new();
    bench.machine.bridges[0].addresses = None;
    let spec = spec("a");
    assert_eq!(bench.open().note(&spec, &owner(&spec, 1)).unwrap()[0].address, None);
}

#[test]
fn domains_of_others_are_refused() {
    let bench = Bench::new();
    let storage = bench.open();
    let spec = spec("a");
    let ownership = owner(&spec, 1);
    storage.note(&spec, &ownership).unwrap();
    // The record of an account whose id begins alike.
    let path = bench.machine.folder.join("domains").join(ownership.hypervisor_name()).join("record.json");
    let record = fs::read_to_string(&path).unwrap();
    let account = ownership.account.to_string();
    let other = format!("{}{}", &account[..8], account[8..].chars().rev().collect::<String>());
    fs::write(&path, record.replace(&account, &other)).unwrap();
    let taken = HypervisorError::NameTaken(ownership.hypervisor_name());
    assert_eq!(storage.note(&spec, &ownership), Err(taken.clone()));
    assert_eq!(storage.ensure_volumes(&spec, &ownership), Err(taken));
}

#[test]
fn names_that_could_leave_their_place_are_refused() {
    let bench = Bench::new();
    let storage = bench.open();
    for name in ["..", "../../etc", "/etc/passwd", ""] {
        assert!(matches!(storage.remove(name), Err(HypervisorError::Refused { .. })), "{name}");
        assert!(matches!(storage.record(name), Err(HypervisorError::Refused { .. })), "{name}");
        let mut bad = spec("a");
        bad.volumes[1].name = name.to_owned();
        let refusal = storage.ensure_volumes(&bad, &owner(&bad, 1));
        assert!(matches!(refusal, Err(HypervisorError::Refused { .. })), "{refusal:?}");
    }
    assert_eq!(bench.files(), [] as [String; 0]);
}

#[test]
fn two_processes_give_different_addresses() {
    let bench = Bench::new();
    let addresses: Vec<_> = std::thread::scope(|scope| {
        let note = |path: &'static str| {
            let bench = &bench;
            scope.spawn(move || {
                let spec = spec(path);
                bench.open().note(&spec, &owner(&spec, 1)).unwrap()[0].address
            })
        };
        let threads = ["a", "b", "c"].map(note);
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let distinct: std::collections::BTreeSet<_> = addresses.iter().collect();
    assert_eq!(distinct.len(), 3, "{addresses:?}");
}
