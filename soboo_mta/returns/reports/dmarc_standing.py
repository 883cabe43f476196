"""How a From domain stands by the reports on it, read from the store; and the word that its
policy can be raised, told once.
"""

from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection

from soboo_mta.events.event import EventKind
from soboo_mta.events.reports.alarms import ALWAYS, Alarm, tell
from soboo_mta.events.reports.dmarc import DAY_MS
from soboo_mta.events.reports.dmarc_view import (
    Reports,
    SourceTotal,
    authors_since,
    reports_on,
    sources,
    totals,
)
from soboo_mta.events.reports.domains import set_up
from soboo_mta.events.tally.view import sent_from
from soboo_mta.mail.domain import Domain
from soboo_mta.returns.reports.dmarc_advice import (
    LOOKED_BACK,
    QUIET_DAYS,
    Evidence,
    PolicyAdvice,
    Shares,
    policy_advice,
    shares_of,
)
from soboo_mta.store.writer import Writer
from soboo_mta.tenancy.domains import owner_state


@dataclass(frozen=True, slots=True, kw_only=True)
class DmarcStanding:
    """One From domain by the reports of some days, on which `delivered` recipients got mail
    of it from here; advice rests on LOOKED_BACK days, however many are asked for."""

    author: Domain
    delivered: int
    reports: Reports
    shares: Shares
    sources: tuple[SourceTotal, ...]
    advice: PolicyAdvice


def dmarc_standing(
    connection: Connection, author: Domain, *, today: int, days: int
) -> DmarcStanding:
    """Return how a domain stood in the last `days`; `today` is a unix day."""
    since = today - days
    return DmarcStanding(
        author=author,
        delivered=sent_from(connection, domain=author, first_day=since, last_day=today),
        reports=reports_on(connection, author, since),
        shares=shares_of(totals(connection, author, since)),
        sources=sources(connection, author, since),
        advice=advice_on(connection, author, today=today),
    )


def advice_on(connection: Connection, author: Domain, *, today: int) -> PolicyAdvice:
    """Return whether the domain's policy can be raised, by what DNS last showed of it."""
    since = today - LOOKED_BACK
    recent = shares_of(totals(connection, author, today - QUIET_DAYS))
    return policy_advice(
        Evidence(
            author=author,
            policy=_policy(connection, author),
            reports=reports_on(connection, author, since),
            shares=shares_of(totals(connection, author, since)),
            failed=recent.ours_failed,
            sources=sources(connection, author, since),
        )
    )


async def tell_raisable(writer: Writer, *, since: int, now: int) -> int:
    """Tell of each domain with reports received since then whose policy can be raised and
    of which that was not told; return how many. Times are unix ms. May raise StoreError."""
    told = 0
    for author in await writer.read(partial(authors_since, received_since=since)):
        look = partial(advice_on, author=author, today=now // DAY_MS)
        advice = await writer.read(look)
        if advice.raise_to is not None:
            told += await writer.transact(
                partial(_tell, author=author, advice=advice, now=now)
            )
    return told


def _tell(
    connection: Connection, *, author: Domain, advice: PolicyAdvice, now: int
) -> bool:
    alarm = Alarm(
        kind=EventKind.DMARC_POLICY_CAN_BE_RAISED,
        domain=author,
        subject=str(advice.raise_to),
        day=ALWAYS,
        detail={
            "policy": advice.policy,
            "raise_to": advice.raise_to,
            "because": list(advice.reasons),
        },
    )
    owners = [one.tenant for one in set_up(connection, [author]) if one.is_verified]
    return bool(owners) and tell(connection, alarm, owners, now=now)


def _policy(connection: Connection, author: Domain) -> str:
    """The policy in force by the tree walk, as DNS was last seen; "" where there is none,
    or nobody looked."""
    state = owner_state(connection, author)
    if state is None or state.facts is None or not state.facts.walk.has_record:
        return ""
    return state.facts.walk.policy
