"""A return attached to a few words: for what nobody knows, and what fits no other form."""

from email.utils import format_datetime
from textwrap import wrap

from soboo_mta.formats.forwarded.attached import attached
from soboo_mta.formats.forwarded.frame import Frame

_WIDTH = 72


def wrapped(content: bytes, words: str, frame: Frame, *, limit: int) -> bytes:
    """Return a message that says `words` (ASCII, one paragraph a line) and has `content`
    attached; of one over `limit` octets the header alone."""
    parts = [_text(words), attached(content, limit=limit)]
    boundary = f"=_{frame.forward_id}"
    while any(f"--{boundary}".encode() in part for part in parts):
        boundary += "="  # what came back may hold anything
    fields = (
        f"Date: {format_datetime(frame.made_at)}",
        f"From: Returned mail <{frame.sender}>",
        "Subject: Something came back for your message",
        *frame.fields(),
        "MIME-Version: 1.0",
        f'Content-Type: multipart/mixed;\r\n\tboundary="{boundary}"',
    )
    head = "".join(f"{field}\r\n" for field in (*fields, "")).encode()
    opening = f"--{boundary}\r\n".encode()
    body = b"".join(opening + part + b"\r\n" for part in parts)
    return head + body + f"--{boundary}--\r\n".encode()


def _text(words: str) -> bytes:
    paragraphs = (
        wrap(one, _WIDTH, break_long_words=False, break_on_hyphens=False)
        for one in words.splitlines()
    )
    lines = [line for paragraph in paragraphs for line in (*paragraph, "")]
    head = "Content-Type: text/plain; charset=us-ascii\r\n\r\n"
    return (head + "\r\n".join(lines)).encode()
