//! The blocks of a copy-on-write volume whose device is detached, without a device: where the file has a cluster, its; else
//! those of the image below. QEMU on this host has made the file and all its tables; what a domain wrote is in the clusters
//! alone (QEMU's docs/interop/qcow2.txt).

use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::blocks::{READING, wrong};
use super::failed;
use crate::hypervisor::HypervisorError;

/// The header up to the features.
const HEADER_BYTES: usize = 80;
/// Where a table says that a cluster is.
const OFFSET_MASK: u64 = 0x00ff_ffff_ffff_fe00;
const COMPRESSED: u64 = 1 << 62;
const READS_AS_ZEROS: u64 = 1;
/// The sizes of clusters that there are: 512 bytes to 2 MiB.
const CLUSTER_BITS: std::ops::RangeInclusive<u32> = 9..=21;

/// Reads at `offset` of the volume in `file`, over the raw disk `base`.
pub(super) fn read(file: &Path, base: &Path, offset: u64, buffer: &mut [u8]) -> Result<(), HypervisorError> {
    let tables = Tables::open(file)?;
    let base_file = File::open(base).map_err(|error| wrong(base, &error))?;
    let mut second: Option<(u64, Vec<u8>)> = None;
    let cluster_bytes = 1_u64 << tables.cluster_bits;
    let mut done = 0;
    while done < buffer.len() {
        let at = offset + done as u64;
        let within = at % cluster_bytes;
        let count = usize::try_from(cluster_bytes - within).unwrap_or(usize::MAX).min(buffer.len() - done);
        let piece = &mut buffer[done..done + count];
        let entry = tables.entry(at / cluster_bytes, &mut second).map_err(|error| wrong(file, &error))?;
        let read = match entry {
            Some(entry) if entry & COMPRESSED != 0 => Err(io::Error::other("a cluster of it is compressed")),
            Some(entry) if entry & READS_AS_ZEROS != 0 => {
                piece.fill(0);
                Ok(())
            }
            Some(entry) if entry & OFFSET_MASK != 0 => tables.file.read_exact_at(piece, (entry & OFFSET_MASK) + within),
            _ => {
                read_or_blank(&base_file, at, piece).map_err(|error| wrong(base, &error))?;
                Ok(())
            }
        };
        read.map_err(|error| wrong(file, &error))?;
        done += count;
    }
    Ok(())
}

/// Reads what a file has; beyond its end all is blank.
fn read_or_blank(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer[done..].fill(0);
    Ok(())
}

/// A file in QEMU's format.
struct Tables {
    file: File,
    cluster_bits: u32,
    first_offset: u64,
    first_entries: u64,
}

impl Tables {
    fn open(path: &Path) -> Result<Self, HypervisorError> {
        let mut file = File::open(path).map_err(|error| wrong(path, &error))?;
        let mut header = [0; HEADER_BYTES];
        file.read_exact(&mut header).map_err(|error| wrong(path, &error))?;
        let unknown = |what: &str| failed(READING, format!("{}: {what}", path.display()));
        let (version, cluster_bits) = (word(&header, 4), word(&header, 20));
        if header[..4] != *b"QFI\xfb" || !matches!(version, 2 | 3) || !CLUSTER_BITS.contains(&cluster_bits) {
            return Err(unknown("it is not in the format qcow2 as it is made here"));
        }
        let features = if version == 2 { 0 } else { long(&header, 72) };
        if features != 0 || word(&header, 32) != 0 {
            return Err(unknown("it was not closed, or has features of qcow2 that are not used here"));
        }
        Ok(Self { file, cluster_bits, first_offset: long(&header, 40), first_entries: u64::from(word(&header, 36)) })
    }

