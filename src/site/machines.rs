//! The machines of a site's hosts: all are opened at once, and one that cannot be reached stops only itself.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tycoon_executor::engine::StopFlag;
use tycoon_lang::site::{Host, HostKind, Site, XenHost};
use tycoon_market::HostId;
use tycoon_xen::hypervisor::Hypervisor;
use tycoon_xen::remote::RemoteHypervisor;
use tycoon_xen::remote::local::LocalImages;

use super::images::{self, Uploads};
use super::{Session, hosts, reach};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::folders::Folders;
use crate::output::Output;

/// A machine, or why it cannot be reached and what to do.
pub type Machine = Result<Arc<dyn Hypervisor>, String>;

/// What is brought to hosts, and who watches.
struct Bring {
    images: Arc<LocalImages>,
    uploads: Arc<Uploads>,
}

/// Opens the machines of all hosts, in the order of the description.
pub fn open_all(
    site: &Site,
    database: &sled::Db,
    folders: &Folders,
    output: &Output,
    stop: &StopFlag,
) -> Result<Vec<Machine>, Failure> {
    let config = ssh_config(site, output);
    let bring =
        Bring { images: images::sources(site, folders, output), uploads: Arc::new(Uploads::new(output, stop.clone())) };
    let open = |number: usize, host: &Host| match &host.kind {
        HostKind::Simulated(machine) => {
            hosts::simulated_machine(number, host, machine, database, &folders.host_images()).map(Ok)
        }
        HostKind::Xen(xen) => Ok(connect(host, xen, config.as_deref(), folders, Some(&bring))),
    };
    let mut machines = Vec::with_capacity(site.hosts.len());
    std::thread::scope(|scope| {
        // Simulated ones cost nothing; only the way to real ones is worth a thread.
        let is_real = |host: &Host| matches!(host.kind, HostKind::Xen(_));
        let ways: Vec<_> = site
            .hosts
            .iter()
            .enumerate()
            .map(
                |(number, host)| {
                    if is_real(host) { Ok(scope.spawn(move || open(number, host))) } else { Err(open(number, host)) }
                },
            )
            .collect();
        for way in ways {
            machines.push(match way {
                Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                Err(opened) => opened,
            });
        }
    });
    machines.into_iter().collect()
}

/// The machine of one host of the site, on a connection of its own.
pub fn of_host(session: &Session, id: &HostId, output: &Output) -> Result<Arc<dyn Hypervisor>, Failure> {
    if let Some(own) = session.own_machine(id) {
        let machine = own?;
        machine.facts().map_err(|error| Failure::from_error(Exit::Failed, &error))?;
        return Ok(Arc::new(machine));
    }
    let Some(site) = session.embedded() else {
        return Err(Failure::new(Exit::Failed, "no way leads to this host"));
    };
    let host = site.host(id).map(|open| &open.host);
    let Some((host, HostKind::Xen(xen))) = host.map(|host| (host, &host.kind)) else {
        return Err(Failure::new(Exit::Failed, "this host is simulated: its domains write nothing")
            .help("bring the pool up on real hosts with `--hosts FILE`"));
    };
    let config = ssh_config(site.description(), output);
    connect(host, xen, config.as_deref(), session.folders(), None)
        .map_err(|reason| Failure::new(Exit::Failed, format!("{} cannot be reached: {reason}", host.address)))
}

/// OpenSSH's configuration that the site names, whose relative path starts at the site's description.
pub fn ssh_config(site: &Site, output: &Output) -> Option<PathBuf> {
    site.ssh_config.as_ref().map(|config| beside(output, config))
}

/// A path of the site's description.
pub fn beside(output: &Output, path: &str) -> PathBuf {
    let folder = output.site.as_deref().and_then(|site| Path::new(site).parent());
    folder.unwrap_or(Path::new("")).join(path)
}

fn connect(host: &Host, xen: &XenHost, config: Option<&Path>, folders: &Folders, bring: Option<&Bring>) -> Machine {
    let target = reach::target(&xen.ssh, config, folders, false).map_err(|failure| failure.message())?;
    let connector = reach::HostConnector::new(&host.address, target, &xen.program);
    let mut machine = RemoteHypervisor::over(Arc::new(connector));
    if let Some(bring) = bring {
        machine = machine.with_images(bring.images.clone()).with_observer(bring.uploads.clone());
    }
    // What cannot say what it is cannot do anything either.
    machine.facts().map_err(|error| error.to_string())?;
    Ok(Arc::new(machine))
}
