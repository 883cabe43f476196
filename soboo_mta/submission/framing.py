"""Whether the octets of DATA are lines: CRLF alone, no NUL, at most 998 octets each.

What passes here leaves us as it came; nothing that another server could read as an end
of the message survives (RFC 5321 §2.3.8, §4.1.1.4, §4.5.3.1.6). Pure.
"""

import re

from soboo_mta.mail.errors import Reject
from soboo_mta.submission import replies

MAX_LINE_OCTETS = 998  # without CRLF: RFC 5322 §2.1.1
_LINE_END = re.compile(rb"\r\n|\r|\n")


def check_framing(content: bytes, *, mend_line_ends: bool) -> bytes:
    """Return `content` fit to be kept; raise Reject with what to change.

    With `mend_line_ends` each bare CR or LF becomes CRLF, so CR CR LF becomes two line
    ends; without it they are refused.
    """
    if b"\0" in content:
        raise Reject(replies.NUL_IN_CONTENT)
    if _has_bare_line_end(content):
        if not mend_line_ends:
            raise Reject(replies.BARE_IN_CONTENT)
        content = _LINE_END.sub(b"\r\n", content)
    if not content.endswith(b"\r\n"):  # an empty message is one empty line
        content += b"\r\n"
    if _has_long_line(content):
        raise Reject(replies.LONG_LINE)
    return content


def _has_bare_line_end(content: bytes) -> bool:
    pairs = content.count(b"\r\n")
    return content.count(b"\n") != pairs or content.count(b"\r") != pairs


def _has_long_line(content: bytes) -> bool:
    """Leap from one line end to the last that a line of full length could reach."""
    start, last = 0, len(content)
    while last - start > MAX_LINE_OCTETS + 2:
        end = content.rfind(b"\r\n", start, start + MAX_LINE_OCTETS + 2)
        if end < 0:
            return True
        start = end + 2
    return False
