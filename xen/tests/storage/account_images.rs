//! Images that accounts bring for themselves: apart from each other's, within what is paid for.

use std::collections::BTreeSet;

use sha2::{Digest as _, Sha256};
use tycoon_market::AccountId;
use tycoon_xen::hypervisor::HypervisorError;
use tycoon_xen::image::{FileDigest, ImageFile, ImageManifest, ImagePart};
use tycoon_xen::machine::DiskFormat;
use tycoon_xen::own_image::name_on_host;
use tycoon_xen::remote::image::{AccountImageStore as _, UploadTerms};
use tycoon_xen::spec::DomainSpec;
use tycoon_xen::storage::{MachineStorage, Storage as _};

use crate::bench::{Bench, MIB, owner, spec};

fn account(byte: u8) -> AccountId {
    owner(&spec("a"), byte).account
}

fn terms(upload_bytes: u64) -> UploadTerms {
    UploadTerms { upload_bytes, ..UploadTerms::default() }
}

fn disk(byte: u8, mib: u64) -> Vec<u8> {
    vec![byte; usize::try_from(mib * MIB).unwrap()]
}

fn manifest(name: &str, disk: &[u8]) -> ImageManifest {
    ImageManifest {
        name: name.into(),
        format: DiskFormat::Raw,
        disk: ImageFile { bytes: disk.len() as u64, sha256: FileDigest::new(Sha256::digest(disk).into()) },
        kernel: None,
        ramdisk: None,
        kernel_args: Vec::new(),
    }
}

fn bring(
    storage: &MachineStorage,
    account: &AccountId,
    terms: &UploadTerms,
    name: &str,
    disk: &[u8],
) -> Result<bool, HypervisorError> {
    let manifest = manifest(name, disk);
    if storage.begin(account, terms, &manifest)?.is_complete {
        return Ok(false);
    }
    storage.append(account, manifest.digest(), ImagePart::Disk, 0, disk)?;
    storage.finish(account, manifest.digest())?;
    Ok(true)
}

#[test]
fn two_accounts_may_call_two_images_the_same_and_each_gets_her_own() {
    let bench = Bench::new();
    let storage = bench.open();
    let (alice, bob, roomy) = (account(1), account(100), terms(100 * MIB));
    assert_ne!(alice, bob);
    assert_eq!(bring(&storage, &alice, &roomy, "web", &disk(b'a', 2)), Ok(true));
    assert_eq!(bring(&storage, &bob, &roomy, "web", &disk(b'b', 2)), Ok(true));
    // The same content again is sent again: that somebody else has it helps nobody.
    assert_eq!(bring(&storage, &bob, &roomy, "copy", &disk(b'a', 2)), Ok(true));
    assert_eq!(bring(&storage, &alice, &roomy, "web", &disk(b'a', 2)), Ok(false));
    let mut expected: Vec<String> = vec!["std:tiny".into()];
    expected
        .extend([(&alice, "web"), (&bob, "copy"), (&bob, "web")].map(|(account, name)| name_on_host(account, name)));
    expected.sort();
    assert_eq!(storage.images().unwrap(), expected);
    for (byte, content) in [(1, b'a'), (100, b'b')] {
        let spec = DomainSpec { image: "web".into(), ..spec(if byte == 1 { "a" } else { "b" }) };
        let ownership = owner(&spec, byte);
        assert_eq!(storage.ensure_image(&name_on_host(&ownership.account, "web")), Ok(false));
        storage.ensure_volumes(&spec, &ownership).unwrap();
        let root = std::fs::read(bench.volume(&ownership, "root")).unwrap();
        assert!(root[..usize::try_from(2 * MIB).unwrap()].iter().all(|byte| *byte == content));
    }
    // Nobody names another's.
    let theft = DomainSpec { image: name_on_host(&alice, "web"), ..spec("c") };
    let error = storage.ensure_volumes(&theft, &owner(&theft, 100)).unwrap_err();
    assert!(matches!(error, HypervisorError::NoImage(_)), "{error:?}");
    let stranger = DomainSpec { image: "web".into(), ..spec("d") };
    let error = storage.ensure_volumes(&stranger, &owner(&stranger, 200)).unwrap_err();
    assert!(matches!(error, HypervisorError::NoImage(_)), "{error:?}");
    assert_eq!(storage.ensure_image("web"), Err(HypervisorError::NoImage("web".into())));
}

