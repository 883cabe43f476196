"""DNS as a dictionary: a `Resolver` over zone data that tests write by hand."""

from dataclasses import dataclass, field
from ipaddress import ip_address

from soboo_mta.mail.domain import DnsName
from soboo_mta.ports import (
    Answer,
    Found,
    MxRecord,
    NoData,
    NoName,
    Record,
    RecordType,
    Unanswered,
)

_NAMES = (RecordType.CNAME, RecordType.NS, RecordType.PTR)


@dataclass
class FakeResolver:
    """Answers from `zone`: owner → [(type, presentation value)]; follows CNAMEs.

    Owners and values as in a zone file without quotes; a final dot is optional. Names in
    `silent` answer Unanswered. `asked` records every question in order.
    """

    zone: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    ttl: int = 60
    silent: set[str] = field(default_factory=set)
    asked: list[tuple[str, RecordType]] = field(default_factory=list)

    def add(self, owner: str, kind: str, value: str) -> None:
        self.zone.setdefault(_key(owner), []).append((kind, value))

    def remove(self, owner: str, kind: str | None = None) -> None:
        kept = [r for r in self.zone.pop(_key(owner), []) if kind and r[0] != kind]
        if kept:
            self.zone[_key(owner)] = kept

    def replace(self, owner: str, kind: str, value: str) -> None:
        self.remove(owner, kind)
        self.add(owner, kind, value)

    async def lookup(
        self, name: str, kind: RecordType, *, fresh: bool = False
    ) -> Answer:
        self.asked.append((_key(name), kind))
        chain: list[DnsName] = []
        target = _key(name)
        while len(chain) <= 8:
            if target in self.silent:
                return Unanswered(cause=f"SERVFAIL {target}")
            held = self.zone.get(target, [])
            records = tuple(_record(k, v) for k, v in held if k == kind)
            if records:
                return Found(records=records, chain=tuple(chain), ttl=self.ttl)
            aliases = [value for k, value in held if k == "CNAME"]
            if not aliases:
                return self._nothing(target, tuple(chain))
            target = _key(aliases[0])
            chain.append(DnsName(target))
        return Unanswered(cause="the CNAME chain is over 8")

    def _nothing(self, name: str, chain: tuple[DnsName, ...]) -> Answer:
        if name in self.zone or any(owner.endswith("." + name) for owner in self.zone):
            return NoData(chain=chain, ttl=self.ttl)
        return NoName(chain=chain, ttl=self.ttl)


def _key(name: str) -> str:
    return name.lower().removesuffix(".")


def _record(kind: str, value: str) -> Record:
    match kind:
        case "A" | "AAAA":
            return ip_address(value)
        case "MX":
            preference, host = value.split()
            return MxRecord(int(preference), _key(host))
    return _key(value) if RecordType(kind) in _NAMES else value
