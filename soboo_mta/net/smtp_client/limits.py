"""What a peer takes at most, as its EHLO says: SIZE (RFC 1870 §4) and LIMITS (RFC 9422)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

MIN_RECIPIENTS: Final = 100  # every server takes as many: RFC 5321 §4.5.3.1.8
_LONGEST: Final = 15  # digits


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """`octets` of a message (0: unlimited), `recipients` of a transaction,
    `transactions` of a connection (0: unlimited)."""

    octets: int = 0
    recipients: int = MIN_RECIPIENTS
    transactions: int = 0

    @classmethod
    def said(cls, extensions: Mapping[str, str]) -> Self:
        """Return the limits in the extensions of an EHLO reply (keywords in lower case).

        What is malformed or unknown is as if not said (RFC 9422 §4).
        """
        pairs = (word.partition("=") for word in extensions.get("limits", "").split())
        named = {name.upper(): _number(value) for name, _, value in pairs}
        return cls(
            octets=_number(extensions.get("size", "")),
            recipients=named.get("RCPTMAX", 0) or MIN_RECIPIENTS,
            transactions=named.get("MAILMAX", 0),
        )


def _number(text: str) -> int:
    text = text.strip()
    is_number = text.isascii() and text.isdigit() and len(text) <= _LONGEST
    return int(text) if is_number else 0
