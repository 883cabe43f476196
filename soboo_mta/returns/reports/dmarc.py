"""A DMARC aggregate report (RFC 9990, RFC 7489 appendix C) joined with what is ours: by the
address mail came from, and by the signature on it. Pure.

OURS: from an address of one of our egress sources. FORWARDED: from elsewhere, and DKIM
passes with a key of ours: a forwarder, or a replay. OTHER: neither. No message is lost in
merging: rows over the bound are summed, those that pass apart from those that fail.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Final

from soboo_mta.events.reports.dmarc import Figure, Signature, SignedCount, Whose
from soboo_mta.formats.authentication import Authentication, Result
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.mail.returned import DmarcReport, DmarcRow
from soboo_mta.ports import IpAddress

MAX_FIGURES: Final = 500  # of one report; what is over them is summed
MAX_SIGNED: Final = (
    30  # (From domain, signature) pairs of one report: each is looked up
)
MAX_SPAN: Final = 32  # days of one report: some tell of a month
OLDEST: Final = 60  # days before it came that a report may begin
_PASS: Final = "pass"  # noqa: S105 - a verdict, not a password
_DISPOSITIONS: Final = ("none", "quarantine", "reject", "pass")
_LONGEST_SOURCE: Final = 45  # characters: an IPv6 address's
_TOLERANCE: Final = 0.01  # of what was sent: counts of others are not exact
_TOLERATED: Final = 10  # messages besides, for small numbers
_SHOWN_RESULTS: Final = 5
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_A_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ours:
    """What is ours: addresses mail leaves from, as receivers see them; signatures; the From
    domains that are set up and verified here."""

    addresses: frozenset[IpAddress]
    signatures: frozenset[Signature]
    authors: frozenset[Domain]


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """Mail from our own addresses that fails DMARC: of the heaviest source, with DKIM's and
    SPF's results as reported; `messages` of all sources."""

    author: Domain
    source: str
    messages: int
    dkim: str
    spf: str


# ---- what a report may count


def proven_sender(proved: Authentication | None) -> Domain | None:
    """Return the From domain of a report's mail where it is proved: DMARC passes; or its
    domain has no DMARC record, and SPF or DKIM passes for exactly that domain."""
    if proved is None or proved.dmarc.author is None:
        return None
    author = proved.dmarc.author
    if proved.dmarc.result is Result.PASS:
        return author
    is_silent = proved.dmarc.result is Result.NONE
    return author if is_silent and author in proved.authentic_domains else None


def days_of(report: DmarcReport) -> tuple[int, int]:
    """Return the first and the last unix day (UTC) that a report touches. Its end is its
    last second, or the first one after it."""
    first = (report.begin - _EPOCH) // _A_DAY
    last = (report.end - _EPOCH - timedelta(seconds=1)) // _A_DAY
    return first, max(first, last)


def is_timely(report: DmarcReport, today: int) -> bool:
    """Whether a report tells of some days not long ago; `today` is a unix day."""
    first, last = days_of(report)
    return today - OLDEST <= first <= today + 1 and last - first < MAX_SPAN


def day_text(day: int) -> str:
    """Return a unix day as people write it: 2026-11-29."""
    return (date(1970, 1, 1) + timedelta(days=day)).isoformat()


# ---- the join


def author_of(row: DmarcRow, domain: Domain) -> Domain | None:
    """Return a row's From domain: the report's, or one below it; None for another's."""
    found = _domain(row.header_from)
    if found is None or not (found == domain or found.is_below(domain)):
        return None
    return found


def authors_of(report: DmarcReport, domain: Domain) -> tuple[Domain, ...]:
    """Return the From domains of a report, those of most messages first."""
    counts: defaultdict[Domain, int] = defaultdict(int)
    for row in report.rows:
        author = author_of(row, domain)
        if author is not None:
            counts[author] += row.count
    return tuple(sorted(counts, key=lambda one: (-counts[one], one)))


def joined(report: DmarcReport, domain: Domain, ours: Ours) -> tuple[Figure, ...]:
    """Return a figure for each row. A row with another's From domain is of the rest."""
    return tuple(_joined(row, domain, ours) for row in report.rows)


def merged(
    figures: Iterable[Figure], domain: Domain, limit: int = MAX_FIGURES
) -> tuple[Figure, ...]:
    """Return figures with equal ones summed, the heaviest first, those of ours that fail
    before all; what is over `limit` is at most two figures more, charged to `domain`."""
    heaviest: dict[tuple[object, ...], Figure] = {}  # it names what passed
    messages: defaultdict[tuple[object, ...], int] = defaultdict(int)
    for one in figures:
        verdicts = (one.dkim, one.spf, one.disposition)
        key = (one.whose, one.source, one.author, verdicts, one.signed)
        known = heaviest.setdefault(key, one)
        if one.messages > known.messages:
            heaviest[key] = one
        messages[key] += one.messages
    sums = [replace(one, messages=messages[key]) for key, one in heaviest.items()]
    rest = [one for one in sums if one.whose is Whose.REST]
    named = [one for one in sums if one.whose is not Whose.REST]
    named.sort(key=lambda one: (not _is_incident(one), -one.messages, one.source))
    return (*named[:limit], *_summed((*rest, *named[limit:]), domain))


