"""Builds the image of a Xen host from Debian packages alone. Needs root, for debootstrap."""

import gzip
import os
import pathlib
import shutil
import subprocess
import tempfile

import cache
import guest
import kernel_modules
from cpio import Archive

SUITE = "bookworm"
MIRROR = os.environ.get("TYCOON_LAB_MIRROR", "http://deb.debian.org/debian")
HOSTS_MAX = 16

PACKAGES = (
    # Xen and its tools, and a kernel for the control domain and the guests.
    "xen-hypervisor-4.17-amd64", "xen-utils-4.17", "xenstore-utils", "linux-image-amd64", "kmod", "udev",
    # What Debian would run: the profile that tests installation uses it, the fast one does not.
    "systemd-sysv", "libpam-systemd", "dbus", "ifupdown", "bridge-utils", "iproute2", "iputils-ping",
    "openssh-server", "openssh-client", "ca-certificates",
    # What a Tycoon host works with.
    "libvirt-daemon", "libvirt-daemon-system", "libvirt-daemon-driver-xen", "libvirt-clients",
    "lvm2", "qemu-utils", "nftables", "e2fsprogs", "xfsprogs", "dosfstools", "mtools", "genisoimage",
    # What the guest image is made from.
    "busybox-static", "dropbear-bin",
)  # fmt: skip

# In the order of loading; what they need is put before them.
HOST_MODULES = ("virtio_pci", "virtio_blk", "crc32c-intel", "crc32c_generic", "ext4", "virtio_net")

DRIVERS = ("libxl", "secret", "storage")


def build(folder):
    """Makes the image in `folder`, which must not exist; it appears only when it is complete."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    # The tree has programs of root and device nodes; it never outlives the build.
    with tempfile.TemporaryDirectory(prefix="tree.", dir=partial) as tree:
        tree = pathlib.Path(tree)
        print(f"  installs {SUITE} from {MIRROR}", flush=True)
        _install(tree, partial / "debootstrap.log")
        release = _kernel_release(tree)
        print(f"  takes kernel {release} and Xen out of it", flush=True)
        (partial / "kernel").write_bytes(_plain_kernel((tree / f"boot/vmlinuz-{release}").read_bytes()))
        (partial / "xen").write_bytes(gzip.decompress(next(tree.glob("boot/xen-4.17-*.gz")).read_bytes()))
        # Not compressed: a kernel under emulation unpacks slower than it reads.
        (partial / "initramfs").write_bytes(_host_initramfs(tree, release).bytes())
        print("  builds the guest image std:tiny", flush=True)
        guest.build(tree, release, partial / "kernel", partial / "std-tiny")
        _configure(tree, partial)
        print("  writes the disk", flush=True)
        _write_disk(tree, partial / "host.raw")
    partial.rename(folder)


def _install(tree, log):
    packages = cache.root() / "packages"
    packages.mkdir(parents=True, exist_ok=True)
    command = [
        "debootstrap", "--variant=minbase", f"--cache-dir={packages}", f"--include={','.join(PACKAGES)}",
        SUITE, str(tree), MIRROR,
    ]  # fmt: skip
    with open(log, "wb") as output:
        # INITRD=No: the hosts boot with a ram disk of ours, so Debian's need not be made.
        done = subprocess.run(
            command, env={**os.environ, "INITRD": "No", "LC_ALL": "C"}, stdin=subprocess.DEVNULL,
            stdout=output, stderr=output, timeout=1800, check=False,
        )  # fmt: skip
    if done.returncode != 0:
        detail = tree / "debootstrap/debootstrap.log"
        last = (detail if detail.exists() else log).read_text(errors="replace").splitlines()[-15:]
        raise RuntimeError("debootstrap failed; its last lines:\n    " + "\n    ".join(last))


def _kernel_release(tree):
    return next((tree / "lib/modules").iterdir()).name


def _plain_kernel(packed):
    """The kernel without its packing: under emulation it would take long to unpack itself, at every start."""
    # Not every Python has it, and only a build needs it.
    import lzma

    start = packed.find(b"\xfd7zXZ\0")
    if start < 0:
        raise RuntimeError("the kernel is not packed with xz, as Debian 12's is")
    return lzma.LZMADecompressor().decompress(packed[start:])


def _host_initramfs(tree, release):
    archive = Archive()
    for path in ("bin", "dev", "disk", "modules", "proc"):
        archive.folder(path)
    archive.character_device("dev/console", 5, 1)
    archive.program("bin/busybox", (tree / "bin/busybox").read_bytes())
    archive.program("init", (cache.RECIPE / "host/initramfs-init").read_bytes())
    for name, content in kernel_modules.in_order(tree, release, HOST_MODULES):
        archive.file(f"modules/{name}", content)
    return archive


def _configure(tree, image):
    recipe = cache.RECIPE / "host"
    lab = tree / "lab"
    fast = lab / "fast"
    fast.mkdir(parents=True)
    for name in ("prepare", "identity", "guest"):
        shutil.copy(recipe / name, lab / name)
    for name in ("rc", "block", "vif-bridge", "lvmlocal.conf"):
        shutil.copy(recipe / name, fast / name)
    (fast / "init").symlink_to("/bin/busybox")
    shutil.copy(recipe / "inittab", tree / "etc/inittab")
    # libvirtd starts faster without the drivers a Xen host has no use for.
    (fast / "drivers").mkdir()
    for driver in DRIVERS:
        name = f"libvirt_driver_{driver}.so"
        shutil.copy(tree / "usr/lib/x86_64-linux-gnu/libvirt/connection-driver" / name, fast / "drivers" / name)
    _hide_missing_feature(tree / "usr/share/libvirt/cpu_map/x86_486.xml")

    shutil.copy(recipe / "interfaces", tree / "etc/network/interfaces")
    shutil.copy(recipe / "ssh_client.conf", tree / "etc/ssh/ssh_config.d/lab.conf")
    (tree / "etc/hostname").write_text("lab-base\n")
    hosts = "".join(f"10.77.0.{number}\tlab-h{number}\n" for number in range(1, HOSTS_MAX + 1))
    (tree / "etc/hosts").write_text(f"127.0.0.1\tlocalhost lab-base\n{hosts}")
    (tree / "etc/fstab").write_text("/dev/vda / ext4 noatime 0 1\n")

    shutil.copytree(image / "std-tiny", lab / "images/std-tiny")
    _make_keys(tree, image)
    shutil.rmtree(tree / "var/cache/apt/archives", ignore_errors=True)
    for name in ("doc", "man", "locale", "info"):
        shutil.rmtree(tree / "usr/share" / name, ignore_errors=True)


def _hide_missing_feature(cpu_map):
    """QEMU emulates no VME, and libvirt's Xen driver does not load where the oldest CPU it knows has more than ours."""
    lines = cpu_map.read_text().splitlines(keepends=True)
    kept = [line for line in lines if "'vme'" not in line]
    if len(kept) != len(lines) - 1:
        raise RuntimeError(f"{cpu_map.name} of libvirt has changed: it names `vme` {len(lines) - len(kept)} times")
    cpu_map.write_text("".join(kept))


