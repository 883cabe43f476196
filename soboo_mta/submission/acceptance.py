"""How a message is accepted, from who is it to the `250`. The steps, in their order:

1. `login`, `login_by_certificate` or `trusted`: which credential speaks, for which tenant.
2. `mail`: the credential is still good, the size is bearable. `recipient`: it is not
   suppressed, where the tenant wants that to be said at once.
3. `data`: a key that a message was kept under has its answer; the octets are lines → one
   From, one mailbox → its domain is the tenant's, and verified → the tenant is not
   suspended → the same for Sender and Resent fields → quota.
4. The header is rewritten and the body hashed, once.
5. The message is committed, claimed for this worker while transfer has room for it.
6. `on_accepted` hands it to transfer, in memory. Only then is the answer 250.

Commit and hand-over are one shielded task: a client that leaves does not cut them apart.
A refusal is raised as Reject; whatever else is raised, the listener answers 451. Owns no
socket. RFC 5321 §4.1.1.4 and §6.1 (what 250 promises), RFC 6409.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from soboo_mta.formats.canonical import body_hash
from soboo_mta.formats.header import HeaderBlock
from soboo_mta.identity.state import DomainState, Operator
from soboo_mta.mail.address import Mailbox, ReversePath
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.errors import NoLogin, Reject
from soboo_mta.mail.ids import (
    NO_STREAM,
    CredentialId,
    MessageId,
    MessageIds,
    Stream,
    TenantId,
)
from soboo_mta.mail.notify import DsnRequest
from soboo_mta.mail.reply import Reply
from soboo_mta.mail.spooled import OnceKey, SpooledMessage
from soboo_mta.ports import Clock, IpAddress
from soboo_mta.store.unit import Fenced, StoreError, StoreFull
from soboo_mta.submission import policy, replies
from soboo_mta.submission.doors import (
    Directory,
    Log,
    Quota,
    Spool,
    SuppressionLists,
)
from soboo_mta.submission.feedback import Feedback
from soboo_mta.submission.framing import check_framing
from soboo_mta.submission.options import AcceptanceOptions
from soboo_mta.submission.rewrite import rewrite

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """Who speaks on a connection. `tenant` None: for whichever owns the From domain;
    `credential` None: a trusted network."""

    tenant: TenantId | None
    credential: CredentialId | None
    client: IpAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What MAIL and RCPT said. `recipients` are distinct, in the order of RCPT;
    `protocol` is the word for Received (RFC 3848). `dsn` None: no report was asked for;
    `release_at` (unix ms) None: at once; `stream` NO_STREAM: as the header says."""

    reverse_path: ReversePath
    recipients: tuple[Mailbox, ...]
    smtputf8: bool
    protocol: str
    dsn: DsnRequest | None = None
    release_at: int | None = None
    stream: Stream = NO_STREAM


