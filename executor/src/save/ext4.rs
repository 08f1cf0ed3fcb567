//! Reads an ext2, ext3 or ext4 file system from its blocks, without mounting it and without a right that its reader lacks.
//! The layout is that of the kernel's Documentation/filesystems/ext4.
//!
//! The blocks were written inside a domain: every number in them is checked before it is used, every list is bounded, and
//! what makes no sense is an error, never a panic.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use thiserror::Error;

/// Where the superblock is, and what of it is read.
const SUPERBLOCK: u64 = 1024;
const SUPERBLOCK_BYTES: usize = 1024;
const MAGIC: u16 = 0xef53;
/// The inode of the root directory.
pub(super) const ROOT: u32 = 2;
/// Features that a reader has to know, and this one does.
const FILE_TYPE: u32 = 0x2;
const RECOVER: u32 = 0x4;
const EXTENTS: u32 = 0x40;
const SIXTY_FOUR_BIT: u32 = 0x80;
const MULTI_MOUNT: u32 = 0x100;
const FLEXIBLE_GROUPS: u32 = 0x200;
const CHECKSUM_SEED: u32 = 0x2000;
const LARGE_FOLDERS: u32 = 0x4000;
const CASE_FOLDING: u32 = 0x20000;
const KNOWN: u32 =
    FILE_TYPE | EXTENTS | SIXTY_FOUR_BIT | MULTI_MOUNT | FLEXIBLE_GROUPS | CHECKSUM_SEED | LARGE_FOLDERS | CASE_FOLDING;
/// Flags of an inode.
const HAS_EXTENTS: u32 = 0x80000;
const HAS_INLINE_DATA: u32 = 0x1000_0000;
const IS_ENCRYPTED: u32 = 0x800;
/// An extent that is longer is blank: it was only reserved.
const EXTENT_BLOCKS_MAX: u16 = 32_768;
const EXTENT_MAGIC: u16 = 0xf30a;
const EXTENT_DEPTH_MAX: u16 = 5;
/// The most pieces of one file.
const RUNS_MAX: usize = 4 << 20;
/// The largest folder, in bytes.
const FOLDER_BYTES_MAX: u64 = 256 << 20;
/// The longest target of a symbolic link.
const LINK_BYTES_MAX: u64 = 4096;
const XATTR_MAGIC: u32 = 0xea02_0000;
/// The largest value of an extended attribute that fits into a block.
const XATTR_BYTES_MAX: usize = 64 << 10;

/// Why there are no files.
#[derive(Debug, Error)]
pub(super) enum Ext4Error {
    /// Something else is on the volume.
    #[error("{0}")]
    Other(&'static str),
    /// It was in use when it was saved, and its journal says more than its blocks.
    #[error("the file system was in use, and its journal was not written back")]
    NeedsRecovery,
    /// It has something that is not read here.
    #[error("the file system {0}, which is not read here")]
    Unknown(String),
    /// It makes no sense.
    #[error("the file system is damaged: {0}")]
    Damaged(String),
    /// The file of the blocks cannot be read.
    #[error("its blocks cannot be read: {0}")]
    Io(#[from] io::Error),
}

fn damaged<T>(what: impl Into<String>) -> Result<T, Ext4Error> {
    Err(Ext4Error::Damaged(what.into()))
}

/// A file system.
pub(super) struct Ext4<'a> {
    disk: &'a File,
    block_bytes: u64,
    blocks: u64,
    inodes: u32,
    inodes_per_group: u32,
    inode_bytes: u64,
    descriptor_bytes: u64,
    first_descriptor: u64,
}

/// A file, a folder, or something else that has a name.
#[derive(Clone, Debug)]
pub(super) struct Inode {
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// The length of its content in bytes.
    pub(super) bytes: u64,
    /// Seconds since 1970.
    pub(super) modified: i64,
    pub(super) links: u16,
    flags: u32,
    sectors: u32,
    map: [u8; 60],
    attribute_block: u64,
    /// What follows the fixed part: extended attributes.
    rest: Vec<u8>,
}

/// The type bits of a mode.
pub(super) const TYPE: u16 = 0o170_000;
pub(super) const FOLDER: u16 = 0o040_000;
pub(super) const FILE: u16 = 0o100_000;
pub(super) const LINK: u16 = 0o120_000;
pub(super) const CHARACTER: u16 = 0o020_000;
pub(super) const BLOCK: u16 = 0o060_000;
pub(super) const FIFO: u16 = 0o010_000;

impl Inode {
    pub(super) const fn kind(&self) -> u16 {
        self.mode & TYPE
    }

