"""The lab tries itself: two hosts, what they need, and a guest with a seed on each, timed step by step."""

import concurrent.futures
import shlex
import subprocess
import time

GUEST_SECONDS_MAX = 180

# The guests: on which host, name, address, and kind of seed.
GUESTS = ((1, "trial-a", "10.77.0.31", "iso9660"), (2, "trial-b", "10.77.0.32", "vfat"))


def run(lab):
    """Tries the hosts 1 and 2 of `lab`, which must be up; an AssertionError says what is not as it should be."""
    for number in (1, 2):
        with _step(f"virsh list on host {number}"):
            listed = lab.host(number).run("virsh -c xen:///system list; vgs --noheadings -o vg_name; hostname", 60)
            for word in ("Domain-0", "vg1", f"lab-h{number}"):
                assert word in listed, f"no {word} in:\n{listed}"
    with _step("host 1 reaches host 2"):
        lab.host(1).run("ping -c 1 -W 10 10.77.0.2; test $(ssh 10.77.0.2 hostname) = lab-h2", 60)
    with _step("a guest on each host, at once"), concurrent.futures.ThreadPoolExecutor() as pool:
        for done in [pool.submit(_try_guest, lab.host(number), *guest) for number, *guest in GUESTS]:
            done.result()


def _try_guest(host, name, address, kind):
    with _step(f"{name}: virsh define and start"):
        host.run(f"/lab/guest create {name} {address} {kind}", GUEST_SECONDS_MAX)
    try:
        with _step(f"{name}: from there to its name over SSH, with the key of the {kind} seed"):
            _wait_for(host, f"test \"$({_ssh(address)} hostname)\" = {name}")
        with _step(f"{name}: ping; its first disk is writable"):
            host.run(f"ping -c 1 -W 10 {address}; {_ssh(address)} 'echo kept >/data/note && sync'", 60)
        with _step(f"{name}: virsh shutdown, until it is off"):
            host.run(f"virsh -c xen:///system shutdown {name}", 60)
            _wait_for(host, f"virsh -c xen:///system domstate --reason {name} | grep -q 'shut off (shutdown)'")
    except subprocess.SubprocessError:
        # Only the fast profile logs consoles.
        said = host.run(f"tail -n 20 /var/log/xen/console/guest-{name}.log 2>&1 || true; xl list", 60)
        print(f"what {name} said, and the domains there are:\n{said}", flush=True)
        raise
    finally:
        with _step(f"{name}: removed"):
            host.run(f"/lab/guest remove {name}", 60)


def _ssh(address):
    # A guest makes a new key at each start, so there is none to compare with.
    options = ("ConnectTimeout=5", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR")
    return " ".join(["ssh", *(f"-o {option}" for option in options), address])


def _wait_for(host, condition):
    """Waits on the host itself, which costs fewer connections."""
    loop = f"until {{ {condition}; }} 2>/dev/null; do sleep 0.2; done"
    try:
        host.run(f"timeout {GUEST_SECONDS_MAX} sh -c {shlex.quote(loop)}", GUEST_SECONDS_MAX + 20)
    except subprocess.SubprocessError:
        print(f"waited {GUEST_SECONDS_MAX} s for: {condition}", flush=True)
        raise


class _step:
    """Prints what is tried and how long it took."""

    def __init__(self, text):
        self._text = text

    def __enter__(self):
        self._began = time.monotonic()

    def __exit__(self, kind, error, _trace):
        seconds = time.monotonic() - self._began
        print(f"  {seconds:5.1f} s  {self._text}{'' if kind is None else ': FAILED'}", flush=True)
        if isinstance(error, subprocess.CalledProcessError) and error.stdout:
            print(error.stdout.decode(errors="replace"), flush=True)
