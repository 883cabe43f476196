"""Doors of the submission room as fakes, and a listener on loopback that uses them."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import ip_address
from typing import Any

from soboo_mta.identity.state import (
    DomainSettings,
    DomainState,
    Mode,
    OnBroken,
    Operator,
    Source,
)
from soboo_mta.mail.address import Mailbox
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.mail.errors import NoLogin
from soboo_mta.mail.ids import (
    NO_STREAM,
    CredentialId,
    DomainId,
    MessageIds,
    Stream,
    TenantId,
)
from soboo_mta.mail.reply import Reply
from soboo_mta.mail.spooled import OnceKey, SpooledMessage
from soboo_mta.net.door import bind
from soboo_mta.net.smtp_server import Limits, Listener, SharedTimes, SubmissionServer
from soboo_mta.ports import IpAddress
from soboo_mta.spool.once import Kept
from soboo_mta.submission.acceptance import Acceptance
from soboo_mta.submission.options import AcceptanceOptions, ListenerOptions
from tests.fakes.clock import FakeClock

ACME = TenantId("acme")
OTHER = TenantId("other")
HOST = Domain("mta.esp.example")
OPERATOR = Operator(
    domain=Domain("esp.example"),
    bounce_domain=Domain("bounce.esp.example"),
    mx_hosts=(HOST,),
    sources=(
        Source(
            name="one",
            address=None,
            public_address=ip_address("192.0.2.1"),
            ehlo_name=HOST,
        ),
    ),
    keys=(),
)


def domain_state(
    name: str,
    tenant: TenantId = ACME,
    *,
    was_verified: bool = True,
    assume_verified: bool = False,
) -> DomainState:
    settings = DomainSettings(
        domain_id=DomainId(sum(name.encode())),
        tenant=tenant,
        name=Domain(name),
        mode=Mode.CNAME,
        token="t0ken",
        bounce_label="bounce",
        selectors=(DnsName("sb1"), DnsName("sb2"), DnsName("sb3")),
        on_broken=OnBroken.HOLD,
        sign_with_operator=False,
        assume_verified=assume_verified,
        keys=(),
    )
    return DomainState(settings=settings, was_verified=was_verified, facts=None)


@dataclass(frozen=True)
class FakeCredential:
    credential_id: CredentialId
    tenant: TenantId | None


@dataclass
class FakeTenant:
    suspended: bool = False
    refuses_suppressed: bool = False


@dataclass
class FakeSuppressions:
    """Entries of ACME by address and stream; NO_STREAM's hold for all."""

    entries: dict[tuple[str, Stream], str] = field(default_factory=dict)
    broken: Exception | None = None

    async def why(self, tenant: TenantId, address: Mailbox, stream: Stream) -> str:
        if self.broken:
            raise self.broken
        found = [self.entries.get((str(address), one)) for one in (NO_STREAM, stream)]
        return next(filter(None, found), "") if tenant == ACME else ""


@dataclass
class FakeDirectory:
    """Users by (name, secret), certificates by a name in them with the user names of
    their credentials; domains by name; what is in `broken` raises."""

    users: dict[tuple[str, str], FakeCredential] = field(default_factory=dict)
    certificates: dict[str, FakeCredential] = field(default_factory=dict)
    names: dict[CredentialId, str] = field(default_factory=dict)
    revoked: set[CredentialId] = field(default_factory=set)
    tenants: dict[TenantId, FakeTenant] = field(default_factory=dict)
    domains: list[DomainState] = field(default_factory=list)
    broken: Exception | None = None
    asked: list[tuple[str, str]] = field(default_factory=list)

    async def authenticate(
        self, user_name: str, secret: str, client: IpAddress
    ) -> FakeCredential | NoLogin:
        if self.broken:
            raise self.broken
        self.asked.append((user_name, secret))
        return self.users.get((user_name, secret), NoLogin.WRONG_SECRET)

    async def certified(
        self, names: tuple[str, ...], user_name: str, client: IpAddress
    ) -> FakeCredential | NoLogin:
        if self.broken:
            raise self.broken
        for name in names:
            found = self.certificates.get(name)
            if found is None or found.credential_id in self.revoked:
                continue
            if user_name in ("", self.names.get(found.credential_id)):
                return found
        return NoLogin.UNKNOWN_NAME

    async def still_valid(self, credential_id: CredentialId) -> bool:
        if self.broken:
            raise self.broken
        return credential_id not in self.revoked

    async def tenant(self, tenant_id: TenantId) -> FakeTenant | None:
        return self.tenants.get(tenant_id)

    async def sending_domain(
        self, author_domain: Domain, *, tenant: TenantId | None
    ) -> DomainState | None:
        for state in self.domains:
            if state.settings.name == author_domain and (
                tenant == state.settings.tenant
                or (tenant is None and state.was_verified)
            ):
                return state
        return None


