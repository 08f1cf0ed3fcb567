"""Which kernel modules to load, and in which order, where there is no modprobe."""

import pathlib


def in_order(tree, release, names):
    """The kernel modules `names` and what they need: file names that sort in the order of loading, and contents."""
    base = tree / "lib/modules" / release
    files = {}
    needs = {}
    for line in (base / "modules.dep").read_text().splitlines():
        path, _, needed = line.partition(":")
        files[_module_name(path)] = path
        needs[path] = needed.split()
    order = []
    for name in names:
        path = files[_module_name(name)]
        # The kernel's list names what is needed first last.
        for file in [*reversed(needs[path]), path]:
            if file not in order:
                order.append(file)
    return [(f"{number:02}-{pathlib.Path(path).name}", (base / path).read_bytes())
            for number, path in enumerate(order)]  # fmt: skip


def _module_name(path):
    return pathlib.Path(path).name.partition(".")[0].replace("-", "_")
