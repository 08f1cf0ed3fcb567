//! Images: uploaded in pieces, verified, made ready, replaced.

use std::fs;
use std::path::Path;
use std::process::Command;

use sha2::{Digest as _, Sha256};
use tycoon_market::ResourceKind;
use tycoon_xen::hypervisor::HypervisorError;
use tycoon_xen::image::{FileDigest, ImageFile, ImageManifest, ImagePart};
use tycoon_xen::machine::{DiskFormat, ImageExport};
use tycoon_xen::spec::Boot;
use tycoon_xen::storage::{MachineStorage, Storage as _};

use crate::bench::{Bench, MIB, image, owner, spec};

fn file(content: &[u8]) -> ImageFile {
    ImageFile { bytes: content.len() as u64, sha256: FileDigest::new(Sha256::digest(content).into()) }
}

fn manifest(name: &str, disk: &[u8]) -> ImageManifest {
    ImageManifest {
        name: name.into(),
        format: DiskFormat::Raw,
        disk: file(disk),
        kernel: Some(file(b"a kernel")),
        ramdisk: None,
        kernel_args: vec!["root=/dev/xvda".into()],
    }
}

fn upload(storage: &MachineStorage, manifest: &ImageManifest, disk: &[u8]) -> Result<(), HypervisorError> {
    storage.begin_upload(manifest)?;
    storage.append_upload(manifest.digest(), ImagePart::Disk, 0, disk)?;
    if manifest.kernel.is_some() {
        storage.append_upload(manifest.digest(), ImagePart::Kernel, 0, b"a kernel")?;
    }
    storage.finish_upload(manifest.digest())
}

#[test]
fn an_upload_goes_on_where_it_stopped() {
    let bench = Bench::new();
    let disk = image(3 * MIB);
    let manifest = manifest("mine", &disk);
    let id = manifest.digest();
    let (first, rest) = disk.split_at(1000);
    let storage = bench.open();
    let offsets = storage.begin_upload(&manifest).unwrap().offsets;
    assert_eq!(offsets, [(ImagePart::Disk, 0), (ImagePart::Kernel, 0)]);
    assert_eq!(storage.append_upload(id, ImagePart::Disk, 0, first), Ok(1000));
    drop(storage);
    let storage = bench.open();
    let state = storage.begin_upload(&manifest).unwrap();
    assert_eq!((state.is_complete, state.offsets[0]), (false, (ImagePart::Disk, 1000)));
    let error = storage.append_upload(id, ImagePart::Disk, 0, first).unwrap_err().to_string();
    assert!(error.contains("1000 bytes of the disk are there"), "{error}");
    let error = storage.finish_upload(id).unwrap_err().to_string();
    assert!(error.contains("1000 of 3145728 bytes of the disk are there; send the rest"), "{error}");
    storage.append_upload(id, ImagePart::Disk, 1000, rest).unwrap();
    storage.append_upload(id, ImagePart::Kernel, 0, b"a kernel").unwrap();
    assert!(storage.append_upload(id, ImagePart::Kernel, 8, b"!").is_err());
    assert_eq!(storage.ensure_image("mine"), Err(HypervisorError::NoImage("mine".into())));
    storage.finish_upload(id).unwrap();
    storage.finish_upload(id).unwrap();
    assert!(storage.begin_upload(&manifest).unwrap().is_complete);
    assert_eq!(bench.open().images().unwrap(), ["mine", "std:tiny"]);

    let mut spec = spec("a");
    spec.image = "mine".into();
    spec.boot = Boot { kernel_args: vec!["quiet".into()], ..Boot::default() };
    let boot = storage.boot_files(&spec, &owner(&spec, 1)).unwrap();
    assert_eq!(fs::read(boot.kernel).unwrap(), b"a kernel");
    assert_eq!(boot.arguments, ["root=/dev/xvda", "quiet"]);
    let ownership = owner(&spec, 1);
    assert_eq!(storage.ensure_image("mine"), Ok(false));
    storage.ensure_volumes(&spec, &ownership).unwrap();
    assert!(fs::read(bench.volume(&ownership, "root")).unwrap().starts_with(&disk));
    assert_eq!(storage.remove_image("mine"), Ok(true));
    assert_eq!(storage.remove_image("mine"), Ok(false));
    assert_eq!(storage.images().unwrap(), ["std:tiny"]);
}

#[test]
fn a_file_that_arrived_wrong_must_be_sent_again() {
    let bench = Bench::new();
    let storage = bench.open();
    let disk = image(3 * MIB);
    let manifest = manifest("mine", &disk);
    let mut wrong = disk.clone();
    wrong[1] ^= 1;
    let error = upload(&storage, &manifest, &wrong).unwrap_err().to_string();
    assert!(error.contains("the disk arrived with the SHA-256") && error.contains("send it again"), "{error}");
    assert_eq!(storage.begin_upload(&manifest).unwrap().offsets, [(ImagePart::Disk, 0), (ImagePart::Kernel, 8)]);
    storage.append_upload(manifest.digest(), ImagePart::Disk, 0, &disk).unwrap();
    assert_eq!(storage.finish_upload(manifest.digest()), Ok(()));
}

