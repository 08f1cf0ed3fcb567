"""The hosts of the lab: resumed from the frozen base, given an identity each, and stopped.

All that belongs to the hosts that run is in one folder: their disks, sockets, and the numbers of their processes.
"""

import concurrent.futures
import os
import pathlib
import shutil
import stat
import subprocess
import tempfile
import time

import base
import process
import remote
from image import HOSTS_MAX
from machine import Machine
from monitor import MonitorError

RESUME_SECONDS_MAX = 120


class LabError(Exception):
    """The lab is not as it should be; the text says what to do."""


def run_folder():
    """Where the running lab keeps its things, for this user alone.

    Not in the cache: sockets need a short path, and what runs does not outlive a boot. `TYCOON_LAB_RUN` names another
    folder, for a second lab beside the first.
    """
    named = os.environ.get("TYCOON_LAB_RUN")
    parent = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    folder = pathlib.Path(named or f"{parent}/tycoon-lab-{os.getuid()}")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise LabError(f"{folder} must be a folder of yours that nobody else may enter (mode 700)")
    return folder


def name_of(number):
    """The host's name, which is also the name its key is known by."""
    return f"lab-h{number}"


class Lab:
    """The hosts in one folder. What is known of them is in files there, so that any later call finds them."""

    def __init__(self, folder):
        self.folder = folder
        self._hub = folder / "hub.pid"

    def numbers(self):
        """The numbers of the hosts that were started, whether they still run or not."""
        return sorted(int(file.name[1:-4]) for file in self.folder.glob("h*.pid") if file.name[1:-4].isdigit())

    def profile(self):
        """The profile of the hosts that were started; None where there are none."""
        link = self.folder / "base"
        return os.readlink(link).rpartition("/")[2].partition("-")[0] if link.is_symlink() else None

    def runs(self, number):
        """True while the host runs."""
        return process.runs(self.folder / f"h{number}.pid")

    def host(self, number):
        """The way to the host's control domain; LabError where it is not up."""
        if not self.runs(number):
            raise LabError(f"host {number} is not up; start it with: tests/lab/lab up {number}")
        port = int((self.folder / f"h{number}.port").read_text())
        return remote.Remote(name_of(number), port, self.folder, self._image())

    def up(self, count, profile, frozen):
        """Brings up the hosts 1 to `count` from the frozen base; those that are up stay as they are."""
        if not 1 <= count <= HOSTS_MAX:
            raise LabError(f"1 to {HOSTS_MAX} hosts are possible, not {count}")
        link = self.folder / "base"
        if any(self.runs(number) for number in self.numbers()):
            if pathlib.Path(os.readlink(link)) != frozen:
                raise LabError("other hosts are up, of another profile or recipe; stop them first: tests/lab/lab down")
        else:
            self.down()
            link.symlink_to(frozen)
        missing = [number for number in range(1, count + 1) if not self.runs(number)]
        if not missing:
            return
        pool = concurrent.futures.ThreadPoolExecutor(len(missing))
        try:
            if not process.runs(self._hub):
                base.start_hub(self.folder, self._hub)
            for done in [pool.submit(self._resume, number, profile, frozen) for number in missing]:
                done.result()
        except BaseException:
            # Whatever went wrong, also an interruption: what was started now is stopped now. First what the threads
            # wait for, so that they end; then what one of them may still have started.
            process.finish_undisturbed()
            self._stop_all(missing, profile)
            pool.shutdown(cancel_futures=True)
            self._stop_all(missing, profile)
            if not any(self.runs(number) for number in self.numbers()):
                self.down()
            raise
        pool.shutdown()

    def cut(self, number):
        """Cuts the power of a host: what was not on its disks is lost. They stay, for `boot`."""
        if not self.runs(number):
            raise LabError(f"host {number} is not up")
        self._stop(number, self.profile())

    def boot(self, number):
        """Starts a host again whose power was cut, from its disks."""
        if self.runs(number):
            raise LabError(f"host {number} is up")
        if not (self.folder / f"h{number}.port").exists():
            raise LabError(f"host {number} was never up; start it with: tests/lab/lab up {number}")
        profile = self.profile()
        frozen = pathlib.Path(os.readlink(self.folder / "base"))
        machine = self._machine(number, profile, int((self.folder / f"h{number}.port").read_text()))
        deadline = time.monotonic() + base.BOOT_SECONDS_MAX[profile]
        # Its memory is a private view of the base's, and new to a machine that boots.
        machine.start(frozen / "memory", shared=False, waits=False)
        self._introduce(machine, number, name_of(number), deadline)

    def down(self):
        """Stops all hosts and removes all they had. Returns how many ran."""
        running = [number for number in self.numbers() if self.runs(number)]
        self._stop_all(self.numbers(), self.profile())
        process.stop(self._hub)
        for entry in self.folder.iterdir():
            entry.unlink()
        return len(running)

    def _image(self):
        return pathlib.Path(os.readlink(self.folder / "base")).parent

    def _machine(self, number, profile, port):
        return Machine(f"h{number}", self.folder, self._image(), base.PROFILES[profile], port)

    def _resume(self, number, profile, frozen):
        name = f"h{number}"
        # What an earlier host of this number left, whose machine ended, would be in the way.
        self._stop(number, profile)
        base.overlay(frozen / "base.qcow2", "qcow2", self.folder / f"{name}.qcow2")
        base.overlay(frozen / "base-data.qcow2", "qcow2", self.folder / f"{name}-data.qcow2")
        machine = self._machine(number, profile, remote.free_port())
        (self.folder / f"{name}.port").write_text(f"{machine.port}\n")
        deadline = time.monotonic() + RESUME_SECONDS_MAX
        machine.start(frozen / "memory", shared=False, waits=True)
        try:
            with machine.monitor(RESUME_SECONDS_MAX) as monitor:
                monitor.load_state(frozen / "state")
        except MonitorError as error:
            raise LabError(f"host {number} did not resume: {error}\n{machine.last_words()}") from error
        # The key of the base, until the host has its own.
        self._introduce(machine, number, "lab-base", deadline)

    def _introduce(self, machine, number, known_as, deadline):
        """Gives a host that has just come up its name, addresses and time. Its key is that of `known_as`."""
        first = remote.Remote(known_as, machine.port, self.folder, self._image())
        if not first.wait(deadline, machine.runs):
            raise LabError(f"host {number} does not answer; its last lines:\n{machine.last_words()}")
        try:
            first.run(f"/lab/identity {number} {int(time.time())}", RESUME_SECONDS_MAX)
            first.close()
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            raise LabError(f"host {number} did not take its name: {error}\n{machine.last_words()}") from error
        if not remote.Remote(name_of(number), machine.port, self.folder, self._image()).keep(deadline):
            raise LabError(f"host {number} has its name, and does not admit us:\n{machine.last_words()}")

    def _stop_all(self, numbers, profile):
        for number in numbers:
            self._stop(number, profile)

    def _stop(self, number, profile):
        port_file = self.folder / f"h{number}.port"
        if not port_file.exists():
            return
        port = int(port_file.read_text())
        remote.Remote(name_of(number), port, self.folder, self._image()).close()
        self._machine(number, profile, port).stop()


def discard(folder):
    """Removes what is in the cache."""
    shutil.rmtree(folder, ignore_errors=True)
