//! Volumes: made whole or not at all, grown, attached, removed.

use std::fs;
use std::process::Command;

use tycoon_market::{ResourceKind, Timestamp};
use tycoon_xen::hypervisor::HypervisorError;
use tycoon_xen::spec::{Filesystem, Ownership};
use tycoon_xen::status::Kept;
use tycoon_xen::storage::Storage as _;

use crate::bench::{Bench, MIB, has_loop_devices, image, owner, spec};

#[test]
fn a_new_root_volume_is_the_image_and_zeros() {
    let bench = Bench::new();
    let storage = bench.open();
    let spec = spec("a");
    let ownership = owner(&spec, 1);
    assert_eq!(storage.ensure_volumes(&spec, &ownership), Ok(true));
    assert_eq!(storage.ensure_volumes(&spec, &ownership), Ok(false));
    let mut expected = image(4 * MIB);
    expected.resize(8 * MIB as usize, 0);
    assert!(fs::read(bench.volume(&ownership, "root")).unwrap() == expected, "the root volume differs");
    assert!(fs::read(bench.volume(&ownership, "data")).unwrap() == vec![0; 2 * MIB as usize], "data is not blank");
    let record = storage.record(&ownership.hypervisor_name()).unwrap().unwrap();
    assert_eq!(record.volumes, [("root".to_owned(), 8 * MIB), ("data".to_owned(), 2 * MIB)]);
    assert_eq!(record.spec, None);
}

#[test]
fn volumes_grow_and_never_shrink_and_keep_their_content() {
    let bench = Bench::new();
    let storage = bench.open();
    let mut spec = spec("a");
    let ownership = owner(&spec, 1);
    storage.ensure_volumes(&spec, &ownership).unwrap();
    let path = bench.volume(&ownership, "data");
    fs::write(&path, vec![1; 2 * MIB as usize]).unwrap();
    spec.volumes[1].size_bytes = 3 * MIB;
    assert_eq!(storage.ensure_volumes(&spec, &ownership), Ok(true));
    spec.volumes[1].size_bytes = MIB;
    assert_eq!(storage.ensure_volumes(&spec, &ownership), Ok(false));
    let content = fs::read(path).unwrap();
    assert_eq!(content.len() as u64, 3 * MIB);
    let (old, new) = content.split_at(2 * MIB as usize);
    assert!(old.iter().all(|byte| *byte == 1) && new.iter().all(|byte| *byte == 0));
}

#[test]
fn kept_volumes_keep_their_content_for_their_owner_and_nobody_else() {
    let bench = Bench::new();
    let storage = bench.open();
    let (spec, until) = (spec("a"), Timestamp::from_seconds(1_000));
    let (ownership, thief) = (owner(&spec, 1), owner(&spec, 2));
    let name = ownership.hypervisor_name();
    storage.ensure_volumes(&spec, &ownership).unwrap();
    storage.note(&spec, &ownership).unwrap();
    let (data, root) = (bench.volume(&ownership, "data"), bench.volume(&ownership, "root"));
    fs::write(&data, vec![1; 2 * MIB as usize]).unwrap();

    let kept = Kept { until, image: spec.image.clone(), volumes: vec![spec.volumes[1].clone()] };
    assert_eq!(storage.keep(&name, &kept), Ok(true));
    assert_eq!(storage.keep(&name, &kept), Ok(false));
    assert!(!root.exists(), "what is not kept is gone");
    let record = bench.open().record(&name).unwrap().unwrap();
    assert_eq!((record.spec, record.interfaces, record.kept), (None, vec![], Some(kept)));
    assert_eq!(record.ownership, ownership, "the owner's mark stays");

    // The same names of another account are other volumes.
    storage.ensure_volumes(&spec, &thief).unwrap();
    assert!(fs::read(bench.volume(&thief, "data")).unwrap() == vec![0; 2 * MIB as usize]);
    let colliding = Ownership { account: thief.account, ..ownership.clone() };
    assert_ne!(colliding.hypervisor_name(), name);

    let mut larger = spec;
    larger.volumes[1].size_bytes = 3 * MIB;
    assert_eq!(storage.ensure_volumes(&larger, &ownership), Ok(true));
    storage.note(&larger, &ownership).unwrap();
    let content = fs::read(&data).unwrap();
    let (old, new) = content.split_at(2 * MIB as usize);
    assert!(old.iter().all(|byte| *byte == 1) && new.iter().all(|byte| *byte == 0), "found as it was, and grown");
    let record = storage.record(&name).unwrap().unwrap();
    assert_eq!((record.adopted, record.kept), (vec!["data".to_owned()], None));
    assert_eq!(storage.remove(&name), Ok(true));
    assert!(!data.exists());
}

