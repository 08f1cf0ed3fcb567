//! Writes a small disk with a few files in its root: ISO 9660 (ECMA-119) with the long names of Joliet. Equal files give
//! equal disks. It is written here because a seed of three files needs no program that may be missing on the host.

/// A sector of the disk, in bytes.
const SECTOR: usize = 2048;
// Where things are, in sectors. The first sixteen are the system's and stay empty.
const PRIMARY: usize = 16;
const JOLIET: usize = 17;
const TERMINATOR: usize = 18;
const PRIMARY_PATHS: usize = 19;
const JOLIET_PATHS: usize = 21;
const PRIMARY_ROOT: usize = 23;
const JOLIET_ROOT: usize = 24;
const FILES: usize = 25;
/// The size of a table of paths that holds only the root.
const PATHS_BYTES: u32 = 10;

/// A file of the disk.
#[derive(Clone, Copy, Debug)]
pub(super) struct IsoFile<'a> {
    /// Its name, as guests see it.
    pub(super) name: &'a str,
    /// The name that ISO 9660 allows without Joliet: eight capitals or digits.
    pub(super) short_name: &'a str,
    /// What is in it.
    pub(super) content: &'a [u8],
}

/// The disk with this label. The files, so few that their entries fit into a sector, are in the order of their names.
pub(super) fn disk(label: &str, files: &[IsoFile<'_>]) -> Vec<u8> {
    let mut next = FILES;
    let places: Vec<usize> = files
        .iter()
        .map(|file| {
            let place = next;
            next += file.content.len().div_ceil(SECTOR);
            place
        })
        .collect();
    // Some readers look a little past the end, as a CD would let them.
    let sectors = next + 16;
    let mut disk = vec![0; sectors * SECTOR];
    let mut put = |sector: usize, bytes: &[u8]| {
        let begin = sector * SECTOR;
        disk[begin..begin + bytes.len()].copy_from_slice(bytes);
    };
    put(PRIMARY, &descriptor(Names::Short, label, sectors));
    put(JOLIET, &descriptor(Names::Joliet, label, sectors));
    put(TERMINATOR, b"\xffCD001\x01");
    for (names, paths, root) in
        [(Names::Short, PRIMARY_PATHS, PRIMARY_ROOT), (Names::Joliet, JOLIET_PATHS, JOLIET_ROOT)]
    {
        put(paths, &path_table((root as u32).to_le_bytes(), 1_u16.to_le_bytes()));
        put(paths + 1, &path_table((root as u32).to_be_bytes(), 1_u16.to_be_bytes()));
        let mut folder = record(root, SECTOR, true, &[0]);
        folder.extend(record(root, SECTOR, true, &[1]));
        for (file, place) in files.iter().zip(&places) {
            let name = match names {
                Names::Short => format!("{}.;1", file.short_name).into_bytes(),
                Names::Joliet => wide(file.name),
            };
            folder.extend(record(*place, file.content.len(), false, &name));
        }
        put(root, &folder);
    }
    for (file, place) in files.iter().zip(places) {
        put(place, file.content);
    }
    disk
}

#[derive(Clone, Copy, PartialEq)]
enum Names {
    Short,
    Joliet,
}

/// A volume descriptor (ECMA-119, 8.4 and 8.5).
fn descriptor(names: Names, label: &str, sectors: usize) -> Vec<u8> {
    let is_joliet = names == Names::Joliet;
    let text = |text: &str, length: usize| -> Vec<u8> {
        let (mut bytes, blank) = if is_joliet { (wide(text), &[0, b' '][..]) } else { (text.into(), &b" "[..]) };
        bytes.extend(blank.iter().cycle().take(length.saturating_sub(bytes.len())));
        bytes.truncate(length);
        bytes
    };
    let (paths, root) = if is_joliet { (JOLIET_PATHS, JOLIET_ROOT) } else { (PRIMARY_PATHS, PRIMARY_ROOT) };
    let mut out = vec![if is_joliet { 2 } else { 1 }];
    out.extend(b"CD001\x01\0");
    out.extend(text("", 32));
    out.extend(text(label, 32));
    out.extend([0; 8]);
    out.extend(both_32(sectors as u32));
    let mut escapes = [0; 32];
    if is_joliet {
        // UCS-2, level 3.
        escapes[..3].copy_from_slice(b"%/E");
    }
    out.extend(escapes);
    // One volume, the first, of sectors of this size.
    out.extend(both_16(1));
    out.extend(both_16(1));
    out.extend(both_16(SECTOR as u16));
    out.extend(both_32(PATHS_BYTES));
    out.extend((paths as u32).to_le_bytes());
    out.extend([0; 4]);
    out.extend((paths as u32 + 1).to_be_bytes());
    out.extend([0; 4]);
    out.extend(record(root, SECTOR, true, &[0]));
    for length in [128, 128, 128, 128, 37, 37, 37] {
        out.extend(text("", length));
    }
    for _ in 0..4 {
        // No time, said in digits.
        out.extend(b"0000000000000000\0");
    }
    out.extend([1, 0]);
    out
}

/// An entry of a folder (ECMA-119, 9.1).
fn record(sector: usize, length: usize, is_folder: bool, name: &[u8]) -> Vec<u8> {
    let padding = usize::from(name.len().is_multiple_of(2));
    let mut out = vec![(33 + name.len() + padding) as u8, 0];
    out.extend(both_32(sector as u32));
    out.extend(both_32(length as u32));
    // 1970-01-01 00:00:00, with no offset from UTC.
    out.extend([70, 1, 1, 0, 0, 0, 0]);
    out.extend([if is_folder { 2 } else { 0 }, 0, 0]);
    out.extend(both_16(1));
    out.push(name.len() as u8);
    out.extend(name);
    out.extend(std::iter::repeat_n(0, padding));
    out
}

fn path_table(sector: [u8; 4], parent: [u8; 2]) -> Vec<u8> {
    let mut out = vec![1, 0];
    out.extend(sector);
    out.extend(parent);
    out.extend([0, 0]);
    out
}

fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

fn both_16(number: u16) -> [u8; 4] {
    let [a, b] = number.to_le_bytes();
    [a, b, b, a]
}

fn both_32(number: u32) -> [u8; 8] {
    let ([a, b, c, d], [e, f, g, h]) = (number.to_le_bytes(), number.to_be_bytes());
    [a, b, c, d, e, f, g, h]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_by_their_long_names() {
        let content = vec![b'x'; 3000];
        let files = [
            IsoFile { name: "meta-data", short_name: "METADATA", content: b"a: 1\n" },
            IsoFile { name: "user-data", short_name: "USERDATA", content: &content },
        ];
        let disk = disk("cidata", &files);
        assert_eq!(disk.len() % SECTOR, 0);
        // Where std:tiny and `blkid` look for the label.
        assert_eq!(&disk[32808..32819], b"cidata     ");
        assert_eq!(&disk[JOLIET * SECTOR + 88..][..3], b"%/E");
        let mut entry = JOLIET_ROOT * SECTOR;
        let mut found = Vec::new();
        while disk[entry] > 0 {
            let (length, name_length) = (disk[entry] as usize, disk[entry + 32] as usize);
            let word = |place: usize| u32::from_le_bytes(disk[place..place + 4].try_into().unwrap()) as usize;
            let (sector, bytes) = (word(entry + 2), word(entry + 10));
            let name = &disk[entry + 33..entry + 33 + name_length];
            if name_length > 1 {
                let units: Vec<u16> = name.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
                found.push((String::from_utf16(&units).unwrap(), disk[sector * SECTOR..][..bytes].to_vec()));
            }
            entry += length;
        }
        assert_eq!(found, [("meta-data".into(), b"a: 1\n".to_vec()), ("user-data".into(), content)]);
    }
}
