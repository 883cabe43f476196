"""A worker's view of the suppression lists, no older than the generation last seen.

Short lists are held in memory; of a long one the addresses asked for, bounded. `refresh`
is polled: it reads which addresses changed and mends what is held of them, so that a
change costs no other address a look into the store. An entry that is over suppresses
nothing, whether or not it was swept.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection

from soboo_mta.mail.address import Mailbox
from soboo_mta.mail.ids import NO_STREAM, Stream, TenantId
from soboo_mta.ports import Clock
from soboo_mta.store.writer import Writer
from soboo_mta.tenancy.suppression.changes import (
    ListState,
    changed_keys,
    changed_lists,
    generation,
)
from soboo_mta.tenancy.suppression.entry import folded
from soboo_mta.tenancy.suppression.rows import (
    By,
    Standing,
    standing_of,
    whole_list,
)
from soboo_mta.tenancy.suppression.soft import Counted, counted_since

_MOST_CHANGES = 2_000  # between two looks; for more the lists are read again
_NONE: By = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class SuppressionOptions:
    """How lists are read."""

    ignore_case: bool = True
    """Whether local parts that differ in case alone are one address."""
    short: int = 5_000
    """A list up to so many entries is held in memory whole."""
    held: int = 1_000_000
    """Addresses of short lists in memory; over it all are forgotten and read again."""
    remembered: int = 50_000
    """Answers about addresses of long lists; the oldest gives way."""
    counted: int = 100_000
    """Addresses with soft failures that a delivery forgets; of those beyond, the oldest,
    failures are forgotten by their age alone."""


class Suppressions:
    """The view. Call `refresh` once before use, then at most 250 ms apart."""

    def __init__(
        self,
        *,
        writer: Writer,
        clock: Clock,
        options: SuppressionOptions | None = None,
    ) -> None:
        self._writer = writer
        self._clock = clock
        self._options = options or SuppressionOptions()
        self._seen = 0
        self._states: dict[TenantId, ListState] = {}
        self._whole: dict[TenantId, By] = {}
        self._held = 0
        self._asked: OrderedDict[Counted, tuple[Standing, ...]] = OrderedDict()
        self._counted: OrderedDict[Counted, None] = OrderedDict()
        self._loading = asyncio.Lock()

    async def refresh(self) -> None:
        """Follow the store; may raise StoreError."""
        seen, most = self._seen, self._options.counted
        found = await self._writer.read(lambda at: _followed(at, seen, most))
        if found is None:
            return
        for state in found.lists:
            self._states[state.tenant] = state
        if found.entries is None:
            self._forget({state.tenant for state in found.lists})
        else:
            for (tenant, key), entries in found.entries.items():
                self._mend(tenant, key, entries)
        for one in reversed(found.counted):
            self._counted[one] = None
            self._counted.move_to_end(one)
        while len(self._counted) > most:
            self._counted.popitem(last=False)
        self._seen = found.generation

    def known(
        self, tenant: TenantId, address: Mailbox, stream: Stream = NO_STREAM
    ) -> str | None:
        """Why mail of the stream does not go to the address, "" where it does, None:
        `why` has to ask. NO_STREAM: mail that names none."""
        state = self._states.get(tenant)
        if state is None or state.entries <= 0:
            return ""
        key = folded(address)
        whole = self._whole.get(tenant)
        if whole is not None:
            return self._chosen(whole.get(key, ()), address, stream)
        asked = self._asked.get((tenant, key))
        return None if asked is None else self._chosen(asked, address, stream)

    async def why(
        self, tenant: TenantId, address: Mailbox, stream: Stream = NO_STREAM
    ) -> str:
        """As `known`; asks where it has to. May raise StoreError."""
        found = self.known(tenant, address, stream)
        while found is None:
            async with self._loading:  # one look for all who wait for the same
                found = self.known(tenant, address, stream)
                if found is None:
                    await self._load(self._states[tenant], folded(address))
            found = self.known(tenant, address, stream)
        return found

    def has_failures(self, tenant: TenantId, address: Mailbox) -> bool:
        """Whether soft failures of the address are counted: a delivery forgets them."""
        return bool(self._counted) and (tenant, folded(address)) in self._counted

    def forgiven(self, tenant: TenantId, address: Mailbox) -> None:
        """They were forgotten."""
        self._counted.pop((tenant, folded(address)), None)

    # ---- what is held

    async def _load(self, state: ListState, key: str) -> None:
        tenant, is_short = state.tenant, state.entries <= self._options.short
        seen, found = await self._writer.read(
            lambda at: (
                generation(at),
                whole_list(at, tenant) if is_short else standing_of(at, tenant, {key}),
            )
        )
        if seen < self._seen:
            return  # a change since was seen already: asked again
        if is_short:
            self._hold(tenant, found)
            return
        self._asked[tenant, key] = found.get(key, ())
        while len(self._asked) > self._options.remembered:
            self._asked.popitem(last=False)

    def _hold(self, tenant: TenantId, whole: By) -> None:
        self._let_go(tenant)
        if self._held + len(whole) > self._options.held:
            self._whole.clear()
            self._held = 0
        self._whole[tenant] = whole
        self._held += len(whole)

    def _mend(self, tenant: TenantId, key: str, entries: tuple[Standing, ...]) -> None:
        """Hold what there is for an address now, as far as it was held."""
        if (tenant, key) in self._asked:
            self._asked[tenant, key] = entries
        whole = self._whole.get(tenant)
        if whole is None:
            return
        if self._states[tenant].entries > self._options.short:
            self._let_go(tenant)
            return
        self._held += bool(entries) - (key in whole)
        if entries:
            whole[key] = entries
        else:
            whole.pop(key, None)

    def _let_go(self, tenant: TenantId) -> None:
        self._held -= len(self._whole.pop(tenant, _NONE))

    def _forget(self, tenants: Collection[TenantId]) -> None:
        for tenant in tenants:
            self._let_go(tenant)
        for one in [one for one in self._asked if one[0] in tenants]:
            del self._asked[one]

    def _chosen(
        self, entries: tuple[Standing, ...], address: Mailbox, stream: Stream
    ) -> str:
        for one in entries:
            if (
                one.stream in (NO_STREAM, stream)
                and (self._options.ignore_case or one.address == str(address))
                and not self._is_over(one)
            ):
                return one.because
        return ""

    def _is_over(self, one: Standing) -> bool:
        return one.expires_at is not None and one.expires_at <= self._clock.unix_ms()


@dataclass(frozen=True, slots=True)
class _Followed:
    """What is new since a generation; `entries` None: too much, the lists are read again."""

    generation: int
    lists: tuple[ListState, ...]
    entries: dict[Counted, tuple[Standing, ...]] | None
    counted: tuple[Counted, ...]


def _followed(connection: Connection, seen: int, most: int) -> _Followed | None:
    latest = generation(connection)
    if latest == seen:
        return None
    lists = changed_lists(connection, seen)
    if not seen:  # nothing is held yet
        keys: Mapping[TenantId, set[str]] | None = {}
    else:
        keys = changed_keys(connection, seen, most=_MOST_CHANGES)
    entries: dict[Counted, tuple[Standing, ...]] | None = None
    if keys is not None:
        entries = {}
        for tenant, theirs in keys.items():
            now = standing_of(connection, tenant, theirs)
            entries.update({(tenant, key): now.get(key, ()) for key in theirs})
    counted = counted_since(connection, seen, most=most)
    return _Followed(latest, lists, entries, counted)
