"""A message for a next hop without 8BITMIME: what is 8-bit is encoded, the rest stays.

Content is spliced by byte range: an encoded body, its Content-Transfer-Encoding, and the
labels of what holds it change; every other octet is the same (RFC 6152 §3, RFC 2045 §6.4).
What is signed inside is never touched: then there is no such variant. Pure.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Iterator
from itertools import count

from soboo_mta.formats.mime.entity import RFC822, TEXT, Entity, parts_of, read_entity
from soboo_mta.mail.errors import FormatError

MAX_DEPTH = 20  # entities inside each other; each is searched for its delimiters
MAX_ENTITIES = 10_000  # of one message: bounds the work
_QP_LINE = 76  # RFC 2045 §6.7 (5)
_BASE64_OCTETS = 57  # a line of 76
_BASE64_PAYS = 6  # one octet of so many is 8-bit: quoted-printable would be as long
_UNENCODED = frozenset(("7bit", "8bit", "binary"))
_HIGH = bytes(range(0x80, 0x100))
_EIGHT_BIT = re.compile(rb"[\x80-\xff]")
_SIGNED_FIELDS = (b"dkim-signature", b"arc-message-signature")
_ENCODABLE_MESSAGES = ("message/global",)  # and its kin: RFC 6532 §3.7, RFC 6533 §3
_Splice = tuple[int, int, bytes]


class NoVariant(FormatError):
    """The message cannot be made 7-bit; `status` says why in RFC 3463's terms."""

    def __init__(self, status: str, text: str) -> None:
        super().__init__(text)
        self.status = status


def seven_bit(content: bytes) -> bytes:
    """Return `content` (CRLF lines, none over 998 octets) with every octet below 128.

    Raises NoVariant: 5.6.7 for an 8-bit header (RFC 6531's status), else 5.6.3.
    """
    try:
        pieces = _spliced(content, _Walk(content).splices())
    except NoVariant:
        raise
    except FormatError as error:
        raise NoVariant("5.6.3", str(error)) from error
    if not pieces.isascii():
        raise NoVariant("5.6.3", "its structure cannot be read")
    return pieces


