"""One look at a domain becomes its rows and its events, in one transaction.

The monitor and `domain verify` keep what they saw in the same way. What is told moves by
`onboarding.watch.states`; what departs does not wait for it.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from sqlalchemy import Connection

from soboo_mta.events.event import EventKind, recorded
from soboo_mta.events.log import EventLog
from soboo_mta.identity.standing import Capability, Condition
from soboo_mta.identity.state import DomainSettings
from soboo_mta.onboarding.watch.assessment import Assessment, Before, assess
from soboo_mta.onboarding.watch.monitor import Observation
from soboo_mta.onboarding.watch.readings import Seen
from soboo_mta.onboarding.watch.states import Move, News, Timers
from soboo_mta.store.unit import perform
from soboo_mta.tenancy.domains import (
    conditions_of,
    postpone_check,
    store_check,
    store_conditions,
    view_of,
)

_MS = timedelta(milliseconds=1)
KINDS = {
    News.VERIFIED: EventKind.CAPABILITY_VERIFIED,
    News.STALLED: EventKind.DOMAIN_STALLED,
    News.AT_RISK: EventKind.DOMAIN_AT_RISK,
    News.BROKEN: EventKind.DOMAIN_BROKEN,
    News.RECOVERED: EventKind.DOMAIN_RECOVERED,
    News.FLAPPING: EventKind.DOMAIN_FLAPPING,
}
"""Which event tells the news of a capability."""
_GLAD = (News.VERIFIED, News.RECOVERED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What one look came to. `changes` are phrases about what departs; `moves` what is
    told of how things stand; `conditions` how they do now."""

    settings: DomainSettings
    verified: bool  # ownership was proved just now
    changes: tuple[str, ...]
    next_check_at: int  # unix ms
    moves: tuple[Move, ...] = ()
    conditions: tuple[Condition, ...] = ()

    @property
    def kind(self) -> EventKind | None:
        """What is said of departures; None: nothing has changed."""
        if self.verified:
            return EventKind.DOMAIN_VERIFIED
        return EventKind.DOMAIN_CHANGED if self.changes else None

    @property
    def is_flapping(self) -> bool:
        return any(one.is_flapping for one in self.conditions)


def keep_look(
    connection: Connection,
    observation: Observation,
    *,
    timers: Timers,
    now: int,
    actor: str,
) -> Kept | None:
    """Store one look, and an event for what it proved, changed and moved; return it, or
    None where the domain was released meanwhile."""
    domain_id, result = observation.domain_id, observation.result
    view = view_of(connection, domain_id)
    if view is None:
        return None
    before = Before(
        conditions=conditions_of(connection, domain_id),
        checks=observation.before,
        facts=view.state.facts,
        was_owner=view.verified_at is not None,
    )
    verified = store_check(
        connection,
        domain_id,
        checks=result.checks,
        facts=result.facts,
        owned=result.owned,
        next_check_at=result.next_check_at,
        changed=observation.changed,
        now=now,
    )
    kept = Kept(
        settings=view.settings,
        verified=verified,
        changes=observation.changes,
        next_check_at=result.next_check_at,
    )
    if not view.settings.assume_verified:  # a test harness says how it stands
        seen = Seen(
            settings=view.settings,
            checks=result.checks,
            facts=result.facts,
            owned=result.owned,
            is_owner=result.owned and (before.was_owner or verified),
            reports=result.reports,
        )
        found = assess(before, seen, timers, now=now)
        kept = _stood(kept, found, now=now, forgets_at=result.forgets_at)
        if kept.next_check_at != result.next_check_at:
            postpone_check(connection, domain_id, kept.next_check_at)
        store_conditions(
            connection, domain_id, before=before.conditions, after=kept.conditions
        )
    _record(connection, kept, now=now, actor=actor)
    return kept


def say_kept(log: EventLog, kept: Kept) -> None:
    """Write the log's lines about a look that is committed."""
    settings = kept.settings
    if kept.kind is not None:
        log.domain_changed(
            settings.name,
            settings.domain_id,
            kept.kind.value,
            "; ".join(kept.changes),
        )
    for kind, moves in _by_kind(kept.moves).items():
        is_glad = all(move.news in _GLAD for move in moves)
        say = log.domain_mended if is_glad else log.domain_trouble
        lines = [move_text(_values(move)) for move in moves]
        say(settings.name, settings.domain_id, kind.value, lines)


def move_text(values: Mapping[str, object]) -> str:
    """Return a move, as an event's detail has it, as a line: can_sign: verified →
    at-risk: why."""
    line = f"{values['what']}: {values['from']} → {values['to']}"
    if values["news"] == News.FLAPPING:
        line = f"{values['what']}: flapping, now {values['to']}"
    return f"{line}: {values['why']}" if values["why"] else line


def _stood(kept: Kept, found: Assessment, *, now: int, forgets_at: int) -> Kept:
    next_check_at = kept.next_check_at
    if found.wait is not None:
        next_check_at = min(now + found.wait // _MS, forgets_at)
    return replace(
        kept,
        moves=found.moves,
        conditions=found.conditions,
        next_check_at=next_check_at,
    )


def _record(connection: Connection, kept: Kept, *, now: int, actor: str) -> None:
    """Note one event a kind: what broke together is told together."""
    told: list[tuple[EventKind, dict[str, object]]] = []
    # While something flaps the log alone has each change of what departs.
    if kept.kind is not None and (kept.verified or not kept.is_flapping):
        told.append((kept.kind, {"changes": list(kept.changes)}))
    for kind, moves in _by_kind(kept.moves).items():
        told.append((kind, {"moves": [_values(move) for move in moves]}))
    for kind, detail in told:
        perform(
            connection,
            recorded(
                kind,
                at=now,
                actor=actor,
                tenant=kept.settings.tenant,
                domain=kept.settings.name,
                detail=detail,
            ),
        )


def _by_kind(moves: Iterable[Move]) -> dict[EventKind, list[Move]]:
    found: defaultdict[EventKind, list[Move]] = defaultdict(list)
    for move in moves:
        is_capability = isinstance(move.subject, Capability)
        kind = KINDS[move.news] if is_capability else EventKind.RECORD_CHANGED
        found[kind].append(move)
    return dict(found)


def _values(move: Move) -> dict[str, object]:
    return {
        "what": str(move.subject),
        "news": move.news,
        "from": move.before,
        "to": move.after,
        "required": move.is_required,
        "why": move.cause,
        "fault": move.fault,
    }
