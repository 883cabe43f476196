"""How a return is received, from its address to the `250`. The steps, in their order:

1. `admit`: there is space, and its size is bearable.
2. `door`: the address is one of ours: a signed reverse-path or unsubscribe address that is
   whole and not expired, a mailbox for reports, postmaster or abuse. Everything else is
   550 5.1.1.
3. `keep`: it is in no loop; its octets are committed as they came, once for each address.
   Only then is the answer 250.

What it says is read later, and never here: nothing in it can hurt who receives. Owns no
socket. RFC 5321 §4.5.1 and §6.1, RFC 6522 §1 (what is a report is no business of SMTP's).
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from soboo_mta.formats.verp import ReturnToken, VerpSigner
from soboo_mta.mail.address import Mailbox, ReversePath
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.errors import Reject
from soboo_mta.mail.reply import Reply, reply
from soboo_mta.ports import Clock, IpAddress
from soboo_mta.returns.options import ReceptionOptions
from soboo_mta.spool.returned.keeping import Arrived, Keeping
from soboo_mta.store.unit import StoreError, StoreFull

_OURS: Final = frozenset(("postmaster", "abuse"))
_HEADER_OCTETS: Final = 1 << 17  # in which Received fields are looked for
KEPT: Final = reply(250, "2.0.0", "Kept")
NOT_HERE: Final = reply(550, "5.1.1", "There is no such address here")
LOOP: Final = reply(554, "5.4.6", "The message has too many Received fields: it loops")
TROUBLE: Final = reply(451, "4.3.0", "Something failed here: try again later")
FULL: Final = reply(452, "4.3.1", "There is no space to keep the message: try later")
TOO_LARGE: Final = reply(552, "5.3.4", "The message is too large to be taken back")


class DoorKind(StrEnum):
    """What an address that returns come to is for; store and CLI use these words."""

    RECIPIENT = "recipient"  # a signed reverse-path: one recipient of one message
    UNSUBSCRIBE = "unsubscribe"  # a signed address by which that one leaves the stream
    FEEDBACK = "feedback"
    DMARC = "dmarc"
    TLS = "tls"
    TLS_HTTPS = "tls-https"  # posted: no address of mail
    POSTMASTER = "postmaster"
    ABUSE = "abuse"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturnDoor:
    """An address of ours; `token` says of a signed one what it is about."""

    kind: DoorKind
    address: str
    token: ReturnToken | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Arriving:
    """What the session knows of a return. `client_name` is what EHLO said."""

    doors: tuple[ReturnDoor, ...]
    reverse_path: ReversePath
    client: IpAddress
    client_name: str
    protocol: str


class BounceHosts(Protocol):
    """The customers' bounce hosts."""

    async def is_bounce_host(self, name: Domain) -> bool:
        """Whether a customer's bounces come to this name; may raise StoreError."""
        ...


class Log(Protocol):
    """The facts of reception, one method each."""

    def return_kept(self, *, door: str, address: str, size: int, client: str) -> None:
        """250 was answered: the return is ours."""
        ...

    def return_refused(self, reply: Reply, *, client: str) -> None:
        """An address, or a return, was refused."""
        ...

    def proxy_refused(self, *, proxy: str, cause: str) -> None: ...

    def internal_error(self, *, stage: str, error: BaseException) -> None: ...


