"""SPF of one domain for each of our sources, by spftrace over our own resolver (RFC 7208)."""

from collections.abc import Iterable
from dataclasses import dataclass

import spftrace
from spftrace.resolver import NOERROR, NXDOMAIN, SERVFAIL

from soboo_mta.identity.state import Source
from soboo_mta.mail.domain import DnsName
from soboo_mta.ports import (
    Found,
    MxRecord,
    NoName,
    RecordType,
    Resolver,
    Unanswered,
)


@dataclass(frozen=True, slots=True)
class SpfResults:
    """Source name → RFC 7208 §2.6 result ("pass", "fail", "permerror", …)."""

    results: tuple[tuple[str, str], ...]

    @property
    def passing(self) -> tuple[str, ...]:
        return tuple(name for name, result in self.results if result == "pass")

    @property
    def unknown(self) -> tuple[str, ...]:
        """The sources whose result rests on no answer."""
        return tuple(name for name, result in self.results if result == "temperror")

    @property
    def others(self) -> str:
        """The sources that do not pass, in words."""
        return ", ".join(
            f"{n}: {result}" for n, result in self.results if result != "pass"
        )


async def spf_results(
    domain: DnsName, sources: Iterable[Source], resolver: Resolver
) -> SpfResults:
    """Evaluate SPF of `domain` as reverse-path domain for each source."""
    door = Door(resolver)
    results = []
    for source in sources:
        evaluated = await spftrace.Evaluator(door).evaluate(
            str(source.public_address), f"postmaster@{domain}", str(source.ehlo_name)
        )
        results.append((source.name, evaluated.result))
    return SpfResults(tuple(results))


class Door(spftrace.BaseResolver):
    """spftrace's look-ups through the `Resolver` port."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver

    async def _lookup(self, name: str, rtype: str) -> tuple[str, list[str]]:
        answer = await self._resolver.lookup(name, RecordType(rtype))
        if isinstance(answer, Unanswered):
            return SERVFAIL, []
        if isinstance(answer, Found):
            return NOERROR, [_text(record) for record in answer.records]
        return (NXDOMAIN if isinstance(answer, NoName) else NOERROR), []


def _text(record: object) -> str:
    return record.host if isinstance(record, MxRecord) else str(record)