class _Walk:
    """Goes through one message, from the outermost entity in."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._entities = count(1)

    def splices(self) -> list[_Splice]:
        """Return what to replace, in order."""
        root = read_entity(self._content, 0, len(self._content))
        return sorted(self._message(root, ()), key=_place)

    def _message(self, entity: Entity, around: tuple[bytes, ...]) -> Iterator[_Splice]:
        """A whole message; encodings mean something in MIME alone (RFC 2045 §4)."""
        if not entity.header.named(b"mime-version"):
            end = _header_end(entity)
            yield end, end, b"MIME-Version: 1.0\r\n"
            body = self._content[entity.body_start : entity.end]
            if not entity.header.named(b"content-type") and not body.isascii():
                yield end, end, _assumed_type(body)
        yield from self._entity(entity, around)

    def _entity(self, entity: Entity, around: tuple[bytes, ...]) -> Iterator[_Splice]:
        """`around` are the delimiters of the multiparts that hold it."""
        if len(around) > MAX_DEPTH or next(self._entities) > MAX_ENTITIES:
            raise FormatError("its parts are too many, or too deep in each other")
        if self._is_eight_bit(entity.start, entity.body_start):
            raise NoVariant("5.6.7", "a header has 8-bit octets")
        is_eight_bit = self._is_eight_bit(entity.body_start, entity.end)
        if entity.media == "multipart/signed":  # RFC 1847 §2.1: opaque in transit
            if is_eight_bit:
                raise NoVariant("5.6.3", "an 8-bit part is inside a multipart/signed")
        elif entity.boundary is not None:
            yield from self._relabelled(entity)
            yield from self._multipart(entity, around)
        elif entity.media == RFC822:
            yield from self._relabelled(entity)
            yield from self._enclosed(entity, around, is_eight_bit=is_eight_bit)
        elif is_eight_bit:
            yield from self._leaf(entity, around)
        else:
            yield from self._relabelled(entity)

    def _multipart(
        self, entity: Entity, around: tuple[bytes, ...]
    ) -> Iterator[_Splice]:
        self._refuse_encoded(entity)
        inside = (*around, b"--" + (entity.boundary or b""))
        default = RFC822 if entity.media == "multipart/digest" else TEXT
        found = parts_of(self._content, entity)
        yield from self._unread(*found.preamble)
        for start, end in found.parts:
            yield from self._part(start, end, default, inside)
        yield from self._unread(*found.epilogue)

    def _part(
        self, start: int, end: int, default: str, inside: tuple[bytes, ...]
    ) -> Iterator[_Splice]:
        try:
            part = read_entity(self._content, start, end, default)
            splices = list(self._entity(part, inside))
        except FormatError:
            if self._is_eight_bit(start, end):
                raise
            return  # odd, and 7-bit: it goes as it came
        yield from splices

    def _enclosed(
        self, entity: Entity, around: tuple[bytes, ...], *, is_eight_bit: bool
    ) -> Iterator[_Splice]:
        """A message/rfc822 is itself never encoded, its parts are (RFC 2046 §5.2.1)."""
        if not is_eight_bit:
            return
        self._refuse_encoded(entity)
        inner = read_entity(self._content, entity.body_start, entity.end)
        if any(inner.header.named(name) for name in _SIGNED_FIELDS):
            raise NoVariant("5.6.3", "an 8-bit message inside has a DKIM signature")
        yield from self._message(inner, (*around, b""))

    def _leaf(self, entity: Entity, around: tuple[bytes, ...]) -> Iterator[_Splice]:
        body = self._content[entity.body_start : entity.end]
        is_message = entity.media.startswith("message/")
        if entity.is_multipart or (
            is_message and not entity.media.startswith(_ENCODABLE_MESSAGES)
        ):  # RFC 2046 §5.2: the others are 7-bit as they are
            raise FormatError(f"an 8-bit {entity.media} cannot be encoded")
        if entity.encoding == "quoted-printable":  # with raw octets: as they are read
            encoded = _requoted(body)
            if _has_line(encoded, around):
                raise FormatError("its quoted-printable has raw octets")
            yield entity.body_start, entity.end, encoded
            return
        self._refuse_encoded(entity)
        name, encoded = "quoted-printable", b""
        if entity.media.startswith("text/") and not _is_dense(body):
            encoded = _quoted(body)
        if not encoded or _has_line(encoded, around):
            name, encoded = "base64", _base64(body)
        yield _label(entity, name)
        yield entity.body_start, entity.end, encoded

    def _relabelled(self, entity: Entity) -> Iterator[_Splice]:
        """What is or becomes 7-bit says so: RFC 2045 §6.4 for what holds it."""
        if entity.encoding in ("8bit", "binary"):
            yield _label(entity, "7bit")

    def _unread(self, start: int, end: int) -> Iterator[_Splice]:
        """8-bit octets outside the parts, which no reader shows (RFC 2046 §5.1.1)."""
        if self._is_eight_bit(start, end):
            yield start, end, _EIGHT_BIT.sub(b"?", self._content[start:end])

    def _refuse_encoded(self, entity: Entity) -> None:
        if entity.encoding not in _UNENCODED:
            raise FormatError(
                f"an 8-bit {entity.media} says that it is {entity.encoding[:40]}"
            )

    def _is_eight_bit(self, start: int, end: int) -> bool:
        return not self._content[start:end].isascii()


def _place(splice: _Splice) -> int:
    return splice[0]


def _spliced(content: bytes, splices: Iterable[_Splice]) -> bytes:
    pieces: list[bytes] = []
    position = 0
    for start, end, replacement in splices:
        pieces += (content[position:start], replacement)
        position = end
    pieces.append(content[position:])
    return b"".join(pieces)


def _label(entity: Entity, encoding: str) -> _Splice:
    """Replace the one Content-Transfer-Encoding field, or add it behind the others."""
    line = f"Content-Transfer-Encoding: {encoding}\r\n".encode()
    field = entity.only(b"content-transfer-encoding")
    if field is None:
        end = _header_end(entity)
        return end, end, line
    return entity.start + field.start, entity.start + field.end, line


def _header_end(entity: Entity) -> int:
    fields = entity.header.fields
    return entity.start + (fields[-1].end if fields else 0)


def _assumed_type(body: bytes) -> bytes:
    """A text that says nothing of itself: what it must be, or RFC 1428's unknown."""
    try:
        body.decode()
    except UnicodeDecodeError:
        return b"Content-Type: text/plain; charset=unknown-8bit\r\n"
    return b"Content-Type: text/plain; charset=utf-8\r\n"


def _is_dense(body: bytes) -> bool:
    eight_bit = len(body) - len(body.translate(None, _HIGH))
    return eight_bit * _BASE64_PAYS > len(body)


def _has_line(encoded: bytes, delimiters: tuple[bytes, ...]) -> bool:
    """Whether a soft line break made a line that begins like a delimiter."""
    return any(mark and b"\n" + mark in b"\n" + encoded for mark in delimiters)


def _quoted(body: bytes) -> bytes:
    # With a CRLF at its end: the C function breaks lines as the first one ends.
    if body.endswith(b"\r\n"):
        return binascii.b2a_qp(body)
    return binascii.b2a_qp(body + b"\r\n").removesuffix(b"\r\n")


def _requoted(body: bytes) -> bytes:
    """Quoted-printable with its raw octets quoted too, and lines that grew broken."""
    return b"\r\n".join(
        line if line.isascii() else _broken(_EIGHT_BIT.sub(_quote, line))
        for line in body.split(b"\r\n")
    )


def _quote(octet: "re.Match[bytes]") -> bytes:
    return b"=%02X" % octet[0][0]


def _broken(line: bytes) -> bytes:
    lines: list[bytes] = []
    start = 0
    while len(line) - start > _QP_LINE:
        end = start + _QP_LINE - 1
        escape = line.rfind(b"=", end - 2, end)
        if escape > start:
            end = escape
        lines.append(line[start:end] + b"=")
        start = end
    return b"\r\n".join([*lines, line[start:]])


def _base64(body: bytes) -> bytes:
    lines = (
        base64.b64encode(body[at : at + _BASE64_OCTETS])
        for at in range(0, len(body), _BASE64_OCTETS)
    )
    encoded = b"\r\n".join(lines)
    return encoded + b"\r\n" if body.endswith(b"\r\n") else encoded
