//! Disks that were on the machine before: handed over to a domain that is to come.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use tycoon_market::Timestamp;
use tycoon_xen::spec::{DomainSpec, Ownership, VolumeSpec};
use tycoon_xen::storage::{Handed, HandedTo, Storage as _};

use crate::bench::{Bench, MIB, has_loop_devices, owner, spec};

const UNTIL: Timestamp = Timestamp::from_seconds(1_000);

fn to(ownership: &Ownership) -> HandedTo {
    HandedTo { owner: ownership.clone(), image: "std:tiny".into(), until: UNTIL }
}

fn handed(name: &str, source: &Path) -> Handed {
    Handed { name: name.into(), source: source.into() }
}

/// A file of the owner's beside the store.
fn owners_disk(bench: &Bench, name: &str, content: &[u8]) -> PathBuf {
    let path = bench.folder.path().join(name);
    fs::write(&path, content).unwrap();
    path
}

/// A domain that takes `data` as it is.
fn takes(mut spec: DomainSpec, bytes: u64) -> DomainSpec {
    spec.volumes[1] = VolumeSpec { existing: true, ..VolumeSpec::plain("data", bytes) };
    spec
}

#[test]
fn what_is_handed_over_is_taken_up_as_it_is() {
    let bench = Bench::new();
    let storage = bench.open();
    let spec = takes(spec("a"), 3 * MIB);
    let (ownership, thief) = (owner(&spec, 1), owner(&spec, 2));
    let disk = owners_disk(&bench, "results.raw", &vec![7; 2 * MIB as usize]);
    let kept = storage.hand_over(&to(&ownership), &[handed("data", &disk)]).unwrap();
    assert_eq!(kept, [VolumeSpec::plain("data", 2 * MIB)]);
    assert!(!disk.exists(), "it is the domain's now");
    let name = ownership.hypervisor_name();
    let record = storage.record(&name).unwrap().unwrap();
    assert_eq!((record.kept.unwrap().until, record.adopted), (UNTIL, vec!["data".to_owned()]));
    assert!(storage.ensure_volumes(&spec, &thief).is_err(), "to another it is no existing volume");

    assert_eq!(storage.ensure_volumes(&spec, &ownership), Ok(true));
    storage.note(&spec, &ownership).unwrap();
    let content = fs::read(bench.volume(&ownership, "data")).unwrap();
    assert_eq!(content.len() as u64, 3 * MIB, "it grows like any other");
    assert!(content[..2 * MIB as usize].iter().all(|byte| *byte == 7));

    // It is there now, with its disks.
    let more = owners_disk(&bench, "more.raw", &[1; 512]);
    let refused = storage.hand_over(&to(&ownership), &[handed("more", &more)]).unwrap_err().to_string();
    assert!(refused.contains("take it down first"), "{refused}");
    assert!(more.exists());
    storage.remove(&name).unwrap();
    assert_eq!(bench.files(), [] as [&str; 0], "and goes like any other");
}

#[test]
fn a_root_disk_and_one_that_comes_later_are_one_domains() {
    let bench = Bench::new();
    let storage = bench.open();
    let spec = spec("a");
    let ownership = owner(&spec, 1);
    let root = owners_disk(&bench, "old.raw", &vec![5; 8 * MIB as usize]);
    let data = owners_disk(&bench, "data.raw", &vec![6; 2 * MIB as usize]);
    storage.hand_over(&to(&ownership), &[handed("root", &root)]).unwrap();
    let again = storage.hand_over(&to(&ownership), &[handed("root", &data)]).unwrap_err().to_string();
    assert!(again.contains("has a volume `root` already") && data.exists(), "{again}");
    storage.hand_over(&to(&ownership), &[handed("data", &data)]).unwrap();
    assert_eq!(storage.ensure_volumes(&spec, &ownership), Ok(false), "nothing is made");
    assert!(fs::read(bench.volume(&ownership, "root")).unwrap().iter().all(|byte| *byte == 5));
    assert!(fs::read(bench.volume(&ownership, "data")).unwrap().iter().all(|byte| *byte == 6));
}

/// Whoever died between moving the file and writing the record.
#[test]
fn a_call_that_did_not_end_is_done_again() {
    let bench = Bench::new();
    let storage = bench.open();
    let ownership = owner(&spec("a"), 1);
    let moved = bench.volume(&ownership, "data");
    fs::create_dir_all(moved.parent().unwrap()).unwrap();
    fs::write(&moved, vec![7; MIB as usize]).unwrap();
    let gone = bench.folder.path().join("results.raw");
    let kept = storage.hand_over(&to(&ownership), &[handed("data", &gone)]).unwrap();
    assert_eq!(kept, [VolumeSpec::plain("data", MIB)]);
}

#[test]
fn what_is_no_disk_or_in_use_or_anothers_stays_where_it_is() {
    let bench = Bench::new();
    let storage = bench.open();
    let (ours, theirs) = (spec("a"), spec("b"));
    let (ownership, other) = (owner(&ours, 1), owner(&theirs, 2));
    storage.ensure_volumes(&theirs, &other).unwrap();
    let good = owners_disk(&bench, "good.raw", &[1; 1024]);
    let twice = owners_disk(&bench, "twice.raw", &[1; 1024]);
    fs::hard_link(&twice, bench.folder.path().join("other-name")).unwrap();
    let cases: [(PathBuf, &str); 7] = [
        (bench.folder.path().join("nothing"), "No such file"),
        (bench.folder.path().to_owned(), "names"),
        (owners_disk(&bench, "odd.raw", &[1; 700]), "whole blocks"),
        (owners_disk(&bench, "empty.raw", &[]), "0 bytes"),
        (owners_disk(&bench, "disk.qcow2", &[b"QFI\xfb".as_slice(), &[0; 508]].concat()), "qemu-img convert"),
        (twice, "other names"),
        (bench.volume(&other, "data"), "is the volume of"),
    ];
    let before = bench.files();
    for (source, why) in &cases {
        // The good one beside it stays as well.
        let both = [handed("fine", &good), handed("data", source)];
        let error = storage.hand_over(&to(&ownership), &both).unwrap_err().to_string();
        assert!(error.contains(why) && error.contains(&source.display().to_string()), "{error}");
        assert!(good.exists());
    }
    assert_eq!(bench.files(), before);
    assert_eq!(storage.record(&ownership.hypervisor_name()), Ok(None));
}

#[test]
fn what_a_loop_device_is_on_is_in_use() {
    if !has_loop_devices() {
        println!("SKIPPED: this needs root and loop devices");
        return;
    }
    let bench = Bench::new();
    let disk = bench.folder.path().join("used.raw");
    File::create(&disk).unwrap().set_len(MIB).unwrap();
    let attached = Command::new("losetup").args(["--find", "--show"]).arg(&disk).output().unwrap();
    let device = String::from_utf8(attached.stdout).unwrap();
    let error = bench.open().hand_over(&to(&owner(&spec("a"), 1)), &[handed("data", &disk)]).unwrap_err();
    Command::new("losetup").args(["--detach", device.trim()]).status().unwrap();
    assert!(error.to_string().contains("a loop device is on it"), "{error}");
}
