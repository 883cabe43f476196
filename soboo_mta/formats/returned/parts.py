"""The parts of a stranger's message, read mildly: nothing in it is an error.

Walks byte ranges and decodes what is asked for, both bounded: a report of 50 MB costs what
its few hundred parts cost. Headers are parsed by the standard library, which takes anything.
"""

import base64
import binascii
import quopri
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.message import Message
from email.parser import BytesHeaderParser
from functools import cached_property
from html import unescape
from typing import Any

from soboo_mta.formats.dsn.status import one_line
from soboo_mta.formats.mime.entity import RFC822, TEXT, body_start_in, parts_between

MAX_PARTS = 200
MAX_DEPTH = 12  # parts inside each other
MAX_HEADER = 262_144  # octets of one header that are read
MAX_FIELD = 2_000  # characters of one field
MAX_TEXT = 262_144  # octets of one part's text
MAX_SAID = 2_000  # characters of it that are kept
_ENCLOSED = frozenset((RFC822, "message/global"))
_ORIGINAL = re.compile(
    r"(?im)^[ \t>*-]*(?:-{2,}\s*)?(?:begin (?:of )?(?:message|original)|below this line"
    r"|here is (?:your|a copy)|original message|this is a copy of"
    r"|(?:message|mail) headers? follows?|unsent message|received:|return-path:"
    r"|your (?:original )?message (?:reads|follows)|included is a copy)"
)
_LINE_END = re.compile(rb"\r\n|\r|\n")
_HIDDEN = re.compile(r"(?i)<(?:script|style)\b")  # up to its end, no reader sees it
_SHOWN = re.compile(r"(?i)</(?:script|style)\s*>")
_HEADER = BytesHeaderParser()  # compat32: the one that never raises


_FIELD = re.compile(r"([!-9;-~]+)[ \t]*:[ \t]*(.*)")

Fields = Mapping[str, str]
"""A block's fields by lower-case name; of a doubled one the first that says something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One entity of `content`; its body is the octets from `start` to `end`."""

    content: bytes
    fields: "Message[str, str]"
    media: str  # lower case
    start: int
    end: int
    depth: int
    is_enclosed: bool  # inside a message that came along

    def field(self, name: str) -> str:
        """The first field called `name`, decoded, on one line; "" without one."""
        value = self.fields.get(name)
        return "" if value is None else decoded(value)

    def every(self, name: str) -> tuple[str, ...]:
        return tuple(decoded(one) for one in self.fields.get_all(name, ()))

    def parameter(self, name: str) -> str:
        """A parameter of Content-Type, lower case; "" without one."""
        return _parameter(self.fields, name).lower()

    @property
    def file_name(self) -> str:
        try:
            return one_line(self.fields.get_filename() or "", 255)
        except (LookupError, UnicodeError, ValueError):
            return ""  # RFC 2231 with a charset of its own making

    def octets(self, limit: int) -> bytes:
        """The body with its transfer encoding undone, at most `limit` octets of it."""
        encoding = str(self.fields.get("Content-Transfer-Encoding", "")).strip().lower()
        raw = self.content[self.start : min(self.end, self.start + 2 * limit)]
        if encoding == "base64":
            return _from_base64(raw)[:limit]
        if encoding == "quoted-printable":
            return quopri.decodestring(raw)[:limit]
        return raw[:limit]

    def text(self, limit: int = MAX_TEXT) -> str:
        """The body as text, its lines ended by a line feed; wrong charsets do no harm."""
        octets = _LINE_END.sub(b"\n", self.octets(limit))
        for charset in (self.parameter("charset"), "utf-8"):
            with suppress(LookupError, UnicodeError, ValueError):
                return octets.decode(charset)
        return octets.decode("latin-1")


class Parts:
    """A message and all that is in it, in the order of its octets. `content` may have any
    line ends."""

    def __init__(self, content: bytes) -> None:
        content = content.removeprefix(b"\xef\xbb\xbf")  # a file's byte order mark
        if b"\r\n" not in content[:MAX_HEADER]:
            content = _LINE_END.sub(b"\r\n", content)
        self.content = content
        self.all = tuple(_walk(content))

    @property
    def message(self) -> Part:
        return self.all[0]

    @property
    def own(self) -> tuple[Part, ...]:
        """Those that are not of a message that came along."""
        return tuple(part for part in self.all if not part.is_enclosed)

    @cached_property
    def text(self) -> str:
        """What the message itself says to people, without HTML's tags."""
        said = [part for part in self.own if part.media == TEXT]
        if said:
            return "\n".join(part.text() for part in said[:4])[:MAX_TEXT]
        pages = [part for part in self.own if part.media == "text/html"]
        return "\n".join(_untagged(part.text()) for part in pages[:2])

    @cached_property
    def notice(self) -> str:
        """The text above the message that came back, where it is quoted in the text."""
        return _ORIGINAL.split(self.text, maxsplit=1)[0].strip() or self.text

    @property
    def said(self) -> str:
        """The notice on one line, of a length to keep."""
        return one_line(self.notice, MAX_SAID)


