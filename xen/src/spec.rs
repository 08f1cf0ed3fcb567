//! What a domain should be: the part of a plan that a host carries out.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use tycoon_market::resource::show_bytes;
use tycoon_market::{AccountId, PoolName};

use crate::restart::RestartPolicy;
use crate::save::SaveImage;

/// A domain as it should be. Two specs are the same domain where their digests are equal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DomainSpec {
    /// Which domain of the pool this is.
    pub path: DomainPath,
    /// The name the machine gives itself: a DNS name.
    pub hostname: String,
    /// Virtual CPUs, at least one.
    pub vcpus: u32,
    /// Main memory in bytes.
    pub memory_bytes: u64,
    /// The image its root volume starts from, by the name the host knows it by.
    pub image: String,
    /// How it boots.
    pub boot: Boot,
    /// Its disks, `root` first.
    pub volumes: Vec<VolumeSpec>,
    /// Its network interfaces, in order.
    pub nics: Vec<NicSpec>,
    /// What is done inside at its first start. It does not touch what the hypervisor sees.
    #[serde(default)]
    pub cloud_init: CloudInit,
    /// Which of its volumes stay on the host when it is removed.
    #[serde(default, skip_serializing_if = "KeepVolumes::is_never")]
    pub keep_volumes: KeepVolumes,
    /// Where its root volume is saved before it is removed, where that is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub save_image: Option<SaveImage>,
    /// How its host runs it. Hosts that know of none need not hear of the usual ones.
    #[serde(default, skip_serializing_if = "RunRules::are_usual")]
    pub rules: RunRules,
}

impl DomainSpec {
    /// The digest of everything in this spec: equal digests, equal domains.
    pub fn digest(&self) -> SpecDigest {
        let mut hash = Sha256::new();
        let mut field = |name: &str, value: &str| {
            // Lengths are hashed with the texts, so that no two specs run together to the same bytes.
            for part in [name, value] {
                hash.update((part.len() as u64).to_be_bytes());
                hash.update(part);
            }
        };
        field("path", self.path.as_str());
        field("hostname", &self.hostname);
        field("vcpus", &self.vcpus.to_string());
        field("memory", &self.memory_bytes.to_string());
        field("image", &self.image);
        field("kernel", self.boot.kernel.as_deref().unwrap_or_default());
        field("ramdisk", self.boot.ramdisk.as_deref().unwrap_or_default());
        for argument in &self.boot.kernel_args {
            field("kernel-arg", argument);
        }
        for volume in &self.volumes {
            field("volume", &volume.name);
            field("size", &volume.size_bytes.to_string());
            field("filesystem", volume.filesystem.map_or("", Filesystem::word));
            field("copy-on-write", if volume.copy_on_write { "yes" } else { "no" });
            field("store", volume.store.as_deref().unwrap_or_default());
            if volume.existing {
                field("existing", "yes");
            }
        }
        for nic in &self.nics {
            field("nic", &nic.name);
            field("address", &nic.address.to_string());
            field("mac", &nic.mac.map(|mac| mac.to_string()).unwrap_or_default());
            field("bridge", nic.bridge.as_deref().unwrap_or_default());
            if let Some(bits) = nic.bandwidth {
                field("bandwidth", &bits.to_string());
            }
            for forward in &nic.forwards {
                field("forward", &forward.to_string());
            }
        }
        for package in &self.cloud_init.packages {
            field("package", package);
        }
        for file in &self.cloud_init.files {
            field("file", &file.path);
            field("content", &file.content);
            field("mode", &file.mode);
            field("owner", &file.owner);
        }
        for command in &self.cloud_init.commands {
            field("command", &command.len().to_string());
            command.iter().for_each(|word| field("word", word));
        }
        for path in self.cloud_init.late.keys() {
            field("late", path);
        }
        for key in &self.cloud_init.ssh_keys {
            field("user", &key.user);
            field("ssh-key", &key.key);
        }
        if !self.keep_volumes.is_never() {
            field("keep-volumes", self.keep_volumes.word());
        }
        if let Some(save) = &self.save_image {
            field("save-image", &save.to);
            field("format", save.format.word());
            field("name", save.name.as_deref().unwrap_or_default());
        }
        if self.rules.is_capped {
            field("capped", "yes");
        }
        if let Some(most) = self.rules.memory_max_bytes {
            field("memory-max", &most.to_string());
        }
        if let Some(restart) = &self.rules.restart {
            field("restart", restart.after.word());
            field("times", &restart.times.to_string());
            for span in [restart.within, restart.backoff, restart.max_backoff] {
                field("span", &span.micros().to_string());
            }
        }
        let mut digest = [0; 16];
        digest.copy_from_slice(&hash.finalize()[..16]);
        SpecDigest(u128::from_be_bytes(digest))
    }

