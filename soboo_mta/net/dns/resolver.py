"""DNS look-ups behind the `Resolver` port, through recursive servers.

Owns the cache and the joining of equal look-ups in flight.
"""

import asyncio
from collections import OrderedDict
from dataclasses import replace

import dns.asyncresolver

from soboo_mta.net.dns.questions import (
    ResolverOptions,
    Step,
    follow,
    question,
    stub_of,
    system_servers,
)
from soboo_mta.ports import Answer, Clock, NamedResolver, RecordType, Unanswered


class DnsResolver:
    """A `Resolver` over recursive servers, with a bounded cache by TTL."""

    def __init__(self, *, options: ResolverOptions, clock: Clock) -> None:
        self.clock = clock
        self._options = options
        self._cache = _Cache(options, clock)
        self._in_flight: dict[_Key, asyncio.Future[Answer | None]] = {}
        self._stub: dns.asyncresolver.Resolver | None = None
        self._answered = 0
        self._is_silent = False

    async def lookup(
        self, name: str, kind: RecordType, *, fresh: bool = False
    ) -> Answer:
        """As `Resolver.lookup`. Equal look-ups in flight are one question."""
        key = (name.lower().removesuffix("."), kind, fresh)
        if not fresh and (known := self._cache.get(key)) is not None:
            return known
        while (pending := self._in_flight.get(key)) is not None:
            # None: whoever asked was cancelled; the next in line asks again.
            if (answer := await asyncio.shield(pending)) is not None:
                return answer
        return await self._ask_for_all(key)

    async def _ask_for_all(self, key: "_Key") -> Answer:
        pending = asyncio.get_running_loop().create_future()
        self._in_flight[key] = pending
        answer: Answer | None = None
        try:
            answer = await follow(key[0], key[1], self._ask)
            self._cache.put(key, answer)
            return answer
        finally:
            del self._in_flight[key]
            pending.set_result(answer)

    async def _ask(self, name: str, kind: RecordType) -> Step:
        if self._stub is None:
            self._stub = stub_of(self._options, self._options.servers)
        asked_at = self._answered
        step = await question(
            self._stub, name, kind, lifetime=self._patience(self._stub)
        )
        if not step.is_silence:
            self._answered += 1
        self._is_silent = self._answered == asked_at
        return step

    def _patience(self, stub: dns.asyncresolver.Resolver) -> float:
        """Servers that left the last question without a word get one turn each, so that
        work of many questions ends in seconds where DNS is out of reach."""
        longest = self._options.lifetime.total_seconds()
        if not self._is_silent:
            return longest
        return min(
            longest, self._options.timeout.total_seconds() * len(stub.nameservers)
        )


def each_resolver(options: ResolverOptions, clock: Clock) -> tuple[NamedResolver, ...]:
    """Return every recursive server of the options, each to be asked by itself."""
    return tuple(
        NamedResolver(
            str(server[0]),
            DnsResolver(options=replace(options, servers=(server,)), clock=clock),
        )
        for server in options.servers or system_servers()
    )


# ---- the cache


_Key = tuple[str, RecordType, bool]


class _Cache:
    """Answers by name and type until their TTL ends; least recently used go first."""

    def __init__(self, options: ResolverOptions, clock: Clock) -> None:
        self._options = options
        self._clock = clock
        self._held: OrderedDict[tuple[str, RecordType], tuple[float, Answer]] = (
            OrderedDict()
        )

    def get(self, key: _Key) -> Answer | None:
        place = key[:2]
        held = self._held.get(place)
        if held is None:
            return None
        if held[0] <= self._clock.monotonic():
            del self._held[place]
            return None
        self._held.move_to_end(place)
        return held[1]

    def put(self, key: _Key, answer: Answer) -> None:
        seconds = self._seconds(answer)
        if seconds <= 0:
            self._held.pop(key[:2], None)
            return
        self._held[key[:2]] = (self._clock.monotonic() + seconds, answer)
        self._held.move_to_end(key[:2])
        while len(self._held) > self._options.entries:
            self._held.popitem(last=False)

    def _seconds(self, answer: Answer) -> float:
        if isinstance(answer, Unanswered):
            return min(self._options.unanswered_ttl.total_seconds(), 30)
        return min(answer.ttl, self._options.max_ttl.total_seconds())
