//! The blocks of a volume while nobody writes them. The domain is looked at after every piece: where it ran meanwhile, what
//! was read is of no use, and reading ends with an error. Nothing is locked, so that a slow reader is in nobody's way.

use std::io::{self, Read};

use tycoon_market::TimeSpan;

use crate::hypervisor::HypervisorError;
use crate::save::VolumeStream;
use crate::status::{DomainState, DomainStatus};

/// What is being done, for errors.
const READING: &str = "reading a volume";
/// What is read between two looks at the domain, in bytes.
const PIECE_BYTES: usize = 4 << 20;
/// How much of a foreign name is shown.
const SHOWN_MAX: usize = 80;

/// Where a driver has its domains and their blocks.
pub(crate) trait Blocks: Send {
    /// The domain as it is.
    fn domain(&self) -> Result<Option<DomainStatus>, HypervisorError>;

    /// Reads of the volume at `offset`; how many bytes were read.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, HypervisorError>;
}

/// The blocks of the volume `volume` of the domain `name`.
pub(crate) fn open(blocks: impl Blocks + 'static, name: &str, volume: &str) -> Result<VolumeStream, HypervisorError> {
    let shown = |text: &str| -> String { text.chars().take(SHOWN_MAX).collect() };
    let domain = blocks.domain()?.ok_or_else(|| HypervisorError::NoDomain(shown(name)))?;
    if domain.ownership.is_none() {
        return Err(HypervisorError::NameTaken(shown(name)));
    }
    let size = domain.volumes.iter().find(|(has, _)| has == volume).map(|(_, bytes)| *bytes);
    let bytes = size.ok_or_else(|| refused(format!("`{name}` has no volume {:?}", shown(volume))))?;
    let quiet = Quiet::of(&domain)?;
    let content = QuietVolume {
        blocks: Box::new(blocks),
        volume: volume.to_owned(),
        bytes,
        quiet,
        offset: 0,
        piece: Vec::new(),
        used: 0,
    };
    Ok(VolumeStream { bytes, content: Box::new(content) })
}

fn refused(reason: String) -> HypervisorError {
    HypervisorError::Refused { operation: READING.into(), reason }
}

/// What stays as it is while a domain writes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Quiet {
    is_suspended: bool,
    /// It grows with every run.
    cpu_time: TimeSpan,
}

impl Quiet {
    fn of(domain: &DomainStatus) -> Result<Self, HypervisorError> {
        match domain.state {
            DomainState::Stopped | DomainState::Crashed | DomainState::Paused => {
                Ok(Self { is_suspended: domain.state == DomainState::Paused, cpu_time: domain.cpu_time })
            }
            state => Err(refused(format!(
                "the domain `{}` is {}, and what it writes meanwhile would be half there; suspend it or shut it down first",
                domain.name,
                state.word()
            ))),
        }
    }
}

struct QuietVolume {
    blocks: Box<dyn Blocks>,
    volume: String,
    bytes: u64,
    quiet: Quiet,
    /// Up to where it was read.
    offset: u64,
    piece: Vec<u8>,
    used: usize,
}

impl QuietVolume {
    fn fill(&mut self) -> Result<(), HypervisorError> {
        let left = usize::try_from(self.bytes - self.offset).unwrap_or(usize::MAX);
        self.piece.resize(left.min(PIECE_BYTES), 0);
        self.used = 0;
        let count = self.blocks.read_at(self.offset, &mut self.piece);
        // Where it is gone, that is the reason for whatever else is wrong.
        self.check()?;
        let count = count?;
        if count == 0 {
            return Err(failed(format!("the volume ends after {} of {} bytes", self.offset, self.bytes)));
        }
        self.piece.truncate(count);
        self.offset += count as u64;
        Ok(())
    }

    fn check(&self) -> Result<(), HypervisorError> {
        let now = self.blocks.domain()?.ok_or_else(|| failed("the domain was removed meanwhile".to_owned()))?;
        let has_it = now.volumes.iter().any(|(name, bytes)| *name == self.volume && *bytes >= self.bytes);
        if !has_it || Quiet::of(&now).ok() != Some(self.quiet) {
            let reason = format!("the domain `{}` was run or changed meanwhile; save it again", now.name);
            return Err(failed(reason));
        }
        Ok(())
    }
}

fn failed(reason: String) -> HypervisorError {
    HypervisorError::Failed { operation: READING.into(), reason }
}

impl Read for QuietVolume {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.used == self.piece.len() {
            if self.offset == self.bytes {
                return Ok(0);
            }
            self.fill().map_err(|error| {
                // Nothing half read is told as whole by the next call.
                self.piece.clear();
                self.used = 0;
                io::Error::other(error)
            })?;
        }
        let count = buffer.len().min(self.piece.len() - self.used);
        buffer[..count].copy_from_slice(&self.piece[self.used..self.used + count]);
        self.used += count;
        Ok(count)
    }
}
