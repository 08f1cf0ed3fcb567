//! The driver of the machine this runs on.

use std::sync::Arc;

use tycoon_xen::hypervisor::Hypervisor;
use tycoon_xen::machine::Machine;
use tycoon_xen::remote::image::ImageReceiver;

use crate::failure::Failure;

/// What runs the domains of a machine.
pub struct Driver {
    /// The hypervisor.
    pub hypervisor: Arc<dyn Hypervisor>,
    /// What takes images in.
    pub images: Arc<dyn ImageReceiver>,
}

/// Opens the hypervisor and the storage of this machine.
#[cfg(feature = "libvirt")]
pub fn open(machine: &Machine) -> Result<Driver, Failure> {
    use crate::exit::Exit;
    use tycoon_xen::libvirt::LibvirtHost;
    use tycoon_xen::storage::MachineStorage;

    let failed = |error| Failure::from_error(Exit::Failed, &error);
    let storage = Arc::new(MachineStorage::open(machine.clone()).map_err(failed)?);
    let host = LibvirtHost::open(machine, storage.clone()).map_err(failed)?;
    Ok(Driver { hypervisor: Arc::new(host), images: storage })
}

/// This program was built without libvirt: it is for clients.
#[cfg(not(feature = "libvirt"))]
pub fn open(_: &Machine) -> Result<Driver, Failure> {
    use crate::exit::Exit;
    Err(Failure::new(Exit::Failed, "this program was built for clients, without libvirt")
        .help("install the one for hosts: build with the feature `libvirt`, as by default"))
}
