"""A file of JSON lines, written so that what was reported as written is on the disk."""

import os
from collections.abc import Sequence
from pathlib import Path

from soboo_mta.events.outbox.form import ToldEvent


class LineFile:
    """Appends to a file; where somebody moved it away (logrotate), begins it anew.

    A process that dies may leave a line half written: the next one begins a line of its
    own, and tells the event again.
    """

    name = "file"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1

    def write(self, events: Sequence[ToldEvent]) -> None:
        """Return when all is synced; raise OSError where that cannot be."""
        octets = "".join(f"{one.text()}\n" for one in events).encode("ascii")
        try:
            self._open_where_moved()
            while octets:
                octets = octets[os.write(self._descriptor, octets) :]
            os.fsync(self._descriptor)
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open_where_moved(self) -> None:
        if self._descriptor >= 0:
            try:
                is_there = os.path.samestat(
                    os.stat(self._path), os.fstat(self._descriptor)
                )
            except FileNotFoundError:
                is_there = False
            if is_there:
                return
            self.close()
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(self._path, flags, 0o600)
        size = os.fstat(self._descriptor).st_size
        if size and os.pread(self._descriptor, 1, size - 1) != b"\n":
            os.write(self._descriptor, b"\n")
