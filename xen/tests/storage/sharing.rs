//! Root volumes that share with their image.

use std::fs;
use std::path::Path;
use std::process::Command;

use tycoon_xen::machine::StoreKind;
use tycoon_xen::spec::DomainSpec;
use tycoon_xen::storage::Storage as _;

use crate::bench::{Bench, MIB, has_loop_devices, image, owner, spec};

fn shared(path: &str) -> DomainSpec {
    let mut spec = spec(path);
    spec.volumes[0].copy_on_write = true;
    spec
}

fn has_qemu_img() -> bool {
    let has = Path::new("/usr/bin/qemu-img").exists();
    if !has {
        println!("SKIPPED: copy-on-write volumes need qemu-img (`apt install qemu-utils`)");
    }
    has
}

#[test]
fn volumes_share_their_image_until_the_last_is_gone() {
    if !has_qemu_img() {
        return;
    }
    let bench = Bench::new();
    let storage = bench.open();
    let (mut first, second) = (shared("a"), shared("b"));
    for spec in [&first, &second] {
        assert_eq!(storage.ensure_volumes(spec, &owner(spec, 1)), Ok(true));
        assert_eq!(storage.ensure_volumes(spec, &owner(spec, 1)), Ok(false));
    }
    let images = || bench.files().into_iter().filter(|file| file.starts_with("volumes/.images/")).count();
    assert_eq!(images(), 1);
    let file = bench.volume(&owner(&first, 1), "root").with_extension("qcow2");
    assert!(fs::metadata(&file).unwrap().len() < MIB, "the volume is a copy");
    // The image may change: a volume keeps what it was made from.
    fs::write(bench.folder.path().join("tiny.raw"), "another").unwrap();
    let raw = bench.folder.path().join("whole");
    let convert = ["convert", "-f", "qcow2", "-O", "raw", file.to_str().unwrap(), raw.to_str().unwrap()];
    assert!(Command::new("qemu-img").args(convert).status().unwrap().success());
    let mut expected = image(4 * MIB);
    expected.resize(8 * MIB as usize, 0);
    assert!(fs::read(&raw).unwrap() == expected);
    let mut read = vec![9; 8 * MIB as usize];
    let count = storage.read_volume(&owner(&first, 1).hypervisor_name(), "root", 0, &mut read);
    assert_eq!(count, Ok(8 * MIB as usize));
    assert!(read == expected, "its blocks are those that QEMU reads");
    if Path::new("/usr/bin/qemu-io").exists() {
        let write = ["-f", "qcow2", "-c", "write -P 3 1M 200k", "-c", "write -z 6M 128k", file.to_str().unwrap()];
        assert!(Command::new("qemu-io").args(write).status().unwrap().success());
        assert!(Command::new("qemu-img").args(convert).status().unwrap().success());
        storage.read_volume(&owner(&first, 1).hypervisor_name(), "root", 0, &mut read).unwrap();
        assert!(read == fs::read(&raw).unwrap() && read != expected, "also of what a domain has written");
    }
    first.volumes[0].size_bytes = 12 * MIB;
    assert_eq!(storage.ensure_volumes(&first, &owner(&first, 1)), Ok(true));
    assert_eq!(storage.ensure_volumes(&first, &owner(&first, 1)), Ok(false));
    assert_eq!(storage.remove(&owner(&first, 1).hypervisor_name()), Ok(true));
    assert_eq!(images(), 1);
    assert_eq!(storage.remove(&owner(&second, 1).hypervisor_name()), Ok(true));
    assert_eq!(bench.files(), [] as [String; 0]);
}

#[test]
fn a_failure_leaves_no_image_behind() {
    if !has_qemu_img() {
        return;
    }
    let bench = Bench::new();
    let storage = bench.open();
    let mut spec = shared("a");
    spec.volumes[0].size_bytes = 2 * MIB;
    let error = storage.ensure_volumes(&spec, &owner(&spec, 1)).unwrap_err().to_string();
    assert!(error.contains("the image has 4 MiB"), "{error}");
    assert_eq!(bench.files(), [] as [String; 0]);
}

#[test]
fn logical_volumes_do_not_share() {
    let mut bench = Bench::new();
    bench.machine.stores[0].kind = StoreKind::Lvm { group: "vg1".into() };
    let spec = shared("a");
    let error = bench.open().ensure_volumes(&spec, &owner(&spec, 1)).unwrap_err().to_string();
    assert!(error.contains("the store `files` holds logical volumes, which are copied whole"), "{error}");
}

#[test]
fn a_shared_volume_is_attached_over_nbd() {
    if !has_qemu_img() || !has_loop_devices() {
        return;
    }
    if !Path::new("/sys/block/nbd0").exists() {
        println!("SKIPPED: copy-on-write volumes need the kernel's module nbd (`modprobe nbd`)");
        return;
    }
    let bench = Bench::new();
    let storage = bench.open();
    let spec = shared("a");
    let ownership = owner(&spec, 1);
    let name = ownership.hypervisor_name();
    storage.note(&spec, &ownership).unwrap();
    storage.ensure_volumes(&spec, &ownership).unwrap();
    let disks = storage.attach(&name).unwrap();
    assert_eq!(storage.attach(&name).unwrap(), disks);
    let root = fs::read(&disks[0].device).unwrap();
    assert!(root.len() as u64 == 8 * MIB && root.starts_with(&image(4 * MIB)));
    let mut larger = spec.clone();
    larger.volumes[0].size_bytes = 12 * MIB;
    let error = storage.ensure_volumes(&larger, &ownership).unwrap_err().to_string();
    assert!(error.contains("grows while its domain is stopped"), "{error}");
    storage.detach(&name).unwrap();
    storage.detach(&name).unwrap();
    assert_eq!(storage.ensure_volumes(&larger, &ownership), Ok(true));
    storage.attach(&name).unwrap();
    assert_eq!(storage.remove(&name), Ok(true));
    assert_eq!(bench.files(), [] as [String; 0]);
}
