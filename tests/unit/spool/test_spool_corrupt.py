"""Case 130: whatever is wrong with a row, it is set aside and told, and all others go on."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Connection, delete, select, update

from soboo_mta.mail.ids import MessageId
from soboo_mta.mail.outcome import Reason
from soboo_mta.spool.content import PIECE_OCTETS, Corrupt
from soboo_mta.spool.lease import WorkerLease
from soboo_mta.spool.operator.inspect import findings, set_aside_strays, strays_exist
from soboo_mta.spool.operator.selection import Selection
from soboo_mta.spool.spool import Spool
from soboo_mta.spool.view import list_waiting, why
from soboo_mta.store.schema import event, message, piece, recipient
from soboo_mta.store.writer import Writer
from tests.fakes.clock import FakeClock
from tests.fakes.connector import CONTENT, a_message

BAD, LARGE, GOOD = MessageId(1), MessageId(2), MessageId(3)
CORRUPT = Selection(reason=Reason.CORRUPT)
_PIECES = b"A: b\r\n\r\n" + b"x" * (2 * PIECE_OCTETS)


@pytest.fixture
def alarms() -> list[Corrupt]:
    return []


@pytest.fixture
async def spool(writer: Writer, clock: FakeClock, alarms: list[Corrupt]) -> Spool:
    lease = WorkerLease(
        writer=writer, clock=clock, store_now=lambda _connection: clock.unix_ms()
    )
    await lease.register(host="test", process=1)
    spool = Spool(writer=writer, lease=lease, clock=clock, alarm=alarms.append)
    await spool.accept(a_message(BAD, to=("a@x.example",)), claim=False)
    await spool.accept(
        a_message(LARGE, to=("a@x.example",), content=_PIECES), claim=False
    )
    await spool.accept(a_message(GOOD), claim=False)
    return spool


def _set(table: object, number: int, **values: object) -> Callable[..., None]:
    key = table.c.id if table is message else table.c.message_id

    def damage(connection: Connection) -> None:
        connection.execute(update(table).where(key == number).values(**values))

    return damage


def _drop(table: object, number: int) -> Callable[..., None]:
    key = table.c.id if table is message else table.c.message_id

    def damage(connection: Connection) -> None:
        connection.execute(delete(table).where(key == number))

    return damage


def _drop_piece(connection: Connection) -> None:
    connection.execute(
        delete(piece).where(piece.c.message_id == LARGE, piece.c.number == 1)
    )


def _flip_piece(connection: Connection) -> None:
    octets = b"y" + b"x" * (PIECE_OCTETS - 1)
    connection.execute(
        update(piece)
        .where(piece.c.message_id == LARGE, piece.c.number == 1)
        .values(octets=octets)
    )


FLIPPED = bytes((CONTENT[0] ^ 1,)) + CONTENT[1:]
DAMAGES = {
    "zero-length content": (BAD, _set(message, BAD, content=b""), "missing or cut"),
    "no content": (BAD, _set(message, BAD, content=None), "missing or cut"),
    "truncated content": (
        BAD,
        _set(message, BAD, content=CONTENT[:-1]),
        "missing or cut",
    ),
    "a bit flipped": (BAD, _set(message, BAD, content=FLIPPED), "differs from what"),
    "a bit flipped in a piece": (LARGE, _flip_piece, "differs from what"),
    "a missing piece": (LARGE, _drop_piece, "missing or cut"),
    "all pieces missing": (LARGE, _drop(piece, LARGE), "missing or cut"),
    "a garbage author": (BAD, _set(message, BAD, author="@@"), "its row is broken"),
    "a garbage recipient": (
        BAD,
        _set(recipient, BAD, address="nobody"),
        "its row is broken",
    ),
    "a recipient's other domain": (
        BAD,
        _set(recipient, BAD, domain="y.example"),
        "contradicts itself",
    ),
    "another tenant's recipient": (
        BAD,
        _set(recipient, BAD, tenant_id="other"),
        "contradicts itself",
    ),
    "a cut body hash": (BAD, _set(message, BAD, body_hash=b"short"), "body hash"),
    "recipients that are not there": (
        BAD,
        _set(message, BAD, recipients=2),
        "recipient rows are incomplete",
    ),
    "a missing message row": (BAD, _drop(message, BAD), "message row is missing"),
}


@pytest.mark.parametrize("name", DAMAGES)
async def test_case_130_what_does_not_read_back_is_set_aside_and_told(
    spool: Spool, writer: Writer, alarms: list[Corrupt], name: str
) -> None:
    number, damage, cause = DAMAGES[name]
    await writer.transact(damage)
    found = await writer.read(lambda at: list(findings(at, content=True)))
    assert [(one.message_id, cause in one.cause) for one in found][:1] == [
        (number, True)
    ]
    others = {BAD, LARGE, GOOD} - {number}
    claimed = await spool.claim_due(10)
    assert {one.message.message_id for one in claimed} == others
    (entry,) = await writer.read(lambda at: list_waiting(at, CORRUPT))
    assert (entry.message_id, entry.state, entry.due_at) == (number, "held", None)
    assert cause in entry.explanation
    assert [one.message_id for one in alarms] == [number]
    kind, detail = (
        await writer.read(
            lambda at: at.execute(select(event.c.kind, event.c.detail)).all()
        )
    )[0]
    assert kind == "message-corrupt"
    assert cause in json.loads(detail)["cause"]
    assert await spool.claim_due(10) == ()  # and is not met again


@pytest.mark.parametrize(
    ("values", "cause"),
    [
        ({"state": "nonsense"}, "its state 'nonsense' does not exist"),
        ({"state": ""}, "its state '' does not exist"),
        ({"due_at": 1 << 62}, "its time"),
        ({"due_at": -5}, "its time"),
    ],
)
async def test_case_130_what_no_claim_would_meet_is_found_at_the_start(
    spool: Spool, writer: Writer, clock: FakeClock, values: dict, cause: str
) -> None:
    assert not await writer.read(strays_exist)
    await writer.transact(_set(recipient, BAD, **values))
    assert await writer.read(strays_exist)
    now = clock.unix_ms()
    (found,) = await writer.transact(lambda at: set_aside_strays(at, now))
    assert found.message_id == BAD
    assert cause in found.cause
    assert await writer.transact(lambda at: set_aside_strays(at, now)) == []
    (entry,) = await writer.read(lambda at: list_waiting(at, CORRUPT))
    assert cause in entry.explanation
    assert len(await spool.claim_due(10)) == 2
    told = await writer.read(
        lambda at: at.execute(select(event.c.kind)).scalars().all()
    )
    assert told == ["message-corrupt"]


async def test_case_130_orphan_pieces_go_once_they_are_old_and_no_others(
    spool: Spool, writer: Writer, clock: FakeClock
) -> None:
    await writer.transact(_drop(message, LARGE))
    count = select(piece.c.number).order_by(piece.c.number)
    clock.advance(60)
    await spool.sweep()
    assert len(await writer.read(lambda at: at.execute(count).all())) == 3
    clock.advance(3_600)
    await spool.sweep()
    assert await writer.read(lambda at: at.execute(count).all()) == []


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("column", "table", "value"),
    [
        ("message_id", "recipient", "'garbage'"),
        ("due_at", "recipient", "'soon'"),
        ("attempts", "recipient", "'many'"),
        ("size", "message", "'large'"),
        ("accepted_at", "message", "'today'"),
        ("expires_at", "message", "x'00ff'"),
        ("content", "message", "'a text'"),
        ("recipients", "message", "'all'"),
        ("body_hash", "message", "17"),
        ("checksum", "message", "'none'"),
    ],
)
async def test_case_130_a_value_of_another_type_stops_nobody_else(
    spool: Spool,
    writer: Writer,
    clock: FakeClock,
    tmp_path: Path,
    column: str,
    table: str,
    value: str,
) -> None:
    key = "id" if table == "message" else "message_id"
    with closing(sqlite3.connect(tmp_path / "soboo.db")) as raw, raw:
        raw.execute(f"UPDATE {table} SET {column} = {value} WHERE {key} = 1")
    now = clock.unix_ms()
    await writer.transact(lambda at: set_aside_strays(at, now))
    claimed = {one.message.message_id for one in await spool.claim_due(10)}
    assert claimed >= {LARGE, GOOD}
    shown = await writer.read(list_waiting)  # never raises
    if column != "attempts":  # which reads as none made
        assert claimed == {LARGE, GOOD}
        assert [one.reason for one in shown if one.state == "held"] == [Reason.CORRUPT]


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
async def test_a_whole_store_has_no_findings(spool: Spool, writer: Writer) -> None:
    assert await writer.read(lambda at: list(findings(at, content=True))) == []
    assert len(await writer.read(lambda at: why(at, GOOD))) == 1
