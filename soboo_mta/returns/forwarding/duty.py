"""Makes the messages in which returns go home, from noted to queued. The steps:

1. Claim what is noted, for a minute; each claim is counted, and draws a message's id.
2. Read the return back, and find where it may go; what was sent home before stays.
3. Make the message; stage its pieces where it is large.
4. Keep it, end its note and tell of it, in one transaction: once, whoever else is at it.

Then it is mail like any other. What cannot be made stays, and an event says so.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from sqlalchemy import Connection

from soboo_mta.events.event import EventKind, recorded
from soboo_mta.mail.address import Mailbox
from soboo_mta.mail.ids import MessageId, TenantId
from soboo_mta.mail.spooled import SpooledMessage
from soboo_mta.ports import Clock
from soboo_mta.returns.forwarding.deciding import ACTOR, withheld
from soboo_mta.returns.forwarding.home import home
from soboo_mta.returns.forwarding.making import LOOPS, Making, Material
from soboo_mta.returns.options import MEBIBYTE
from soboo_mta.returns.reader.frames import from_json
from soboo_mta.spool.content import PIECE_OCTETS, accepting, pieces_of, staged
from soboo_mta.spool.lifecycle import RecipientState
from soboo_mta.spool.returned.claiming import content_of
from soboo_mta.spool.returned.forwarding import (
    ClaimedForward,
    any_forward_due,
    claim_forwards,
    ending,
    submitted,
)
from soboo_mta.spool.returned.settling import about
from soboo_mta.spool.returned.view import the_return
from soboo_mta.store.unit import Fenced, Statement, StoreError
from soboo_mta.store.writer import Writer

_CLAIM_MS: Final = 60_000
_TRIES: Final = 3
_POLL: Final = 1.0  # seconds, where nothing was settled here
_GONE: Final = "it was deleted before it could go: [retention] keep"
_BROKEN: Final = f"no message could be made of it, {_TRIES} times: see the log"


class Log(Protocol):
    """The facts of going home, one method each."""

    def return_forwarded(
        self,
        returned_id: int,
        *,
        message: MessageId,
        tenant: TenantId,
        to: Mailbox,
    ) -> None: ...

    def store_trouble(self, cause: str) -> None: ...

    def internal_error(self, *, stage: str, error: BaseException) -> None: ...


class Forwarding:
    """See the module. Two of them on one store do no harm."""

    def __init__(
        self, *, writer: Writer, making: Making, clock: Clock, log: Log
    ) -> None:
        self._writer = writer
        self._making = making
        self._clock = clock
        self._log = log
        self._noted = asyncio.Event()

    def wake(self) -> None:
        """There may be something to make."""
        self._noted.set()

    async def run(self) -> None:
        """Make what is noted until cancelled."""
        while True:
            self._noted.clear()
            try:
                if await self.make_due():
                    continue
            except StoreError as error:
                self._log.store_trouble(str(error))
            try:
                async with asyncio.timeout(_POLL):
                    await self._noted.wait()
            except TimeoutError:
                continue

    async def make_due(self) -> int:
        """Make some of what is due; return how many were claimed."""
        now = self._clock.unix_ms()
        if not await self._writer.read(lambda at: any_forward_due(at, now)):
            return 0
        claim = partial(claim_forwards, now=now, until=now + _CLAIM_MS)
        claimed = await self._writer.transact(claim)
        for one in claimed:
            try:
                await self._make(one)
            except Fenced:
                continue  # another process was as far
            except StoreError:
                raise
            except Exception as error:  # noqa: BLE001 - it is tried again, and counted
                self._log.internal_error(stage="forwarding a return", error=error)
        return len(claimed)

    async def _make(self, claimed: ClaimedForward) -> None:
        if claimed.tries > _TRIES:
            await self._stay(claimed, _BROKEN)
            return
        desk = self._making.desk
        material = await self._writer.read(lambda at: _material(at, claimed, desk))
        if isinstance(material, str):
            await self._stay(claimed, material)
            return
        if self._making.loops(material):
            await self._stay(claimed, LOOPS)
            return
        make = partial(self._making.message, material, now=self._clock.unix_ms())
        await self._keep(claimed, await self._made(make, len(material.content)))

    async def _made(
        self, make: Callable[[], SpooledMessage], octets: int
    ) -> SpooledMessage:
        """A large one in a thread, so that others do not wait."""
        return await asyncio.to_thread(make) if octets > MEBIBYTE else make()

    async def _keep(self, claimed: ClaimedForward, message: SpooledMessage) -> None:
        pieces = 0
        if message.size > PIECE_OCTETS:
            for octets in pieces_of(message.content):
                at = self._clock.unix_ms()
                piece = staged(message.message_id, pieces, octets, at)
                await self._writer.commit([piece])
                pieces += 1
        queued = RecipientState.QUEUED
        await self._writer.commit(
            [
                ending(claimed, message.recipients[0]),
                *accepting(message, pieces=pieces, holder=None, state=queued),
                self._told(claimed, message),
            ]
        )
        self._log.return_forwarded(
            claimed.whose.returned_id,
            message=message.message_id,
            tenant=message.tenant,
            to=message.recipients[0],
        )

    async def _stay(self, claimed: ClaimedForward, why: str) -> None:
        event = withheld(claimed.whose, why, now=self._clock.unix_ms())
        await self._writer.commit([ending(claimed, None), event])

    def _told(self, claimed: ClaimedForward, message: SpooledMessage) -> Statement:
        whose = claimed.whose
        return recorded(
            EventKind.RETURN_FORWARDED,
            at=message.accepted_at,
            actor=ACTOR,
            tenant=whose.tenant or None,
            message_id=whose.message_id,
            detail={
                "return": whose.returned_id,
                "to": str(message.recipients[0]),
                "forward": str(message.message_id),
            },
        )


def _material(
    connection: Connection, claimed: ClaimedForward, desk: Mailbox | None
) -> Material | str:
    """What the message is made from; else why there will be none."""
    whose = claimed.whose
    kept = the_return(connection, whose.returned_id)
    content = content_of(connection, [whose.returned_id]).get(whose.returned_id)
    if kept is None or kept.kind is None or kept.detail is None or content is None:
        return _GONE
    whom = sent = None
    if whose.message_id is not None and whose.position is not None:
        whom = about(connection, whose.message_id, whose.position)
        sent = submitted(connection, whose.message_id, whose.position)
        if whom is None or sent is None:
            return _GONE
    to = home(connection, whose.tenant, sent, desk)
    if isinstance(to, str):
        return to
    return Material(
        claimed=claimed,
        to=to,
        found=from_json(kept.kind, kept.detail),
        content=content,
        from_null=kept.reverse_path == "",
        received_at=kept.received_at,
        whom=whom,
        sent=sent,
    )
