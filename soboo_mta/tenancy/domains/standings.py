"""How the records and capabilities of sending domains stand, in the store.

Functions over one connection; the caller owns the transaction. What moves them is
`onboarding.watch.states`; rows are written only where something moved.
"""

import json
from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from soboo_mta.identity.standing import (
    Capability,
    Condition,
    Standing,
    subject_of,
    worst,
)
from soboo_mta.identity.state import Fault
from soboo_mta.mail.ids import DomainId
from soboo_mta.store import schema

_domain = schema.sending_domain.c
_standing = schema.domain_standing.c
_CAPABILITIES = tuple(Capability)
_GONE: Standing = Standing.RELEASED


def conditions_of(connection: Connection, domain_id: DomainId) -> tuple[Condition, ...]:
    """Return how each subject of a domain stands: capabilities first, then records by
    name. Empty before the first look."""
    rows = connection.execute(
        select(schema.domain_standing).where(_standing.domain_id == domain_id)
    )
    return tuple(sorted(map(_to_condition, rows), key=_place))


def store_conditions(
    connection: Connection,
    domain_id: DomainId,
    *,
    before: Iterable[Condition],
    after: Iterable[Condition],
) -> None:
    """Store how a domain's subjects stand now. `before` is what `conditions_of` returned
    in this transaction; what is no more in `after` is forgotten."""
    old = {one.subject: one for one in before}
    new = {one.subject: one for one in after}
    if old == new:
        return
    changed = [one for one in new.values() if old.get(one.subject) != one]
    gone = [subject for subject in old if new.get(subject) != old[subject]]
    if gone:
        connection.execute(
            delete(schema.domain_standing).where(
                _standing.domain_id == domain_id,
                _standing.subject.in_([str(subject) for subject in gone]),
            )
        )
    if changed:
        rows = [_values(domain_id, one) for one in changed]
        connection.execute(insert(schema.domain_standing), rows)
    whole = worst(new.values())
    connection.execute(
        update(schema.sending_domain)
        .where(_domain.id == domain_id)
        .values(standing=None if whole is None else whole.value)
    )


def standing_counts(connection: Connection) -> Mapping[Standing, int]:
    """Return how many domains stand so; those not looked at yet are pending. Domains
    that a test harness vouches for are not counted."""
    rows = connection.execute(
        select(_domain.standing, func.count())
        .where(_domain.released_at.is_(None), _domain.assume_verified.is_(False))
        .group_by(_domain.standing)
    )
    # Told as 0: an alert needs something to see.
    counts = dict.fromkeys((one for one in Standing if one is not _GONE), 0)
    for standing, number in rows:
        counts[Standing(standing or Standing.PENDING)] += number
    return counts


def _place(condition: Condition) -> tuple[int, str]:
    subject = condition.subject
    if isinstance(subject, Capability):
        return _CAPABILITIES.index(subject), ""
    return len(_CAPABILITIES), str(subject)


def _to_condition(row: Row[tuple[object, ...]]) -> Condition:
    one = row._mapping
    return Condition(
        subject=subject_of(one["subject"]),
        standing=Standing(one["standing"]),
        since=one["since"],
        told=Standing(one["told"]),
        is_required=one["is_required"],
        turns=tuple(json.loads(one["turns"])),
        is_flapping=one["is_flapping"],
        cause=one["cause"],
        fault=Fault(one["fault"]),
    )


def _values(domain_id: DomainId, condition: Condition) -> dict[str, object]:
    return {
        "domain_id": domain_id,
        "subject": str(condition.subject),
        "standing": condition.standing.value,
        "since": condition.since,
        "told": condition.told.value,
        "is_required": condition.is_required,
        "turns": json.dumps(condition.turns),
        "is_flapping": condition.is_flapping,
        "cause": condition.cause,
        "fault": condition.fault.value,
    }