    /// The most memory in bytes that it ever has.
    pub fn memory_most_bytes(&self) -> u64 {
        self.rules.memory_max_bytes.unwrap_or_default().max(self.memory_bytes)
    }

    /// True where it can be given more memory than its own, and that be taken back, while it runs.
    pub const fn is_elastic(&self) -> bool {
        self.rules.memory_max_bytes.is_some()
    }

    /// How TCP ports of its host lead to it.
    pub fn forwards(&self) -> impl Iterator<Item = PortForward> {
        self.nics.iter().flat_map(|nic| &nic.forwards).copied()
    }

    /// The TCP ports of its host that lead to it.
    pub fn forwarded_ports(&self) -> impl Iterator<Item = u16> {
        self.forwards().map(|forward| forward.port)
    }

    /// Its size for people: `1 vCPU, 64 MiB memory, 1 GiB disk`.
    pub fn show_size(&self) -> String {
        let vcpus = if self.vcpus == 1 { "1 vCPU".to_owned() } else { format!("{} vCPUs", self.vcpus) };
        format!("{vcpus}, {} memory, {} disk", self.show_memory(), show_bytes(self.disk_bytes()))
    }

    /// Its memory for people: `256 MiB`, `256 MiB to 1 GiB`.
    pub fn show_memory(&self) -> String {
        let (least, most) = (show_bytes(self.memory_bytes), show_bytes(self.memory_most_bytes()));
        if self.is_elastic() { format!("{least} to {most}") } else { least }
    }

    /// What it has of memory in bytes once it is as this spec says, where it runs with `now` bytes.
    pub fn memory_with(&self, now: u64) -> u64 {
        now.clamp(self.memory_bytes, self.memory_most_bytes())
    }

    /// Disk space of all volumes in bytes.
    pub fn disk_bytes(&self) -> u64 {
        self.volumes.iter().fold(0, |sum, volume| sum.saturating_add(volume.size_bytes))
    }
}

/// How a domain boots. Kernel and ramdisk are names the owner exports, never paths of the control domain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Boot {
    /// The kernel's exported name; the image's own where there is none.
    pub kernel: Option<String>,
    /// The ramdisk's exported name; the image's own where there is none.
    pub ramdisk: Option<String>,
    /// Arguments added to the kernel's command line.
    pub kernel_args: Vec<String>,
}

/// How a host runs a domain, beside what the domain is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRules {
    /// When it is started again after it ended by itself; never where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<RestartPolicy>,
    /// True where it never uses more CPU than its share, also where nobody else wants it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_capped: bool,
    /// The most memory in bytes that its host gives it while its account buys that much: what it has runs from the
    /// domain's own memory up to this. `None` where it always has its own memory, no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_max_bytes: Option<u64>,
}

/// What the usual rules say need not be written.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
const fn is_false(value: &bool) -> bool {
    !*value
}

impl RunRules {
    /// True where nothing in particular is asked for.
    pub fn are_usual(&self) -> bool {
        *self == Self::default()
    }
}

/// A disk as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VolumeSpec {
    /// Its name inside the domain: `root`, `swap`, `data`.
    pub name: String,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// The file system that is made on it when it is new; the image's own for `root`, none for raw disks.
    pub filesystem: Option<Filesystem>,
    /// True for a clone that shares unchanged blocks with its image.
    pub copy_on_write: bool,
    /// The host's store it lives in, by its exported name; the host's default where there is none.
    pub store: Option<String>,
    /// True for one that must be there already, and is never made.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub existing: bool,
}

impl VolumeSpec {
    /// A raw disk in the host's default store.
    pub fn plain(name: &str, size_bytes: u64) -> Self {
        Self { name: name.to_owned(), size_bytes, filesystem: None, copy_on_write: false, store: None, existing: false }
    }
}

/// Which volumes of a domain stay on its host when it is removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeepVolumes {
    /// None.
    #[default]
    Never,
    /// Those that were there before the domain.
    IfPreexisting,
    /// All.
    Always,
}

impl KeepVolumes {
    /// The word for it in descriptions.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::IfPreexisting => "if-preexisting",
            Self::Always => "always",
        }
    }

    /// True where none stays.
    pub const fn is_never(&self) -> bool {
        matches!(self, Self::Never)
    }
}

/// The file systems a host makes on a new volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Filesystem {
    /// ext4.
    Ext4,
    /// XFS.
    Xfs,
    /// Swap space.
    Swap,
}

impl Filesystem {
    /// The word for it in descriptions.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Swap => "swap",
        }
    }
}

