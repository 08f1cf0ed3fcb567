//! What client and host say to each other. Each message is one JSON value in a frame of its own.

use serde::{Deserialize, Serialize};
use tycoon_market::Timestamp;

use crate::hypervisor::{HostFacts, HypervisorError};
use crate::image::{FileDigest, ImageManifest, ImagePart, UploadState};
use crate::spec::{DomainSpec, Ownership};
use crate::status::{DomainStatus, Kept};

/// The newest version of the protocol that this program speaks.
pub const PROTOCOL_VERSION: u32 = 2;
/// The oldest version that it still speaks: the one before its own, where there was one.
pub const OLDEST_PROTOCOL_VERSION: u32 = 1;
/// The first version with which a host sends volumes, and keeps them as images.
pub const VOLUMES_SINCE: u32 = 2;

/// The first message in each direction. Later versions may add fields, and never take any away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The newest version of the protocol that the sender speaks.
    pub protocol: u32,
    /// The oldest version that it still speaks.
    pub oldest_protocol: u32,
    /// The sender's program and version, for people: `tycoon 0.1.0`.
    pub program: String,
}

impl Hello {
    /// What this program says.
    pub fn ours() -> Self {
        Self {
            protocol: PROTOCOL_VERSION,
            oldest_protocol: OLDEST_PROTOCOL_VERSION,
            program: concat!("tycoon ", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }

    /// The version that both sides speak, or why there is none.
    pub fn version_with(&self, other: &Self) -> Result<u32, String> {
        let version = self.protocol.min(other.protocol);
        if version >= self.oldest_protocol && version >= other.oldest_protocol {
            return Ok(version);
        }
        let program = other.program.chars().filter(|c| !c.is_control()).take(60).collect::<String>();
        let older = if self.protocol < other.protocol { "this side" } else { "the other side" };
        Err(format!(
            "here is {} with protocol {} to {}, there is {program} with protocol {} to {}; install a newer Tycoon on {older}",
            self.program, self.oldest_protocol, self.protocol, other.oldest_protocol, other.protocol
        ))
    }
}

/// What a client says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum FromClient {
    /// A call; the answer has the same id.
    Call {
        /// Its id, never used before in this stream.
        id: u64,
        /// What is asked.
        call: Call,
    },
    /// Are you there?
    Ping,
    /// This stream brings an image.
    Upload {
        /// What it is.
        manifest: Box<ImageManifest>,
    },
    /// The data that follows belongs to this file of the image.
    File {
        /// Which of its files.
        part: ImagePart,
        /// Where the data begins, in bytes: where what the host has ends.
        offset: u64,
    },
    /// All of the image has been sent.
    Complete,
    /// This stream becomes the console of a domain.
    Console {
        /// The hypervisor's name of the domain.
        name: String,
    },
    /// This stream brings the blocks of a volume to the client. Since protocol 2.
    Volume {
        /// The hypervisor's name of the domain.
        name: String,
        /// The volume.
        volume: String,
        /// The first block that is wanted, in bytes.
        offset: u64,
    },
    /// The blocks of a volume become the disk of an image of the client's on the host. Since protocol 2.
    KeepAsImage {
        /// The hypervisor's name of the domain.
        name: String,
        /// The volume.
        volume: String,
        /// The name of the image.
        image: String,
    },
}

/// What a host says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum FromHost {
    /// The answer to a call.
    Answer {
        /// The call's id.
        id: u64,
        /// What came out.
        result: Result<Reply, HypervisorError>,
    },
    /// I am here: the answer to a ping, and said from time to time where something takes long.
    Here,
    /// What was asked of the stream begins: the console is open.
    Opened,
    /// So much of the image is there.
    Have {
        /// How far the upload is.
        state: UploadState,
    },
    /// The image is there, whole and compared with its digests.
    Stored {
        /// False where it was there before.
        is_new: bool,
    },
    /// The console has ended, with its domain.
    Closed,
    /// The blocks of a volume follow, compressed by zstd.
    Blocks {
        /// The size of the volume in bytes.
        bytes: u64,
    },
    /// All blocks of a volume have been sent.
    Whole {
        /// The SHA-256 of the volume.
        sha256: FileDigest,
    },
    /// What was asked of the stream cannot be had.
    Refused {
        /// Why.
        error: HypervisorError,
    },
    /// The stream is ended.
    Fault(Fault),
}

/// Why a host ends a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// What is wrong, as a sentence.
    pub message: String,
}