@dataclass
class FakeQuota:
    left: int = 1_000_000_000

    async def take(self, tenant: TenantId, recipients: int) -> bool:
        if recipients > self.left:
            return False
        self.left -= recipients
        return True

    def give_back(self, tenant: TenantId, recipients: int) -> None:
        self.left += recipients


@dataclass
class FakeSpool:
    """Keeps messages; `gate`, where set, is waited for inside the commit."""

    kept: list[SpooledMessage] = field(default_factory=list)
    claims: list[bool] = field(default_factory=list)
    failure: Exception | None = None
    has_lease: bool = True
    has_room: bool = True
    gate: asyncio.Event | None = None
    is_committing: asyncio.Event = field(default_factory=asyncio.Event)

    async def kept_under(self, once: OnceKey) -> Kept | None:
        for message in self.kept:
            if message.once and (message.once.scope, message.once.key) == (
                once.scope,
                once.key,
            ):
                return Kept(message.message_id, message.once.digest)
        return None

    async def accept(
        self, message: SpooledMessage, *, claim: bool, due_at: int | None = None
    ) -> bool:
        self.due_at = due_at
        self.is_committing.set()
        if self.gate:
            await self.gate.wait()
        if self.failure:
            raise self.failure
        self.kept.append(message)
        self.claims.append(claim)
        return claim and self.has_lease


@dataclass
class FakeLog:
    facts: list[tuple[str, object]] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)

    def accepted(self, message: SpooledMessage) -> None:
        self.facts.append(("accepted", message.message_id))

    def refused(self, reply: Reply, *, client: str, tenant: TenantId | None) -> None:
        self.facts.append(("refused", reply))

    def login_failed(self, *, client: str, user_name: str, cause: NoLogin) -> None:
        self.facts.append(("login_failed", user_name))

    def proxy_refused(self, *, proxy: str, cause: str) -> None:
        self.facts.append(("proxy_refused", f"{proxy}: {cause}"))

    def internal_error(self, *, stage: str, error: BaseException) -> None:
        self.errors.append(error)


@dataclass
class Desk:
    """An Acceptance with its fakes; change them before or between messages."""

    acceptance: Acceptance
    directory: FakeDirectory
    spool: FakeSpool
    quota: FakeQuota
    suppressions: FakeSuppressions
    log: FakeLog
    clock: FakeClock
    handed_over: list[tuple[SpooledMessage, tuple[int, ...]]]


def desk(
    options: AcceptanceOptions | None = None,
    *,
    room_for: Callable[[int, TenantId], bool] = lambda size, tenant: True,
) -> Desk:
    directory = FakeDirectory(
        users={
            ("acme", "s3cret"): FakeCredential(CredentialId(1), ACME),
            ("operator", "s3cret"): FakeCredential(CredentialId(2), None),
        },
        tenants={ACME: FakeTenant(), OTHER: FakeTenant()},
        domains=[
            domain_state("acme.example"),
            domain_state("second.example"),
            domain_state("new.example", was_verified=False),
            domain_state("other.example", OTHER),
        ],
    )
    spool, quota, log, clock = FakeSpool(), FakeQuota(), FakeLog(), FakeClock()
    suppressions = FakeSuppressions()
    handed_over: list[tuple[SpooledMessage, tuple[int, ...]]] = []
    acceptance = Acceptance(
        directory=directory,
        spool=spool,
        quota=quota,
        suppressions=suppressions,
        ids=MessageIds(worker=1, unix_ms=clock.unix_ms),
        clock=clock,
        log=log,
        operator=OPERATOR,
        options=options or AcceptanceOptions(host_name=HOST),
        on_accepted=lambda message, positions: handed_over.append((message, positions)),
        room_for=room_for,
    )
    return Desk(
        acceptance, directory, spool, quota, suppressions, log, clock, handed_over
    )


