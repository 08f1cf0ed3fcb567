//! What each domain of a pool should be, as the hosts understand it.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use tycoon_lang::pool;
use tycoon_lang::value::Value;
use tycoon_market::PublicKey;
use tycoon_xen::restart::{RestartAfter, RestartPolicy};
use tycoon_xen::save::{SaveFormat, SaveImage};
use tycoon_xen::spec::{
    Addressing, Boot, CloudInit, DomainSpec, Filesystem, KeepVolumes, NicSpec, PortForward, RunRules, SeedFile, SshKey,
    VolumeSpec,
};

use crate::error::PlanError;
use crate::late::{Addresses, Late};

/// The user that the account's keys log in as.
const LOGIN_USER: &str = "root";
/// The length of the prefix of an address that has no netmask.
const DEFAULT_PREFIX: u8 = 24;

/// The spec of one domain of the pool with these addresses, to which `keys` may log in.
///
/// # Errors
/// [`PlanError::Unsound`] where the description asks for something that no host can be asked for.
pub fn spec_of(domain: &pool::Domain, addresses: &Addresses<'_>, keys: &[PublicKey]) -> Result<DomainSpec, PlanError> {
    let path = domain.path.parse().map_err(|error| {
        unsound(format!("{error}"), "give the component or its rows a shorter, plainer name", domain.span)
    })?;
    let mut ports = BTreeSet::new();
    for nic in &domain.nics {
        if let Some(twice) = nic.forwards.iter().find(|forward| !ports.insert(forward.port)) {
            let problem =
                format!("two interfaces of `{}` have port {} of the host lead to them", domain.path, twice.port);
            return Err(unsound(problem, "a port leads to one place: give one of them another", domain.span));
        }
    }
    Ok(DomainSpec {
        path,
        hostname: domain.hostname.clone(),
        vcpus: domain.vcpus,
        memory_bytes: domain.memory_bytes,
        image: domain.image.clone(),
        boot: Boot {
            kernel: domain.kernel.as_deref().map(exported_name),
            ramdisk: domain.ramdisk.as_deref().map(exported_name),
            kernel_args: domain.kernel_args.clone(),
        },
        volumes: domain.volumes.iter().map(volume).collect::<Result<_, _>>()?,
        nics: domain.nics.iter().map(|it| nic(it, domain)).collect::<Result<_, _>>()?,
        cloud_init: cloud_init(domain.cloud_init.as_ref(), addresses, keys),
        keep_volumes: match domain.keep_volumes {
            pool::KeepVolumes::Always => KeepVolumes::Always,
            pool::KeepVolumes::Never => KeepVolumes::Never,
            pool::KeepVolumes::IfPreexisting => KeepVolumes::IfPreexisting,
        },
        save_image: domain.save_image.as_ref().map(|save| save_image(save, domain.span)).transpose()?,
        rules: RunRules {
            restart: domain.restart.as_ref().and_then(restart),
            is_capped: !domain.burst,
            memory_max_bytes: domain.memory_max_bytes.filter(|most| *most > domain.memory_bytes),
        },
    })
}

/// Where the root volume is saved in the end.
fn save_image(save: &pool::SaveImage, span: tycoon_lang::Span) -> Result<SaveImage, PlanError> {
    let known = SaveFormat::of_word(&save.format);
    let format = known.ok_or_else(|| {
        let problem = format!("`{}` is no format of a saved image", save.format);
        unsound(problem, "write `tar`, `tar.gz`, `tar.zst`, `raw` or `qcow2`", span)
    })?;
    let save = SaveImage { to: save.to.clone(), format, name: save.name.clone() };
    match save.fault() {
        Some(problem) => Err(unsound(problem, "or leave the name out: then it is that of the domain", span)),
        None => Ok(save),
    }
}

/// The policy that the host keeps with the domain; none where it is never restarted.
fn restart(restart: &pool::Restart) -> Option<RestartPolicy> {
    let after = match restart.when {
        pool::RestartWhen::OnFailure => RestartAfter::Failure,
        pool::RestartWhen::Always => RestartAfter::AnyEnd,
        pool::RestartWhen::Never => return None,
    };
    let (times, within) = (restart.times, restart.within);
    Some(RestartPolicy { after, times, within, backoff: restart.backoff, max_backoff: restart.max_backoff })
}

fn unsound(problem: String, help: &str, span: tycoon_lang::Span) -> PlanError {
    PlanError::Unsound { problem, help: help.to_owned(), span: Some(span) }
}

