"""The ready queues of one engine: one per source and site, begun when there is mail for it."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from datetime import timedelta

from soboo_mta.identity.state import Source
from soboo_mta.ports import TlsPolicy
from soboo_mta.spool.capacity import Place, Share
from soboo_mta.store.unit import StoreError
from soboo_mta.transfer.ready.queue import ReadyQueue
from soboo_mta.transfer.ready.street import Street
from soboo_mta.transfer.routing.finder import Site

_log = logging.getLogger(__name__)
_SHARE_EVERY = timedelta(milliseconds=200)  # what other workers wait for is looked at
_Kind = tuple[str, str, str, TlsPolicy]  # source, site, its ranks, its connections


class Queues:
    """`start` runs a queue's task until it ends."""

    def __init__(
        self, street: Street, start: Callable[[Coroutine[None, None, None], str], None]
    ) -> None:
        self._street = street
        self._start = start
        self._current: dict[_Kind, ReadyQueue] = {}
        self._running: set[ReadyQueue] = set()  # those replaced and ending too

    def __len__(self) -> int:
        """How many run, those included that are ending."""
        return len(self._running)

    @property
    def lines(self) -> int:
        """Connections of all of them, those being opened included."""
        return sum(queue.lines for queue in self._running)

    def to(self, source: Source, site: Site, *, epoch: int) -> ReadyQueue:
        """Return the queue from `source` to `site` under the lease of `epoch`."""
        kind = kind_of(source, site)
        queue = self._current.get(kind)
        if queue is not None and queue.epoch != epoch:
            queue.close()  # its shares went with the lease, and so must its connections
            queue = None
        if queue is None or queue.is_over:
            queue = ReadyQueue(
                site=site, source=source, street=self._street, epoch=epoch
            )
            self._current[kind] = queue
            self._running.add(queue)
            self._start(self._serve(kind, queue), f"ready queue {kind}")
        elif queue.site is not site:
            queue.site = site  # the same hosts, looked up again
        return queue

    def close(self) -> None:
        """Let each finish what is under way, and end."""
        for queue in self._running:
            queue.close()

    def interrupt(self) -> None:
        """Give up connections that are still being opened."""
        for queue in self._running:
            queue.interrupt()

    async def share(self, closing: asyncio.Event) -> None:
        """Make room at sites that other workers wait for, again and again."""
        while not closing.is_set():
            await asyncio.sleep(_SHARE_EVERY.total_seconds())
            if not self._current:
                continue
            try:
                contested = await self._street.capacity.contested()
            except StoreError as error:
                _log.warning("cannot look at capacity yet: %s", error)
            else:
                self._make_room(contested)

    def _make_room(self, contested: Mapping[Place, Mapping[int, Share]]) -> None:
        """Several queues may share a place's connections: those of other ranks or TLS."""
        limit = self._street.options.connections
        surplus = {
            place: self._street.capacity.surplus(shares, limit)
            for place, shares in contested.items()
        }
        for queue in self._current.values():
            place = queue.site.name, queue.source.name
            if place in surplus:
                surplus[place] -= queue.make_room(max(0, surplus[place]))

    async def _serve(self, kind: _Kind, queue: ReadyQueue) -> None:
        try:
            await queue.run()
        finally:
            self._running.discard(queue)
            if self._current.get(kind) is queue:
                del self._current[kind]


def kind_of(source: Source, site: Site) -> _Kind:
    """Return what two recipients have in common that may share a connection."""
    return source.name, site.name, site.ranks, site.tls
