"""Domain names in one normal form, so that equal names compare equal.

A `Domain` is A-labels (RFC 5890 §2.3.2.1), lower case, without the final dot; it is made by
`Domain.parse` alone. `DnsName` is the wider form that DNS owner names take (underscores).
"""

import re
from typing import Self

import idna

from soboo_mta.mail.errors import FormatError

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_DNS_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_FULL_STOPS = str.maketrans("\u3002\uff0e\uff61", "...")
MAX_DOMAIN_OCTETS = 255  # RFC 5321 §4.5.3.1.2
_SHOWN = 60  # a refused name is quoted in replies and logs: cut


class DnsName(str):
    """A DNS owner name, lower case, no final dot; `_dmarc.example.com` is one."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the normal form of `text`; raise FormatError when it is no name."""
        name = text.removesuffix(".").lower()
        if not name or len(name) > MAX_DOMAIN_OCTETS:
            raise FormatError(f"{text[:_SHOWN]!r} is not a DNS name")
        if not all(_DNS_LABEL.fullmatch(label) for label in name.split(".")):
            raise FormatError(f"{text[:_SHOWN]!r} is not a DNS name")
        return cls(name)

    @classmethod
    def parse_or_none(cls, text: str) -> Self | None:
        """As `parse`, with None where `text` is no such name: a stranger may say anything."""
        try:
            return cls.parse(text)
        except FormatError:
            return None

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(self.split("."))

    def is_below(self, other: str) -> bool:
        """Whether this name lies under `other` (not equal to it)."""
        return self.endswith("." + other)


class Domain(DnsName):
    """A mail domain: A-labels, lower case, at least two labels, no final dot."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the normal form of `text`, U-labels or A-labels (RFC 5891 §5).

        Raises FormatError for a single label, an address literal, an empty or an
        over-long name, and labels that IDNA 2008 does not allow.
        """
        name = text.translate(_FULL_STOPS).removesuffix(".")
        if not name.isascii() or "xn--" in name.lower():
            name = _to_a_labels(name)
        name = name.lower()
        if len(name) > MAX_DOMAIN_OCTETS:
            raise FormatError(f"the domain {name[:_SHOWN]!r}… is over 255 octets")
        labels = name.split(".")
        if len(labels) < 2 or not all(_LABEL.fullmatch(label) for label in labels):
            raise FormatError(f"{text[:_SHOWN]!r} is not a fully qualified domain")
        if labels[-1].isdigit():
            raise FormatError(f"{text[:_SHOWN]!r} is an address, not a domain")
        return cls(name)


def _to_a_labels(name: str) -> str:
    try:
        return idna.encode(name, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError) as error:
        raise FormatError(f"{name[:_SHOWN]!r} is not a valid domain") from error
