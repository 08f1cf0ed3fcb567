//! Files that are there whole or not at all.

use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::exit::Exit;
use crate::failure::Failure;

/// Writes a file with these rights, in the place of one that may be there. Folders above it are made.
pub fn write(path: &Path, content: &[u8], mode: u32) -> Result<(), Failure> {
    try_write(path, content, mode).map_err(|error| {
        Failure::from_error(Exit::Failed, &error).context(&format!("{} cannot be written", path.display()))
    })
}

fn try_write(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder {
        std::fs::create_dir_all(folder)?;
    }
    let temporary = path.with_extension("new");
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    std::fs::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}
