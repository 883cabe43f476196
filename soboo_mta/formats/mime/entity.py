"""The entities of a MIME message as byte ranges over its octets (RFC 2045, RFC 2046 §5.1).

Nothing is decoded or copied but headers. Reads as the common readers do: a delimiter is a
whole line, a part without an end goes to the end of what holds it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message

from soboo_mta.formats.header import Field, HeaderBlock
from soboo_mta.mail.errors import FormatError

TEXT = "text/plain"  # where nothing is said: RFC 2045 §5.2
RFC822 = "message/rfc822"  # in a digest: RFC 2046 §5.1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """A message or a part. `header` is parsed from a copy whose first octet stands at
    `start` of the content; the body is `body_start` to `end`."""

    header: HeaderBlock
    start: int
    body_start: int
    end: int
    media: str  # lower case, "type/subtype"
    boundary: bytes | None  # of a multipart that has one

    @property
    def is_multipart(self) -> bool:
        return self.media.startswith("multipart/")

    @property
    def encoding(self) -> str:
        """What Content-Transfer-Encoding says, lower case; "7bit" where it is not there
        (RFC 2045 §6.1)."""
        field = self.only(b"content-transfer-encoding")
        return "7bit" if field is None else _words(self.header.value(field)).lower()

    def only(self, name: bytes) -> Field | None:
        """The one field of that name, or None; FormatError for several: readers differ."""
        return _only(self.header, name)


@dataclass(frozen=True, slots=True)
class Parts:
    """A multipart's body: each part from the octet behind its delimiter line to the CRLF
    before the next one; what is outside (`preamble`, `epilogue`) no reader shows."""

    preamble: tuple[int, int]
    parts: tuple[tuple[int, int], ...]
    epilogue: tuple[int, int]


def read_entity(content: bytes, start: int, end: int, default: str = TEXT) -> Entity:
    """Return the entity that lies at `start` to `end`; FormatError for a header that is
    none, or that says a thing twice."""
    body_start = body_start_in(content, start, end)
    header = HeaderBlock.parse(content[start:body_start])
    field = _only(header, b"content-type")
    media, boundary = default, None
    if field is not None:
        media, boundary = _media(header.value(field))
    return Entity(
        header=header,
        start=start,
        body_start=body_start,
        end=end,
        media=media,
        boundary=boundary,
    )


def parts_of(content: bytes, entity: Entity) -> Parts:
    """Return the parts of a multipart with a boundary."""
    return parts_between(content, entity.boundary or b"", entity.body_start, entity.end)


def parts_between(content: bytes, boundary: bytes, start: int, end: int) -> Parts:
    """Return the parts of the multipart whose body is `start` to `end`."""
    preamble_end, opened, epilogue = start, -1, end
    parts: list[tuple[int, int]] = []
    for at, behind, closes in _delimiters(content, boundary, start, end):
        if opened < 0:
            preamble_end = at
        else:
            parts.append((opened, max(opened, at)))
        opened = behind
        if closes:
            epilogue = behind
            break
    else:
        if opened >= 0:
            parts.append((opened, end))
    return Parts((start, preamble_end), tuple(parts), (epilogue, end))


def _delimiters(
    content: bytes, boundary: bytes, start: int, end: int
) -> Iterator[tuple[int, int, bool]]:
    """Each delimiter: where its CRLF begins, the octet behind its line, does it close."""
    mark = b"--" + boundary
    line = re.compile(re.escape(mark) + rb"(--)?[ \t]*(\r\n|\Z)")
    at = start if content.startswith(mark, start, end) else -1
    if at < 0:
        at = content.find(b"\r\n" + mark, start, end) + 2
    while at >= start:
        found = line.match(content, at, end)
        if found:
            yield max(start, at - 2), found.end(), found[1] is not None
            at = found.end() - 2  # its CRLF may be the next one's too
        following = content.find(b"\r\n" + mark, max(at, start), end)
        at = following + 2 if following >= 0 else -1


def body_start_in(content: bytes, start: int, end: int) -> int:
    """Return where the body begins, behind the empty line; `end` without one."""
    if content.startswith(b"\r\n", start, end):
        return start + 2
    found = content.find(b"\r\n\r\n", start, end)
    return end if found < 0 else found + 4


def _only(header: HeaderBlock, name: bytes) -> Field | None:
    fields = header.named(name)
    if len(fields) > 1:
        raise FormatError(f"a part has two {name.decode()} fields")
    return fields[0] if fields else None


def _media(value: bytes) -> tuple[str, bytes | None]:
    # The standard library reads the parameters (RFC 2231 too); it writes nothing.
    field: Message[str, str] = Message()
    unfolded = value.replace(b"\r\n", b"").strip()  # RFC 5322 §2.2.3
    field["Content-Type"] = unfolded.decode("latin-1")
    boundary = field.get_boundary()
    if not boundary or not field.get_content_type().startswith("multipart/"):
        return field.get_content_type(), None
    return field.get_content_type(), boundary.encode("latin-1", "replace")


def _words(value: bytes) -> str:
    """A short value less comments and white space (RFC 2045 §6.1 allows them)."""
    return re.sub(rb"\([^()]*\)|\s", b"", value).decode("latin-1")
