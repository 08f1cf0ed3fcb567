//! Root volumes that share with their image what they have not changed: files in QEMU's format over a file of the
//! image, each behind a network block device (`nbd`) of this host while its domain is attached. The file of the image is
//! in the store itself, so that nothing that becomes of the image later reaches a volume.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::command::{Command, Interrupt};
use super::fill::too_small;
use super::folder::{Locks, make_folder, remove_file, sync_folder};
use super::{blocks, failed, loopback, qcow2_blocks, refused};
use crate::hypervisor::HypervisorError;

/// The folder of images in a store. No domain has this name.
const BASES: &str = ".images";
/// The lock of what is done to network block devices.
const LOCK: &str = "nbd";
/// How long a device may take to come or go.
const DEVICE_WAIT: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(20);

/// The file of a volume.
pub(super) fn file(directory: &Path, domain: &str, volume: &str) -> PathBuf {
    directory.join(domain).join(format!("{volume}.qcow2"))
}

/// The file of an image in a store; `key` is another one for another content.
pub(super) fn base(directory: &Path, key: &str) -> PathBuf {
    directory.join(BASES).join(key)
}

/// The volume exists, blank but for what it shares with `image`, the disk of the image block by block.
pub(super) fn make(
    file: &Path,
    base: &Path,
    image: &Path,
    size_bytes: u64,
    interrupt: &Interrupt,
) -> Result<(), HypervisorError> {
    const OPERATION: &str = "making the root volume";
    let wrong = |path: &Path, error: io::Error| failed(OPERATION, format!("{}: {error}", path.display()));
    let image_bytes = fs::metadata(image).map_err(|error| wrong(image, error))?.len();
    if image_bytes > size_bytes {
        return Err(refused(OPERATION, too_small(image_bytes, size_bytes)));
    }
    let folder = base.parent().unwrap_or(Path::new("/"));
    make_folder(folder)?;
    if !base.exists() {
        // A copy of its own: the image's file may be replaced, and would take the volume with it.
        let half = tempfile::Builder::new().prefix(".new-").tempfile_in(folder).map_err(|error| wrong(base, error))?;
        half.as_file().set_len(image_bytes).map_err(|error| wrong(base, error))?;
        super::fill::copy_image(image, half.path(), image_bytes, interrupt)?;
        half.persist(base).map_err(|error| wrong(base, error.error))?;
        sync_folder(folder).map_err(|error| wrong(base, error))?;
    }
    make_folder(file.parent().unwrap_or(Path::new("/")))?;
    Command::new("qemu-img")
        .args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"])
        .args([base, file])
        .arg(size_bytes.to_string())
        .run(OPERATION)?;
    let sync = File::open(file).and_then(|file| file.sync_all());
    sync.map_err(|error| wrong(file, error))
}

/// What a volume has.
pub(super) fn size_bytes(file: &Path) -> Result<u64, HypervisorError> {
    let wrong = |error: io::Error| failed("looking for a volume", format!("{}: {error}", file.display()));
    // Where the format has the size of the disk (QEMU's docs/interop/qcow2.txt).
    let mut header = [0; 32];
    File::open(file).and_then(|mut file| file.read_exact(&mut header)).map_err(wrong)?;
    let [.., a, b, c, d, e, f, g, h] = header;
    Ok(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
}

/// The volume has at least this size.
pub(super) fn grow(file: &Path, to_bytes: u64) -> Result<(), HypervisorError> {
    const OPERATION: &str = "growing a volume";
    if size_bytes(file)? >= to_bytes {
        return Ok(());
    }
    if device_of(file)?.is_some() {
        let reason =
            "it shares its image (copy-on-write) and is in use; such a volume grows while its domain is stopped";
        return Err(failed(OPERATION, reason.to_owned()));
    }
    Command::new("qemu-img")
        .args(["resize", "-q", "-f", "qcow2"])
        .arg(file)
        .arg(to_bytes.to_string())
        .run(OPERATION)?;
    Ok(())
}

/// The file is gone. True where it was there.
pub(super) fn delete(file: &Path) -> Result<bool, HypervisorError> {
    detach(file)?;
    loopback::delete(file)
}

/// Removes the images in a store that no volume is over. `used` are those that volumes have or are to have.
pub(super) fn remove_unused(directory: &Path, used: &[&Path]) -> Result<(), HypervisorError> {
    let folder = directory.join(BASES);
    // Most stores have none.
    for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if !used.contains(&path.as_path()) {
            remove_file(&path)?;
        }
    }
    // It stays while there are others in it.
    let _ = fs::remove_dir(&folder);
    Ok(())
}

