//! What a service read when the program was loaded, and needs no longer: it lets go of it.
//!
//! The program and its libraries are some 40 MiB, of which half is read before a service begins: the command line with all
//! that can be asked, what each library sets up for itself. Linux counts these pages to the process until
//! somebody is short of memory, and the control domain of a Xen host is given little. After this they are nobody's: what
//! is used again comes back from the page cache, or from the file.

use std::ffi::c_void;
use std::fs;

use rustix::mm::{Advice, madvise};

/// A part of the address space.
#[derive(Debug, PartialEq, Eq)]
struct Mapping {
    begin: usize,
    bytes: usize,
}

/// Lets go of the pages of files that are only read and were never changed in memory. To be called before there are threads
/// that may load or unload a library meanwhile.
pub fn let_go_of_loading() {
    // Where the kernel does not tell of its mappings, they stay.
    let Ok(mappings) = fs::read_to_string("/proc/self/smaps") else { return };
    for Mapping { begin, bytes } in unchanged_files(&mappings) {
        #[expect(
            unsafe_code,
            reason = "they cannot be written, and none has a page of its own: each has what its file has"
        )]
        // SAFETY: the pages are private, read-only mappings of a file without any page that differs from it, in memory or
        // swapped out, so that whoever reads them next finds the same bytes. No mapping is taken away, and nobody else
        // maps anything here meanwhile.
        let advised = unsafe { madvise(begin as *mut c_void, bytes, Advice::LinuxDontNeed) };
        if let Err(error) = advised {
            tracing::debug!(%error, begin, bytes, "a part of the program stays in memory");
        }
    }
}

/// The mappings of files, of those in the form of `/proc/PID/smaps`, that cannot be written and have no page that is not
/// the file's, here or swapped out. (What the linker has filled in and locked afterwards cannot be written either, but has
/// such pages.)
fn unchanged_files(mappings: &str) -> Vec<Mapping> {
    let mut found = Vec::new();
    let (mut candidate, mut unchanged) = (None, 0);
    for line in mappings.lines() {
        if let Some(mapping) = mapping_of(line) {
            (candidate, unchanged) = (mapping, 0);
        } else if let Some(amount) = line.strip_prefix("Anonymous:").or_else(|| line.strip_prefix("Swap:")) {
            unchanged += u8::from(amount.trim() == "0 kB");
            // Both are told of each, and both must be nothing.
            if unchanged == 2 {
                found.extend(candidate.take());
            }
        }
    }
    found
}

/// What a line says of a mapping: nothing where it does not begin one, and `Some(None)` where it is not one of an
/// executable or readable file.
fn mapping_of(line: &str) -> Option<Option<Mapping>> {
    let mut words = line.split_ascii_whitespace();
    let (begin, end) = words.next()?.split_once('-')?;
    let (begin, end) = (usize::from_str_radix(begin, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
    let rights = words.next()?;
    let is_file = words.nth(3).is_some_and(|path| path.starts_with('/'));
    let is_read_only = matches!(rights, "r-xp" | "r--p");
    Some((is_file && is_read_only).then(|| Mapping { begin, bytes: end.saturating_sub(begin) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_that_are_as_on_disk_are_let_go_of() {
        let mapping = |begin, rights, file, anonymous, swapped| {
            format!(
                "{begin:x}-{:x} {rights} 00000000 fe:00 42   {file}\nSize: 4 kB\nRss: 4 kB\nAnonymous:  {anonymous} kB\n\
                 Swap: {swapped} kB\nSwapPss: 0 kB\nVmFlags: rd ex mr mw me\n",
                begin + 0x1000
            )
        };
        let all = [
            mapping(0x10_000, "r-xp", "/usr/bin/tycoon", 0, 0),
            mapping(0x20_000, "r--p", "/usr/bin/tycoon (deleted)", 0, 0),
            mapping(0x30_000, "r--p", "/usr/lib/libc.so.6", 8, 0),
            mapping(0x38_000, "r--p", "/usr/lib/libm.so.6", 0, 8),
            mapping(0x40_000, "rw-p", "/usr/lib/libc.so.6", 0, 0),
            mapping(0x50_000, "r--s", "/etc/cache", 0, 0),
            mapping(0x60_000, "r-xp", "[vdso]", 0, 0),
            mapping(0x70_000, "r--p", "", 0, 0),
            // A kernel that does not tell what is swapped out.
            "80000-81000 r-xp 00000000 fe:00 42   /usr/bin/tycoon\nAnonymous: 0 kB\n".to_owned(),
        ]
        .concat();
        let places: Vec<_> = unchanged_files(&all).iter().map(|mapping| (mapping.begin, mapping.bytes)).collect();
        assert_eq!(places, [(0x10_000, 0x1000), (0x20_000, 0x1000)]);
        assert_eq!(unchanged_files("nothing of the kind\nAnonymous: 0 kB\n"), []);
    }

    #[test]
    fn a_program_goes_on_without_what_it_let_go_of() {
        let table: Vec<u32> = (0..1_000).collect();
        let_go_of_loading();
        let mappings = fs::read_to_string("/proc/self/smaps").unwrap();
        assert!(!unchanged_files(&mappings).is_empty(), "there was something to let go of");
        assert_eq!(table.iter().sum::<u32>(), 499_500);
    }
}
