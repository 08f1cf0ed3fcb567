//! Files that are there whole or not at all, and are read up to a limit.

use std::fs::{File, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tycoon_market::resource::show_bytes;

use crate::exit::Exit;
use crate::failure::Failure;

/// Writes a file with these rights, in the place of one that may be there. Folders above it are made.
pub fn write(path: &Path, content: &[u8], mode: u32) -> Result<(), Failure> {
    try_write(path, content, mode).map_err(|error| {
        Failure::from_error(Exit::Failed, &error).context(&format!("{} cannot be written", path.display()))
    })
}

fn try_write(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    // Of a name of its own: others may write the same file now.
    let mut file = tempfile::Builder::new().permissions(Permissions::from_mode(mode)).tempfile_in(folder)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}

/// Reads a text of at most `bytes_max` bytes; what is larger is refused, not cut. `what` it is begins the message of an
/// error: `the settings file`.
pub fn read_text(what: &str, path: &Path, bytes_max: u64) -> Result<String, Failure> {
    let shown = path.display();
    let unreadable = |error: &dyn std::error::Error| {
        Failure::from_error(Exit::Failed, error).context(&format!("{what} {shown} cannot be read"))
    };
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes))
        .map_err(|error| unreadable(&error))?;
    if bytes.len() as u64 > bytes_max {
        let most = show_bytes(bytes_max);
        return Err(Failure::new(Exit::Failed, format!("{what} {shown} is larger than {most}, and none can be"))
            .help("look whether it is the right file"));
    }
    String::from_utf8(bytes).map_err(|error| unreadable(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_as_a_whole_with_its_rights() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er/file");
        write(&path, b"one", 0o600).unwrap();
        write(&path, b"two", 0o600).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn several_may_write_one_file_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::thread::scope(|scope| {
            for number in 0..8_u8 {
                let path = &path;
                scope.spawn(move || (0..20).for_each(|_| write(path, &[b'a' + number; 999], 0o600).unwrap()));
            }
        });
        let left = std::fs::read(&path).unwrap();
        assert!(left.len() == 999 && left.iter().all(|byte| *byte == left[0]), "one of them, whole");
    }

    #[test]
    fn what_is_too_large_is_refused_and_not_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "12345678").unwrap();
        assert_eq!(read_text("the note", &path, 8).unwrap(), "12345678");
        assert!(read_text("the note", &path, 7).unwrap_err().message().contains("is larger than 7 B"));
        // The first byte too many is the middle of a character.
        std::fs::write(&path, "1234567ä").unwrap();
        assert!(read_text("the note", &path, 7).unwrap_err().message().contains("is larger than 7 B"));
        assert!(
            read_text("the note", &folder.path().join("none"), 7).unwrap_err().message().contains("cannot be read")
        );
    }
}