/// Whoever dies while some volumes are kept and others removed leaves nothing that is lost or forgotten.
#[test]
fn keeping_goes_on_where_it_stopped() {
    let bench = Bench::new();
    let storage = bench.open();
    let spec = spec("a");
    let ownership = owner(&spec, 1);
    let name = ownership.hypervisor_name();
    storage.ensure_volumes(&spec, &ownership).unwrap();
    let kept = |index: usize| Kept {
        until: Timestamp::from_seconds(1),
        image: spec.image.clone(),
        volumes: vec![spec.volumes[index].clone()],
    };
    storage.keep(&name, &kept(1)).unwrap();
    // What is kept already can only become less: nothing comes back, and the time does not change.
    let both = Kept { until: Timestamp::from_seconds(9), volumes: spec.volumes.clone(), ..kept(0) };
    assert_eq!(storage.keep(&name, &both), Ok(false));
    assert_eq!(storage.record(&name).unwrap().unwrap().kept, Some(kept(1)));
    assert_eq!(storage.keep(&name, &kept(0)), Ok(true), "nothing of what is to be kept is there");
    assert_eq!(storage.record(&name), Ok(None));
    assert_eq!(bench.files(), Vec::<String>::new());
}

#[test]
fn what_does_not_fit_leaves_nothing() {
    let mut bench = Bench::new();
    bench.machine.stores[0].limit_bytes = Some(20 * MIB);
    let storage = bench.open();
    let first = spec("a");
    storage.ensure_volumes(&first, &owner(&first, 1)).unwrap();
    let files = bench.files();
    let mut second = spec("b");
    second.volumes[1].size_bytes = 3 * MIB;
    let refusal = storage.ensure_volumes(&second, &owner(&second, 1));
    assert!(matches!(refusal, Err(HypervisorError::Full { kind: ResourceKind::Disk, .. })), "{refusal:?}");
    second.volumes[1].size_bytes = 1 << 60;
    let refusal = storage.ensure_volumes(&second, &owner(&second, 1));
    assert!(matches!(refusal, Err(HypervisorError::Full { kind: ResourceKind::Disk, .. })), "{refusal:?}");
    assert_eq!(bench.files(), files);
    assert_eq!(storage.remove(&owner(&second, 1).hypervisor_name()), Ok(false));
    second.volumes[1].size_bytes = 2 * MIB;
    assert_eq!(storage.ensure_volumes(&second, &owner(&second, 1)), Ok(true));
    assert_eq!(storage.capacity_bytes(), Ok(20 * MIB));
}

#[test]
fn an_image_that_is_too_large_leaves_nothing() {
    let bench = Bench::new();
    let storage = bench.open();
    let mut spec = spec("a");
    spec.volumes[0].size_bytes = 3 * MIB;
    let error = storage.ensure_volumes(&spec, &owner(&spec, 1)).unwrap_err().to_string();
    assert!(error.contains("the image has 4 MiB, and the root volume would have 3 MiB"), "{error}");
    assert_eq!(bench.files(), [] as [String; 0]);
}

#[test]
fn an_interrupted_copy_leaves_nothing() {
    let bench = Bench::new();
    let storage = bench.open();
    storage.interrupt().set();
    let spec = spec("a");
    let error = storage.ensure_volumes(&spec, &owner(&spec, 1)).unwrap_err().to_string();
    assert!(error.contains("it was interrupted"), "{error}");
    assert_eq!(bench.files(), [] as [String; 0]);
}

#[test]
fn half_volumes_of_a_killed_process_are_made_anew() {
    let bench = Bench::new();
    let storage = bench.open();
    let spec = spec("a");
    let ownership = owner(&spec, 1);
    storage.ensure_volumes(&spec, &ownership).unwrap();
    // As a process leaves it that is killed in the middle.
    let path = bench.machine.folder.join("domains").join(ownership.hypervisor_name()).join("record.json");
    let record = fs::read_to_string(&path).unwrap();
    fs::write(&path, record.replacen("\"ready\"", "\"making\"", 1)).unwrap();
    fs::write(bench.volume(&ownership, "root"), "half").unwrap();
    let volumes = storage.record(&ownership.hypervisor_name()).unwrap().unwrap().volumes;
    assert_eq!(volumes, [("data".to_owned(), 2 * MIB)]);
    assert_eq!(storage.ensure_volumes(&spec, &ownership), Ok(true));
    assert_eq!(&fs::read(bench.volume(&ownership, "root")).unwrap()[..5], b"begin");
}

