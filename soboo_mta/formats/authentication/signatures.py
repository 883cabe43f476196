"""DKIM signatures of a stranger's message, verified (RFC 6376 §6, RFC 8301, RFC 8463).

dkimpy reads the header and the tags. What works on them is ours, for its cost must be
bounded whoever wrote the message: dkimpy's regular expressions and its search for fields
take quadratic time on some input, and its RSA takes any key.
"""

import base64
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Self

import dkim

from soboo_mta.formats.authentication.results import Result, SignatureVerdict
from soboo_mta.formats.authentication.tags import (
    Tags,
    algorithm_of,
    check_tags,
    covered,
    forms_of,
    key_in,
    key_name,
    read_tags,
)
from soboo_mta.formats.canonical import (
    BodyHash,
    relaxed_body_hash,
    relaxed_header,
    simple_body_hash,
)
from soboo_mta.formats.keys import is_signature
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.mail.errors import FormatError

MAX_SIGNATURES = 10  # verified per message: each costs a look-up and an RSA operation
MAX_HEADER = 262_144  # octets: over any real one, and read once for each signature
_SHOWN = (b"d", b"s", b"a", b"b")
_SHOWN_B = 8  # characters, RFC 6008 §4
_BODY = re.compile(rb"(?:\A|\n)\r?\n")  # the empty line before it

Lookup = Callable[[DnsName], str | None]
_Header = Sequence[bytes]  # name, value with folds and CRLF


@dataclass(frozen=True, slots=True)
class SignedMessage:
    """A message's header as dkimpy reads it, mildly about line ends; the body begins at
    `body_start` of `content`."""

    headers: tuple[_Header, ...]
    content: bytes
    body_start: int

    @classmethod
    def read(cls, content: bytes) -> Self:
        """Raises FormatError where the header is none, or over 256 KiB."""
        blank = _BODY.search(content, 0, MAX_HEADER)
        if blank is None and len(content) > MAX_HEADER:
            raise FormatError(f"the header is over {MAX_HEADER} octets")
        end = blank.end() if blank else len(content)
        try:
            headers, _ = dkim.rfc822_parse(content[:end])
        except (dkim.MessageFormatError, IndexError) as error:
            raise FormatError("the header has a line that is no field") from error
        return cls(tuple(headers), content, end)

    def values(self, name: bytes) -> list[bytes]:
        """The values of the fields called `name` (lower case), from the top."""
        return [value for held, value in self.headers if held.lower() == name]

    def key_names(self) -> tuple[DnsName, ...]:
        """Where the keys are published that `verify` may ask for."""
        found = []
        for _, value in self._signatures():
            with suppress(ValueError, LookupError):  # no key is needed to refuse it
                found.append(key_name(read_tags(value)))
        return tuple(dict.fromkeys(found))

    def verify(self, lookup_txt: Lookup) -> tuple[SignatureVerdict, ...]:
        """Return one verdict for each DKIM-Signature field, from the top, at most ten.

        `lookup_txt` is given one of `key_names`; it returns the record with its
        character-strings joined (as `ports.Found` has it), None where there is none, and
        raises OSError where DNS gave no answer. Raises nothing itself.
        """
        bodies = _Bodies(self)
        return tuple(
            _verdict(self, signature, bodies, lookup_txt)
            for signature in self._signatures()
        )

    def _signatures(self) -> list[_Header]:
        named = [one for one in self.headers if one[0].lower() == b"dkim-signature"]
        return named[:MAX_SIGNATURES]


def verify(content: bytes, lookup_txt: Lookup) -> tuple[SignatureVerdict, ...]:
    """As `SignedMessage.verify`; a header that can't be read is one PERMERROR."""
    try:
        message = SignedMessage.read(content)
    except FormatError as error:
        return (SignatureVerdict(result=Result.PERMERROR, cause=str(error)),)
    return message.verify(lookup_txt)


class _NotProven(Exception):
    """Ends the check of one signature with a result and why."""

    def __init__(self, result: Result, cause: str) -> None:
        super().__init__(cause)
        self.result = result


