//! Looks at a machine that is to become a host: what is there, what is missing, and what to do about it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::hypervisor::HypervisorError;
use crate::storage::command::Command;

/// Where Debian puts programs.
const PROGRAM_FOLDERS: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// The programs a host needs, the packages they are in, and what for.
const PROGRAMS: [(&str, &str, &str); 11] = [
    ("libvirtd", "libvirt-daemon-system", "runs domains"),
    ("lvs", "lvm2", "keeps volumes in volume groups"),
    ("losetup", "mount", "keeps volumes in files"),
    ("qemu-img", "qemu-utils", "reads images"),
    ("genisoimage", "genisoimage", "writes the seed of a domain"),
    ("mkfs.ext4", "e2fsprogs", "makes file systems"),
    ("mkfs.xfs", "xfsprogs", "makes file systems"),
    ("ip", "iproute2", "looks at bridges and addresses"),
    ("nft", "nftables", "binds interfaces to their addresses"),
    ("busybox", "busybox-static", "is in the image std:tiny"),
    ("dropbear", "dropbear-bin", "is in the image std:tiny"),
];

/// libvirt's driver for Xen, and its package.
const XEN_DRIVER: (&str, &str) = ("libvirt_driver_libxl.so", "libvirt-daemon-driver-xen");

/// What a look at the machine found.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// What is good, as sentences.
    pub good: Vec<String>,
    /// What is missing or wrong.
    pub problems: Vec<Problem>,
    /// Debian packages that would mend some of it.
    pub missing_packages: Vec<&'static str>,
    /// The volume groups.
    pub groups: Vec<VolumeGroup>,
    /// The devices of the bridges.
    pub bridges: Vec<String>,
}

/// Something that is missing or wrong on a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What.
    pub what: String,
    /// What to do.
    pub remedy: String,
}

/// A volume group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeGroup {
    /// Its name.
    pub name: String,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// What is free of it, in bytes.
    pub free_bytes: u64,
}

impl Survey {
    /// Looks at this machine. What cannot be looked at is a problem, not an error.
    pub fn take() -> Self {
        let mut survey = Self::default();
        survey.rights();
        survey.xen();
        survey.programs();
        survey.volume_groups();
        survey.bridges();
        survey
    }

    fn problem(&mut self, what: impl Into<String>, remedy: impl Into<String>) {
        self.problems.push(Problem { what: what.into(), remedy: remedy.into() });
    }

    fn rights(&mut self) {
        if !rustix::process::geteuid().is_root() {
            self.problem("this is not run by root", "run it as root, or with sudo");
        }
    }

    fn xen(&mut self) {
        let capabilities = fs::read_to_string("/proc/xen/capabilities").unwrap_or_default();
        if capabilities.split_whitespace().any(|word| word == "control_d") {
            let part = |name: &str| fs::read_to_string(Path::new("/sys/hypervisor/version").join(name));
            let version = match (part("major"), part("minor")) {
                (Ok(major), Ok(minor)) => format!(" {}.{}", major.trim(), minor.trim()),
                _ => String::new(),
            };
            self.good.push(format!("this is the control domain of Xen{version}"));
        } else if fs::read_to_string("/sys/hypervisor/type").is_ok_and(|kind| kind.trim() == "xen") {
            self.problem(
                "this is a guest of Xen, or a control domain whose /proc/xen is not mounted",
                "install on the Xen host itself; there, mount -t xenfs xenfs /proc/xen",
            );
        } else {
            self.problem(
                "this machine does not run Xen",
                "apt-get install xen-system-amd64, and start the machine with the entry \"with Xen hypervisor\"",
            );
        }
    }

