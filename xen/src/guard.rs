//! What the interfaces of domains may send: whoever shares a bridge with strangers cannot be taken for somebody else.
//!
//! | an interface sends | and it passes where |
//! |---|---|
//! | any frame | it is from the hardware address of the interface |
//! | ARP | it says nothing else of itself than that, and an address that is its own |
//! | IPv4 | it is from the address of the interface, or asks a DHCP server |
//! | answers of a DHCP server | never |
//! | anything else, so also IPv6 and tags of VLANs | never |
//!
//! An interface whose address the network's DHCP server gives may have any but those of this machine, of its gateways,
//! and of the other domains. What is above an interface's bandwidth, in either direction, is dropped.
//!
//! Everything is in one table of nftables, `bridge tycoon`, which is replaced at once and as a whole, together with the table
//! `ip tycoon`, by which ports of this machine lead to domains; nobody else's rules are touched. Interfaces are known by their names, so that the rules are there before the interface is. Limits are in the
//! same table, where the design spoke of `tc`: there is one thing to look at (`nft list table bridge tycoon`), and none that
//! can be forgotten.

mod rules;

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

pub use rules::device_name;

use crate::hypervisor::HypervisorError;
use crate::spec::DomainSpec;
use crate::storage::command::Command;
use crate::storage::{Interface, addresses_of_the_machine};

const OPERATION: &str = "binding the interfaces of domains to their addresses";
/// How often it is looked whether somebody else has taken the rules away.
const PERIOD: Duration = Duration::from_secs(60);
/// Whether this machine passes packets on.
const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";
/// The devices of this machine.
const DEVICES: &str = "/sys/class/net";

/// The rules of a machine.
#[derive(Debug)]
pub struct Guard {
    /// What was put in force last.
    file: PathBuf,
    /// When it was seen to be in force, by this process.
    seen: Mutex<Option<Instant>>,
}

impl Guard {
    /// The rules whose text is kept in `folder`.
    pub fn new(folder: &Path) -> Self {
        Self { file: folder.join("network.nft"), seen: Mutex::new(None) }
    }

    /// Puts the rules for these interfaces in force, which are read while nobody else does the same.
    ///
    /// # Errors
    /// `nft` is missing or refuses; the folder cannot be written. What was in force before stays.
    pub fn put(
        &self,
        interfaces: impl FnOnce() -> Result<Vec<Interface>, HypervisorError>,
    ) -> Result<(), HypervisorError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let wrong = |error: io::Error| failed(format!("{}: {error}", self.file.display()));
        // Another process may do the same, and has perhaps not heard of the newest domain.
        let lock = File::create(self.file.with_extension("lock")).map_err(wrong)?;
        lock.lock().map_err(wrong)?;
        let interfaces = interfaces()?;
        let rules = rules::write(&interfaces, &addresses_of_the_machine()?);
        if !in_force(&rules) {
            let mut file = File::create(&self.file).map_err(wrong)?;
            file.write_all(rules.as_bytes()).map_err(wrong)?;
            Command::new("nft").arg("--file").arg(&self.file).run(OPERATION)?;
        }
        lead_back(&interfaces)?;
        *seen = Some(Instant::now());
        Ok(())
    }

    /// The same, where nobody has looked for a minute.
    ///
    /// # Errors
    /// See [`Guard::put`].
    pub fn keep(
        &self,
        interfaces: impl FnOnce() -> Result<Vec<Interface>, HypervisorError>,
    ) -> Result<(), HypervisorError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.is_some_and(|seen| seen.elapsed() < PERIOD) {
            return Ok(());
        }
        // What fails now is not tried again with every look.
        *seen = Some(Instant::now());
        drop(seen);
        self.put(interfaces)
    }
}

/// True where the kernel has these rules.
fn in_force(rules: &str) -> bool {
    let Some(mark) = rules::mark(rules) else { return false };
    ["bridge", "ip"].iter().all(|family| {
        let table = Command::new("nft").args(["--terse", "list", "table", family, "tycoon"]).run(OPERATION);
        // Where there is no table, or no `nft`, they are not.
        table.unwrap_or_default().lines().any(|line| line.trim() == mark)
    })
}

/// That this machine passes on what comes for the ports that lead to a domain, where there are any.
///
/// # Errors
/// It does not; and how its owner has it do so.
pub fn check_forwarding(spec: &DomainSpec) -> Result<(), HypervisorError> {
    let passes_on = || fs::read_to_string(FORWARDING).is_ok_and(|text| text.trim() == "1");
    match spec.forwarded_ports().next() {
        Some(port) if !passes_on() => Err(HypervisorError::Refused {
            operation: format!("having port {port} lead to `{}`", spec.path).into(),
            reason: "this host passes no packets on; its owner changes that with `sysctl -w net.ipv4.ip_forward=1`, and for \
                     good with that line in /etc/sysctl.d/60-tycoon.conf"
                .into(),
        }),
        _ => Ok(()),
    }
}

/// Has the bridge give back to a domain what it sends to a port of this machine that leads to itself. Where the kernel looks at
/// IPv4 on bridges (`bridge-nf-call-iptables`), such a frame never leaves the bridge, which gives back nothing otherwise.
///
/// # Errors
/// `ip` is missing or refuses.
pub fn lead_back(interfaces: &[Interface]) -> Result<(), HypervisorError> {
    if interfaces.is_empty() {
        return Ok(());
    }
    // A line for each device that is on a bridge now, with what it does, and its name before an `@` or a `:`.
    let devices = Command::new("ip").args(["-d", "-o", "link", "show", "type", "bridge_slave"]).run(OPERATION)?;
    for line in devices.lines() {
        let name = line.split([' ', '@', ':']).filter(|word| !word.is_empty()).nth(1).unwrap_or_default();
        let Some(interface) = interfaces.iter().find(|interface| device_name(interface.mac) == name) else { continue };
        let (is_on, is_wanted) = (line.contains(" hairpin on "), !interface.forwards.is_empty());
        if is_on != is_wanted {
            let wanted = if is_wanted { "on" } else { "off" };
            let arguments = ["link", "set", "dev", name, "type", "bridge_slave", "hairpin", wanted];
            Command::new("ip").args(arguments).run(OPERATION)?;
        }
    }
    Ok(())
}

/// Of a domain that has started, every interface has the device that the rules know.
///
/// # Errors
/// The first that has not.
pub fn check_devices(interfaces: &[Interface]) -> Result<(), HypervisorError> {
    let missing = interfaces.iter().find(|it| fs::metadata(Path::new(DEVICES).join(device_name(it.mac))).is_err());
    match missing {
        None => Ok(()),
        Some(interface) => Err(failed(format!(
            "the device of `{}` has not been named {}, so that no rule would know it; look whether \
             /etc/xen/scripts/vif-bridge is the one of the Xen packages",
            interface.name,
            device_name(interface.mac)
        ))),
    }
}

fn failed(reason: String) -> HypervisorError {
    HypervisorError::Failed { operation: OPERATION.into(), reason }
}
