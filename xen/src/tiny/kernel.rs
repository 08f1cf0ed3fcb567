//! The kernel of the guest and its modules, taken from a Debian system.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{OPERATION, at, fail};
use crate::hypervisor::HypervisorError;
use crate::storage::command::Command;

/// Unpacking a kernel takes seconds, under emulation a minute.
const UNPACK_TIMEOUT: Duration = Duration::from_secs(300);
/// No kernel and no module is larger.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// The release of the kernel to take: the running one where its files are there, else the newest.
pub(super) fn release(root: &Path) -> Result<String, HypervisorError> {
    let has_both =
        |release: &str| image(root, release).is_file() && modules(root, release).join("modules.dep").is_file();
    if let Ok(running) = fs::read_to_string("/proc/sys/kernel/osrelease")
        && has_both(running.trim())
    {
        return Ok(running.trim().to_owned());
    }
    let boot = root.join("boot");
    let mut releases: Vec<String> = fs::read_dir(&boot)
        .map_err(|error| at(&boot, &error))?
        .flatten()
        .filter_map(|entry| Some(entry.file_name().to_str()?.strip_prefix("vmlinuz-")?.to_owned()))
        .filter(|release| has_both(release))
        .collect();
    releases.sort_by_key(|release| version(release));
    releases.pop().ok_or_else(|| {
        fail(format!("{} has no kernel whose modules are there; `apt install linux-image-amd64`", boot.display()))
    })
}

/// The numbers in a release, by which a newer one comes later.
fn version(release: &str) -> Vec<u64> {
    release.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}

fn image(root: &Path, release: &str) -> PathBuf {
    root.join("boot").join(format!("vmlinuz-{release}"))
}

fn modules(root: &Path, release: &str) -> PathBuf {
    root.join("lib/modules").join(release)
}

/// Writes the kernel to `into`: unpacked where that is possible, for unpacking at every start takes time and memory,
/// else as it is, which Xen can start too.
pub(super) fn write(root: &Path, release: &str, into: &Path) -> Result<(), HypervisorError> {
    let path = image(root, release);
    let packed = read(&path)?;
    let unpacked = match payload(&packed) {
        Some(payload) => unpack(payload, into).is_ok_and(|()| is_elf(into)),
        None => false,
    };
    if !unpacked {
        fs::write(into, &packed).map_err(|error| at(into, &error))?;
    }
    Ok(())
}

fn is_elf(path: &Path) -> bool {
    let mut magic = [0; 4];
    File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok() && magic == *b"\x7fELF"
}

/// The kernel inside its file, packed with xz (Documentation/arch/x86/boot.rst, protocol 2.08).
fn payload(file: &[u8]) -> Option<&[u8]> {
    const SETUP_SECTORS: usize = 0x1f1;
    const SIGNATURE: usize = 0x202;
    const OFFSET: usize = 0x248;
    const LENGTH: usize = 0x24c;
    /// The size of the unpacked kernel follows it.
    const SIZE_BYTES: usize = 4;
    let number = |place: usize| -> Option<usize> {
        usize::try_from(u32::from_le_bytes(file.get(place..place + 4)?.try_into().ok()?)).ok()
    };
    if file.get(SIGNATURE..SIGNATURE + 4)? != b"HdrS" {
        return None;
    }
    // Zero means four, for old boot loaders.
    let sectors = match usize::from(*file.get(SETUP_SECTORS)?) {
        0 => 4,
        sectors => sectors,
    };
    let begin = ((sectors + 1) * 512).checked_add(number(OFFSET)?)?;
    let end = begin.checked_add(number(LENGTH)?.checked_sub(SIZE_BYTES)?)?;
    file.get(begin..end).filter(|payload| payload.starts_with(b"\xfd7zXZ\0"))
}

/// Unpacks xz, with the program of that name or with busybox, which is there anyway and unpacks modules but not
/// kernels: it lacks the filter for machine code.
fn unpack(packed: &[u8], into: &Path) -> Result<(), HypervisorError> {
    let mut file = tempfile::NamedTempFile::new().map_err(|error| at(into, &error))?;
    file.write_all(packed).map_err(|error| at(into, &error))?;
    let unpack = |command: Command| {
        let output = File::create(into).map_err(|error| at(into, &error))?;
        command.arg("-dc").arg(file.path()).stdout_to(output).timeout(UNPACK_TIMEOUT).run(OPERATION)
    };
    unpack(Command::new("xz")).or_else(|_| unpack(Command::new("busybox").arg("xz")))?;
    Ok(())
}

/// The modules `names` and what they need, in the order of loading: names of files that sort so, and contents. What is
/// built into the kernel is left out, and of `names` what does not exist, where it is only `wished`.
pub(super) fn modules_in_order(
    root: &Path,
    release: &str,
    wished: &[&str],
    names: &[&str],
) -> Result<Vec<(String, Vec<u8>)>, HypervisorError> {
    let folder = modules(root, release);
    let text = |name: &str| -> Result<String, HypervisorError> {
        let path = folder.join(name);
        String::from_utf8(read(&path)?).map_err(|_| fail(format!("{} is no text", path.display())))
    };
    let (needs, builtin) = (text("modules.dep")?, text("modules.builtin")?);
    let mut order = loading_order(&needs, &builtin, wished, true).map_err(fail)?;
    for path in loading_order(&needs, &builtin, names, false).map_err(fail)? {
        if !order.contains(&path) {
            order.push(path);
        }
    }
    let file = |(number, path): (usize, String)| {
        let packed = folder.join(&path);
        let content = if path.ends_with(".xz") {
            let unpacked = tempfile::NamedTempFile::new().map_err(|error| at(&packed, &error))?;
            unpack(&read(&packed)?, unpacked.path())?;
            read(unpacked.path())?
        } else {
            read(&packed)?
        };
        Ok((format!("{number:02}-{}.ko", module_name(&path)), content))
    };
    order.into_iter().enumerate().map(file).collect()
}

