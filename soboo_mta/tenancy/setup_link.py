"""The key to a domain's setup page: for whoever manages its DNS, without an account.

Stateless: the domain, until when, and a truncated HMAC. Whoever has it sees what to publish
and how it looks, no more; it ends by itself, and with the domain.
"""

import base64
import hmac
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from soboo_mta.mail.ids import DomainId

_MAC_OCTETS: Final = 12  # 96 bits
_PLAIN_OCTETS: Final = 12  # the domain in 8, the end in 4 (unix seconds)


@dataclass(frozen=True, slots=True)
class SetupLinks:
    """Makes and opens tokens under one key (`MasterKey.setup_key`)."""

    key: bytes

    def token(self, domain_id: DomainId, *, until: int) -> str:
        """Return the token, 39 lower-case letters and digits; `until` in unix seconds."""
        plain = domain_id.to_bytes(8, "big") + until.to_bytes(4, "big")
        text = base64.b32hexencode(plain + self._mac(plain)).decode()
        return text.rstrip("=").lower()

    def opened(self, token: str, *, now: int) -> DomainId | None:
        """Return whose page a token opens at `now` (unix seconds), or None."""
        padded = token.upper() + "=" * (-len(token) % 8)
        try:
            octets = base64.b32hexdecode(padded)
        except ValueError:
            return None
        plain, mac = octets[:_PLAIN_OCTETS], octets[_PLAIN_OCTETS:]
        if not hmac.compare_digest(mac, self._mac(plain)):
            return None
        if now >= int.from_bytes(plain[8:], "big"):
            return None
        return DomainId(int.from_bytes(plain[:8], "big"))

    def _mac(self, plain: bytes) -> bytes:
        return hmac.digest(self.key, plain, sha256)[:_MAC_OCTETS]
