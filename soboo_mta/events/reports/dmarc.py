"""The figures of DMARC aggregate reports in the store: each report counted once, bounded by
domain and day, swept.

Functions over one connection; the caller owns the transaction. What a row is about is
decided above; nothing here believes or doubts a report but for the name it is kept under.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from functools import partial
from typing import Final

from sqlalchemy import (
    BindParameter,
    Connection,
    bindparam,
    delete,
    func,
    insert,
    select,
)
from sqlalchemy.dialects.postgresql import insert as insert_or

from soboo_mta.events.reports.alarms import forget_told
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.store.schema import dmarc_report, dmarc_row, dmarc_signed
from soboo_mta.store.writer import Writer

DAY_MS: Final = 86_400_000
PROVED_A_DAY: Final = 500  # reports on one domain that are counted of one day
OF_ONE_SENDER: Final = 48  # of them: two an hour; nobody fills a domain's day alone
UNPROVED_A_DAY: Final = 20  # are kept to be shown
LEAST_KEPT: Final = timedelta(days=40)  # advice looks back on 30 days
_SWEPT_AT_ONCE: Final = 100  # reports
_SWEPT_ROWS: Final = 1_000  # with them: others wait meanwhile

Signature = tuple[Domain, DnsName]
"""d= and selector."""


class Whose(StrEnum):
    """Whose messages a row counts; the CLI shows these words."""

    OURS = "ours"  # they came from an address of ours
    FORWARDED = "forwarded"  # from elsewhere, with a signature of ours that passes
    OTHER = "other"  # neither
    REST = "rest"  # rows over the bound, together


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """`messages` from one address with one result. `dkim` and `spf` are DMARC's verdicts:
    passed and aligned. `source` "": of several. `signed` are the signatures of ours that
    passed; `dkim_domain` and `spf_domain` what passed, whosever, "" where nothing did."""

    whose: Whose
    source: str
    author: Domain
    dkim: bool
    spf: bool
    messages: int
    disposition: str = ""
    signed: tuple[Signature, ...] = ()
    dkim_domain: str = ""
    spf_domain: str = ""

    @property
    def passes(self) -> bool:
        return self.dkim or self.spf


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedCount:
    """Messages of one From domain on which one signature of ours passed; `elsewhere` are
    those of them that did not come from our addresses."""

    author: Domain
    signature: Signature
    messages: int
    elsewhere: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedReport:
    """One report as it is kept. `sender` None: nobody is proved to have sent it. Days are
    unix days, UTC; `received_at` is unix ms."""

    returned_id: int
    received_at: int
    domain: Domain
    sender: Domain | None
    reporter: str
    report_id: str
    first_day: int
    last_day: int
    left_out: int = 0
    figures: tuple[Figure, ...] = ()
    signed: tuple[SignedCount, ...] = ()

    @property
    def key(self) -> str:
        """What it is known by. Its sender is part of it: a forged report cannot take the
        place of the one it forges; so is its day, for some give one id to all."""
        named = (self.reporter, self.report_id, self.domain)
        text = "\0".join((self.sender or "", *named, str(self.first_day))).encode(
            errors="surrogatepass"
        )
        return hashlib.blake2b(text, digest_size=16).hexdigest()


def keep_report(connection: Connection, one: CountedReport) -> bool:
    """Keep a report's figures; False where it was counted before, or the domain's day is
    full."""
    if _is_full(connection, one):
        return False
    row = {
        "key": one.key,
        "returned_id": one.returned_id,
        "received_at": one.received_at,
        "domain": one.domain,
        "sender": one.sender or "",
        "reporter": one.reporter,
        "first_day": one.first_day,
        "last_day": one.last_day,
        "left_out": one.left_out,
        "size": len(one.figures) + len(one.signed),
    }
    this = connection.execute(_KEEP, row).scalar_one_or_none()
    if this is None:
        return False
    if one.figures:
        rows = [_row(this, n, one, figure) for n, figure in enumerate(one.figures)]
        connection.execute(insert(dmarc_row), rows)
    if one.signed:
        connection.execute(
            insert(dmarc_signed), [_signed(this, one, count) for count in one.signed]
        )
    return True


def written(signatures: Iterable[Signature]) -> str:
    """Return signatures as DNS names their keys, with blanks between."""
    return " ".join(
        f"{selector}._domainkey.{domain}" for domain, selector in signatures
    )


async def sweep_dmarc(writer: Writer, *, keep: timedelta, now: int) -> int:
    """Delete the figures of reports received longer ago than `keep`, LEAST_KEPT at least,
    and the notes of what was told then, in small transactions; return the rows. May raise
    StoreError."""
    before = now - max(keep, LEAST_KEPT) // timedelta(milliseconds=1)
    total = 0
    for piece in (
        partial(drop_reports, before=before),
        partial(forget_told, before=before),
    ):
        while gone := await writer.transact(piece):
            total += gone
    return total


def drop_reports(connection: Connection, *, before: int) -> int:
    """Delete one transaction's worth of reports received before `before` (unix ms);
    return the rows, 0 when done."""
    found: list[int] = []
    rows = 0
    for row in connection.execute(_OLD, {"before": before}):
        rows += row.size
        if found and rows > _SWEPT_ROWS:
            break
        found.append(row.id)
    if not found:
        return 0
    return sum(connection.execute(one, {"ids": found}).rowcount for one in _DROP)


def _is_full(connection: Connection, one: CountedReport) -> bool:
    whose = {
        "domain": one.domain,
        "since": one.received_at // DAY_MS * DAY_MS,
        "until": one.received_at // DAY_MS * DAY_MS + DAY_MS,
    }
    rows = connection.execute(_THAT_DAY, whose)
    by_sender = {row.sender: int(row.number) for row in rows}
    if one.sender is None:
        return by_sender.get("", 0) >= UNPROVED_A_DAY
    proved = sum(number for sender, number in by_sender.items() if sender)
    return proved >= PROVED_A_DAY or by_sender.get(one.sender, 0) >= OF_ONE_SENDER


def _row(
    this: int, number: int, one: CountedReport, figure: Figure
) -> dict[str, object]:
    return {
        "report": this,
        "number": number,
        "author": figure.author,
        "day": one.first_day,
        "whose": figure.whose.value,
        "source": figure.source,
        "dkim": figure.dkim,
        "spf": figure.spf,
        "disposition": figure.disposition,
        "signed": written(figure.signed),
        "dkim_domain": figure.dkim_domain,
        "spf_domain": figure.spf_domain,
        "messages": figure.messages,
    }


def _signed(this: int, one: CountedReport, count: SignedCount) -> dict[str, object]:
    domain, selector = count.signature
    return {
        "report": this,
        "author": count.author,
        "domain": domain,
        "selector": selector,
        "day": one.first_day,
        "messages": count.messages,
        "elsewhere": count.elsewhere,
    }


_KEEP = (
    insert_or(dmarc_report)
    .on_conflict_do_nothing(index_elements=["key"])
    .returning(dmarc_report.c.id)
)
_THAT_DAY = (
    select(dmarc_report.c.sender, func.count().label("number"))
    .where(
        dmarc_report.c.domain == bindparam("domain"),
        dmarc_report.c.received_at >= bindparam("since"),
        dmarc_report.c.received_at < bindparam("until"),
    )
    .group_by(dmarc_report.c.sender)
)
_OLD = (
    select(dmarc_report.c.id, dmarc_report.c.size)
    .where(dmarc_report.c.received_at < bindparam("before"))
    .order_by(dmarc_report.c.received_at)
    .limit(_SWEPT_AT_ONCE)
)
_ids: BindParameter[int] = bindparam("ids", expanding=True)
_DROP = (
    delete(dmarc_row).where(dmarc_row.c.report.in_(_ids)),
    delete(dmarc_signed).where(dmarc_signed.c.report.in_(_ids)),
    delete(dmarc_report).where(dmarc_report.c.id.in_(_ids)),
)
