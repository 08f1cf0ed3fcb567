"""What this machine must have for the lab; where it lacks something, a line says so and the lab is skipped."""

import os
import pathlib
import platform
import shutil

# As automake's: tells "skipped" from "failed" to whoever calls.
SKIPPED = 77

DISK_BYTES_MIN = 6 << 30
MEMORY_BYTES_PER_HOST = 1 << 30


def obstacles_to_build():
    """Why the lab cannot be built here, a sentence each; empty where it can."""
    found = []
    if platform.machine() != "x86_64":
        found.append(f"this machine is {platform.machine()}, and the lab's hosts are x86_64")
    if not _is_debian():
        found.append("this is not Debian 12, whose packages the lab is built with")
    if os.getuid() != 0:
        found.append("the first build needs root, for debootstrap; run once as root: tests/lab/lab build")
    return found


def missing_programs():
    """What is needed to run hosts and not installed, a sentence each. Where the lab can be built, it installs them."""
    programs = ("qemu-system-x86_64", "qemu-img", "ssh")
    missing = [program for program in programs if shutil.which(program) is None]
    return [f"there is no {program}; tests/lab/packages installs it" for program in missing]


def obstacles_to_run(folder, count=1):
    """Why hosts cannot be run here, besides programs, a sentence each; empty where they can."""
    found = []
    folder.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(folder).free < DISK_BYTES_MIN:
        found.append(f"less than {DISK_BYTES_MIN >> 30} GiB are free at {folder}")
    available = _available_bytes()
    if available < count * MEMORY_BYTES_PER_HOST:
        found.append(f"{count} hosts need {count} GiB of memory, and {available >> 20} MiB are available")
    if any(sign in str(folder) for sign in ', "\\'):
        found.append(f"the emulator cannot take the path {folder}: it has a blank, a comma, a quote or a backslash")
    return found


def _is_debian():
    try:
        lines = pathlib.Path("/etc/os-release").read_text().splitlines()
    except OSError:
        return False
    return "ID=debian" in lines and 'VERSION_ID="12"' in lines


def _available_bytes():
    for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) << 10
    return 0
