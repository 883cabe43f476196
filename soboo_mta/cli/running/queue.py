"""`soboo-mta queue`: what waits and why, in the words of the store; and the moves on it."""

from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from sqlalchemy import Connection

from soboo_mta.cli.context import DEFAULT_CONFIG, ConfigPath, open_store, say, say_json
from soboo_mta.events.event import EventKind, recorded
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.ids import MessageId, TenantId
from soboo_mta.spool import view
from soboo_mta.spool.lifecycle import RecipientState
from soboo_mta.spool.view import Gate, QueuedMessage, QueueEntry, QueueFilter
from soboo_mta.store.writer import read_now, write_now

app = typer.Typer(no_args_is_help=True, help="What waits, and why.")
MessageArgument = Annotated[str, typer.Argument(metavar="MESSAGE", help="Its id.")]
Json = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]


@app.command("list")
def list_queue(
    config: ConfigPath = DEFAULT_CONFIG,
    tenant: Annotated[str | None, typer.Option(help="Of this tenant.")] = None,
    to: Annotated[str | None, typer.Option(help="To this recipient domain.")] = None,
    state: Annotated[RecipientState | None, typer.Option(help="In this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
    as_json: Json = False,
) -> None:
    """List recipients that wait, the oldest message first, and the gates that are shut."""
    wanted = QueueFilter(
        tenant=None if tenant is None else TenantId(tenant),
        destination=None if to is None else to.lower(),
        state=state,
        limit=limit,
    )
    engine = open_store(config).engine
    entries = read_now(engine, lambda connection: view.list_waiting(connection, wanted))
    gates = read_now(engine, view.gates)
    if as_json:
        say_json([asdict(entry) for entry in entries])
        return
    for gate in gates:
        say(_gate_line(gate))
    say(_table(entries) if entries else "nothing waits")


@app.command()
def show(
    message: MessageArgument, config: ConfigPath = DEFAULT_CONFIG, as_json: Json = False
) -> None:
    """Show one message's envelope and the state of each recipient."""
    found = _message(message, config)
    if as_json:
        say_json(asdict(found))
        return
    for line in _envelope_lines(found):
        say(line)
    say(_table(found.recipients))


@app.command()
def why(message: MessageArgument, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Say for each recipient of a message why it waits or how it ended."""
    for entry in _message(message, config).recipients:
        say(reason_line(entry))


@app.command()
def release(message: MessageArgument, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Make a message's held and deferred recipients due now (a shut gate still holds)."""
    _move(message, config, view.release, EventKind.MESSAGE_RELEASED)


@app.command()
def hold(
    message: MessageArgument,
    because: Annotated[str, typer.Option(help="Shown to whoever asks why.")],
    config: ConfigPath = DEFAULT_CONFIG,
) -> None:
    """Hold a message's waiting recipients until they are released."""

    def held(connection: Connection, message_id: MessageId, _now: int) -> int:
        return view.hold(connection, message_id, because)

    _move(message, config, held, EventKind.MESSAGE_HELD)


@app.command()
def cancel(message: MessageArgument, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Take a message's waiting recipients back; what is being tried goes on."""
    _move(message, config, view.cancel, EventKind.MESSAGE_CANCELLED)


def reason_line(entry: QueueEntry) -> str:
    """Return one recipient's state, reason and words in one line."""
    line = f"{entry.recipient}: {entry.state}, {entry.reason}"
    if entry.explanation:
        line += f": {entry.explanation}"
    if entry.due_at is not None:
        line += f" (due {moment(entry.due_at)}, {entry.attempts} attempts)"
    return line


def moment(unix_ms: int) -> str:
    """Return a time of the store as a person writes it, in UTC."""
    at = datetime.fromtimestamp(unix_ms / 1000, UTC)
    return at.strftime("%Y-%m-%d %H:%M:%S UTC")


_Move = Callable[[Connection, MessageId, int], int]


def _move(text: str, config: Path, move: _Move, kind: EventKind) -> None:
    """Do one move with its event in one transaction; say how many recipients moved."""
    message_id = MessageId.parse(text)
    store = open_store(config)
    now = store.clock.unix_ms()

    def work(connection: Connection) -> int:
        moved = move(connection, message_id, now)
        if moved:
            detail = {"recipients": moved}
            event = recorded(
                kind, at=now, actor="cli", message_id=message_id, detail=detail
            )
            connection.execute(event.clause, list(event.rows))
        return moved

    moved = write_now(store.engine, work)
    say(f"{message_id}: {kind.removeprefix('message-')}, recipients: {moved}")


def _message(text: str, config: Path) -> QueuedMessage:
    message_id = MessageId.parse(text)
    engine = open_store(config).engine
    found = read_now(engine, lambda connection: view.show(connection, message_id))
    if found is None:
        raise FormatError(f"no message {message_id}: never seen, or past its retention")
    return found


def _envelope_lines(message: QueuedMessage) -> Iterable[str]:
    yield f"message       {message.message_id}"
    yield f"tenant        {message.tenant}"
    yield f"author        {message.author}"
    yield f"reverse-path  <{message.reverse_path}> (as submitted)"
    yield f"Message-ID    {message.header_message_id}"
    yield f"client        {message.client}"
    yield f"size          {message.size} octets"
    yield f"accepted      {moment(message.accepted_at)}"
    yield f"expires       {moment(message.expires_at)}"
    if message.settled_at is not None:
        yield f"settled       {moment(message.settled_at)}"


def _gate_line(gate: Gate) -> str:
    return (
        f"gate: {gate.scope} {gate.subject} held since {moment(gate.since)}:"
        f" {gate.reason}: {gate.explanation}"
    )


def _table(entries: Iterable[QueueEntry]) -> Table:
    table = Table("message", "tenant", "recipient", "state", "reason", "due", "tries")
    for entry in entries:
        table.add_row(
            str(entry.message_id),
            entry.tenant,
            entry.recipient,
            entry.state,
            entry.reason,
            "" if entry.due_at is None else moment(entry.due_at),
            str(entry.attempts),
        )
    return table
