"""Keeps what came back, octet for octet, before anything looks into it.

A small return is one row, committed with others; a large one is staged in pieces first, so
that no transaction is long, and becomes readable with the last.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, insert, update

from soboo_mta.mail.ids import MessageId
from soboo_mta.ports import Clock
from soboo_mta.spool.content import PIECE_OCTETS
from soboo_mta.store.embedded.space import FreeSpace
from soboo_mta.store.schema import returned, returned_piece
from soboo_mta.store.unit import Statement, StoreFull
from soboo_mta.store.writer import Writer


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """One return as it came. `message_id` and `position` are what a signed address said;
    times are unix milliseconds."""

    received_at: int
    door: str
    address: str
    message_id: MessageId | None
    position: int | None
    reverse_path: str
    client: str
    client_name: str
    protocol: str
    content: bytes


class Keeping:
    """Where returns are kept. `least` octets stay free for what must be noted."""

    def __init__(self, *, writer: Writer, clock: Clock, least: int) -> None:
        self._writer = writer
        self._space = FreeSpace(writer.engine, least=least, monotonic=clock.monotonic)

    @property
    def has_room(self) -> bool:
        """Whether there is space to keep mail; false before the disk is full."""
        return not self._space.is_low

    async def keep(self, arrived: Sequence[Arrived]) -> None:
        """Return when all of them are committed and synced, and can be read; raises
        StoreError, and none of them is readable then."""
        if not self.has_room:
            raise StoreFull("less space is free than [store] min_free")
        small = tuple(_row(one) for one in arrived if len(one.content) <= PIECE_OCTETS)
        unit = [Statement(_INSERT, small)] if small else []
        staged = [
            {"this": await self._stage(one), "due": one.received_at}
            for one in arrived
            if len(one.content) > PIECE_OCTETS
        ]
        if staged:
            unit.append(Statement(_READABLE, tuple(staged), expected=len(staged)))
        await self._writer.commit(unit)

    async def _stage(self, one: Arrived) -> int:
        """Keep a large one in pieces that nobody reads yet; return its id."""
        content = one.content
        starts = range(0, len(content), PIECE_OCTETS)
        row = {**_row(one), "due_at": None, "pieces": len(starts), "content": None}

        def begin(connection: Connection) -> int:
            return int(connection.execute(_BEGIN, row).scalar_one())

        this = await self._writer.transact(begin)
        for number, start in enumerate(starts):
            octets = content[start : start + PIECE_OCTETS]
            piece = {"returned_id": this, "number": number, "octets": octets}
            await self._writer.commit([Statement(_INSERT_PIECE, (piece,))])
        return this


def _row(one: Arrived) -> dict[str, object]:
    return {
        "received_at": one.received_at,
        "due_at": one.received_at,
        "reads": 0,
        "door": one.door,
        "address": one.address,
        "message_id": None if one.message_id is None else int(one.message_id),
        "position": one.position,
        "reverse_path": one.reverse_path,
        "client": one.client,
        "client_name": one.client_name,
        "protocol": one.protocol,
        "size": len(one.content),
        "pieces": 0,
        "content": one.content,
    }


_INSERT = insert(returned)
_BEGIN = insert(returned).returning(returned.c.id)
_INSERT_PIECE = insert(returned_piece)
_READABLE = (
    update(returned)
    .where(returned.c.id == bindparam("this"))
    .values(due_at=bindparam("due"))
)