def signed_counts(
    figures: Iterable[Figure], authors: Collection[Domain]
) -> tuple[SignedCount, ...]:
    """Return how often each signature of ours passed, by From domain of ours; MAX_SIGNED,
    those of most messages."""
    messages: defaultdict[tuple[Domain, Signature], int] = defaultdict(int)
    elsewhere: defaultdict[tuple[Domain, Signature], int] = defaultdict(int)
    for one in figures:
        for signature in one.signed if one.author in authors else ():
            messages[one.author, signature] += one.messages
            if one.whose is not Whose.OURS:
                elsewhere[one.author, signature] += one.messages
    heaviest = sorted(messages, key=lambda key: (-messages[key], key))[:MAX_SIGNED]
    return tuple(
        SignedCount(
            author=author,
            signature=signature,
            messages=messages[author, signature],
            elsewhere=elsewhere[author, signature],
        )
        for author, signature in heaviest
    )


def incidents(
    report: DmarcReport, figures: Sequence[Figure], authors: Collection[Domain]
) -> tuple[Incident, ...]:
    """Return what of ours fails, one for each From domain of ours. `figures` are `joined`'s,
    one for each row."""
    failed: defaultdict[Domain, list[tuple[Figure, DmarcRow]]] = defaultdict(list)
    for one, row in zip(figures, report.rows, strict=True):
        if _is_incident(one) and one.author in authors:
            failed[one.author].append((one, row))
    return tuple(_incident(author, failed[author]) for author in sorted(failed))


def is_replay(reported: int, sent: int) -> bool:
    """Whether more messages are reported with a signature than were delivered with it."""
    return reported > sent * (1 + _TOLERANCE) + _TOLERATED


# ---- one row


def _joined(row: DmarcRow, domain: Domain, ours: Ours) -> Figure:
    author = author_of(row, domain)
    address = _address(row.source_ip)
    passed = [
        (Domain(one.domain), DnsName(one.selector.lower()))
        for one in row.dkim_results
        if one.result == _PASS
    ]
    signed = tuple(sorted({one for one in passed if one in ours.signatures}))
    if author is None:
        whose = Whose.REST
    elif address in ours.addresses:
        whose = Whose.OURS
    else:
        whose = Whose.FORWARDED if signed else Whose.OTHER
    return Figure(
        whose=whose,
        source=str(address or row.source_ip[:_LONGEST_SOURCE]),
        author=author or domain,
        dkim=row.dkim == _PASS,
        spf=row.spf == _PASS,
        messages=row.count,
        disposition=row.disposition if row.disposition in _DISPOSITIONS else "",
        signed=signed if author is not None else (),
        dkim_domain=_name(next((str(one) for one, _ in passed), "")),
        spf_domain=_name(row.spf_domain if row.spf_result == _PASS else ""),
    )


def _address(text: str) -> IpAddress | None:
    try:
        found = ip_address(text)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found


@lru_cache(maxsize=1_024)  # rows repeat names, and all are read under the writers' lock
def _domain(text: str) -> Domain | None:
    return Domain.parse_or_none(text)


def _name(text: str) -> str:
    return _domain(text) or "" if text else ""


def _is_incident(one: Figure) -> bool:
    return one.whose is Whose.OURS and not one.passes


def _incident(author: Domain, rows: Sequence[tuple[Figure, DmarcRow]]) -> Incident:
    figure, row = max(rows, key=lambda one: one[0].messages)
    return Incident(
        author=author,
        source=figure.source,
        messages=sum(one.messages for one, _ in rows),
        dkim=", ".join(_dkim_results(row)) or "none",
        spf=f"{row.spf_result or 'none'} {row.spf_domain}".strip(),
    )


def _dkim_results(row: DmarcRow) -> Iterator[str]:
    for one in row.dkim_results[:_SHOWN_RESULTS]:
        selector = f" s={one.selector}" if one.selector else ""
        yield f"{one.result or 'none'} d={one.domain}{selector}"


def _summed(figures: Iterable[Figure], domain: Domain) -> Iterator[Figure]:
    """At most one figure for what passes and one for what fails."""
    rest: dict[bool, Figure] = {}
    for one in figures:
        known = rest.get(one.passes)
        rest[one.passes] = Figure(
            whose=Whose.REST,
            source="",
            author=domain,
            dkim=one.passes,
            spf=False,
            messages=one.messages + (0 if known is None else known.messages),
        )
    yield from rest.values()
