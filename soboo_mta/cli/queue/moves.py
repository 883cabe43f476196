"""An operator's moves: `hold`, `release`, `retry`, `cancel`; noted with who and why.

One tenant, sending domain, destination, site or source is held by one gate row, which stops
what comes later too. All else moves in small transactions, so that mail is accepted meanwhile.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import typer
from sqlalchemy import Connection

from soboo_mta.cli.context import (
    DEFAULT_CONFIG,
    FAULT,
    CliStore,
    ConfigPath,
    actor,
    open_store,
    say,
    say_json,
    warn,
)
from soboo_mta.cli.queue.options import (
    Asked,
    Because,
    FromSource,
    Json,
    OfDomain,
    OfTenant,
    OneMessage,
    ToDomain,
    ToSite,
    gates_of,
    selection,
)
from soboo_mta.events.event import EventKind, recorded
from soboo_mta.spool.moves.one import BEGINNING
from soboo_mta.spool.operator import moves
from soboo_mta.spool.operator.moves import Moved
from soboo_mta.spool.operator.orders import HoldScope, StandingHold
from soboo_mta.spool.operator.selection import Selection
from soboo_mta.store.writer import read_now, write_now

Piece = Callable[[Connection], Moved]


def hold(
    because: Because,
    message: OneMessage = None,
    config: ConfigPath = DEFAULT_CONFIG,
    tenant: OfTenant = None,
    domain: OfDomain = None,
    to: ToDomain = None,
    site: ToSite = None,
    source: FromSource = None,
    as_json: Json = False,
) -> None:
    """Hold mail until it is released: one tenant, domain, destination, site or source with
    all that comes later; a message, or several of these together, as it waits now."""
    asked = _asked(message, tenant, domain, to, site, source)
    work = Work.on(config, asked, because)
    gates = gates_of(asked, work.wanted)
    if gates:
        closed = work.close(gates)
        work.tell("held", 0, as_json, gates=closed, hint="it is held already")
        return
    held = work.in_pieces(
        EventKind.MESSAGE_HELD, lambda at: moves.hold(at, work.wanted, because)
    )
    work.tell("held", held, as_json, hint="only what is queued or deferred can be held")


def release(
    message: OneMessage = None,
    config: ConfigPath = DEFAULT_CONFIG,
    tenant: OfTenant = None,
    domain: OfDomain = None,
    to: ToDomain = None,
    site: ToSite = None,
    source: FromSource = None,
    because: Because = "",
    as_json: Json = False,
) -> None:
    """Release what was held by hand: open its gate, and make due what waited."""
    asked = _asked(message, tenant, domain, to, site, source)
    work = Work.on(config, asked, because)
    opened, released = work.open(gates_of(asked, work.wanted))
    released += work.in_pieces(
        EventKind.MESSAGE_RELEASED, lambda at: moves.release(at, work.wanted, work.now)
    )
    hint = (
        "only what was held by hand is released; `queue list` shows the gates, and"
        " `complaints spare` lets go what waits for complaints"
    )
    work.tell("released", released, as_json, gates=opened, hint=hint)


def retry(
    message: OneMessage = None,
    config: ConfigPath = DEFAULT_CONFIG,
    tenant: OfTenant = None,
    domain: OfDomain = None,
    to: ToDomain = None,
    site: ToSite = None,
    source: FromSource = None,
    because: Because = "",
    as_json: Json = False,
) -> None:
    """Make deferred mail due now. What is held stays held, and what is slowed waits for
    its turn, but where its MESSAGE is named."""
    work = Work.on(config, _asked(message, tenant, domain, to, site, source), because)
    due = work.retry()
    hint = "only what is queued or deferred, and neither due already nor slowed, can be"
    work.tell("made due now", due, as_json, hint=hint)


def cancel(
    message: OneMessage = None,
    config: ConfigPath = DEFAULT_CONFIG,
    tenant: OfTenant = None,
    domain: OfDomain = None,
    to: ToDomain = None,
    site: ToSite = None,
    source: FromSource = None,
    because: Because = "",
    as_json: Json = False,
) -> None:
    """Take waiting mail back for good; what is being tried goes on."""
    work = Work.on(config, _asked(message, tenant, domain, to, site, source), because)
    gone = work.in_pieces(
        EventKind.MESSAGE_CANCELLED, lambda at: moves.cancel(at, work.wanted, work.now)
    )
    work.tell("cancelled", gone, as_json, hint="only what waits can be taken back")


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One command on the queue: which mail, who orders it, and why."""

    store: CliStore
    asked: Asked
    wanted: Selection
    because: str
    now: int
    actor: str = field(default_factory=actor)

    @classmethod
    def on(cls, config: Path, asked: Asked, because: str) -> "Work":
        store = open_store(config)
        wanted = read_now(store.engine, lambda at: selection(at, asked.required()))
        now = store.clock.unix_ms()
        return cls(store=store, asked=asked, wanted=wanted, because=because, now=now)

    def in_pieces(self, kind: EventKind, piece: Piece) -> int:
        """Repeat `piece`, each with its events in one transaction, until it moves nothing;
        return the recipients."""
        total = 0

        def work(connection: Connection) -> int:
            moved = piece(connection)
            if moved:
                self._note_messages(connection, kind, moved)
            return moved.total()

        while moved := write_now(self.store.engine, work):
            total += moved
        return total

    def retry(self) -> int:
        """Make deferred mail due now, each recipient once; return how many."""
        place = BEGINNING

        def piece(connection: Connection) -> Moved:
            nonlocal place
            moved, place = moves.retry(connection, self.wanted, self.now, after=place)
            return moved

        return self.in_pieces(EventKind.MESSAGE_RETRIED, piece)

    def close(self, gates: Sequence[tuple[HoldScope, str]]) -> list[str]:
        """Close the gates that are open; return their names."""
        return [name for gate in gates if (name := self._close(*gate))]

    def open(self, gates: Sequence[tuple[HoldScope, str]]) -> tuple[list[str], int]:
        """Open the gates that are closed and make due what came to them; return their
        names and the recipients."""
        opened, total = [], 0
        for scope, subject in gates:
            if name := self._open(scope, subject):
                opened.append(name)
            total += self._freed(scope, subject)
        return opened, total

    def tell(
        self,
        done: str,
        recipients: int,
        as_json: bool,
        *,
        hint: str,
        gates: Sequence[str] = (),
    ) -> None:
        """Say what was done; where that is nothing, say why, and exit with 1."""
        states = read_now(self.store.engine, lambda at: moves.states(at, self.wanted))
        if as_json:
            say_json({"recipients": recipients, "gates": list(gates), "states": states})
        for name in () if as_json else gates:
            say(f"{name}: {done} from now on")
        if recipients and not as_json:
            say(f"{self.asked}: {done}, recipients: {recipients}")
        active = states.get("active", 0)
        if active and not as_json:
            say(f"being tried now, and going on: {active}")
        if not recipients and not gates:
            if not as_json:
                why = why_nothing(self.asked, states)
                warn(f"nothing was {done}: {why}; {hint}")
            raise typer.Exit(FAULT)

    # ----

    def _close(self, scope: HoldScope, subject: str) -> str:
        order = StandingHold(
            scope=scope, subject=subject, explanation=self.because, since=self.now
        )

        def work(connection: Connection) -> bool:
            closed = moves.close_gate(connection, order)
            if closed:
                self._note_gate(connection, EventKind.GATE_CLOSED, scope, subject)
            return closed

        is_done = write_now(self.store.engine, work)
        return moves.gate_name(scope, subject) if is_done else ""

    def _open(self, scope: HoldScope, subject: str) -> str:
        def work(connection: Connection) -> bool:
            opened = moves.open_gate(connection, scope, subject)
            if opened:
                self._note_gate(connection, EventKind.GATE_OPENED, scope, subject)
            return opened

        is_done = write_now(self.store.engine, work)
        return moves.gate_name(scope, subject) if is_done else ""

    def _freed(self, scope: HoldScope, subject: str) -> int:
        """Make due what had come to an open gate; no event each: the gate's tells it."""
        total = 0
        while moved := write_now(
            self.store.engine,
            lambda at: moves.release_behind(at, scope, subject, self.now),
        ):
            total += moved.total()
        return total

    def _note_messages(
        self, connection: Connection, kind: EventKind, moved: Moved
    ) -> None:
        for message_id, count in moved.items():
            event = recorded(
                kind,
                at=self.now,
                actor=self.actor,
                message_id=message_id,
                detail=self._detail(recipients=count),
            )
            connection.execute(event.clause, list(event.rows))

    def _note_gate(
        self, connection: Connection, kind: EventKind, scope: HoldScope, subject: str
    ) -> None:
        detail = self._detail(scope=scope.value, subject=subject)
        event = recorded(kind, at=self.now, actor=self.actor, detail=detail)
        connection.execute(event.clause, list(event.rows))

    def _detail(self, **facts: object) -> Mapping[str, object]:
        return {**facts, "because": self.because} if self.because else facts


def why_nothing(asked: Asked, states: Mapping[str, int]) -> str:
    """Say in which states the mail is that a command left alone."""
    if not states:
        return f"no mail waits that is {asked}"
    known = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    return f"{asked}: {known}"


def _asked(
    message: str | None,
    tenant: str | None,
    domain: str | None,
    to: str | None,
    site: str | None,
    source: str | None,
) -> Asked:
    return Asked(
        message=message, tenant=tenant, domain=domain, to=to, site=site, source=source
    )
