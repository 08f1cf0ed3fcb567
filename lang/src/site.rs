//! A site of simulated hosts, in types of its own: what descriptions are tried on.

use std::collections::BTreeMap;

use tycoon_market::{Credits, TimeSpan};

use crate::source::Span;
use crate::tree::{Component, NodeKind};
use crate::value::Value;

/// A site of simulated hosts.
#[derive(Clone, Debug, PartialEq)]
pub struct Site {
    /// Its name.
    pub name: String,
    /// What a new account gets.
    pub opening_balance: Credits,
    /// Its hosts, in the order of the description.
    pub hosts: Vec<SimulatedHost>,
    /// Where it is created.
    pub span: Span,
}

/// A host that exists only in the program.
#[derive(Clone, Debug, PartialEq)]
pub struct SimulatedHost {
    /// The name by which it is registered.
    pub address: String,
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
    /// The price of one CPU for an hour.
    pub cpu_price: Credits,
    /// The price of one GiB of memory for an hour.
    pub memory_price: Credits,
    /// The price of one GiB of disk for an hour.
    pub disk_price: Credits,
    /// From the start of a domain until it runs.
    pub boot_time: TimeSpan,
    /// What its owner says of it.
    pub labels: BTreeMap<String, String>,
    /// Where it is created.
    pub span: Span,
}

/// The typed site of a checked tree. The schema guarantees what is looked up here.
pub(crate) fn site(name: &str, root: &Component) -> Site {
    let hosts = root.children.iter().filter(|child| child.node == NodeKind::Component);
    Site {
        name: name.to_owned(),
        opening_balance: root.value("opening-balance").as_credits().unwrap_or(Credits::ZERO),
        hosts: hosts.map(host).collect(),
        span: root.span,
    }
}

fn host(node: &Component) -> SimulatedHost {
    let text = |name: &str| node.value(name).as_text().unwrap_or_default().to_owned();
    let credits = |name: &str| node.value(name).as_credits().unwrap_or(Credits::ZERO);
    let bytes = |name: &str| node.value(name).as_bytes().unwrap_or_default();
    let label = |item: &Component| {
        let part = |name: &str| item.value(name).as_text().map(str::to_owned);
        Some((part("name")?, part("value")?))
    };
    SimulatedHost {
        address: text("address"),
        cpus: node.value("cpus").as_integer().and_then(|cpus| u32::try_from(cpus).ok()).unwrap_or(1),
        memory_bytes: bytes("memory"),
        disk_bytes: bytes("disk"),
        architecture: text("arch"),
        images: node.value("images").as_list().iter().map(Value::to_string).collect(),
        cpu_price: credits("cpu-price"),
        memory_price: credits("memory-price"),
        disk_price: credits("disk-price"),
        boot_time: node.value("boot-time").as_duration().unwrap_or(TimeSpan::ZERO),
        labels: node.items("label").filter_map(label).collect(),
        span: node.span,
    }
}
