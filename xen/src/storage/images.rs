//! The images a machine provides, and what a domain boots of them.

use std::path::{Path, PathBuf};

use super::cache::Cache;
use super::{BootFiles, listed, refused};
use crate::hypervisor::HypervisorError;
use crate::machine::{DiskFormat, FileExport, ImageExport, Machine};
use crate::spec::DomainSpec;

/// The image with its files. What the machine exports stands before what was uploaded.
pub(super) fn find(machine: &Machine, cache: &Cache, image: &str) -> Result<ImageExport, HypervisorError> {
    if let Some(export) = machine.images.iter().find(|export| export.name == image) {
        return Ok(export.clone());
    }
    cache.find(image)?.ok_or_else(|| HypervisorError::NoImage(image.to_owned()))
}

/// The disk of an image, block by block, which must have been made ready.
pub(super) fn raw_disk(cache: &Cache, image: &ImageExport) -> Result<PathBuf, HypervisorError> {
    let what = format!("the disk of the image `{}`", image.name);
    existing(&image.disk, &what)?;
    match image.format {
        DiskFormat::Raw => Ok(image.disk.clone()),
        DiskFormat::Qcow2 => {
            let raw = cache.raw_file(&image.disk)?;
            if raw.is_file() { Ok(raw) } else { Err(HypervisorError::NoImage(image.name.clone())) }
        }
    }
}

/// What a domain boots: the kernel its pool names, the image's, or the machine's boot loader.
pub(super) fn boot_files(
    machine: &Machine,
    image: &ImageExport,
    spec: &DomainSpec,
) -> Result<BootFiles, HypervisorError> {
    const OPERATION: &str = "choosing the kernel";
    let (boot, name) = (&spec.boot, &image.name);
    let kernel = match &boot.kernel {
        Some(kernel) => Some(exported(&machine.kernels, "kernel", kernel)?),
        None => image.kernel.clone(),
    };
    let Some(kernel) = kernel else {
        let Some(loader) = &machine.boot_loader else {
            let reason = format!(
                "the image `{name}` has no kernel, and this host has no boot loader; name one of its kernels in the \
                 pool ({}), or let the host's owner install `grub-xen-host` and export its boot loader",
                listed(&names(&machine.kernels))
            );
            return Err(refused(OPERATION, reason));
        };
        if boot.ramdisk.is_some() || !boot.kernel_args.is_empty() {
            let reason = format!(
                "the image `{name}` boots by itself, with the kernel, ramdisk and arguments that it holds; name a \
                 kernel too ({}), or leave ramdisk and arguments out",
                listed(&names(&machine.kernels))
            );
            return Err(refused(OPERATION, reason));
        }
        let kernel = existing(loader, "the boot loader of this host")?;
        return Ok(BootFiles { kernel, ramdisk: None, arguments: image.kernel_args.clone() });
    };
    let kernel = existing(&kernel, "the kernel")?;
    let ramdisk = match &boot.ramdisk {
        Some(ramdisk) => Some(exported(&machine.ramdisks, "ramdisk", ramdisk)?),
        None => image.ramdisk.clone(),
    };
    let ramdisk = ramdisk.map(|ramdisk| existing(&ramdisk, "the ramdisk")).transpose()?;
    let arguments = image.kernel_args.iter().chain(&boot.kernel_args).cloned().collect();
    Ok(BootFiles { kernel, ramdisk, arguments })
}

fn exported(exports: &[FileExport], what: &str, name: &str) -> Result<PathBuf, HypervisorError> {
    let found = exports.iter().find(|export| export.name == name).map(|export| export.path.clone());
    found.ok_or_else(|| {
        let reason = format!("this host exports no {what} `{name}`; it exports: {}", listed(&names(exports)));
        refused(format!("choosing the {what}"), reason)
    })
}

fn names(exports: &[FileExport]) -> Vec<&str> {
    exports.iter().map(|export| export.name.as_str()).collect()
}

/// The file, which must be there.
pub(super) fn existing(path: &Path, what: &str) -> Result<PathBuf, HypervisorError> {
    if path.exists() && !path.is_dir() {
        return Ok(path.to_owned());
    }
    let reason = format!("{what} is not there: {}; the host's owner must correct its exports", path.display());
    // Trying again does not bring it back.
    Err(refused("looking for what the domain needs", reason))
}
