"""The emulated machine that a host runs on: the command line of QEMU.

A saved state fits only the machine that wrote it, so base and hosts are made by the same lines here.
"""

import subprocess
import time

import process
from monitor import Monitor

MEMORY_MIB = 1536

# EPYC without what Xen or its control domain do not survive under emulation: SMAP and SMEP kill the control domain,
# MONITOR makes Xen panic. With XSAVE, and Xen saving vector registers lazily, programs lose them without a sign when
# domains take turns: in a minute of hashing beside a busy guest, 6 of 472 results were wrong. Without XSAVE, or with
# eager saving, none was (of 1949, and of 275); as nothing tells when it happens, both are set. All this was seen with
# QEMU 7.2 and Xen 4.17.
CPU = "EPYC,-smap,-smep,-monitor,-xsave"

XEN_OPTIONS = (
    "dom0_mem=512M,max:512M dom0_max_vcpus=1 console=com1 com1=115200,8n1 loglvl=warning noreboot "
    "cpuidle=0 cpufreq=none bootscrub=0 spec-ctrl=no,eager-fpu xpti=off pv-l1tf=off smt=on"
)
LINUX_OPTIONS = (
    "console=hvc0 root=/dev/vda rw net.ifnames=0 quiet mitigations=off audit=0 nowatchdog loglevel=3"
)


def version():
    """The emulator's version as it tells it; a state is only good for one of them."""
    return subprocess.run(["qemu-system-x86_64", "--version"], capture_output=True, text=True, check=True).stdout


class Machine:
    """One emulated machine. Its files are in `folder`: NAME.qcow2, NAME-data.qcow2, NAME.log and so on."""

    def __init__(self, name, folder, image, init, port):
        self.name = name
        self.record = folder / f"{name}.pid"
        self.log = folder / f"{name}.log"
        self.serial = folder / f"{name}.serial"
        self.monitor_socket = folder / f"{name}.mon"
        self._folder = folder
        self._image = image
        self._init = init
        self.port = port

    def start(self, memory, shared, waits):
        """Starts it on the memory file `memory`, which keeps its changes if `shared`.

        It boots, or, if it `waits`, does nothing until a state is loaded.
        """
        # A socket that an earlier machine left would be in the way.
        for stale in (self.monitor_socket, self._folder / f"{self.name}.lan"):
            stale.unlink(missing_ok=True)
        process.start(self._command(memory, shared, waits), self.record, self.log, self._folder)

    def runs(self):
        return process.runs(self.record)

    def monitor(self, seconds):
        """A connection to its monitor, good for `seconds`."""
        return Monitor(self.monitor_socket, time.monotonic() + seconds)

    def stop(self):
        """Cuts its power. Nothing of it is to be kept, so nothing is to be shut down."""
        process.stop(self.record)
        for name in (self.monitor_socket, self._folder / f"{self.name}.lan"):
            name.unlink(missing_ok=True)

    def last_words(self):
        """The end of what the emulator and the machine's serial line said, for an error message."""
        lines = []
        for source in (self.log, self.serial):
            if source.exists():
                lines += source.read_text(errors="replace").splitlines()[-8:]
        return "\n".join("    " + line for line in lines)

    def _command(self, memory, shared, waits):
        name, image = self.name, self._image
        linux = f"{image}/kernel {LINUX_OPTIONS}{self._init}".replace(",", ",,")
        command = [
            "qemu-system-x86_64", "-name", name, "-nodefaults", "-no-user-config", "-no-reboot",
            "-machine", "pc,memory-backend=ram", "-accel", "tcg,thread=multi,tb-size=256",
            "-cpu", CPU, "-smp", "1", "-m", str(MEMORY_MIB),
            "-object",
            f"memory-backend-file,id=ram,size={MEMORY_MIB}M,mem-path={memory},share={'on' if shared else 'off'}",
            "-kernel", f"{image}/xen", "-append", XEN_OPTIONS, "-initrd", f"{linux},{image}/initramfs",
            "-netdev", f"user,id=n0,restrict=on,hostfwd=tcp:127.0.0.1:{self.port}-:22",
            "-device", "virtio-net-pci,netdev=n0,mac=52:54:00:0a:00:0f,romfile=",
            "-netdev",
            f"dgram,id=n1,local.type=unix,local.path={name}.lan,remote.type=unix,remote.path=hub.sock",
            "-device", "virtio-net-pci,netdev=n1,mac=52:54:00:4d:00:00,romfile=",
            "-display", "none", "-vga", "none", "-serial", f"file:{self.serial.name}",
            "-monitor", f"unix:{self.monitor_socket.name},server,nowait",
        ]  # fmt: skip
        for number, disk in enumerate((f"{name}.qcow2", f"{name}-data.qcow2")):
            command += ["-drive", f"file={disk},if=none,id=d{number},format=qcow2,cache=unsafe,discard=unmap"]
            command += ["-device", f"virtio-blk-pci,drive=d{number}"]
        return command + (["-incoming", "defer"] if waits else [])
