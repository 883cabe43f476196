"""Recipients that a tenant's mail does not go to: asked at once, and again before MAIL."""

from typing import Protocol

from soboo_mta.mail.address import Mailbox
from soboo_mta.mail.ids import Stream, TenantId
from soboo_mta.mail.outcome import Failed, Reason, Scope
from soboo_mta.mail.reply import reply
from soboo_mta.mail.spooled import Claimed


class SuppressionLists(Protocol):
    """Each tenant's list, cached (tenancy.Suppressions)."""

    def known(self, tenant: TenantId, address: Mailbox, stream: Stream) -> str | None:
        """Why mail of the stream does not go to the address, "" where it does, None:
        `why` has to ask."""
        ...

    async def why(self, tenant: TenantId, address: Mailbox, stream: Stream) -> str:
        """As `known`; asks where it has to. May raise StoreError."""
        ...


class NoLists:
    """Nobody suppressed anybody."""

    def known(self, tenant: TenantId, address: Mailbox, stream: Stream) -> str | None:
        return ""

    async def why(self, tenant: TenantId, address: Mailbox, stream: Stream) -> str:
        return ""


def whose(claimed: Claimed) -> tuple[TenantId, Mailbox, Stream]:
    """Return what a list is asked of a recipient."""
    return claimed.message.tenant, claimed.recipient, claimed.message.stream


def suppressed(because: str) -> Failed:
    """Return the outcome of a recipient that was not tried for that reason."""
    return Failed(
        reply=reply(550, "5.7.1", f"the recipient is suppressed: {because}"),
        reason=Reason.SUPPRESSED,
        scope=Scope.RECIPIENT,
    )