#[test]
fn file_systems_are_made_on_fresh_volumes_only() {
    let bench = Bench::new();
    let storage = bench.open();
    let mut spec = spec("a");
    spec.volumes[1].filesystem = Some(Filesystem::Ext4);
    let ownership = owner(&spec, 1);
    storage.ensure_volumes(&spec, &ownership).unwrap();
    let path = bench.volume(&ownership, "data");
    // The magic number of ext4.
    assert_eq!(fs::read(&path).unwrap()[0x438..0x43a], [0x53, 0xef]);
    fs::write(&path, vec![1; 2 * MIB as usize]).unwrap();
    spec.volumes[1].size_bytes = 4 * MIB;
    storage.ensure_volumes(&spec, &ownership).unwrap();
    assert_eq!(fs::read(&path).unwrap()[0x438..0x43a], [1, 1]);
    spec.volumes.push(tycoon_xen::spec::VolumeSpec {
        name: "swap".into(),
        filesystem: Some(Filesystem::Swap),
        ..spec.volumes[1].clone()
    });
    storage.ensure_volumes(&spec, &ownership).unwrap();
    let swap = fs::read(bench.volume(&ownership, "swap")).unwrap();
    assert_eq!(&swap[4086..4096], b"SWAPSPACE2");
}

#[test]
fn removal_takes_everything_of_the_domain_and_nothing_else() {
    let bench = Bench::new();
    let storage = bench.open();
    let (first, second) = (spec("a"), spec("b"));
    storage.note(&first, &owner(&first, 1)).unwrap();
    storage.ensure_volumes(&first, &owner(&first, 1)).unwrap();
    let files = bench.files();
    storage.note(&second, &owner(&second, 1)).unwrap();
    storage.ensure_volumes(&second, &owner(&second, 1)).unwrap();
    let name = owner(&second, 1).hypervisor_name();
    assert_eq!(storage.remove(&name), Ok(true));
    assert_eq!(storage.remove(&name), Ok(false));
    assert_eq!(bench.files(), files);
    assert!(!bench.machine.folder.join("locks").join(&name).exists());
}

#[test]
fn unknown_stores_bridges_and_images_are_refused_with_what_there_is() {
    let bench = Bench::new();
    let storage = bench.open();
    let mut wrong = spec("a");
    wrong.volumes[1].store = Some("fast".into());
    let error = storage.ensure_volumes(&wrong, &owner(&wrong, 1)).unwrap_err().to_string();
    assert!(error.contains("this host exports no store `fast`; it exports: `files`"), "{error}");
    let mut wrong = spec("a");
    wrong.nics[0].bridge = Some("dmz".into());
    let error = storage.note(&wrong, &owner(&wrong, 1)).unwrap_err().to_string();
    assert!(error.contains("this host exports no bridge `dmz`; it exports: `lan`"), "{error}");
    let mut wrong = spec("a");
    wrong.image = "debian-99".into();
    let missing = Err(HypervisorError::NoImage("debian-99".into()));
    assert_eq!(storage.ensure_volumes(&wrong, &owner(&wrong, 1)), missing);
    assert_eq!(storage.ensure_image("debian-99"), missing);
    assert_eq!(bench.files(), [] as [String; 0]);
}

#[test]
fn attached_disks_are_the_volumes_and_the_seed() {
    if !has_loop_devices() {
        return;
    }
    let bench = Bench::new();
    let storage = bench.open();
    let mut spec = spec("a");
    let ownership = owner(&spec, 1);
    let name = ownership.hypervisor_name();
    storage.note(&spec, &ownership).unwrap();
    let error = storage.attach(&name).unwrap_err().to_string();
    assert!(error.contains("its volume `root` does not exist"), "{error}");
    storage.ensure_volumes(&spec, &ownership).unwrap();
    let disks = storage.attach(&name).unwrap();
    assert_eq!(storage.attach(&name).unwrap(), disks);
    assert_eq!(disks.iter().map(|disk| disk.is_read_only).collect::<Vec<_>>(), [false, false, true]);
    assert_eq!(&fs::read(&disks[0].device).unwrap()[..5], b"begin");
    assert_eq!(&fs::read(&disks[2].device).unwrap()[32808..32814], b"cidata");
    // A volume grows while it is attached, and another seed comes with the next attaching.
    spec.volumes[1].size_bytes = 4 * MIB;
    spec.hostname = "other".into();
    storage.ensure_volumes(&spec, &ownership).unwrap();
    assert_eq!(fs::read(&disks[1].device).unwrap().len() as u64, 4 * MIB);
    storage.note(&spec, &ownership).unwrap();
    let disks = storage.attach(&name).unwrap();
    let seed = fs::read(&disks[2].device).unwrap();
    assert!(String::from_utf8_lossy(&seed).contains("local-hostname: \"other\""));
    storage.detach(&name).unwrap();
    storage.detach(&name).unwrap();
    assert_eq!(loop_devices_below(&bench), "");
    storage.attach(&name).unwrap();
    assert_eq!(storage.remove(&name), Ok(true));
    assert_eq!(loop_devices_below(&bench), "");
}

