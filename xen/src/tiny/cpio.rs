//! Writes ram disks: cpio archives of the kind "newc", as the kernel's documentation describes them
//! (Documentation/driver-api/early-userspace/buffer-format.rst). Everything in them is root's.

// The kinds of files, as the kernel numbers them.
const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;
const CHARACTER_DEVICE: u32 = 0o020_000;

/// A ram disk in the making.
#[derive(Debug, Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    count: u32,
}

impl Archive {
    pub(super) fn folder(&mut self, path: &str, mode: u32) {
        self.add(path, FOLDER | mode, b"", (0, 0));
    }

    pub(super) fn file(&mut self, path: &str, content: &[u8]) {
        self.add(path, FILE | 0o644, content, (0, 0));
    }

    pub(super) fn program(&mut self, path: &str, content: &[u8]) {
        self.add(path, FILE | 0o755, content, (0, 0));
    }

    pub(super) fn link(&mut self, path: &str, target: &str) {
        self.add(path, LINK | 0o777, target.as_bytes(), (0, 0));
    }

    pub(super) fn character_device(&mut self, path: &str, major: u32, minor: u32) {
        self.add(path, CHARACTER_DEVICE | 0o600, b"", (major, minor));
    }

    /// The whole archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.add("TRAILER!!!", 0, b"", (0, 0));
        self.bytes
    }

    fn add(&mut self, path: &str, mode: u32, content: &[u8], (major, minor): (u32, u32)) {
        self.count += 1;
        // Number, mode, owner, group, links, time, size, device of the archive, device of the file, length of the
        // name, no checksum. A ram disk of 4 GiB would not fit into any memory it is for.
        let fields = [self.count, mode, 0, 0, 1, 0, content.len() as u32, 0, 0, major, minor, path.len() as u32 + 1, 0];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08X}").bytes());
        }
        self.bytes.extend(path.bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    fn pad(&mut self) {
        let length = self.bytes.len().next_multiple_of(4);
        self.bytes.resize(length, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_headers_names_and_contents_each_padded_to_four_bytes() {
        let mut archive = Archive::default();
        archive.folder("bin", 0o755);
        archive.file("a", b"hello");
        let bytes = archive.finish();
        let (folder, rest) = bytes.split_at(116);
        assert!(folder.starts_with(b"070701\x30\x30\x30\x30\x30\x30\x30\x31000041ED"));
        assert!(folder.ends_with(b"bin\0\0\0"), "{folder:?}");
        let (file, trailer) = rest.split_at(112 + 8);
        assert_eq!(&file[54..62], b"00000005");
        assert_eq!(&file[110..], b"a\0hello\0\0\0");
        assert!(trailer.starts_with(b"070701") && trailer.len() % 4 == 0);
    }
}