    /// What the tables say of a cluster of the disk; `None` where they say nothing. `second` is the table that was read last,
    /// and its place.
    fn entry(&self, cluster: u64, second: &mut Option<(u64, Vec<u8>)>) -> io::Result<Option<u64>> {
        let entries = 1_u64 << (self.cluster_bits - 3);
        let (first_index, second_index) = (cluster / entries, cluster % entries);
        if first_index >= self.first_entries {
            return Ok(None);
        }
        let mut first = [0; 8];
        self.file.read_exact_at(&mut first, self.first_offset + first_index * 8)?;
        let place = u64::from_be_bytes(first) & OFFSET_MASK;
        if place == 0 {
            return Ok(None);
        }
        if second.as_ref().is_none_or(|(known, _)| *known != place) {
            let mut table = vec![0; 1 << self.cluster_bits];
            self.file.read_exact_at(&mut table, place)?;
            *second = Some((place, table));
        }
        // The index is below the number of entries, and each has eight bytes.
        Ok(second.as_ref().map(|(_, table)| long(table, second_index as usize * 8)))
    }
}

fn word(bytes: &[u8], place: usize) -> u32 {
    bytes[place..place + 4].iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte))
}

fn long(bytes: &[u8], place: usize) -> u64 {
    u64::from(word(bytes, place)) << 32 | u64::from(word(bytes, place + 4))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const CLUSTER: usize = 1 << 16;

    /// A file as QEMU makes it, with one cluster of its own, one that is blank, and nothing of the others.
    fn overlay(own: &[u8]) -> Vec<u8> {
        let mut file = vec![0; 5 * CLUSTER];
        file[..4].copy_from_slice(b"QFI\xfb");
        file[4..8].copy_from_slice(&3_u32.to_be_bytes());
        file[20..24].copy_from_slice(&16_u32.to_be_bytes());
        file[24..32].copy_from_slice(&(4 * CLUSTER as u64).to_be_bytes());
        file[36..40].copy_from_slice(&1_u32.to_be_bytes());
        file[40..48].copy_from_slice(&(CLUSTER as u64).to_be_bytes());
        let copied = 1_u64 << 63;
        file[CLUSTER..CLUSTER + 8].copy_from_slice(&(copied | (2 * CLUSTER as u64)).to_be_bytes());
        file[2 * CLUSTER + 8..2 * CLUSTER + 16].copy_from_slice(&(copied | (3 * CLUSTER as u64)).to_be_bytes());
        file[2 * CLUSTER + 16..2 * CLUSTER + 24].copy_from_slice(&1_u64.to_be_bytes());
        file[3 * CLUSTER..3 * CLUSTER + own.len()].copy_from_slice(own);
        file
    }

    #[test]
    fn clusters_come_from_the_file_from_the_image_or_are_blank() {
        let folder = tempfile::tempdir().unwrap();
        let (file, base) = (folder.path().join("root.qcow2"), folder.path().join("base"));
        let content = overlay(&[7; CLUSTER]);
        fs::write(&file, &content).unwrap();
        // The image ends in the middle of the third cluster, which is blank in the file.
        fs::write(&base, [1; 2 * CLUSTER + 100]).unwrap();
        let mut all = vec![9; 4 * CLUSTER];
        read(&file, &base, 0, &mut all).unwrap();
        let expected = [vec![1; CLUSTER], vec![7; CLUSTER], vec![0; 2 * CLUSTER]].concat();
        assert!(all == expected);
        // Any part is that part.
        let mut part = vec![9; CLUSTER];
        read(&file, &base, CLUSTER as u64 - 5, &mut part).unwrap();
        assert!(part == expected[CLUSTER - 5..2 * CLUSTER - 5]);

        let mut compressed = content.clone();
        compressed[2 * CLUSTER..2 * CLUSTER + 8].copy_from_slice(&COMPRESSED.to_be_bytes());
        let mut damaged = content;
        damaged[79] = 2;
        for (wrong, reason) in
            [(compressed, "compressed"), (damaged, "not closed"), (vec![0; 200], "not in the format")]
        {
            fs::write(&file, wrong).unwrap();
            let error = read(&file, &base, 0, &mut all).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