#[test]
fn a_name_can_mean_another_image_later() {
    let bench = Bench::new();
    let storage = bench.open();
    let (old, new) = (image(3 * MIB), image(4 * MIB));
    upload(&storage, &manifest("mine", &old), &old).unwrap();
    upload(&storage, &manifest("mine", &new), &new).unwrap();
    assert_eq!(storage.images().unwrap(), ["mine", "std:tiny"]);
    assert!(!storage.begin_upload(&manifest("other", &old)).unwrap().is_complete, "the old one is still there");
    assert!(storage.begin_upload(&manifest("other", &new)).unwrap().is_complete);
    assert_eq!(storage.images().unwrap(), ["mine", "other", "std:tiny"]);
    assert_eq!(storage.remove_image("mine"), Ok(true));
    assert_eq!(storage.ensure_image("other"), Ok(false));
}

#[test]
fn what_has_no_room_or_another_s_name_is_refused() {
    let bench = Bench::new();
    let storage = bench.open();
    let mut large = manifest("mine", b"x");
    large.disk.bytes = 8 << 40;
    let refusal = storage.begin_upload(&large);
    assert!(matches!(refusal, Err(HypervisorError::Full { kind: ResourceKind::Disk, .. })), "{refusal:?}");
    let error = storage.begin_upload(&manifest("std:tiny", b"x")).unwrap_err().to_string();
    assert!(error.contains("this host itself provides an image `std:tiny`"), "{error}");
    let error = storage.begin_upload(&manifest("../x", b"x")).unwrap_err().to_string();
    assert!(error.contains("cannot name an image"), "{error}");
    let error = storage.append_upload(large.digest(), ImagePart::Disk, 0, b"x").unwrap_err().to_string();
    assert!(error.contains("has begun; begin it"), "{error}");
    assert_eq!(storage.abandon_upload(large.digest()), Ok(false));
}

fn has_qemu_img() -> bool {
    let has = Path::new("/usr/bin/qemu-img").exists();
    if !has {
        println!("SKIPPED: qcow2 images need qemu-img (`apt install qemu-utils`)");
    }
    has
}

fn qemu_img(arguments: &[&str]) {
    let output = Command::new("qemu-img").args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_qcow2_image_is_made_ready_once() {
    if !has_qemu_img() {
        return;
    }
    let mut bench = Bench::new();
    let path = |name: &str| bench.folder.path().join(name);
    let (raw, packed) = (path("tiny.raw"), path("tiny.qcow2"));
    qemu_img(&["convert", "-f", "raw", "-O", "qcow2", "-c", raw.to_str().unwrap(), packed.to_str().unwrap()]);
    let (disk, format) = (packed.clone(), DiskFormat::Qcow2);
    let export = ImageExport { name: "packed".into(), disk, format, ..bench.machine.images[0].clone() };
    bench.machine.images.push(export);
    let storage = bench.open();
    let mut spec = spec("a");
    spec.image = "packed".into();
    let ownership = owner(&spec, 1);
    assert_eq!(storage.ensure_volumes(&spec, &ownership), Err(HypervisorError::NoImage("packed".into())));
    assert_eq!(storage.ensure_image("packed"), Ok(true));
    assert_eq!(bench.open().ensure_image("packed"), Ok(false));
    storage.ensure_volumes(&spec, &ownership).unwrap();
    assert!(fs::read(bench.volume(&ownership, "root")).unwrap().starts_with(&image(4 * MIB)));

    // What refers to a file of the host is refused, also where it is uploaded.
    fs::remove_file(&packed).unwrap();
    let backing = ["create", "-q", "-f", "qcow2", "-b", "/etc/passwd", "-F", "raw", packed.to_str().unwrap(), "4M"];
    qemu_img(&backing);
    let error = storage.ensure_image("packed").unwrap_err().to_string();
    assert!(error.contains("it has a backing file"), "{error}");
    let disk = fs::read(&packed).unwrap();
    let manifest = ImageManifest { format: DiskFormat::Qcow2, kernel: None, ..manifest("thief", &disk) };
    let error = upload(&storage, &manifest, &disk).unwrap_err().to_string();
    assert!(error.contains("it has a backing file"), "{error}");
    assert!(!storage.images().unwrap().contains(&"thief".to_owned()));
}

#[test]
fn what_a_domain_boots_is_exported_or_said_to_be_missing() {
    let mut bench = Bench::new();
    bench.machine.images[0].kernel = None;
    let mut spec = spec("a");
    let error = bench.open().boot_files(&spec, &owner(&spec, 1)).unwrap_err().to_string();
    assert!(error.contains("has no kernel, and this host has no boot loader"), "{error}");
    bench.machine.boot_loader = Some(bench.folder.path().join("grub"));
    let error = bench.open().boot_files(&spec, &owner(&spec, 1)).unwrap_err().to_string();
    assert!(error.contains("the boot loader of this host is not there"), "{error}");
    fs::write(bench.folder.path().join("grub"), "grub").unwrap();
    assert_eq!(bench.open().boot_files(&spec, &owner(&spec, 1)).unwrap().ramdisk, None);
    spec.boot.kernel_args = vec!["quiet".into()];
    assert!(
        bench.open().boot_files(&spec, &owner(&spec, 1)).unwrap_err().to_string().contains("name a kernel too (none)")
    );
    spec.boot.kernel = Some("debian".into());
    let error = bench.open().boot_files(&spec, &owner(&spec, 1)).unwrap_err().to_string();
    assert!(error.contains("this host exports no kernel `debian`; it exports: none"), "{error}");
}