/// A network interface as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NicSpec {
    /// Its name: `eth0`.
    pub name: String,
    /// How it gets its address.
    pub address: Addressing,
    /// Its hardware address; the host chooses where there is none.
    #[serde(default)]
    pub mac: Option<MacAddress>,
    /// The bridge it is on, by its exported name; the host's default where there is none.
    #[serde(default)]
    pub bridge: Option<String>,
    /// The most that may pass in each direction, in bits per second; no limit where there is none. Hosts that know of
    /// none need not hear of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<u64>,
    /// TCP ports of the host that lead to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forwards: Vec<PortForward>,
}

/// A TCP port of a host that leads to an interface of a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortForward {
    /// The host's port.
    pub port: u16,
    /// The port of the domain.
    pub to: u16,
}

impl fmt::Display for PortForward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.port, self.to)
    }
}

impl NicSpec {
    /// The most ports of the host that lead to one interface.
    pub const FORWARDS_MAX: usize = 64;

    /// The least bandwidth that can be asked for, in bits per second: with less, hardly an ARP answer comes through.
    pub const BANDWIDTH_MIN: u64 = 8_000;

    /// An interface that takes what the host gives it.
    pub fn dhcp(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            address: Addressing::Dhcp,
            mac: None,
            bridge: None,
            bandwidth: None,
            forwards: Vec::new(),
        }
    }
}

/// A hardware address of a network interface: six bytes, not a group's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MacAddress([u8; 6]);

/// Why a text is not a hardware address.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` is not a hardware address: write six bytes like `00:16:3e:12:34:56`, the first of them even")]
pub struct MacAddressError(String);

impl MacAddress {
    /// An address of Xen's own range, `00:16:3e`, whose last three bytes are the last ones of `number`.
    pub const fn of_xen(number: u32) -> Self {
        let [_, a, b, c] = number.to_be_bytes();
        Self([0x00, 0x16, 0x3e, a, b, c])
    }
}

impl FromStr for MacAddress {
    type Err = MacAddressError;

    fn from_str(text: &str) -> Result<Self, MacAddressError> {
        let wrong = || MacAddressError(text.chars().take(40).collect());
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit()));
            *byte = part.and_then(|part| u8::from_str_radix(part, 16).ok()).ok_or_else(wrong)?;
        }
        let is_group = bytes[0] & 1 == 1;
        if parts.next().is_some() || is_group { Err(wrong()) } else { Ok(Self(bytes)) }
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl TryFrom<String> for MacAddress {
    type Error = MacAddressError;

    fn try_from(text: String) -> Result<Self, MacAddressError> {
        text.parse()
    }
}

impl From<MacAddress> for String {
    fn from(address: MacAddress) -> Self {
        address.to_string()
    }
}

/// What is done inside a domain at its first start, by its seed disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloudInit {
    /// Packages to install.
    pub packages: Vec<String>,
    /// Files to write.
    pub files: Vec<SeedFile>,
    /// Commands to run, each as a list of words, in order.
    pub commands: Vec<Vec<String>>,
    /// Public keys that may log in.
    pub ssh_keys: Vec<SshKey>,
    /// What stands in gaps of files and commands: values that are known only when the domain is made, such as the address
    /// of another one (`head.eth0.ip`). They are no part of what the domain is: the same gaps, the same domain.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub late: BTreeMap<String, Option<String>>,
}

impl CloudInit {
    /// The first character of a gap, of those that Unicode leaves to private use: no text of a user's has one by chance.
    pub const GAP: char = '\u{e000}';

    /// The gap for the value of a path.
    pub fn gap(path: &str) -> String {
        format!("{}{path}\u{e001}", Self::GAP)
    }

    /// The same with nothing in its gaps.
    #[must_use]
    pub fn with_gaps(&self) -> Self {
        Self { late: self.late.keys().map(|path| (path.clone(), None)).collect(), ..self.clone() }
    }
}

/// A file that is written at the first start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeedFile {
    /// Its absolute path in the domain.
    pub path: String,
    /// Its content.
    pub content: String,
    /// Its permissions, in octal.
    pub mode: String,
    /// Its owner: `user:group`.
    pub owner: String,
}

/// A public key that may log in to a domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SshKey {
    /// The user it logs in as.
    pub user: String,
    /// The key as OpenSSH writes it: `ssh-ed25519 AAAA… comment`.
    pub key: String,
}

/// How an interface gets its address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Addressing {
    /// From the host's DHCP.
    Dhcp,
    /// A fixed address.
    Static {
        /// The address.
        address: Ipv4Addr,
        /// The length of the network prefix, 0 to 32.
        prefix: u8,
        /// The default gateway.
        gateway: Option<Ipv4Addr>,
    },
}

impl fmt::Display for Addressing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dhcp => f.write_str("dhcp"),
            Self::Static { address, prefix, gateway: Some(gateway) } => write!(f, "{address}/{prefix} via {gateway}"),
            Self::Static { address, prefix, gateway: None } => write!(f, "{address}/{prefix}"),
        }
    }
}

