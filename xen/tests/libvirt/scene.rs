//! What the tests work with: a host of libvirt's `test` driver, and domains for it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;
use tycoon_market::{AccountId, PublicKey, Timestamp};
use tycoon_xen::hypervisor::{Hypervisor, HypervisorError};
use tycoon_xen::libvirt::LibvirtHost;
use tycoon_xen::machine::Machine;
use tycoon_xen::spec::{Boot, CloudInit, DomainSpec, KeepVolumes, NicSpec, Ownership, RunRules, VolumeSpec};

use super::folder_storage::FolderStorage;

pub const MIB: u64 = 1 << 20;

/// The driver reads the clock itself.
pub const NOW: Timestamp = Timestamp::from_seconds(1_000_000_000);

/// A host with one foreign domain, `db`, which runs and has 256 MiB.
pub struct Scene {
    pub storage: Arc<FolderStorage>,
    pub host: LibvirtHost,
    pub folder: TempDir,
}

const NODE: &str = "<node><cpu><mhz>2300</mhz><model>x86_64</model><active>4</active></cpu><memory>4194304</memory>
    <domain type='test'><name>db</name><memory>262144</memory><vcpu>1</vcpu><os><type>hvm</type></os></domain></node>";

impl Scene {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let node = folder.path().join("node.xml");
        fs::write(&node, NODE).unwrap();
        let storage = Arc::new(FolderStorage::new(folder.path()));
        let host = open(&format!("test://{}", node.display()), folder.path(), &storage).unwrap();
        Self { storage, host, folder }
    }

    pub fn is_attached(&self, name: &str) -> bool {
        self.storage.attached.lock().unwrap().contains(name)
    }

    /// Image, volumes and definition; the name.
    pub fn define(&self, spec: &DomainSpec) -> String {
        let ownership = ownership(spec);
        self.host.ensure_image(&spec.image).unwrap();
        self.host.ensure_volumes(spec, &ownership).unwrap();
        self.host.define(spec, &ownership, NOW).unwrap();
        ownership.hypervisor_name()
    }
}

pub fn open(uri: &str, folder: &Path, storage: &Arc<FolderStorage>) -> Result<LibvirtHost, HypervisorError> {
    let machine = Machine {
        folder: folder.to_owned(),
        hypervisor: uri.to_owned(),
        stores: vec![],
        bridges: vec![],
        images: vec![],
        kernels: vec![],
        ramdisks: vec![],
        boot_loader: None,
        reserved_memory_bytes: 64 * MIB,
    };
    LibvirtHost::open(&machine, Arc::<FolderStorage>::clone(storage))
}

/// One CPU, 128 MiB of memory, a root volume of 256 MiB.
pub fn spec(path: &str) -> DomainSpec {
    DomainSpec {
        path: path.parse().unwrap(),
        hostname: path.replace('.', "-"),
        vcpus: 1,
        memory_bytes: 128 * MIB,
        image: "std:tiny".into(),
        boot: Boot::default(),
        volumes: vec![VolumeSpec {
            name: "root".into(),
            size_bytes: 256 * MIB,
            filesystem: None,
            copy_on_write: false,
            store: None,
            existing: false,
        }],
        nics: vec![NicSpec::dhcp("eth0")],
        cloud_init: CloudInit::default(),
        keep_volumes: KeepVolumes::default(),
        save_image: None,
        rules: RunRules::default(),
    }
}

pub fn ownership(spec: &DomainSpec) -> Ownership {
    let key = (1..).find_map(|byte| PublicKey::from_bytes([byte; 32]).ok()).unwrap();
    Ownership {
        account: AccountId::of(&key),
        pool: "hello".parse().unwrap(),
        path: spec.path.clone(),
        generation: 1,
        digest: spec.digest(),
    }
}
