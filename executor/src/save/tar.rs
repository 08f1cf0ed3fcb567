//! Writes archives: POSIX.1-2001 (pax), with holes as GNU tar 1.0 writes them, and extended attributes as star does
//! (`SCHILY.xattr`), which GNU tar and libarchive read.

use std::io::{self, Write};

const BLOCK: usize = 512;
/// What fits into the fields of a header.
const NAME_BYTES: usize = 100;
const EIGHT_DIGITS_MAX: u64 = 0o7_777_777;
const TWELVE_DIGITS_MAX: u64 = 0o77_777_777_777;

/// A member of an archive, without its content.
#[derive(Clone, Debug, Default)]
pub(super) struct Member<'a> {
    /// Its path, relative.
    pub(super) path: &'a [u8],
    /// Its permissions.
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Seconds since 1970.
    pub(super) modified: i64,
    pub(super) kind: Kind<'a>,
    /// Names and values.
    pub(super) attributes: &'a [(String, Vec<u8>)],
}

/// What a member is.
#[derive(Clone, Debug, Default)]
pub(super) enum Kind<'a> {
    #[default]
    Folder,
    /// A file of so many bytes, with content at these places: offsets and lengths, in order; the rest is blank.
    File(u64, &'a [(u64, u64)]),
    /// Another name of a member that came before.
    HardLink(&'a [u8]),
    SymbolicLink(&'a [u8]),
    CharacterDevice(u32, u32),
    BlockDevice(u32, u32),
    Fifo,
}

/// Writes the header of a member. The content of a file follows: the bytes of its pieces one after the other, and then
/// [`pad`].
pub(super) fn header(out: &mut dyn Write, member: &Member<'_>) -> io::Result<()> {
    let mut records = Vec::new();
    let mut path = member.path.to_vec();
    let (mut letter, mut size, mut link, mut device): (u8, u64, &[u8], (u32, u32)) = (b'0', 0, &[], (0, 0));
    let mut map = Vec::new();
    match &member.kind {
        Kind::Folder => letter = b'5',
        Kind::File(bytes, pieces) => {
            size = pieces.iter().map(|(_, length)| length).sum();
            if size != *bytes {
                map = sparse_map(pieces, *bytes);
                record(&mut records, "GNU.sparse.major", b"1");
                record(&mut records, "GNU.sparse.minor", b"0");
                record(&mut records, "GNU.sparse.name", &path);
                record(&mut records, "GNU.sparse.realsize", bytes.to_string().as_bytes());
                // What a program that knows nothing of holes makes of it has a name of its own.
                let (folder, name) = path.split_at(path.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1));
                path = [folder, b"GNUSparseFile.0/", name].concat();
                size += map.len() as u64;
            }
        }
        Kind::HardLink(target) => (letter, link) = (b'1', target),
        Kind::SymbolicLink(target) => (letter, link) = (b'2', target),
        Kind::CharacterDevice(major, minor) => (letter, device) = (b'3', (*major, *minor)),
        Kind::BlockDevice(major, minor) => (letter, device) = (b'4', (*major, *minor)),
        Kind::Fifo => letter = b'6',
    }
    if path.len() > NAME_BYTES {
        record(&mut records, "path", &path);
    }
    if link.len() > NAME_BYTES {
        record(&mut records, "linkpath", link);
    }
    for (key, number, most) in [
        ("size", size, TWELVE_DIGITS_MAX),
        ("uid", u64::from(member.uid), EIGHT_DIGITS_MAX),
        ("gid", u64::from(member.gid), EIGHT_DIGITS_MAX),
    ] {
        if number > most {
            record(&mut records, key, number.to_string().as_bytes());
        }
    }
    let modified = u64::try_from(member.modified).ok().filter(|seconds| *seconds <= TWELVE_DIGITS_MAX);
    if modified.is_none() {
        record(&mut records, "mtime", member.modified.to_string().as_bytes());
    }
    for (name, value) in member.attributes {
        record(&mut records, &format!("SCHILY.xattr.{name}"), value);
    }
    if !records.is_empty() {
        let bytes = records.len() as u64;
        out.write_all(&block(b"./PaxHeaders/member", b'x', 0o644, (0, 0), bytes, 0, b"", (0, 0)))?;
        out.write_all(&records)?;
        pad(out, bytes)?;
    }
    let owner = (member.uid, member.gid);
    let mode = member.mode & 0o7777;
    out.write_all(&block(&path, letter, mode, owner, size, modified.unwrap_or(0), link, device))?;
    out.write_all(&map)
}

/// Fills up the last block of a content of so many bytes.
pub(super) fn pad(out: &mut dyn Write, bytes: u64) -> io::Result<()> {
    out.write_all(&[0; BLOCK][..(BLOCK - (bytes % BLOCK as u64) as usize) % BLOCK])
}

/// Ends an archive.
pub(super) fn end(out: &mut dyn Write) -> io::Result<()> {
    out.write_all(&[0; 2 * BLOCK])
}

/// Where the content of a file is, in whole blocks. A file that ends with a hole has an empty piece at its end.
fn sparse_map(pieces: &[(u64, u64)], bytes: u64) -> Vec<u8> {
    let ends_blank = pieces.last().is_none_or(|(offset, length)| offset + length < bytes);
    let mut text = format!("{}\n", pieces.len() + usize::from(ends_blank));
    for (offset, length) in pieces.iter().copied().chain(ends_blank.then_some((bytes, 0))) {
        text.push_str(&format!("{offset}\n{length}\n"));
    }
    let mut map = text.into_bytes();
    map.resize(map.len().next_multiple_of(BLOCK), 0);
    map
}

/// Adds a record of an extended header: its own length, a key and a value.
fn record(records: &mut Vec<u8>, key: &str, value: &[u8]) {
    // A blank, an equals sign and a line feed.
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    records.extend(format!("{length} {key}=").as_bytes());
    records.extend(value);
    records.push(b'\n');
}

/// A header block. What does not fit is cut or 0, and said in an extended header before.
fn block(
    path: &[u8],
    letter: u8,
    mode: u16,
    (uid, gid): (u32, u32),
    size: u64,
    modified: u64,
    link: &[u8],
    (major, minor): (u32, u32),
) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |place: usize, bytes: &[u8]| block[place..place + bytes.len()].copy_from_slice(bytes);
    let octal = |number: u64, digits: usize, most: u64| format!("{:0digits$o}", if number > most { 0 } else { number });
    put(0, &path[..path.len().min(NAME_BYTES)]);
    put(100, octal(u64::from(mode), 7, EIGHT_DIGITS_MAX).as_bytes());
    put(108, octal(u64::from(uid), 7, EIGHT_DIGITS_MAX).as_bytes());
    put(116, octal(u64::from(gid), 7, EIGHT_DIGITS_MAX).as_bytes());
    put(124, octal(size, 11, TWELVE_DIGITS_MAX).as_bytes());
    put(136, octal(modified, 11, TWELVE_DIGITS_MAX).as_bytes());
    put(148, b"        ");
    put(156, &[letter]);
    put(157, &link[..link.len().min(NAME_BYTES)]);
    put(257, b"ustar\x0000");
    put(329, octal(u64::from(major), 7, EIGHT_DIGITS_MAX).as_bytes());
    put(337, octal(u64::from(minor), 7, EIGHT_DIGITS_MAX).as_bytes());
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}
