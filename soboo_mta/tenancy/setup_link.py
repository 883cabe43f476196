"""The key to a domain's setup page: for whoever manages its DNS, without an account.

Stateless: the domain, until when, and a truncated HMAC. Whoever has it sees what to publish
and how it looks, no more; it ends by itself, and with the domain. What a command found out
travels in the link too, so that the page itself asks nobody.
"""

import base64
import hmac
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from soboo_mta.mail.ids import DomainId

_MAC_OCTETS: Final = 12  # 96 bits
_PLAIN_OCTETS: Final = 12  # the domain in 8, the end in 4 (unix seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Click:
    """Where all records are published at once: by opening `url` at the DNS host `name`, a
    text of one line."""

    name: str
    url: str


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

    def carry(self, token: str, click: Click) -> str:
        """Return `click` in letters that stand beside a token in an address: anybody can
        read it, nobody can change it or take it to another token."""
        plain = f"{click.name}\n{click.url}".encode()
        octets = self._mac(_carried(token, plain)) + plain
        return base64.urlsafe_b64encode(octets).decode().rstrip("=")

    def carried(self, token: str, letters: str) -> Click | None:
        """Return what `carry` was given with this token, or None."""
        try:
            octets = base64.urlsafe_b64decode(letters + "=" * (-len(letters) % 4))
        except ValueError:
            return None
        mac, plain = octets[:_MAC_OCTETS], octets[_MAC_OCTETS:]
        if not hmac.compare_digest(mac, self._mac(_carried(token, plain))):
            return None
        name, _, url = plain.decode().partition("\n")
        return Click(name=name, url=url)

    def _mac(self, plain: bytes) -> bytes:
        return hmac.digest(self.key, plain, sha256)[:_MAC_OCTETS]


def _carried(token: str, plain: bytes) -> bytes:
    """What the MAC is of: never 12 octets, as those of a token are."""
    return b"carried\0" + token.encode() + b"\0" + plain
