//! The blocks of a volume as they are. Nobody looks at what they mean.

use std::fs::File;
use std::io;
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use rustix::fs::{Advice, fadvise};

use super::failed;
use crate::hypervisor::HypervisorError;

/// What is being done, for errors.
pub(super) const READING: &str = "reading a volume";

/// Reads of a file, which has the bytes.
pub(super) fn of_file(path: &Path, offset: u64, buffer: &mut [u8]) -> Result<(), HypervisorError> {
    let read = File::open(path).and_then(|file| file.read_exact_at(buffer, offset));
    read.map_err(|error| wrong(path, &error))
}

/// Reads of a block device, which has the bytes. A domain writes past the memory of the control domain, in which blocks may be
/// as they were when they were last read here: those are forgotten first.
pub(super) fn of_device(path: &Path, offset: u64, buffer: &mut [u8]) -> Result<(), HypervisorError> {
    let mut read = || -> io::Result<()> {
        let device = File::open(path)?;
        fadvise(&device, offset, NonZeroU64::new(buffer.len() as u64), Advice::DontNeed)?;
        device.read_exact_at(buffer, offset)
    };
    read().map_err(|error| wrong(path, &error))
}

/// An error of a file, as the host tells it.
pub(super) fn wrong(path: &Path, error: &io::Error) -> HypervisorError {
    failed(READING, format!("{}: {error}", path.display()))
}
