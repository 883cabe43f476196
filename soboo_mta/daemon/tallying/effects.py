"""Carries out how a standing moved: told, slowed, held, or let go again."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from sqlalchemy import Connection

from soboo_mta.events.event import EventKind, recorded
from soboo_mta.events.log import EventLog
from soboo_mta.events.tally.standings import (
    Level,
    Scope,
    Standing,
    Subject,
    keep_standing,
)
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.ids import DomainId
from soboo_mta.mail.outcome import Reason
from soboo_mta.ports import Clock
from soboo_mta.returns.complaints import Move, said
from soboo_mta.spool.operator.lines import crooked, forget_line, hasten, in_line
from soboo_mta.spool.operator.moves import (
    PIECE,
    close_gate,
    open_gate,
    release_behind,
)
from soboo_mta.spool.operator.orders import HoldScope, Slowed, StandingHold
from soboo_mta.store.unit import perform
from soboo_mta.store.writer import Writer
from soboo_mta.tenancy.domains.rows import view_of

ACTOR = "complaints"
_NOTED_AT_ONCE = 200
_SCOPES = {Scope.TENANT: HoldScope.TENANT, Scope.DOMAIN: HoldScope.DOMAIN}


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """See the module."""

    writer: Writer
    clock: Clock
    log: EventLog
    step: timedelta
    """Between two turns of those that are slowed."""

    async def carry_out(self, move: Move) -> None:
        """Keep a standing whose level changed, tell of it, hold or let go.

        Gate, standing and event are one transaction; what waited is made due in small ones
        after it. A worker that has not read of it yet obeys within its next look.
        """
        subject, now = move.now.subject, self.clock.unix_ms()
        domain = await self.writer.read(lambda at: domain_of(at, subject))
        words = said(move.now, {} if domain is None else {subject: str(domain)})
        await self.writer.transact(lambda at: _keep(at, move, domain, words, now))
        self.log.complaints_moved(
            subject.scope,
            subject.name if domain is None else str(domain),
            tenant=subject.tenant,
            level=move.now.level,
            before=move.before,
            complaints=move.now.complaints,
            delivered=move.now.delivered,
        )
        await self._let_go(move, now)

    async def note(self, standings: Sequence[Standing]) -> None:
        """Keep the numbers of standings whose level stays, many in a transaction: all of
        them change with every delivery."""
        now = self.clock.unix_ms()
        for start in range(0, len(standings), _NOTED_AT_ONCE):
            some = standings[start : start + _NOTED_AT_ONCE]
            await self.writer.transact(partial(_note, some=some, now=now))

    async def _let_go(self, move: Move, now: int) -> None:
        scope, name = _SCOPES.get(move.now.subject.scope), move.now.subject.name
        if scope is None:
            return
        if move.before is Level.HOLD:
            while await self.writer.transact(
                lambda at: release_behind(at, scope, name, now)
            ):
                continue
        if move.before is Level.SLOW:
            await self._hasten(Slowed(scope, name), now)

    async def _hasten(self, slowed: Slowed, now: int) -> None:
        look = partial(in_line, slowed=slowed)
        places = await self.writer.read(look)
        while places:
            for start in range(0, len(places), PIECE):
                some = places[start : start + PIECE]
                await self.writer.transact(partial(hasten, places=some, now=now))
            places = await self.writer.read(partial(look, after=places[-1]))

    async def straighten(self) -> None:
        """Let go what a worker put in a line that is over, and begin lines anew that are
        longer than who waits there needs: its mail was cancelled, or the clock that turns
        are leased by began anew."""
        step, now = self.step // timedelta(microseconds=1), self.clock.unix_ms()
        found = await self.writer.read(lambda at: crooked(at, self.clock, step=step))
        for slowed in (*found.over, *found.too_long):
            await self.writer.transact(partial(forget_line, slowed=slowed))
            await self._hasten(slowed, now)


def domain_of(connection: Connection, subject: Subject) -> Domain | None:
    """Return the domain that a subject of scope DOMAIN is; None once it is gone."""
    if subject.scope is not Scope.DOMAIN:
        return None
    view = view_of(connection, DomainId(int(subject.name)))
    return None if view is None else view.settings.name


def _note(at: Connection, *, some: Sequence[Standing], now: int) -> None:
    for one in some:
        keep_standing(at, one, now=now)


def _keep(
    at: Connection, move: Move, domain: Domain | None, words: str, now: int
) -> None:
    keep_standing(at, move.now, now=now)
    if move.before is Level.SLOW:
        forget_line(at, Slowed(_SCOPES[move.now.subject.scope], move.now.subject.name))
    _move_gate(at, move, words)
    rose = move.now.level.rank > move.before.rank
    event = recorded(
        EventKind.COMPLAINTS_ROSE if rose else EventKind.COMPLAINTS_FELL,
        at=now,
        actor=ACTOR,
        tenant=move.now.subject.tenant,
        domain=domain,
        detail={**_figures(move.now), "before": move.before.value, "text": words},
    )
    perform(at, event)


def _move_gate(at: Connection, move: Move, words: str) -> None:
    scope, subject = _SCOPES.get(move.now.subject.scope), move.now.subject
    if scope is None:
        return
    if move.now.level is Level.HOLD:
        hold = StandingHold(
            scope=scope,
            subject=subject.name,
            explanation=words,
            since=move.now.since,
            reason=Reason.COMPLAINTS,
        )
        close_gate(at, hold)
    else:
        open_gate(at, scope, subject.name, reason=Reason.COMPLAINTS)


def _figures(standing: Standing) -> dict[str, object]:
    return {
        "scope": standing.subject.scope.value,
        "subject": standing.subject.name,
        "level": standing.level.value,
        "complaints": standing.complaints,
        "delivered": standing.delivered,
    }
