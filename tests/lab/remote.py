"""Runs commands on a host over SSH. One connection per host is kept: making one takes seconds under emulation."""

import shlex
import socket
import subprocess
import time


class Remote:
    """A host's control domain as root. `folder` holds the connection, `keys` the key and the known hosts."""

    def __init__(self, name, port, folder, keys):
        self.port = port
        self._control = folder / f"{name}.ssh"
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
        """The ssh command line that runs `words`, or a shell; it shares the kept connection."""
        shared = ["-o", f"ControlPath={self._control}", "-o", "ControlMaster=auto", "-o", "ControlPersist=600"]
        return ["ssh", *shared, *self._options, "root@127.0.0.1", *words]

    def run(self, script, seconds, shared=True):
        """Runs a shell script on the host and returns what it prints; CalledProcessError where it fails."""
        command = self.command() if shared else ["ssh", *self._options, "root@127.0.0.1"]
        # A connection that is kept would hold our pipes open; its errors go where ours go.
        done = subprocess.run(
            [*command, "sh -e -c " + shlex.quote(script)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=seconds, check=True,
        )  # fmt: skip
        return done.stdout.decode(errors="replace")

    def close(self):
        """Ends the kept connection, if there is one."""
        if self._control.exists():
            subprocess.run(
                ["ssh", "-F", "none", "-o", f"ControlPath={self._control}", "-O", "exit", "root@127.0.0.1"],
                stdin=subprocess.DEVNULL, capture_output=True, timeout=10, check=False,
            )  # fmt: skip

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
