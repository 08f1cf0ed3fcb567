//! The definition of a domain as libvirt reads it.
//!
//! Guests are paravirtualised: they need no device model in the control domain. Restarts after a crash are decided by
//! whoever watches the domain, so a crashed one stays down; a reboot from inside is carried out by libvirt.

use sha2::{Digest as _, Sha256};

use super::marks::Marks;
use super::xml::{Element, Unwritable};
use crate::guard::device_name;
use crate::storage::{BootFiles, Interface};

/// The least weight that libvirt takes in a definition; Xen's scheduler, which is told the weight of every run, takes 1.
const SHARES_MIN: u16 = 2;

/// What kind of host libvirt drives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A real Xen host.
    Xen,
    /// libvirt's own `test` driver, a host in this process.
    Test,
}

/// Everything a definition is made from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Definition<'a> {
    pub kind: Kind,
    /// The identity it has already; libvirt gives one where there is none.
    pub uuid: Option<&'a str>,
    pub marks: &'a Marks,
    pub boot: &'a BootFiles,
    pub interfaces: &'a [Interface],
}

/// A digest of what a definition is made from besides the marks.
pub(super) fn devices_digest(boot: &BootFiles, interfaces: &[Interface]) -> String {
    let mut hash = Sha256::new();
    let mut field = |text: &str| {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    };
    field(&boot.kernel.to_string_lossy());
    field(&boot.ramdisk.as_ref().map(|path| path.to_string_lossy()).unwrap_or_default());
    field(&boot.arguments.len().to_string());
    boot.arguments.iter().for_each(|argument| field(argument));
    for interface in interfaces {
        field(&interface.mac.to_string());
        field(&interface.bridge);
    }
    hash.finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Definition<'_> {
    /// The document. [`Unwritable`] where a text, such as an argument of the kernel, has a character it cannot hold.
    pub(super) fn write(&self) -> Result<String, Unwritable> {
        let marks = self.marks;
        let memory = kibibytes(marks.memory_bytes).to_string();
        let memory_most = kibibytes(marks.spec.memory_most_bytes().max(marks.memory_bytes)).to_string();
        let (kind, guest) = match self.kind {
            Kind::Xen => ("xen", Element::new("type").attribute("machine", "xenpv").text("xen")),
            Kind::Test => ("test", Element::new("type").text("hvm")),
        };
        let mut domain =
            Element::new("domain").attribute("type", kind).field("name", marks.ownership.hypervisor_name());
        if let Some(uuid) = self.uuid {
            domain = domain.field("uuid", uuid);
        }
        let mut os = Element::new("os").child(guest).field("kernel", self.boot.kernel.to_string_lossy());
        if let Some(ramdisk) = &self.boot.ramdisk {
            os = os.field("initrd", ramdisk.to_string_lossy());
        }
        if !self.boot.arguments.is_empty() {
            os = os.field("cmdline", self.boot.arguments.join(" "));
        }
        // Where libvirt starts the domain again after a reboot, it has its weight from the beginning.
        let shares = Element::new("cputune").field("shares", marks.weight.max(SHARES_MIN).to_string());
        domain
            .child(Element::new("metadata").child(marks.element()))
            .child(Element::new("memory").attribute("unit", "KiB").text(&memory_most))
            .child(Element::new("currentMemory").attribute("unit", "KiB").text(&memory))
            .field("vcpu", marks.spec.vcpus.to_string())
            .child(shares)
            .child(os)
            .field("on_poweroff", "destroy")
            .field("on_reboot", "restart")
            .field("on_crash", "destroy")
            .child(self.devices())
            .write()
    }

    fn devices(&self) -> Element {
        let disks = self.marks.disks.iter().enumerate().map(|(number, disk)| {
            let element = Element::new("disk")
                .attribute("type", "block")
                .attribute("device", "disk")
                .child(Element::new("driver").attribute("name", "phy").attribute("type", "raw"))
                .child(Element::new("source").attribute("dev", disk.device.to_string_lossy()))
                .child(Element::new("target").attribute("dev", disk_name(number)).attribute("bus", "xen"));
            if disk.is_read_only { element.child(Element::new("readonly")) } else { element }
        });
        let interfaces = self.interfaces.iter().map(|interface| {
            let element = Element::new("interface")
                .attribute("type", "bridge")
                .child(Element::new("mac").attribute("address", interface.mac.to_string()))
                .child(Element::new("source").attribute("bridge", &interface.bridge));
            match self.kind {
                // The rules for what it may send know it by this name.
                Kind::Xen => element.child(Element::new("target").attribute("dev", device_name(interface.mac))),
                Kind::Test => element,
            }
        });
        let console = Element::new("console")
            .attribute("type", "pty")
            .child(Element::new("target").attribute("type", "xen").attribute("port", "0"));
        Element::new("devices").children(disks).children(interfaces).child(console)
    }
}

/// Bytes as the hypervisor counts them, rounded up.
pub(super) const fn kibibytes(bytes: u64) -> u64 {
    bytes.div_ceil(1024)
}

