"""An answer as it goes home: its own content, from the operator's address.

DMARC judges the From field, and the operator can sign for no other domain than its own. So
From names the person and the operator's address, Reply-To the person's; what a person wrote
and what belongs to its form stays octet for octet (RFC 5322 §3.6, RFC 2045 §3).
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from email.errors import HeaderParseError
from email.header import Header, decode_header, make_header
from email.utils import format_datetime

from soboo_mta.formats.author import parse_author
from soboo_mta.formats.dsn.status import one_line
from soboo_mta.formats.forwarded.attached import is_plain
from soboo_mta.formats.forwarded.frame import Frame
from soboo_mta.formats.header import Field, HeaderBlock
from soboo_mta.mail.address import Mailbox
from soboo_mta.mail.errors import FormatError

_KEPT = frozenset(
    (
        b"date",
        b"subject",
        b"cc",
        b"in-reply-to",
        b"importance",
        b"thread-topic",
        b"thread-index",
        b"mime-version",
    )
)
_MAX_NAME = 60  # characters of a display name
_MAX_REFERENCES = 900  # octets of the older ones: the newest matter to threading
_MESSAGE_ID = re.compile(rb"<[!-;=?-~]{3,250}>")


def answer(content: bytes, frame: Frame) -> bytes:
    """Return the message in which the answer `content` goes home.

    Raises FormatError for one whose header leaves doubt, or that no message may hold:
    send it attached.
    """
    if not is_plain(content):
        raise FormatError("it is not written as a message must be")
    header = HeaderBlock.parse(content)
    kept = [field for field in header.fields if _is_kept(field)]
    if len({field.name for field in kept}) < len(kept):
        raise FormatError("its header says a thing twice")
    author_field = _only(header, b"from")
    author = parse_author(header.value(author_field), smtputf8=False)
    fields = [
        *_from(header.value(author_field), author, frame),
        f"Reply-To: <{_answered_to(header, author)}>",
        *frame.fields(),
        *_references(header),
    ]
    if not header.named(b"date"):
        fields.append(f"Date: {format_datetime(frame.made_at)}")
    made = "".join(f"{field}\r\n" for field in fields).encode()
    body = header.body if header.body.endswith(b"\r\n") else header.body + b"\r\n"
    return made + b"".join(map(header.raw, kept)) + b"\r\n" + body


def _is_kept(field: Field) -> bool:
    return field.name in _KEPT or field.name.startswith(b"content-")


def _only(header: HeaderBlock, name: bytes) -> Field:
    fields = header.named(name)
    if len(fields) != 1:
        raise FormatError(f"it has {len(fields)} fields {name.decode()}")
    return fields[0]


def _from(value: bytes, author: Mailbox, frame: Frame) -> Iterator[str]:
    name = f"{_name_in(value) or author} (via {frame.domain})"
    if name.isascii():
        quoted = re.sub(r'(["\\])', r"\\\1", name)
        yield f'From: "{quoted}"\r\n <{frame.sender}>'
    else:
        written = Header(name, "utf-8").encode(linesep="\r\n")  # RFC 2047
        yield f"From: {written}\r\n <{frame.sender}>"


def _name_in(value: bytes) -> str:
    """The display name of a From value that has one author; "" where it has none."""
    text = b"".join(value.splitlines()).decode("ascii")
    name, angle, _ = text.rpartition("<")
    name = name.strip()
    if not angle:
        return ""
    if name.startswith('"') and name.endswith('"'):
        name = re.sub(r"\\(.)", r"\1", name[1:-1])
    with suppress(LookupError, ValueError, HeaderParseError):  # as it stands, then
        name = str(make_header(decode_header(name)))
    return one_line(name, _MAX_NAME)


def _answered_to(header: HeaderBlock, author: Mailbox) -> Mailbox:
    """Where the person wants answers; one address, or the author's."""
    fields = header.named(b"reply-to")
    if len(fields) != 1:
        return author
    try:
        return parse_author(header.value(fields[0]), smtputf8=False)
    except FormatError:
        return author


def _references(header: HeaderBlock) -> Iterator[str]:
    """The thread, and the answer's own id at its end (RFC 5322 §3.6.4): what is made has
    an id of its own."""
    older = [
        one
        for field in header.named(b"references")[:1]
        for one in _MESSAGE_ID.findall(header.value(field))
    ]
    own = [
        one
        for field in header.named(b"message-id")[:1]
        for one in _MESSAGE_ID.findall(header.value(field))[:1]
    ]
    ids = [*older, *own]
    while ids and sum(map(len, ids)) > _MAX_REFERENCES:
        del ids[1 if len(ids) > 1 else 0]  # the first began the thread
    if ids:
        yield "References: " + "\r\n ".join(one.decode() for one in ids)
