"""What goes between the relay and a reader: a return's octets, and the value they are.

A question is its length, a flag octet and the content; an answer its length, one word for
its kind and the value as JSON. A reader is believed as far as its answer is a value of that
kind.
"""

import struct
from dataclasses import replace
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from soboo_mta.formats.returned.recognise import Arrival
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.returned import DmarcReport, Return, Unrecognised

QUESTION: Final = struct.Struct(">BI")
ANSWER: Final = struct.Struct(">I")
_FROM_NULL, _TO_UNSUBSCRIBE = 1, 2
_ADAPTERS: Final[dict[str, TypeAdapter[Any]]] = {
    kind.kind.value: TypeAdapter(kind) for kind in Return.__args__
}


def question(content: bytes, arrival: Arrival) -> bytes:
    """Return the head that goes before `content`."""
    flags = _FROM_NULL * arrival.is_from_null
    flags |= _TO_UNSUBSCRIBE * arrival.is_to_unsubscribe
    return QUESTION.pack(flags, len(content))


def asked(head: bytes) -> tuple[Arrival, int]:
    """Return what a head says: how the return came, and the length of its content."""
    flags, length = QUESTION.unpack(head)
    arrival = Arrival(
        is_from_null=bool(flags & _FROM_NULL),
        is_to_unsubscribe=bool(flags & _TO_UNSUBSCRIBE),
    )
    return arrival, length


def answer(found: Return, *, limit: int) -> bytes:
    """Return `found` for the way back, at most `limit` octets: of a long report some rows
    are left out, those of fewest messages, and counted."""
    written = _written(found)
    while len(written) > limit and isinstance(found, DmarcReport) and found.rows:
        half = len(found.rows) // 2
        left_out = found.left_out + len(found.rows) - half
        heaviest = sorted(found.rows, key=lambda row: -row.count)[:half]
        found = replace(found, rows=tuple(heaviest), left_out=left_out)
        written = _written(found)
    if len(written) > limit:
        written = _written(Unrecognised(why=f"a {found.kind} that says too much"))
    return ANSWER.pack(len(written)) + written


def said(written: bytes) -> Return:
    """Return the value of an answer without its length; FormatError where it is none."""
    kind, _, value = written.partition(b"\n")
    adapter = _ADAPTERS.get(kind.decode("latin-1"))
    if adapter is None:
        raise FormatError("the reader's answer is of no known kind")
    try:
        found: Return = adapter.validate_json(value)
    except ValidationError as error:
        raise FormatError("the reader's answer is no value of its kind") from error
    return found


def as_json(found: Return) -> str:
    """Return a return's value as it is kept: its fields, without its kind."""
    return _ADAPTERS[found.kind.value].dump_json(found).decode()


def from_json(kind: str, detail: str) -> Return:
    """Return what `as_json` wrote; FormatError where it is something else."""
    return said(kind.encode() + b"\n" + detail.encode())


def _written(found: Return) -> bytes:
    return (
        found.kind.value.encode() + b"\n" + _ADAPTERS[found.kind.value].dump_json(found)
    )
