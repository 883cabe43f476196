"""What acceptance asks of other rooms: who may send, how much, and where mail is kept.

Met by `tenancy.Directory`, its quota and `spool.Spool`, and by fakes in tests.
"""

from typing import Protocol

from soboo_mta.identity.state import DomainState
from soboo_mta.mail.address import Mailbox
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.errors import NoLogin
from soboo_mta.mail.ids import CredentialId, MessageId, Stream, TenantId
from soboo_mta.mail.reply import Reply
from soboo_mta.mail.spooled import OnceKey, SpooledMessage
from soboo_mta.ports import IpAddress


class Credential(Protocol):
    """One way to log in; `tenant` None is the operator's."""

    @property
    def credential_id(self) -> CredentialId: ...

    @property
    def tenant(self) -> TenantId | None: ...


class Tenant(Protocol):
    """One customer of the operator."""

    @property
    def suspended(self) -> bool: ...

    @property
    def refuses_suppressed(self) -> bool:
        """Whether suppressed recipients are refused as they are submitted."""
        ...


class Directory(Protocol):
    """Who may send for which domain; cached, at most 250 ms behind the store."""

    async def authenticate(
        self, user_name: str, secret: str, client: IpAddress
    ) -> Credential | NoLogin:
        """Return the credential, or, after the same time, what was wrong."""
        ...

    async def certified(
        self, names: tuple[str, ...], user_name: str, client: IpAddress
    ) -> Credential | NoLogin:
        """Return the credential bound to one of the names of a verified certificate: the
        one of that user name, or for "" of the first name that has one."""
        ...

    async def still_valid(self, credential_id: CredentialId) -> bool: ...

    async def tenant(self, tenant_id: TenantId) -> Tenant | None: ...

    async def sending_domain(
        self, author_domain: Domain, *, tenant: TenantId | None
    ) -> DomainState | None:
        """Return the tenant's domain of exactly that name; for None its one owner's."""
        ...


class Quota(Protocol):
    """What a tenant may send in an hour and a day."""

    async def take(self, tenant: TenantId, recipients: int) -> bool:
        """Take `recipients` from the quota; False, and nothing taken, where over."""
        ...

    def give_back(self, tenant: TenantId, recipients: int) -> None:
        """Undo a `take` whose message was not kept."""
        ...


class SuppressionLists(Protocol):
    """Each tenant's list, cached (tenancy.Suppressions)."""

    async def why(self, tenant: TenantId, address: Mailbox, stream: Stream) -> str:
        """Why mail of the stream does not go to the address, "" where it does. May raise
        StoreError."""
        ...


class Kept(Protocol):
    """A message that was kept under a client's key."""

    @property
    def message_id(self) -> MessageId: ...

    @property
    def digest(self) -> bytes: ...


class Spool(Protocol):
    """Where accepted mail is kept."""

    @property
    def has_room(self) -> bool:
        """Whether there is space to keep mail; false before the disk is full."""
        ...

    async def accept(
        self, message: SpooledMessage, *, claim: bool, due_at: int | None = None
    ) -> bool:
        """Commit, synced, and return whether it is claimed for this worker; raises
        StoreError when nothing was kept, Fenced where its key was taken. `due_at` (unix
        ms) with `claim` False: not to be tried before."""
        ...

    async def kept_under(self, once: OnceKey) -> Kept | None:
        """Return what was kept under a client's key; None where it is free."""
        ...


class Log(Protocol):
    """The facts of submission, one method each; never a secret or a body."""

    def accepted(self, message: SpooledMessage) -> None: ...

    def refused(self, reply: Reply, *, client: str, tenant: TenantId | None) -> None:
        """A command of a submission was refused."""
        ...

    def login_failed(self, *, client: str, user_name: str, cause: NoLogin) -> None:
        """The client was not told the cause."""
        ...

    def proxy_refused(self, *, proxy: str, cause: str) -> None:
        """A proxy did not say, as it must, who its client is."""
        ...

    def internal_error(self, *, stage: str, error: BaseException) -> None:
        """An error of ours, with its trace; the client was told nothing of it."""
        ...