    /// The numbers of a device.
    pub(super) fn device(&self) -> (u32, u32) {
        match u32_at(&self.map, 0) {
            0 => {
                let new = u32_at(&self.map, 4);
                ((new & 0xfff00) >> 8, (new & 0xff) | ((new >> 12) & 0xfff00))
            }
            old => ((old >> 8) & 0xff, old & 0xff),
        }
    }
}

/// A piece of a file: so many blocks at this block of the file; blank where they are nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) logical: u64,
    pub(super) blocks: u64,
    /// The first block on the disk.
    pub(super) physical: u64,
}

impl<'a> Ext4<'a> {
    /// The file system that fills `disk`.
    pub(super) fn open(disk: &'a File) -> Result<Self, Ext4Error> {
        let bytes = disk.metadata()?.len();
        let mut head = [0; SUPERBLOCK as usize + SUPERBLOCK_BYTES];
        if bytes < head.len() as u64 {
            return Err(Ext4Error::Other("the volume is too small for a file system"));
        }
        disk.read_exact_at(&mut head, 0)?;
        let block = &head[SUPERBLOCK as usize..];
        if u16_at(block, 0x38) != MAGIC {
            let is_partitioned = head[510..512] == [0x55, 0xaa] || head[512..520] == *b"EFI PART";
            return Err(Ext4Error::Other(match is_partitioned {
                true => "the volume is partitioned",
                false => "there is no ext2, ext3 or ext4 file system on the volume",
            }));
        }
        let incompatible = u32_at(block, 0x60);
        if incompatible & RECOVER != 0 {
            return Err(Ext4Error::NeedsRecovery);
        }
        if incompatible & !KNOWN != 0 {
            return Err(Ext4Error::Unknown(format!("has features ({:#x})", incompatible & !KNOWN)));
        }
        let log_block = u32_at(block, 0x18);
        let (blocks_per_group, inodes_per_group) = (u32_at(block, 0x20), u32_at(block, 0x28));
        if log_block > 6 || blocks_per_group == 0 || inodes_per_group == 0 {
            return damaged("its superblock makes no sense");
        }
        let block_bytes = 1024_u64 << log_block;
        let is_long = incompatible & SIXTY_FOUR_BIT != 0;
        let blocks = u64::from(u32_at(block, 4)) | if is_long { u64::from(u32_at(block, 0x150)) << 32 } else { 0 };
        let inode_bytes = if u32_at(block, 0x4c) == 0 { 128 } else { u64::from(u16_at(block, 0x58)) };
        let descriptor_bytes = if is_long { u64::from(u16_at(block, 0xfe)) } else { 32 };
        if !(128..=block_bytes).contains(&inode_bytes) || !(32..=1024).contains(&descriptor_bytes) {
            return damaged("its superblock makes no sense");
        }
        if blocks.checked_mul(block_bytes).is_none_or(|needed| needed > bytes) {
            return damaged("it is larger than the volume");
        }
        Ok(Self {
            disk,
            block_bytes,
            blocks,
            inodes: u32_at(block, 0),
            inodes_per_group,
            inode_bytes,
            descriptor_bytes,
            first_descriptor: (u64::from(u32_at(block, 0x14)) + 1) * block_bytes,
        })
    }

    /// The size of a block in bytes.
    pub(super) const fn block_bytes(&self) -> u64 {
        self.block_bytes
    }