/// The files of modules and of what they need, by the kernel's lists.
fn loading_order(needs: &str, builtin: &str, names: &[&str], is_wish: bool) -> Result<Vec<String>, String> {
    let mut files = BTreeMap::new();
    for line in needs.lines() {
        if let Some((path, needed)) = line.split_once(':') {
            files.insert(module_name(path), (path, needed));
        }
    }
    let mut order: Vec<String> = Vec::new();
    for name in names {
        let name = name.replace('-', "_");
        let Some((path, needed)) = files.get(&name) else {
            if is_wish || builtin.lines().any(|line| module_name(line) == name) {
                continue;
            }
            return Err(format!("the kernel has no module `{name}`; a kernel of Debian for servers has it"));
        };
        // The kernel's list names what is needed first last.
        for file in needed.split_whitespace().rev().chain([*path]) {
            if !order.iter().any(|other| other == file) {
                order.push(file.to_owned());
            }
        }
    }
    Ok(order)
}

fn module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split('.').next().unwrap_or(file).replace('-', "_")
}

/// The whole of a file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, HypervisorError> {
    let mut content = Vec::new();
    let file = File::open(path).map_err(|error| at(path, &error))?;
    file.take(FILE_BYTES_MAX).read_to_end(&mut content).map_err(|error| at(path, &error))?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEEDS: &str = "kernel/fs/ext4/ext4.ko: kernel/lib/crc16.ko kernel/fs/mbcache.ko kernel/fs/jbd2/jbd2.ko\n\
                         kernel/fs/jbd2/jbd2.ko:\nkernel/drivers/net/xen-netfront.ko.xz:\n";

    #[test]
    fn what_a_module_needs_is_loaded_before_it() {
        let order = loading_order(NEEDS, "", &["xen-netfront", "ext4"], false).unwrap();
        let names: Vec<String> = order.iter().map(|path| module_name(path)).collect();
        assert_eq!(names, ["xen_netfront", "jbd2", "mbcache", "crc16", "ext4"]);
    }

    #[test]
    fn built_in_and_wished_modules_may_be_missing_and_no_others() {
        assert_eq!(loading_order(NEEDS, "kernel/fs/isofs/isofs.ko\n", &["isofs"], false), Ok(vec![]));
        assert_eq!(loading_order(NEEDS, "", &["crc32c-intel"], true), Ok(vec![]));
        assert!(loading_order(NEEDS, "", &["isofs"], false).unwrap_err().contains("no module `isofs`"));
    }

    #[test]
    fn newer_releases_come_later() {
        assert!(version("6.1.0-9-amd64") < version("6.1.0-50-amd64"));
        assert!(version("6.1.0-50-amd64") < version("6.12.1-1-amd64"));
    }

    #[test]
    fn a_kernel_is_unpacked_where_that_is_possible() {
        if !Path::new("/usr/bin/xz").exists() {
            println!("SKIPPED: unpacking a kernel needs xz (`apt install xz-utils`)");
            return;
        }
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("boot")).unwrap();
        let kernel = [&b"\x7fELF"[..], &[7; 100_000]].concat();
        let plain = root.path().join("plain");
        fs::write(&plain, &kernel).unwrap();
        let packed = root.path().join("packed");
        let output = File::create(&packed).unwrap();
        Command::new("xz").args(["-c", "--check=crc32"]).arg(&plain).stdout_to(output).run("packing").unwrap();
        let packed = fs::read(packed).unwrap();
        let mut file = vec![0; 1024];
        file[0x1f1] = 1;
        file[0x202..0x206].copy_from_slice(b"HdrS");
        file[0x24c..0x250].copy_from_slice(&(packed.len() as u32 + 4).to_le_bytes());
        file.extend(packed);
        file.extend((kernel.len() as u32).to_le_bytes());
        fs::write(image(root.path(), "1"), &file).unwrap();
        let into = root.path().join("kernel");
        write(root.path(), "1", &into).unwrap();
        assert!(fs::read(&into).unwrap() == kernel);
        // What cannot be unpacked is taken as it is.
        file[1030] ^= 0xff;
        fs::write(image(root.path(), "1"), &file).unwrap();
        write(root.path(), "1", &into).unwrap();
        assert!(fs::read(&into).unwrap() == file);
    }

    #[test]
    fn files_that_are_no_kernels_have_no_kernel_inside() {
        assert_eq!(payload(b""), None);
        assert_eq!(payload(&[0xff; 4096]), None);
        let mut file = vec![0; 4096];
        file[0x202..0x206].copy_from_slice(b"HdrS");
        file[0x248..0x250].copy_from_slice(&[0xff; 8]);
        assert_eq!(payload(&file), None);
        file[0x1f1] = 1;
        file[0x248..0x250].copy_from_slice(&[0, 0, 0, 0, 12, 0, 0, 0]);
        file[1024..1030].copy_from_slice(b"\xfd7zXZ\0");
        assert_eq!(payload(&file), Some(&b"\xfd7zXZ\0\0\0"[..]));
    }
}
