"""Bounded memory of what was found in the store, and of what was not."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from itertools import islice
from typing import Final, Generic, TypeVar

from sqlalchemy import Connection

from soboo_mta.tenancy.secrets import SecretError

K = TypeVar("K")
V = TypeVar("V")
_MAX_TOGETHER: Final = 100  # looked for on one snapshot
_OF_AN_ENTRY: Final = (ValueError, OverflowError, SecretError)  # the others are well


class Cache(Generic[K, V]):
    """What was found and what was not, each bounded apart: guesses push nobody out."""

    __slots__ = ("_entries", "_missing_entries", "found", "missing")

    def __init__(self, entries: int, missing_entries: int) -> None:
        self._entries = entries
        self._missing_entries = missing_entries
        self.found: dict[K, V] = {}
        self.missing: dict[K, None] = {}

    def keep(self, key: K, value: V | None) -> None:
        """Keep what was found; None: that there is nothing. The oldest gives way."""
        if value is None:
            _make_room(self.missing, self._missing_entries)
            self.missing[key] = None
        else:
            _make_room(self.found, self._entries)
            self.found[key] = value

    def clear(self) -> None:
        """Forget everything."""
        self.found.clear()
        self.missing.clear()


class LoadingCache(Cache[K, V]):
    """A cache with its way to the store: those who wait at the same time ask together.

    Whoever misses says so in `wanted`, waits for `loading`, and looks again before it
    looks for all that is wanted by then: a reader's thread costs more than its query.
    """

    __slots__ = ("_load", "loading", "wanted")

    def __init__(
        self,
        entries: int,
        missing_entries: int,
        load: Callable[[Connection, Collection[K]], Mapping[K, V]],
    ) -> None:
        super().__init__(entries, missing_entries)
        self._load = load
        self.loading = asyncio.Lock()
        self.wanted: dict[K, None] = {}

    def wanted_beside(self, key: K) -> list[K]:
        """Take `key` and what else is wanted, to be looked for together."""
        self.wanted.pop(key, None)
        others = list(islice(self.wanted, _MAX_TOGETHER))
        for other in others:
            del self.wanted[other]
        return others

    def look(
        self, connection: Connection, key: K, others: list[K]
    ) -> dict[K, V | None]:
        """Return what there is for `key` and for the others, None for nothing.

        An error is raised for `key` alone: another's is left to those who want it.
        """
        wanted = [key, *others]
        try:
            found = self._load(connection, wanted)
        except _OF_AN_ENTRY:
            wanted = [key]
            found = self._load(connection, wanted)
        return {one: found.get(one) for one in wanted}


def _make_room(entries: dict[K, V], bound: int) -> None:
    if len(entries) >= bound:
        del entries[next(iter(entries))]
