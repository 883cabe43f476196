"""What follows from a failure, a complaint, an unsubscription: an entry, or one more count.

Whose matter a class is decides first: a failure that is charged to the tenant's domain, to
our source or to the content never suppresses a recipient, whatever its rule says follows.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Final

from sqlalchemy import Connection

from soboo_mta.mail.address import Mailbox
from soboo_mta.mail.bounce_class import Charged, Classified, Consequence
from soboo_mta.mail.ids import NO_STREAM, Stream, TenantId
from soboo_mta.tenancy.suppression.changes import raise_generation
from soboo_mta.tenancy.suppression.entry import (
    Evidence,
    SoftRule,
    Suppression,
    SuppressionReason,
    SuppressionRules,
    folded,
)
from soboo_mta.tenancy.suppression.rows import suppress
from soboo_mta.tenancy.suppression.soft import (
    SoftFailure,
    forget_failures,
    keep_failures,
    soft_failures,
)

ACTOR: Final = "relay"
_MAY: Final[Mapping[Consequence, frozenset[Charged]]] = {
    Consequence.SUPPRESS: frozenset((Charged.RECIPIENT,)),
    # A receiver that is in trouble for weeks takes no mail for the recipient either.
    Consequence.COUNT: frozenset((Charged.RECIPIENT, Charged.DESTINATION)),
}


def consequences(
    connection: Connection,
    tenant: TenantId,
    address: Mailbox,
    classified: Classified,
    evidence: Evidence,
    now: int,
    rules: SuppressionRules,
) -> tuple[Suppression, ...]:
    """Do what follows from a failure that is for good (5xx, or reported), and return the
    entries that are new: at most one. `now` is in unix ms."""
    if not concerns_recipient(classified):
        return ()
    evidence = replace(evidence, bounce_class=classified.bounce_class)
    if classified.facts.consequence is Consequence.COUNT:
        if rules.soft is None:
            return ()
        entry = count_soft(connection, tenant, address, now, evidence, rules.soft)
        return () if entry is None else (entry,)
    entry = Suppression(
        tenant=tenant,
        address=address,
        reason=SuppressionReason.INVALID,
        because=classified.facts.says,
        actor=ACTOR,
        since=now,
        evidence=evidence,
        expires_at=_end(now, rules.invalid_lasts),
    )
    return suppress(connection, entry, at=now)


def concerns_recipient(classified: Classified) -> bool:
    """Whether anything follows for the recipient from a failure of this class."""
    facts = classified.facts
    return facts.charged in _MAY.get(facts.consequence, frozenset())


def count_soft(
    connection: Connection,
    tenant: TenantId,
    address: Mailbox,
    at: int,
    evidence: Evidence,
    rule: SoftRule,
) -> Suppression | None:
    """Count one soft failure; return the entry where it was one too many by `rule`.

    A message counts once, however often its failure is told; failures older than the
    rule's time are forgotten. Two who count at once wait for each other, so that the
    limit is reached exactly once.
    """
    raised = raise_generation(connection)
    latest = SoftFailure(at=at, evidence=evidence)
    since = at - rule.within // timedelta(milliseconds=1)
    earlier = soft_failures(connection, tenant, address, since=since)
    if any(latest.is_same(one) for one in earlier):
        return None
    failures = (*earlier, latest)
    if len(failures) < rule.limit:
        keep_failures(connection, tenant, address, failures, raised=raised)
        return None
    forget_failures(connection, tenant, folded(address))
    entry = Suppression(
        tenant=tenant,
        address=address,
        reason=SuppressionReason.SOFT_BOUNCES,
        because=f"{len(failures)} soft failures within {rule.within.days}d",
        actor=ACTOR,
        since=at,
        evidence=replace(evidence, failures=tuple(one.at for one in failures)),
        expires_at=_end(at, rule.lasts),
    )
    return entry if suppress(connection, entry, at=at) else None


def complained(
    connection: Connection,
    tenant: TenantId,
    address: Mailbox,
    evidence: Evidence,
    now: int,
) -> tuple[Suppression, ...]:
    """Suppress a recipient that called the tenant's mail spam: for all streams and for
    ever. Returns the entry where it is new."""
    return _asked_for(
        connection,
        Suppression(
            tenant=tenant,
            address=address,
            reason=SuppressionReason.COMPLAINT,
            because="the recipient complained of spam",
            actor=ACTOR,
            since=now,
            evidence=evidence,
        ),
    )


def unsubscribed(
    connection: Connection,
    tenant: TenantId,
    stream: Stream,
    address: Mailbox,
    evidence: Evidence,
    now: int,
) -> tuple[Suppression, ...]:
    """Suppress a recipient that wants no more of one stream (NO_STREAM: of all), for
    ever. Returns the entry where it is new."""
    what = "all mail" if stream == NO_STREAM else stream
    return _asked_for(
        connection,
        Suppression(
            tenant=tenant,
            address=address,
            reason=SuppressionReason.UNSUBSCRIBE,
            because=f"the recipient unsubscribed from {what}",
            actor=ACTOR,
            since=now,
            stream=stream,
            evidence=evidence,
        ),
    )


def _asked_for(connection: Connection, entry: Suppression) -> tuple[Suppression, ...]:
    return suppress(connection, entry, at=entry.since)


def _end(now: int, lasts: timedelta | None) -> int | None:
    return None if lasts is None else now + lasts // timedelta(milliseconds=1)
