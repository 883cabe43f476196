"""A plain-text message to whoever manages the DNS of a customer's domain. Pure.

It holds what to publish and why, and nothing secret: all of it will be public in DNS.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from textwrap import fill
from typing import Final

from soboo_mta.identity.forms.parts import TTL
from soboo_mta.identity.state import RequiredRecord
from soboo_mta.mail.domain import Domain

_COLUMNS: Final = 78  # RFC 5322 §2.1.1
_DO_NOT = (
    "- Do not change or shorten a value. Copy it as one line.",
    "- Do not let the DNS host add the domain a second time to a name.",
    "- Do not proxy or flatten a CNAME, and put no other record at its name.",
    "- Do not add a second SPF or DMARC record: keep the one that exists.",
    "- Do not remove the records later: mail would stop.",
)


def letter_text(
    records: Iterable[RequiredRecord],
    *,
    domain: Domain,
    operator: Domain,
    page: str | None = None,
    ttl: int = TTL,
    advice: Sequence[str] = (),
    typed_name: Callable[[str], str] = str,
) -> str:
    """Return the message, a subject line first. `page` is the URL of a setup page.

    `advice` are sentences on the domain's DNS host, without full stops, and `typed_name`
    gives a record's name as its form wants it.
    """
    lines = [
        f"Subject: DNS records for mail from {domain}",
        "",
        "Hello,",
        "",
        f"{operator} is to send mail on behalf of {domain}. For receivers to accept it as",
        f"yours, {domain} needs the DNS records below. Please publish them.",
        "",
    ]
    if advice:
        lines += ["Where to enter them:", "", *map(_advised, advice), ""]
    for number, record in enumerate(records, 1):
        lines += [*_record(number, record, ttl, typed_name(record.owner)), ""]
    lines += ["Please:", "", *_DO_NOT, ""]
    lines += [
        f"How it is checked: {operator} reads the records in public DNS. Nothing has to be",
        "sent back, and no password is needed.",
    ]
    if page is not None:
        lines += ["", "What is found, and what still lacks, is shown here:", page]
    return "\n".join(lines) + "\n"


def _advised(sentence: str) -> str:
    return fill(
        f"{sentence[0].upper()}{sentence[1:]}.",
        width=_COLUMNS,
        initial_indent="- ",
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _record(number: int, record: RequiredRecord, ttl: int, typed: str) -> Iterator[str]:
    wish = "" if record.is_required else " (recommended)"
    yield f"Record {number}{wish}: {record.note or record.purpose}"
    yield f"Name:  {record.owner}"
    if typed != record.owner:
        yield f"Typed: {typed}"
    yield f"Type:  {record.kind}"
    yield f"TTL:   {ttl}"
    yield f"Value: {record.value}"
