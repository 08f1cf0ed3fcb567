//! A storage that only notes what it is asked for, in a folder: a file per domain.

use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde_json::{Value, json};
use tycoon_market::{Quantity, ResourceKind};
use tycoon_xen::hypervisor::HypervisorError;
use tycoon_xen::spec::{Addressing, DomainSpec, MacAddress, Ownership, VolumeSpec};
use tycoon_xen::status::Kept;
use tycoon_xen::storage::{AttachedDisk, BootFiles, DomainRecord, Interface, Storage};

const CAPACITY_BYTES: u64 = 20 << 30;
const IMAGE: &str = "std:tiny";

pub struct FolderStorage {
    folder: PathBuf,
    /// The domains whose disks are attached.
    pub attached: Mutex<BTreeSet<String>>,
}

impl FolderStorage {
    pub fn new(folder: &Path) -> Self {
        fs::create_dir_all(folder.join("domains")).unwrap();
        Self { folder: folder.to_owned(), attached: Mutex::default() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join("domains").join(name)
    }

    fn write(&self, record: &DomainRecord) {
        let interfaces: Vec<Value> = record
            .interfaces
            .iter()
            .map(|interface| json!([interface.name, interface.mac, interface.bridge, interface.address]))
            .collect();
        let value = json!([record.ownership, record.spec, record.volumes, interfaces, record.adopted, record.kept]);
        fs::write(self.path(&record.name), value.to_string()).unwrap();
    }

    fn own_or_new(&self, ownership: &Ownership) -> Result<DomainRecord, HypervisorError> {
        let name = ownership.hypervisor_name();
        let ownership = ownership.clone();
        let (volumes, interfaces, adopted) = (vec![], vec![], vec![]);
        let new = DomainRecord { name, ownership, spec: None, volumes, interfaces, adopted, kept: None };
        Ok(self.record(&new.name)?.unwrap_or(new))
    }

    fn taken(&self, but: &str) -> Result<BTreeSet<Ipv4Addr>, HypervisorError> {
        let others = self.records()?.into_iter().filter(|record| record.name != but);
        Ok(others.flat_map(|record| record.interfaces).filter_map(|interface| interface.address).collect())
    }
}

impl Storage for FolderStorage {
    fn capacity_bytes(&self) -> Result<u64, HypervisorError> {
        Ok(CAPACITY_BYTES)
    }

    fn images(&self) -> Result<Vec<String>, HypervisorError> {
        Ok(vec![IMAGE.to_owned()])
    }

    fn ensure_image(&self, image: &str) -> Result<bool, HypervisorError> {
        if image != IMAGE {
            return Err(HypervisorError::NoImage(image.to_owned()));
        }
        let cached = self.folder.join("image");
        let is_new = !cached.exists();
        fs::write(cached, "").unwrap();
        Ok(is_new)
    }

    fn ensure_volumes(&self, spec: &DomainSpec, ownership: &Ownership) -> Result<bool, HypervisorError> {
        let mut record = self.own_or_new(ownership)?;
        let before = record.clone();
        let is_missing =
            |volume: &VolumeSpec| volume.existing && !record.volumes.iter().any(|(name, _)| *name == volume.name);
        if spec.volumes.iter().any(is_missing) {
            return Err(HypervisorError::Refused {
                operation: "making volumes".into(),
                reason: "it is missing".into(),
            });
        }
        for volume in &spec.volumes {
            if volume.size_bytes > CAPACITY_BYTES {
                let quantity = Quantity::from_bytes;
                let (available, asked) = (quantity(CAPACITY_BYTES), quantity(volume.size_bytes));
                return Err(HypervisorError::Full { kind: ResourceKind::Disk, available, asked });
            }
            match record.volumes.iter_mut().find(|(name, _)| *name == volume.name) {
                Some((_, size)) => *size = volume.size_bytes.max(*size),
                None => record.volumes.push((volume.name.clone(), volume.size_bytes)),
            }
        }
        self.write(&record);
        Ok(record.volumes != before.volumes)
    }

