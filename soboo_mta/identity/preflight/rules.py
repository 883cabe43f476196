"""What large mailbox providers ask of senders, with the date of each rule, as one table.

Sources: the providers' own sender guidelines (Google's "Email sender guidelines", Yahoo's
"Sender best practices", Microsoft's "Outlook.com high-volume senders", Apple's iCloud Mail
postmaster page). A provider's rule for bulk holds from its own threshold on; below it the
same is advised, so the traffic that is asked about decides and no count.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from soboo_mta.identity.preflight.values import Code, Provider, Traffic
from soboo_mta.mail.domain import Domain


@dataclass(frozen=True, slots=True)
class Rule:
    """One provider's rule: which checks serve it, for which traffic, since when."""

    provider: Provider
    codes: frozenset[Code]
    traffic: frozenset[Traffic]
    since: str
    demand: str

    def __str__(self) -> str:
        return f"{self.provider} since {self.since}: {self.demand}"


_BULK = frozenset((Traffic.BULK,))
_ALL = frozenset(Traffic)
_BOTH = "SPF and DKIM pass"
_RECORD = "a DMARC record, p=none at least"
_ALIGNED = "From aligned with SPF or DKIM"
_NAMED = "forward and reverse DNS of the address agree"

RULES: Final = (
    Rule(
        Provider.GMAIL,
        frozenset((Code.DKIM_KEY, Code.SPF_PASS)),
        _BULK,
        "2024-02",
        _BOTH,
    ),
    Rule(Provider.GMAIL, frozenset((Code.DMARC_REC,)), _BULK, "2024-02", _RECORD),
    Rule(Provider.GMAIL, frozenset((Code.ALIGN,)), _BULK, "2024-02", _ALIGNED),
    Rule(Provider.GMAIL, frozenset((Code.FCRDNS,)), _ALL, "2024-02", _NAMED),
    Rule(Provider.GMAIL, frozenset((Code.TLS,)), _ALL, "2024-02", "TLS"),
    Rule(Provider.GMAIL, frozenset((Code.FROM,)), _ALL, "2024-02", "no gmail.com From"),
    Rule(
        Provider.YAHOO,
        frozenset((Code.DKIM_KEY, Code.SPF_PASS)),
        _BULK,
        "2024-02",
        _BOTH,
    ),
    Rule(Provider.YAHOO, frozenset((Code.DMARC_REC,)), _BULK, "2024-02", _RECORD),
    Rule(Provider.YAHOO, frozenset((Code.ALIGN,)), _BULK, "2024-02", _ALIGNED),
    Rule(Provider.YAHOO, frozenset((Code.FCRDNS,)), _ALL, "2024-02", _NAMED),
    Rule(
        Provider.MICROSOFT,
        frozenset((Code.DKIM_KEY, Code.SPF_PASS)),
        _BULK,
        "2025-05-05",
        _BOTH,
    ),
    Rule(
        Provider.MICROSOFT, frozenset((Code.DMARC_REC,)), _BULK, "2025-05-05", _RECORD
    ),
    Rule(Provider.MICROSOFT, frozenset((Code.ALIGN,)), _BULK, "2025-05-05", _ALIGNED),
    Rule(
        Provider.MICROSOFT,
        frozenset((Code.MX,)),
        _BULK,
        "2025-05-05",
        "a From and Reply-To that take replies",
    ),
    Rule(
        Provider.APPLE,
        frozenset((Code.DKIM_KEY, Code.SPF_PASS)),
        _BULK,
        "2024",
        _BOTH,
    ),
    Rule(Provider.APPLE, frozenset((Code.FCRDNS,)), _ALL, "2024", _NAMED),
)

MAILBOX_PROVIDERS: Final = frozenset(
    map(
        Domain,
        [
            "gmail.com",
            "googlemail.com",
            "yahoo.com",
            "ymail.com",
            "rocketmail.com",
            "aol.com",
            "outlook.com",
            "hotmail.com",
            "live.com",
            "msn.com",
            "icloud.com",
            "me.com",
            "mac.com",
            "gmx.com",
            "gmx.net",
            "gmx.de",
            "web.de",
            "mail.ru",
            "yandex.ru",
            "proton.me",
            "protonmail.com",
        ],
    )
)
"""Anybody has a mailbox there, and nobody else may send for it."""

IN_THE_MESSAGE: Final = {
    Traffic.BULK: (
        "List-Unsubscribe with one https URI and List-Unsubscribe-Post in each message,"
        " under the signature (RFC 8058); Gmail and Yahoo since 2024-02",
        "complaints under 0.3 % of what arrives, better under 0.1 %",
    ),
    Traffic.TRANSACTIONAL: (),
}
"""What no look at DNS shows: said beside the checks."""


def rules_for(
    code: Code, providers: Iterable[Provider], traffic: Traffic
) -> tuple[Rule, ...]:
    """Return the rules of `providers` that the check `code` serves for `traffic`."""
    wanted = frozenset(providers)
    return tuple(
        rule
        for rule in RULES
        if code in rule.codes and rule.provider in wanted and traffic in rule.traffic
    )