@asynccontextmanager
async def listening(
    one: Desk,
    options: ListenerOptions | None = None,
    *,
    tls: ssl.SSLContext | None = None,
    times: SharedTimes | None = None,
    **listener: Any,  # the fields of a Listener
) -> AsyncIterator[tuple[SubmissionServer, int]]:
    """A server on a free port of 127.0.0.1; stopped without grace at the end."""
    options = options or ListenerOptions(failed_login_delay=timedelta(0))
    server = SubmissionServer(
        acceptance=one.acceptance,
        options=options,
        tls=tls,
        limits=Limits(options, times),
    )
    socket = bind("127.0.0.1", 0)
    port = socket.getsockname()[1]
    await server.start([Listener(socket, **listener)])
    try:
        yield server, port
    finally:
        await server.stop(timedelta(0))


async def emptied(server: SubmissionServer) -> None:
    """Return when no client is connected; TimeoutError when that takes long."""
    async with asyncio.timeout(5):
        while server.connections:
            await asyncio.sleep(0.005)


class Client:
    """Speaks SMTP octet by octet; every wait is bounded."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, port: int, tls: ssl.SSLContext | None = None) -> "Client":
        return cls(
            *await asyncio.open_connection(
                "127.0.0.1",
                port,
                ssl=tls,
                server_hostname="localhost" if tls else None,
            )
        )

    def write(self, octets: bytes) -> None:
        self.writer.write(octets)

    async def reply(self) -> str:
        """One reply, its lines joined by newlines; "" once the server has closed."""
        lines: list[str] = []
        async with asyncio.timeout(10):
            while True:
                try:
                    line = (await self.reader.readline()).decode()
                except (ConnectionResetError, ssl.SSLError):
                    return ""
                if not line:
                    return "\n".join(lines)
                lines.append(line.rstrip("\r\n"))
                if line[3:4] != "-":
                    return "\n".join(lines)

    async def say(self, command: bytes | str) -> str:
        octets = command.encode() if isinstance(command, str) else command
        self.write(octets + b"\r\n")
        return await self.reply()

    async def open(self) -> str:
        """Banner, EHLO, AUTH: return the reply of AUTH."""
        await self.reply()
        await self.say("EHLO client.example")
        return await self.say("AUTH PLAIN AGFjbWUAczNjcmV0")

    async def envelope(self, sender: str = "app@acme.example", *to: str) -> str:
        await self.say(f"MAIL FROM:<{sender}>")
        for one in to or ("rcpt@dest.example",):
            await self.say(f"RCPT TO:<{one}>")
        return await self.say("DATA")

    async def send(self, octets: bytes) -> str:
        """An envelope and DATA with `octets` as they are, then the final dot."""
        await self.envelope()
        self.write(octets + b".\r\n")
        return await self.reply()

    async def start_tls(self, tls: ssl.SSLContext) -> None:
        await self.writer.start_tls(tls, server_hostname="localhost")

    async def closed(self) -> bool:
        """Whether the server closes without another octet."""
        async with asyncio.timeout(10):
            try:
                return await self.reader.read() == b""
            except ConnectionResetError:
                return True

    async def close(self) -> None:
        self.writer.close()
        try:
            async with asyncio.timeout(5):
                await self.writer.wait_closed()
        except (OSError, TimeoutError):
            pass


@asynccontextmanager
async def talking(
    one: Desk | None = None,
    options: ListenerOptions | None = None,
    *,
    logged_in: bool = True,
    **listener: Any,  # the fields of a Listener
) -> AsyncIterator[tuple[Client, Desk]]:
    """A client in clear on loopback; past AUTH where `logged_in`, else at the banner."""
    one = one or desk()
    async with listening(one, options, **listener) as (_, port):
        client = await Client.connect(port)
        try:
            if logged_in:
                assert (await client.open()).startswith("235")
            yield client, one
        finally:
            await client.close()


HEADER = (
    b"From: Acme <shop@acme.example>\r\nTo: rcpt@dest.example\r\nSubject: hello\r\n"
    b"Date: Thu, 01 Jan 2026 00:00:00 +0000\r\nMessage-ID: <1@acme.example>\r\n"
)
MESSAGE = HEADER + b"\r\nHello\r\n"
