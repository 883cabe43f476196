"""One SPF evaluation by spftrace, over our own resolver (RFC 7208 §4)."""

import spftrace
from spftrace.resolver import NOERROR, NXDOMAIN, SERVFAIL

from soboo_mta.formats.authentication.results import Result
from soboo_mta.ports import (
    Found,
    IpAddress,
    MxRecord,
    NoName,
    Record,
    RecordType,
    Resolver,
    Unanswered,
)


async def spf_result(
    client: IpAddress, *, sender: str, helo: str, resolver: Resolver
) -> Result:
    """Return what the domain of `sender` says of mail from `client`.

    `sender` is local-part@domain; `helo` counts in macros alone. Never raises for what a
    client or DNS can say.
    """
    evaluator = spftrace.Evaluator(Door(resolver))
    evaluated = await evaluator.evaluate(str(client), sender, helo)
    return Result(evaluated.result)


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


def _text(record: Record) -> str:
    return record.host if isinstance(record, MxRecord) else str(record)
