//! Limits on what a session may ask for, whatever it pays: counts, lengths, and names that end up in files and in
//! the hypervisor's own descriptions.

use std::collections::BTreeSet;

use crate::save::SaveImage;
use crate::spec::{DomainSpec, NicSpec, PortForward, VolumeSpec};
use crate::status::Kept;

/// Disks of one domain.
const VOLUMES_MAX: usize = 16;
/// Network interfaces of one domain.
const NICS_MAX: usize = 8;
/// Arguments of a kernel's command line.
const KERNEL_ARGS_MAX: usize = 64;
/// Bytes of one of them.
const KERNEL_ARG_BYTES_MAX: usize = 512;
/// Bytes of a host name.
const HOSTNAME_BYTES_MAX: usize = 253;
/// Bytes of a part of a host name.
const LABEL_BYTES_MAX: usize = 63;
/// Bytes of the name of a disk or an interface.
const DEVICE_NAME_BYTES_MAX: usize = 32;
/// Values that are put into the files and commands of a domain when it is made, and the bytes of each.
const LATE_MAX: usize = 1024;
const LATE_BYTES_MAX: usize = 256;
/// Bytes of a name that the owner exports.
const EXPORTED_NAME_BYTES_MAX: usize = 128;

/// Refuses a spec that no honest client sends.
///
/// # Errors
/// What is wrong with it, as a sentence.
pub fn check(spec: &DomainSpec) -> Result<(), String> {
    let counts = [
        ("disks", spec.volumes.len(), VOLUMES_MAX),
        ("network interfaces", spec.nics.len(), NICS_MAX),
        ("kernel arguments", spec.boot.kernel_args.len(), KERNEL_ARGS_MAX),
    ];
    for (what, count, most) in counts {
        if count > most {
            return refused(format!("`{}` has {count} {what}; {most} are possible", spec.path));
        }
    }
    if spec.rules.memory_max_bytes.is_some_and(|most| most < spec.memory_bytes) {
        return refused(format!("`{}` has less memory at most than it starts with", spec.path));
    }
    if !is_hostname(&spec.hostname) {
        return wrong("hostname", &spec.hostname, "a DNS name");
    }
    let exported = [Some(&spec.image), spec.boot.kernel.as_ref(), spec.boot.ramdisk.as_ref()];
    let stores = spec.volumes.iter().map(|volume| volume.store.as_ref());
    for name in exported.into_iter().chain(stores).flatten() {
        if !is_exported_name(name) {
            return wrong("image, kernel, ramdisk or store", name, "a name that the host exports");
        }
    }
    let devices = spec.volumes.iter().map(|volume| &volume.name).chain(spec.nics.iter().map(|nic| &nic.name));
    for name in devices {
        if !is_device_name(name) {
            return wrong("disk or interface", name, "a short name of letters, digits, `-` and `_`");
        }
    }
    let forwards: Vec<PortForward> = spec.forwards().collect();
    let ports: BTreeSet<u16> = forwards.iter().map(|forward| forward.port).collect();
    if forwards.len() > NicSpec::FORWARDS_MAX {
        return refused(format!(
            "`{}` asks for {} ports of the host; {} are possible",
            spec.path,
            forwards.len(),
            NicSpec::FORWARDS_MAX
        ));
    }
    if ports.len() < forwards.len() || forwards.iter().any(|forward| forward.port == 0 || forward.to == 0) {
        return refused(format!("`{}` names a port of the host twice, or the port 0", spec.path));
    }
    if let Some(nic) = spec.nics.iter().find(|nic| nic.bandwidth.is_some_and(|bits| bits < NicSpec::BANDWIDTH_MIN)) {
        let least = NicSpec::BANDWIDTH_MIN;
        return refused(format!("the bandwidth of `{}` of `{}` is less than {least} bit/s", nic.name, spec.path));
    }
    let is_bounded = |text: &str| (1..=LATE_BYTES_MAX).contains(&text.len());
    let late = &spec.cloud_init.late;
    if late.len() > LATE_MAX
        || !late.iter().all(|(path, value)| is_bounded(path) && value.as_deref().is_none_or(is_bounded))
    {
        return refused(format!(
            "`{}` has more than {LATE_MAX} late values, or one of more than {LATE_BYTES_MAX} bytes",
            spec.path
        ));
    }
    let is_argument = |text: &String| text.len() <= KERNEL_ARG_BYTES_MAX && text.bytes().all(|b| b.is_ascii_graphic());
    if let Some(fault) = spec.rules.restart.and_then(|restart| restart.fault()) {
        return refused(format!("`{}`: {fault}", spec.path));
    }
    if let Some(fault) = spec.save_image.as_ref().and_then(SaveImage::fault) {
        return refused(format!("`{}`: {fault}", spec.path));
    }
    match spec.boot.kernel_args.iter().find(|argument| !is_argument(argument)) {
        Some(argument) => wrong("kernel argument", argument, "one word of printable characters"),
        None => Ok(()),
    }
}

