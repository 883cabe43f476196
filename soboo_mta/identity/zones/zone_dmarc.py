"""The DMARC record of a delegated zone that is the From domain itself: the one there was.

Pure. A delegation takes the customer's record away with all else: what it said goes on,
no weaker. Where it had none and one above applied, none is published, for that goes on
applying (RFC 9989 §4.10).
"""

from soboo_mta.identity.dmarc import (
    DmarcRecord,
    Texts,
    names_to_ask,
    parse_record,
    record_at,
    record_texts,
)
from soboo_mta.mail.domain import DnsName
from soboo_mta.mail.errors import FormatError

NO_POLICY = "v=DMARC1; p=none"
_MAX_OCTETS = 1_024


def kept_record(text: str) -> str:
    """Return the record as the zone is to say it: as it is, less psd=, which would move
    the Organizational Domain (RFC 9989 §4.10.2). Raises FormatError where it is none."""
    if len(text) > _MAX_OCTETS or not (text.isascii() and text.isprintable()):
        raise FormatError(f"a DMARC record is at most {_MAX_OCTETS} printable ASCII")
    if parse_record(text) is None:
        raise FormatError(
            f"{text[:60]!r} is no DMARC record: it begins with v=DMARC1; and says p=none,"
            " p=quarantine or p=reject"
        )
    tags = [one.strip() for one in text.split(";") if one.strip()]
    return "; ".join(one for one in tags if not _is_psd(one))


def record_to_keep(zone: DnsName, texts: Texts) -> str:
    """Return what the zone is to say, "" for nothing; `texts` holds the TXT of every name
    of `names_to_ask(zone)` as they were before the delegation.

    A record that receivers pass over (one of several, one without p=) counts as none.
    """
    own, *above = names_to_ask(zone)
    record = record_at(texts.get(own, ()))
    if record is not None:
        (text,) = record_texts(texts[own])
        try:
            return kept_record(text)
        except FormatError:  # it applies, but can't be said again as it is
            return _in_short(record)
    is_covered = any(record_at(texts.get(one, ())) for one in above)
    return "" if is_covered else NO_POLICY


def _in_short(record: DmarcRecord) -> str:
    """A record that is no weaker, without its further tags."""
    return (
        f"v=DMARC1; p={record.policy}; sp={record.subdomain_policy};"
        f" adkim={record.dkim}; aspf={record.spf}"
    )


def _is_psd(tag: str) -> bool:
    return tag.partition("=")[0].strip().lower() == "psd"
