"""DNS while a test runs: records added, changed and broken, undone when it ends.

Owns the content of the zone files that the lab's name server watches (RFC 1035 §5).
Names are whole: `news.shop.example`; values as in a zone file, TXT as plain text.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from soboo_mta.testing.running.lab import SobooLab

LAB = "lab.test"
_HEAD = """\
$TTL 1
{origin} SOA ns1.lab.test. hostmaster.lab.test. 1 1 1 1 1
{origin} NS ns1.lab.test.
"""
_LINE = re.compile(r"(\S+)\s+(?:\d+\s+)?(?:IN\s+)?([A-Za-z0-9]+)\s+(.+)")
_STRING = 255  # octets of one character-string, RFC 1035 §3.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record; `name` without the final dot, `value` as in a zone file."""

    name: str
    type: str
    value: str

    @property
    def line(self) -> str:
        """The record as a line of a zone file."""
        return f"{_absolute(self.name)} {self.type} {self.value}"


class Zones:
    """The zone files of one lab; all that is not in a zone of its own takes mail at the
    first sink."""

    def __init__(self, lab: SobooLab) -> None:
        self._lab = lab
        self._book: dict[str, tuple[Record, ...]] = {}
        host = Record(name=f"mx.{LAB}", type="A", value=lab.host)
        server = Record(name=f"ns1.{LAB}", type="A", value="127.0.0.1")
        self.write(LAB, [server, host])
        self.write("", [Record(name="*", type="MX", value=f"10 mx.{LAB}.")])

    @property
    def book(self) -> Mapping[str, tuple[Record, ...]]:
        """What is served now: zone → its records, less SOA and NS."""
        return dict(self._book)

    def publish(self, origin: str, lines: Iterable[str]) -> None:
        """Serve a sender's zone: the lines that the relay asked for, and a DMARC policy
        as strict as it gets."""
        found = [record_of(line) for line in lines]
        policy = Record(
            name=f"_dmarc.{origin}", type="TXT", value='"v=DMARC1; p=reject"'
        )
        self.write(origin, [policy, *(one for one in found if one.name != policy.name)])

    def write(self, origin: str, records: Iterable[Record]) -> None:
        """Serve a zone as given; raises ValueError where the lab cannot read it, and
        serves what it was before."""
        before = self._book.get(origin)
        self._write(origin, tuple(records))
        if self._lab.page:  # it is there to be asked
            file = str(self._lab.zones_directory / f"{origin}.zone")
            problem = self._lab.get("status")["problems"].get(file)
            if problem:
                self.restore(origin, before)
                raise ValueError(f"{origin or 'the root'}: {problem}")

    def restore(self, origin: str, records: tuple[Record, ...] | None) -> None:
        """Serve a zone as it was; None: not at all."""
        if records is not None:
            self._write(origin, records)
            return
        self._book.pop(origin, None)
        (self._lab.zones_directory / f"{origin}.zone").unlink(missing_ok=True)

    def zone_of(self, name: str) -> str:
        """The zone that `name` is in; a new one of its last two labels where none is."""
        labels = name.split(".")
        for start in range(len(labels)):
            origin = ".".join(labels[start:])
            if origin in self._book:
                return origin
        return ".".join(labels[-2:])

    def fail(self, faults: Iterable[Mapping[str, str]]) -> None:
        """Make DNS fail as told, in place of what failed before."""
        text = ""
        for fault in faults:
            pairs = "".join(f"{k} = {json.dumps(v)}\n" for k, v in fault.items())
            text += f"[[fault]]\n{pairs}\n"
        fresh = self._lab.faults_file.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(self._lab.faults_file)
        problem = self._lab.get("status")["problems"].get(str(self._lab.faults_file))
        if problem:
            raise ValueError(problem)

    def _write(self, origin: str, records: tuple[Record, ...]) -> None:
        lines = "".join(f"{record.line}\n" for record in records)
        fresh = self._lab.zones_directory / f"{origin}.new"
        fresh.write_text(_HEAD.format(origin=_absolute(origin)) + lines)
        fresh.replace(fresh.with_name(f"{origin}.zone"))
        self._book[origin] = records


class SobooDns:
    """DNS for one test. A relay that has to see a change looks with `look_again`."""

    def __init__(self, zones: Zones) -> None:
        self._zones = zones
        self._before: dict[str, tuple[Record, ...] | None] = {}  # of zones changed here
        self._faults: list[dict[str, str]] = []

    def records(self, name: str, type: str = "") -> list[Record]:
        """The records at a name."""
        held = self._zones.book.get(self._zones.zone_of(_relative(name)), ())
        return [one for one in held if _is_at(one, name, type)]

    def add(self, name: str, type: str, *values: str) -> None:
        """Add records beside those that are there."""
        self._change(name, [_record(name, type, value) for value in values])

    def replace(self, name: str, type: str, *values: str) -> None:
        """Put these in place of all records of that type at the name."""
        made = [_record(name, type, value) for value in values]
        self._change(name, made, without=type)

    def remove(self, name: str, type: str = "") -> None:
        """Take records away: of one type, or all at the name. Raises LookupError where
        there are none, since a test that breaks nothing proves nothing."""
        if not self.records(name, type):
            raise LookupError(f"there are no {type or 'records'} at {name}")
        self._change(name, [], without=type or "*")

    def fail(
        self,
        name: str,
        *,
        type: str = "",
        answer: str = "servfail",
        below: bool = False,
    ) -> None:
        """Let DNS fail at a name, and with `below` at all names under it: "servfail",
        "refused" or "nothing" (silence)."""
        fault = {"zone" if below else "name": _relative(name), "answer": answer}
        self._faults.append(fault | ({"type": type} if type else {}))
        self._zones.fail(self._faults)

    def mend(self) -> None:
        """Undo all that this test did, now. It is undone when the test ends, too."""
        if self._faults:
            self._faults.clear()
            self._zones.fail([])
        for origin, records in self._before.items():
            self._zones.restore(origin, records)
        self._before.clear()

    def _change(self, name: str, made: list[Record], without: str = "") -> None:
        origin = self._zones.zone_of(_relative(name))
        self._before.setdefault(origin, self._zones.book.get(origin))
        held = self._zones.book.get(origin, ())
        kind = "" if without == "*" else without
        kept = [one for one in held if not (without and _is_at(one, name, kind))]
        self._zones.write(origin, [*kept, *made])


def record_of(line: str) -> Record:
    """Parse one line of a zone file that names its owner in full."""
    found = _LINE.fullmatch(line.strip())
    if found is None:
        raise ValueError(f"not a record: {line}")
    return Record(name=_relative(found[1]), type=found[2].upper(), value=found[3])


def _record(name: str, type: str, value: str) -> Record:
    kind = type.upper()
    written = _quoted(value) if kind == "TXT" and not value.startswith('"') else value
    return Record(name=_relative(name), type=kind, value=written)


def _quoted(text: str) -> str:
    pieces = [text[at : at + _STRING] for at in range(0, len(text), _STRING)] or [""]
    return " ".join(
        '"' + piece.replace("\\", "\\\\").replace('"', '\\"') + '"' for piece in pieces
    )


def _is_at(record: Record, name: str, type: str) -> bool:
    is_type = not type or record.type == type.upper()
    return record.name == _relative(name) and is_type


def _relative(name: str) -> str:
    return name.rstrip(".").lower()


def _absolute(name: str) -> str:
    return f"{name}."
