"""A message of JSON as octets: MIME made by the standard library, before acceptance.

Here and nowhere else; from acceptance on a message is octets. All of it is 7-bit: text as
quoted-printable or base64, names and subjects as encoded words (RFC 2047), file names by
RFC 2231. A local part that is not ASCII stands as it is (RFC 6532). Bcc is not written.
"""

import binascii
import re
from base64 import b64decode, encodebytes
from email import policy
from email.header import Header
from email.message import Message
from email.mime.multipart import MIMEMultipart
from email.mime.nonmultipart import MIMENonMultipart
from email.utils import quote
from typing import TypeAlias

from soboo_mta.mail.address import Mailbox, parse_mailbox
from soboo_mta.mail.errors import FormatError
from soboo_mta.web.inject.answers import FieldError
from soboo_mta.web.inject.model import (
    CONTENT_TYPE,
    Attachment,
    Correspondent,
    JsonMessage,
)

_Part: TypeAlias = "Message[str, str]"
# The older of the library's two policies: what is made here needs none of what the newer
# one parses, and is made three times as fast.
_POLICY = policy.compat32.clone(linesep="\r\n", max_line_length=76, mangle_from_=False)
_PLAIN = bytes(range(32, 61)) + bytes(range(62, 127)) + b"\t\n"
_AS_BASE64 = 6  # with more than one octet in so many to be quoted, base64 is shorter
_SPECIALS = re.compile(r'[()<>@,:;\\".\[\]]')
_SPACE = re.compile(r"(?<! ) (?! )")  # a single one: no line may be of spaces alone
_LINE = 76  # octets, where there is a space
_WORD = 75  # octets of one encoded word: RFC 2047 §2


def composed(message: JsonMessage) -> bytes:
    """Return the message as octets with CRLF line ends; raise FieldError."""
    assert message.sender is not None  # the model saw to it
    lines = [f"From: {_written('from', message.sender)}"]
    for label, key in (("To", "to"), ("Cc", "cc"), ("Reply-To", "reply_to")):
        named = [_written(key, one) for one in getattr(message, key)]
        if named:
            lines.append(f"{label}: " + ",\r\n\t".join(named))
    if message.subject:
        lines.append(f"Subject: {_unstructured('Subject', message.subject)}")
    for name, values in message.headers.items():
        lines += [f"{name}: {_unstructured(name, value)}" for value in values]
    head = "".join(f"{line}\r\n" for line in lines).encode()
    return head + _content(message).as_bytes(policy=_POLICY)


def raw_octets(message: JsonMessage) -> bytes:
    """Return the octets of `raw` or `raw_base64`; raise FieldError."""
    if message.raw is not None:
        return with_crlf(message.raw.encode())
    return with_crlf(_decoded("raw_base64", message.raw_base64 or ""))


def with_crlf(octets: bytes) -> bytes:
    """A message whose lines all end in LF, as a file's do, with CRLF; else as it is."""
    return octets if b"\r" in octets else octets.replace(b"\n", b"\r\n")


def mailbox(key: str, address: Correspondent) -> Mailbox:
    """Return the address without its name; raise FieldError that names `key`."""
    try:
        return parse_mailbox(address.address.strip(" "))
    except FormatError as error:
        raise FieldError(key, str(error)) from error


# ---- the header


def _written(key: str, address: Correspondent) -> str:
    found, name = mailbox(key, address), address.name.strip(" ")
    return f"{_phrase(name)} <{found}>" if name else str(found)


def _phrase(name: str) -> str:
    """A display name: plain, quoted or encoded (RFC 5322 §3.2.5, RFC 2047 §5)."""
    if not name.isascii() or "=?" in name:
        return _encoded(name, "X-Name")
    return f'"{quote(name)}"' if _SPECIALS.search(name) else name


