//! What is written to a fresh volume: nothing (so that no domain reads what another one left), an image, a file system.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use super::command::{Command, Interrupt};
use super::{failed, refused};
use crate::hypervisor::HypervisorError;
use crate::spec::Filesystem;

/// What is written between two looks at the interrupt.
const COPY_BYTES: usize = 1 << 20;
/// What the kernel is asked to write zeros over at once.
const BLANK_BYTES: u64 = 256 << 20;
/// How long making a file system may take.
const MKFS_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// Writes zeros over a part of a block device, or of a file. Devices that can do it by themselves do.
pub(super) fn blank(target: &Path, from: u64, to: u64, interrupt: &Interrupt) -> Result<(), HypervisorError> {
    let wrong = |error: io::Error| failed("blanking a volume", format!("{}: {error}", target.display()));
    let device = OpenOptions::new().write(true).open(target).map_err(wrong)?;
    let mut begin = from;
    while begin < to {
        check(interrupt, "blanking a volume")?;
        let part = (to - begin).min(BLANK_BYTES);
        // On a block device the kernel writes the zeros itself where the device cannot, and needs no program for it.
        match fallocate(&device, FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE, begin, part) {
            Ok(()) => {}
            Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) => zeros(&device, begin, part).map_err(wrong)?,
            Err(error) => return Err(wrong(error.into())),
        }
        begin += part;
    }
    device.sync_all().map_err(wrong)
}

fn zeros(device: &File, from: u64, length: u64) -> io::Result<()> {
    let block = vec![0; COPY_BYTES];
    let mut done = 0;
    while done < length {
        let part = (length - done).min(COPY_BYTES as u64);
        device.write_all_at(&block[..part as usize], from + done)?;
        done += part;
    }
    Ok(())
}

/// Copies an image that is written block by block to a blank volume of `size_bytes`. Blocks of zeros are left out.
pub(super) fn copy_image(
    image: &Path,
    target: &Path,
    size_bytes: u64,
    interrupt: &Interrupt,
) -> Result<(), HypervisorError> {
    const OPERATION: &str = "copying the image";
    let reading = |error: io::Error| failed(OPERATION, format!("reading {}: {error}", image.display()));
    let writing = |error: io::Error| failed(OPERATION, format!("writing {}: {error}", target.display()));
    let mut source = File::open(image).map_err(reading)?;
    // The end of a block device is found by going there.
    let length = source.seek(SeekFrom::End(0)).map_err(reading)?;
    if length > size_bytes {
        return Err(refused("making the root volume", too_small(length, size_bytes)));
    }
    source.rewind().map_err(reading)?;
    let volume = OpenOptions::new().write(true).open(target).map_err(writing)?;
    let mut block = vec![0; COPY_BYTES];
    let mut place = 0;
    while place < length {
        check(interrupt, OPERATION)?;
        let part = &mut block[..(length - place).min(COPY_BYTES as u64) as usize];
        source.read_exact(part).map_err(reading)?;
        if part.iter().any(|byte| *byte != 0) {
            volume.write_all_at(part, place).map_err(writing)?;
        }
        place += part.len() as u64;
    }
    volume.sync_all().map_err(writing)
}

/// Why an image does not fit.
pub(super) fn too_small(image_bytes: u64, size_bytes: u64) -> String {
    const MIB: u64 = 1 << 20;
    let (needed, asked) = (image_bytes.div_ceil(MIB), size_bytes / MIB);
    format!("the image has {needed} MiB, and the root volume would have {asked} MiB; ask for {needed} MiB or more")
}

/// Makes a file system on a fresh volume, a device or a file. Its label is the volume's name where that is short enough.
pub(super) fn make_filesystem(
    filesystem: Filesystem,
    name: &str,
    target: &Path,
    interrupt: &Interrupt,
) -> Result<(), HypervisorError> {
    // XFS takes the shortest labels.
    let label = (name.len() <= 12).then_some(name);
    let command = match filesystem {
        Filesystem::Ext4 => Command::new("mkfs.ext4").args(["-q", "-F"]),
        Filesystem::Xfs => Command::new("mkfs.xfs").args(["-q", "-f"]),
        Filesystem::Swap => Command::new("mkswap"),
    };
    let command =
        label.map_or(&[][..], |_| &["-L"]).iter().chain(&label).fold(command, |command, word| command.arg(word));
    let operation = format!("making {} on the volume `{name}`", filesystem.word());
    command.arg(target).timeout(MKFS_TIMEOUT).interrupt(interrupt).run(operation)?;
    Ok(())
}

fn check(interrupt: &Interrupt, operation: &'static str) -> Result<(), HypervisorError> {
    if interrupt.is_set() { Err(failed(operation, "it was interrupted".to_owned())) } else { Ok(()) }
}
