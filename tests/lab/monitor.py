"""Talks to the monitor of one emulated machine over its Unix socket."""

import socket
import time

PROMPT = b"(qemu) "


class MonitorError(Exception):
    """The monitor did not answer, or refused."""


class Monitor:
    """A connection to a monitor. Every answer is waited for until `deadline`, a time.monotonic() in seconds."""

    def __init__(self, path, deadline):
        self._deadline = deadline
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        while True:
            try:
                self._socket.connect(str(path))
                break
            except (FileNotFoundError, ConnectionRefusedError):
                if time.monotonic() > deadline:
                    raise MonitorError(f"nobody listens at {path}") from None
                time.sleep(0.02)
        self._read_to_prompt()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()

    def ask(self, command):
        """Sends one command and returns what was answered."""
        self._socket.sendall(command.encode() + b"\n")
        return self._read_to_prompt().partition("\n")[2].strip()

    def tell(self, command):
        """Sends one command that must succeed, which in this monitor means without a word."""
        answer = self.ask(command)
        if answer:
            raise MonitorError(f"`{command}` was refused: {answer}")

    def quit(self):
        """Ends the machine at once."""
        self._socket.sendall(b"quit\n")

    def save_state(self, path):
        """Writes everything but main memory, which stands in its own file, to `path`."""
        self.tell("migrate_set_capability x-ignore-shared on")
        self.ask(f'migrate -d "exec:cat > {path}"')
        while True:
            answer = self.ask("info migrate")
            if "Migration status: completed" in answer:
                return
            if "Migration status: failed" in answer or time.monotonic() > self._deadline:
                raise MonitorError(f"the state was not saved: {answer}")
            time.sleep(0.1)

    def load_state(self, path):
        """Starts a machine that waits for a state with the one in `path`; it runs when this returns."""
        self.tell("migrate_set_capability x-ignore-shared on")
        self.ask(f'migrate_incoming "exec:cat {path}"')
        while True:
            answer = self.ask("info status")
            if "running" in answer:
                return
            if time.monotonic() > self._deadline:
                raise MonitorError(f"the state was not loaded: {answer}")
            time.sleep(0.05)

    def _read_to_prompt(self):
        answer = b""
        while not answer.endswith(PROMPT):
            self._socket.settimeout(max(0.01, self._deadline - time.monotonic()))
            try:
                part = self._socket.recv(65536)
            except TimeoutError:
                raise MonitorError("the monitor does not answer") from None
            if not part:
                raise MonitorError("the machine ended")
            answer += part
        # The monitor echoes what is typed with terminal codes; only the lines after the echo matter.
        return answer[: -len(PROMPT)].decode(errors="replace").replace("\r", "")
