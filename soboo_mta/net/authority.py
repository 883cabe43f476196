"""Look-ups at zones' own servers, past the caches in between.

`AuthoritativeResolver` is a `Resolver` that asks them; `Authority` says what each server
and the parent zone say, which is how a fault in a delegation is told from one in a record.
"""

from soboo_mta.net.questions import (
    ResolverOptions,
    Server,
    Step,
    follow,
    question,
    stub_of,
)
from soboo_mta.net.resolver import DnsResolver
from soboo_mta.ports import (
    Answer,
    Found,
    IpAddress,
    MxRecord,
    RecordType,
    Unanswered,
)

_MAX_SERVERS = 4  # of one zone, asked in turn


class AuthoritativeResolver:
    """A `Resolver` that asks each zone's own servers, so that no cache is in between.

    The zone and its servers are found through `recursive`. Servers that can't be reached
    or are not authoritative give Unanswered, as a resolver's own failure would.
    """

    def __init__(self, *, recursive: DnsResolver, options: ResolverOptions) -> None:
        self._recursive = recursive
        self._options = options

    async def lookup(
        self, name: str, kind: RecordType, *, fresh: bool = False
    ) -> Answer:
        """As `Resolver.lookup`; always fresh."""
        return await follow(name.lower().removesuffix("."), kind, self._ask)

    async def _ask(self, name: str, kind: RecordType) -> Step:
        servers = await self._servers(name)
        if isinstance(servers, Unanswered):
            return Step(servers)
        stub = stub_of(self._options, servers)
        stub.flags = 0  # no recursion desired
        step = await question(stub, name, kind)
        if not isinstance(step.answer, Unanswered) and not step.is_authoritative:
            return Step(Unanswered(cause=f"no authoritative answer for {name}"))
        return step

    async def _servers(self, name: str) -> "tuple[Server, ...] | Unanswered":
        """The servers of the zone that `name` is in; or why none is known: our resolver
        is silent, which says nothing of the zone, or there is no such zone."""
        labels = name.split(".")
        for cut in range(len(labels)):
            answer = await self._recursive.lookup(".".join(labels[cut:]), RecordType.NS)
            if isinstance(answer, Unanswered):
                return Unanswered(
                    cause=f"our own resolver gives no answer: {answer.cause}"
                )
            # NS behind a CNAME are those of another zone.
            if isinstance(answer, Found) and not answer.chain:
                return await self._addresses(answer)
        return Unanswered(cause=f"no zone that {name} could be in is delegated")

    async def _addresses(self, servers: Found) -> "tuple[Server, ...] | Unanswered":
        found: list[IpAddress] = []
        for host in servers.records[:_MAX_SERVERS]:
            for kind in (RecordType.A, RecordType.AAAA):
                answer = await self._recursive.lookup(str(host), kind)
                if isinstance(answer, Found):
                    found += [
                        record
                        for record in answer.records
                        if not isinstance(record, str | MxRecord)
                    ]
        if not found:
            named = ", ".join(map(str, servers.records[:_MAX_SERVERS]))
            return Unanswered(
                cause=f"no address was found of its name servers: {named}"
            )
        return tuple((address, self._options.authoritative_port) for address in found)