/// The digest of a [`DomainSpec`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SpecDigest(u128);

impl SpecDigest {
    /// Of a domain that was never made.
    pub const NONE: Self = Self(0);
}

impl fmt::Display for SpecDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl TryFrom<String> for SpecDigest {
    type Error = std::num::ParseIntError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        u128::from_str_radix(&text, 16).map(Self)
    }
}

impl From<SpecDigest> for String {
    fn from(digest: SpecDigest) -> Self {
        digest.to_string()
    }
}

/// The path of a domain instance inside its pool: `web.0`, `analysis.worker.3`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DomainPath(String);

/// Why a text is not a domain's path.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` is not the path of a domain: use 1 to 180 letters, digits, `-` and `_`, in parts joined by `.`")]
pub struct DomainPathError(String);

impl DomainPath {
    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What paths are sorted by for people: `web.2` comes before `web.10`.
    pub fn natural_order(&self) -> Vec<(Option<u64>, &str)> {
        self.0.split('.').map(|part| (part.parse().ok(), part)).collect()
    }
}

impl FromStr for DomainPath {
    type Err = DomainPathError;

    fn from_str(text: &str) -> Result<Self, DomainPathError> {
        let is_part = |part: &str| {
            !part.is_empty()
                && !part.starts_with('-')
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if text.len() <= 180 && text.split('.').all(is_part) {
            Ok(Self(text.to_owned()))
        } else {
            Err(DomainPathError(text.chars().take(80).collect()))
        }
    }
}

impl TryFrom<String> for DomainPath {
    type Error = DomainPathError;

    fn try_from(text: String) -> Result<Self, DomainPathError> {
        text.parse()
    }
}

impl From<DomainPath> for String {
    fn from(path: DomainPath) -> Self {
        path.0
    }
}

impl fmt::Display for DomainPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Whose a domain is. It is kept on the host, with the domain, so that `down` works from any machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ownership {
    /// The account that pays for it.
    pub account: AccountId,
    /// The pool it belongs to.
    pub pool: PoolName,
    /// Its path in the pool.
    pub path: DomainPath,
    /// The generation of the plan that last changed it; older plans are refused.
    pub generation: u64,
    /// The digest of the spec it was made from.
    pub digest: SpecDigest,
}

impl Ownership {
    /// The name the hypervisor knows the domain by, unique on a host: `hello.web.0-3f9c12ab`, where the last
    /// part tells the pools of two accounts apart.
    pub fn hypervisor_name(&self) -> String {
        hypervisor_name(&self.account, &self.pool, &self.path)
    }
}

/// The name of the domain `path` of `pool` of `account` on any host.
pub fn hypervisor_name(account: &AccountId, pool: &PoolName, path: &DomainPath) -> String {
    format!("{pool}.{path}-{}", account.short())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::save::SaveFormat;

    fn spec() -> DomainSpec {
        DomainSpec {
            path: "web.0".parse().unwrap(),
            hostname: "web-0".into(),
            vcpus: 1,
            memory_bytes: 64 << 20,
            image: "std:tiny".into(),
            boot: Boot::default(),
            volumes: vec![VolumeSpec {
                name: "root".into(),
                size_bytes: 1 << 30,
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

    #[test]
    fn any_change_of_a_spec_changes_its_digest() {
        let original = spec();
        assert_eq!(original.digest(), spec().digest());
        let changes: [fn(&mut DomainSpec); 13] = [
            |s| s.path = "web.1".parse().unwrap(),
            |s| s.hostname.push('x'),
            |s| s.vcpus = 2,
            |s| s.memory_bytes += 1,
            |s| s.rules.memory_max_bytes = Some(1 << 30),
            |s| s.nics[0].forwards.push(PortForward { port: 2222, to: 22 }),
            |s| s.image = "debian-12".into(),
            |s| s.boot.kernel_args.push("quiet".into()),
            |s| s.volumes[0].size_bytes += 1,
            |s| s.volumes[0].existing = true,
            |s| s.keep_volumes = KeepVolumes::Always,
            |s| s.save_image = Some(SaveImage { to: "/srv".into(), format: SaveFormat::Raw, name: None }),
            |s| s.nics[0].address = Addressing::Static { address: [192, 0, 2, 1].into(), prefix: 24, gateway: None },
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut changed = spec();
            change(&mut changed);
            assert_ne!(changed.digest(), original.digest(), "change {number} went unnoticed");
        }
    }

    #[test]
    fn paths_that_could_leave_their_place_are_refused() {
        for bad in ["", ".", "a..b", "../x", "a/b", "-rf", "a b", "web.0\n"] {
            assert!(bad.parse::<DomainPath>().is_err(), "{bad:?}");
        }
        assert!("edge.cern.worker.0".parse::<DomainPath>().is_ok());
    }
}