class Reception:
    """See the module."""

    def __init__(
        self,
        *,
        keeping: Keeping,
        verp: VerpSigner,
        bounce_hosts: BounceHosts,
        clock: Clock,
        log: Log,
        options: ReceptionOptions,
        on_kept: Callable[[], None],
    ) -> None:
        """`on_kept` is called after each commit: there is something to read."""
        self.options = options
        self.log = log
        self._keeping = keeping
        self._verp = verp
        self._bounce_hosts = bounce_hosts
        self._clock = clock
        self._on_kept = on_kept
        self._commits: set[asyncio.Task[None]] = set()
        self._reports = {
            **dict.fromkeys(options.feedback, DoorKind.FEEDBACK),
            **dict.fromkeys(options.dmarc_reports, DoorKind.DMARC),
            **dict.fromkeys(options.tls_reports, DoorKind.TLS),
        }

    def admit(self, size: int) -> None:
        """Raise Reject for a size over the limit, or want of space (RFC 1870 §6.1)."""
        if size > self.options.max_message_octets:
            raise Reject(TOO_LARGE)
        if not self._keeping.has_room:
            raise Reject(FULL)

    def postmaster(self) -> ReturnDoor:
        """The address without a domain that every server has (RFC 5321 §4.5.1)."""
        return ReturnDoor(kind=DoorKind.POSTMASTER, address="postmaster")

    async def door(self, mailbox: Mailbox) -> ReturnDoor:
        """Return what an address is for; raise Reject for one that is not ours.

        A forged, changed or expired signed address is told from no other one.
        """
        address, local = str(mailbox), mailbox.local_part.lower()
        now = self._clock.unix_ms()
        for kind, opened in (
            (DoorKind.RECIPIENT, self._verp.open),
            (DoorKind.UNSUBSCRIBE, self._verp.open_unsubscribe),
        ):
            token = opened(local, mailbox.domain, now)
            if token is not None:
                return ReturnDoor(kind=kind, address=address, token=token)
        named = self._reports.get(Mailbox(local, mailbox.domain))
        if named is None and local in _OURS and await self._is_ours(mailbox.domain):
            named = DoorKind(local)
        if named is None:
            raise Reject(NOT_HERE)
        return ReturnDoor(kind=named, address=address)

    async def keep(
        self, arriving: Arriving, octets: int, content: Callable[[], bytes]
    ) -> Reply:
        """Commit what was received, as it came, and return 250; or raise Reject and keep
        nothing. `content` gives the octets, about so many."""
        if octets > self.options.thread_over_octets:
            raw = await asyncio.to_thread(content)
        else:
            raw = content()
        if hops(raw) > self.options.max_hops:
            raise Reject(LOOP)
        now = self._clock.unix_ms()
        arrived = [self._arrived(door, arriving, raw, now) for door in arriving.doors]
        await self._commit(arrived)
        for door in arriving.doors:
            self.log.return_kept(
                door=door.kind.value,
                address=door.address,
                size=len(raw),
                client=str(arriving.client),
            )
        self._on_kept()
        return KEPT

    async def drain(self) -> None:
        """Wait until every commit under way has ended, well or badly."""
        while self._commits:
            await asyncio.wait(self._commits)

    async def _is_ours(self, domain: Domain) -> bool:
        if domain in self.options.own_domains:
            return True
        try:
            return await self._bounce_hosts.is_bounce_host(domain)
        except StoreError as error:
            raise self._trouble(error) from error

    def _arrived(
        self, door: ReturnDoor, arriving: Arriving, raw: bytes, now: int
    ) -> Arrived:
        token = door.token
        return Arrived(
            received_at=now,
            door=door.kind.value,
            address=door.address,
            message_id=None if token is None else token.message,
            position=None if token is None else token.position,
            reverse_path=str(arriving.reverse_path),
            client=str(arriving.client),
            client_name=arriving.client_name,
            protocol=arriving.protocol,
            content=raw,
        )

    async def _commit(self, arrived: list[Arrived]) -> None:
        """In a task that outlives the client: what is half kept is kept to its end."""
        task = asyncio.get_running_loop().create_task(self._keeping.keep(arrived))
        self._commits.add(task)
        task.add_done_callback(self._ended)
        try:
            await asyncio.shield(task)
        except StoreFull as error:
            raise Reject(FULL) from error
        except StoreError as error:
            raise Reject(TROUBLE) from error

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._commits.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:  # told here: the client that would hear may be gone
            self.log.internal_error(stage="commit of a return", error=error)

    def _trouble(self, error: StoreError) -> Reject:
        self.log.internal_error(stage="RCPT of a return", error=error)
        return Reject(TROUBLE)


def hops(content: bytes) -> int:
    """Return how many Received fields stand at the beginning (RFC 5321 §6.3)."""
    end = content.find(b"\r\n\r\n", 0, _HEADER_OCTETS)
    header = content[: end if end >= 0 else _HEADER_OCTETS]
    return (b"\r\n" + header).lower().count(b"\r\nreceived:")