class Acceptance:
    """Decides about each message and keeps it. One a process; safe for many sessions."""

    def __init__(
        self,
        *,
        directory: Directory,
        spool: Spool,
        quota: Quota,
        suppressions: SuppressionLists,
        ids: MessageIds,
        clock: Clock,
        log: Log,
        operator: Operator,
        options: AcceptanceOptions,
        on_accepted: Callable[[SpooledMessage, tuple[int, ...]], None],
        room_for: Callable[[int, TenantId], bool],
        feedback: Feedback | None = None,
    ) -> None:
        """`feedback` None: messages carry nothing by which complaints find home."""
        self.options = options
        self.log = log
        self._directory = directory
        self._spool = spool
        self._quota = quota
        self._suppressions = suppressions
        self._ids = ids
        self._clock = clock
        self._operator = operator
        self._on_accepted = on_accepted
        self._room_for = room_for
        self._feedback = feedback
        self._lifetime_ms = int(options.lifetime.total_seconds() * 1_000)
        self._commits: set[asyncio.Task[None]] = set()

    # ---- who is it

    def trusted(self, client: IpAddress) -> Login | None:
        """Return the login of a client in a trusted network, None for all others."""
        if any(client in network for network in self.options.trusted_networks):
            return Login(tenant=None, credential=None, client=client)
        return None

    async def login(
        self, user_name: str, secret: str, client: IpAddress
    ) -> Login | None:
        """Return who that is; None for an unknown name and a wrong secret alike."""
        found = await self._directory.authenticate(user_name, secret, client)
        if isinstance(found, NoLogin):
            self.log.login_failed(client=str(client), user_name=user_name, cause=found)
            return None
        return Login(tenant=found.tenant, credential=found.credential_id, client=client)

    async def login_by_certificate(
        self, names: tuple[str, ...], user_name: str, client: IpAddress
    ) -> Login | None:
        """Return who a verified certificate with these names is; `user_name` chooses
        among several, "" takes the first. None where nobody is bound to it."""
        found = await self._directory.certified(names, user_name, client)
        if isinstance(found, NoLogin):
            name = user_name or names[0]
            self.log.login_failed(client=str(client), user_name=name, cause=found)
            return None
        return Login(tenant=found.tenant, credential=found.credential_id, client=client)

    async def mail(self, login: Login, size: int) -> None:
        """Admit one more transaction; raise Reject for a revoked credential, a size over
        the limit, or want of space (RFC 1870 §6.1)."""
        if login.credential is not None and not (
            await self._directory.still_valid(login.credential)
        ):
            raise Reject(replies.REVOKED)
        if size > self.options.max_message_octets:
            raise Reject(replies.too_large(self.options.max_message_octets))
        if not self._spool.has_room:  # before the client sends it in vain
            raise Reject(replies.FULL)

    async def refuses_suppressed(self, login: Login) -> bool:
        """Whether `recipient` may refuse: the client's tenant wants it so. For a client
        that sends for many tenants it is not known yet whose mail comes."""
        if login.tenant is None:
            return False
        try:
            tenant = await self._directory.tenant(login.tenant)
        except StoreError as error:
            raise Reject(replies.INTERNAL) from error
        return tenant is not None and tenant.refuses_suppressed

    async def recipient(
        self, login: Login, mailbox: Mailbox, stream: Stream = NO_STREAM
    ) -> None:
        """Raise Reject for a recipient that mail of the stream does not go to, where that
        is to be said at once. NO_STREAM: the stream is not known yet, and entries for all
        streams count alone; departure asks again."""
        if login.tenant is None or not await self.refuses_suppressed(login):
            return
        try:
            because = await self._suppressions.why(login.tenant, mailbox, stream)
        except StoreError as error:
            raise Reject(replies.INTERNAL) from error
        if because:
            raise Reject(replies.suppressed(because))

    def future_release(self) -> str | None:
        """Return what EHLO says of FUTURERELEASE (RFC 4865 §3); None: not offered."""
        longest = self.options.longest_hold
        if not longest:
            return None
        latest = (self._clock.now() + longest).replace(microsecond=0)
        seconds = int(longest.total_seconds())
        return f"{seconds} {latest.isoformat().replace('+00:00', 'Z')}"

    def release_time(self, hold: timedelta | datetime | None) -> int | None:
        """Return when a message is released (unix ms); raise Reject for a time that is
        over or later than was announced."""
        if hold is None:
            return None
        longest = self.options.longest_hold
        if not longest:
            raise Reject(replies.NO_HOLD)
        wait = hold if isinstance(hold, timedelta) else hold - self._clock.now()
        if wait < timedelta(0):
            raise Reject(replies.HOLD_IN_THE_PAST)
        if wait > longest:
            raise Reject(replies.held_too_long(int(longest.total_seconds())))
        return self._clock.unix_ms() + wait // timedelta(milliseconds=1)

    # ---- the message

    async def data(
        self,
        login: Login,
        envelope: Envelope,
        octets: bytes,
        *,
        once: OnceKey | None = None,
    ) -> Reply:
        """Keep the message and return 250, or raise Reject and keep nothing.

        `octets` are what stood between DATA and the final dot, dots unstuffed, or what
        came by BDAT or HTTP. Where a message was kept under the key `once` before, its
        250 is returned again.
        """
        if once is not None and (kept := await self._kept_under(once)):
            return kept
        framed = partial(
            check_framing, octets, mend_line_ends=self.options.mend_line_ends
        )
        content = await self.apart(len(octets), framed)
        header = policy.read_header(content)
        author = policy.read_author(header, smtputf8=envelope.smtputf8)
        policy.check_hops(header, self.options.max_hops, self.options.host_name)
        stream = policy.read_stream(header)
        if not envelope.stream:
            envelope = replace(envelope, stream=stream)
        state = await self._authorise(login, author)
        tenant = state.settings.tenant
        for field, domain in policy.other_names(
            header, author, smtputf8=envelope.smtputf8
        ):
            await self._authorise_name(field, domain, tenant)
        if not await self._quota.take(tenant, len(envelope.recipients)):
            raise Reject(replies.QUOTA)
        prepare = partial(
            self._prepare,
            self._ids.next(),
            login,
            envelope,
            header,
            author,
            state,
            once,
        )
        message = await self.apart(len(content), prepare)
        try:
            await self._keep(message, envelope.release_at)
        except (Reject, Fenced) as error:
            self._quota.give_back(tenant, len(envelope.recipients))
            if once is not None and isinstance(error, Fenced):
                return await self._kept_by_another(once)
            raise
        return replies.accepted(message.message_id)

    async def apart(self, octets: int, work: Callable[[], T]) -> T:
        """Do `work` on so many octets, in a thread where others would have to wait."""
        if octets > self.options.thread_over_octets:
            return await asyncio.to_thread(work)
        return work()

    async def drain(self) -> None:
        """Wait until every commit under way has ended, well or badly."""
        while self._commits:
            await asyncio.wait(self._commits)

    async def _kept_under(self, once: OnceKey) -> Reply | None:
        try:
            kept = await self._spool.kept_under(once)
        except StoreError as error:
            raise Reject(replies.INTERNAL) from error
        if kept is None:
            return None
        if kept.digest != once.digest:
            raise Reject(replies.KEY_REUSED)
        return replies.accepted(kept.message_id)

    async def _kept_by_another(self, once: OnceKey) -> Reply:
        """A request with the same key was committed between our look and our commit."""
        kept = await self._kept_under(once)
        if kept is None:
            raise Reject(replies.INTERNAL)
        return kept

    async def _authorise(self, login: Login, author: Mailbox) -> DomainState:
        state = policy.authorised(
            await self._directory.sending_domain(author.domain, tenant=login.tenant),
            author.domain,
            self._operator,
        )
        tenant = await self._directory.tenant(state.settings.tenant)
        if tenant is None or tenant.suspended:
            raise Reject(replies.SUSPENDED)
        return state

    async def _authorise_name(
        self, field: str, domain: Domain, tenant: TenantId
    ) -> None:
        state = await self._directory.sending_domain(domain, tenant=tenant)
        if state is None or not policy.may_send(state):
            raise Reject(replies.not_yours(field, domain))

    def _prepare(
        self,
        message_id: MessageId,
        login: Login,
        envelope: Envelope,
        header: HeaderBlock,
        author: Mailbox,
        state: DomainState,
        once: OnceKey | None,
    ) -> SpooledMessage:
        now = self._clock.unix_ms()
        expires_at = (envelope.release_at or now) + self._lifetime_ms
        own: tuple[tuple[str, str], ...] = ()
        if self._feedback is not None:
            own = self._feedback.fields(
                message_id, state.settings, envelope.stream, expires_at
            )
        rewritten = rewrite(
            header,
            message_id=message_id,
            author_domain=author.domain,
            host_name=self.options.host_name,
            protocol=envelope.protocol,
            now=self._clock.now(),
            own=own,
        )
        return SpooledMessage(
            message_id=message_id,
            tenant=state.settings.tenant,
            domain_id=state.settings.domain_id,
            credential=login.credential,
            reverse_path=envelope.reverse_path,
            author=author,
            recipients=envelope.recipients,
            header_message_id=rewritten.header_message_id,
            client=str(login.client),
            eight_bit=not rewritten.content.isascii(),
            smtputf8=envelope.smtputf8
            and policy.needs_smtputf8(header, author, envelope.recipients),
            body_hash=body_hash(header.body),
            accepted_at=now,
            expires_at=expires_at,
            content=rewritten.content,
            stream=envelope.stream,
            dsn=envelope.dsn,
            once=once,
        )

    async def _keep(self, message: SpooledMessage, release_at: int | None) -> None:
        """Commit and hand over, in a task that outlives the client."""
        task = asyncio.get_running_loop().create_task(self._commit(message, release_at))
        self._commits.add(task)
        task.add_done_callback(self._ended)
        try:
            await asyncio.shield(task)
        except StoreFull as error:
            raise Reject(replies.FULL) from error
        except Fenced:
            raise  # the key was taken meanwhile
        except StoreError as error:
            raise Reject(replies.INTERNAL) from error

    async def _commit(self, message: SpooledMessage, release_at: int | None) -> None:
        claim = release_at is None and self._room_for(message.size, message.tenant)
        is_claimed = await self._spool.accept(message, claim=claim, due_at=release_at)
        self.log.accepted(message)
        if is_claimed:
            self._on_accepted(message, tuple(range(len(message.recipients))))

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._commits.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(
            error, Fenced
        ):  # told here: the client that would hear may be gone
            self.log.internal_error(stage="commit", error=error)
