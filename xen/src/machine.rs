//! What the owner of a machine exports to domains: stores, images, bridges, kernels. Pools name exports; only this file
//! and the drivers know the paths behind them.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A machine's exports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// The folder of what Tycoon keeps on the machine: records of domains, cached images, seeds. `/var/lib/tycoon`.
    pub folder: PathBuf,
    /// Where the hypervisor answers: `xen:///system`.
    pub hypervisor: String,
    /// Where volumes are kept; the first is the default.
    pub stores: Vec<StoreExport>,
    /// The bridges interfaces can be on; the first is the default.
    pub bridges: Vec<BridgeExport>,
    /// The images that lie on the machine. Others are uploaded into its cache.
    pub images: Vec<ImageExport>,
    /// Kernels that pools may name.
    pub kernels: Vec<FileExport>,
    /// Ramdisks that pools may name.
    pub ramdisks: Vec<FileExport>,
    /// What boots an image that has no kernel: a paravirtualised boot loader, which runs inside the domain and finds
    /// the kernel there. Nothing of the image is read in the control domain.
    pub boot_loader: Option<PathBuf>,
    /// Memory that is not sold, in bytes, besides what the control domain has.
    pub reserved_memory_bytes: u64,
}

impl Machine {
    /// A machine that keeps its things in `folder`, and exports nothing yet.
    pub fn bare(folder: PathBuf, hypervisor: &str) -> Self {
        Self {
            folder,
            hypervisor: hypervisor.to_owned(),
            stores: Vec::new(),
            bridges: Vec::new(),
            images: Vec::new(),
            kernels: Vec::new(),
            ramdisks: Vec::new(),
            boot_loader: None,
            reserved_memory_bytes: 0,
        }
    }
}

/// A place for volumes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreExport {
    /// Its exported name.
    pub name: String,
    /// What it is.
    pub kind: StoreKind,
    /// The most that domains may have of it, in bytes; all that is free where there is none.
    pub limit_bytes: Option<u64>,
}

/// The kinds of stores.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum StoreKind {
    /// Logical volumes.
    Lvm {
        /// The volume group.
        group: String,
    },
    /// Files, each behind a loop device.
    Loopback {
        /// The folder they are in.
        directory: PathBuf,
    },
}

/// A bridge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BridgeExport {
    /// Its exported name.
    pub name: String,
    /// The device: `xenbr0`.
    pub device: String,
    /// The addresses the machine gives to interfaces that ask for none of their own. Without them such an interface
    /// asks the DHCP server of the network.
    pub addresses: Option<AddressRange>,
}

/// The addresses a machine gives. Ranges of two machines on one network must not overlap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddressRange {
    /// The first.
    pub first: Ipv4Addr,
    /// The last, not before the first.
    pub last: Ipv4Addr,
    /// The length of the network's prefix, 1 to 32.
    pub prefix: u8,
    /// The default gateway.
    pub gateway: Option<Ipv4Addr>,
    /// The name servers.
    pub name_servers: Vec<Ipv4Addr>,
}

/// An image that lies on the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageExport {
    /// The name pools use: `std:tiny`, `debian-12`.
    pub name: String,
    /// What root volumes are made from.
    pub disk: PathBuf,
    /// How the disk is written. It is never guessed from the content.
    pub format: DiskFormat,
    /// The kernel it boots; the machine's boot loader where there is none.
    pub kernel: Option<PathBuf>,
    /// The ramdisk it boots with.
    pub ramdisk: Option<PathBuf>,
    /// Arguments of its kernel, before those of a pool.
    pub kernel_args: Vec<String>,
}

/// How an image's disk is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskFormat {
    /// Block by block.
    Raw,
    /// QEMU's format, without a backing or data file.
    Qcow2,
}

/// A file under its exported name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileExport {
    /// Its exported name.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
}