/// Reads of a volume at `offset`, which ends within it. While its domain is there, the server of its device knows more than
/// the file.
pub(super) fn read(file: &Path, base: &Path, offset: u64, buffer: &mut [u8]) -> Result<(), HypervisorError> {
    match device_of(file)? {
        Some(device) => blocks::of_device(&device, offset, buffer),
        None => qcow2_blocks::read(file, base, offset, buffer),
    }
}

/// The device of a volume, made where there is none.
pub(super) fn attach(locks: &Locks, file: &Path) -> Result<PathBuf, HypervisorError> {
    const OPERATION: &str = "attaching a copy-on-write volume";
    let _devices = locks.hold(LOCK)?;
    if let Some(device) = device_of(file)? {
        return Ok(device);
    }
    size_bytes(file)?;
    if !Path::new("/sys/block/nbd0").exists() {
        let loaded = Command::new("modprobe").arg("nbd").run(OPERATION);
        if loaded.is_err() || !Path::new("/sys/block/nbd0").exists() {
            let reason =
                "it needs network block devices, and this kernel has no module `nbd`; leave `copy-on-write` out";
            return Err(refused(OPERATION, reason.to_owned()));
        }
    }
    let device = devices().into_iter().find(|device| owner(device).is_none()).ok_or_else(|| {
        let reason = "all network block devices are in use; load the module with more (`modprobe nbd nbds_max=64`)";
        failed(OPERATION, reason.to_owned())
    })?;
    let connect = |cache: &str| {
        Command::new("qemu-nbd")
            .args(["--format=qcow2", "--discard=unmap", cache])
            .arg(format!("--connect={}", device.display()))
            .arg(file)
            .run(OPERATION)
    };
    // Not every file system can do without a second copy in memory.
    connect("--cache=none").or_else(|_| connect("--cache=writeback"))?;
    wait(OPERATION, || device_of(file).is_ok_and(|found| found.is_some()) && sectors(&device) > 0)?;
    Ok(device)
}

/// No device is on the volume.
pub(super) fn detach(file: &Path) -> Result<(), HypervisorError> {
    const OPERATION: &str = "detaching a copy-on-write volume";
    let Some(device) = device_of(file)? else { return Ok(()) };
    Command::new("qemu-nbd").arg("--disconnect").arg(&device).run(OPERATION)?;
    wait(OPERATION, || device_of(file).is_ok_and(|found| found.is_none()))
}

fn wait(operation: &'static str, is_done: impl Fn() -> bool) -> Result<(), HypervisorError> {
    let begin = Instant::now();
    while !is_done() {
        if begin.elapsed() > DEVICE_WAIT {
            let seconds = DEVICE_WAIT.as_secs();
            return Err(failed(operation, format!("the device did not come or go within {seconds} s")));
        }
        thread::sleep(PAUSE);
    }
    Ok(())
}

/// The device whose server has this file.
fn device_of(file: &Path) -> Result<Option<PathBuf>, HypervisorError> {
    let is_of_file = |device: &PathBuf| {
        let arguments = owner(device).and_then(|owner| fs::read(format!("/proc/{owner}/cmdline")).ok());
        arguments.is_some_and(|all| all.split(|byte| *byte == 0).any(|word| word == file.as_os_str().as_bytes()))
    };
    Ok(devices().into_iter().find(is_of_file))
}

/// The network block devices of this host.
fn devices() -> Vec<PathBuf> {
    let number = |entry: &fs::DirEntry| entry.file_name().to_str()?.strip_prefix("nbd")?.parse::<u32>().ok();
    let entries = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let mut numbers: Vec<u32> = entries.filter_map(|entry| number(&entry)).collect();
    numbers.sort_unstable();
    numbers.into_iter().map(|number| PathBuf::from(format!("/dev/nbd{number}"))).collect()
}

fn about(device: &Path, what: &str) -> Option<u64> {
    let path = Path::new("/sys/block").join(device.file_name()?).join(what);
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The process that serves a device.
fn owner(device: &Path) -> Option<u64> {
    about(device, "pid")
}

fn sectors(device: &Path) -> u64 {
    about(device, "size").unwrap_or(0)
}
