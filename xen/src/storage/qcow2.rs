//! Images in QEMU's format. Before QEMU sees one, its header is read here: QEMU would follow what an image names, such
//! as a file of the host that it calls its backing file.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use super::command::{Command, Interrupt};
use super::{failed, refused};
use crate::hypervisor::HypervisorError;

/// What a file in QEMU's format begins with.
pub(super) const MAGIC: [u8; 4] = *b"QFI\xfb";
const CHECKING: &str = "looking at the image";
/// Magic number, version 3's fields up to the features (QEMU's docs/interop/qcow2.txt).
const HEADER_BYTES: usize = 104;
/// Compressed clusters of another kind, and subclusters, lead to no other file.
const HARMLESS_FEATURES: u64 = 1 << 3 | 1 << 4;
/// The largest disk: 16 TiB.
const DISK_BYTES_MAX: u64 = 16 << 40;
/// What `qemu-img` may take: memory in bytes, and time.
const MEMORY_BYTES_MAX: u64 = 2 << 30;
const CONVERT_TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// The size of the disk in an image that refers to nothing else.
pub(super) fn check(image: &Path) -> Result<u64, HypervisorError> {
    let reading = |error: std::io::Error| failed(CHECKING, format!("{}: {error}", image.display()));
    let mut header = Vec::with_capacity(HEADER_BYTES);
    File::open(image).map_err(reading)?.take(HEADER_BYTES as u64).read_to_end(&mut header).map_err(reading)?;
    disk_bytes(&header).map_err(|reason| refused(CHECKING, format!("{}: {reason}", image.display())))
}

fn disk_bytes(header: &[u8]) -> Result<u64, String> {
    let word =
        |place: usize| -> Option<u32> { Some(u32::from_be_bytes(header.get(place..place + 4)?.try_into().ok()?)) };
    let long = |place: usize| Some(u64::from(word(place)?) << 32 | u64::from(word(place + 4)?));
    if header.get(..4) != Some(&MAGIC) {
        return Err("it is not in the format qcow2".to_owned());
    }
    let short = || "it ends in its header".to_owned();
    let version = word(4).ok_or_else(short)?;
    if !matches!(version, 2 | 3) {
        return Err(format!("it has version {version} of qcow2; 2 and 3 are known"));
    }
    if long(8).ok_or_else(short)? != 0 {
        return Err("it has a backing file; make it whole with `qemu-img convert -O qcow2`".to_owned());
    }
    if word(32).ok_or_else(short)? != 0 {
        return Err("it is encrypted; write it without encryption".to_owned());
    }
    let features = if version == 2 { 0 } else { long(72).ok_or_else(short)? };
    if features & 1 << 2 != 0 {
        return Err("its data is in another file; make it whole with `qemu-img convert -O qcow2`".to_owned());
    }
    if features & !HARMLESS_FEATURES != 0 {
        return Err("it was not closed or is damaged; `qemu-img check -r all` may repair it".to_owned());
    }
    match long(24).ok_or_else(short)? {
        bytes if (1..=DISK_BYTES_MAX).contains(&bytes) => Ok(bytes),
        bytes => Err(format!("its disk has {bytes} bytes; 1 to {DISK_BYTES_MAX} are possible")),
    }
}

/// Writes the disk of a checked image to `target`, block by block; the file is there whole or not at all.
pub(super) fn convert(image: &Path, target: &Path, interrupt: &Interrupt) -> Result<(), HypervisorError> {
    const OPERATION: &str = "making the image ready";
    let bytes = check(image)?;
    let folder = target.parent().unwrap_or(Path::new("/"));
    let wrong = |error: std::io::Error| failed(OPERATION, format!("{}: {error}", target.display()));
    // It is removed where anything fails.
    let half = tempfile::Builder::new().prefix(".new-").tempfile_in(folder).map_err(wrong)?;
    Command::new("prlimit")
        .arg(format!("--as={MEMORY_BYTES_MAX}"))
        .arg(format!("--cpu={}", CONVERT_TIMEOUT.as_secs()))
        .arg(format!("--fsize={}", bytes.next_multiple_of(1 << 16)))
        // What an image can make QEMU do must not become root's.
        .args(["setpriv", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"])
        .args(["qemu-img", "convert", "-q", "-f", "qcow2", "-O", "raw"])
        .args([image, half.path()])
        .timeout(CONVERT_TIMEOUT)
        .interrupt(interrupt)
        .run(OPERATION)?;
    let file = File::open(half.path()).map_err(wrong)?;
    file.sync_all().map_err(wrong)?;
    // `qemu-img` may have made a new file in the place of ours.
    fs::rename(half.path(), target).map_err(wrong)?;
    super::folder::sync_folder(folder).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(change: impl FnOnce(&mut [u8])) -> Vec<u8> {
        let mut header = vec![0; HEADER_BYTES];
        header[..4].copy_from_slice(b"QFI\xfb");
        header[7] = 3;
        header[24..32].copy_from_slice(&(8_u64 << 20).to_be_bytes());
        change(&mut header);
        header
    }

    #[test]
    fn images_that_refer_to_other_files_are_refused() {
        assert_eq!(disk_bytes(&header(|_| {})), Ok(8 << 20));
        type Change = fn(&mut [u8]);
        let wrong: [(Change, &str); 6] = [
            (|header| header[15] = 200, "backing file"),
            (|header| header[79] = 4, "data is in another file"),
            (|header| header[35] = 1, "encrypted"),
            (|header| header[79] = 2, "damaged"),
            (|header| header[72] = 1, "damaged"),
            (|header| header[0] = 0, "not in the format"),
        ];
        for (change, word) in wrong {
            let error = disk_bytes(&header(change)).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
        for length in 0..HEADER_BYTES {
            // No beginning of a header is taken for a whole one, and none stops the program.
            let _ = disk_bytes(&header(|_| {})[..length]);
        }
        assert!(disk_bytes(&header(|_| {})[..40]).is_err());
    }
}
