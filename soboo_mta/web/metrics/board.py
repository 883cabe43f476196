"""The numbers of one process, in memory that it shares with the process that tells them.

Made before the fork and mapped by both, so that a count is one addition, nothing is
written to a disk that may be full, and what a worker counted outlives its kill: its
successor counts on. One process writes a board, each number from one thread.
"""

import mmap
from collections.abc import Iterator

_SLOTS = 8_192
_KEY_OCTETS = 120
_FIRST = 2  # numbers before it: how many slots are used, and when it was last alive
_USED, _ALIVE = 0, 1
_BETWEEN = "\x1f"
_VALUE_CHARACTERS = 63  # of one label; a longer name is cut
FULL = "board_full"


class Board:
    """Numbers by name and label values, at most some thousands.

    A board that is full counts what it has no place for under `FULL`.
    """

    def __init__(self) -> None:
        self._memory = memoryview(mmap.mmap(-1, _SLOTS * (8 + _KEY_OCTETS)))
        self._numbers = self._memory[: _SLOTS * 8].cast("d")
        self._keys = self._memory[_SLOTS * 8 :]
        self._slots: dict[str, int] = {}
        self._read: list[tuple[str, tuple[str, ...]]] = []

    # ---- for the one who counts

    def slot(self, name: str, *labels: str) -> int:
        """Return where the number is kept; it stays there. Looking twice is a waste."""
        if not self._slots:  # an earlier process of this role may have left some
            self._slots = {
                _key(*found): slot for slot, found in enumerate(self._names(), _FIRST)
            }
        key = _key(name, labels)
        slot = self._slots.get(key)
        if slot is None:
            slot = self._slots[key] = self._new_slot(key)
        return slot

    def add(self, slot: int, number: float) -> None:
        self._numbers[slot] += number

    def put(self, slot: int, number: float) -> None:
        self._numbers[slot] = number

    def is_alive(self, now: float) -> None:
        """Say that the numbers of the moment are of `now` (monotonic seconds)."""
        self._numbers[_ALIVE] = now

    # ---- for the one who tells

    def series(self) -> Iterator[tuple[str, tuple[str, ...], float]]:
        """Each number: its name, its label values, its value."""
        for slot, (name, labels) in enumerate(self._names(), _FIRST):
            yield name, labels, self._numbers[slot]

    def alive_at(self) -> float:
        """When the process was last alive, in monotonic seconds; 0: never."""
        return self._numbers[_ALIVE]

    # ----

    def _names(self) -> list[tuple[str, tuple[str, ...]]]:
        used = int(self._numbers[_USED])
        for index in range(len(self._read), used):
            start = index * _KEY_OCTETS
            octets = bytes(self._keys[start : start + _KEY_OCTETS]).rstrip(b"\0")
            name, *labels = octets.decode().split(_BETWEEN)
            self._read.append((name, tuple(labels)))
        return self._read

    def _new_slot(self, key: str) -> int:
        index = int(self._numbers[_USED])
        if index + _FIRST >= _SLOTS:
            return self._slots[FULL]
        octets = key.encode()[:_KEY_OCTETS].decode(errors="ignore").encode()
        start = index * _KEY_OCTETS
        self._keys[start : start + len(octets)] = octets
        self._numbers[index + _FIRST] = 0.0
        self._numbers[_USED] = index + 1  # last: a reader sees the whole or nothing
        return index + _FIRST


def _key(name: str, labels: tuple[str, ...]) -> str:
    values = (one.replace(_BETWEEN, "")[:_VALUE_CHARACTERS] for one in labels)
    return _BETWEEN.join((name, *values))
