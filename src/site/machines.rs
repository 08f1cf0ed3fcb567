//! The machines of a site's hosts: all are opened at once, and one that cannot be reached stops only itself.

use std::sync::Arc;

use tycoon_lang::site::{HostKind, Site};
use tycoon_xen::hypervisor::Hypervisor;

use super::hosts;
use crate::failure::Failure;
use crate::folders::Folders;

/// A machine, or why it cannot be reached and what to do.
pub type Machine = Result<Arc<dyn Hypervisor>, String>;

/// Opens the machines of all hosts, in the order of the description.
pub fn open_all(site: &Site, database: &sled::Db, folders: &Folders) -> Result<Vec<Machine>, Failure> {
    let _ = folders;
    let mut machines = Vec::with_capacity(site.hosts.len());
    for (number, host) in site.hosts.iter().enumerate() {
        machines.push(match &host.kind {
            HostKind::Simulated(machine) => Ok(hosts::simulated_machine(number, host, machine, database)?),
            HostKind::Xen(_) => Err("not yet".to_owned()),
        });
    }
    Ok(machines)
}
