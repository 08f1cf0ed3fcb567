//! What each domain of a pool should be, as the hosts understand it.

use tycoon_lang::pool;
use tycoon_xen::spec::{Addressing, Boot, DomainSpec, Filesystem, NicSpec, VolumeSpec};

use crate::error::PlanError;

/// The spec of one domain of a pool.
///
/// # Errors
/// [`PlanError::Unsound`] where the description asks for something that no host can be asked for.
pub fn spec_of(domain: &pool::Domain) -> Result<DomainSpec, PlanError> {
    let unsound =
        |problem: String, help: &str| PlanError::Unsound { problem, help: help.to_owned(), span: Some(domain.span) };
    let path = domain
        .path
        .parse()
        .map_err(|error| unsound(format!("{error}"), "give the component or its rows a shorter, plainer name"))?;
    let volumes = domain.volumes.iter().map(|volume| {
        let filesystem = match volume.format.as_deref() {
            None => None,
            Some("ext4") => Some(Filesystem::Ext4),
            Some("xfs") => Some(Filesystem::Xfs),
            Some("swap") => Some(Filesystem::Swap),
            Some(other) => {
                let problem = format!("no host can make a file system `{other}`");
                return Err(unsound(problem, "write `ext4`, `xfs` or `swap`"));
            }
        };
        Ok(VolumeSpec {
            name: volume.name.clone(),
            size_bytes: volume.size_bytes,
            filesystem,
            copy_on_write: volume.copy_on_write,
            store: volume.store.clone(),
        })
    });
    let nics = domain.nics.iter().map(|nic| NicSpec {
        name: nic.name.clone(),
        address: match &nic.address {
            pool::NicAddress::Dhcp => Addressing::Dhcp,
            pool::NicAddress::Static { address, prefix, gateway } => {
                Addressing::Static { address: *address, prefix: *prefix, gateway: *gateway }
            }
        },
    });
    Ok(DomainSpec {
        path,
        hostname: domain.hostname.clone(),
        vcpus: domain.vcpus,
        memory_bytes: domain.memory_bytes,
        image: domain.image.clone(),
        boot: Boot {
            kernel: domain.kernel.clone(),
            ramdisk: domain.ramdisk.clone(),
            kernel_args: domain.kernel_args.clone(),
        },
        volumes: volumes.collect::<Result<_, _>>()?,
        nics: nics.collect(),
    })
}
