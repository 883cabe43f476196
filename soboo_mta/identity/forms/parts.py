"""What the forms share: the TTL they ask for, MX values in parts, and which records are
only a suggestion. Pure."""

from typing import Final

from soboo_mta.identity.state import Purpose, RequiredRecord

TTL: Final = 3_600  # seconds: an hour, so that a mistake is soon mended


def mx_parts(record: RequiredRecord) -> tuple[int, str]:
    """Return preference and host (with its final dot) of an MX record's value."""
    preference, host = record.value.split(" ", 1)
    return int(preference), host


def may_exist(record: RequiredRecord) -> bool:
    """Whether the domain may well have its own record of the kind, which is to be kept: a
    tool that adds ours beside it would break both."""
    return not record.is_required and record.purpose in (Purpose.SPF, Purpose.DMARC)
