"""Starts processes that outlive this one, remembers them in files, and stops only those it remembers."""

import os
import pathlib
import signal
import subprocess
import time


class StartError(Exception):
    """A process ended where it should have stayed."""


def start(command, record, log, folder):
    """Runs `command` in `folder`, detached; its number goes to the file `record` and what it says to the file `log`."""
    with open(log, "wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    born = _birth(process.pid)
    record.write_text(f"{process.pid} {born}\n")


def runs(record):
    """True while the process of the file `record` runs."""
    return _recorded(record) is not None


def stop(record, patience_seconds=0):
    """Ends the process of the file `record` if it still runs, and forgets it.

    It may end by itself for `patience_seconds`, is then asked to, and after 5 s made to.
    """
    steps = ((None, patience_seconds), (signal.SIGTERM, 5), (signal.SIGKILL, 5))
    for step, seconds in steps:
        pid = _recorded(record)
        if pid is None:
            break
        if step is not None:
            try:
                os.kill(pid, step)
            except ProcessLookupError:
                break
        deadline = time.monotonic() + seconds
        while _recorded(record) is not None and time.monotonic() < deadline:
            time.sleep(0.02)
    record.unlink(missing_ok=True)


def finish_undisturbed():
    """From now on this process cannot be interrupted: what follows stops others, takes a few seconds, and must be done."""
    for interruption in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(interruption, signal.SIG_IGN)


def _recorded(record):
    try:
        pid, born = record.read_text().split()
    except (FileNotFoundError, ValueError):
        return None
    # A number is given to another process one day; the moment of its start tells them apart.
    return int(pid) if born != "-" and _birth(int(pid)) == born else None


def _birth(pid):
    """When the process started, in clock ticks since boot; `-` for one that is gone or only waits to be buried."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "-"
    return "-" if fields[0] in "ZX" else fields[19]
