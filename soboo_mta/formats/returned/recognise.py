"""What a return is: from its octets to one value, in the order of certainty.

A report says in its own form what it is; a bounce without one is told from an answer by
certain signs before uncertain ones. What nothing knows is Unrecognised, never an error.
Input is a stranger's: what it costs is bounded, and whoever serves others meanwhile calls
it in a process of its own.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from soboo_mta.formats.reports.archives import is_packed, unpacked
from soboo_mta.formats.reports.dmarc import read_dmarc_report
from soboo_mta.formats.reports.tls import read_tls_report
from soboo_mta.formats.returned.answers import (
    auto_reply,
    challenge,
    human_reply,
    unsubscribe,
)
from soboo_mta.formats.returned.bounces import other_bounce
from soboo_mta.formats.returned.complaints import feedback
from soboo_mta.formats.returned.dsn import standard_dsn
from soboo_mta.formats.returned.parts import Part, Parts
from soboo_mta.formats.returned.sent import sent_in
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.returned import DmarcReport, Return, TlsReport, Unrecognised

_MAX_ATTACHMENT = 16 * 1024 * 1024  # octets of a packed report
_TLS = ("application/tlsrpt+gzip", "application/tlsrpt+json")
_PACKED = (
    "application/gzip",
    "application/x-gzip",
    "application/zip",
    "application/x-zip",
    "application/x-zip-compressed",
    "application/octet-stream",
    "application/xml",
    "text/xml",
)
_PACKED_NAMES = (".xml", ".xml.gz", ".gz", ".zip", ".json.gz", ".json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """What the envelope says: `is_from_null` of its reverse-path, `is_to_unsubscribe` of
    the address that it came to."""

    is_from_null: bool = True
    is_to_unsubscribe: bool = False


def recognised(content: bytes, arrival: Arrival) -> Return:
    """Return what `content` is."""
    parts = Parts(content)
    tried: list[str] = []
    in_order = _TO_UNSUBSCRIBE if arrival.is_to_unsubscribe else _IN_ORDER
    for recognise in in_order:
        try:
            found = recognise(parts, arrival)
        except FormatError as error:
            tried.append(str(error))
            continue
        if found is not None:
            return found
    why = "; ".join(tried) or "no rule knows it"
    return Unrecognised(why=why, sent=sent_in(parts))


def _report_on_many(parts: Parts, arrival: Arrival) -> DmarcReport | TlsReport | None:
    fault: FormatError | None = None
    for part in _attachments(parts):
        packed = part.octets(_MAX_ATTACHMENT)
        try:
            octets = unpacked(packed)
            if part.media in _TLS or octets.lstrip()[:1] == b"{":
                return read_tls_report(octets)
            if b"<" in octets[:200] and b"feedback" in octets[:8_192].lower():
                return read_dmarc_report(octets)
        except FormatError as error:
            is_certain = part.media in _TLS or is_packed(packed)
            fault = error if is_certain or fault is None else fault
    if fault is not None:
        raise fault
    return None


def _attachments(parts: Parts) -> Iterator[Part]:
    for part in parts.own:
        name = part.file_name.lower()
        if part.media in (*_TLS, *_PACKED) or name.endswith(_PACKED_NAMES):
            yield part


_Rules = tuple[Callable[[Parts, Arrival], Return | None], ...]
_IN_ORDER: _Rules = (
    lambda parts, _: feedback(parts),
    _report_on_many,
    lambda parts, _: standard_dsn(parts),
    lambda parts, _: challenge(parts),
    lambda parts, _: unsubscribe(parts, is_asked_for=False),
    lambda parts, arrival: other_bounce(parts, is_from_null=arrival.is_from_null),
    lambda parts, arrival: auto_reply(parts, is_from_null=arrival.is_from_null),
    lambda parts, _: human_reply(parts),
)
_TO_UNSUBSCRIBE: _Rules = (
    # Somebody may write our address into MAIL FROM: what answers that wishes nothing. A
    # program that speaks for its user (null reverse-path, auto-generated) keeps the
    # subject that the address asks for; a person may write anything.
    lambda parts, _: feedback(parts),
    _report_on_many,
    lambda parts, _: standard_dsn(parts),
    lambda parts, _: unsubscribe(parts, is_asked_for=False),
    lambda parts, _: challenge(parts),
    lambda parts, arrival: other_bounce(parts, is_from_null=arrival.is_from_null),
    lambda parts, arrival: auto_reply(parts, is_from_null=arrival.is_from_null),
    lambda parts, arrival: unsubscribe(parts, is_asked_for=not arrival.is_from_null),
    lambda parts, _: human_reply(parts),
)
