"""Who sent a return: SPF, DKIM and DMARC of one message that came in."""

from soboo_mta.returns.authentication.check import (
    AuthenticationOptions,
    Came,
    authenticated,
)

__all__ = ["AuthenticationOptions", "Came", "authenticated"]
