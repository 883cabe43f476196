"""Who wrote the message and may they: decisions on the raw octets of the header. Pure.

RFC 5322 §3.6.2: exactly one From, here with exactly one mailbox. Sender and the Resent
fields speak in somebody's name too (RFC 6409 §8.1), so their domains must be the same
tenant's. Reply-To may be anybody's.
"""

from collections.abc import Iterable

from soboo_mta.formats.author import parse_author
from soboo_mta.formats.header import Field, HeaderBlock
from soboo_mta.identity.plan import no_way_out
from soboo_mta.identity.records import required_records
from soboo_mta.identity.state import DomainState, Operator, Purpose
from soboo_mta.mail.address import Mailbox
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.errors import FormatError, Reject
from soboo_mta.mail.ids import NO_STREAM, Stream, parse_stream
from soboo_mta.submission import replies

_IN_SOMEBODYS_NAME = {
    b"sender": "Sender",
    b"resent-from": "Resent-From",
    b"resent-sender": "Resent-Sender",
}


MAX_HEADER_OCTETS = 262_144  # a thousand recipients in To; bounds what is done to each
MAX_OWN_HOPS = 2  # a list of a list sends through us again; what comes back more, loops
MAX_FIELDS = 1_000  # each costs parsing, and a signature names it
_STRIPPED_BY_SOME = (b"\x0b", b"\x0c")


def read_header(content: bytes) -> HeaderBlock:
    """Return the header of `content`; raise Reject when any parser might differ, or when
    it is so large that every step would be slow for others."""
    end = content.find(b"\r\n\r\n", 0, MAX_HEADER_OCTETS)
    if end < 0 and len(content) > MAX_HEADER_OCTETS and content[:2] != b"\r\n":
        raise Reject(replies.large_header(MAX_HEADER_OCTETS, MAX_FIELDS))
    try:
        header = HeaderBlock.parse(content)
    except FormatError as error:
        raise Reject(replies.bad_header(str(error))) from error
    if len(header.fields) > MAX_FIELDS:
        raise Reject(replies.large_header(MAX_HEADER_OCTETS, MAX_FIELDS))
    # At a value's end verifiers differ on whether they belong to it (RFC 6376 §3.4.2).
    if any(content.find(one, 0, header.body_start) >= 0 for one in _STRIPPED_BY_SOME):
        raise Reject(replies.ODD_SPACE)
    return header


def read_author(header: HeaderBlock, *, smtputf8: bool) -> Mailbox:
    """Return the one mailbox of the one From field, or raise Reject."""
    fields = header.named(b"from")
    if not fields:
        raise Reject(replies.NO_FROM)
    if len(fields) > 1:
        raise Reject(replies.SEVERAL_FROM)
    return _mailbox(header, fields[0], "From", smtputf8=smtputf8)


def other_names(
    header: HeaderBlock, author: Mailbox, *, smtputf8: bool
) -> tuple[tuple[str, Domain], ...]:
    """Return (field name, domain) of each further domain the message speaks for."""
    found = []
    for field in header.fields:
        label = _IN_SOMEBODYS_NAME.get(field.name)
        if label:
            one = _mailbox(header, field, label, smtputf8=smtputf8)
            if one.domain != author.domain:
                found.append((label, one.domain))
    return tuple(found)


def read_stream(header: HeaderBlock) -> Stream:
    """Return the stream that X-Soboo-Stream names, NO_STREAM where it is not there; raise
    Reject where it names none, or several do. The field does not leave with the message.
    """
    fields = header.named(b"x-soboo-stream")
    if not fields:
        return NO_STREAM
    if len(fields) > 1:
        raise Reject(replies.SEVERAL_STREAMS)
    try:
        return parse_stream(header.value(fields[0]).decode("ascii", "replace").strip())
    except FormatError as error:
        raise Reject(replies.bad_stream(str(error))) from error


def check_hops(header: HeaderBlock, limit: int, host_name: Domain) -> None:
    """Raise Reject when the message went through over `limit` hosts, or too often through
    this one: RFC 5321 §6.3."""
    received = header.named(b"received")
    if len(received) > limit:
        raise Reject(replies.LOOP)
    ours = b" by %b with " % host_name.encode()
    times = sum(header.value(field).startswith(ours) for field in received)
    if times > MAX_OWN_HOPS:
        raise Reject(replies.OWN_LOOP)


def authorised(
    state: DomainState | None, domain: Domain, operator: Operator
) -> DomainState:
    """Return `state` when its domain may send; raise Reject with what to publish.

    A domain that was verified and broke since may: departure holds its mail. One whose
    mode has no way out may not: its mail would wait until it expires.
    """
    if state is None:
        raise Reject(replies.not_yours("From", domain))
    if why := no_way_out(state.settings):
        raise Reject(replies.no_way_out(why))
    if not may_send(state):
        wanted = (
            record
            for record in required_records(state.settings, operator)
            if record.is_required and record.purpose is not Purpose.DMARC
        )
        raise Reject(replies.not_verified(domain, wanted))
    return state


def may_send(state: DomainState) -> bool:
    """Whether ownership was ever proved, or the test harness vouches for it."""
    return state.was_verified or state.settings.assume_verified


def needs_smtputf8(
    header: HeaderBlock, author: Mailbox, recipients: Iterable[Mailbox]
) -> bool:
    """Whether the next hop must offer SMTPUTF8 (RFC 6531 §3.2)."""
    if not header.content.isascii() and not (
        header.content[: header.body_start].isascii()
    ):
        return True
    return not (author.is_ascii and all(one.is_ascii for one in recipients))


def _mailbox(
    header: HeaderBlock, field: Field, label: str, *, smtputf8: bool
) -> Mailbox:
    try:
        return parse_author(header.value(field), smtputf8=smtputf8)
    except FormatError as error:
        raise Reject(replies.bad_author(label, str(error))) from error
