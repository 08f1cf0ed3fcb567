//! Saving a volume of a domain: what a description asks for, and the blocks on their way.

use std::fmt;
use std::io::Read;

use serde::{Deserialize, Serialize};

/// The longest path of a folder, in bytes.
const FOLDER_BYTES_MAX: usize = 1024;
/// The longest name of a file without its ending, in bytes.
const NAME_BYTES_MAX: usize = 120;

/// Where and how the root volume of a domain is saved before its host removes it. The host keeps this with the domain and
/// does nothing with it: whoever removes the domain saves, on her own machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SaveImage {
    /// The folder, an absolute path on the machine of whoever removes the domain.
    pub to: String,
    /// How it is written.
    pub format: SaveFormat,
    /// The name of the file without its ending; pool and domain where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl SaveImage {
    /// What is wrong with it, as a sentence.
    pub fn fault(&self) -> Option<String> {
        let shown = |text: &str| -> String { text.chars().take(80).collect() };
        if !self.to.starts_with('/') || self.to.len() > FOLDER_BYTES_MAX || self.to.chars().any(char::is_control) {
            let folder = shown(&self.to);
            return Some(format!(
                "{folder:?} cannot be the folder of `save-image`: write an absolute path of at most {FOLDER_BYTES_MAX} bytes"
            ));
        }
        match &self.name {
            Some(name) if !is_file_name(name) => Some(format!(
                "{:?} cannot be the name of a saved image: use 1 to {NAME_BYTES_MAX} letters, digits, `-`, `_` and `.`, with a \
                 letter or a digit first",
                shown(name)
            )),
            _ => None,
        }
    }
}

impl fmt::Display for SaveImage {
    /// For people: `to /srv/saved as tar.zst`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "to {} as {}", self.to, self.format.word())?;
        self.name.iter().try_for_each(|name| write!(f, " named {name}"))
    }
}

/// Whether a text can name a saved file: it stays in its folder, and is no option of a program.
pub fn is_file_name(text: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

/// How a saved volume is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SaveFormat {
    /// Its blocks as they are, with holes where they are blank.
    #[serde(rename = "raw")]
    Raw,
    /// Its blocks in QEMU's format.
    #[serde(rename = "qcow2")]
    Qcow2,
    /// The files of its file system.
    #[serde(rename = "tar")]
    Tar,
    /// The same, compressed by gzip.
    #[serde(rename = "tar.gz")]
    TarGz,
    /// The same, compressed by zstd.
    #[serde(rename = "tar.zst")]
    TarZst,
}

impl SaveFormat {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Raw, Self::Qcow2, Self::Tar, Self::TarGz, Self::TarZst];

    /// The word for it in descriptions, which is also the ending of the file.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
            Self::Tar => "tar",
            Self::TarGz => "tar.gz",
            Self::TarZst => "tar.zst",
        }
    }

    /// The format that a word means.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.word() == word)
    }
}

/// The blocks of a volume on their way.
pub struct VolumeStream {
    /// The size of the volume in bytes.
    pub bytes: u64,
    /// All of its blocks, from the first on. An error says why they cannot be had; where it ends without one, they were
    /// compared with what the host has read.
    pub content: Box<dyn Read + Send>,
}

impl fmt::Debug for VolumeStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VolumeStream").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn save() -> SaveImage {
        SaveImage { to: "/srv/saved".into(), format: SaveFormat::TarZst, name: Some("web-1.old".into()) }
    }

    #[test]
    fn names_that_could_leave_their_folder_are_refused() {
        assert_eq!(save().fault(), None);
        for bad in ["", ".", "..", "../x", "a/b", "/a", "-rf", ".hidden", "a b", "a\n", "a\0", "ä", &"a".repeat(121)] {
            assert!(SaveImage { name: Some(bad.into()), ..save() }.fault().is_some(), "{bad:?}");
        }
        for bad in ["", "/srv\n", "srv", "../srv", &"/a".repeat(513)] {
            assert!(SaveImage { to: bad.into(), ..save() }.fault().is_some(), "{bad:?}");
        }
    }

    #[test]
    fn every_format_is_found_by_its_word() {
        for format in SaveFormat::ALL {
            assert_eq!(SaveFormat::of_word(format.word()), Some(format));
        }
        assert_eq!(SaveFormat::of_word("zip"), None);
        assert_eq!(save().to_string(), "to /srv/saved as tar.zst named web-1.old");
    }
}
