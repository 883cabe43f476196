"""Bounded memory of what was found in the store, and of what was not."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final, Generic, TypeVar

from sqlalchemy import Connection

from soboo_mta.mail.ids import TenantId
from soboo_mta.tenancy.secrets import SecretError

K = TypeVar("K")
V = TypeVar("V")
_MAX_TOGETHER: Final = 100  # looked for on one snapshot
_OF_AN_ENTRY: Final = (ValueError, OverflowError, SecretError)  # the others are well


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much each cache keeps; the oldest gives way."""

    entries: int
    missing_entries: int


class Cache(Generic[K, V]):
    """What was found and what was not, each bounded apart: guesses push nobody out.

    `whose`: the tenant that a found value is forgotten with.
    """

    __slots__ = ("_bounds", "_of", "_whose", "found", "missing")

    def __init__(self, bounds: Bounds, whose: Callable[[V], TenantId]) -> None:
        self._bounds = bounds
        self._whose = whose
        self._of: dict[TenantId, set[K]] = {}
        self.found: dict[K, V] = {}
        self.missing: dict[K, None] = {}

    def keep(self, key: K, value: V | None) -> None:
        """Keep what was found; None: that there is nothing. The oldest gives way."""
        if value is None:
            if len(self.missing) >= self._bounds.missing_entries:
                del self.missing[next(iter(self.missing))]
            self.missing[key] = None
            return
        if key in self.found:
            self._forget(key)
        elif len(self.found) >= self._bounds.entries:
            self._forget(next(iter(self.found)))
        self.found[key] = value
        self._of.setdefault(self._whose(value), set()).add(key)

    def forget(self, tenants: Collection[TenantId] | None) -> None:
        """Forget what was found of these tenants (None: of all), and all that is said
        not to be there: it may be now, and theirs."""
        self.missing.clear()
        if tenants is None:
            self.found.clear()
            self._of.clear()
            return
        for tenant in tenants:
            for key in self._of.pop(tenant, ()):
                del self.found[key]

    def _forget(self, key: K) -> None:
        tenant = self._whose(self.found.pop(key))
        beside = self._of[tenant]
        beside.discard(key)
        if not beside:
            del self._of[tenant]


class LoadingCache(Cache[K, V]):
    """A cache with its way to the store: those who wait at the same time ask together.

    Whoever misses says so in `wanted`, waits for `loading`, and looks again before it
    looks for all that is wanted by then: a reader's thread costs more than its query.
    """

    __slots__ = ("_load", "loading", "wanted")

    def __init__(
        self,
        bounds: Bounds,
        whose: Callable[[V], TenantId],
        load: Callable[[Connection, Collection[K]], Mapping[K, V]],
    ) -> None:
        super().__init__(bounds, whose)
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
