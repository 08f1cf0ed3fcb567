//! The records of domains: one file each, `domains/NAME/record.json`, written whole before anything is made and after
//! anything is gone.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::folder::{is_safe_name, make_folder, read_bounded, remove_file, sync_folder, write_whole};
use super::{DomainRecord, Interface, failed};
use crate::hypervisor::HypervisorError;
use crate::spec::{DomainSpec, MacAddress, Ownership, PortForward};
use crate::status::Kept;

/// The version of the files. A new version reads the one before.
const VERSION: u32 = 1;
/// The longest name a file system takes.
const NAME_BYTES_MAX: usize = 255;
/// No record is larger: seeds are bounded before.
const RECORD_BYTES_MAX: u64 = 32 << 20;
const FILE: &str = "record.json";

/// What is kept of a domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoredDomain {
    pub(super) name: String,
    pub(super) ownership: Ownership,
    pub(super) spec: Option<DomainSpec>,
    pub(super) volumes: Vec<StoredVolume>,
    pub(super) interfaces: Vec<StoredInterface>,
    /// What is kept of it, where it was removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) kept: Option<Kept>,
}

/// A volume, also one that is being made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoredVolume {
    pub(super) name: String,
    /// What was asked for. The volume has this or a little more.
    pub(super) size_bytes: u64,
    /// The exported name of its store when it was made.
    pub(super) store: String,
    pub(super) place: Place,
    pub(super) state: VolumeState,
    /// True where it was there before its domain.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) is_adopted: bool,
}

// The signature is serde's.
#[allow(clippy::trivially_copy_pass_by_ref)]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// Where a volume is, whatever becomes of the exports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Place {
    /// A logical volume.
    Lvm { group: String, volume: String },
    /// A file, block by block.
    Raw { file: PathBuf },
    /// A file in QEMU's format over a file of the image.
    Overlay { file: PathBuf, base: PathBuf },
}

/// How far a volume is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum VolumeState {
    /// It may be missing, or hold anything. Whoever finds this removes the volume.
    Making,
    /// It is growing to `to_bytes`, from `from_bytes` that it really had. Whoever finds this lets it grow again.
    Growing { from_bytes: u64, to_bytes: u64 },
    /// It is whole.
    Ready,
}

/// An interface with what the host gave it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoredInterface {
    pub(super) name: String,
    pub(super) mac: MacAddress,
    /// The bridge's device.
    pub(super) bridge: String,
    pub(super) address: Option<std::net::Ipv4Addr>,
    /// True where the host gave the address.
    pub(super) is_lease: bool,
    /// The most in each direction, in bits per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) bandwidth: Option<u64>,
    /// Ports of the host that lead to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) forwards: Vec<PortForward>,
}

#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    version: u32,
    domain: T,
}

#[derive(Deserialize)]
struct VersionOnly {
    version: u32,
}

impl StoredDomain {
    pub(super) const fn new(name: String, ownership: Ownership) -> Self {
        Self { name, ownership, spec: None, volumes: Vec::new(), interfaces: Vec::new(), kept: None }
    }

    /// Whether it belongs to the owner, and is the same domain of the same pool.
    pub(super) fn is_of(&self, ownership: &Ownership) -> bool {
        // The name holds only the beginning of the account, so a name alone proves nothing.
        let owner = &self.ownership;
        (&owner.account, &owner.pool, &owner.path) == (&ownership.account, &ownership.pool, &ownership.path)
    }

    /// The volume of this name that is whole, or growing.
    pub(super) fn volume(&self, name: &str) -> Option<&StoredVolume> {
        self.volumes.iter().find(|volume| volume.name == name && volume.state != VolumeState::Making)
    }
}

impl StoredVolume {
    /// What it needs more than it has.
    pub(super) fn growth_bytes(&self) -> u64 {
        match self.state {
            VolumeState::Making => self.size_bytes,
            VolumeState::Growing { from_bytes, to_bytes } => to_bytes.saturating_sub(from_bytes),
            VolumeState::Ready => 0,
        }
    }
}

impl From<StoredDomain> for DomainRecord {
    fn from(stored: StoredDomain) -> Self {
        let is_whole = |volume: &StoredVolume| volume.state != VolumeState::Making;
        let interface = |it: StoredInterface| Interface {
            name: it.name,
            mac: it.mac,
            bridge: it.bridge,
            address: it.address,
            bandwidth: it.bandwidth,
            forwards: it.forwards,
        };
        let adopted = stored.volumes.iter().filter(|volume| is_whole(volume) && volume.is_adopted);
        Self {
            adopted: adopted.map(|volume| volume.name.clone()).collect(),
            kept: stored.kept,
            name: stored.name,
            ownership: stored.ownership,
            spec: stored.spec,
            volumes: stored.volumes.into_iter().filter(is_whole).map(|it| (it.name, it.size_bytes)).collect(),
            interfaces: stored.interfaces.into_iter().map(interface).collect(),
        }
    }
}