/// Refuses what no honest daemon keeps of a domain.
///
/// # Errors
/// What is wrong with it, as a sentence.
pub fn check_kept(kept: &Kept) -> Result<(), String> {
    if kept.volumes.len() > VOLUMES_MAX {
        return refused(format!("{} disks are to be kept; {VOLUMES_MAX} are possible", kept.volumes.len()));
    }
    if !kept.image.is_empty() && !is_exported_name(&kept.image) {
        return wrong("image", &kept.image, "a name that the host exports");
    }
    let is_sound =
        |volume: &&VolumeSpec| is_device_name(&volume.name) && volume.store.as_deref().is_none_or(is_exported_name);
    match kept.volumes.iter().find(|volume| !is_sound(volume)) {
        Some(volume) => {
            wrong("disk", &volume.name, "a short name of letters, digits, `-` and `_`, in an exported store")
        }
        None => Ok(()),
    }
}

fn refused(reason: String) -> Result<(), String> {
    Err(reason)
}

fn wrong(what: &str, text: &str, expected: &str) -> Result<(), String> {
    let shown: String = text.chars().take(80).collect();
    refused(format!("the {what} {shown:?} is not {expected}"))
}

fn is_hostname(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    text.len() <= HOSTNAME_BYTES_MAX && text.split('.').all(is_label)
}

/// A short name of letters, digits, `-` and `_`: what disks and interfaces are called inside a domain.
pub fn is_device_name(text: &str) -> bool {
    (1..=DEVICE_NAME_BYTES_MAX).contains(&text.len())
        && !text.starts_with('-')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// Letters, digits and `.`, `_`, `-`, `:`, beginning with a letter or digit: no path, and no option of a program.
pub fn is_exported_name(text: &str) -> bool {
    (1..=EXPORTED_NAME_BYTES_MAX).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-:".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::restart::{RESTARTS_MAX, RestartAfter, RestartPolicy};
    use crate::save::SaveFormat;
    use crate::spec::{Boot, CloudInit, KeepVolumes, NicSpec, RunRules, VolumeSpec};
    use tycoon_market::TimeSpan;

    fn volume(name: &str) -> VolumeSpec {
        VolumeSpec::plain(name, 1 << 30)
    }

    fn spec() -> DomainSpec {
        DomainSpec {
            path: "web.0".parse().unwrap(),
            hostname: "web-0.example.org".into(),
            vcpus: 1,
            memory_bytes: 64 << 20,
            image: "std:tiny".into(),
            boot: Boot {
                kernel: Some("vmlinuz-6.1".into()),
                ramdisk: None,
                kernel_args: vec!["console=hvc0".into(), "root=/dev/xvda1".into()],
            },
            volumes: vec![volume("root"), VolumeSpec { store: Some("ssd".into()), ..volume("data_1") }],
            nics: vec![NicSpec::dhcp("eth0")],
            cloud_init: CloudInit::default(),
            keep_volumes: KeepVolumes::default(),
            save_image: None,
            rules: RunRules::default(),
        }
    }

    #[test]
    fn what_an_honest_client_sends_passes() {
        assert_eq!(check(&spec()), Ok(()));
    }

    #[test]
    fn what_could_leave_its_place_or_fill_the_host_is_refused() {
        type Change = fn(&mut DomainSpec);
        let changes: [(&str, Change); 15] = [
            ("restarts without end", |s| {
                let span = TimeSpan::from_seconds(1);
                s.rules.restart = Some(RestartPolicy {
                    after: RestartAfter::AnyEnd,
                    times: RESTARTS_MAX + 1,
                    within: span,
                    backoff: span,
                    max_backoff: span,
                });
            }),
            ("a path as name of a saved image", |s| {
                let (to, name) = ("/srv".into(), Some("../../etc/shadow".into()));
                s.save_image = Some(SaveImage { to, format: SaveFormat::Raw, name });
            }),
            ("too many disks", |s| s.volumes = vec![volume("root"); VOLUMES_MAX + 1]),
            ("too many interfaces", |s| s.nics = vec![s.nics[0].clone(); NICS_MAX + 1]),
            ("too many arguments", |s| s.boot.kernel_args = vec!["quiet".into(); KERNEL_ARGS_MAX + 1]),
            ("a long argument", |s| s.boot.kernel_args[0] = "a".repeat(KERNEL_ARG_BYTES_MAX + 1)),
            ("two arguments in one", |s| s.boot.kernel_args[0] = "quiet init=/bin/sh".into()),
            ("no hostname", |s| s.hostname.clear()),
            ("a hostname with markup", |s| s.hostname = "<name>".into()),
            ("a path as disk", |s| s.volumes[0].name = "../root".into()),
            ("a path as interface", |s| s.nics[0].name = "a/b".into()),
            ("a path as image", |s| s.image = "/etc/passwd".into()),
            ("an option as image", |s| s.image = "-rf".into()),
            ("a path as kernel", |s| s.boot.kernel = Some("../vmlinuz".into())),
            ("a path as store", |s| s.volumes[0].store = Some("a/../b".into())),
        ];
        for (what, change) in changes {
            let mut changed = spec();
            change(&mut changed);
            assert!(check(&changed).is_err(), "{what}");
        }
    }
}
