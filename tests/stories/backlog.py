"""A backlog put into a store, and a host that takes mail at a measured pace."""

import asyncio
from dataclasses import dataclass, field
from functools import partial

from sqlalchemy import Connection, Engine, select

from soboo_mta.formats.canonical import body_hash
from soboo_mta.mail.address import parse_mailbox, parse_reverse_path
from soboo_mta.mail.ids import DomainId, MessageIds, TenantId
from soboo_mta.mail.spooled import SpooledMessage
from soboo_mta.net.clock import SystemClock
from soboo_mta.spool.content import accepting
from soboo_mta.spool.lifecycle import RecipientState
from soboo_mta.store.engine import open_engine
from soboo_mta.store.schema import sending_domain
from soboo_mta.store.writer import write_now

_BODY = b"One of very many.\r\n"
_AT_ONCE = 1_000
_DAY_MS = 86_400_000
_WORKER = 1_000  # its number in the ids: no running worker has it


def put_backlog(url: str, *, domain: str, recipient: str, messages: int) -> None:
    """Queue `messages` from a@`domain` to `recipient` in the store at `url`, due now,
    claimed by nobody."""
    engine = open_engine(url)
    try:
        _put(engine, domain, recipient, messages)
    finally:
        engine.dispose()


def _put(engine: Engine, domain: str, recipient: str, messages: int) -> None:
    now = SystemClock().unix_ms
    ids = MessageIds(worker=_WORKER, unix_ms=now)
    header = f"From: a@{domain}\r\nTo: {recipient}\r\nSubject: backlog\r\n\r\n"
    content = header.encode() + _BODY

    def put(connection: Connection, count: int) -> None:
        row = connection.execute(
            select(sending_domain).where(sending_domain.c.name == domain)
        ).one()
        rows: dict = {}
        for _ in range(count):
            at = now()
            spooled = SpooledMessage(
                message_id=ids.next(),
                tenant=TenantId(row.tenant_id),
                domain_id=DomainId(row.id),
                credential=None,
                reverse_path=parse_reverse_path(f"a@{domain}"),
                author=parse_mailbox(f"a@{domain}"),
                recipients=(parse_mailbox(recipient),),
                header_message_id="<backlog@test>",
                client="127.0.0.1",
                eight_bit=False,
                smtputf8=False,
                body_hash=body_hash(_BODY),
                accepted_at=at,
                expires_at=at + _DAY_MS,
                content=content,
            )
            unit = accepting(
                spooled, pieces=0, holder=None, state=RecipientState.QUEUED
            )
            for statement in unit:
                rows.setdefault(statement.clause, []).extend(statement.rows)
        for clause, values in rows.items():
            connection.execute(clause, [dict(value) for value in values])

    for start in range(0, messages, _AT_ONCE):
        write_now(engine, partial(put, count=min(_AT_ONCE, messages - start)))


@dataclass(slots=True)
class PacedHost:
    """Takes each message `seconds` after its final dot; `authors`: their From lines'
    domains, in the order in which they were taken."""

    seconds: float
    authors: list[str] = field(default_factory=list)
    connections: int = 0
    most_connections: int = 0
    _grown: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """One connection; for asyncio.start_server."""
        self.connections += 1
        self.most_connections = max(self.most_connections, self.connections)
        try:
            await self._talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.connections -= 1
            writer.close()

    async def until(self, condition) -> None:
        """Wait until `condition` holds; it is asked after each message taken."""
        while not condition():
            self._grown.clear()
            await self._grown.wait()

    async def _talk(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(b"220 paced.test\r\n")
        while line := await reader.readline():
            word = line[:4].upper().rstrip()
            if word == b"DATA":
                writer.write(b"354 Go ahead\r\n")
                content = await reader.readuntil(b"\r\n.\r\n")
                await asyncio.sleep(self.seconds)  # the pace itself: what it takes
                self._take(content)
                writer.write(b"250 2.0.0 Taken\r\n")
            elif word == b"QUIT":
                writer.write(b"221 2.0.0 Bye\r\n")
                return
            elif word == b"EHLO":
                writer.write(b"250-paced.test\r\n250 PIPELINING\r\n")
            else:
                writer.write(b"250 2.0.0 Fine\r\n")

    def _take(self, content: bytes) -> None:
        start = content.index(b"\nFrom: ") + 7
        author = content[start : content.index(b"\r\n", start)]
        self.authors.append(author.rpartition(b"@")[2].decode())
        self._grown.set()
