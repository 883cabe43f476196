"""The values of a preflight: what was observed before a message is sent, and the checks.

Whatever got no answer from DNS is None or says so: it is never taken as missing.
"""

from dataclasses import dataclass
from enum import StrEnum

from soboo_mta.identity.state import (
    Departure,
    DmarcView,
    DomainSettings,
    SignaturePlan,
    Source,
)
from soboo_mta.mail.domain import Domain
from soboo_mta.ports import IpAddress, Probed, TlsPolicy


class Traffic(StrEnum):
    """What is sent; bulk-sender rules hold for whoever sends bulk, whatever the count."""

    BULK = "bulk"
    TRANSACTIONAL = "transactional"


class Provider(StrEnum):
    """Whose rules are asked about."""

    GMAIL = "gmail"
    YAHOO = "yahoo"
    MICROSOFT = "microsoft"
    APPLE = "apple"


class Code(StrEnum):
    """One check each."""

    PLAN = "P-PLAN"
    FROM = "P-FROM"
    DKIM_KEY = "P-DKIM-KEY"
    SPF_PASS = "P-SPF-PASS"  # noqa: S105 - a check, not a password
    DMARC_REC = "P-DMARC-REC"
    ALIGN = "P-ALIGN"
    MX = "P-MX"
    FCRDNS = "P-FCRDNS"
    EHLO = "P-EHLO"
    SPFROOT = "P-SPFROOT"
    TLS = "P-TLS"
    WAY = "P-WAY"  # the customer's relay or mailbox, tried


class Result(StrEnum):
    """PASS; WARN: it leaves and should arrive, mend it at leisure; FIX: it leaves, and a
    provider asked about refuses or files away such mail; HOLD: it does not leave;
    UNKNOWN: DNS gave no answer, which says nothing about anybody."""

    PASS = "pass"  # noqa: S105 - a result, not a password
    WARN = "warn"
    FIX = "fix"
    HOLD = "hold"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check: what was found in `sentence`, what to do in `mend` ("" where nothing),
    and whose rules ask for it, with their date, in `asked_by`. `is_advice`: a WARN that
    stays one, whoever demands the check as such."""

    code: Code
    result: Result
    sentence: str
    mend: str = ""
    asked_by: tuple[str, ...] = ()
    is_advice: bool = False


ASK_AGAIN = "ask again later; if it lasts, look at the zone's name servers"
"""What to do where DNS gave no answer."""


# ---- what was observed


@dataclass(frozen=True, slots=True, kw_only=True)
class SpfSeen:
    """One evaluation (RFC 7208 §2.6): `result` "pass", "fail", …; `lookups` and `voids` of
    the whole record, whichever term matched."""

    domain: Domain
    result: str
    lookups: int = 0
    voids: int = 0

    @property
    def is_unknown(self) -> bool:
        return self.result == "temperror"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySeen:
    """What receivers find under one signature's key name. `fault`: what stops them from
    using it, "" for nothing, None: no answer; `bits`: its size, of our own public half."""

    signature: SignaturePlan
    bits: int
    fault: str | None

    @property
    def owner(self) -> str:
        return f"{self.signature.selector}._domainkey.{self.signature.domain}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportAddress:
    """A foreign domain that a `rua=` names; whether it agrees to take the reports
    (RFC 9990 §4: `<domain>._report._dmarc.<host>`); None: no answer."""

    host: str
    owner: str
    is_authorised: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DmarcSeen:
    """What both algorithms find for the From domain; `records` are all at its own name,
    `found_at` is where the record in force stands ("" where there is none)."""

    walk: DmarcView
    suffix_list: DmarcView
    records: tuple[str, ...]
    found_at: str
    record: str
    is_test: bool
    reports: tuple[ReportAddress, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MailHosts:
    """Where mail for `domain` would go: MX hosts, "" for the null MX; None: no answer."""

    domain: Domain
    hosts: tuple[str, ...] | None
    has_address: bool = False  # stands in for a missing MX (RFC 5321 §5.1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReverseSeen:
    """The PTR names of the source's address, each with its addresses; None: no answer."""

    names: tuple[tuple[str, tuple[IpAddress, ...] | None], ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RootSeen:
    """The SPF record of the From domain itself, as far as it stands in anyone's way."""

    records: int
    faults: tuple[str, ...]
    remarks: tuple[str, ...]
    is_unanswered: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WaySeen:
    """What speaks for mail that the customer's relay or mailbox would send. `signs`: a key
    of its provider's with d= of the domain is there; `spf`: SPF of the domain names the
    provider; None of them: not known, by silence or because nothing is known of a relay.
    `ours`: a key of ours that a signature could be made with. `probed` None: not tried."""

    signs: bool | None
    spf: bool | None
    is_silent: bool
    ours: bool
    probed: Probed | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """All that a preflight rests on. `departure` is what `depart` gives for `source` now;
    `dmarc`, `ehlo_addresses` None: no answer; `spf` None: nothing departs. `holds` are those
    of operators that stand in its way, in words."""

    settings: DomainSettings
    source: Source
    departure: Departure
    spf: SpfSeen | None
    ehlo_spf: SpfSeen
    keys: tuple[KeySeen, ...]
    dmarc: DmarcSeen | None
    mail_hosts: tuple[MailHosts, ...]
    reverse: ReverseSeen
    ehlo_addresses: tuple[IpAddress, ...] | None
    root: RootSeen
    tls: TlsPolicy
    holds: tuple[str, ...] = ()
    way: WaySeen | None = None  # of modes relay and mailbox alone
