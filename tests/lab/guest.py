"""Builds the guest image `std:tiny`: a kernel, a ram disk that is the whole system, and a small disk to start from.

Hosts elsewhere build the same from their own packages: `xen/src/tiny.rs`, with the same files of `xen/tiny`.

The kernel is the host's. The ram disk holds busybox, dropbear and the kernel modules for disks, network and seeds; it
becomes what a NoCloud seed says, and answers ping and SSH. The disk is an empty file system, mounted on /data, so that
volumes, their contents and their images can be tested.
"""

import gzip
import pathlib
import re
import subprocess

import cache
import kernel_modules
from cpio import Archive

# Loaded in this order, and all but the first only where a disk asks for them: each costs time and memory.
MODULES = {
    "devices": ("xen-netfront", "xen-blkfront"),
    "iso9660": ("nls_utf8", "isofs"),
    "vfat": ("nls_cp437", "nls_ascii", "nls_iso8859-1", "vfat"),
    "ext4": ("crc32c-intel", "crc32c_generic", "ext4"),
}

DISK_BYTES = 16 << 20


def build(tree, release, kernel, folder):
    """Makes the image in `folder` from what is installed in `tree`."""
    folder.mkdir()
    # A hard link costs nothing here; on the host's disk it becomes a file.
    (folder / "kernel").hardlink_to(kernel)
    # Compressed, unlike the host's: both forms of it are in memory at once, and a guest of 96 MiB has no room for that.
    (folder / "ramdisk").write_bytes(gzip.compress(_ramdisk(tree, release).bytes(), mtime=0))
    _disk(folder / "disk.raw")


def _ramdisk(tree, release):
    archive = Archive()
    for path in ("bin", "data", "dev", "etc", "lib", "lib64", "lib/x86_64-linux-gnu", "modules", "proc", "run", "sbin",
                 "seed", "sys", "tmp", "usr", "var", "var/log"):  # fmt: skip
        archive.folder(path)
    archive.folder("root", 0o700)
    archive.character_device("dev/console", 5, 1)

    archive.program("bin/busybox", (tree / "bin/busybox").read_bytes())
    applets = subprocess.run(["chroot", str(tree), "busybox", "--list"], capture_output=True, text=True, check=True)
    for applet in applets.stdout.split():
        if applet != "busybox":
            archive.link(f"bin/{applet}", "busybox")
    # The first program, and those the kernel calls by these paths when Xen asks for them.
    archive.link("init", "bin/busybox")
    archive.link("sbin/poweroff", "../bin/busybox")
    archive.link("sbin/reboot", "../bin/busybox")
    archive.link("usr/bin", "../bin")
    archive.link("usr/sbin", "../sbin")

    archive.program("sbin/dropbear", (tree / "usr/sbin/dropbear").read_bytes())
    archive.program("bin/dropbearkey", (tree / "usr/bin/dropbearkey").read_bytes())
    for path in _libraries(tree, "/usr/sbin/dropbear"):
        content = (tree / path.lstrip("/")).read_bytes()
        folder = "lib64" if "ld-linux" in path else "lib/x86_64-linux-gnu"
        archive.program(f"{folder}/{pathlib.Path(path).name}", content)

    archive.file("etc/passwd", b"root:*:0:0:root:/root:/bin/sh\n")
    archive.file("etc/group", b"root:x:0:\n")
    archive.file("etc/shells", b"/bin/sh\n")
    archive.file("etc/profile", b"export PATH=/sbin:/bin\n")
    for name in ("inittab", "start", "network", "flatten.awk", "first-start.awk"):
        archive.file(f"etc/{name}", (cache.TINY / name).read_bytes())
    archive.program("etc/dhcp", (cache.TINY / "dhcp").read_bytes())
    for group, names in MODULES.items():
        archive.folder(f"modules/{group}")
        for name, content in kernel_modules.in_order(tree, release, names):
            archive.file(f"modules/{group}/{name}", content)
    return archive


def _libraries(tree, program):
    listed = subprocess.run(["chroot", str(tree), "ldd", program], capture_output=True, text=True, check=True)
    return re.findall(r"(/\S+) \(0x", listed.stdout)


def _disk(path):
    with open(path, "wb") as file:
        file.truncate(DISK_BYTES)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-L", "tiny", str(path)],
                   stdin=subprocess.DEVNULL, timeout=60, check=True)  # fmt: skip
