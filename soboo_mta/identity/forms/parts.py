"""What the forms share: the TTL they ask for, MX values in parts, which records are only a
suggestion, and which are no zone's to hold. Pure."""

from typing import Final

from soboo_mta.identity.dmarc import Suffixes
from soboo_mta.identity.state import Purpose, RequiredRecord
from soboo_mta.mail.domain import Domain
from soboo_mta.ports import RecordType

TTL: Final = 3_600  # seconds: an hour, so that a mistake is soon mended


def mx_parts(record: RequiredRecord) -> tuple[int, str]:
    """Return preference and host (with its final dot) of an MX record's value."""
    preference, host = record.value.split(" ", 1)
    return int(preference), host


def may_exist(record: RequiredRecord) -> bool:
    """Whether the domain may well have its own record of the kind, which is to be kept: a
    tool that adds ours beside it would break both."""
    return not record.is_required and record.purpose in (Purpose.SPF, Purpose.DMARC)


def is_at_registrar(record: RequiredRecord, suffixes: Suffixes) -> bool:
    """Whether it is a name server of a registered domain: that is told to the registrar,
    and as a record of the domain's own zone it would change nothing, or break it."""
    if record.kind is not RecordType.NS:
        return False
    return suffixes.organizational_domain(Domain(record.owner)) == record.owner
