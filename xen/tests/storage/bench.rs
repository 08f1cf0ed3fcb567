//! A machine in a folder, and domains for it.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tycoon_market::{AccountId, PublicKey};
use tycoon_xen::machine::{AddressRange, BridgeExport, DiskFormat, ImageExport, Machine, StoreExport, StoreKind};
use tycoon_xen::spec::{Boot, CloudInit, DomainSpec, KeepVolumes, NicSpec, Ownership, RunRules, VolumeSpec};
use tycoon_xen::storage::MachineStorage;

pub const MIB: u64 = 1 << 20;

pub struct Bench {
    pub folder: TempDir,
    pub machine: Machine,
}

impl Bench {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        fs::write(path.join("tiny.raw"), image(4 * MIB)).unwrap();
        fs::write(path.join("kernel"), "kernel").unwrap();
        let range = AddressRange {
            first: Ipv4Addr::new(192, 0, 2, 10),
            last: Ipv4Addr::new(192, 0, 2, 12),
            prefix: 24,
            gateway: Some(Ipv4Addr::new(192, 0, 2, 1)),
            name_servers: vec![Ipv4Addr::new(192, 0, 2, 2)],
        };
        let machine = Machine {
            folder: path.join("tycoon"),
            hypervisor: "xen:///system".into(),
            stores: vec![StoreExport {
                name: "files".into(),
                kind: StoreKind::Loopback { directory: path.join("volumes") },
                limit_bytes: None,
            }],
            bridges: vec![BridgeExport { name: "lan".into(), device: "xenbr0".into(), addresses: Some(range) }],
            images: vec![ImageExport {
                name: "std:tiny".into(),
                disk: path.join("tiny.raw"),
                format: DiskFormat::Raw,
                kernel: Some(path.join("kernel")),
                ramdisk: None,
                kernel_args: vec!["console=hvc0".into()],
            }],
            kernels: vec![],
            ramdisks: vec![],
            boot_loader: None,
            reserved_memory_bytes: 0,
        };
        Self { folder, machine }
    }

    pub fn open(&self) -> MachineStorage {
        MachineStorage::open(self.machine.clone()).unwrap()
    }

    pub fn volume(&self, domain: &Ownership, volume: &str) -> PathBuf {
        self.folder.path().join("volumes").join(domain.hypervisor_name()).join(format!("{volume}.raw"))
    }

    /// The names of the lock files that are there.
    pub fn locks(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path().join("tycoon/locks")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
    }

    /// All files and folders of domains and their volumes, ordered.
    pub fn files(&self) -> Vec<String> {
        let mut files = Vec::new();
        for part in ["tycoon/domains", "volumes"] {
            walk(&self.folder.path().join(part), self.folder.path(), &mut files);
        }
        files.sort();
        files
    }
}

fn walk(folder: &Path, root: &Path, files: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        files.push(path.strip_prefix(root).unwrap().display().to_string());
        walk(&path, root, files);
    }
}

/// An image with something in its first, a middle and its last block.
pub fn image(bytes: u64) -> Vec<u8> {
    let mut image = vec![0; bytes as usize];
    image[..5].copy_from_slice(b"begin");
    image[2 * MIB as usize + 7] = 7;
    let end = image.len();
    image[end - 3..].copy_from_slice(b"end");
    image
}

pub fn spec(path: &str) -> DomainSpec {
    let volume = |name: &str, mib: u64| VolumeSpec {
        name: name.into(),
        size_bytes: mib * MIB,
        filesystem: None,
        copy_on_write: false,
        store: None,
        existing: false,
    };
    DomainSpec {
        path: path.parse().unwrap(),
        hostname: path.replace('.', "-"),
        vcpus: 1,
        memory_bytes: 128 * MIB,
        image: "std:tiny".into(),
        boot: Boot::default(),
        volumes: vec![volume("root", 8), volume("data", 2)],
        nics: vec![NicSpec::dhcp("eth0")],
        cloud_init: CloudInit::default(),
        keep_volumes: KeepVolumes::default(),
        save_image: None,
        rules: RunRules::default(),
    }
}

pub fn owner(spec: &DomainSpec, byte: u8) -> Ownership {
    let key = (byte..).find_map(|byte| PublicKey::from_bytes([byte; 32]).ok()).unwrap();
    Ownership {
        account: AccountId::of(&key),
        pool: "hello".parse().unwrap(),
        path: spec.path.clone(),
        generation: 1,
        digest: spec.digest(),
    }
}

/// Whether this machine has loop devices and lets us use them; says so where not.
pub fn has_loop_devices() -> bool {
    let is_root = fs::metadata("/proc/self").is_ok_and(|me| {
        use std::os::unix::fs::MetadataExt as _;
        me.uid() == 0
    });
    let has = is_root && Path::new("/dev/loop-control").exists();
    if !has {
        println!("SKIPPED: loop devices need root and /dev/loop-control");
    }
    has
}
