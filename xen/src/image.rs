//! An image as it is uploaded to a host: what it is made of, and the digests that prove it arrived.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::machine::DiskFormat;

/// The longest name of an image.
const NAME_BYTES_MAX: usize = 128;
/// The largest disk: 16 TiB.
const DISK_BYTES_MAX: u64 = 16 << 40;
/// The largest kernel or ramdisk: 1 GiB.
const BOOT_FILE_BYTES_MAX: u64 = 1 << 30;
/// The most arguments of a kernel, and the longest of them.
const ARGUMENTS_MAX: usize = 64;
const ARGUMENT_BYTES_MAX: usize = 1024;

/// What an image is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageManifest {
    /// The name that pools use.
    pub name: String,
    /// How its disk is written.
    pub format: DiskFormat,
    /// What root volumes are made from.
    pub disk: ImageFile,
    /// The kernel it boots; the host's boot loader where there is none.
    pub kernel: Option<ImageFile>,
    /// The ramdisk it boots with; only with a kernel.
    pub ramdisk: Option<ImageFile>,
    /// Arguments of its kernel, before those of a pool.
    pub kernel_args: Vec<String>,
}

/// A file of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageFile {
    /// Its size.
    pub bytes: u64,
    /// The SHA-256 of its content.
    pub sha256: FileDigest,
}

/// One of the files of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImagePart {
    /// What root volumes are made from.
    Disk,
    /// The kernel.
    Kernel,
    /// The ramdisk.
    Ramdisk,
}

impl ImagePart {
    /// The word for it, which is also the name of the file.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Kernel => "kernel",
            Self::Ramdisk => "ramdisk",
        }
    }
}

/// What is wrong with a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ManifestError {
    /// The name cannot be used.
    #[error(
        "`{0}` cannot name an image: use 1 to {NAME_BYTES_MAX} lower-case letters, digits, `-`, `_`, `.` and `:`, with a letter or a digit first and last"
    )]
    Name(String),
    /// A file is empty or too large.
    #[error("the {part} of the image has {bytes} bytes; 1 to {most} are possible", part = part.word())]
    Size {
        /// The file.
        part: ImagePart,
        /// What it has.
        bytes: u64,
        /// What it could have.
        most: u64,
    },
    /// A ramdisk without a kernel.
    #[error("the image has a ramdisk and no kernel; a ramdisk belongs to a kernel, so add that too")]
    RamdiskAlone,
    /// Arguments that no kernel gets.
    #[error(
        "the image has more than {ARGUMENTS_MAX} arguments for its kernel, or one of them is empty, longer than {ARGUMENT_BYTES_MAX} bytes, or has characters that do not print"
    )]
    Arguments,
}

impl ImageManifest {
    /// Its files.
    pub fn files(&self) -> impl Iterator<Item = (ImagePart, ImageFile)> {
        let boot = [(ImagePart::Kernel, self.kernel), (ImagePart::Ramdisk, self.ramdisk)];
        std::iter::once((ImagePart::Disk, Some(self.disk))).chain(boot).filter_map(|(part, file)| Some((part, file?)))
    }

    /// Whether a host can take it.
    pub fn check(&self) -> Result<(), ManifestError> {
        if !is_image_name(&self.name) {
            return Err(ManifestError::Name(self.name.chars().take(NAME_BYTES_MAX).collect()));
        }
        for (part, ImageFile { bytes, .. }) in self.files() {
            let most = if part == ImagePart::Disk { DISK_BYTES_MAX } else { BOOT_FILE_BYTES_MAX };
            if bytes == 0 || bytes > most {
                return Err(ManifestError::Size { part, bytes, most });
            }
        }
        if self.ramdisk.is_some() && self.kernel.is_none() {
            return Err(ManifestError::RamdiskAlone);
        }
        let is_argument = |argument: &String| {
            (1..=ARGUMENT_BYTES_MAX).contains(&argument.len()) && !argument.chars().any(char::is_control)
        };
        if self.kernel_args.len() > ARGUMENTS_MAX || !self.kernel_args.iter().all(is_argument) {
            return Err(ManifestError::Arguments);
        }
        Ok(())
    }