/// The name of a disk in the domain, from 0: `xvda` to `xvdz`, then `xvdaa`.
fn disk_name(mut number: usize) -> String {
    let mut letters = Vec::new();
    loop {
        letters.push(char::from(b'a' + (number % 26) as u8));
        if number < 26 {
            break;
        }
        number = number / 26 - 1;
    }
    format!("xvd{}", letters.into_iter().rev().collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::MacAddress;

    fn boot() -> BootFiles {
        BootFiles {
            kernel: "/images/kernel".into(),
            ramdisk: Some("/images/ramdisk".into()),
            arguments: vec!["console=hvc0".into(), "a=<\"&'>".into()],
        }
    }

    fn interfaces() -> Vec<Interface> {
        vec![Interface {
            name: "eth0".into(),
            mac: MacAddress::of_xen(7),
            bridge: "xenbr0".into(),
            address: None,
            bandwidth: None,
            forwards: Vec::new(),
        }]
    }

    #[test]
    fn a_definition_says_everything_about_a_domain() {
        let marks = super::super::marks::tests::marks();
        let (boot, interfaces) = (boot(), interfaces());
        let uuid = Some("03895928-510d-4022-941a-5bd8660cabf9");
        let definition = Definition { kind: Kind::Xen, uuid, marks: &marks, boot: &boot, interfaces: &interfaces };
        let written = definition.write().unwrap();
        let document = roxmltree::Document::parse(&written).unwrap();
        let all = |name: &str| -> Vec<roxmltree::Node<'_, '_>> {
            document
                .descendants()
                .filter(|node| node.has_tag_name(name) && node.tag_name().namespace().is_none())
                .collect()
        };
        let text = |name: &str| all(name).first().and_then(|node| node.text()).unwrap_or_default().to_owned();
        assert_eq!(document.root_element().attribute("type"), Some("xen"));
        assert_eq!(text("name"), marks.ownership.hypervisor_name());
        assert_eq!(Some(text("uuid").as_str()), uuid);
        assert_eq!(
            (text("memory"), text("currentMemory"), text("vcpu")),
            ("131072".into(), "131072".into(), "2".into())
        );
        assert_eq!((text("kernel"), text("initrd")), ("/images/kernel".into(), "/images/ramdisk".into()));
        assert_eq!(text("cmdline"), "console=hvc0 a=<\"&'>");
        assert_eq!((text("on_poweroff"), text("on_reboot")), ("destroy".into(), "restart".into()));
        assert_eq!(text("on_crash"), "destroy", "who watches the domain restarts it");
        let targets: Vec<_> = all("target").iter().filter_map(|node| node.attribute("dev")).collect();
        assert_eq!(targets, ["xvda", "xvdb", "ty-00163e000007"]);
        let sources: Vec<_> = all("source").iter().filter_map(|node| node.attribute("dev")).collect();
        assert_eq!(sources, ["/dev/vg1/root & co", "/dev/loop7"]);
        assert_eq!(all("readonly").len(), 1);
        assert_eq!(all("mac")[0].attribute("address"), Some("00:16:3e:00:00:07"));
        let metadata = all("metadata")[0].first_element_child().unwrap();
        assert_eq!(metadata.tag_name().namespace(), Some(super::super::marks::NAMESPACE));
        let (_, rest) = written.split_once("<metadata>").unwrap();
        let (element, _) = rest.split_once("</metadata>").unwrap();
        assert_eq!(Marks::read(element), Ok(marks.clone()));
    }

    #[test]
    fn what_can_be_given_more_starts_with_its_own() {
        let (boot, mut marks) = (boot(), super::super::marks::tests::marks());
        marks.spec.rules.memory_max_bytes = Some(512 << 20);
        let definition = Definition { kind: Kind::Xen, uuid: None, marks: &marks, boot: &boot, interfaces: &[] };
        let written = definition.write().unwrap();
        assert!(written.contains("<memory unit=\"KiB\">524288</memory>"), "{written}");
        assert!(written.contains("<currentMemory unit=\"KiB\">131072</currentMemory>"), "{written}");
    }

    #[test]
    fn who_has_next_to_nothing_of_a_cpu_can_be_defined() {
        let (boot, marks) = (boot(), Marks { weight: 1, ..super::super::marks::tests::marks() });
        let definition = Definition { kind: Kind::Xen, uuid: None, marks: &marks, boot: &boot, interfaces: &[] };
        assert!(definition.write().unwrap().contains("<shares>2</shares>"));
    }

    #[test]
    fn kernel_arguments_that_no_definition_can_hold_are_refused() {
        let marks = super::super::marks::tests::marks();
        let boot = BootFiles { arguments: vec!["a\0b".into()], ..boot() };
        let definition = Definition { kind: Kind::Xen, uuid: None, marks: &marks, boot: &boot, interfaces: &[] };
        assert!(definition.write().unwrap_err().to_string().contains("'\\0'"));
    }

    #[test]
    fn any_other_kernel_argument_or_interface_is_another_definition() {
        let digest = devices_digest(&boot(), &interfaces());
        assert_eq!(devices_digest(&boot(), &interfaces()), digest);
        let other = BootFiles { arguments: vec!["console=hvc0 a=<\"&'>".into()], ..boot() };
        assert_ne!(devices_digest(&other, &interfaces()), digest);
        assert_ne!(devices_digest(&BootFiles { ramdisk: None, ..boot() }, &interfaces()), digest);
        assert_ne!(devices_digest(&boot(), &[]), digest);
    }

    #[test]
    fn disks_have_the_names_of_xen() {
        let names: Vec<String> = [0, 1, 25, 26, 27, 701, 702].into_iter().map(disk_name).collect();
        assert_eq!(names, ["xvda", "xvdb", "xvdz", "xvdaa", "xvdab", "xvdzz", "xvdaaa"]);
    }
}
