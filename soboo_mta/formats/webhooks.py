"""Signatures of webhooks in the form of Standard Webhooks (standardwebhooks.com).

What is signed is `id.timestamp.body`, octet for octet, by HMAC-SHA256 with the secret's
octets. Each secret that is good gives one signature, so that a receiver may change over
between two of them. Pure; keeps no secret.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping
from typing import Final, Self

from soboo_mta.mail.errors import FormatError

_PREFIX: Final = "whsec_"
_OCTETS: Final = 32
_SHORTEST, _LONGEST = 24, 64  # octets, as the specification asks


class SigningSecret:
    """What signs the events of one webhook; shows as stars."""

    __slots__ = ("_octets",)

    def __init__(self, octets: bytes) -> None:
        if not _SHORTEST <= len(octets) <= _LONGEST:
            raise FormatError(
                f"a signing secret has {_SHORTEST} to {_LONGEST} octets, not {len(octets)}"
            )
        self._octets = octets

    @classmethod
    def generate(cls) -> Self:
        """Return a fresh secret of 256 bits."""
        return cls(secrets.token_bytes(_OCTETS))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the secret written as `whsec_` and base64; raise FormatError."""
        try:
            octets = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
        except ValueError as error:
            raise FormatError("a signing secret is whsec_ and base64") from error
        return cls(octets)

    def reveal(self) -> str:
        """Return `whsec_…`: for its receiver and for sealing alone."""
        return _PREFIX + base64.b64encode(self._octets).decode("ascii")

    def signature(self, event_id: str, timestamp: int, body: bytes) -> str:
        """Return `v1,…` of one delivery; `timestamp` is unix seconds."""
        signed = f"{event_id}.{timestamp}.".encode() + body
        digest = hmac.digest(self._octets, signed, hashlib.sha256)
        return "v1," + base64.b64encode(digest).decode("ascii")

    def __repr__(self) -> str:
        return "SigningSecret(********)"


def signed_fields(
    event_id: str, timestamp: int, body: bytes, with_: Iterable[SigningSecret]
) -> Mapping[str, str]:
    """Return the header fields that let a receiver verify a delivery; the signatures are
    in the order of the secrets, a space between them."""
    signatures = (one.signature(event_id, timestamp, body) for one in with_)
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signatures),
    }
