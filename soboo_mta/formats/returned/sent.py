"""What a return shows of the message that it is about, wherever it shows it."""

import re
from collections.abc import Iterable, Iterator

from soboo_mta.formats.returned.parts import (
    MAX_TEXT,
    Fields,
    Part,
    Parts,
    decoded,
    fields_in,
)
from soboo_mta.mail.returned import Sent

_MESSAGE_ID = re.compile(r"<[^<>@\s]{1,250}@[^<>@\s]{1,250}>")
_SIGNED_PATH = re.compile(r"\bb-[0-9a-v]{40}@[a-z0-9.-]{1,253}", re.IGNORECASE)
_HEADERS = ("text/rfc822-headers", "message/global-headers", "text/rfc822-header")
_NAMES = ("message-id", "return-path", "from", "subject", "cfbl-feedback-id")
_MAX_FOUND = 10
_HEADER_LINE = re.compile(
    r"(?im)^[> \t]*(message-id|return-path|from|subject)[ \t]*:(.*)$"
)


def sent_in(parts: Parts, *, within: Part | None = None) -> Sent:
    """Return what is shown; `within` is the part of the machine's report, whose own
    mentions do not count as the message."""
    shown = [_fields_of(part) for part in parts.all if _is_header(part, within)]
    ids = [one for fields in shown for one in _ids(fields.get("message-id", ""))]
    paths = [one for fields in shown for one in _paths(fields.get("return-path", ""))]
    own = parts.message
    for name in ("in-reply-to", "references", "x-failed-message-id"):
        ids += reversed(list(_ids(own.field(name))))
    first = shown[0] if shown else _quoted(parts.text)
    if not shown:
        ids += _ids(first.get("message-id", ""))
    paths += _paths(parts.content[:MAX_TEXT].decode("latin-1"))
    return Sent(
        message_ids=_unique(ids),
        reverse_paths=_unique(one.lower() for one in paths),
        feedback_id=first.get("cfbl-feedback-id", ""),
        authors=first.get("from", ""),
        subject=first.get("subject", ""),
    )


def _is_header(part: Part, within: Part | None) -> bool:
    """Whether the part is, or begins with, the header of a message that came along."""
    if part.media in _HEADERS:
        return True
    is_inside = within is not None and within.start <= part.start < within.end
    return part.is_enclosed and not is_inside and "from" in part.fields


def _fields_of(part: Part) -> Fields:
    if part.media in _HEADERS:
        return fields_in(part.text())
    return {name: part.field(name) for name in _NAMES}


def _quoted(text: str) -> Fields:
    """Header lines in a text, as some bounces of long ago have them."""
    found: dict[str, str] = {}
    for match in _HEADER_LINE.finditer(text[:MAX_TEXT]):
        found.setdefault(match[1].lower(), decoded(match[2]))
    return found


def _ids(text: str) -> Iterator[str]:
    yield from _MESSAGE_ID.findall(text)[:_MAX_FOUND]


def _paths(text: str) -> Iterator[str]:
    yield from _SIGNED_PATH.findall(text)[:_MAX_FOUND]


def _unique(found: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(found))[:_MAX_FOUND]
