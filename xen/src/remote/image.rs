//! Images on their way to a host: what is sent, and who receives it.

use serde::{Deserialize, Serialize};

use crate::hypervisor::HypervisorError;
use crate::machine::DiskFormat;

/// The longest name of an image, in bytes.
const NAME_BYTES_MAX: usize = 128;
/// The longest kernel command line of an image, in bytes.
const ARGUMENTS_BYTES_MAX: usize = 4 << 10;

/// What an image is. Two images with the same files are the same, whatever they are called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageManifest {
    /// The name pools use.
    pub name: String,
    /// How the disk is written.
    pub format: DiskFormat,
    /// What root volumes are made from.
    pub disk: ImageFile,
    /// The kernel it boots; the machine's boot loader where there is none.
    pub kernel: Option<ImageFile>,
    /// The ramdisk it boots with.
    pub ramdisk: Option<ImageFile>,
    /// Arguments of its kernel, before those of a pool.
    pub kernel_args: Vec<String>,
}

/// A file of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageFile {
    /// Its length in bytes.
    pub bytes: u64,
    /// The SHA-256 digest of its content: 64 hexadecimal digits, small letters.
    pub sha256: String,
}

impl ImageManifest {
    /// Its files in the order in which they are sent: disk, kernel, ramdisk.
    pub fn files(&self) -> Vec<&ImageFile> {
        [Some(&self.disk), self.kernel.as_ref(), self.ramdisk.as_ref()].into_iter().flatten().collect()
    }

    /// The length of all files in bytes.
    pub fn bytes(&self) -> u64 {
        self.files().into_iter().fold(0, |sum, file| sum.saturating_add(file.bytes))
    }

    /// Whether it can be an image at all: what comes from elsewhere is asked this before anything is done with it.
    pub fn check(&self) -> Result<(), HypervisorError> {
        let refused = |reason: String| HypervisorError::Refused { operation: "receiving an image".into(), reason };
        let is_name_byte = |b: u8| b.is_ascii_alphanumeric() || b"-_.:+@".contains(&b);
        let is_name = !self.name.is_empty()
            && self.name.len() <= NAME_BYTES_MAX
            && self.name.bytes().all(is_name_byte)
            && !self.name.starts_with(['.', '-']);
        if !is_name {
            let shown: String = self.name.chars().filter(|c| !c.is_control()).take(60).collect();
            return Err(refused(format!(
                "`{shown}` is no name of an image: use 1 to {NAME_BYTES_MAX} letters, digits and `-_.:+@`"
            )));
        }
        let is_digest =
            |text: &str| text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if self.files().iter().any(|file| !is_digest(&file.sha256)) {
            return Err(refused(format!("a digest of the image `{}` is no SHA-256 digest", self.name)));
        }
        if self.disk.bytes == 0 {
            return Err(refused(format!("the disk of the image `{}` is empty", self.name)));
        }
        let arguments: usize = self.kernel_args.iter().map(|argument| argument.len() + 1).sum();
        if arguments > ARGUMENTS_BYTES_MAX || self.kernel_args.iter().any(|arg| arg.chars().any(char::is_control)) {
            return Err(refused(format!(
                "the kernel arguments of the image `{}` are longer than {ARGUMENTS_BYTES_MAX} bytes, or hold control \
                 characters",
                self.name
            )));
        }
        Ok(())
    }
}

/// Takes images in on a host.
pub trait ImageReceiver: Send + Sync {
    /// Begins to receive an image, or goes on where the last attempt ended; none where it is all there, under this name.
    /// The manifest was checked.
    fn receive(&self, manifest: &ImageManifest) -> Result<Option<Box<dyn IncomingImage>>, HypervisorError>;
}

/// An image that is being received. Dropping it keeps what has come, so that another attempt can go on.
pub trait IncomingImage: Send {
    /// How much of each file is there, in bytes, in the order of [`ImageManifest::files`].
    fn received(&self) -> Vec<u64>;

    /// Adds to the end of a file. Never more than the manifest says.
    fn append(&mut self, file: usize, content: &[u8]) -> Result<(), HypervisorError>;

    /// All is there: compares the digests and puts the image into the cache. Where a digest is wrong, what has come of
    /// that file is dropped, so that another attempt starts anew.
    fn finish(self: Box<Self>) -> Result<(), HypervisorError>;
}
