"""Runs commands on a host over SSH. One connection per host is kept: making one takes seconds under emulation."""

import shlex
import socket
import subprocess
import time

import process


class Remote:
    """A host's control domain as root. `folder` holds the connection, `keys` the key and the known hosts."""

    def __init__(self, name, port, folder, keys):
        self.port = port
        self._control = folder / f"{name}.ssh"
        self._record = folder / f"{name}.ssh-pid"
        self._log = folder / f"{name}.ssh-log"
        self._options = [
            "-F", "none",
            "-i", str(keys / "id_ed25519"),
            "-p", str(port),
            "-o", "IdentitiesOnly=yes",
            "-o", "IdentityAgent=none",
            "-o", f"HostKeyAlias={name}",
            "-o", f"UserKnownHostsFile={keys / 'known_hosts'}",
            "-o", "StrictHostKeyChecking=yes",
            "-o", "ConnectTimeout=20",
            "-o", "ServerAliveInterval=15",
            "-o", "LogLevel=ERROR",
        ]  # fmt: skip

    def command(self, *words):
        """The ssh command line that runs `words`, or a shell; over the kept connection where there is one."""
        return ["ssh", "-o", f"ControlPath={self._control}", *self._options, "root@127.0.0.1", *words]

    def run(self, script, seconds):
        """Runs a shell script on the host and returns what it prints; CalledProcessError where it fails."""
        done = subprocess.run(
            self.command("sh -e -c " + shlex.quote(script)),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=seconds, check=True,
        )  # fmt: skip
        return done.stdout.decode(errors="replace")

    def keep(self, deadline):
        """Opens the connection that later commands share; False where that fails until `deadline`.

        It is a process like the others, recorded, and with a log of its own: an ssh that went into the background by
        itself would hold the caller's pipes open.
        """
        command = self.command()
        command[1:1] = ["-o", "ControlMaster=yes", "-N"]
        while time.monotonic() < deadline:
            if not process.runs(self._record):
                process.start(command, self._record, self._log, self._record.parent)
            if self._control.exists():
                return True
            time.sleep(0.02)
        return False

    def close(self):
        """Ends the kept connection, if there is one."""
        process.stop(self._record)
        self._control.unlink(missing_ok=True)

    def wait(self, deadline, alive):
        """Waits until the host's SSH server greets, while `alive()` holds. False where it did not."""
        while time.monotonic() < deadline and alive():
            # The emulator accepts the connection long before the host does; only the greeting counts.
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
                    connection.settimeout(2)
                    if connection.recv(4) == b"SSH-":
                        return True
            except OSError:
                pass
            time.sleep(0.1)
        return False


def free_port():
    """A TCP port of the loopback interface that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
