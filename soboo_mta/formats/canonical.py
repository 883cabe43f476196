"""The canonical forms of RFC 6376 §3.4, by bytes operations.

Equal to dkimpy's regular expressions on every input (tests show it) at a tenth of their
cost; used on what is signed, never to change what is sent.
"""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

_BLANK_LINES = b"\r\n" * 1_024  # a body of nothing else must not cost a step a line
_PIECE = 262_144  # octets: a millisecond or two during which no other thread runs
_END = b"\r\n"


def relaxed_header(name: bytes, raw_value: bytes) -> bytes:
    """One field, canonical (RFC 6376 §3.4.2): `name:value` and CRLF."""
    return b"%b:%b\r\n" % (name.lower().rstrip(), relaxed_value(raw_value))


def relaxed_value(raw_value: bytes) -> bytes:
    """A field's value unfolded, white space made single, none at its ends."""
    value = raw_value.replace(b"\r\n", b"").replace(b"\n", b"")
    return _single_spaced(value).strip()


def relaxed_body(body: bytes) -> bytes:
    """The body, canonical (RFC 6376 §3.4.4); an empty one is no octets at all."""
    text = _single_spaced(body)
    if b" \r\n" in text:
        text = text.replace(b" \r\n", b"\r\n")
    if not text.endswith(b"\r\n"):
        return text + b"\r\n" if text else b""
    end = _end_of_lines(text)
    return text[: end + 2] if end else b""


def body_hash(body: bytes) -> bytes:
    """SHA-256 of the relaxed canonical body: the octets of a `bh=` tag, not base64."""
    return sha256(relaxed_body(body)).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyHash:
    """SHA-256 of a canonical body, and its length in octets."""

    digest: bytes
    length: int


def relaxed_body_hash(content: bytes, start: int = 0) -> BodyHash:
    """Of the body that begins at `start`; its lines may end in LF too.

    Works in pieces, so that other threads go on, and in linear time.
    """
    body = _Hashed(_relaxed_text, ends=(b"\r", b" "))
    body.add_all(content, start)
    return body.ended(relaxed_body(body.rest) if body.rest or not body.length else _END)


def simple_body_hash(content: bytes, start: int = 0) -> BodyHash:
    """As `relaxed_body_hash`, of the simple canonical body (RFC 6376 §3.4.3)."""
    body = _Hashed(_ended_in_crlf, ends=(b"\r",))
    body.add_all(content, start)
    return body.ended(body.rest + _END)


class _Hashed:
    """A hash under way. What hangs on what follows waits: empty lines, which count only
    before text, and in `rest` those of `ends` that the last piece ended in."""

    def __init__(
        self, form: Callable[[bytes], bytes], *, ends: tuple[bytes, ...]
    ) -> None:
        self._form = form
        self._ends = ends
        self._digest = sha256()
        self._lines = 0
        self.length = 0
        self.rest = b""

    def add_all(self, content: bytes, start: int) -> None:
        for at in range(start, len(content), _PIECE):
            self._add(content[at : at + _PIECE])

    def _add(self, piece: bytes) -> None:
        text = self._form(self.rest + piece)
        sure = text
        for end in self._ends:
            sure = sure.removesuffix(end)
        kept = _end_of_lines(sure)
        if kept:
            self._hash_lines()
            self._hash(sure[:kept])
        self._lines += (len(sure) - kept) // 2
        self.rest = text[len(sure) :]

    def ended(self, last: bytes) -> BodyHash:
        """Hash `last` in place of what waits, less the empty lines if nothing else does."""
        if self.rest:
            self._hash_lines()
        self._hash(last)
        return BodyHash(digest=self._digest.digest(), length=self.length)

    def _hash_lines(self) -> None:
        while self._lines:
            lines = min(self._lines, _PIECE)
            self._hash(_END * lines)
            self._lines -= lines

    def _hash(self, text: bytes) -> None:
        self._digest.update(text)
        self.length += len(text)


def _relaxed_text(text: bytes) -> bytes:
    text = _single_spaced(_ended_in_crlf(text))
    return text.replace(b" \r\n", b"\r\n")


def _ended_in_crlf(text: bytes) -> bytes:
    if text.count(b"\n") == text.count(b"\r\n"):
        return text
    return text.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def _end_of_lines(text: bytes) -> int:
    """Where the line ends that `text` ends with begin."""
    end = len(text)
    while text.endswith(_BLANK_LINES, 0, end):
        end -= len(_BLANK_LINES)
    while text.endswith(b"\r\n", 0, end):
        end -= 2
    return end


def _single_spaced(text: bytes) -> bytes:
    if b"\t" in text:
        text = text.replace(b"\t", b" ")
    while b"  " in text:
        text = text.replace(b"  ", b" ")
    return text
