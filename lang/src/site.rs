//! A site, in types of its own: the hosts that a run uses, simulated or real, and the images it brings to them.

use std::collections::BTreeMap;

use tycoon_market::{Credits, TimeSpan};

use crate::source::Span;
use crate::tree::{Component, NodeKind};
use crate::value::Value;

/// A site.
#[derive(Clone, Debug, PartialEq)]
pub struct Site {
    /// Its name.
    pub name: String,
    /// What a new account gets.
    pub opening_balance: Credits,
    /// OpenSSH's configuration to use instead of the user's own.
    pub ssh_config: Option<String>,
    /// Its hosts, in the order of the description.
    pub hosts: Vec<Host>,
    /// Its hosts that run daemons of their own, in the order of the description.
    pub network_hosts: Vec<NetworkHost>,
    /// The images on the user's own machine.
    pub images: Vec<ImageSource>,
    /// Where it is created.
    pub span: Span,
}

/// A host.
#[derive(Clone, Debug, PartialEq)]
pub struct Host {
    /// The name by which it is registered.
    pub address: String,
    /// The price of one CPU for an hour.
    pub cpu_price: Credits,
    /// The price of one GiB of memory for an hour.
    pub memory_price: Credits,
    /// The price of one GiB of disk for an hour.
    pub disk_price: Credits,
    /// The price of one TCP port for an hour.
    pub port_price: Credits,
    /// The TCP ports that it sells, from the first to the last of each range.
    pub ports: Vec<(u16, u16)>,
    /// What its owner says of it.
    pub labels: BTreeMap<String, String>,
    /// What it is.
    pub kind: HostKind,
    /// Where it is created.
    pub span: Span,
}

/// What a host is.
#[derive(Clone, Debug, PartialEq)]
pub enum HostKind {
    /// It exists only in the program.
    Simulated(SimulatedHost),
    /// It is a Xen machine.
    Xen(XenHost),
}

/// A host that runs a daemon of its own, at its address.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkHost {
    /// Where it answers.
    pub url: String,
    /// The key it must have, as OpenSSH writes it.
    pub key: String,
    /// Where it is reached over SSH: `[user@]name[:port]`.
    pub ssh: Option<String>,
    /// The key that it must show there, as OpenSSH writes it.
    pub ssh_key: Option<String>,
    /// Where it is created.
    pub span: Span,
}

/// A host that exists only in the program.
#[derive(Clone, Debug, PartialEq)]
pub struct SimulatedHost {
    /// Physical CPUs.
    pub cpus: u32,
    /// Memory for domains, in bytes.
    pub memory_bytes: u64,
    /// Disk space for volumes, in bytes.
    pub disk_bytes: u64,
    /// The architecture it shows.
    pub architecture: String,
    /// The images it can provide.
    pub images: Vec<String>,
    /// From the start of a domain until it runs.
    pub boot_time: TimeSpan,
    /// Domains crash so long after their start; `None` where they never do.
    pub crash_after: Option<TimeSpan>,
}

/// A Xen machine.
#[derive(Clone, Debug, PartialEq)]
pub struct XenHost {
    /// How SSH reaches it: `[user@]name[:port]`.
    pub ssh: String,
    /// Where `tycoon` is installed there.
    pub program: String,
}

/// An image on the user's own machine.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageSource {
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
    /// Where it is created.
    pub span: Span,
}

/// The typed site of a checked tree. The schema guarantees what is looked up here.
pub(crate) fn site(name: &str, root: &Component) -> Site {
    let components = || root.children.iter().filter(|child| child.node == NodeKind::Component);
    Site {
        name: name.to_owned(),
        opening_balance: root.value("opening-balance").as_credits().unwrap_or(Credits::ZERO),
        ssh_config: optional_text(root, "ssh-config"),
        hosts: components()
            .filter(|child| !["image-source", "network-host"].contains(&&*child.kind))
            .map(host)
            .collect(),
        network_hosts: components().filter(|child| &*child.kind == "network-host").map(network_host).collect(),
        images: components().filter(|child| &*child.kind == "image-source").map(image).collect(),
        span: root.span,
    }
}

fn optional_text(node: &Component, name: &str) -> Option<String> {
    node.value(name).as_text().map(str::to_owned)
}

fn text(node: &Component, name: &str) -> String {
    optional_text(node, name).unwrap_or_default()
}

fn texts(node: &Component, name: &str) -> Vec<String> {
    node.value(name).as_list().iter().map(Value::to_string).collect()
}

fn network_host(node: &Component) -> NetworkHost {
    NetworkHost {
        url: text(node, "url"),
        key: text(node, "key"),
        ssh: optional_text(node, "ssh"),
        ssh_key: optional_text(node, "ssh-key"),
        span: node.span,
    }
}

fn host(node: &Component) -> Host {
    let credits = |name: &str| node.value(name).as_credits().unwrap_or(Credits::ZERO);
    let label = |item: &Component| Some((optional_text(item, "name")?, optional_text(item, "value")?));
    let kind = match &*node.kind {
        "xen-host" => HostKind::Xen(XenHost { ssh: text(node, "ssh"), program: text(node, "program") }),
        _ => HostKind::Simulated(simulated(node)),
    };
    Host {
        address: text(node, "address"),
        cpu_price: credits("cpu-price"),
        memory_price: credits("memory-price"),
        disk_price: credits("disk-price"),
        port_price: credits("port-price"),
        ports: node.items("port").filter_map(ports).collect(),
        labels: node.items("label").filter_map(label).collect(),
        kind,
        span: node.span,
    }
}

/// A range of ports, in whichever order its ends are written.
fn ports(item: &Component) -> Option<(u16, u16)> {
    let number = |name| item.value(name).as_integer().and_then(|port| u16::try_from(port).ok());
    let first = number("first")?;
    let last = number("last").unwrap_or(first);
    Some((first.min(last), first.max(last)))
}

fn simulated(node: &Component) -> SimulatedHost {
    let bytes = |name: &str| node.value(name).as_bytes().unwrap_or_default();
    SimulatedHost {
        cpus: node.value("cpus").as_integer().and_then(|cpus| u32::try_from(cpus).ok()).unwrap_or(1),
        memory_bytes: bytes("memory"),
        disk_bytes: bytes("disk"),
        architecture: text(node, "arch"),
        images: texts(node, "images"),
        boot_time: node.value("boot-time").as_duration().unwrap_or(TimeSpan::ZERO),
        crash_after: node.value("crash-after").as_duration(),
    }
}

fn image(node: &Component) -> ImageSource {
    ImageSource {
        name: text(node, "name"),
        disk: text(node, "disk"),
        is_qcow2: node.value("format").as_text() == Some("qcow2"),
        kernel: optional_text(node, "kernel"),
        ramdisk: optional_text(node, "ramdisk"),
        kernel_args: texts(node, "kernel-args"),
        span: node.span,
    }
}
