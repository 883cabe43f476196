"""Replies as octets (RFC 5321 §4.2). Pure."""

from functools import lru_cache

from soboo_mta.mail.reply import Reply

_REPLY_LINE = 400  # characters of text; RFC 5321 §4.5.3.1.5 allows 512 octets in all


@lru_cache(maxsize=128)  # most are said for every message: it halves their cost
def encode_reply(reply: Reply) -> bytes:
    """The octets of a reply: ASCII, long texts on several lines (RFC 5321 §4.2.1)."""
    text = reply.text
    if len(text) <= _REPLY_LINE and text.isascii() and text.isprintable():
        return f"{reply}\r\n".encode()
    safe = Reply.received(reply.code, text).text.encode("ascii", "backslashreplace")
    return _lines(reply, safe.decode())


def _lines(reply: Reply, text: str) -> bytes:
    lines = []
    while len(text) > _REPLY_LINE:
        cut = text.rfind(" ", 1, _REPLY_LINE)
        cut = cut if cut > 0 else _REPLY_LINE
        lines.append(text[:cut])
        text = text[cut:].lstrip()
    lines.append(text)
    status = f"{reply.status} " if reply.status else ""
    last = len(lines) - 1
    return b"".join(
        f"{reply.code}{'-' if i < last else ' '}{status}{line}\r\n".encode()
        for i, line in enumerate(lines)
    )