/// The records of a machine.
#[derive(Debug)]
pub(super) struct Records {
    folder: PathBuf,
}

impl Records {
    pub(super) fn new(folder: PathBuf) -> Result<Self, HypervisorError> {
        make_folder(&folder)?;
        Ok(Self { folder })
    }

    /// The folder of a domain.
    pub(super) fn folder(&self, name: &str) -> Result<PathBuf, HypervisorError> {
        if is_safe_name(name, NAME_BYTES_MAX) {
            return Ok(self.folder.join(name));
        }
        let shown: String = name.chars().take(80).collect();
        let reason = format!("`{}` cannot be the name of a domain", shown.escape_debug());
        Err(HypervisorError::Refused { operation: "looking for a domain".into(), reason })
    }

    pub(super) fn load(&self, name: &str) -> Result<Option<StoredDomain>, HypervisorError> {
        let path = self.folder(name)?.join(FILE);
        let Some(content) = read_bounded(&path, RECORD_BYTES_MAX).map_err(|error| unreadable(&path, &error))? else {
            return Ok(None);
        };
        let VersionOnly { version } = serde_json::from_slice(&content).map_err(|error| damaged(&path, &error))?;
        if version != VERSION {
            let reason = format!(
                "{} has version {version}, and this program reads version {VERSION}; use a newer program",
                path.display()
            );
            return Err(failed("reading the record of a domain", reason));
        }
        let read: Versioned<StoredDomain> = serde_json::from_slice(&content).map_err(|error| damaged(&path, &error))?;
        if read.domain.name != name {
            return Err(damaged(&path, &format!("it is the record of `{}`", read.domain.name)));
        }
        Ok(Some(read.domain))
    }

    /// All of them, ordered by name.
    pub(super) fn all(&self) -> Result<Vec<StoredDomain>, HypervisorError> {
        let wrong = |error: io::Error| unreadable(&self.folder, &error);
        let mut domains = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(wrong)? {
            // What this program has not written has other names, and a folder without a record is one being made.
            if let Some(name) = entry.map_err(wrong)?.file_name().to_str()
                && is_safe_name(name, NAME_BYTES_MAX)
                && let Some(domain) = self.load(name)?
            {
                domains.push(domain);
            }
        }
        domains.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(domains)
    }

    /// Writes the record; it is on disk on return.
    pub(super) fn save(&self, domain: &StoredDomain) -> Result<(), HypervisorError> {
        let folder = self.folder(&domain.name)?;
        make_folder(&folder)?;
        let path = folder.join(FILE);
        let failing = |error: &dyn std::fmt::Display| {
            failed("writing the record of a domain", format!("{}: {error}", path.display()))
        };
        let content = serde_json::to_vec_pretty(&Versioned { version: VERSION, domain });
        write_whole(&path, &content.map_err(|error| failing(&error))?).map_err(|error| failing(&error))
    }

    /// Removes the folder of the domain, its record last but for the folder itself. True where there was a record.
    pub(super) fn remove(&self, name: &str) -> Result<bool, HypervisorError> {
        let folder = self.folder(name)?;
        let wrong =
            |error: io::Error| failed("removing the record of a domain", format!("{}: {error}", folder.display()));
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(wrong(error)),
        };
        for entry in entries {
            let entry = entry.map_err(wrong)?;
            if entry.file_name() != FILE {
                remove_file(&entry.path())?;
            }
        }
        let was_there = remove_file(&folder.join(FILE))?;
        fs::remove_dir(&folder).map_err(wrong)?;
        sync_folder(&self.folder).map_err(wrong)?;
        Ok(was_there)
    }
}

fn unreadable(path: &Path, error: &io::Error) -> HypervisorError {
    failed("reading the records of domains", format!("{}: {error}", path.display()))
}

fn damaged(path: &Path, error: &dyn std::fmt::Display) -> HypervisorError {
    let reason = format!(
        "{} is damaged: {error}; bring it back from a backup, or, if nothing of that domain is left on this machine, \
         remove its folder",
        path.display()
    );
    failed("reading the record of a domain", reason)
}
