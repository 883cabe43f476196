"""What a received message has in it: fields, texts, attachments; for people and tests.

Reads octets by the standard library's parser, which takes anything, and never writes
them (RFC 5322, RFC 2045, RFC 2392). Not for judging: that is `verdict.py`.
"""

import re
from dataclasses import dataclass
from email import policy
from email.errors import MessageError
from email.header import decode_header, make_header
from email.message import Message
from email.parser import BytesParser
from html.parser import HTMLParser

_PARTS = 500  # looked at in one message; the rest is left in the source
_UNREADABLE = (LookupError, ValueError, MessageError)  # what the library lets out
_LINK = re.compile(r"https?://[^\s<>\"']*[^\s<>\"'.,;:!?)\]]", re.IGNORECASE)
_LINKS = 200
_UNFOLD = re.compile(r"\r?\n(?=[ \t])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """An attachment or an image inside: `number` among them, octets decoded."""

    number: int
    name: str
    kind: str  # a media type
    content_id: str
    octets: bytes


class Content:
    """One message, parsed as far as it goes. Text that cannot be decoded has U+FFFD."""

    def __init__(self, octets: bytes) -> None:
        # compat32: the newer policy raises at headers that mail has (library traps).
        self._message = BytesParser(policy=policy.compat32).parsebytes(octets)
        self._octets = octets

    @property
    def fields(self) -> list[tuple[str, str]]:
        """The header, in order, unfolded and decoded (RFC 2047)."""
        return [(name, _decoded(value)) for name, value in self._message.items()]

    def field(self, name: str) -> str:
        """The first field of that name, decoded; "" without one."""
        held = self._message.get(name)
        return "" if held is None else _decoded(held)

    @property
    def subject(self) -> str:
        """The Subject, decoded."""
        return self.field("Subject")

    @property
    def source(self) -> str:
        """All of it as text, for reading; the octets are elsewhere."""
        return self._octets.decode("utf-8", "replace")

    @property
    def text(self) -> str:
        """The first text/plain that is not an attachment; "" without one."""
        return self._first("text/plain")

    @property
    def html(self) -> str:
        """The first text/html that is not an attachment; "" without one."""
        return self._first("text/html")

    @property
    def links(self) -> list[str]:
        """Where its links lead, http and https, from both texts, each once, in order."""
        gatherer = _Links()
        gatherer.feed(self.html)
        gatherer.close()
        found = [*_LINK.findall(self.text), *gatherer.found]
        return list(dict.fromkeys(found))[:_LINKS]

    @property
    def parts(self) -> list[Part]:
        """Attachments and images inside: each leaf but the texts."""
        texts = [self._leaf("text/plain"), self._leaf("text/html")]
        found = [leaf for leaf in self._leaves() if leaf not in texts]
        return [
            Part(
                number=number,
                name=_name_of(leaf),
                kind=leaf.get_content_type(),
                content_id=str(leaf.get("Content-ID", "")).strip(" <>\r\n"),
                octets=_octets_of(leaf),
            )
            for number, leaf in enumerate(found, 1)
        ]

    def _first(self, kind: str) -> str:
        leaf = self._leaf(kind)
        return "" if leaf is None else _text_of(leaf)

    def _leaf(self, kind: str) -> Message | None:
        for leaf in self._leaves():
            if leaf.get_content_type() == kind and not _is_attached(leaf):
                return leaf
        return None

    def _leaves(self) -> list[Message]:
        found: list[Message] = []
        waiting = [self._message]
        while waiting and len(found) < _PARTS:
            part = waiting.pop(0)
            if part.get_content_maintype() == "multipart" and part.is_multipart():
                waiting[:0] = _inside(part)
            else:  # message/rfc822 is one attachment, whatever it holds
                found.append(part)
        return found


class _Links(HTMLParser):
    """Gathers the targets of links; takes any HTML."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        target = (dict(attrs).get("href") or "").strip()
        if tag in ("a", "area") and _LINK.fullmatch(target):
            self.found.append(target)


def _inside(part: Message) -> list[Message]:
    """Its parts; asked of a leaf, the library would decode it, and may raise."""
    held = part.get_payload() if part.is_multipart() else []
    return [one for one in held if isinstance(one, Message)]


def _is_attached(part: Message) -> bool:
    return part.get_content_disposition() == "attachment"


def _octets_of(part: Message) -> bytes:
    if part.is_multipart():
        return b"".join(one.as_bytes() for one in _inside(part))
    held = part.get_payload(decode=True)
    return held if isinstance(held, bytes) else b""


def _text_of(part: Message) -> str:
    charset = part.get_content_charset("utf-8") or "utf-8"
    try:
        return _octets_of(part).decode(charset, "replace")
    except (LookupError, ValueError):  # a charset of the sender's own
        return _octets_of(part).decode("utf-8", "replace")


def _name_of(part: Message) -> str:
    """The file name, without any folder of the sender's."""
    try:
        name = _decoded(part.get_filename() or "")
    except _UNREADABLE:
        name = ""
    return re.split(r"[/\\]", name)[-1].strip(". \t") or "unnamed"


def _decoded(value: object) -> str:
    unfolded = _UNFOLD.sub("", str(value))
    try:
        text = str(make_header(decode_header(unfolded)))
    except _UNREADABLE:  # not what RFC 2047 says: as it stands
        text = unfolded
    return "".join(_shown(each) for each in text)


def _shown(letter: str) -> str:
    """What cannot be put into UTF-8 or moves a cursor is replaced."""
    is_half = "\ud800" <= letter <= "\udfff"
    return "\ufffd" if is_half or (letter < " " and letter != "\t") else letter