/// What is asked of a hypervisor: its methods.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Call {
    /// [`crate::hypervisor::Hypervisor::facts`].
    Facts,
    /// [`crate::hypervisor::Hypervisor::domains`].
    Domains {
        /// The time.
        now: Timestamp,
    },
    /// [`crate::hypervisor::Hypervisor::domain`].
    Domain {
        /// The hypervisor's name of the domain.
        name: String,
        /// The time.
        now: Timestamp,
    },
    /// [`crate::hypervisor::Hypervisor::ensure_image`].
    EnsureImage {
        /// The name of the image.
        image: String,
    },
    /// [`crate::hypervisor::Hypervisor::ensure_volumes`].
    EnsureVolumes {
        /// What the domain should be.
        spec: Box<DomainSpec>,
        /// Whose it is.
        ownership: Box<Ownership>,
    },
    /// [`crate::hypervisor::Hypervisor::define`].
    Define {
        /// What the domain should be.
        spec: Box<DomainSpec>,
        /// Whose it is.
        ownership: Box<Ownership>,
        /// The time.
        now: Timestamp,
    },
    /// [`crate::hypervisor::Hypervisor::start`].
    Start {
        /// The hypervisor's name of the domain.
        name: String,
        /// The time.
        now: Timestamp,
    },
    /// [`crate::hypervisor::Hypervisor::stop`].
    Stop {
        /// The hypervisor's name of the domain.
        name: String,
        /// How long it may take to shut down by itself, in milliseconds.
        grace_ms: u64,
        /// The time.
        now: Timestamp,
    },
    /// [`crate::hypervisor::Hypervisor::suspend`].
    Suspend {
        /// The hypervisor's name of the domain.
        name: String,
        /// The time.
        now: Timestamp,
    },
    /// [`crate::hypervisor::Hypervisor::remove`].
    Remove {
        /// The hypervisor's name of the domain.
        name: String,
        /// The time.
        now: Timestamp,
    },
    /// [`crate::hypervisor::Hypervisor::keep`].
    Keep {
        /// The hypervisor's name of the domain.
        name: String,
        /// What stays of it.
        kept: Box<Kept>,
        /// The time.
        now: Timestamp,
    },
    /// [`crate::hypervisor::Hypervisor::listens`].
    Listens {
        /// The hypervisor's name of the domain.
        name: String,
        /// The TCP port.
        port: u16,
        /// The time.
        now: Timestamp,
    },
    /// [`crate::hypervisor::Hypervisor::set_cpu`].
    SetCpu {
        /// The hypervisor's name of the domain.
        name: String,
        /// The scheduler weight, 1 to 65535.
        weight: u16,
        /// The cap in percent of one CPU; 0 for none.
        cap_percent: u32,
        /// The time.
        now: Timestamp,
    },
    /// [`crate::hypervisor::Hypervisor::set_memory`].
    SetMemory {
        /// The hypervisor's name of the domain.
        name: String,
        /// Its memory in bytes.
        memory_bytes: u64,
        /// The time.
        now: Timestamp,
    },
}

impl Call {
    /// What is being done, for errors.
    pub const fn operation(&self) -> &'static str {
        match self {
            Self::Facts => "asking for the host's facts",
            Self::Domains { .. } => "listing the domains",
            Self::Domain { .. } => "looking at the domain",
            Self::EnsureImage { .. } => "fetching the image",
            Self::EnsureVolumes { .. } => "making volumes",
            Self::Define { .. } => "defining the domain",
            Self::Start { .. } => "starting the domain",
            Self::Stop { .. } => "stopping the domain",
            Self::Suspend { .. } => "suspending the domain",
            Self::Remove { .. } => "removing the domain",
            Self::Keep { .. } => "keeping volumes of the domain",
            Self::Listens { .. } => "looking whether the domain listens",
            Self::SetCpu { .. } => "setting the CPU weight",
            Self::SetMemory { .. } => "setting the memory",
        }
    }
}

/// What a hypervisor answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Reply {
    /// The host's facts.
    Facts(HostFacts),
    /// All domains.
    Domains(Vec<DomainStatus>),
    /// One domain, where it exists.
    Domain(Box<Option<DomainStatus>>),
    /// It is as asked; true where something had to be done.
    Ensured(bool),
    /// It is done.
    Done,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(oldest_protocol: u32, protocol: u32) -> Hello {
        Hello { protocol, oldest_protocol, program: format!("tycoon 0.{protocol}.0") }
    }

    #[test]
    fn both_sides_agree_on_the_newest_version_they_share() {
        assert_eq!(hello(1, 1).version_with(&hello(1, 1)), Ok(1));
        assert_eq!(hello(2, 3).version_with(&hello(1, 2)), Ok(2));
        assert_eq!(hello(1, 2).version_with(&hello(2, 3)), Ok(2));
    }

    #[test]
    fn who_is_too_old_is_said_with_both_versions() {
        let message = hello(1, 2).version_with(&hello(3, 4)).unwrap_err();
        assert_eq!(
            message,
            "here is tycoon 0.2.0 with protocol 1 to 2, there is tycoon 0.4.0 with protocol 3 to 4; \
             install a newer Tycoon on this side"
        );
        let message = hello(3, 4).version_with(&hello(1, 2)).unwrap_err();
        assert!(message.ends_with("install a newer Tycoon on the other side"), "{message}");
    }
}
