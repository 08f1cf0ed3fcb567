"""Boots a host once and freezes it: its disks, its main memory, and the state of its machine.

Every host of the lab is resumed from that. Main memory is a file that all hosts map privately, so what they have in
common is in this machine's memory once.
"""

import pathlib
import shutil
import subprocess
import sys
import time

import process
import remote
from machine import Machine

# The fast profile runs busybox as the first program and brings up only what Xen needs. The other leaves everything to
# Debian: systemd, its units, its hotplug scripts.
PROFILES = {"fast": " init=/lab/fast/init", "debian": ""}
BOOT_SECONDS_MAX = {"fast": 240, "debian": 600}
DATA_DISK = "20G"


def build(image, folder, profile):
    """Makes the frozen base of `profile` in `folder`, which must not exist; it appears only when it is complete."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    overlay(image / "host.raw", "raw", partial / "base.qcow2")
    run("qemu-img", "create", "-q", "-f", "qcow2", str(partial / "base-data.qcow2"), DATA_DISK)

    host = Machine("base", partial, image, PROFILES[profile], remote.free_port())
    hub = partial / "hub.pid"
    began = time.monotonic()
    try:
        start_hub(partial, hub)
        host.start(partial / "memory", shared=True, waits=False)
        control = remote.Remote("lab-base", host.port, partial, image)
        if not control.wait(began + BOOT_SECONDS_MAX[profile], host.runs):
            raise RuntimeError(f"the base did not boot; its last lines:\n{host.last_words()}")
        print(f"  it answers after {time.monotonic() - began:.0f} s", flush=True)
        (partial / "prepare.log").write_text(control.run("/lab/prepare 2>&1", 300))
        with host.monitor(120) as monitor:
            monitor.save_state(partial / "state")
            monitor.quit()
    except subprocess.CalledProcessError as error:
        output = (error.stdout or b"").decode(errors="replace")
        raise RuntimeError(f"the base could not be prepared:\n{output}\n{host.last_words()}") from error
    except BaseException:
        process.finish_undisturbed()
        raise
    finally:
        host.stop()
        process.stop(hub)
    for name in ("base.qcow2", "base-data.qcow2", "memory", "state"):
        (partial / name).chmod(0o444)
    partial.rename(folder)


def overlay(backing, backing_format, disk):
    """Makes `disk`, which starts as `backing` and never changes it."""
    run("qemu-img", "create", "-q", "-f", "qcow2", "-b", str(backing), "-F", backing_format, str(disk))


def start_hub(folder, record):
    """Starts the cable between the hosts of `folder`."""
    program = pathlib.Path(__file__).with_name("hub.py")
    (folder / "hub.sock").unlink(missing_ok=True)
    process.start([sys.executable, str(program), str(folder)], record, folder / "hub.log", folder)
    deadline = time.monotonic() + 10
    while not (folder / "hub.sock").exists():
        if time.monotonic() > deadline or not process.runs(record):
            raise RuntimeError(f"the network between the hosts did not start: {(folder / 'hub.log').read_text()}")
        time.sleep(0.01)


def run(*command):
    subprocess.run(command, stdin=subprocess.DEVNULL, timeout=60, check=True)
