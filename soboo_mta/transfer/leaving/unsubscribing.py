"""The field by which a recipient leaves a stream by mail (RFC 2369 §3.2): an address for
that recipient of that message alone, signed as reverse-paths are.

It is part of identity: made at departure, on the host that returns come to, and covered by
the signatures. A message that says itself how to unsubscribe is left as it is.
"""

from collections.abc import Callable

from soboo_mta.formats.header import HeaderBlock
from soboo_mta.mail.address import Mailbox

_OWN = frozenset((b"list-unsubscribe", b"list-unsubscribe-post"))


def header_of(content: bytes) -> HeaderBlock:
    """Return the header of a message that was accepted, without its body."""
    end = content.find(b"\r\n\r\n")
    return HeaderBlock.parse(content if end < 0 else content[: end + 2])


def unsubscribe_field(header: HeaderBlock, address: Callable[[], Mailbox]) -> bytes:
    """Return the field with its CRLF, b"" where the message has one of its own."""
    if any(field.name in _OWN for field in header.fields):
        return b""
    return f"List-Unsubscribe: <mailto:{address()}?subject=unsubscribe>\r\n".encode()