    /// The inode with this number.
    pub(super) fn inode(&self, number: u32) -> Result<Inode, Ext4Error> {
        if number == 0 || number > self.inodes {
            return damaged(format!("there is no inode {number}"));
        }
        let (group, index) = ((number - 1) / self.inodes_per_group, (number - 1) % self.inodes_per_group);
        let mut descriptor = vec![0; self.descriptor_bytes as usize];
        self.read_at(self.first_descriptor + u64::from(group) * self.descriptor_bytes, &mut descriptor)?;
        let high = if descriptor.len() >= 64 { u64::from(u32_at(&descriptor, 0x28)) } else { 0 };
        let table = self.place(u64::from(u32_at(&descriptor, 8)) | high << 32)?;
        let mut raw = vec![0; self.inode_bytes as usize];
        self.read_at(table + u64::from(index) * self.inode_bytes, &mut raw)?;
        let low_high = |low: usize, high: usize| u32::from(u16_at(&raw, low)) | u32::from(u16_at(&raw, high)) << 16;
        let mut map = [0; 60];
        map.copy_from_slice(&raw[0x28..0x64]);
        let extra = if raw.len() > 130 { usize::from(u16_at(&raw, 0x80)) } else { 0 };
        let epoch = if extra >= 12 && raw.len() >= 0x8c { i64::from(u32_at(&raw, 0x88) & 3) } else { 0 };
        Ok(Inode {
            mode: u16_at(&raw, 0),
            uid: low_high(2, 0x78),
            gid: low_high(0x18, 0x7a),
            bytes: u64::from(u32_at(&raw, 4)) | u64::from(u32_at(&raw, 0x6c)) << 32,
            modified: i64::from(u32_at(&raw, 0x10).cast_signed()) + (epoch << 32),
            links: u16_at(&raw, 0x1a),
            flags: u32_at(&raw, 0x20),
            sectors: u32_at(&raw, 0x1c),
            map,
            attribute_block: u64::from(u32_at(&raw, 0x68)) | u64::from(u16_at(&raw, 0x76)) << 32,
            rest: raw.get(128 + extra..).unwrap_or_default().to_vec(),
        })
    }

    /// Where the content of a file is, in its order. What lies between two pieces is blank.
    pub(super) fn runs(&self, inode: &Inode) -> Result<Vec<Run>, Ext4Error> {
        if inode.flags & HAS_INLINE_DATA != 0 {
            return Err(Ext4Error::Unknown("has files inside inodes".into()));
        }
        if inode.flags & IS_ENCRYPTED != 0 {
            return Err(Ext4Error::Unknown("has encrypted files".into()));
        }
        let mut runs = Vec::new();
        if inode.flags & HAS_EXTENTS != 0 {
            self.extents(&inode.map, EXTENT_DEPTH_MAX, &mut runs)?;
        } else {
            let mut logical = 0;
            let end = inode.bytes.div_ceil(self.block_bytes);
            for (place, levels) in (0..15).map(|place| (place, place.max(11) - 11)) {
                self.pointer(u64::from(u32_at(&inode.map, place * 4)), levels, end, &mut logical, &mut runs)?;
            }
        }
        if runs.windows(2).any(|pair| pair[0].logical + pair[0].blocks > pair[1].logical) {
            return damaged("the pieces of a file overlap");
        }
        Ok(runs)
    }

    fn add(&self, run: Run, runs: &mut Vec<Run>) -> Result<(), Ext4Error> {
        if run.physical == 0 || run.physical.checked_add(run.blocks).is_none_or(|end| end > self.blocks) {
            return damaged("a piece of a file is outside of it");
        }
        if let Some(last) = runs.last_mut()
            && (last.logical + last.blocks, last.physical + last.blocks) == (run.logical, run.physical)
        {
            last.blocks += run.blocks;
            return Ok(());
        }
        if runs.len() >= RUNS_MAX {
            return damaged("a file has too many pieces");
        }
        runs.push(run);
        Ok(())
    }

    /// The extents of a node, which is the map of an inode or a block.
    fn extents(&self, node: &[u8], depth_max: u16, runs: &mut Vec<Run>) -> Result<(), Ext4Error> {
        let (entries, depth) = (usize::from(u16_at(node, 2)), u16_at(node, 6));
        if u16_at(node, 0) != EXTENT_MAGIC || depth > depth_max || 12 + entries * 12 > node.len() {
            return damaged("the map of a file makes no sense");
        }
        for entry in node[12..12 + entries * 12].chunks_exact(12) {
            if depth == 0 {
                let length = u16_at(entry, 4);
                if length <= EXTENT_BLOCKS_MAX {
                    let physical = u64::from(u32_at(entry, 8)) | u64::from(u16_at(entry, 6)) << 32;
                    let logical = u64::from(u32_at(entry, 0));
                    self.add(Run { logical, blocks: u64::from(length), physical }, runs)?;
                }
            } else {
                let block = self.block(u64::from(u32_at(entry, 4)) | u64::from(u16_at(entry, 8)) << 32)?;
                // A node below is always nearer to the leaves, so that there is an end.
                self.extents(&block, depth - 1, runs)?;
            }
        }
        Ok(())
    }

