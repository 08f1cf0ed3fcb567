//! What is kept with a domain in libvirt: whose it is and what it was made from, in a metadata element of our own
//! namespace. `virsh metadata NAME urn:tycoon:domain:1` shows it.
//!
//! ```xml
//! <domain xmlns="urn:tycoon:domain:1">
//!   <account>…</account> <pool>hello</pool> <path>web.0</path> <generation>3</generation> <digest>…</digest>
//!   <memory>134217728</memory> <weight>256</weight> <cap>0</cap> <devices>…</devices>
//!   <spec>{"path":"web.0",…}</spec> <disk read-only="no">/dev/vg1/…</disk> …
//! </domain>
//! ```

use std::path::PathBuf;
use std::str::FromStr;

use serde::de::DeserializeOwned;

use super::xml::Element;
use crate::spec::{DomainSpec, Ownership};
use crate::storage::AttachedDisk;

/// The namespace of the element.
pub(super) const NAMESPACE: &str = "urn:tycoon:domain:1";
/// The prefix that libvirt gives it where it is set by itself; readers go by the namespace.
pub(super) const PREFIX: &str = "tycoon";
/// The largest spec that is kept, in bytes of JSON: libvirt carries texts of up to 4 MiB.
pub(super) const SPEC_BYTES_MAX: usize = 1 << 20;
/// The scheduler weight of a domain that nobody has set one for, as in Xen.
pub(super) const DEFAULT_WEIGHT: u16 = 256;

/// What is kept with a domain of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Marks {
    pub ownership: Ownership,
    pub spec: DomainSpec,
    /// Memory in bytes: the spec's, until somebody sets another.
    pub memory_bytes: u64,
    pub weight: u16,
    pub cap_percent: u32,
    /// What else the definition was made from: a digest of kernel, arguments and interfaces.
    pub devices: String,
    /// The disks it was last started with. None before its first start.
    pub disks: Vec<AttachedDisk>,
}

/// Why a text is not the marks of a domain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its Tycoon metadata is damaged: {0}")]
pub(super) struct Damaged(String);

impl Marks {
    /// The metadata element as it stands in a definition.
    pub(super) fn element(&self) -> Element {
        self.plain_element().attribute("xmlns", NAMESPACE)
    }

    /// The element without its namespace, which libvirt adds where it is set by itself.
    pub(super) fn plain_element(&self) -> Element {
        let own = &self.ownership;
        let element = Element::new("domain")
            .field("account", own.account.to_string())
            .field("pool", own.pool.to_string())
            .field("path", own.path.to_string())
            .field("generation", own.generation.to_string())
            .field("digest", own.digest.to_string())
            .field("memory", self.memory_bytes.to_string())
            .field("weight", self.weight.to_string())
            .field("cap", self.cap_percent.to_string())
            .field("devices", &self.devices)
            .field("spec", self.spec_json());
        element.children(self.disks.iter().map(|disk| {
            Element::new("disk")
                .attribute("read-only", if disk.is_read_only { "yes" } else { "no" })
                .text(disk.device.to_string_lossy())
        }))
    }

    /// The spec as JSON in ASCII, so that no reader on the way can change a character of it.
    fn spec_json(&self) -> String {
        // A spec has only texts, numbers and lists, all of which JSON can write.
        let json = serde_json::to_string(&self.spec).unwrap_or_default();
        let mut ascii = String::with_capacity(json.len());
        for character in json.chars() {
            if character.is_ascii() {
                ascii.push(character);
            } else {
                character.encode_utf16(&mut [0; 2]).iter().for_each(|unit| ascii.push_str(&format!("\\u{unit:04x}")));
            }
        }
        ascii
    }

    /// The size of the spec as it is kept, in bytes.
    pub(super) fn spec_bytes(&self) -> usize {
        self.spec_json().len()
    }

