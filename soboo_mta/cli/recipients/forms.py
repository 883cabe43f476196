"""How the commands about suppressed recipients are told what is meant, and how an entry
is shown."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.ids import NO_STREAM, Stream, parse_stream
from soboo_mta.settings.values import parse_duration
from soboo_mta.tenancy.suppression import Suppression

Whose = Annotated[str, typer.Option("--tenant", help="Whose list.")]
Address = Annotated[str, typer.Argument(metavar="ADDRESS", help="user@domain")]
OfStream = Annotated[
    str, typer.Option("--stream", help="For mail of this stream alone; else for all.")
]
Expires = Annotated[
    str, typer.Option(metavar="WHEN", help='"30d", or "2027-01-31"; else never.')
]
COLUMNS = (
    "address",
    "reason",
    "stream",
    "since",
    "expires",
    "because",
    "actor",
    "evidence",
)
"""Of an entry in an export; `address` to `expires` is the order without a header."""


def stream_of(text: str) -> Stream:
    """Return the stream of that name; NO_STREAM for ""."""
    return parse_stream(text) if text else NO_STREAM


def end_of(text: str, now: int) -> int | None:
    """Return when an entry is over (unix ms): a duration from now or a time ahead; None
    for "", never."""
    if not text:
        return None
    try:
        return now + parse_duration(text) // timedelta(milliseconds=1)
    except ValueError:
        end = moment_of(text)
    if end <= now:
        raise FormatError(f"{text} is over: leave the entry out")
    return end


def moment_of(text: str) -> int:
    """Return a date, or a time as in RFC 3339, as unix ms; UTC where it names no zone."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise FormatError(
            f"{text[:40]!r} is no time: write 2027-01-31 or 2027-01-31T09:00:00Z"
        ) from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * 1_000)


def shown(unix_ms: int | None, *, never: str = "never") -> str:
    """A time for people, to the minute."""
    if unix_ms is None:
        return never
    return datetime.fromtimestamp(unix_ms // 1_000, UTC).isoformat(" ")[:16]


def as_values(entry: Suppression) -> Mapping[str, object]:
    """An entry by COLUMNS, ready for JSON."""
    return {
        "address": str(entry.address),
        "reason": entry.reason.value,
        "stream": entry.stream,
        "since": _written(entry.since),
        "expires": None if entry.expires_at is None else _written(entry.expires_at),
        "because": entry.because,
        "actor": entry.actor,
        "evidence": entry.evidence.as_json(),
    }


def _written(unix_ms: int) -> str:
    moment = datetime.fromtimestamp(unix_ms / 1_000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