    /// Follows a block number of the older maps, which has so many levels of tables below it.
    fn pointer(
        &self,
        block: u64,
        levels: usize,
        end: u64,
        logical: &mut u64,
        runs: &mut Vec<Run>,
    ) -> Result<(), Ext4Error> {
        if *logical >= end {
            return Ok(());
        }
        let per_table = self.block_bytes / 4;
        if block == 0 {
            *logical = logical.saturating_add(per_table.saturating_pow(levels as u32));
            return Ok(());
        }
        if levels == 0 {
            self.add(Run { logical: *logical, blocks: 1, physical: block }, runs)?;
            *logical += 1;
            return Ok(());
        }
        let table = self.block(block)?;
        for entry in table.chunks_exact(4) {
            self.pointer(u64::from(u32_at(entry, 0)), levels - 1, end, logical, runs)?;
        }
        Ok(())
    }

    /// What is in a folder: names and inodes, without itself and its parent.
    pub(super) fn entries(&self, folder: &Inode) -> Result<Vec<(Vec<u8>, u32)>, Ext4Error> {
        if folder.bytes > FOLDER_BYTES_MAX {
            return damaged("a folder is too large");
        }
        let mut entries = Vec::new();
        for run in self.runs(folder)? {
            for number in 0..run.blocks {
                if (run.logical + number) * self.block_bytes >= folder.bytes {
                    break;
                }
                let block = self.block(run.physical + number)?;
                let mut rest = block.as_slice();
                while rest.len() >= 12 {
                    let length = match usize::from(u16_at(rest, 4)) {
                        // A block of 64 KiB does not fit into the number.
                        0 | 0xffff => rest.len(),
                        length => length,
                    };
                    let (inode, name_bytes) = (u32_at(rest, 0), usize::from(rest[6]));
                    if length < 8 || length > rest.len() || 8 + name_bytes > length {
                        return damaged("a folder makes no sense");
                    }
                    let name = &rest[8..8 + name_bytes];
                    if inode != 0 && name != b"." && name != b".." {
                        if name.is_empty() || name.contains(&b'/') || name.contains(&0) {
                            return damaged("a file has an impossible name");
                        }
                        entries.push((name.to_vec(), inode));
                    }
                    rest = &rest[length..];
                }
            }
        }
        entries.sort_unstable();
        if entries.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return damaged("two files have one name");
        }
        Ok(entries)
    }

    /// Where a symbolic link leads.
    pub(super) fn link_target(&self, link: &Inode) -> Result<Vec<u8>, Ext4Error> {
        if link.bytes == 0 || link.bytes > LINK_BYTES_MAX {
            return damaged("a symbolic link makes no sense");
        }
        let mut target = vec![0; link.bytes as usize];
        let own_sectors = if link.attribute_block == 0 { 0 } else { (self.block_bytes / 512) as u32 };
        if link.bytes < 60 && link.flags & HAS_EXTENTS == 0 && link.sectors <= own_sectors {
            target.copy_from_slice(&link.map[..link.bytes as usize]);
        } else {
            let runs = self.runs(link)?;
            let first = runs.first().filter(|run| run.logical == 0);
            let Some(run) = first.filter(|run| run.blocks * self.block_bytes >= link.bytes) else {
                return damaged("a symbolic link makes no sense");
            };
            self.read_at(run.physical * self.block_bytes, &mut target)?;
        }
        if target.contains(&0) { damaged("a symbolic link makes no sense") } else { Ok(target) }
    }

    /// Reads of a piece of a file, at a byte of it.
    pub(super) fn read_run(&self, run: &Run, offset: u64, buffer: &mut [u8]) -> Result<(), Ext4Error> {
        self.read_at(run.physical * self.block_bytes + offset, buffer)
    }

    /// The extended attributes, by their whole names, as programs see them.
    pub(super) fn attributes(&self, inode: &Inode) -> Result<Vec<(String, Vec<u8>)>, Ext4Error> {
        let mut found = Vec::new();
        if inode.rest.len() > 4 && u32_at(&inode.rest, 0) == XATTR_MAGIC {
            attributes_in(&inode.rest[4..], 0, &mut found)?;
        }
        if inode.attribute_block != 0 {
            let block = self.block(inode.attribute_block)?;
            if u32_at(&block, 0) != XATTR_MAGIC {
                return damaged("an extended attribute makes no sense");
            }
            attributes_in(&block, 32, &mut found)?;
        }
        Ok(found)
    }

    fn place(&self, block: u64) -> Result<u64, Ext4Error> {
        if block == 0 || block >= self.blocks {
            damaged("it names a block that it does not have")
        } else {
            Ok(block * self.block_bytes)
        }
    }

    fn block(&self, block: u64) -> Result<Vec<u8>, Ext4Error> {
        let mut content = vec![0; self.block_bytes as usize];
        self.read_at(self.place(block)?, &mut content)?;
        Ok(content)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Ext4Error> {
        self.disk.read_exact_at(buffer, offset).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Ext4Error::Damaged("it ends before it should".into()),
            _ => Ext4Error::Io(error),
        })
    }
}