    /// Reads the element as libvirt gives it back, with or without the namespace.
    pub(super) fn read(xml: &str) -> Result<Self, Damaged> {
        let document = roxmltree::Document::parse(xml).map_err(|error| Damaged(error.to_string()))?;
        let root = document.root_element();
        let text = |name: &'static str| {
            let found = root.children().find(|child| child.tag_name().name() == name);
            found.and_then(|child| child.text()).ok_or_else(|| Damaged(format!("`{name}` is missing")))
        };
        let disks = root.children().filter(|child| child.tag_name().name() == "disk").map(|child| AttachedDisk {
            device: PathBuf::from(child.text().unwrap_or_default()),
            // What is not known to be writable is not written.
            is_read_only: child.attribute("read-only") != Some("no"),
        });
        Ok(Self {
            ownership: Ownership {
                account: value("account", text("account")?)?,
                pool: value("pool", text("pool")?)?,
                path: value("path", text("path")?)?,
                generation: number("generation", text("generation")?)?,
                digest: value("digest", text("digest")?)?,
            },
            spec: serde_json::from_str(text("spec")?).map_err(|error| Damaged(format!("`spec`: {error}")))?,
            memory_bytes: number("memory", text("memory")?)?,
            weight: number("weight", text("weight")?)?,
            cap_percent: number("cap", text("cap")?)?,
            devices: text("devices")?.to_owned(),
            disks: disks.collect(),
        })
    }
}

/// A value that is written as a text in JSON too.
fn value<T: DeserializeOwned>(name: &str, text: &str) -> Result<T, Damaged> {
    serde_json::from_value(serde_json::Value::from(text)).map_err(|error| Damaged(format!("`{name}`: {error}")))
}

fn number<T: FromStr<Err = std::num::ParseIntError>>(name: &str, text: &str) -> Result<T, Damaged> {
    text.parse().map_err(|error| Damaged(format!("`{name}` is `{text}`: {error}")))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::spec::{Boot, CloudInit, KeepVolumes, NicSpec, RunRules, SeedFile, VolumeSpec};
    use tycoon_market::{AccountId, PublicKey};

    /// Marks with whatever is hard to write.
    pub(in crate::libvirt) fn marks() -> Marks {
        let key = (1..).find_map(|byte| PublicKey::from_bytes([byte; 32]).ok()).unwrap();
        let file = SeedFile {
            path: "/etc/motd".into(),
            content: "</spec> ]]> \u{1b}[1m & \"é😀\u{ffff}\r\n\0".into(),
            mode: "0644".into(),
            owner: "root:root".into(),
        };
        let spec = DomainSpec {
            path: "web.0".parse().unwrap(),
            hostname: "web-0".into(),
            vcpus: 2,
            memory_bytes: 128 << 20,
            image: "std:tiny".into(),
            boot: Boot::default(),
            volumes: vec![VolumeSpec {
                name: "root".into(),
                size_bytes: 1 << 28,
                filesystem: None,
                copy_on_write: false,
                store: None,
                existing: false,
            }],
            nics: vec![NicSpec::dhcp("eth0")],
            cloud_init: CloudInit { files: vec![file], ..CloudInit::default() },
            keep_volumes: KeepVolumes::default(),
            save_image: None,
            rules: RunRules::default(),
        };
        Marks {
            ownership: Ownership {
                account: AccountId::of(&key),
                pool: "hello".parse().unwrap(),
                path: spec.path.clone(),
                generation: 7,
                digest: spec.digest(),
            },
            memory_bytes: spec.memory_bytes,
            spec,
            weight: DEFAULT_WEIGHT,
            cap_percent: 50,
            devices: "0123".into(),
            disks: vec![
                AttachedDisk { device: "/dev/vg1/root & co".into(), is_read_only: false },
                AttachedDisk { device: "/dev/loop7".into(), is_read_only: true },
            ],
        }
    }

    #[test]
    fn marks_are_read_back_as_they_were_written() {
        let marks = marks();
        for element in [marks.element(), marks.plain_element()] {
            let written = element.write().unwrap();
            assert!(written.is_ascii());
            assert_eq!(Marks::read(&written), Ok(marks.clone()));
            // libvirt gives the element back in lines of its own.
            assert_eq!(Marks::read(&written.replace("><", ">\n  <")), Ok(marks.clone()));
        }
    }

    #[test]
    fn what_is_damaged_is_said() {
        for (what, from, to) in [
            ("`generation` is `seven`", "<generation>7", "<generation>seven"),
            ("`weight` is missing", "weight", "wait"),
            ("`spec`: ", "\"vcpus\":2", "\"vcpus\":-2"),
            ("`account`: ", "<account>", "<account>x"),
        ] {
            // Quotes are escaped in the text.
            let written = marks().element().write().unwrap();
            let damaged = written.replace(&from.replace('"', "&quot;"), &to.replace('"', "&quot;"));
            assert_ne!(damaged, written, "{what}");
            let error = Marks::read(&damaged).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
        assert!(Marks::read("not XML").is_err());
    }
}
