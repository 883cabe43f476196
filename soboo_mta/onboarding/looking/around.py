"""The further questions where a record is not as it should be: what is around its name.

Asked only then: a record that is good costs its one question. Judging is `judging/`'s.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from soboo_mta.identity.dmarc import Suffixes
from soboo_mta.identity.state import DomainSettings, Fault, RequiredRecord
from soboo_mta.mail.domain import DnsName
from soboo_mta.onboarding.judging.judge import NOTHING_AROUND, Around, shown, texts
from soboo_mta.ports import (
    MAX_CHAIN,
    Answer,
    Found,
    IpAddress,
    NoData,
    NoName,
    RecordType,
    Resolver,
    Unanswered,
)

_OFTEN = (RecordType.A, RecordType.AAAA, RecordType.MX, RecordType.TXT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sought:
    """A record that is looked for: at which name, of which type, and what tells it from
    others (a wildcard answers for names that nobody meant)."""

    owner: DnsName
    kind: RecordType
    is_it: Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Asks around the names of one domain, during one look."""

    resolver: Resolver
    settings: DomainSettings
    suffixes: Suffixes

    async def of_missing(self, sought: Sought, *, is_no_name: bool) -> Around:
        """Why `sought` is not at its name: no such domain, or under another name."""
        if is_no_name and (zone := await self.unregistered()) is not None:
            return Around(unregistered=zone)
        return Around(elsewhere=await self._elsewhere(sought))

    async def of_text(
        self, record: RequiredRecord, answer: Found | NoData | NoName
    ) -> Around:
        """Why the TXT `record` is not what `answer` says."""
        if answer.chain:
            return NOTHING_AROUND
        if isinstance(answer, Found):
            wild = await self.is_wildcard(record.owner, RecordType.TXT, answer)
            return Around(is_wildcard=wild)
        wanted = "".join(record.value.split())
        sought = Sought(
            owner=record.owner,
            kind=RecordType.TXT,
            is_it=lambda found: "".join(found.split()) == wanted,
        )
        return await self.of_missing(sought, is_no_name=isinstance(answer, NoName))

    async def unregistered(self) -> DnsName | None:
        """The domain as it would be registered, where the zone above does not know it."""
        answer = await self.resolver.lookup(self._registered, RecordType.NS)
        return self._registered if isinstance(answer, NoName) else None

    async def is_wildcard(
        self, owner: DnsName, kind: RecordType, answer: Answer
    ) -> bool:
        """Whether a name beside `owner`, which nobody has made, answers the same."""
        beside = DnsName(f"_{self.settings.token}-none.{owner.partition('.')[2]}")
        other = await self.resolver.lookup(beside, kind)
        if isinstance(other, Unanswered) or isinstance(answer, Unanswered):
            return False
        if answer.chain or other.chain:
            return answer.chain[:1] == other.chain[:1]
        if isinstance(answer, Found) and isinstance(other, Found):
            return set(answer.records) == set(other.records)
        return False

    async def records(self, owner: DnsName, *kinds: RecordType) -> tuple[Found, ...]:
        """What is at the name itself of each type."""
        answers = [await self.resolver.lookup(owner, kind) for kind in kinds]
        return tuple(a for a in answers if isinstance(a, Found) and not a.chain)

    async def beside(self, owner: DnsName, kind: RecordType) -> dict[RecordType, Found]:
        """What is at the name itself of types other than `kind`."""
        found = {}
        for other in _OFTEN:
            if other is not kind:
                for answer in await self.records(owner, other):
                    found[other] = answer
        return found

    async def chain(self, owner: DnsName) -> tuple[DnsName, ...] | Answer:
        """Follow the CNAMEs from `owner` one by one, to their end, to a name seen before
        or to one more than MAX_CHAIN; what DNS says where the first is none."""
        names: list[DnsName] = []
        at = owner
        while len(names) <= MAX_CHAIN:
            answer = await self.resolver.lookup(at, RecordType.CNAME)
            if not isinstance(answer, Found):
                return tuple(names) or answer
            at = DnsName(str(answer.records[0]))
            names.append(at)
            if at == owner or at in names[:-1]:
                break
        return tuple(names)

    @property
    def _registered(self) -> DnsName:
        return self.suffixes.organizational_domain(self.settings.name)

    async def _elsewhere(self, sought: Sought) -> tuple[Fault, DnsName] | None:
        for fault, name in self._near(sought.owner):
            answer = await self.resolver.lookup(name, sought.kind)
            # Behind a CNAME is what somebody else has made.
            own = isinstance(answer, Found) and not answer.chain
            if own and any(map(sought.is_it, texts(answer))):
                return fault, name
        return None

    def _near(self, owner: DnsName) -> Iterator[tuple[Fault, DnsName]]:
        """The names that people make when they mean `owner`."""
        # Many DNS hosts append the zone's name to what is typed.
        for zone in dict.fromkeys((self.settings.name, self._registered)):
            yield Fault.DOUBLED_ZONE, DnsName(f"{owner}.{zone}")
        zone = self._registered
        typed = owner.removesuffix(f".{zone}").split(".") if owner != zone else []
        for cut in range(len(typed)):
            kept = [*typed[:cut], *typed[cut + 1 :], zone]
            yield Fault.MISSING_LABEL, DnsName(".".join(kept))
        if "_" in owner:
            bare = ".".join(label.lstrip("_") for label in typed)
            yield Fault.MISSING_UNDERSCORE, DnsName(f"{bare}.{zone}")


def is_endless(owner: DnsName, chain: tuple[DnsName, ...]) -> bool:
    """Whether CNAMEs lead back to one of them, or further than resolvers follow."""
    return len(chain) > MAX_CHAIN or owner in chain or len(set(chain)) < len(chain)


def addresses_in(found: dict[RecordType, Found]) -> tuple[IpAddress, ...]:
    records = [record for answer in found.values() for record in answer.records]
    return tuple(record for record in records if isinstance(record, IpAddress))


def named(found: dict[RecordType, Found]) -> tuple[str, ...]:
    """Records as they are shown, with their type."""
    return tuple(f"{kind} {shown(answer)}" for kind, answer in found.items())