/// The attributes of a list that begins at `first` of `place`, from whose beginning values are counted.
fn attributes_in(place: &[u8], first: usize, found: &mut Vec<(String, Vec<u8>)>) -> Result<(), Ext4Error> {
    let mut at = first;
    loop {
        let Some(entry) = place.get(at..) else { return damaged("an extended attribute makes no sense") };
        if entry.len() < 4 || u32_at(entry, 0) == 0 {
            return Ok(());
        }
        if entry.len() < 16 {
            return damaged("an extended attribute makes no sense");
        }
        let name_bytes = usize::from(entry[0]);
        let (offset, value_bytes) = (usize::from(u16_at(entry, 2)), u32_at(entry, 8) as usize);
        let name = entry.get(16..16 + name_bytes).and_then(|name| std::str::from_utf8(name).ok());
        let value = (value_bytes <= XATTR_BYTES_MAX).then(|| place.get(offset..offset + value_bytes)).flatten();
        if u32_at(entry, 4) != 0 {
            return Err(Ext4Error::Unknown("has extended attributes in inodes".into()));
        }
        let (Some(name), Some(value)) = (name, value) else { return damaged("an extended attribute makes no sense") };
        match entry[1] {
            1 => found.push((format!("user.{name}"), value.to_vec())),
            2 => found.extend(access_list(value).map(|list| ("system.posix_acl_access".to_owned(), list))),
            3 => found.extend(access_list(value).map(|list| ("system.posix_acl_default".to_owned(), list))),
            4 => found.push((format!("trusted.{name}"), value.to_vec())),
            6 => found.push((format!("security.{name}"), value.to_vec())),
            // The others are the file system's own.
            _ => {}
        }
        at += 16 + name_bytes.next_multiple_of(4);
    }
}

/// An access control list as programs see it, from how ext4 writes it; `None` where it makes no sense.
fn access_list(stored: &[u8]) -> Option<Vec<u8>> {
    const USER: u16 = 2;
    const GROUP: u16 = 8;
    const NOBODY: u32 = u32::MAX;
    let (version, mut rest) = stored.split_at_checked(4)?;
    if version != 1_u32.to_le_bytes() {
        return None;
    }
    let mut list = 2_u32.to_le_bytes().to_vec();
    while !rest.is_empty() {
        let (entry, after) = rest.split_at_checked(4)?;
        rest = after;
        list.extend_from_slice(entry);
        let tag = u16_at(entry, 0);
        let mut id = NOBODY;
        if tag == USER || tag == GROUP {
            let (named, after) = rest.split_at_checked(4)?;
            (id, rest) = (u32_at(named, 0), after);
        }
        list.extend_from_slice(&id.to_le_bytes());
    }
    Some(list)
}

/// The number at a place that the bytes have.
fn u16_at(bytes: &[u8], place: usize) -> u16 {
    u16::from(bytes[place]) | u16::from(bytes[place + 1]) << 8
}

fn u32_at(bytes: &[u8], place: usize) -> u32 {
    u32::from(u16_at(bytes, place)) | u32::from(u16_at(bytes, place + 2)) << 16
}