def decoded(value: Any) -> str:  # a str, or the library's Header for 8-bit octets
    """Return a field's value with its encoded words (RFC 2047) read, on one line."""
    text = str(value)[: 2 * MAX_FIELD]
    if "=?" in text:
        with suppress(HeaderParseError, LookupError, UnicodeError, ValueError):
            text = str(make_header(decode_header(text)))  # else as it came
    return one_line(text, MAX_FIELD)


def fields_in(text: str) -> Fields:
    """Return the header-like fields of one block of a part's text."""
    fields: dict[str, str] = {}
    for name, value in every_field_in(text):
        if not fields.get(name):
            fields[name] = value
    return fields


def every_field_in(text: str) -> Iterator[tuple[str, str]]:
    """Each field with its folds undone, its name in lower case; what is none is left
    out."""
    name, lines = "", list[str]()
    for line in [*text.split("\n"), ""]:
        if line[:1] in (" ", "\t") and lines:
            lines.append(line.strip())
            continue
        if lines:
            yield name, decoded(" ".join(lines)[:MAX_FIELD])
        found = _FIELD.match(line)
        name, lines = (found[1].lower(), [found[2].strip()]) if found else ("", [])


def _walk(content: bytes) -> Iterator[Part]:
    """From the outside in; what is over a bound is not looked into."""
    waiting = [(0, len(content), TEXT, 0, False)]
    seen = 0
    while waiting and seen < MAX_PARTS:
        start, end, default, depth, is_enclosed = waiting.pop()
        part = _read(content, start, end, default, depth, is_enclosed)
        seen += 1
        yield part
        if depth >= MAX_DEPTH:
            continue
        if part.media.startswith("multipart/"):
            inner = RFC822 if part.media == "multipart/digest" else TEXT
            # A field that lost its line end has a neighbour's text behind the quote.
            boundary = _parameter(part.fields, "boundary").lstrip('"').partition('"')[0]
            if boundary:
                line = boundary.encode("latin-1", "replace")
                found = parts_between(content, line, part.start, part.end).parts
                waiting += [
                    (at, until, inner, depth + 1, is_enclosed)
                    for at, until in reversed(found[:MAX_PARTS])
                ]
        elif part.media in _ENCLOSED:
            waiting.append((part.start, part.end, TEXT, depth + 1, True))


def _read(
    content: bytes, start: int, end: int, default: str, depth: int, is_enclosed: bool
) -> Part:
    body_start = body_start_in(content, start, end)
    fields = _HEADER.parsebytes(content[start : min(body_start, start + MAX_HEADER)])
    media = fields.get_content_type() if "Content-Type" in fields else default
    return Part(
        content=content,
        fields=fields,
        media=media,
        start=body_start,
        end=end,
        depth=depth,
        is_enclosed=is_enclosed,
    )


def _parameter(fields: "Message[str, str]", name: str) -> str:
    try:
        value = fields.get_param(name)
    except (LookupError, UnicodeError, ValueError):
        return ""
    if isinstance(value, tuple):  # RFC 2231: charset, language, text
        value = value[2]
    return value.strip() if isinstance(value, str) else ""


def _from_base64(raw: bytes) -> bytes:
    letters = re.sub(rb"[^A-Za-z0-9+/]", b"", raw)
    letters = letters[: len(letters) - (len(letters) % 4 == 1)]
    try:
        return base64.b64decode(letters + b"=" * (-len(letters) % 4))
    except binascii.Error:
        return b""


def _untagged(page: str) -> str:
    shown, *hidden = _HIDDEN.split(page[:MAX_TEXT])
    page = " ".join([shown, *(_SHOWN.split(one, maxsplit=1)[-1] for one in hidden)])
    page = re.sub(r"(?i)<(br|/p|/div|/tr|/li)\b[^<>]{0,200}>", "\n", page)
    page = re.sub(r"<[^<>@]{1,2000}>", " ", page)
    return unescape(page).replace("\xa0", " ")
