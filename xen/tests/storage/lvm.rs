//! Logical volumes. These tests need root and a volume group that they may use: `TYCOON_TEST_VOLUME_GROUP` names it.
//! They leave in it what was there.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::process::Command;

use tycoon_market::{ResourceKind, Timestamp};
use tycoon_xen::hypervisor::HypervisorError;
use tycoon_xen::machine::{StoreExport, StoreKind};
use tycoon_xen::spec::{DomainSpec, Filesystem, Ownership, VolumeSpec};
use tycoon_xen::status::Kept;
use tycoon_xen::storage::{Handed, HandedTo, Storage as _};

use crate::bench::{Bench, MIB, image, owner, spec};

/// A machine whose store is the volume group, and the group.
fn bench() -> Option<(Bench, String)> {
    let Ok(group) = std::env::var("TYCOON_TEST_VOLUME_GROUP") else {
        println!("SKIPPED: logical volumes need root and a volume group, named by TYCOON_TEST_VOLUME_GROUP");
        return None;
    };
    let mut bench = Bench::new();
    let kind = StoreKind::Lvm { group: group.clone() };
    bench.machine.stores = vec![StoreExport { name: "volumes".into(), kind, limit_bytes: None }];
    Some((bench, group))
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn volumes_of(group: &str) -> String {
    run("lvs", &["--noheadings", "-o", "lv_name,lv_size", group])
}

fn domain(path: &str) -> (DomainSpec, Ownership, String) {
    let spec = spec(path);
    let ownership = owner(&spec, 3);
    let name = ownership.hypervisor_name();
    (spec, ownership, name)
}

#[test]
fn kept_logical_volumes_keep_their_content() {
    let Some((bench, group)) = bench() else { return };
    let before = volumes_of(&group);
    let storage = bench.open();
    let (mut spec, ownership, name) = domain("kept");
    storage.ensure_volumes(&spec, &ownership).unwrap();
    storage.note(&spec, &ownership).unwrap();
    let device = storage.attach(&name).unwrap()[1].device.clone();
    OpenOptions::new().write(true).open(&device).unwrap().write_all_at(b"mine", 12).unwrap();
    storage.detach(&name).unwrap();
    let volumes = vec![spec.volumes[1].clone()];
    let kept = Kept { until: Timestamp::from_seconds(1), image: spec.image.clone(), volumes };
    assert_eq!(storage.keep(&name, &kept), Ok(true));
    assert_eq!(storage.keep(&name, &kept), Ok(false));
    assert_eq!(volumes_of(&group).lines().count(), before.lines().count() + 1, "only `data` is left");
    let mut read = [0; 4];
    assert_eq!(storage.read_volume(&name, "data", 12, &mut read), Ok(4), "what is kept can be saved");
    assert_eq!(&read, b"mine");
    spec.volumes[1].size_bytes += 4 * MIB;
    assert_eq!(storage.ensure_volumes(&spec, &ownership), Ok(true));
    storage.note(&spec, &ownership).unwrap();
    let mut content = [0; 4];
    fs::File::open(&device).unwrap().read_exact_at(&mut content, 12).unwrap();
    assert_eq!(&content, b"mine");
    storage.remove(&name).unwrap();
    assert_eq!(volumes_of(&group), before);
}

#[test]
fn a_logical_volume_of_the_owner_is_handed_over() {
    let Some((bench, group)) = bench() else { return };
    let before = volumes_of(&group);
    let storage = bench.open();
    let (mut spec, ownership, name) = domain("handed");
    run("lvcreate", &["--yes", "--size", "8m", "--name", "results", &group]);
    let device = format!("/dev/{group}/results");
    OpenOptions::new().write(true).open(&device).unwrap().write_all_at(b"mine", 12).unwrap();
    let to = HandedTo { owner: ownership.clone(), image: String::new(), until: Timestamp::from_seconds(1) };
    let results = Handed { name: "data".into(), source: device.into() };
    let kept = storage.hand_over(&to, std::slice::from_ref(&results)).unwrap();
    assert_eq!(kept[0].size_bytes, 8 * MIB);
    assert!(!volumes_of(&group).contains("results"), "it has the name of the domain's");
    // Whoever dies before the record is written does it again.
    fs::remove_dir_all(bench.machine.folder.join("domains").join(&name)).unwrap();
    assert_eq!(storage.hand_over(&to, std::slice::from_ref(&results)), Ok(kept.clone()));
    spec.volumes[1] = VolumeSpec { existing: true, ..kept[0].clone() };
    storage.ensure_volumes(&spec, &ownership).unwrap();
    storage.note(&spec, &ownership).unwrap();
    let mut content = [0; 4];
    fs::File::open(&storage.attach(&name).unwrap()[1].device).unwrap().read_exact_at(&mut content, 12).unwrap();
    assert_eq!(&content, b"mine");
    storage.detach(&name).unwrap();
    storage.remove(&name).unwrap();
    assert_eq!(volumes_of(&group), before);
}

#[test]
fn a_life_of_logical_volumes() {
    let Some((bench, group)) = bench() else { return };
    let before = volumes_of(&group);
    let storage = bench.open();
    let capacity = storage.capacity_bytes().unwrap();
    // What somebody else left on the disk: a volume over the space that comes next, full of ones.
    run("lvcreate", &["-y", "-Wn", "-Zn", "-L", "64m", "-n", "left-by-another", &group]);
    blot(&format!("/dev/{group}/left-by-another"), 64);
    run("lvremove", &["-y", &format!("{group}/left-by-another")]);

    let (mut spec, ownership, name) = domain("a");
    spec.volumes[1].filesystem = Some(Filesystem::Ext4);
    spec.volumes[1].size_bytes = 6 * MIB;
    assert_eq!(storage.ensure_volumes(&spec, &ownership), Ok(true));
    assert_eq!(storage.ensure_volumes(&spec, &ownership), Ok(false));
    assert_eq!(storage.capacity_bytes().unwrap().abs_diff(capacity) / (4 * MIB), 0);
    storage.note(&spec, &ownership).unwrap();
    let disks = storage.attach(&name).unwrap();
    assert_eq!(storage.attach(&name).unwrap(), disks);
    let root = fs::read(&disks[0].device).unwrap();
    let mut expected = image(4 * MIB);
    expected.resize(root.len(), 0);
    assert!(root.len() as u64 >= 8 * MIB && root == expected, "the root volume is not the image and zeros");
    assert_eq!(fs::read(&disks[1].device).unwrap()[0x438..0x43a], [0x53, 0xef]);
    let mut read = vec![9; 9 * MIB as usize];
    assert_eq!(storage.read_volume(&name, "root", 0, &mut read), Ok(8 * MIB as usize), "no more than was asked for");
    assert!(read[..8 * MIB as usize] == expected[..8 * MIB as usize]);

    // While it is attached, it grows, and what it gets is blank.
    blot(disks[0].device.to_str().unwrap(), 8);
    spec.volumes[0].size_bytes = 21 * MIB;
    assert_eq!(storage.ensure_volumes(&spec, &ownership), Ok(true));
    let root = fs::read(&disks[0].device).unwrap();
    let (old, new) = root.split_at(8 * MIB as usize);
    assert!(root.len() as u64 >= 21 * MIB && old.iter().all(|b| *b == 0xff) && new.iter().all(|b| *b == 0));

    storage.detach(&name).unwrap();
    assert_eq!(storage.remove(&name), Ok(true));
    assert_eq!(storage.remove(&name), Ok(false));
    assert_eq!(volumes_of(&group), before);
    assert_eq!(storage.capacity_bytes(), Ok(capacity));
}

fn blot(device: &str, mib: u64) {
    let file = OpenOptions::new().write(true).open(device).unwrap();
    let ones = vec![0xff; MIB as usize];
    (0..mib).for_each(|place| file.write_all_at(&ones, place * MIB).unwrap());
    file.sync_all().unwrap();
}

#[test]
fn a_volume_without_our_tag_is_left_alone() {
    let Some((bench, group)) = bench() else { return };
    let storage = bench.open();
    let (spec, ownership, name) = domain("b");
    storage.ensure_volumes(&spec, &ownership).unwrap();
    let record = bench.machine.folder.join("domains").join(&name).join("record.json");
    let record = fs::read_to_string(record).unwrap();
    let volume = record.split('"').find(|word| word.starts_with("tycoon-") && word.contains("-data-")).unwrap();
    run("lvchange", &["--deltag", "tycoon", &format!("{group}/{volume}")]);
    let error = storage.remove(&name).unwrap_err().to_string();
    assert!(error.contains("it does not have the tag `tycoon`"), "{error}");
    assert!(volumes_of(&group).contains(volume));
    run("lvchange", &["--addtag", "tycoon", &format!("{group}/{volume}")]);
    assert_eq!(storage.remove(&name), Ok(true));
}

#[test]
fn what_does_not_fit_into_the_group_leaves_nothing() {
    let Some((bench, group)) = bench() else { return };
    let before = volumes_of(&group);
    let storage = bench.open();
    let (mut spec, ownership, name) = domain("c");
    spec.volumes[1].size_bytes = 1 << 60;
    let refusal = storage.ensure_volumes(&spec, &ownership);
    assert!(matches!(refusal, Err(HypervisorError::Full { kind: ResourceKind::Disk, .. })), "{refusal:?}");
    // A failure after the space was taken.
    spec.volumes[1].size_bytes = MIB;
    spec.volumes[0].size_bytes = MIB;
    assert!(storage.ensure_volumes(&spec, &ownership).is_err());
    assert_eq!(storage.record(&name), Ok(None));
    assert_eq!(volumes_of(&group), before);
}

#[test]
fn a_missing_group_is_said() {
    let Some((mut bench, _)) = bench() else { return };
    bench.machine.stores[0].kind = StoreKind::Lvm { group: "no-such-group".into() };
    let error = bench.open().capacity_bytes().unwrap_err().to_string();
    assert!(error.contains("there is no volume group `no-such-group`; `vgs` lists"), "{error}");
}
