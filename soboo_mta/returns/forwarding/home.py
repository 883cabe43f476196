"""Where a return goes home to: an address that mail of the operator's may go to.

The reverse-path that was submitted, where it lies in the tenant's verified domains; else an
address that the tenant registered: the rule of our own reports. So nobody has us write to
strangers.
"""

from typing import Final

from sqlalchemy import Connection

from soboo_mta.mail.address import Mailbox
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.ids import TenantId
from soboo_mta.spool.returned.forwarding import Submitted
from soboo_mta.tenancy.accounts import find_tenant
from soboo_mta.tenancy.domains import tenant_states
from soboo_mta.tenancy.signing.slots import keys_of

_NO_KEYS: Final = "the operator has no keys to sign it with: soboo-mta key operator"
_NO_DESK: Final = "[returns] desk is not set any more"


def home(
    connection: Connection,
    tenant_id: TenantId,
    sent: Submitted | None,
    desk: Mailbox | None,
) -> Mailbox | str:
    """Return the address, else why there is none. `sent` None: it is for the desk."""
    if not keys_of(connection, None):
        return _NO_KEYS
    if sent is None:
        return desk or _NO_DESK
    tenant = find_tenant(connection, tenant_id)
    if tenant is None:
        return "the tenant is gone"
    own = sent.reverse_path.mailbox
    if own is not None and _is_verified(connection, own.domain, tenant_id):
        return own
    return (
        tenant.returns_to
        or tenant.report_address
        or (
            f"{sent.reverse_path} is in none of the tenant's verified domains, and the"
            " tenant has no address for returns or reports"
        )
    )


def _is_verified(connection: Connection, domain: Domain, tenant: TenantId) -> bool:
    states = tenant_states(connection, [(domain, tenant)])
    return any(
        one.was_verified or one.settings.assume_verified for one in states.values()
    )
