//! The driver of the machine this runs on.

use std::sync::Arc;

use tycoon_xen::hypervisor::{Hypervisor, HypervisorError};
#[cfg(feature = "libvirt")]
use tycoon_xen::libvirt::LibvirtHost;
use tycoon_xen::machine::Machine;
use tycoon_xen::remote::image::{AccountImageStore, ImageReceiver};
#[cfg(feature = "libvirt")]
use tycoon_xen::storage::MachineStorage;

use crate::failure::Failure;

/// What runs the domains of a machine.
pub struct Driver {
    /// The hypervisor.
    pub hypervisor: Arc<dyn Hypervisor>,
    /// What takes images of the machine's owner in.
    pub images: Arc<dyn ImageReceiver>,
    /// What takes those in that accounts bring for themselves.
    pub account_images: Arc<dyn AccountImageStore>,
}

/// Opens the hypervisor of this machine, and its storage.
#[cfg(feature = "libvirt")]
pub fn open(machine: &Machine) -> Result<Driver, Failure> {
    let (host, storage) = parts(machine).map_err(|error| Failure::from_error(crate::exit::Exit::Failed, &error))?;
    Ok(Driver { hypervisor: Arc::new(host), images: storage.clone(), account_images: storage })
}

/// Opens only the hypervisor.
#[cfg(feature = "libvirt")]
pub fn open_hypervisor(machine: &Machine) -> Result<Box<dyn Hypervisor>, HypervisorError> {
    Ok(Box::new(parts(machine)?.0))
}

#[cfg(feature = "libvirt")]
fn parts(machine: &Machine) -> Result<(LibvirtHost, Arc<MachineStorage>), HypervisorError> {
    let storage = Arc::new(MachineStorage::open(machine.clone())?);
    Ok((LibvirtHost::open(machine, storage.clone())?, storage))
}

/// This program was built without libvirt: it is for clients.
#[cfg(not(feature = "libvirt"))]
pub fn open(machine: &Machine) -> Result<Driver, Failure> {
    match open_hypervisor(machine) {
        Err(error) => Err(Failure::from_error(crate::exit::Exit::Failed, &error)),
        Ok(_) => unreachable!("there is no driver in this program"),
    }
}

/// This program was built without libvirt: it is for clients.
#[cfg(not(feature = "libvirt"))]
pub fn open_hypervisor(_: &Machine) -> Result<Box<dyn Hypervisor>, HypervisorError> {
    let reason = "this program was built for clients, without libvirt; install one that was built for hosts".to_owned();
    Err(HypervisorError::Refused { operation: "opening the hypervisor".into(), reason })
}