def _make_keys(tree, image):
    """One key to enter with, and for each host a key of its own, so that mixing up hosts is noticed."""
    _make_key(image / "id_ed25519", "tycoon-lab")
    ssh = tree / "root/.ssh"
    ssh.mkdir(mode=0o700, exist_ok=True)
    for name in ("id_ed25519", "id_ed25519.pub"):
        shutil.copy(image / name, ssh / name)
    shutil.copy(image / "id_ed25519.pub", ssh / "authorized_keys")

    public = (tree / "etc/ssh/ssh_host_ed25519_key.pub").read_text().split()[:2]
    known = [f"lab-base {' '.join(public)}"]
    for number in range(1, HOSTS_MAX + 1):
        folder = tree / "lab/host-keys" / str(number)
        folder.mkdir(parents=True)
        _make_key(folder / "ssh_host_ed25519_key", f"lab-h{number}")
        public = (folder / "ssh_host_ed25519_key.pub").read_text().split()[:2]
        known.append(f"lab-h{number},10.77.0.{number} {' '.join(public)}")
    for file in (image / "known_hosts", tree / "lab/known_hosts"):
        file.write_text("\n".join(known) + "\n")
    # Clients must not settle on a kind of key that is the same on all hosts.
    for kind in ("rsa", "ecdsa"):
        for file in tree.glob(f"etc/ssh/ssh_host_{kind}_key*"):
            file.unlink()


def _make_key(path, comment):
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)], timeout=60, check=True
    )


def _write_disk(tree, disk):
    with open(disk, "wb") as file:
        file.truncate(3 << 30)
    # With its journal: a host whose power is cut mounts it again without a check.
    command = ["mke2fs", "-q", "-t", "ext4", "-L", "lab-root", "-d", str(tree), str(disk)]
    subprocess.run(command, stdin=subprocess.DEVNULL, timeout=300, check=True)
    disk.chmod(0o444)
