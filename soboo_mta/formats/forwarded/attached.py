"""A return as a part of another message: whole where it may be, byte for byte."""

import base64

from soboo_mta.formats.header import HeaderBlock
from soboo_mta.mail.errors import FormatError

_MAX_LINE = 998  # RFC 5322 §2.1.1
_SHOWN_HEADER = 65_536  # octets of one that is too large
_BASE64_LINE = 76  # RFC 2045 §6.8


def attached(content: bytes, *, limit: int) -> bytes:
    """Return the part, its header and body: `content`, or its header alone where it has
    over `limit` octets.

    What no message may hold (lines too long, bare line ends, UTF-8 in its header) is
    packed: a part of type message/rfc822 cannot be (RFC 2046 §5.2.1).
    """
    if len(content) <= limit:
        return _part(content, "message/rfc822", "What came back")
    end = content.find(b"\r\n\r\n", 0, _SHOWN_HEADER)
    header = content[: end + 2 if end >= 0 else _SHOWN_HEADER]
    about = f"Header of what came back, {len(content)} octets"
    return _part(header, "text/rfc822-headers", about)


def is_plain(content: bytes) -> bool:
    """Whether `content` can stand in a message as it is: lines of at most 998 octets that
    end in CRLF, no NUL, a header of ASCII fields."""
    lines = content.split(b"\r\n")
    if b"\0" in content or max(map(len, lines)) > _MAX_LINE:
        return False
    if content.count(b"\r") != len(lines) - 1 or content.count(b"\n") != len(lines) - 1:
        return False
    try:
        header = HeaderBlock.parse(content)
    except FormatError:
        return False
    return content[: header.body_start].isascii()


def _part(content: bytes, kind: str, description: str) -> bytes:
    if is_plain(content):
        encoding = "7bit" if content.isascii() else "8bit"
    else:
        kind, encoding = "application/octet-stream", "base64"
        content = _packed(content)
    disposition = 'attachment; filename="returned.eml"'
    head = (
        f"Content-Type: {kind}\r\nContent-Description: {description}\r\n"
        f"Content-Disposition: {disposition}\r\n"
        f"Content-Transfer-Encoding: {encoding}\r\n\r\n"
    )
    return head.encode() + content


def _packed(content: bytes) -> bytes:
    packed = base64.b64encode(content)
    starts = range(0, len(packed), _BASE64_LINE)
    return b"".join(packed[at : at + _BASE64_LINE] + b"\r\n" for at in starts)
