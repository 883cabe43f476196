"""Where those who send to our bounce hosts report how TLS went (TLSRPT, RFC 8460 §3)."""

import re
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import unquote, urlsplit

from soboo_mta.mail.address import Mailbox, parse_mailbox
from soboo_mta.mail.errors import FormatError

# No comma, semicolon or "!": in the record they end an address (RFC 8460 §3).
_MAILTO: Final = re.compile(
    r"mailto:[\w.+=~/-]{1,64}@[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63})+",
    re.ASCII | re.IGNORECASE,
)
_HTTPS: Final = re.compile(
    r"https://[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63})+(?::\d{1,5})?"
    r"(?:/[\w./%+=~?&-]{0,200})?",
    re.ASCII | re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsReportsTo:
    """One mailbox, one address of HTTPS, or both. `path` is that of `url`, as a request
    names it, "" without one."""

    mailbox: Mailbox | None = None
    url: str = ""
    path: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return what a setting says: URIs with a comma between them.

        Raises FormatError for another scheme, for a second address of one kind, and for
        what the record could not hold.
        """
        mailbox: Mailbox | None = None
        url = ""
        for one in map(str.strip, text.split(",")):
            if _MAILTO.fullmatch(one) and mailbox is None:
                mailbox = parse_mailbox(one.partition(":")[2])
            elif _HTTPS.fullmatch(one) and not url:
                url = one
            else:
                raise FormatError(
                    f"{one[:60]!r} is not an address for TLS reports: write"
                    ' "mailto:tls@example.com", "https://example.com/tls", or one of each'
                    " with a comma between them"
                )
        path = (unquote(urlsplit(url).path) or "/") if url else ""
        return cls(mailbox=mailbox, url=url, path=path)

    def __str__(self) -> str:
        """What stands in the record, after rua=."""
        mailto = "" if self.mailbox is None else f"mailto:{self.mailbox}"
        return ",".join(filter(None, (mailto, self.url)))