def _verdict(
    message: SignedMessage, signature: _Header, bodies: "_Bodies", lookup_txt: Lookup
) -> SignatureVerdict:
    tags: Tags = {}
    result, cause = Result.PASS, ""
    try:
        tags = read_tags(signature[1])
        check_tags(tags)
        txt = lookup_txt(key_name(tags))
        is_report = bool(message.values(b"tls-report-domain"))  # RFC 8460 §5.3
        p = key_in(txt, tags, is_tls_report=is_report)
        _check_body(tags, bodies)
        _check_header(message, tags, signature, p)
    except _NotProven as error:
        result, cause = error.result, str(error)
    except OSError as error:
        result, cause = Result.TEMPERROR, f"no answer from DNS: {error}"
    except dkim.ValidationError as error:
        result, cause = Result.FAIL, str(error)
    except (ValueError, LookupError) as error:
        result, cause = Result.PERMERROR, str(error)
    d, s, a, b = (tags.get(tag, b"").decode("latin-1") for tag in _SHOWN)
    return SignatureVerdict(
        result=result,
        domain=Domain.parse_or_none(d),
        selector=DnsName.parse_or_none(s),
        algorithm=a,
        b=b[:_SHOWN_B],
        cause=cause,
    )


@dataclass(slots=True)
class _Bodies:
    """The body's hash in each canonical form, computed once for all signatures."""

    message: SignedMessage
    known: dict[bytes, BodyHash] = field(default_factory=dict)

    def hash_in(self, form: bytes) -> BodyHash:
        if form not in self.known:
            hashed = relaxed_body_hash if form == b"relaxed" else simple_body_hash
            message = self.message
            self.known[form] = hashed(message.content, message.body_start)
        return self.known[form]


def _check_body(tags: Tags, bodies: _Bodies) -> None:
    body = bodies.hash_in(forms_of(tags)[1])
    length = int(tags.get(b"l", body.length))
    if length > body.length:
        raise _NotProven(Result.FAIL, "the body is shorter than its l=")
    if length < body.length:  # RFC 6376 §8.2: anybody could have written the rest
        raise _NotProven(Result.POLICY, "its l= leaves the end of the body unsigned")
    if base64.b64decode(tags[b"bh"]) != body.digest:
        raise _NotProven(Result.FAIL, "the body was changed")


def _check_header(
    message: SignedMessage, tags: Tags, signature: _Header, p: str
) -> None:
    form = relaxed_header if forms_of(tags)[0] == b"relaxed" else _simple
    # From once more than h= says: a second one is not to be seen beside the signed one.
    chosen = _chosen(message.headers, [*covered(tags), b"from"])
    digest = sha256(b"".join(form(name, value) for name, value in chosen))
    itself = form(signature[0], _without_b(signature[1]))
    digest.update(itself.removesuffix(b"\r\n"))
    made = base64.b64decode(tags[b"b"])
    if not is_signature(made, digest.digest(), p=p, algorithm=algorithm_of(tags)):
        raise _NotProven(
            Result.FAIL,
            "the signature does not match: the header was changed, or the key is another",
        )


def _chosen(headers: Iterable[_Header], names: Iterable[bytes]) -> Iterator[_Header]:
    """The fields that `names` cover, of each name from the bottom (RFC 6376 §5.4.2)."""
    waiting: dict[bytes, list[_Header]] = {}
    for header in headers:
        waiting.setdefault(header[0].lower(), []).append(header)
    for name in names:
        if held := waiting.get(name):
            yield held.pop()


def _simple(name: bytes, value: bytes) -> bytes:
    return b"%b:%b" % (name, value)  # RFC 6376 §3.4.1


def _without_b(value: bytes) -> bytes:
    """The field's value with that of b= taken out, white space and all (RFC 6376 §3.7)."""
    specs = value.removesuffix(b"\r\n").split(b";")
    for place, spec in enumerate(specs):
        name, equals, _ = spec.partition(b"=")
        if name.strip() == b"b":
            specs[place] = name + equals
    return b";".join(specs)
