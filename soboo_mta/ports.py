"""The doors to the world as Protocols: time, DNS, HTTP, the SMTP client; with their values.

Each has two implementations: one in `net/` and a fake under `tests/fakes/`. Nothing here
does input or output.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Protocol

from soboo_mta.mail.address import Mailbox, ReversePath
from soboo_mta.mail.domain import DnsName
from soboo_mta.mail.notify import DsnRequest
from soboo_mta.mail.outcome import Outcome
from soboo_mta.mail.way_out import Secret, WayOut

IpAddress = IPv4Address | IPv6Address


class Clock(Protocol):
    """Time: the wall clock for records, the monotonic one for leases and time-outs."""

    def now(self) -> datetime:
        """Return the present as an aware UTC datetime."""
        ...

    def unix_ms(self) -> int:
        """Return the present in milliseconds since 1970 (the store's unit)."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        ...


# ---- DNS

MAX_CHAIN = 8  # CNAMEs that a Resolver follows: a loop must end (RFC 1034 §5.2.2)


class RecordType(StrEnum):
    A = "A"
    AAAA = "AAAA"
    CAA = "CAA"
    CNAME = "CNAME"
    DS = "DS"
    MX = "MX"
    NS = "NS"
    PTR = "PTR"
    SRV = "SRV"
    TXT = "TXT"


@dataclass(frozen=True, slots=True)
class MxRecord:
    """`host` is the empty string for the null MX (RFC 7505)."""

    preference: int
    host: str


Record = MxRecord | IpAddress | str
"""MX → MxRecord; A/AAAA → address; CNAME/NS/PTR → name without final dot, lower case;
CAA/DS/SRV → presentation form; TXT → its character-strings joined, decoded as latin-1 so that no octet is lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Records of the type asked for, after following `chain` (the CNAMEs, in order)."""

    records: tuple[Record, ...]
    chain: tuple[DnsName, ...]
    ttl: int  # seconds, the lowest of the chain and the records
    server: str = field(default="", compare=False)
    """The address of the zone's own server that was asked for the name; "" where a
    recursive one was. So in each kind of answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoData:
    """The name exists without this type. `chain` as in Found."""

    chain: tuple[DnsName, ...]
    ttl: int  # seconds, negative caching (RFC 2308 §5)
    server: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class NoName:
    """NXDOMAIN; with a `chain`, the target of its last CNAME does not exist."""

    chain: tuple[DnsName, ...]
    ttl: int
    server: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unanswered:
    """SERVFAIL, REFUSED, time-out, no server: says nothing about what exists."""

    cause: str
    server: str = field(default="", compare=False)


Answer = Found | NoData | NoName | Unanswered


class Resolver(Protocol):
    """Look-ups through the configured recursive resolvers, cached by TTL."""

    async def lookup(
        self, name: str, kind: RecordType, *, fresh: bool = False
    ) -> Answer:
        """Return the answer for `name`; never raises for what DNS can say.

        `fresh` passes by our own cache (a re-check wants what is there now).
        """
        ...


@dataclass(frozen=True, slots=True)
class NamedResolver:
    """One recursive resolver by itself, and how people call it (its address)."""

    name: str
    resolver: Resolver


@dataclass(frozen=True, slots=True)
class ServerAnswer:
    """What one of a zone's own servers says; without authority it is Unanswered."""

    server: DnsName
    answer: Answer


@dataclass(frozen=True, slots=True)
class Delegation:
    """What a parent zone says of a name: the servers it leads to, none where it is not
    delegated, and whether it vouches for the zone's keys (a DS record, RFC 4035 §2.4);
    then, whether the zone's servers have any (None: not asked, or no answer)."""

    servers: tuple[DnsName, ...]
    has_ds: bool
    has_keys: bool | None = None
    server: str = field(default="", compare=False)  # who was asked: an address


class Authority(Protocol):
    """Asks zones' own servers, each by itself. Never raises for what DNS can say."""

    async def each(
        self, name: str, kind: RecordType
    ) -> tuple[ServerAnswer, ...] | Unanswered:
        """Return what every server of the name's zone says; Unanswered where no server
        is known."""
        ...

    async def delegation(self, zone: str) -> Delegation | Unanswered:
        """Return what the servers of the zone above say of `zone`."""
        ...

    async def is_bogus(self, name: str, kind: RecordType) -> bool:
        """Whether a validating resolver refuses an answer that there is (RFC 4035 §5.5)."""
        ...


class WebDoor(Protocol):
    """Whether a web server answers."""

    async def answers(self, host: IpAddress | DnsName) -> bool:
        """Ask it over HTTP; a name has its addresses tried in turn. Ends in bounded time
        and never raises for what a peer or DNS can do."""
        ...


# ---- name servers


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class ZoneRecord:
    """One record of a zone. `kind` is the type's mnemonic, of any type a server may hold.

    `value`: TXT without quotes, its character-strings joined, as latin-1; else presentation
    form, names lower case and with the final dot (`10 mx1.esp.example.`).
    """

    owner: DnsName
    kind: str
    value: str
    ttl: int  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneChange:
    """What is taken from a zone, then what is put into it."""

    zone: DnsName
    removed: tuple[ZoneRecord, ...]
    added: tuple[ZoneRecord, ...]

    def __bool__(self) -> bool:
        return bool(self.removed or self.added)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedZone:
    """What a name server holds of a zone, without its SOA; `serial` is the SOA's.

    `is_whole` False: only the names asked for were looked at.
    """

    serial: int
    records: tuple[ZoneRecord, ...]
    is_whole: bool = True


@dataclass(frozen=True, slots=True)
class NotServed:
    """The server answers, and has no such zone."""


class NameServerError(Exception):
    """A name server did not do what was asked; the text is fit for the operator."""


class ZoneMoved(NameServerError):
    """Another writer was faster: read the zone again (RFC 2136 §2.4)."""


class NameServer(Protocol):
    """An authoritative server that we write to. Raises NameServerError, nothing else."""

    async def read(
        self, zone: DnsName, names: Sequence[DnsName]
    ) -> ServedZone | NotServed:
        """Return what is held: all, or where the server tells no more, at `names`."""
        ...

    async def create(
        self, zone: DnsName, name_servers: Sequence[DnsName], *, serial: int
    ) -> None:
        """Make the server hold the zone, with no more than SOA and name servers."""
        ...

    async def apply(self, change: ZoneChange, *, seen: int, serial: int) -> None:
        """Make the change and let the serial rise from `seen` to `serial`.

        Raises ZoneMoved, having changed nothing, where the serial is no longer `seen`.
        """
        ...

    async def withdraw(self, zone: DnsName) -> None:
        """Let the server no longer hold the zone; one that it has not is no error."""
        ...


# ---- HTTP client


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a site answered, redirections followed; `body` is whole."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class NotFetched:
    """No answer, or none that was taken; `cause` is fit for the operator."""

    cause: str


class HttpClient(Protocol):
    """Reads from sites that DNS or another site names: nobody we know chose the URL."""

    async def get(self, url: str) -> Fetched | NotFetched:
        """Return what stands at `url`: over HTTPS with a certificate that holds, in
        bounded time and size, never from an address that mail may not go to."""
        ...


# ---- SMTP client


class TlsPolicy(StrEnum):
    NONE = "none"  # never STARTTLS
    OPPORTUNISTIC = (
        "opportunistic"  # STARTTLS where offered, unverified, clear otherwise
    )
    REQUIRED = "required"  # verified TLS or no delivery


@dataclass(frozen=True, slots=True, kw_only=True)
class HopAddress:
    """One host to connect to: `host` is its name (TLS SNI, logs), `address` the target."""

    host: str
    address: IpAddress
    port: int

    def __str__(self) -> str:
        return f"{self.host}[{self.address}]:{self.port}"


def _always() -> bool:
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """One mail transaction. `octets` is final: CRLF line ends, signed, not dot-stuffed;
    each piece begins a line. `may_finish` is asked immediately before the final dot is
    written: False abandons the transaction (a lease that may have been lost)."""

    reverse_path: ReversePath
    recipients: tuple[Mailbox, ...]
    octets: Sequence[bytes]  # pieces, sent in order
    eight_bit: bool
    smtputf8: bool
    dsn: DsnRequest | None = (
        None  # said where the next hop offers DSN (RFC 3461 §5.2.1)
    )
    may_finish: Callable[[], bool] = _always


class Session(Protocol):
    """A connection to a next hop that has said EHLO (and STARTTLS); used serially."""

    @property
    def tls(self) -> str:
        """The TLS version and cipher, or "" in clear."""
        ...

    @property
    def offers_dsn(self) -> bool:
        """Whether what a transaction's `dsn` asks is passed on to the next hop."""
        ...

    @property
    def is_usable(self) -> bool:
        """Whether another transaction may be tried."""
        ...

    @property
    def takes_eight_bit(self) -> bool:
        """Whether the peer offers 8BITMIME (RFC 6152)."""
        ...

    async def deliver(self, transaction: Transaction) -> tuple[Outcome, ...]:
        """Run one transaction; return one outcome per recipient, in their order.

        Never raises for what a peer can do; a broken session is no longer usable.
        """
        ...

    def dialogue(self) -> str:
        """Return what was said in the opening and the last transaction, a line each, of
        bounded length: without content and secrets."""
        ...

    async def close(self) -> None:
        """QUIT politely where the connection is whole, then close."""
        ...


@dataclass(frozen=True, slots=True)
class ConnectFailure:
    """No session: an outcome (Deferred or Failed, Scope HOST or SITE) for who waits, and
    what was said (see Session.dialogue)."""

    outcome: Outcome
    dialogue: str = ""


class Connector(Protocol):
    """Opens sessions: TCP from `source_address`, banner, EHLO, STARTTLS by policy."""

    async def connect(
        self,
        hop: HopAddress,
        *,
        ehlo: str,
        source_address: IpAddress | None,
        tls: TlsPolicy,
    ) -> Session | ConnectFailure: ...


class ProbeStep(StrEnum):
    """What a customer's submission server is asked for, in this order."""

    ADDRESS = "address"  # its name leads to one that mail may go to
    CONNECT = "connect"
    TLS = "tls"  # from the first octet, or STARTTLS; with a good certificate
    EHLO = "ehlo"
    AUTH_OFFERED = "auth-offered"  # a mechanism that we have
    AUTH = "auth"
    MAIL_FROM = "mail-from"


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """How far a probe came. `failed` None: all that was to be tried is good; `detail` says
    why in words that name no secret; `is_silent`: because DNS gave no answer; `offers` are
    extensions of its EHLO, in capitals."""

    done: tuple[ProbeStep, ...]
    failed: ProbeStep | None = None
    detail: str = ""
    is_silent: bool = False
    hop: str = ""  # "name[address]:port", "" where there was no connection
    tls: str = ""
    offers: tuple[str, ...] = ()


class RelayProbe(Protocol):
    """Tries a customer's submission server, without sending anything."""

    async def probe(
        self, way: WayOut, secret: Secret | None, *, reverse_path: Mailbox, ehlo: str
    ) -> Probed:
        """Connect, secure, log in, say MAIL FROM, then RSET and QUIT.

        Never raises for what a peer can do; ends in bounded time. One login is tried, so
        that a wrong password locks nobody out.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpTimeouts:
    """RFC 5321 §4.5.3.2, client side."""

    connect: timedelta = timedelta(seconds=30)  # and the TLS handshake
    banner: timedelta = timedelta(minutes=5)
    command: timedelta = timedelta(minutes=5)
    data_start: timedelta = timedelta(minutes=2)
    data_block: timedelta = timedelta(minutes=3)
    data_done: timedelta = timedelta(minutes=10)
