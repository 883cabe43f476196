"""The header as it will leave: trace and identifiers added, private fields taken out.

Fields are cut by byte range and prepended; every other octet stays (RFC 6409 §8 allows
no more). The Received field names us and the message, never the client.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime, parsedate_to_datetime
from functools import lru_cache

from soboo_mta.formats.header import HeaderBlock
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.ids import MessageId

_PRIVATE = frozenset(
    (
        b"bcc",  # RFC 5322 §3.6.3
        b"resent-bcc",
        b"return-path",  # the last host's to write: RFC 5321 §4.4
        b"authentication-results",  # nobody's word counts but ours: RFC 8601 §5
    )
)
_CONTROL_PREFIX = b"x-soboo-"
# Wider than RFC 5322 §3.6.4 in its characters, as senders are; two halves and one "@".
_HALF = rb"[!#-\'*-9;=?A-Z^-~\x80-\xff.\[\]:\\]{1,450}"
_MESSAGE_ID = re.compile(rb'\s*(<(?:%b|"[^"\r\n]{1,450}")@%b>)\s*' % (_HALF, _HALF))
_MAX_DATE_OCTETS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewritten:
    """`content` as it is spooled; `body_start` its body; Message-ID with its brackets."""

    content: bytes
    body_start: int
    header_message_id: str


def rewrite(
    header: HeaderBlock,
    *,
    message_id: MessageId,
    author_domain: Domain,
    host_name: Domain,
    protocol: str,
    now: datetime,
    own: Sequence[tuple[str, str]] = (),
) -> Rewritten:
    """Return the message with what is missing added and what is private taken out.

    `own` are names and values of fields that only we write: others' are taken out. A Date or Message-ID that is malformed or stands twice is replaced by ours.
    `protocol` is the word after `with` (RFC 3848, RFC 6531 §4.3).
    """
    dropped = {
        field.name
        for field in header.fields
        if field.name in _PRIVATE or field.name.startswith(_CONTROL_PREFIX)
    }
    date = _date_line(now)
    top = [_received(host_name, protocol, message_id, date)]
    own_id = _message_id(header)
    if own_id is None:
        own_id = f"<{message_id}@{author_domain}>"
        dropped.add(b"message-id")
        top.append(f"Message-ID: {own_id}\r\n".encode())
    if not _has_one_date(header):
        dropped.add(b"date")
        top.append(f"Date: {date}\r\n".encode())
    for name, value in own:
        dropped.add(name.lower().encode())
        top.append(f"{name}: {value}\r\n".encode())
    top.append(_kept(header, dropped))
    top.append(b"\r\n")
    block = b"".join(top)
    return Rewritten(
        content=block + header.body,
        body_start=len(block),
        header_message_id=own_id,
    )


def _received(host: Domain, protocol: str, message_id: MessageId, date: str) -> bytes:
    return (
        f"Received: by {host} with {protocol} id {message_id};\r\n\t{date}\r\n"
    ).encode()


def _kept(header: HeaderBlock, dropped: set[bytes]) -> bytes:
    if any(field.name in dropped for field in header.fields):
        return header.without(frozenset(dropped))
    return header.content[: header.fields[-1].end]  # From is there: it was checked


def _message_id(header: HeaderBlock) -> str | None:
    fields = header.named(b"message-id")
    if len(fields) != 1:
        return None
    found = _MESSAGE_ID.fullmatch(header.value(fields[0]))
    if found is None:
        return None
    try:
        return found[1].decode()
    except UnicodeDecodeError:
        return None


def _has_one_date(header: HeaderBlock) -> bool:
    fields = header.named(b"date")
    if len(fields) != 1:
        return False
    value = header.value(fields[0])
    return len(value) <= _MAX_DATE_OCTETS and _is_date(value)


@lru_cache(maxsize=64)  # an application's messages of one second say the same
def _is_date(value: bytes) -> bool:
    """By the standard library: comments, the obsolete forms, and the calendar."""
    try:
        parsedate_to_datetime(value.decode("ascii"))
    except (ValueError, IndexError, OverflowError):
        return False
    return True


def _date_line(now: datetime) -> str:
    return _dated(now.replace(microsecond=0))


@lru_cache(maxsize=4)  # one text a second serves every message of it
def _dated(second: datetime) -> str:
    return format_datetime(second)
