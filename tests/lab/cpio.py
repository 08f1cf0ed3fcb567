"""Writes initial ram disks: cpio archives of the "newc" kind, as the kernel's documentation describes them."""

import stat


class Archive:
    """A ram disk in the making. Everything in it belongs to root."""

    def __init__(self):
        self._parts = []
        self._count = 0

    def folder(self, path, mode=0o755):
        self._add(path, stat.S_IFDIR | mode, b"")

    def file(self, path, content, mode=0o644):
        self._add(path, stat.S_IFREG | mode, content)

    def program(self, path, content):
        self.file(path, content, 0o755)

    def link(self, path, target):
        self._add(path, stat.S_IFLNK | 0o777, target.encode())

    def character_device(self, path, major, minor, mode=0o600):
        self._add(path, stat.S_IFCHR | mode, b"", major, minor)

    def bytes(self):
        """The archive, complete."""
        self._add("TRAILER!!!", 0, b"")
        return b"".join(self._parts)

    def _add(self, path, mode, content, major=0, minor=0):
        self._count += 1
        name = path.encode() + b"\0"
        fields = (self._count, mode, 0, 0, 1, 0, len(content), 0, 0, major, minor, len(name), 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + name
        self._parts += [_padded(head), _padded(content)]


def _padded(data):
    return data + b"\0" * (-len(data) % 4)
