//! What a simulated host has reported is on disk, and many callers at once get along.

use std::fs;
use std::path::Path;

use tycoon_xen::hypervisor::{Hypervisor, HypervisorError};
use tycoon_xen::memory::MemoryHost;

use super::scene::{GIB, at, config, host, ownership, spec};

fn open(folder: &Path) -> MemoryHost {
    let tree = sled::open(folder).unwrap().open_tree("host").unwrap();
    MemoryHost::open(tree, config()).unwrap()
}

/// The files as a process that is killed now leaves them.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn a_process_that_is_killed_after_any_step_loses_nothing_it_reported() {
    type Step = fn(&MemoryHost) -> Result<(), HypervisorError>;
    fn name() -> String {
        ownership(&spec("a")).hypervisor_name()
    }
    let steps: [Step; 8] = [
        |host| host.ensure_image("std:tiny").map(drop),
        |host| host.ensure_volumes(&spec("a"), &ownership(&spec("a"))).map(drop),
        |host| host.define(&spec("a"), &ownership(&spec("a")), at(1)).map(drop),
        |host| host.start(&name(), at(2)).map(drop),
        |host| host.set_cpu(&name(), 700, 80, at(3)),
        |host| host.set_memory(&name(), GIB / 2, at(4)),
        |host| host.stop(&name(), 0, at(5)).map(drop),
        |host| host.remove(&name(), at(6)).map(drop),
    ];
    let folder = tempfile::tempdir().unwrap();
    let live = open(&folder.path().join("live"));
    for (number, step) in steps.into_iter().enumerate() {
        step(&live).unwrap();
        let left = folder.path().join(format!("after-{number}"));
        copy(&folder.path().join("live"), &left);
        let survivor = open(&left);
        assert_eq!(survivor.domains(at(10)), live.domains(at(10)), "after step {number}");
        assert_eq!(survivor.ensure_image("std:tiny"), Ok(false), "after step {number}");
    }
}

#[test]
fn callers_at_the_same_time_share_what_there_is_and_no_more() {
    let host = host(config());
    host.ensure_image("std:tiny").unwrap();
    let bring_up = |number: usize| {
        let mut spec = spec(&format!("web.{number}"));
        spec.volumes[0].size_bytes = GIB;
        let ownership = ownership(&spec);
        host.ensure_volumes(&spec, &ownership).unwrap();
        host.define(&spec, &ownership, at(0)).unwrap();
        host.start(&ownership.hypervisor_name(), at(0))
    };
    let results: Vec<_> = std::thread::scope(|scope| {
        let bring_up = &bring_up;
        let threads: Vec<_> = (0..8).map(|number| scope.spawn(move || bring_up(number))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(
        results.iter().filter(|result| **result == Ok(true)).count(),
        4,
        "there is memory for four: {results:?}"
    );
    assert_eq!(results.iter().filter(|result| matches!(result, Err(HypervisorError::Full { .. }))).count(), 4);
    let domains = host.domains(at(0)).unwrap();
    assert_eq!(domains.len(), 8, "the others are defined all the same");
    let mut addresses: Vec<_> = domains.iter().map(|domain| domain.address).collect();
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), 8);
}
