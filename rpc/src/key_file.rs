//! Secret keys in files: read with care, created atomically and for the owner only.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use thiserror::Error;
use zeroize::Zeroizing;

use crate::keys::{SecretKey, SecretKeyError};

/// The largest key file that is read, in bytes.
const KEY_FILE_BYTES_MAX: u64 = 16 << 10;

/// Why a key file could not be read or written.
#[derive(Debug, Error)]
pub enum KeyFileError {
    /// The file could not be read.
    #[error("cannot read the key file {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Others than its owner may read the file.
    #[error("others can read the key file {path} (mode {mode:03o}); run `chmod 600 {path}`", path = path.display())]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file is too large to be a key.
    #[error("{} is larger than any ed25519 key (16 KiB)", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The file holds no usable key.
    #[error("cannot use the key in {}", path.display())]
    NotAKey {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: SecretKeyError,
    },
    /// A file of that name exists; it is never overwritten.
    #[error("{} exists already; keys are never overwritten, so move it away or choose another name", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The file could not be written.
    #[error("cannot write the key file {}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

/// Reads the OpenSSH private key in the file `path`, which only its owner may be able to read.
pub fn load(path: &Path) -> Result<SecretKey, KeyFileError> {
    let text = read(path)?;
    SecretKey::from_openssh(&text).map_err(|source| KeyFileError::NotAKey { path: path.to_owned(), source })
}

/// Reads the OpenSSH private key in the file `path`, and asks `passphrase` where it is protected.
pub fn load_protected(
    path: &Path,
    passphrase: impl FnOnce() -> Option<Zeroizing<String>>,
) -> Result<SecretKey, KeyFileError> {
    let not_a_key = |source| KeyFileError::NotAKey { path: path.to_owned(), source };
    let text = read(path)?;
    match SecretKey::from_openssh(&text) {
        Err(SecretKeyError::Encrypted) => match passphrase() {
            Some(passphrase) => SecretKey::from_encrypted_openssh(&text, &passphrase).map_err(not_a_key),
            None => Err(not_a_key(SecretKeyError::Encrypted)),
        },
        read => read.map_err(not_a_key),
    }
}

fn read(path: &Path) -> Result<Zeroizing<String>, KeyFileError> {
    let unreadable = |source| KeyFileError::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyFileError::TooOpen { path: path.to_owned(), mode });
    }
    let mut text = Zeroizing::new(String::new());
    file.take(KEY_FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > KEY_FILE_BYTES_MAX {
        return Err(KeyFileError::TooLarge { path: path.to_owned() });
    }
    Ok(text)
}

/// Creates the file `path` (mode 0600) with `key` in it. The file appears whole or not at all, and one that exists is
/// never overwritten.
pub fn create(path: &Path, key: &SecretKey, comment: &str) -> Result<(), KeyFileError> {
    let text = key.to_openssh(comment).map_err(|source| KeyFileError::NotAKey { path: path.to_owned(), source })?;
    create_text(path, &text)
}

/// Like [`create`], with the key protected with `passphrase`.
pub fn create_protected(path: &Path, key: &SecretKey, comment: &str, passphrase: &str) -> Result<(), KeyFileError> {
    let text = key
        .to_encrypted_openssh(comment, passphrase)
        .map_err(|source| KeyFileError::NotAKey { path: path.to_owned(), source })?;
    create_text(path, &text)
}

fn create_text(path: &Path, text: &str) -> Result<(), KeyFileError> {
    create_whole(path, text.as_bytes()).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => KeyFileError::Exists { path: path.to_owned() },
        _ => KeyFileError::Unwritable { path: path.to_owned(), source },
    })
}

/// Reads the key in `path`, or creates a new one there where no file is.
pub fn load_or_create(path: &Path, comment: &str) -> Result<SecretKey, KeyFileError> {
    match load(path) {
        Err(KeyFileError::Unreadable { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            let key =
                SecretKey::generate().map_err(|source| KeyFileError::NotAKey { path: path.to_owned(), source })?;
            match create(path, &key, comment) {
                Ok(()) => Ok(key),
                // Another process was faster: its key is the key.
                Err(KeyFileError::Exists { .. }) => load(path),
                Err(error) => Err(error),
            }
        }
        read => read,
    }
}

/// Writes a neighbouring file first and links it to its name, which fails where the name is taken.
fn create_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let neighbour = folder.join(name);
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&neighbour)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::hard_link(&neighbour, path)
    })();
    let removed = fs::remove_file(&neighbour);
    written.and(removed)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Signer as _;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_created_key_is_its_owner_s_alone_and_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let key = load_or_create(&path, "a test").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(load_or_create(&path, "a test").unwrap().public_key(), key.public_key());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no neighbour is left behind");
    }

    #[test]
    fn a_key_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, "precious").unwrap();
        let refused = create(&path, &SecretKey::from_seed(&[1; 32]), "");
        assert!(matches!(refused, Err(KeyFileError::Exists { .. })), "{refused:?}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn a_key_that_others_can_read_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        create(&path, &SecretKey::from_seed(&[1; 32]), "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let refused = load(&path).unwrap_err();
        assert!(refused.to_string().contains("chmod 600"), "{refused}");
    }
}
