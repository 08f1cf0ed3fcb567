//! Builds the guest image `std:tiny` from the Debian packages of a host: its kernel, and a ram disk that is the whole
//! system, with busybox and dropbear. It becomes what a NoCloud seed says and answers ping and SSH. The files that are
//! put into it are in `xen/tiny`.

mod cpio;
mod kernel;

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::hypervisor::HypervisorError;
use crate::machine::{DiskFormat, ImageExport};
use crate::storage::command::Command;
use cpio::Archive;
use kernel::read;

const OPERATION: &str = "building the image std:tiny";
/// The name of the image.
const NAME: &str = "std:tiny";
/// The size of its disk: an empty file system, which the guest mounts on /data.
const DISK_BYTES: u64 = 16 << 20;
const TIMEOUT: Duration = Duration::from_secs(300);
/// The files of ours, and where they are in the guest.
const FILES: [(&str, &str); 5] = [
    ("etc/inittab", include_str!("../tiny/inittab")),
    ("etc/start", include_str!("../tiny/start")),
    ("etc/network", include_str!("../tiny/network")),
    ("etc/flatten.awk", include_str!("../tiny/flatten.awk")),
    ("etc/first-start.awk", include_str!("../tiny/first-start.awk")),
];
const DHCP: &str = include_str!("../tiny/dhcp");
const FOLDERS: [&str; 17] = [
    "bin",
    "data",
    "dev",
    "etc",
    "lib",
    "lib64",
    "lib/x86_64-linux-gnu",
    "modules",
    "proc",
    "run",
    "sbin",
    "seed",
    "sys",
    "tmp",
    "usr",
    "var",
    "var/log",
];
/// Modules of the kernel: the folder, those that not every kernel has, and those that must be there. The guest loads all
/// but the first group only where a disk asks for them.
const MODULES: [(&str, &[&str], &[&str]); 4] = [
    ("devices", &[], &["xen-netfront", "xen-blkfront"]),
    ("iso9660", &["nls_utf8"], &["isofs"]),
    ("vfat", &["nls_cp437", "nls_ascii", "nls_iso8859-1"], &["vfat"]),
    ("ext4", &["crc32c-intel", "crc32c_generic"], &["ext4"]),
];
/// Without these, the guest needs more memory and time.
const KERNEL_ARGUMENTS: [&str; 5] = ["console=hvc0", "quiet", "loglevel=3", "mitigations=off", "nowatchdog"];

/// Builds the image from the Debian system in `root` (`/` for this host) into the folder `into`, replacing what is
/// there. It needs the packages busybox-static, dropbear-bin, a kernel with its modules, and e2fsprogs.
pub fn build_tiny(root: &Path, into: &Path) -> Result<ImageExport, HypervisorError> {
    fs::create_dir_all(into).map_err(|error| at(into, &error))?;
    let release = kernel::release(root)?;
    let half = tempfile::Builder::new().prefix(".new-").tempdir_in(into).map_err(|error| at(into, &error))?;
    let part = |name: &str| half.path().join(name);
    kernel::write(root, &release, &part("kernel"))?;
    let archive = part("archive");
    fs::write(&archive, ramdisk(root, &release)?).map_err(|error| at(&archive, &error))?;
    // Packed: guests of 96 MiB have no room for more. Without name and time, equal contents are equal files.
    let packed = fs::File::create(part("ramdisk")).map_err(|error| at(&archive, &error))?;
    Command::new("gzip").arg("-nc").arg(&archive).stdout_to(packed).timeout(TIMEOUT).run(OPERATION)?;
    disk(&part("disk.raw"))?;
    // Those who started a guest from the old files have read them whole.
    for name in ["kernel", "ramdisk", "disk.raw"] {
        let (from, to) = (part(name), into.join(name));
        let moved = fs::File::open(&from).and_then(|file| file.sync_all()).and_then(|()| fs::rename(&from, &to));
        moved.map_err(|error| at(&to, &error))?;
    }
    Ok(ImageExport {
        name: NAME.to_owned(),
        disk: into.join("disk.raw"),
        format: DiskFormat::Raw,
        kernel: Some(into.join("kernel")),
        ramdisk: Some(into.join("ramdisk")),
        kernel_args: KERNEL_ARGUMENTS.map(str::to_owned).to_vec(),
    })
}

