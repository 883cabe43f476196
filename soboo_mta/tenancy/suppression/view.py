"""A worker's view of the suppression lists, no older than the generation last seen.

Short lists are held in memory; of a long one the addresses asked for, bounded. `refresh`
is polled; it reads which lists changed, and their entries are read when asked for.
"""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass

from soboo_mta.mail.address import Mailbox
from soboo_mta.mail.ids import TenantId
from soboo_mta.store.writer import Writer
from soboo_mta.tenancy.suppression.rows import (
    By,
    ListState,
    changed_lists,
    entries_of,
    folded,
    whole_list,
)

_Key = tuple[TenantId, int, str]  # whose, as of which generation, folded address
_NONE: By = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class SuppressionOptions:
    """How lists are read."""

    ignore_case: bool = True
    """Whether local parts that differ in case alone are one address."""
    short: int = 5_000
    """A list up to so many entries is held in memory whole."""
    held: int = 1_000_000
    """Entries of short lists in memory; over it all are forgotten and read again."""
    remembered: int = 50_000
    """Answers about addresses of long lists; the oldest gives way."""


class Suppressions:
    """The view. Call `refresh` once before use, then at most 250 ms apart."""

    def __init__(
        self, *, writer: Writer, options: SuppressionOptions | None = None
    ) -> None:
        self._writer = writer
        self._options = options or SuppressionOptions()
        self._seen = 0
        self._states: dict[TenantId, ListState] = {}
        self._whole: dict[TenantId, tuple[int, By]] = {}
        self._held = 0
        self._asked: OrderedDict[_Key, tuple[tuple[str, str], ...]] = OrderedDict()
        self._loading = asyncio.Lock()

    async def refresh(self) -> None:
        """Follow the store; may raise StoreError."""
        for state in await self._writer.read(lambda at: changed_lists(at, self._seen)):
            self._states[state.tenant] = state
            self._seen = state.generation
            self._forget(state.tenant)

    def known(self, tenant: TenantId, address: Mailbox) -> str | None:
        """Why the address is suppressed, "" where it is not, None: `why` has to ask."""
        state = self._states.get(tenant)
        if state is None or state.entries <= 0:
            return ""
        key = folded(address)
        whole = self._whole.get(tenant)
        if whole is not None and whole[0] == state.generation:
            return self._chosen(whole[1].get(key, ()), address)
        asked = self._asked.get((tenant, state.generation, key))
        return None if asked is None else self._chosen(asked, address)

    async def why(self, tenant: TenantId, address: Mailbox) -> str:
        """Why the tenant's mail does not go to `address`; "" where it does. May raise
        StoreError."""
        found = self.known(tenant, address)
        while found is None:
            async with self._loading:  # one look for all who wait for the same
                found = self.known(tenant, address)
                if found is None:
                    await self._load(self._states[tenant], folded(address))
            found = self.known(tenant, address)
        return found

    async def _load(self, state: ListState, key: str) -> None:
        tenant = state.tenant
        if state.entries > self._options.short:
            entries = await self._writer.read(lambda at: entries_of(at, tenant, key))
            self._asked[tenant, state.generation, key] = entries
            while len(self._asked) > self._options.remembered:
                self._asked.popitem(last=False)
            return
        whole = await self._writer.read(lambda at: whole_list(at, tenant))
        self._forget(tenant)
        if self._held + len(whole) > self._options.held:
            self._whole.clear()
            self._held = 0
        self._whole[tenant] = (state.generation, whole)
        self._held += len(whole)

    def _forget(self, tenant: TenantId) -> None:
        _, whole = self._whole.pop(tenant, (0, _NONE))
        self._held -= len(whole)

    def _chosen(self, entries: tuple[tuple[str, str], ...], address: Mailbox) -> str:
        for given, because in entries:
            if self._options.ignore_case or given == str(address):
                return because
        return ""