#[test]
fn a_loop_device_is_known_by_its_file_also_where_who_made_it_saw_another_root() {
    if !has_loop_devices() {
        return;
    }
    let bench = Bench::new();
    let storage = bench.open();
    let spec = spec("a");
    let ownership = owner(&spec, 1);
    let name = ownership.hypervisor_name();
    storage.note(&spec, &ownership).unwrap();
    storage.ensure_volumes(&spec, &ownership).unwrap();
    let files = bench.files();
    let root = files.iter().find(|file| file.ends_with("root.raw")).expect("the volume");
    // As a service whose folder was mounted for it alone, and which has ended.
    let volumes = bench.folder.path().join("volumes");
    let script = "mount --bind \"$0\" \"$0\" && losetup --find --show \"$1\"";
    let made = Command::new("unshare")
        .args(["--mount", "sh", "-c", script])
        .args([&volumes, &bench.folder.path().join(root)])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let made = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    assert_eq!(loop_devices_below(&bench), "", "the kernel tells another path");

    let disks = storage.attach(&name).unwrap();
    assert_eq!(disks[0].device.to_str(), Some(made.as_str()), "a volume is not attached a second time");
    storage.detach(&name).unwrap();
    let left = Command::new("losetup").arg(&made).output().unwrap();
    assert!(!left.status.success(), "{made} is free again: {left:?}");
}

/// A file system so small that a disk runs full in earnest.
struct SmallDisk {
    folder: std::path::PathBuf,
}

impl SmallDisk {
    fn mount(folder: std::path::PathBuf) -> Option<Self> {
        fs::create_dir(&folder).unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=16m", "tycoon-test"]).arg(&folder).status();
        if !mounted.is_ok_and(|status| status.success()) {
            println!("SKIPPED: a disk that runs full needs root, to mount a small one");
            return None;
        }
        Some(Self { folder })
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.folder).status();
    }
}

#[test]
fn a_full_disk_leaves_no_half_volume() {
    let bench = Bench::new();
    let Some(disk) = SmallDisk::mount(bench.folder.path().join("volumes")) else { return };
    let storage = bench.open();
    let first = spec("a");
    storage.ensure_volumes(&first, &owner(&first, 1)).unwrap();
    let files = bench.files();
    let second = spec("b");
    let refusal = storage.ensure_volumes(&second, &owner(&second, 1));
    assert!(matches!(refusal, Err(HypervisorError::Full { kind: ResourceKind::Disk, .. })), "{refusal:?}");
    assert_eq!(bench.files(), files);
    // A volume that cannot grow stays as it was.
    let mut larger = first.clone();
    larger.volumes[1].size_bytes = 12 * MIB;
    assert!(storage.ensure_volumes(&larger, &owner(&larger, 1)).is_err());
    assert_eq!(storage.ensure_volumes(&first, &owner(&first, 1)), Ok(false));
    assert_eq!(fs::metadata(bench.volume(&owner(&first, 1), "data")).unwrap().len(), 2 * MIB);
    assert_eq!(bench.files(), files);
    storage.remove(&owner(&first, 1).hypervisor_name()).unwrap();
    drop(disk);
}

fn loop_devices_below(bench: &Bench) -> String {
    let listed = Command::new("losetup").args(["--list", "--noheadings", "--output", "BACK-FILE"]).output().unwrap();
    let folder = bench.folder.path().to_str().unwrap();
    String::from_utf8(listed.stdout).unwrap().lines().filter(|line| line.contains(folder)).collect()
}

#[test]
fn the_blocks_of_a_volume_are_read_as_they_are() {
    let bench = Bench::new();
    let storage = bench.open();
    let spec = spec("a");
    let ownership = owner(&spec, 1);
    let name = ownership.hypervisor_name();
    storage.ensure_volumes(&spec, &ownership).unwrap();
    let mut expected = image(4 * MIB);
    expected.resize(8 * MIB as usize, 0);
    let mut all = vec![9; 9 * MIB as usize];
    assert_eq!(storage.read_volume(&name, "root", 0, &mut all), Ok(8 * MIB as usize));
    assert!(all[..8 * MIB as usize] == expected);
    let mut piece = vec![9; 1_000];
    assert_eq!(storage.read_volume(&name, "root", 4 * MIB - 500, &mut piece), Ok(1_000));
    assert!(piece == expected[4 * MIB as usize - 500..][..1_000]);
    assert_eq!(storage.read_volume(&name, "root", 8 * MIB, &mut piece), Ok(0));
    assert_eq!(storage.read_volume(&name, "root", u64::MAX, &mut piece), Ok(0));
    for volume in ["none", "../data", "", "/etc/passwd"] {
        assert!(storage.read_volume(&name, volume, 0, &mut piece).is_err(), "{volume:?}");
    }
    for name in ["../a", "", "none"] {
        assert!(storage.read_volume(name, "root", 0, &mut piece).is_err(), "{name:?}");
    }
}
