//! The files of a volume as an archive.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Write};

use super::ext4::{self, Ext4, Ext4Error, Inode};
use super::tar::{self, Kind, Member};

/// The longest path of a file, in bytes.
const PATH_BYTES_MAX: usize = 16 << 10;
/// What is read at once, in bytes.
const PIECE_BYTES: u64 = 1 << 20;

/// Why there is no archive.
pub(super) enum ArchiveError {
    /// The volume has no files that can be read.
    Volume(Ext4Error),
    /// The archive cannot be written.
    Writing(io::Error),
    /// Somebody asked to stop.
    Stopped,
}

impl From<Ext4Error> for ArchiveError {
    fn from(error: Ext4Error) -> Self {
        Self::Volume(error)
    }
}

impl From<io::Error> for ArchiveError {
    fn from(error: io::Error) -> Self {
        Self::Writing(error)
    }
}

fn damaged<T>(what: &str) -> Result<T, ArchiveError> {
    Err(Ext4Error::Damaged(what.into()).into())
}

/// Writes all files of the file system that fills `disk` to `out`, as an archive whose paths begin with `./`. Sockets, which
/// are of no use without their program, are left out.
pub(super) fn archive(disk: &File, out: &mut dyn Write, is_stopped: &dyn Fn() -> bool) -> Result<(), ArchiveError> {
    let system = Ext4::open(disk)?;
    let mut content_left = disk.metadata()?.len();
    let mut seen_folders = BTreeSet::from([ext4::ROOT]);
    let mut first_names: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
    let root = system.inode(ext4::ROOT)?;
    if root.kind() != ext4::FOLDER {
        return damaged("its root is no folder");
    }
    write_member(&system, out, b"./", &root, Kind::Folder)?;
    let mut left: Vec<(Vec<u8>, Inode)> = vec![(b"./".to_vec(), root)];
    while let Some((folder, inode)) = left.pop() {
        for (name, number) in system.entries(&inode)? {
            if is_stopped() {
                return Err(ArchiveError::Stopped);
            }
            let mut path = [folder.as_slice(), &name].concat();
            if path.len() > PATH_BYTES_MAX {
                return damaged("a path is too long");
            }
            let inode = system.inode(number)?;
            if inode.kind() == ext4::FOLDER {
                // So that there is an end.
                if !seen_folders.insert(number) {
                    return damaged("a folder is in two places");
                }
                path.push(b'/');
                write_member(&system, out, &path, &inode, Kind::Folder)?;
                left.push((path, inode));
                continue;
            }
            if let Some(first) = first_names.get(&number) {
                write_member(&system, out, &path, &inode, Kind::HardLink(first))?;
                continue;
            }
            if inode.links > 1 {
                first_names.insert(number, path.clone());
            }
            let (major, minor) = inode.device();
            match inode.kind() {
                ext4::FILE => write_file(&system, out, &path, &inode, &mut content_left, is_stopped)?,
                ext4::LINK => {
                    let target = system.link_target(&inode)?;
                    write_member(&system, out, &path, &inode, Kind::SymbolicLink(&target))?;
                }
                ext4::CHARACTER => write_member(&system, out, &path, &inode, Kind::CharacterDevice(major, minor))?,
                ext4::BLOCK => write_member(&system, out, &path, &inode, Kind::BlockDevice(major, minor))?,
                ext4::FIFO => write_member(&system, out, &path, &inode, Kind::Fifo)?,
                _ => drop(first_names.remove(&number)),
            }
        }
    }
    tar::end(out)?;
    Ok(())
}

fn write_member(
    system: &Ext4<'_>,
    out: &mut dyn Write,
    path: &[u8],
    inode: &Inode,
    kind: Kind<'_>,
) -> Result<(), ArchiveError> {
    // They are the first name's already.
    let attributes = if matches!(kind, Kind::HardLink(_)) { Vec::new() } else { system.attributes(inode)? };
    let Inode { mode, uid, gid, modified, .. } = *inode;
    tar::header(out, &Member { path, mode, uid, gid, modified, kind, attributes: &attributes })?;
    Ok(())
}

/// Writes a file with its content. `content_left` is what all files together may still have: no honest file system has more
/// than fits on its volume, for blocks belong to one file each.
fn write_file(
    system: &Ext4<'_>,
    out: &mut dyn Write,
    path: &[u8],
    inode: &Inode,
    content_left: &mut u64,
    is_stopped: &dyn Fn() -> bool,
) -> Result<(), ArchiveError> {
    let block = system.block_bytes();
    let runs = system.runs(inode)?;
    let mut pieces = Vec::with_capacity(runs.len());
    for run in &runs {
        // What is reserved behind the end of the file is not its.
        let begin = run.logical.saturating_mul(block).min(inode.bytes);
        let end = run.logical.saturating_add(run.blocks).saturating_mul(block).min(inode.bytes);
        pieces.push((begin, end - begin));
    }
    let content: u64 = pieces.iter().map(|(_, length)| length).sum();
    *content_left = match content_left.checked_sub(content) {
        Some(left) => left,
        None => return damaged("its files have more content than the volume"),
    };
    let used: Vec<(u64, u64)> = pieces.iter().copied().filter(|(_, length)| *length > 0).collect();
    write_member(system, out, path, inode, Kind::File(inode.bytes, &used))?;
    let mut buffer = Vec::new();
    for (run, (_, length)) in runs.iter().zip(&pieces) {
        let mut offset = 0;
        while offset < *length {
            if is_stopped() {
                return Err(ArchiveError::Stopped);
            }
            let count = PIECE_BYTES.min(length - offset);
            // At most a MiB.
            buffer.resize(count as usize, 0);
            system.read_run(run, offset, &mut buffer)?;
            out.write_all(&buffer)?;
            offset += count;
        }
    }
    Ok(tar::pad(out, content)?)
}
