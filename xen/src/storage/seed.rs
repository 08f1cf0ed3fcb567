//! The seed disk: what a domain does at its first start, in the files of cloud-init's NoCloud. Each line of a file is a
//! key and a value in JSON, which is YAML whatever the texts in it are.

use std::fmt::Write as _;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::iso::{IsoFile, disk};
use super::record::StoredInterface;
use super::{failed, refused};
use crate::hypervisor::HypervisorError;
use crate::machine::Machine;
use crate::spec::{Addressing, CloudInit, DomainSpec};

/// The most that a seed may hold, in bytes. cloud-init reads all of it into the domain's memory.
const SEED_BYTES_MAX: usize = 8 << 20;

/// The three files of a seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seed {
    pub(super) user_data: String,
    pub(super) meta_data: String,
    pub(super) network_config: String,
}

impl Seed {
    /// The seed of the domain `name`.
    pub(super) fn new(
        machine: &Machine,
        name: &str,
        spec: &DomainSpec,
        interfaces: &[StoredInterface],
    ) -> Result<Self, HypervisorError> {
        let late = late_values(spec, interfaces)?;
        let user_data = format!("#cloud-config\n{}", lines(&user_data(spec, &late))?);
        let network_config = lines(&network_config(machine, spec, interfaces))?;
        let size = user_data.len() + network_config.len();
        if size > SEED_BYTES_MAX {
            let reason = format!(
                "the files and commands of its first start have {size} bytes, and {SEED_BYTES_MAX} is the most; let the \
                 domain fetch what is large"
            );
            return Err(refused("writing the seed disk", reason));
        }
        // cloud-init applies a seed once for each id, so a change of what it says is another id.
        let hash = Sha256::new().chain_update(&user_data).chain_update([0]).chain_update(&network_config).finalize();
        let mut id = format!("{name}-");
        hash[..8].iter().for_each(|byte| {
            // Writing to a text cannot fail.
            let _ = write!(id, "{byte:02x}");
        });
        let meta_data = lines(&[("instance-id", json!(id)), ("local-hostname", json!(spec.hostname))])?;
        Ok(Self { user_data, meta_data, network_config })
    }

    /// The disk, labelled `cidata`.
    pub(super) fn disk(&self) -> Vec<u8> {
        let file = |name, short_name, content| IsoFile { name, short_name, content };
        let files = [
            file("meta-data", "METADATA", self.meta_data.as_bytes()),
            file("network-config", "NETCONF", self.network_config.as_bytes()),
            file("user-data", "USERDATA", self.user_data.as_bytes()),
        ];
        disk("cidata", &files)
    }
}

/// The gaps of the texts of a domain, and what is to stand in them. Its own addresses nobody knows before its host.
fn late_values(spec: &DomainSpec, interfaces: &[StoredInterface]) -> Result<Vec<(String, String)>, HypervisorError> {
    let own = |path: &str| {
        let part = path.strip_prefix(spec.path.as_str())?.strip_prefix('.')?.strip_suffix(".ip")?;
        Some(interfaces.iter().find(|interface| interface.name == part)?.address?.to_string())
    };
    let value = |(path, value): (&String, &Option<String>)| match value.clone().or_else(|| own(path)) {
        Some(value) => Ok((CloudInit::gap(path), value)),
        None => {
            Err(refused("writing the seed disk", format!("`{path}`, which its files or commands need, is not known")))
        }
    };
    spec.cloud_init.late.iter().map(value).collect()
}

