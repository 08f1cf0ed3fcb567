//! The machine this program runs on, where that is a Xen host: what its owner exports, from `/etc/tycoon/machine.kdl`.

use std::path::{Path, PathBuf};

use tycoon_lang::Options;
use tycoon_lang::machine as words;
use tycoon_xen::machine::{
    AddressRange, BridgeExport, DiskFormat, FileExport, ImageExport, Machine, StoreExport, StoreKind,
};

use crate::description::FileLoader;
use crate::exit::Exit;
use crate::failure::Failure;

/// Where the machine's description is.
pub const MACHINE_FILE: &str = "/etc/tycoon/machine.kdl";

/// The machine that the file at `path` describes.
pub fn load(path: &Path) -> Result<Machine, Failure> {
    let text = path.display().to_string();
    if !path.exists() {
        let message = format!("this machine is not prepared: there is no {text}");
        return Err(Failure::new(Exit::Failed, message)
            .help("run `tycoon host prepare` here as root, or `tycoon host install root@this-machine` elsewhere"));
    }
    let options = Options::default();
    let loader = FileLoader { max_bytes: options.max_file_bytes };
    let loaded = tycoon_lang::load_machine(&text, &loader, &options).map_err(Failure::description)?;
    let machine = loaded.machine;
    let stores = machine.stores.iter().map(store).collect::<Result<Vec<_>, _>>();
    let bridges = machine.bridges.iter().map(bridge).collect::<Result<Vec<_>, _>>();
    let wrong = |reason: String| {
        Failure::new(Exit::Failed, format!("{text}: {reason}"))
            .help("mend the file; `tycoon host check` tells whether it is good")
    };
    Ok(Machine {
        folder: PathBuf::from(&machine.folder),
        hypervisor: machine.hypervisor.clone(),
        stores: stores.map_err(wrong)?,
        bridges: bridges.map_err(wrong)?,
        images: machine.images.iter().map(image).collect(),
        kernels: machine.kernels.iter().map(file).collect(),
        ramdisks: machine.ramdisks.iter().map(file).collect(),
        boot_loader: machine.boot_loader.as_ref().map(PathBuf::from),
        reserved_memory_bytes: machine.reserved_memory_bytes,
    })
}

fn store(store: &words::Store) -> Result<StoreExport, String> {
    let kind = match (&store.group, &store.directory) {
        (Some(group), None) => StoreKind::Lvm { group: group.clone() },
        (None, Some(directory)) => StoreKind::Loopback { directory: PathBuf::from(directory) },
        _ => {
            let name = &store.name;
            return Err(format!(
                "the store `{name}` needs either `group=` (a volume group) or `directory=` (a folder)"
            ));
        }
    };
    Ok(StoreExport { name: store.name.clone(), kind, limit_bytes: store.limit_bytes })
}

fn bridge(bridge: &words::Bridge) -> Result<BridgeExport, String> {
    let name = &bridge.name;
    let addresses = match (bridge.first, bridge.last) {
        (None, None) => None,
        (Some(first), Some(last)) if first <= last => Some(AddressRange {
            first,
            last,
            prefix: bridge.prefix,
            gateway: bridge.gateway,
            name_servers: bridge.name_servers.clone(),
        }),
        (Some(first), Some(last)) => {
            return Err(format!("the addresses of the bridge `{name}` end at {last}, before they begin at {first}"));
        }
        _ => return Err(format!("the bridge `{name}` needs both `first=` and `last=`, or none of them")),
    };
    Ok(BridgeExport { name: name.clone(), device: bridge.device.clone(), addresses })
}

fn image(image: &words::Image) -> ImageExport {
    ImageExport {
        name: image.name.clone(),
        disk: PathBuf::from(&image.disk),
        format: if image.is_qcow2 { DiskFormat::Qcow2 } else { DiskFormat::Raw },
        kernel: image.kernel.as_ref().map(PathBuf::from),
        ramdisk: image.ramdisk.as_ref().map(PathBuf::from),
        kernel_args: image.kernel_args.clone(),
    }
}

fn file((name, path): &(String, String)) -> FileExport {
    FileExport { name: name.clone(), path: PathBuf::from(path) }
}