    /// The digest of what it is, whatever its name: equal digests, equal images.
    pub fn digest(&self) -> ImageDigest {
        let format: &[u8] = match self.format {
            DiskFormat::Raw => b"raw",
            DiskFormat::Qcow2 => b"qcow2",
        };
        let mut hash = Sha256::new().chain_update(b"tycoon image 1\0").chain_update(format).chain_update([0]);
        for (part, file) in self.files() {
            hash.update(part.word());
            hash.update([0]);
            hash.update(file.bytes.to_be_bytes());
            hash.update(file.sha256.0);
        }
        for argument in &self.kernel_args {
            hash.update((argument.len() as u64).to_be_bytes());
            hash.update(argument);
        }
        ImageDigest(hash.finalize().into())
    }
}

/// Whether a text can name an image.
pub fn is_image_name(text: &str) -> bool {
    let is_alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    text.len() <= NAME_BYTES_MAX
        && text.bytes().all(|b| is_alphanumeric(b) || matches!(b, b'-' | b'_' | b'.' | b':'))
        && text.bytes().next().is_some_and(is_alphanumeric)
        && text.bytes().last().is_some_and(is_alphanumeric)
}

/// A text that is not a SHA-256.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` is not a SHA-256: write 64 hexadecimal digits")]
pub struct DigestError(String);

macro_rules! digest {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name([u8; 32]);

        impl $name {
            /// The digest of these 32 bytes.
            pub const fn new(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl FromStr for $name {
            type Err = DigestError;

            fn from_str(text: &str) -> Result<Self, DigestError> {
                let wrong = || DigestError(text.chars().take(80).collect());
                if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
                    return Err(wrong());
                }
                let mut bytes = [0; 32];
                for (byte, place) in bytes.iter_mut().zip((0..64).step_by(2)) {
                    let pair = text.get(place..place + 2).ok_or_else(wrong)?;
                    *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
                }
                Ok(Self(bytes))
            }
        }

        impl TryFrom<String> for $name {
            type Error = DigestError;

            fn try_from(text: String) -> Result<Self, DigestError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(digest: $name) -> Self {
                digest.to_string()
            }
        }
    };
}

digest!(
    /// The SHA-256 of a file.
    FileDigest
);
digest!(
    /// The digest of an image: [`ImageManifest::digest`].
    ImageDigest
);

/// How far an upload is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UploadState {
    /// True where the host has the image, and nothing need be sent.
    pub is_complete: bool,
    /// How many bytes of each file are there; the next byte to send has this offset.
    pub offsets: Vec<(ImagePart, u64)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> ImageManifest {
        let file = |byte| ImageFile { bytes: 10, sha256: FileDigest::new([byte; 32]) };
        ImageManifest {
            name: "debian-12".into(),
            format: DiskFormat::Raw,
            disk: file(1),
            kernel: Some(file(2)),
            ramdisk: Some(file(3)),
            kernel_args: vec!["quiet".into()],
        }
    }

    #[test]
    fn the_digest_is_of_the_content_and_not_of_the_name() {
        let original = manifest().digest();
        assert_eq!(ImageManifest { name: "other".into(), ..manifest() }.digest(), original);
        let changes: [fn(&mut ImageManifest); 5] = [
            |m| m.format = DiskFormat::Qcow2,
            |m| m.disk.bytes += 1,
            |m| m.disk.sha256 = FileDigest::new([9; 32]),
            |m| m.ramdisk = None,
            |m| m.kernel_args[0].push('x'),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut changed = manifest();
            change(&mut changed);
            assert_ne!(changed.digest(), original, "change {number} went unnoticed");
        }
    }

    #[test]
    fn wrong_manifests_are_refused() {
        assert_eq!(manifest().check(), Ok(()));
        let wrong: [fn(&mut ImageManifest); 6] = [
            |m| m.name = "../x".into(),
            |m| m.name = String::new(),
            |m| m.disk.bytes = 0,
            |m| m.disk.bytes = u64::MAX,
            |m| m.kernel = None,
            |m| m.kernel_args[0].push('\n'),
        ];
        for (number, change) in wrong.into_iter().enumerate() {
            let mut changed = manifest();
            change(&mut changed);
            assert!(changed.check().is_err(), "manifest {number}");
        }
    }

    #[test]
    fn digests_are_read_as_they_are_written() {
        let digest = manifest().digest();
        assert_eq!(digest.to_string().parse(), Ok(digest));
        for bad in ["", "ab", &"g".repeat(64), &"é".repeat(32), &"A".repeat(64)] {
            assert!(bad.parse::<FileDigest>().is_err(), "{bad}");
        }
    }
}
