"""Where what is built is kept: in the user's cache, by the digest of its recipe.

    ~/.cache/tycoon/lab/packages/          Debian packages, so that a new build need not fetch them again
    ~/.cache/tycoon/lab/IMAGE/             kernel, xen, initramfs, host.raw, keys, the guest image
    ~/.cache/tycoon/lab/IMAGE/PROFILE-STATE/   the frozen base: disks, main memory, state
"""

import contextlib
import fcntl
import hashlib
import os
import pathlib

import machine

RECIPE = pathlib.Path(__file__).resolve().parent
# The files that are put into the guest image; the program has them too.
TINY = RECIPE.parents[1] / "xen" / "tiny"

# What makes the image, and what else makes the frozen base. Other files may change without a new build.
IMAGE_RECIPE = ("image.py", "guest.py", "kernel_modules.py", "cpio.py", "host", TINY)
BASE_RECIPE = ("base.py", "machine.py", "monitor.py")


def root():
    """The lab's folder in the user's cache."""
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(home) / "tycoon" / "lab"


def image_folder():
    """Where the image of today's recipe is or will be."""
    return root() / _digest(IMAGE_RECIPE)


def base_folder(profile):
    """Where the frozen base of today's recipe and emulator is or will be."""
    return image_folder() / f"{profile}-{_digest(BASE_RECIPE, machine.version())}"


@contextlib.contextmanager
def lock():
    """Held by whoever builds; others wait and then find it built."""
    root().mkdir(parents=True, exist_ok=True)
    with open(root() / "lock", "w", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Another build of the lab is under way; waiting for it.", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _digest(names, more=""):
    digest = hashlib.sha256(more.encode())
    for name in names:
        path = RECIPE / name
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            digest.update(f"\0{path.name}/{file.name}\0".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
