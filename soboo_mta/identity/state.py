"""The values of a sending domain: how it is set up, what was observed, what follows.

`DomainState` is all that `depart` needs to know; the tenancy room loads it, the
onboarding room computes its capabilities from DNS.
"""

from dataclasses import dataclass
from enum import StrEnum

from soboo_mta.formats.keys import Algorithm as Algorithm
from soboo_mta.identity.fault import Fault as Fault
from soboo_mta.mail.address import Mailbox
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.mail.ids import DomainId, KeyId, TenantId
from soboo_mta.mail.way_out import WayOut
from soboo_mta.ports import IpAddress, RecordType


class Mode(StrEnum):
    """The five ways a customer's domain is set up."""

    ZONE = "zone"
    CNAME = "cname"
    RELAY = "relay"
    MAILBOX = "mailbox"
    MANUAL = "manual"


class OnBroken(StrEnum):
    """What to do with mail while no aligned way out exists."""

    HOLD = "hold"
    REFUSE = "refuse"
    SEND_UNALIGNED = "send_unaligned"  # off by default; recorded with each message


class KeyState(StrEnum):
    """NEXT is published ahead; ACTIVE signs; RETIRING is still published; REVOKED has an
    empty `p=` and no private half; of WITHDRAWN nothing is published any more."""

    NEXT = "next"
    ACTIVE = "active"
    RETIRING = "retiring"
    REVOKED = "revoked"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """One DKIM key of a domain under its selector; `p` is the base64 of the p= tag."""

    key_id: KeyId
    selector: DnsName
    algorithm: Algorithm
    state: KeyState
    p: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainSettings:
    """What was configured for one sending domain of one tenant."""

    domain_id: DomainId
    tenant: TenantId
    name: Domain
    mode: Mode
    token: str  # unguessable label, per (tenant, domain), never reissued
    bounce_label: str  # "bounce": bounce.customer.com
    selectors: tuple[DnsName, ...]  # ("sb1", "sb2", "sb3"[, "sb4" for Ed25519])
    on_broken: OnBroken
    sign_with_operator: bool  # one more signature, d= the operator's domain
    assume_verified: bool  # test harnesses alone; see settings
    keys: tuple[PublicKey, ...]  # what is published of: none that is WITHDRAWN
    zone: Domain | None = (
        None  # mode zone: what is delegated to us; None: `name` itself
    )

    way_out: WayOut | None = None  # modes relay and mailbox: the customer's own

    @property
    def home(self) -> Domain:
        """What our names stand under: the zone delegated to us, else the domain."""
        return self.zone or self.name

    @property
    def bounce_domain(self) -> Domain:
        return Domain(f"{self.bounce_label}.{self.home}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where mail leaves from. `address` is bound locally; `public_address` is what the
    receiver sees and SPF must name (the same unless behind NAT)."""

    name: str
    address: IpAddress | None
    public_address: IpAddress
    ehlo_name: Domain


WebHost = IpAddress | DnsName
"""A host that serves links or images: its address, or its name."""

# ---- records


class Purpose(StrEnum):
    """What a required record is for."""

    BOUNCE = "bounce"
    SELECTOR = "selector"
    AUTHOR_SELECTOR = "author-selector"  # beside a zone: for d= identical to From
    OWNERSHIP = "ownership"
    SPF = "spf"
    DMARC = "dmarc"
    LINK = "link"
    IMAGE = "image"
    HELO = "helo"  # an EHLO name of ours that lies in the customer's zone


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """The operator's own domain, and the names in it that customers' CNAMEs lead to."""

    domain: Domain
    bounce_domain: Domain  # bounce.<domain>: rung two of the ladder
    mx_hosts: tuple[Domain, ...]  # accept returns for every bounce host
    sources: tuple[Source, ...]
    keys: tuple[PublicKey, ...]  # of the operator's own d=
    dmarc_reports: Mailbox | None = None  # at `domain`: takes customers' rua= reports
    link_hosts: tuple[WebHost, ...] = ()  # answer customers' link hosts; none: no links
    image_hosts: tuple[WebHost, ...] = ()
    open_doors: frozenset[Purpose] = (
        frozenset()
    )  # LINK, IMAGE: a host of it answers now


@dataclass(frozen=True, slots=True, kw_only=True)
class RequiredRecord:
    """One record the customer (or the operator) publishes. `value` is presentation form
    without quotes: a CNAME's or MX's target ends in a dot; `selector` for SELECTOR."""

    owner: DnsName
    kind: RecordType
    value: str
    purpose: Purpose
    selector: DnsName | None = None
    is_required: bool = True  # False: recommended, does not gate sending
    note: str = ""

    @property
    def asked(self) -> RecordType:
        """The type that receivers ask for at the name: what is behind a CNAME."""
        if self.kind is not RecordType.CNAME:
            return self.kind
        match self.purpose:
            case Purpose.BOUNCE:
                return RecordType.MX
            case Purpose.LINK | Purpose.IMAGE:
                return RecordType.A
            case _:
                return RecordType.TXT


class RecordStatus(StrEnum):
    GOOD = "good"
    MISSING = "missing"  # authoritative: no such name or no such type
    WRONG = "wrong"  # authoritative: something else is there
    UNKNOWN = "unknown"  # no answer: says nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordCheck:
    """What one look at one required record found, in words a DNS admin can act on."""

    record: RequiredRecord
    status: RecordStatus
    found: str  # what DNS says now, "" where nothing; UNKNOWN: what it said last
    cause: str  # one sentence: what is wrong; "" when good
    mend: str  # one sentence: what to do; "" when good
    ttl: int  # seconds until a look can differ
    checked_at: int  # unix ms
    good_at: int | None  # unix ms of the last look that was GOOD
    fault: Fault = Fault.NONE
    since: int | None = None  # unix ms of the look that first found it so
    server: str = ""  # the address of the zone's server that was asked; "" for others'
    next_check_at: int | None = None  # unix ms

    @property
    def query(self) -> str:
        """The question that was asked: name and type."""
        return f"{self.record.owner}. {self.record.asked}"


# ---- DMARC and capabilities


class Alignment(StrEnum):
    RELAXED = "r"
    STRICT = "s"


@dataclass(frozen=True, slots=True, kw_only=True)
class DmarcView:
    """One discovery algorithm's view of a From domain (RFC 9989 walk, or PSL).

    `organizational` maps each name that could authenticate (From, bounce domain, d=) to
    its Organizational Domain under this algorithm. `has_record` False: not applicable.
    """

    has_record: bool
    policy: str  # none | quarantine | reject; "none" where no record
    dkim: Alignment
    spf: Alignment
    organizational: tuple[tuple[Domain, Domain], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What DNS was last seen to say about one sending domain; stored as JSON.

    `usable` are the keys that receivers find under `home` (cname: by our CNAME), each TXT
    equal to our public half; `usable_author` those that they find under the From domain
    where that is another. `spf_bounce` and `spf_author` name the sources for which SPF of
    the bounce domain and of the From domain is pass.
    """

    usable: tuple[KeyId, ...]
    bounce_ready: bool  # the bounce host leads to us and its MX are ours
    spf_bounce: tuple[str, ...]
    spf_author: tuple[str, ...]
    walk: DmarcView
    suffix_list: DmarcView
    observed_at: int  # unix ms, of the oldest answer that these rest on
    usable_author: tuple[KeyId, ...] = ()
    stable_since: int = 0  # unix ms, of the look that first showed all this
    link_ready: bool = False  # the link host leads to us, and a host there answers
    image_ready: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainState:
    """All that decides how a message of this domain departs.

    `was_verified`: ownership was proved for this tenant at least once. `facts` None:
    never looked at.
    """

    settings: DomainSettings
    was_verified: bool
    facts: Facts | None


# ---- plans


class Verdict(StrEnum):
    """Predicted DMARC result under both algorithms."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    NOT_APPLICABLE = (
        "not_applicable"  # the walk finds no record; d= is identical to From
    )
    FAIL = "fail"  # only ever with on_broken = send_unaligned


@dataclass(frozen=True, slots=True)
class SignaturePlan:
    """One signature to make: d=, s=, with which key."""

    domain: Domain
    selector: DnsName
    key_id: KeyId
    algorithm: Algorithm


class Rung(StrEnum):
    """Which step of the ladder a plan stands on."""

    FULL = "full"  # own bounce domain, own signature
    OPERATOR_BOUNCE = "operator-bounce"  # own signature, the operator's bounce domain
    SPF_ONLY = "spf-only"  # no usable key; SPF aligns by itself
    UNALIGNED = "unaligned"  # by the domain's own setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How one message departs. `bounce_domain` None: `author` is the reverse-path and
    bounces go to the customer (`bounce_blind`). What the verdict rests on, as evidence:
    `by_walk` and `by_suffix_list` are what aligns under each algorithm, in words, and
    `policy` is what the From domain publishes, "" where no record applies."""

    rung: Rung
    bounce_domain: Domain | None
    signatures: tuple[SignaturePlan, ...]
    ehlo_name: Domain
    verdict: Verdict
    by_walk: tuple[str, ...] = ()
    by_suffix_list: tuple[str, ...] = ()
    policy: str = ""

    @property
    def bounce_blind(self) -> bool:
        return self.bounce_domain is None


@dataclass(frozen=True, slots=True)
class Hold:
    """Keep it and tell someone; `explanation` names the record to mend."""

    explanation: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """Fail it now, by the domain's own setting."""

    explanation: str


Departure = Plan | Hold | Refuse
