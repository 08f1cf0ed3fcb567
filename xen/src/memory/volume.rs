//! The blocks of a simulated volume. A root volume begins as the image that its owner has brought, where that is still there;
//! any other says what it is, and is blank.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex, PoisonError};

use super::Inner;
use crate::hypervisor::HypervisorError;
use crate::quiet_volume::Blocks;
use crate::status::DomainStatus;

/// A volume of a simulated domain.
pub(super) struct SimulatedVolume {
    inner: Arc<Mutex<Inner>>,
    name: String,
    volume: String,
    image: Option<File>,
}

impl SimulatedVolume {
    pub(super) fn new(inner: &Arc<Mutex<Inner>>, name: &str, volume: &str, image: Option<File>) -> Self {
        Self { inner: inner.clone(), name: name.to_owned(), volume: volume.to_owned(), image }
    }

    fn size_bytes(&self) -> Result<u64, HypervisorError> {
        let domain = self.domain()?.ok_or_else(|| HypervisorError::NoDomain(self.name.clone()))?;
        let found = domain.volumes.iter().find(|(name, _)| *name == self.volume);
        found.map(|(_, bytes)| *bytes).ok_or_else(|| failed(format!("`{}` has no volume `{}`", self.name, self.volume)))
    }
}

fn failed(reason: String) -> HypervisorError {
    HypervisorError::Failed { operation: "reading a volume".into(), reason }
}

impl Blocks for SimulatedVolume {
    fn domain(&self) -> Result<Option<DomainStatus>, HypervisorError> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(inner.live.domains.get(&self.name).map(|domain| domain.status(&self.name)))
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, HypervisorError> {
        let left = usize::try_from(self.size_bytes()?.saturating_sub(offset)).unwrap_or(usize::MAX);
        let count = left.min(buffer.len());
        let wanted = &mut buffer[..count];
        let filled = match &self.image {
            Some(image) => read(image, offset, wanted).map_err(|error| failed(error.to_string()))?,
            None => {
                let words = format!("volume {} of {}, which is simulated\n", self.volume, self.name);
                let words = words.as_bytes().get(usize::try_from(offset).unwrap_or(usize::MAX)..).unwrap_or_default();
                let shown = words.len().min(wanted.len());
                wanted[..shown].copy_from_slice(&words[..shown]);
                shown
            }
        };
        wanted[filled..].fill(0);
        Ok(count)
    }
}

/// What the file has at `offset`; how many bytes that are.
fn read(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}