/// A text with its gaps filled. What was filled in has no gaps.
fn filled(text: &str, late: &[(String, String)]) -> String {
    let (mut filled, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(start) = rest.find(CloudInit::GAP) {
        let (before, from) = rest.split_at(start);
        filled.push_str(before);
        let here = late.iter().find(|(gap, _)| from.starts_with(gap.as_str()));
        let none = from.split_at(CloudInit::GAP.len_utf8()).0;
        let (value, length) = here.map_or((none, none.len()), |(gap, value)| (value.as_str(), gap.len()));
        filled.push_str(value);
        rest = &from[length..];
    }
    filled.push_str(rest);
    filled
}

fn user_data(spec: &DomainSpec, late: &[(String, String)]) -> Vec<(&'static str, Value)> {
    let init = &spec.cloud_init;
    let mut lines = vec![("hostname", json!(spec.hostname)), ("preserve_hostname", json!(false))];
    if !init.ssh_keys.is_empty() {
        let mut users: Vec<(&str, Vec<&str>)> = Vec::new();
        for key in &init.ssh_keys {
            match users.iter_mut().find(|(user, _)| *user == key.user) {
                Some((_, keys)) => keys.push(&key.key),
                None => users.push((&key.user, vec![&key.key])),
            }
        }
        if users.iter().any(|(user, _)| *user == "root") {
            // Else cloud-init writes into root's keys that nobody may log in with them.
            lines.push(("disable_root", json!(false)));
        }
        let user = |(name, keys): &(&str, Vec<&str>)| match *name {
            "root" => json!({"name": name, "ssh_authorized_keys": keys}),
            _ => json!({
                "name": name, "ssh_authorized_keys": keys, "lock_passwd": true, "sudo": "ALL=(ALL) NOPASSWD:ALL",
            }),
        };
        let users = [json!("default")].into_iter().chain(users.iter().map(user)).collect();
        lines.push(("users", Value::Array(users)));
    }
    if !init.packages.is_empty() {
        lines.push(("package_update", json!(true)));
        lines.push(("packages", json!(init.packages)));
    }
    if !init.files.is_empty() {
        let files = init.files.iter().map(|file| {
            // The owner may come with a package or a user, so such files wait for these.
            let is_deferred = !file.owner.starts_with("root");
            json!({
                "path": file.path, "content": filled(&file.content, late), "permissions": file.mode, "owner": file.owner,
                "defer": is_deferred,
            })
        });
        lines.push(("write_files", files.collect()));
    }
    if !init.commands.is_empty() {
        let words = |command: &Vec<String>| command.iter().map(|word| filled(word, late)).collect::<Vec<_>>();
        lines.push(("runcmd", json!(init.commands.iter().map(words).collect::<Vec<_>>())));
    }
    lines
}

/// Version 2 of cloud-init's network configuration.
fn network_config(machine: &Machine, spec: &DomainSpec, interfaces: &[StoredInterface]) -> Vec<(&'static str, Value)> {
    let mut ethernets = serde_json::Map::new();
    for (nic, interface) in spec.nics.iter().zip(interfaces) {
        let bridge = machine.bridges.iter().find(|bridge| bridge.device == interface.bridge);
        let range = bridge.and_then(|bridge| bridge.addresses.as_ref());
        let (prefix, gateway) = match nic.address {
            Addressing::Static { prefix, gateway, .. } => (Some(prefix), gateway),
            Addressing::Dhcp => (range.map(|range| range.prefix), range.and_then(|range| range.gateway)),
        };
        let mut ethernet = serde_json::Map::new();
        let mut set = |key: &str, value: Value| ethernet.insert(key.to_owned(), value);
        set("match", json!({"macaddress": interface.mac}));
        set("set-name", json!(nic.name));
        match interface.address {
            Some(address) => {
                // A lease whose range was taken away since is an address without a network.
                set("dhcp4", json!(false));
                set("addresses", json!([format!("{address}/{}", prefix.unwrap_or(32))]));
                if let Some(gateway) = gateway {
                    set("routes", json!([{"to": "0.0.0.0/0", "via": gateway}]));
                }
                if let Some(range) = range.filter(|range| !range.name_servers.is_empty()) {
                    set("nameservers", json!({"addresses": range.name_servers}));
                }
            }
            None => {
                set("dhcp4", json!(true));
            }
        }
        ethernets.insert(nic.name.clone(), Value::Object(ethernet));
    }
    vec![("version", json!(2)), ("ethernets", Value::Object(ethernets))]
}

fn lines(values: &[(&str, Value)]) -> Result<String, HypervisorError> {
    let mut text = String::new();
    for (key, value) in values {
        let json = serde_json::to_string(value).map_err(|error| failed("writing the seed disk", error.to_string()))?;
        text.push_str(key);
        text.push_str(": ");
        for c in json.chars() {
            // YAML 1.1 takes some of these for ends of lines, and refuses the others. Outside texts JSON has only ASCII.
            let is_odd =
                matches!(c, '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}');
            if is_odd {
                // Writing to a text cannot fail.
                let _ = write!(text, "\\u{:04x}", u32::from(c));
            } else {
                text.push(c);
            }
        }
        text.push('\n');
    }
    Ok(text)
}