fn ramdisk(root: &Path, release: &str) -> Result<Vec<u8>, HypervisorError> {
    let mut archive = Archive::default();
    FOLDERS.iter().for_each(|path| archive.folder(path, 0o755));
    archive.folder("root", 0o700);
    archive.character_device("dev/console", 5, 1);

    let busybox = installed(root, &["bin/busybox", "usr/bin/busybox"], "busybox-static")?;
    if busybox.windows(LOADER.len()).any(|part| part == LOADER) {
        return Err(fail(
            "this busybox needs libraries; `apt install busybox-static` brings one that needs none".into(),
        ));
    }
    archive.program("bin/busybox", &busybox);
    let applets = inside(root, "busybox").arg("--list").timeout(TIMEOUT).run(OPERATION)?;
    for applet in applets.split_whitespace().filter(|applet| *applet != "busybox" && is_applet(applet)) {
        archive.link(&format!("bin/{applet}"), "busybox");
    }
    // The first program, and those the kernel calls by these paths when Xen asks for them.
    archive.link("init", "bin/busybox");
    archive.link("sbin/poweroff", "../bin/busybox");
    archive.link("sbin/reboot", "../bin/busybox");
    archive.link("usr/bin", "../bin");
    archive.link("usr/sbin", "../sbin");

    archive.program("sbin/dropbear", &installed(root, &["usr/sbin/dropbear"], "dropbear-bin")?);
    archive.program("bin/dropbearkey", &installed(root, &["usr/bin/dropbearkey"], "dropbear-bin")?);
    let listed = inside(root, "ldd").arg("/usr/sbin/dropbear").timeout(TIMEOUT).run(OPERATION)?;
    for path in libraries(&listed) {
        let content = read(&root.join(path.trim_start_matches('/')))?;
        let name = path.rsplit('/').next().unwrap_or(path);
        let folder = if name.starts_with("ld-linux") { "lib64" } else { "lib/x86_64-linux-gnu" };
        archive.program(&format!("{folder}/{name}"), &content);
    }

    archive.file("etc/passwd", b"root:*:0:0:root:/root:/bin/sh\n");
    archive.file("etc/group", b"root:x:0:\n");
    archive.file("etc/shells", b"/bin/sh\n");
    archive.file("etc/profile", b"export PATH=/sbin:/bin\n");
    FILES.iter().for_each(|(path, content)| archive.file(path, content.as_bytes()));
    archive.program("etc/dhcp", DHCP.as_bytes());
    for (group, wished, needed) in MODULES {
        archive.folder(&format!("modules/{group}"), 0o755);
        for (name, content) in kernel::modules_in_order(root, release, wished, needed)? {
            archive.file(&format!("modules/{group}/{name}"), &content);
        }
    }
    Ok(archive.finish())
}

/// What a program that needs libraries has in its file.
const LOADER: &[u8] = b"/ld-linux-x86-64.so.2\0";

fn is_applet(name: &str) -> bool {
    name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'['))
}

/// A program as it is in the system whose image is made.
fn inside(root: &Path, program: &'static str) -> Command {
    if root == Path::new("/") {
        return Command::new(program);
    }
    Command::new("chroot").arg(root).arg(program)
}

fn installed(root: &Path, paths: &[&str], package: &str) -> Result<Vec<u8>, HypervisorError> {
    let found = paths.iter().map(|path| root.join(path)).find(|path| path.is_file());
    let missing = || fail(format!("{} is missing; `apt install {package}` brings it", paths.join(" or ")));
    read(&found.ok_or_else(missing)?)
}

/// The paths in what `ldd` writes: `libz.so.1 => /lib/x86_64-linux-gnu/libz.so.1 (0x00007f…)`.
fn libraries(listed: &str) -> Vec<&str> {
    let path = |line: &str| -> Option<usize> { line.find('/') };
    let paths = listed.lines().filter_map(|line| Some((line, path(line)?)));
    paths.filter_map(|(line, begin)| line[begin..].split(" (0x").next()).map(str::trim).collect()
}

fn disk(path: &Path) -> Result<(), HypervisorError> {
    let made = fs::File::create(path).and_then(|file| file.set_len(DISK_BYTES));
    made.map_err(|error| at(path, &error))?;
    Command::new("mke2fs")
        .args(["-q", "-F", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-L", "tiny"])
        .arg(path)
        .timeout(TIMEOUT)
        .run(OPERATION)?;
    Ok(())
}

fn at(path: &Path, error: &io::Error) -> HypervisorError {
    fail(format!("{}: {error}", path.display()))
}

fn fail(reason: String) -> HypervisorError {
    HypervisorError::Failed { operation: OPERATION.into(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_libraries_of_a_program_are_read() {
        let listed = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibz.so.1 => /lib/x86_64-linux-gnu/libz.so.1 (0x00007f00)\n\
                      \t/lib64/ld-linux-x86-64.so.2 (0x00007f11)\n";
        assert_eq!(libraries(listed), ["/lib/x86_64-linux-gnu/libz.so.1", "/lib64/ld-linux-x86-64.so.2"]);
    }

    #[test]
    fn a_system_without_a_kernel_is_said() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("boot")).unwrap();
        let error = build_tiny(root.path(), &root.path().join("image")).unwrap_err().to_string();
        assert!(error.contains("apt install linux-image-amd64"), "{error}");
    }
}
