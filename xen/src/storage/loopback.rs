//! Volumes that are files, each behind a loop device while its domain is attached.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use super::command::Command;
use super::failed;
use super::folder::{make_folder, remove_file, sync_folder};
use crate::hypervisor::HypervisorError;

/// Of a file system, this stays free: a machine whose disk is full cannot even write its records.
const RESERVE_BYTES_MAX: u64 = 1 << 30;

/// The file of a volume.
pub(super) fn file(directory: &Path, domain: &str, volume: &str) -> PathBuf {
    directory.join(domain).join(format!("{volume}.raw"))
}

/// Bytes that new files may take on the file system of a folder, and the file system's number.
pub(super) fn free_bytes(directory: &Path) -> Result<(u64, u64), HypervisorError> {
    make_folder(directory)?;
    let wrong =
        |error: io::Error| failed("looking at a folder for volumes", format!("{}: {error}", directory.display()));
    let space = rustix::fs::statvfs(directory).map_err(|error| wrong(error.into()))?;
    let device = fs::metadata(directory).map_err(wrong)?.dev();
    let reserve = space.f_blocks.saturating_mul(space.f_frsize).div_ceil(20).min(RESERVE_BYTES_MAX);
    Ok((space.f_bavail.saturating_mul(space.f_frsize).saturating_sub(reserve), device))
}

/// What is promised to a file of `size_bytes` and not yet taken of the disk.
pub(super) fn promised_bytes(file: &Path, size_bytes: u64) -> u64 {
    // `blocks` counts 512 bytes each, whatever the file system.
    fs::metadata(file).map_or(size_bytes, |file| size_bytes.saturating_sub(file.blocks().saturating_mul(512)))
}

/// A file of this size exists and is blank; its space is taken now where the file system can. Whatever had its name
/// before is gone.
pub(super) fn allocate(path: &Path, size_bytes: u64) -> Result<(), HypervisorError> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    make_folder(folder)?;
    delete(path)?;
    make_folder(folder)?;
    let wrong = |error: io::Error| failed("making a volume", format!("{}: {error}", path.display()));
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(wrong)?;
    let made = extend(&file, 0, size_bytes).and_then(|()| file.sync_all()).and_then(|()| sync_folder(folder));
    made.map_err(|error| {
        // The error that matters is the first.
        let _ = delete(path);
        wrong(error)
    })
}

/// What a volume has.
pub(super) fn size_bytes(path: &Path) -> Result<u64, HypervisorError> {
    let wrong = |error: io::Error| failed("looking for a volume", format!("{}: {error}", path.display()));
    Ok(fs::metadata(path).map_err(wrong)?.len())
}

/// The file has this size, and what it got is blank. A loop device on it has the size too.
pub(super) fn grow(path: &Path, size_bytes: u64) -> Result<(), HypervisorError> {
    let wrong = |error: io::Error| failed("growing a volume", format!("{}: {error}", path.display()));
    let file = OpenOptions::new().write(true).open(path).map_err(wrong)?;
    let before = file.metadata().map_err(wrong)?.len();
    if before < size_bytes {
        let grown = extend(&file, before, size_bytes).and_then(|()| file.sync_all());
        grown.map_err(|error| {
            // Nothing was in the part that is cut off again.
            let _ = file.set_len(before);
            wrong(error)
        })?;
    }
    for device in devices(path)? {
        Command::new("losetup").arg("--set-capacity").arg(&device).run("growing a loop device")?;
    }
    Ok(())
}

fn extend(file: &File, from: u64, to: u64) -> io::Result<()> {
    match fallocate(file, FallocateFlags::empty(), from, to - from) {
        Ok(()) => Ok(()),
        // Then the space is only counted, not taken.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => file.set_len(to),
        Err(error) => Err(error.into()),
    }
}

/// The file is gone, with the folder of its domain where nothing else is in it. True where it was there.
pub(super) fn delete(path: &Path) -> Result<bool, HypervisorError> {
    detach(path)?;
    let was_there = remove_file(path)?;
    if let Some(folder) = path.parent() {
        // It stays while there are other volumes in it.
        let _ = fs::remove_dir(folder);
        if let Some(directory) = folder.parent() {
            // A folder that never was needs no sync.
            let _ = sync_folder(directory);
        }
    }
    Ok(was_there)
}

/// The loop device of a file, made where there is none.
pub(super) fn attach(path: &Path, is_read_only: bool) -> Result<PathBuf, HypervisorError> {
    if let Some(device) = devices(path)?.into_iter().next() {
        return Ok(device);
    }
    let losetup = |direct: &str| {
        let command = Command::new("losetup").args(["--find", "--show", direct]);
        let command = if is_read_only { command.arg("--read-only") } else { command };
        command.arg(path).run("attaching a file to a loop device")
    };
    // Without direct input and output, everything would be in the control domain's memory a second time. Some file
    // systems cannot.
    let device = losetup("--direct-io=on").or_else(|_| losetup("--direct-io=off")).map_err(|error| match error {
        HypervisorError::Failed { operation, reason } => {
            let reason = format!("{reason} ({}; is the kernel's module `loop` there?)", path.display());
            HypervisorError::Failed { operation, reason }
        }
        other => other,
    })?;
    Ok(PathBuf::from(device.trim()))
}

/// Whether a loop device is on the file.
pub(super) fn is_attached(path: &Path) -> Result<bool, HypervisorError> {
    Ok(!devices(path)?.is_empty())
}

/// No loop device is on the file.
pub(super) fn detach(path: &Path) -> Result<(), HypervisorError> {
    for device in devices(path)? {
        Command::new("losetup").arg("--detach").arg(&device).run("detaching a loop device")?;
    }
    Ok(())
}

/// The loop devices on a file, also on one that was removed or replaced since.
fn devices(path: &Path) -> Result<Vec<PathBuf>, HypervisorError> {
    let wrong = |error: io::Error| failed("looking for loop devices", error.to_string());
    // The kernel tells the path without symbolic links.
    let folder = match path.parent().map(fs::canonicalize) {
        Some(Ok(folder)) => folder,
        _ => return Ok(Vec::new()),
    };
    let whole = folder.join(path.file_name().unwrap_or_default());
    let (whole, removed) = (whole.display().to_string(), format!("{} (deleted)", whole.display()));
    let file = fs::metadata(path).ok();
    let mut devices = Vec::new();
    let entries = match fs::read_dir("/sys/block") {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(devices),
        Err(error) => return Err(wrong(error)),
    };
    for entry in entries {
        let entry = entry.map_err(wrong)?;
        // Most of them have no file.
        let Ok(backing) = fs::read_to_string(entry.path().join("loop/backing_file")) else { continue };
        let (backing, device) = (backing.trim_end_matches('\n'), Path::new("/dev").join(entry.file_name()));
        if backing == whole || backing == removed {
            devices.push(device);
        } else if let Some(file) = &file
            // Who attached it may have seen another root: a service whose sandbox has ended since.
            && whole.ends_with(backing)
            && is_on(&device, file)?
        {
            devices.push(device);
        }
    }
    devices.sort();
    Ok(devices)
}

/// True where a loop device is on this very file, whatever it is called.
fn is_on(device: &Path, file: &fs::Metadata) -> Result<bool, HypervisorError> {
    let columns = ["--noheadings", "--output", "BACK-INO,BACK-MAJ:MIN"];
    let told = Command::new("losetup").args(columns).arg(device).run("looking at a loop device")?;
    let disk = format!("{}:{}", rustix::fs::major(file.dev()), rustix::fs::minor(file.dev()));
    Ok(told.split_whitespace().eq([file.ino().to_string(), disk]))
}
