"""Signed addresses: what a bounce or a wish to be left out needs to find its recipient,
and no more.

The local part is `b-` (a reverse-path: VERP) or `u-` (it unsubscribes), and 40 letters of
lower-case base32 (RFC 4648 §7): 25 octets of key version, message, position, expiry and
HMAC-SHA-256 cut to 88 bits, taken over the domain and the use too: an address of one use
never opens as one of the other. Verified without a look-up; holds no personal data.
"""

import re
from base64 import b32hexencode
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest

from soboo_mta.mail.address import Mailbox
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.ids import MessageId

MAX_KEY_VERSION = 31
WHOLE_MESSAGE = 0xFFFF
"""A position that stands for all recipients of a message."""
_HOUR_MS = 3_600_000
_MAC_OCTETS = 11  # 88 bits: 25 octets in all, so that base32 leaves no spare bits
_LETTERS = re.compile(r"[0-9a-v]{40}")
_BLOCK_OCTETS = 64  # of SHA-256 (RFC 2104 §2)
_INNER, _OUTER = (
    bytes(x ^ 0x36 for x in range(256)),
    bytes(x ^ 0x5C for x in range(256)),
)


@dataclass(frozen=True, slots=True)
class _Use:
    """What an address is for; `mark` ends what its MAC is taken over. No domain has a NUL,
    so that what one use signs is never what another does."""

    prefix: str
    mark: bytes


_RETURNS = _Use("b-", b"")
_UNSUBSCRIBES = _Use("u-", b"\0unsubscribe")


@dataclass(frozen=True, slots=True)
class ReturnToken:
    """Which recipient (by `position`) of which message a return belongs to."""

    message: MessageId
    position: int
    expires_at_ms: int


class VerpSigner:
    """Makes and opens such addresses. `keys` by version, 0 to 31; `current` signs, every
    one opens, so that a key can be replaced while returns are still under way."""

    def __init__(self, keys: Mapping[int, bytes], current: int) -> None:
        if current not in keys:
            raise ValueError(f"no VERP key of version {current}")
        if not all(0 <= version <= MAX_KEY_VERSION for version in keys):
            raise ValueError("VERP key versions are 0 to 31")
        self._hashes = {version: _Hmac(key) for version, key in keys.items()}
        self._current = current

    def address(
        self, message: MessageId, position: int, expires_at_ms: int, domain: Domain
    ) -> Mailbox:
        """Return the reverse-path; the expiry (unix ms) is rounded up to the hour.

        Raises OverflowError for a position over 65,535.
        """
        return self._made(_RETURNS, message, position, expires_at_ms, domain)

    def unsubscribe_address(
        self, message: MessageId, position: int, expires_at_ms: int, domain: Domain
    ) -> Mailbox:
        """As `address`: the one by which the recipient leaves the message's stream."""
        return self._made(_UNSUBSCRIBES, message, position, expires_at_ms, domain)

    def open(self, local_part: str, domain: Domain, now_ms: int) -> ReturnToken | None:
        """Return what a reverse-path says, or None: not ours, changed, or expired.

        Letters may have changed case on the way; the MAC is compared in constant time.
        """
        return self._opened(_RETURNS, local_part, domain, now_ms)

    def open_unsubscribe(
        self, local_part: str, domain: Domain, now_ms: int
    ) -> ReturnToken | None:
        """As `open`, for what `unsubscribe_address` made."""
        return self._opened(_UNSUBSCRIBES, local_part, domain, now_ms)

    def _made(
        self,
        use: _Use,
        message: MessageId,
        position: int,
        expires_at_ms: int,
        domain: Domain,
    ) -> Mailbox:
        payload = b"".join(
            (
                self._current.to_bytes(1),
                message.to_bytes(8),
                position.to_bytes(2),
                (-(-expires_at_ms // _HOUR_MS)).to_bytes(3),
            )
        )
        mac = self._hashes[self._current].digest(payload + domain.encode() + use.mark)
        token = b32hexencode(payload + mac[:_MAC_OCTETS]).decode().lower()
        return Mailbox(use.prefix + token, domain)

    def _opened(
        self, use: _Use, local_part: str, domain: Domain, now_ms: int
    ) -> ReturnToken | None:
        text = local_part.lower()
        letters = text[len(use.prefix) :]
        if not text.startswith(use.prefix) or not _LETTERS.fullmatch(letters):
            return None
        octets = int(letters, 32).to_bytes(25)
        payload, mac = octets[:-_MAC_OCTETS], octets[-_MAC_OCTETS:]
        keyed = self._hashes.get(payload[0])
        if keyed is None:
            return None
        expected = keyed.digest(payload + domain.encode() + use.mark)[:_MAC_OCTETS]
        if not compare_digest(mac, expected):
            return None
        expires_at_ms = int.from_bytes(payload[11:14]) * _HOUR_MS
        if expires_at_ms <= now_ms:
            return None
        return ReturnToken(
            MessageId(int.from_bytes(payload[1:9])),
            int.from_bytes(payload[9:11]),
            expires_at_ms,
        )


class _Hmac:
    """HMAC-SHA-256 (RFC 2104) with the key's two blocks hashed once: a third of the
    cost of `hmac.digest` a call."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        block = sha256(key).digest() if len(key) > _BLOCK_OCTETS else key
        block = block.ljust(_BLOCK_OCTETS, b"\0")
        self._inner = sha256(block.translate(_INNER))
        self._outer = sha256(block.translate(_OUTER))

    def digest(self, text: bytes) -> bytes:
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(text)
        outer.update(inner.digest())
        return outer.digest()