def _unstructured(name: str, value: str) -> str:
    """A field's value; one that was written encoded stays so, save in Subject."""
    if value.isascii() and (name != "Subject" or "=?" not in value):
        return _folded(value.strip(" "), room=_LINE - len(name) - 2)
    return _encoded(value, name)


def _folded(value: str, *, room: int) -> str:
    """Broken at its spaces where a line would be long (RFC 5322 §2.2.3)."""
    lines = [""]
    for word in _SPACE.split(value):
        if lines[-1] and len(lines[-1]) + 1 + len(word) > room:
            lines.append(word)
            room = _LINE - 1
        else:
            lines[-1] += f" {word}" if lines[-1] else word
    return "\r\n ".join(lines)


def _encoded(text: str, name: str) -> str:
    header = Header(text, "utf-8", header_name=name, maxlinelen=_WORD)
    return header.encode(linesep="\r\n")


# ---- the body


def _content(message: JsonMessage) -> _Part:
    inside: list[_Part] = []
    files: list[_Part] = []
    for index, file in enumerate(message.attachments):
        is_inside = message.html is not None and file.content_id is not None
        (inside if is_inside else files).append(_file(index, file, inside=is_inside))
    bodies: list[_Part] = []
    if message.text is not None:
        bodies.append(_text(message.text, "plain"))
    if message.html is not None:
        html = _text(message.html, "html")
        bodies.append(_several("related", [html, *inside]) if inside else html)
    if len(bodies) > 1:
        bodies = [_several("alternative", bodies)]
    return _several("mixed", [*bodies, *files]) if files else bodies[0]


def _several(subtype: str, parts: list[_Part]) -> _Part:
    for part in parts:
        del part["MIME-Version"]  # the whole message has it
    return MIMEMultipart(subtype, _subparts=parts, policy=_POLICY)


def _text(text: str, subtype: str) -> _Part:
    """As it is where it can be, else quoted-printable or base64, whichever is shorter."""
    part = MIMENonMultipart("text", subtype, policy=_POLICY, charset="utf-8")
    lines = text.encode().splitlines()
    octets = b"\n".join(lines) + b"\n"
    if octets.isascii() and max(map(len, lines), default=0) <= _LINE:
        part["Content-Transfer-Encoding"] = "7bit"
        part.set_payload(octets.decode("ascii"))
    elif len(octets.translate(None, _PLAIN)) * _AS_BASE64 < len(octets):
        part["Content-Transfer-Encoding"] = "quoted-printable"
        part.set_payload(binascii.b2a_qp(octets).decode("ascii"))
    else:
        _in_base64(part, octets.replace(b"\n", b"\r\n"))
    return part


def _file(index: int, file: Attachment, *, inside: bool) -> _Part:
    key = f"attachments[{index}]"
    found = CONTENT_TYPE.fullmatch(file.content_type)
    assert found is not None  # the model saw to it
    kind, subtype, charset = found.groups()
    if kind.lower() in ("multipart", "message"):
        raise FieldError(
            f"{key}.content_type",
            f"{kind} is no type of a file here: use application/octet-stream",
        )
    words = {"charset": charset} if charset else {}
    part = MIMENonMultipart(kind.lower(), subtype.lower(), policy=_POLICY, **words)
    name: str | tuple[str, str, str] | None = file.filename or None
    if name and not (file.filename.isascii() and "=?" not in file.filename):
        name = ("utf-8", "", file.filename)  # RFC 2231 §4
    disposition = "inline" if inside else "attachment"
    part.add_header("Content-Disposition", disposition, filename=name)
    if file.content_id:
        part["Content-ID"] = f"<{file.content_id}>"
    _in_base64(part, _decoded(f"{key}.content", file.content))
    return part


def _in_base64(part: _Part, octets: bytes) -> None:
    part["Content-Transfer-Encoding"] = "base64"
    part.set_payload(encodebytes(octets).decode("ascii"))


def _decoded(key: str, text: str) -> bytes:
    try:
        return b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise FieldError(key, "is not base64") from error