    fn programs(&mut self) {
        let mut packages = BTreeSet::new();
        for (program, package, purpose) in PROGRAMS {
            if find_program(program).is_none() {
                packages.insert(package);
                self.problem(format!("`{program}` is missing: it {purpose}"), format!("apt-get install {package}"));
            }
        }
        let (driver, package) = XEN_DRIVER;
        let folders = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"];
        let has_driver =
            folders.iter().any(|folder| Path::new(folder).join("libvirt/connection-driver").join(driver).exists());
        if !has_driver {
            packages.insert(package);
            self.problem("libvirt has no driver for Xen", format!("apt-get install {package}"));
        }
        if packages.is_empty() {
            self.good.push("all programs that are needed are installed".to_owned());
        }
        self.missing_packages = packages.into_iter().collect();
    }

    fn volume_groups(&mut self) {
        if find_program("vgs").is_none() {
            return;
        }
        match volume_groups() {
            Ok(groups) => {
                for group in &groups {
                    let (size, free) = (group.size_bytes >> 30, group.free_bytes >> 30);
                    self.good.push(format!("the volume group `{}` has {free} of {size} GiB free", group.name));
                }
                self.groups = groups;
            }
            Err(error) => self.problem(error.to_string(), "see what `vgs` says"),
        }
    }

    fn bridges(&mut self) {
        let entries = fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
        let bridges = entries.filter(|entry| entry.path().join("bridge").is_dir());
        self.bridges = bridges.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        // libvirt's own networks are not the owner's.
        self.bridges.retain(|bridge| !bridge.starts_with("virbr") && !bridge.starts_with("docker"));
        self.bridges.sort();
        match &self.bridges[..] {
            [] => self.problem(
                "there is no bridge for the interfaces of domains",
                "make one in /etc/network/interfaces: `auto xenbr0`, `iface xenbr0 inet dhcp`, `bridge_ports eth0`",
            ),
            bridges => self.good.push(format!("domains can be on the bridge {}", bridges.join(", "))),
        }
    }
}

/// Where a program is installed.
pub fn find_program(program: &str) -> Option<PathBuf> {
    PROGRAM_FOLDERS.iter().map(|folder| Path::new(folder).join(program)).find(|path| path.exists())
}

/// Installs Debian packages.
///
/// # Errors
/// What `apt-get` says where it cannot.
pub fn install_packages(packages: &[&str]) -> Result<(), HypervisorError> {
    let timeout = std::time::Duration::from_secs(900);
    let apt = |arguments: &[&str]| {
        Command::new("apt-get")
            .args(["--quiet", "--yes", "-o", "Dpkg::Use-Pty=0", "-o", "APT::Install-Recommends=false"])
            .args(arguments)
            .timeout(timeout)
            .run(format!("installing {}", packages.join(", ")))
    };
    // A list of packages that is too old names files that are gone; one that cannot be renewed may still do.
    let renewed = apt(&["update"]);
    let mut install = vec!["install"];
    install.extend(packages);
    apt(&install).map_err(|error| renewed.err().unwrap_or(error)).map(drop)
}

#[derive(Deserialize)]
struct Report {
    report: Vec<Groups>,
}

#[derive(Deserialize)]
struct Groups {
    vg: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    vg_name: String,
    vg_size: String,
    vg_free: String,
}

fn volume_groups() -> Result<Vec<VolumeGroup>, HypervisorError> {
    const OPERATION: &str = "looking at the volume groups";
    let text = Command::new("vgs")
        .args(["--reportformat", "json", "--units", "b", "--nosuffix", "--options", "vg_name,vg_size,vg_free"])
        .run(OPERATION)?;
    let failed = |reason: String| HypervisorError::Failed { operation: OPERATION.into(), reason };
    let report: Report = serde_json::from_str(&text).map_err(|error| failed(error.to_string()))?;
    let groups = report.report.into_iter().flat_map(|groups| groups.vg);
    let bytes = |text: &str| text.trim().parse::<u64>().map_err(|error| failed(format!("`{text}`: {error}")));
    groups
        .map(|group| {
            let (size_bytes, free_bytes) = (bytes(&group.vg_size)?, bytes(&group.vg_free)?);
            Ok(VolumeGroup { name: group.vg_name, size_bytes, free_bytes })
        })
        .collect()
}