fn volume(volume: &pool::Volume) -> Result<VolumeSpec, PlanError> {
    let filesystem = match volume.format {
        None => None,
        Some(pool::FileSystem::Ext4) => Some(Filesystem::Ext4),
        Some(pool::FileSystem::Xfs) => Some(Filesystem::Xfs),
        Some(pool::FileSystem::Swap) => Some(Filesystem::Swap),
        Some(other) => {
            let problem = format!("no host can make a file system {other:?} yet");
            return Err(unsound(problem, "write `ext4`, `xfs` or `swap`", volume.span));
        }
    };
    let store = volume.store.as_ref().map(|store| match store {
        pool::Store::Loopback { directory } => exported_name(directory),
        pool::Store::Lvm { group } => exported_name(group),
    });
    Ok(VolumeSpec {
        name: volume.name.clone(),
        size_bytes: volume.size_bytes,
        filesystem,
        copy_on_write: volume.copy_on_write,
        store,
        existing: volume.existing,
    })
}

fn nic(nic: &pool::Nic, domain: &pool::Domain) -> Result<NicSpec, PlanError> {
    let address = match nic.address {
        pool::Address::Dhcp => Addressing::Dhcp,
        pool::Address::Static { ip: IpAddr::V4(address), netmask, gateway } => Addressing::Static {
            address,
            prefix: netmask.map_or(DEFAULT_PREFIX, prefix_of),
            gateway: gateway.and_then(|gateway| match gateway {
                IpAddr::V4(gateway) => Some(gateway),
                IpAddr::V6(_) => None,
            }),
        },
        pool::Address::Static { ip: IpAddr::V6(address), .. } => {
            let problem = format!("`{}` has the address {address}: no host can give IPv6 addresses yet", nic.name);
            return Err(unsound(problem, "write an IPv4 address, or leave it to DHCP", nic.span));
        }
    };
    let mac = nic.mac.as_ref().map(|mac| mac.parse()).transpose();
    let mac =
        mac.map_err(|error| unsound(format!("{error}"), "or leave it out, and the host chooses one", nic.span))?;
    if nic.bandwidth.is_some_and(|bits| bits < NicSpec::BANDWIDTH_MIN) {
        let problem =
            format!("`{}` of `{}` has a bandwidth below 8 kbit/s, with which nothing works", nic.name, domain.path);
        let help = "ask for more, such as \"10Mbit/s\", or leave it out: then there is no limit";
        // Where every domain has one, the interface stands in the library.
        return Err(unsound(problem, help, domain.span));
    }
    let bridge = nic.bridge.as_deref().map(exported_name);
    let forwards: Vec<PortForward> =
        nic.forwards.iter().map(|forward| PortForward { port: forward.port, to: forward.to }).collect();
    if forwards.len() > NicSpec::FORWARDS_MAX {
        let problem = format!("`{}` of `{}` has {} ports of the host", nic.name, domain.path, forwards.len());
        return Err(unsound(problem, "64 are possible; leave the others to another domain", nic.span));
    }
    Ok(NicSpec { name: nic.name.clone(), address, mac, bridge, bandwidth: nic.bandwidth, forwards })
}

/// What is done at the first start, with gaps where addresses of the pool's domains go.
fn cloud_init(seed: Option<&pool::CloudInit>, addresses: &Addresses<'_>, keys: &[PublicKey]) -> CloudInit {
    let own_keys = keys.iter().map(|key| SshKey { user: LOGIN_USER.to_owned(), key: key.to_string() });
    let Some(seed) = seed else { return CloudInit { ssh_keys: own_keys.collect(), ..CloudInit::default() } };
    let mut late = Late::of(addresses);
    let mut files = Vec::new();
    for file in &seed.files {
        let (path, mode, owner) = (file.path.clone(), file.mode.clone(), file.owner.clone());
        files.extend(late.text(&file.content).map(|content| SeedFile { path, content, mode, owner }));
    }
    let command = |words: &Vec<Value>| words.iter().map(|word| late.text(word)).collect();
    let commands = seed.commands.iter().filter_map(command).collect();
    let described = seed.ssh_keys.iter().map(|(user, key)| SshKey { user: user.clone(), key: key.clone() });
    CloudInit {
        packages: seed.packages.clone(),
        files,
        commands,
        ssh_keys: own_keys.chain(described).collect(),
        late: late.into_gaps(),
    }
}

/// The name under which a host's owner exports a kernel, a ramdisk or a directory. A description may write it as a path,
/// as SmartDomains did (seed 002): `/boot/vmlinuz` is the export `boot-vmlinuz`. No path ever reaches a host.
fn exported_name(text: &str) -> String {
    text.trim_matches('/').replace('/', "-")
}

/// The length of the prefix of a netmask.
fn prefix_of(netmask: Ipv4Addr) -> u8 {
    // At most 32.
    u32::from(netmask).leading_ones() as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_becomes_the_name_of_an_export() {
        assert_eq!(exported_name("/boot/vmlinuz"), "boot-vmlinuz");
        assert_eq!(exported_name("/data/xen/"), "data-xen");
        assert_eq!(exported_name("vg1"), "vg1");
    }
}
