//! What a Xen machine exports to pools, in types of its own. Paths and devices are only words here.

use std::net::Ipv4Addr;

use crate::source::Span;
use crate::tree::Component;
use crate::value::Value;

/// A machine's exports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The folder of what Tycoon keeps there.
    pub folder: String,
    /// libvirt's name of the hypervisor.
    pub hypervisor: String,
    /// What boots images that have no kernel.
    pub boot_loader: Option<String>,
    /// Memory that is not sold, in bytes.
    pub reserved_memory_bytes: u64,
    /// Where volumes are kept; the first is the default.
    pub stores: Vec<Store>,
    /// What interfaces can be on; the first is the default.
    pub bridges: Vec<Bridge>,
    /// The images on the machine.
    pub images: Vec<Image>,
    /// Kernels that pools may name, and their paths.
    pub kernels: Vec<(String, String)>,
    /// Ramdisks that pools may name, and their paths.
    pub ramdisks: Vec<(String, String)>,
}

/// A place for volumes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// Its exported name.
    pub name: String,
    /// The volume group.
    pub group: Option<String>,
    /// The folder.
    pub directory: Option<String>,
    /// The most that domains may have of it, in bytes.
    pub limit_bytes: Option<u64>,
    /// Where it is written.
    pub span: Span,
}

/// A bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bridge {
    /// Its exported name.
    pub name: String,
    /// The device.
    pub device: String,
    /// The first address it gives.
    pub first: Option<Ipv4Addr>,
    /// The last.
    pub last: Option<Ipv4Addr>,
    /// The length of the network's prefix.
    pub prefix: u8,
    /// The default gateway.
    pub gateway: Option<Ipv4Addr>,
    /// The name servers.
    pub name_servers: Vec<Ipv4Addr>,
    /// Where it is written.
    pub span: Span,
}

/// An image on the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The name pools use.
    pub name: String,
    /// The file of its disk.
    pub disk: String,
    /// True where the disk is in QEMU's format, false where it is raw.
    pub is_qcow2: bool,
    /// The file of its kernel.
    pub kernel: Option<String>,
    /// The file of its ramdisk.
    pub ramdisk: Option<String>,
    /// The arguments of its kernel.
    pub kernel_args: Vec<String>,
}

/// The typed machine of a checked tree. The schema guarantees what is looked up here.
pub(crate) fn machine(root: &Component) -> Machine {
    Machine {
        folder: text(root, "folder").unwrap_or_default(),
        hypervisor: text(root, "hypervisor").unwrap_or_default(),
        boot_loader: text(root, "boot-loader"),
        reserved_memory_bytes: root.value("reserved-memory").as_bytes().unwrap_or_default(),
        stores: root.items("store").map(store).collect(),
        bridges: root.items("bridge").map(bridge).collect(),
        images: root.items("image").map(image).collect(),
        kernels: root.items("kernel").map(file).collect(),
        ramdisks: root.items("ramdisk").map(file).collect(),
    }
}

fn text(node: &Component, name: &str) -> Option<String> {
    node.value(name).as_text().map(str::to_owned)
}

fn store(item: &Component) -> Store {
    Store {
        name: text(item, "name").unwrap_or_default(),
        group: text(item, "group"),
        directory: text(item, "directory"),
        limit_bytes: item.value("limit").as_bytes(),
        span: item.span,
    }
}

fn bridge(item: &Component) -> Bridge {
    let address = |name: &str| item.value(name).as_ipv4();
    Bridge {
        name: text(item, "name").unwrap_or_default(),
        device: text(item, "device").unwrap_or_default(),
        first: address("first"),
        last: address("last"),
        prefix: item.value("prefix").as_integer().and_then(|prefix| u8::try_from(prefix).ok()).unwrap_or(24),
        gateway: address("gateway"),
        name_servers: item.value("name-servers").as_list().iter().filter_map(Value::as_ipv4).collect(),
        span: item.span,
    }
}

fn image(item: &Component) -> Image {
    Image {
        name: text(item, "name").unwrap_or_default(),
        disk: text(item, "disk").unwrap_or_default(),
        is_qcow2: item.value("format").as_text() == Some("qcow2"),
        kernel: text(item, "kernel"),
        ramdisk: text(item, "ramdisk"),
        kernel_args: item.value("kernel-args").as_list().iter().map(Value::to_string).collect(),
    }
}

fn file(item: &Component) -> (String, String) {
    (text(item, "name").unwrap_or_default(), text(item, "path").unwrap_or_default())
}
