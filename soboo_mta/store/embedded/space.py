"""Free space where an embedded store lies: mail is refused before the disk is full.

Deliveries still have to be noted then, and the log written. A PostgreSQL store's disk is its
own server's: it says itself when it is full.
"""

import os
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Engine

_LOOK_SECONDS = (
    0.25  # between looks: a system call for each message would be one too many
)


class FreeSpace:
    """Whether less than `least` octets are free; 0 asks nothing. `monotonic` in seconds."""

    def __init__(
        self, engine: Engine, *, least: int, monotonic: Callable[[], float]
    ) -> None:
        is_here = engine.dialect.name == "sqlite" and engine.url.database and least > 0
        self._place = Path(str(engine.url.database)).parent if is_here else None
        self._least = least
        self._monotonic = monotonic
        self._looked_at = float("-inf")
        self._is_low = False

    @property
    def is_low(self) -> bool:
        """As of a quarter of a second ago at most; a file system that does not answer is
        not low: the commit will say what is wrong with it."""
        now = self._monotonic()
        if self._place is not None and now - self._looked_at >= _LOOK_SECONDS:
            self._looked_at = now
            self._is_low = _free(self._place) < self._least
        return self._is_low


def _free(place: Path) -> float:
    try:
        found = os.statvfs(place)
    except OSError:
        return float("inf")
    return found.f_bavail * found.f_frsize
