"""Recipients that a tenant's mail does not go to: asked at once, and again before MAIL."""

from typing import Protocol

from soboo_mta.mail.address import Mailbox
from soboo_mta.mail.ids import TenantId
from soboo_mta.mail.outcome import Failed, Reason, Scope
from soboo_mta.mail.reply import reply


class SuppressionLists(Protocol):
    """Each tenant's list, cached (tenancy.Suppressions)."""

    def known(self, tenant: TenantId, address: Mailbox) -> str | None:
        """Why the address is suppressed, "" where it is not, None: `why` has to ask."""
        ...

    async def why(self, tenant: TenantId, address: Mailbox) -> str:
        """Why the address is suppressed, "" where it is not; may raise StoreError."""
        ...


class NoLists:
    """Nobody suppressed anybody."""

    def known(self, tenant: TenantId, address: Mailbox) -> str | None:
        return ""

    async def why(self, tenant: TenantId, address: Mailbox) -> str:
        return ""


def suppressed(because: str) -> Failed:
    """Return the outcome of a recipient that was not tried for that reason."""
    return Failed(
        reply=reply(550, "5.7.1", f"the recipient is suppressed: {because}"),
        reason=Reason.SUPPRESSED,
        scope=Scope.RECIPIENT,
    )
