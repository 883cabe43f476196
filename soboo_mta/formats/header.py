"""The header of a message as byte ranges over its octets (RFC 5322 §2.2).

Parsed once and strictly: what two parsers could read differently is refused here, so
that whoever signs, rewrites or verifies sees the same fields. Nothing is decoded or
copied; header work is done by cutting and prepending octets.
"""

import re
from dataclasses import dataclass
from typing import NamedTuple, Self

from soboo_mta.mail.errors import FormatError

_FIELD = re.compile(rb"([!-9;-~]+):[^\r\n]*+\r\n(?:[ \t][^\r\n]*+\r\n)*+")
_SHOWN = 40  # a refused line is quoted in a reply: cut


class Field(NamedTuple):
    """One field: `name` in lower case, `start` to `end` its octets with folds and CRLF.

    A named tuple, for it is made three times as fast as a frozen dataclass.
    """

    name: bytes
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class HeaderBlock:
    """The fields of `content` in order, back to back from its first octet.

    `body_start` is where the body begins, behind the empty line; without an empty line
    the body is empty and `body_start` the length of the content.
    """

    content: bytes
    fields: tuple[Field, ...]
    body_start: int

    @classmethod
    def parse(cls, content: bytes) -> Self:
        """Return the header of `content`; its lines must end in CRLF.

        Raises FormatError for a line that is neither field nor continuation, white space
        before the first field or before a colon, a bare CR or LF, a cut-off last line.
        """
        fields = []
        position = 0
        match = _FIELD.match
        while found := match(content, position):
            end = found.end()
            fields.append(Field(found[1].lower(), position, end))
            position = end
        if content.startswith(b"\r\n", position):
            return cls(content, tuple(fields), position + 2)
        if position == len(content):
            return cls(content, tuple(fields), position)
        raise FormatError(_why_refused(content, position, len(fields)))

    @property
    def body(self) -> bytes:
        """The octets behind the empty line."""
        return self.content[self.body_start :]

    def raw(self, field: Field) -> bytes:
        """The field as it stands: name, colon, value, folds and the final CRLF."""
        return self.content[field.start : field.end]

    def value(self, field: Field) -> bytes:
        """What follows the colon, with folds and the final CRLF."""
        return self.content[field.start + len(field.name) + 1 : field.end]

    def named(self, name: bytes) -> tuple[Field, ...]:
        """The fields called `name` (lower case), from the top."""
        return tuple([field for field in self.fields if field.name == name])

    def without(self, names: frozenset[bytes]) -> bytes:
        """The fields not called any of `names` (lower case), octet for octet.

        The empty line behind the header is not part of the answer.
        """
        content = self.content
        pieces = []
        kept_from = 0
        for field in self.fields:
            if field.name in names:
                pieces.append(content[kept_from : field.start])
                kept_from = field.end
        end = self.fields[-1].end if self.fields else 0
        pieces.append(content[kept_from:end])
        return b"".join(pieces)


def _why_refused(content: bytes, position: int, fields: int) -> str:
    line = content[position : content.find(b"\n", position) + 1]
    shown = (line or content[position:])[:_SHOWN].decode("latin-1").rstrip()
    if not line.endswith(b"\r\n") or b"\r" in line[:-2]:
        return (
            f"the header line {shown!r} does not end in CRLF, or has a bare CR or LF: "
            "end every line in CR LF"
        )
    if line[:1] in b" \t":
        return "the header begins with white space: begin it with a field name"
    if re.match(rb"[!-9;-~]+[ \t]+:", line):
        return f"white space stands before the colon in {shown!r}: take it out"
    return (
        f"line {fields + 1} of the header, {shown!r}, is no field: write 'Name: value', "
        "and an empty line before the body"
    )