    fn note(&self, spec: &DomainSpec, ownership: &Ownership) -> Result<Vec<Interface>, HypervisorError> {
        let mut record = self.own_or_new(ownership)?;
        let mut taken = self.taken(&record.name)?;
        let mut interfaces = Vec::new();
        for nic in &spec.nics {
            let before = record.interfaces.iter().find(|interface| interface.name == nic.name);
            let address = match nic.address {
                Addressing::Static { address, .. } if taken.contains(&address) => {
                    return Err(HypervisorError::AddressTaken(address));
                }
                Addressing::Static { address, .. } => address,
                Addressing::Dhcp => before.and_then(|interface| interface.address).unwrap_or_else(|| {
                    (20..=250).map(|last| Ipv4Addr::new(10, 77, 0, last)).find(|free| !taken.contains(free)).unwrap()
                }),
            };
            taken.insert(address);
            interfaces.push(Interface {
                name: nic.name.clone(),
                mac: MacAddress::of_xen(u32::from(address)),
                bridge: "xenbr0".into(),
                address: Some(address),
                bandwidth: None,
                forwards: Vec::new(),
            });
        }
        record.ownership = ownership.clone();
        record.spec = Some(spec.clone());
        record.interfaces = interfaces.clone();
        record.kept = None;
        self.write(&record);
        Ok(interfaces)
    }

    fn records(&self) -> Result<Vec<DomainRecord>, HypervisorError> {
        let mut records = Vec::new();
        for entry in fs::read_dir(self.folder.join("domains")).unwrap() {
            records.extend(self.record(&entry.unwrap().file_name().into_string().unwrap())?);
        }
        records.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(records)
    }

    fn record(&self, name: &str) -> Result<Option<DomainRecord>, HypervisorError> {
        let Ok(text) = fs::read_to_string(self.path(name)) else { return Ok(None) };
        type Interfaces = Vec<(String, MacAddress, String, Option<Ipv4Addr>)>;
        type Parts = (Ownership, Option<DomainSpec>, Vec<(String, u64)>, Interfaces, Vec<String>, Option<Kept>);
        let (ownership, spec, volumes, interfaces, adopted, kept): Parts = serde_json::from_str(&text).unwrap();
        let interface = |(name, mac, bridge, address)| Interface {
            name,
            mac,
            bridge,
            address,
            bandwidth: None,
            forwards: Vec::new(),
        };
        let interfaces = interfaces.into_iter().map(interface).collect();
        Ok(Some(DomainRecord { name: name.to_owned(), ownership, spec, volumes, interfaces, adopted, kept }))
    }

    fn attach(&self, name: &str) -> Result<Vec<AttachedDisk>, HypervisorError> {
        let record = self.record(name)?.ok_or_else(|| HypervisorError::NoDomain(name.to_owned()))?;
        self.attached.lock().unwrap().insert(name.to_owned());
        let volume = |(volume, _): &(String, u64)| AttachedDisk {
            device: format!("/dev/vg1/{name}.{volume}").into(),
            is_read_only: false,
        };
        let seed = AttachedDisk { device: "/dev/loop0".into(), is_read_only: true };
        Ok(record.volumes.iter().map(volume).chain([seed]).collect())
    }

    fn detach(&self, name: &str) -> Result<(), HypervisorError> {
        self.attached.lock().unwrap().remove(name);
        Ok(())
    }

    fn boot_files(&self, spec: &DomainSpec, _: &Ownership) -> Result<BootFiles, HypervisorError> {
        let arguments = ["console=hvc0".to_owned()].into_iter().chain(spec.boot.kernel_args.clone()).collect();
        Ok(BootFiles { kernel: "/images/kernel".into(), ramdisk: Some("/images/ramdisk".into()), arguments })
    }

    fn remove(&self, name: &str) -> Result<bool, HypervisorError> {
        Ok(fs::remove_file(self.path(name)).is_ok())
    }

    /// Its volumes say whose they are and are blank.
    fn read_volume(&self, name: &str, volume: &str, offset: u64, buffer: &mut [u8]) -> Result<usize, HypervisorError> {
        let record = self.record(name)?.ok_or_else(|| HypervisorError::NoDomain(name.to_owned()))?;
        let bytes = record.volumes.iter().find(|(has, _)| has == volume).map_or(0, |(_, bytes)| *bytes);
        let count = buffer.len().min(usize::try_from(bytes.saturating_sub(offset)).unwrap());
        buffer[..count].fill(0);
        if offset == 0 {
            buffer[..name.len()].copy_from_slice(name.as_bytes());
        }
        Ok(count)
    }

    fn keep(&self, name: &str, kept: &Kept) -> Result<bool, HypervisorError> {
        let Some(record) = self.record(name)? else { return Ok(false) };
        let mut left = record.clone();
        left.volumes.retain(|(volume, _)| kept.has(volume));
        if left.volumes.is_empty() {
            return self.remove(name);
        }
        left.adopted = left.volumes.iter().map(|(volume, _)| volume.clone()).collect();
        (left.spec, left.interfaces) = (None, vec![]);
        left.kept = Some(record.kept.clone().unwrap_or_else(|| kept.clone()).only(|volume| kept.has(volume)));
        self.write(&left);
        Ok(left != record)
    }
}
