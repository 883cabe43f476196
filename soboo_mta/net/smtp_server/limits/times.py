"""A table of points of time by key, of one size for ever and shared by all workers.

A limit that must hold over the whole host is one number here: the time until which a
client's share is used up. The pages are made before the workers fork; a restart forgets
them, and nothing needs them. The store remains the only seam: no decision about mail that
was accepted is taken from here.
"""

import mmap
from dataclasses import dataclass, field
from typing import Final

_SLOTS: Final = 1 << 17  # a row; two rows of 8 octets a slot are 2 MiB, where touched
_MASK: Final = _SLOTS - 1


class Times:
    """Seconds of the monotonic clock by key, 0.0 where nothing was said.

    Each key has a place in either row and its time is the earlier one: only a key that
    meets others in both rows seems later than it is. Python's hash has a seed that forks
    share and clients do not know. Two workers that write one place at the same moment may
    lose one of the writes: a limit is then over by one.
    """

    def __init__(self) -> None:
        self._places = memoryview(mmap.mmap(-1, 2 * _SLOTS * 8)).cast("d")

    def get(self, key: str) -> float:
        """Return the time of `key`, or a later one."""
        first, second = _places_of(key)
        return min(self._places[first], self._places[second])

    def put_off(self, key: str, until: float) -> None:
        """Let the time of `key` be `until`, unless it is later already."""
        for place in _places_of(key):
            if self._places[place] < until:
                self._places[place] = until


@dataclass(frozen=True, slots=True)
class SharedTimes:
    """The tables of one installation: kinds of times that lie far apart meet in none."""

    rates: Times = field(default_factory=Times)
    failures: Times = field(default_factory=Times)
    known: Times = field(default_factory=Times)


def _places_of(key: str) -> tuple[int, int]:
    number = hash(key)
    return number & _MASK, _SLOTS + (number >> 32 & _MASK)
