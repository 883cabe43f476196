"""Zone files and faults, as one immutable view that answers questions.

Owns the reading of `*.zone` files (RFC 1035 §5) and of the faults file, both read again
when they change, and the answer to one question across all zones, CNAMEs followed. Does
no network; `server.py` puts it on the wire and `verdict.py` asks it directly. A file that
cannot be read leaves its last good content in force and is named in `problems`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Generic, TypeVar

import dns.exception
import dns.name
import dns.node
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.zone
from pydantic import BaseModel, ConfigDict, field_validator, model_validator

from soboo_mta.lab.entries import read_entries

Parsed = TypeVar("Parsed")
_MAX_CHAIN = 8  # as the relay's own resolver: longer chains are loops or mistakes
_MAX_TOLD = 10_000  # answers remembered until a file changes
_WILDCARD = dns.name.Name((b"*",))


class FaultAnswer(StrEnum):
    """What a faulty zone says: two refusals, or silence until the asker gives up."""

    SERVFAIL = "servfail"
    REFUSED = "refused"
    NOTHING = "nothing"


class Fault(BaseModel):
    """One entry of the faults file: a `zone` (itself and all below) or one `name`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    zone: str | None = None
    name: str | None = None
    type: str | None = None
    answer: FaultAnswer

    @field_validator("zone", "name")
    @classmethod
    def _is_a_name(cls, text: str | None) -> str | None:
        try:
            dns.name.from_text(text or "")
        except dns.exception.DNSException as trouble:
            raise ValueError(f"{text} is no domain name: {trouble}") from trouble
        return text

    @field_validator("type")
    @classmethod
    def _is_a_type(cls, text: str | None) -> str | None:
        try:
            dns.rdatatype.from_text(text or "A")
        except dns.exception.DNSException as trouble:
            raise ValueError(f"{text} is no record type") from trouble
        return text

    @model_validator(mode="after")
    def _has_one_subject(self) -> "Fault":
        if (self.zone is None) == (self.name is None):
            raise ValueError("a fault has either a zone or a name")
        return self

    def covers(self, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> bool:
        """Say whether a question for `name` and `kind` meets this fault."""
        if self.type and dns.rdatatype.from_text(self.type) != kind:
            return False
        if self.zone is not None:
            return bool(name.is_subdomain(dns.name.from_text(self.zone)))
        return bool(name == dns.name.from_text(self.name or ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer: `rcode` is None for silence; `chain` holds the CNAMEs in order."""

    rcode: dns.rcode.Rcode | None
    chain: tuple[dns.rrset.RRset, ...] = ()
    answer: dns.rrset.RRset | None = None
    authority: dns.rrset.RRset | None = None

    @property
    def is_known(self) -> bool:
        """Whether DNS said what exists (so not SERVFAIL, REFUSED or silence)."""
        return self.rcode in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Zones:
    """All zones and faults at one moment; safe to share between threads."""

    zones: dict[dns.name.Name, dns.zone.Zone] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()
    _told: dict[tuple[dns.name.Name, dns.rdatatype.RdataType], Reply] = field(
        default_factory=dict, repr=False, compare=False
    )  # answers given: building one costs more than all else of a look-up

    def lookup(self, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> Reply:
        """Answer one question; NXDOMAIN for what lies outside every zone.

        A CNAME is followed through all zones held here, as a resolver would. A chain
        over eight links, and a name delegated to a zone not held, are SERVFAIL.
        """
        told = self._told.get((name, kind))
        if told is None:
            told = self._find(name, kind)
            if len(self._told) < _MAX_TOLD:
                self._told[(name, kind)] = told
        return told

    def _find(self, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> Reply:
        chain: list[dns.rrset.RRset] = []
        while len(chain) <= _MAX_CHAIN:
            step = self._step(name, kind)
            alias = step.answer
            followed = alias is not None and alias.rdtype != kind
            if not followed or alias is None or kind == dns.rdatatype.ANY:
                return Reply(
                    rcode=step.rcode,
                    chain=tuple(chain),
                    answer=step.answer,
                    authority=step.authority,
                )
            chain.append(alias)
            name = alias[0].target
        return Reply(rcode=dns.rcode.SERVFAIL)

    def _step(self, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> Reply:
        for fault in self.faults:
            if fault.covers(name, kind):
                return Reply(rcode=_RCODE_OF[fault.answer])
        zone = self._zone_of(name)
        if zone is None or zone.origin is None:
            return Reply(rcode=dns.rcode.NXDOMAIN)
        if _is_delegated(zone, name, kind):
            return Reply(rcode=dns.rcode.SERVFAIL)
        soa = _rrset(zone, zone.origin, zone.get_node(zone.origin), dns.rdatatype.SOA)
        node = _node(zone, name)
        if node is None:
            exists = _has_below(zone, name)
            rcode = dns.rcode.NOERROR if exists else dns.rcode.NXDOMAIN
            return Reply(rcode=rcode, authority=soa)
        found = _rrset(zone, name, node, kind)
        found = found or _rrset(zone, name, node, dns.rdatatype.CNAME)
        return Reply(
            rcode=dns.rcode.NOERROR, answer=found, authority=None if found else soa
        )

    def _zone_of(self, name: dns.name.Name) -> dns.zone.Zone | None:
        while True:
            zone = self.zones.get(name)
            if zone is not None or name == dns.name.root:
                return zone
            name = name.parent()


class ZoneDirectory:
    """Reads `*.zone` files of one directory and a faults file, again when they change.

    The origin is the file's name without `.zone` unless `$ORIGIN` comes first. Write a
    file under another suffix and rename it, so that half of one is never read.
    """

    def __init__(self, directory: Path, faults: Path | None = None) -> None:
        self._directory = directory
        self._files: dict[Path, Watched[dns.zone.Zone]] = {}
        self._faults = None if faults is None else Watched(faults, read_faults)
        self._current = Zones()

    @property
    def problems(self) -> dict[Path, str]:
        """File → why its newest content is not in force."""
        found = {each.path: each.problem for each in self._files.values()}
        if self._faults is not None:
            found[self._faults.path] = self._faults.problem
        return {path: problem for path, problem in found.items() if problem}

    def current(self) -> Zones:
        """Return the zones as the files are now (costs a stat per file)."""
        paths = set(self._directory.glob("*.zone"))
        changed = False
        for gone in self._files.keys() - paths:
            del self._files[gone]
            changed = True
        for path in paths - self._files.keys():
            self._files[path] = Watched(path, read_zone)
        for watched in self._files.values():
            changed |= watched.refresh()
        if self._faults is not None:
            changed |= self._faults.refresh()
        if changed:
            self._current = self._assembled()
        return self._current

    def _assembled(self) -> Zones:
        zones = [w.content for w in self._files.values() if w.content is not None]
        faults = self._faults.content if self._faults else None
        return Zones(
            zones={zone.origin: zone for zone in zones if zone.origin is not None},
            faults=faults or (),
        )


class Watched(Generic[Parsed]):
    """One file and its last content that could be read; a missing file has none."""

    def __init__(self, path: Path, read: Callable[[Path], Parsed]) -> None:
        self.path = path
        self.content: Parsed | None = None
        self.problem = ""
        self._read = read
        self._seen: tuple[int, ...] | None = None

    def refresh(self) -> bool:
        """Read the file if it is not as last seen; return whether anything changed."""
        seen = self._state()
        if seen == self._seen:
            return False
        self._seen = seen
        self.problem = ""
        if seen is None:
            self.content = None
            return True
        try:
            self.content = self._read(self.path)
        except (OSError, ValueError, dns.exception.DNSException) as trouble:
            self.problem = str(trouble) or type(trouble).__name__
            return False
        return True

    def _state(self) -> tuple[int, ...] | None:
        try:
            state = self.path.stat()
        except FileNotFoundError:
            return None
        return (state.st_mtime_ns, state.st_size, state.st_ino)


def read_zone(path: Path) -> dns.zone.Zone:
    """Parse one zone file; raises dnspython's DNSException or OSError."""
    return dns.zone.from_file(
        str(path), origin=path.name.removesuffix(".zone") + ".", relativize=False
    )


def read_faults(path: Path) -> tuple[Fault, ...]:
    """Parse a faults file; raises ValueError that names the line and what is wrong."""
    return read_entries(path, "fault", Fault)


_RCODE_OF = {
    FaultAnswer.SERVFAIL: dns.rcode.SERVFAIL,
    FaultAnswer.REFUSED: dns.rcode.REFUSED,
    FaultAnswer.NOTHING: None,
}


def _node(zone: dns.zone.Zone, name: dns.name.Name) -> dns.node.Node | None:
    """The node of `name`, or of the wildcard that stands for it (RFC 4592 §3.3)."""
    node = zone.get_node(name)
    while node is None and name != zone.origin and not _has_below(zone, name):
        name = name.parent()
        node = zone.get_node(_WILDCARD + name)
        if zone.get_node(name) is not None:
            break
    return node


def _has_below(zone: dns.zone.Zone, name: dns.name.Name) -> bool:
    return any(owner.is_subdomain(name) for owner in zone.nodes)


def _is_delegated(
    zone: dns.zone.Zone, name: dns.name.Name, kind: dns.rdatatype.RdataType
) -> bool:
    """Whether `name` is at or below a cut; the NS records at the cut are ours to say."""
    at_cut = True
    while name != zone.origin:
        if zone.get_rdataset(name, dns.rdatatype.NS) is not None:
            return not (at_cut and kind == dns.rdatatype.NS)
        name = name.parent()
        at_cut = False
    return False


def _rrset(
    zone: dns.zone.Zone,
    owner: dns.name.Name,
    node: dns.node.Node | None,
    kind: dns.rdatatype.RdataType,
) -> dns.rrset.RRset | None:
    held = node.get_rdataset(dns.rdataclass.IN, kind) if node else None
    return dns.rrset.from_rdata_list(owner, held.ttl, list(held)) if held else None