#[test]
fn what_does_not_fit_gives_way_to_what_is_brought_but_not_what_domains_are_made_from() {
    let storage_bench = Bench::new();
    let storage = storage_bench.open();
    let (alice, most) = (account(1), terms(5 * MIB));
    let names = || -> Vec<String> {
        let prefix = format!("{alice}:");
        storage.images().unwrap().iter().filter_map(|name| name.strip_prefix(&prefix).map(str::to_owned)).collect()
    };
    let error = bring(&storage, &alice, &most, "huge", &disk(0, 6)).unwrap_err().to_string();
    assert!(error.contains("bid for more disk"), "{error}");
    let error = bring(&storage, &alice, &terms(0), "tiny", b"x").unwrap_err().to_string();
    assert!(error.contains("images of 0 bytes"), "{error}");
    bring(&storage, &alice, &most, "one", &disk(1, 2)).unwrap();
    bring(&storage, &alice, &most, "two", &disk(2, 2)).unwrap();
    // An upload that was given up counts too, and is the first to go.
    storage.begin(&alice, &most, &manifest("never", &disk(9, 1))).unwrap();
    bring(&storage, &alice, &most, "three", &disk(3, 1)).unwrap();
    assert_eq!(names(), ["one", "three", "two"]);
    bring(&storage, &alice, &most, "four", &disk(4, 2)).unwrap();
    assert_eq!(names(), ["four", "three", "two"], "the oldest went");
    let in_use: BTreeSet<String> = ["two".to_owned(), "four".to_owned()].into();
    let kept = UploadTerms { in_use, ..terms(5 * MIB) };
    bring(&storage, &alice, &kept, "five", &disk(5, 1)).unwrap();
    assert_eq!(names(), ["five", "four", "two"]);
    // A new content of a name takes the place of the old one, also where a domain was made from that.
    bring(&storage, &alice, &kept, "four", &disk(7, 3)).unwrap();
    assert_eq!(names(), ["four", "two"], "five went, the others have domains");
    let error = bring(&storage, &alice, &kept, "six", &disk(6, 2)).unwrap_err().to_string();
    assert!(error.contains("of this account's domains"), "{error}");
}

#[test]
fn only_raw_disks_under_names_of_their_own_are_taken() {
    let bench = Bench::new();
    let storage = bench.open();
    let (alice, roomy) = (account(1), terms(100 * MIB));
    let good = manifest("web", b"a disk");
    let file = good.disk;
    type Change = fn(&mut ImageManifest, ImageFile);
    let wrong: [(&str, Change); 7] = [
        ("only raw ones", |m, _| m.format = DiskFormat::Qcow2),
        ("a kernel of its own", |m, file| m.kernel = Some(file)),
        ("a kernel of its own", |m, _| m.kernel_args = vec!["init=/bin/sh".into()]),
        ("cannot name an image", |m, _| m.name = "../web".into()),
        ("cannot name an image", |m, _| m.name = "/web".into()),
        ("95 are possible", |m, _| m.name = "x".repeat(96)),
        ("choose another name", |m, _| m.name = "std:tiny".into()),
    ];
    for (why, change) in wrong {
        let mut changed = good.clone();
        change(&mut changed, file);
        let error = storage.begin(&alice, &roomy, &changed).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    // The owner's own uploads do not get into an account's place either.
    let theirs = ImageManifest { name: name_on_host(&alice, "web"), ..good.clone() };
    assert!(storage.begin_upload(&theirs).unwrap_err().to_string().contains("for itself"));
    // Where nothing was begun, nothing is appended or finished.
    assert!(storage.append(&alice, good.digest(), ImagePart::Disk, 0, b"a disk").is_err());
    assert!(storage.finish(&alice, good.digest()).is_err());
}
