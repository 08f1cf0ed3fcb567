//! Domains: virtual machines and what belongs to them.

use std::net::{IpAddr, Ipv4Addr};

use serde::Serialize;
use tycoon_market::TimeSpan;

use crate::pool::Placement;
use crate::source::Span;
use crate::value::Value;

/// A virtual machine.
#[derive(Clone, Debug, PartialEq)]
pub struct Domain {
    /// Its path inside the pool: `web.0`, `edge.cern.head`.
    pub path: String,
    /// The name of the component it is an instance of: `web`.
    pub component: String,
    /// What it boots.
    pub image: String,
    /// Its memory in bytes.
    pub memory_bytes: u64,
    /// The most memory in bytes that it has while the pool buys it; `None` where it always has `memory_bytes`.
    pub memory_max_bytes: Option<u64>,
    /// Where that is written.
    pub memory_max_span: Span,
    /// Its virtual CPUs.
    pub vcpus: u32,
    /// Its host name.
    pub hostname: String,
    /// Its disks, `root` first.
    pub volumes: Vec<Volume>,
    /// Its network interfaces, `eth0` first.
    pub nics: Vec<Nic>,
    /// The kernel it boots, as the host's owner exports it.
    pub kernel: Option<String>,
    /// The ramdisk it boots with.
    pub ramdisk: Option<String>,
    /// The arguments of its kernel.
    pub kernel_args: Vec<String>,
    /// May use more CPU than its share when others do not.
    pub burst: bool,
    /// Its part of what the pool holds on a host; only ratios count.
    pub weight: f64,
    /// True where nothing starts it but a workflow.
    pub starts_by_workflow: bool,
    /// What remains of its volumes at the end.
    pub keep_volumes: KeepVolumes,
    /// Where its root volume is saved at the end.
    pub save_image: Option<SaveImage>,
    /// How it is known to be alive.
    pub liveness: Liveness,
    /// What happens when it fails.
    pub restart: Option<Restart>,
    /// When it counts as ready.
    pub ready: Option<Ready>,
    /// What is done inside at its first start.
    pub cloud_init: Option<CloudInit>,
    /// What must be up before it starts: its own, and that of its groups.
    pub start_after: Vec<StartAfter>,
    /// Where it may run: its own conditions and those of its groups. `max_per_host` is its own.
    pub placement: Placement,
    /// The address of the host it stands in.
    pub host: Option<String>,
    /// Where it is created.
    pub span: Span,
}

/// What remains of the volumes of a domain at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeepVolumes {
    /// All.
    Always,
    /// None.
    Never,
    /// Those that existed before.
    IfPreexisting,
}

/// A disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Its name: `root`, `swap`.
    pub name: String,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// The file system made on it when it is fresh.
    pub format: Option<FileSystem>,
    /// Shares what it has not changed with its image.
    pub copy_on_write: bool,
    /// What it is filled with; the root volume takes the domain's image.
    pub image: Option<String>,
    /// Where it is kept, if not where the host chooses.
    pub store: Option<Store>,
    /// Cannot be written.
    pub read_only: bool,
    /// Exists already; none is made.
    pub existing: bool,
    /// Where it is created.
    pub span: Span,
}

/// A file system that can be made on a fresh volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileSystem {
    /// ext2
    Ext2,
    /// ext3
    Ext3,
    /// ext4
    Ext4,
    /// XFS
    Xfs,
    /// Btrfs
    Btrfs,
    /// Swap space.
    Swap,
}

/// Where a host keeps volumes, by names that its owner exports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Store {
    /// Files in a directory.
    Loopback {
        /// The directory.
        directory: String,
    },
    /// Logical volumes of a group.
    Lvm {
        /// The volume group.
        group: String,
    },
}

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nic {
    /// Its name: `eth0`.
    pub name: String,
    /// How it gets its address.
    pub address: Address,
    /// Where its address is written; where it is created if that is nowhere.
    pub address_span: Span,
    /// Its hardware address, if it is fixed.
    pub mac: Option<String>,
    /// Where that is written; where it is created if that is nowhere.
    pub mac_span: Span,
    /// The bridge, as the host's owner exports it.
    pub bridge: Option<String>,
    /// The most in each direction, in bits per second.
    pub bandwidth: Option<u64>,
    /// Ports of the host that lead to it.
    pub forwards: Vec<Forward>,
    /// Where it is created.
    pub span: Span,
}

/// A TCP port of the host that leads to an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Forward {
    /// The host's port.
    pub port: u16,
    /// The port of the domain.
    pub to: u16,
}

/// How a network interface gets its address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Address {
    /// By DHCP.
    Dhcp,
    /// It is fixed.
    Static {
        /// The address.
        ip: IpAddr,
        /// The netmask of an IPv4 address.
        netmask: Option<Ipv4Addr>,
        /// The gateway.
        gateway: Option<IpAddr>,
    },
}

/// Where a root volume is saved at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SaveImage {
    /// The directory.
    pub to: String,
    /// `tar`, `tar.gz`, `tar.zst`, `raw` or `qcow2`.
    pub format: String,
    /// The name of the file; without it the domain's.
    pub name: Option<String>,
}

/// How a domain is known to be alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Liveness {
    /// How often it is asked.
    pub every: TimeSpan,
    /// How many answers may fail before it counts as dead.
    pub misses: u32,
}

impl Default for Liveness {
    /// Every 15 seconds, two misses: what SmartFrog does, and the defaults of `record liveness`.
    fn default() -> Self {
        Self { every: TimeSpan::from_seconds(15), misses: 2 }
    }
}

/// What happens when a domain fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restart {
    /// When it is restarted.
    pub when: RestartWhen,
    /// How often at most.
    pub times: u32,
    /// The time in which that is counted.
    pub within: TimeSpan,
    /// The wait before the first restart; it doubles.
    pub backoff: TimeSpan,
    /// The longest wait.
    pub max_backoff: TimeSpan,
}

/// When a domain is restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartWhen {
    /// When it failed.
    OnFailure,
    /// Also when it ended in order.
    Always,
    /// Not at all.
    Never,
}

/// When a domain counts as ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// When this TCP port accepts connections; without one when it runs.
    pub tcp: Option<u16>,
    /// Within this time, or it has failed.
    pub within: TimeSpan,
}

/// What is done inside a domain at its first start. Values may be live.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CloudInit {
    /// Packages to install.
    pub packages: Vec<String>,
    /// Files to write.
    pub files: Vec<CloudFile>,
    /// Commands to run, each as a list of words, in order.
    pub commands: Vec<Vec<Value>>,
    /// Public keys that may log in: user and key.
    pub ssh_keys: Vec<(String, String)>,
}

/// A file that is written at the first start.
#[derive(Clone, Debug, PartialEq)]
pub struct CloudFile {
    /// Its absolute path.
    pub path: String,
    /// Its content, a text that may be live.
    pub content: Value,
    /// Its permissions, in octal.
    pub mode: String,
    /// Its owner: `user:group`.
    pub owner: String,
}

/// What must be up before a domain starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartAfter {
    /// The path of a component inside the pool.
    pub path: String,
    /// The state it must have reached.
    pub state: UpState,
    /// Where it is written.
    pub span: Span,
    /// True where it is written in the domain itself, false where it comes from a group or host around it.
    pub is_own: bool,
}

/// How far a component must have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum UpState {
    /// It runs.
    Started,
    /// It is ready.
    Ready,
}
