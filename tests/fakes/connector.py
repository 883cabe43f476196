"""A connector without sockets: sessions that answer as told, and the doors of departure."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from ipaddress import ip_address

from soboo_mta.events.log import EventLog
from soboo_mta.formats.canonical import body_hash
from soboo_mta.formats.dkim import Signer
from soboo_mta.formats.keys import (
    KeyPair,
    SigningKey,
    generate_ed25519,
    load_signing_key,
)
from soboo_mta.formats.verp import VerpSigner
from soboo_mta.identity.state import (
    Algorithm,
    Alignment,
    DmarcView,
    DomainSettings,
    DomainState,
    Facts,
    KeyState,
    Mode,
    OnBroken,
    Operator,
    PublicKey,
    Source,
)
from soboo_mta.mail.address import ReversePath, parse_mailbox
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.mail.ids import DomainId, KeyId, MessageId, Stream, TenantId
from soboo_mta.mail.outcome import Delivered, Outcome, Reason
from soboo_mta.mail.reply import reply
from soboo_mta.mail.spooled import Claimed, SpooledMessage
from soboo_mta.ports import (
    ConnectFailure,
    HopAddress,
    IpAddress,
    TlsPolicy,
    Transaction,
)
from soboo_mta.spool.capacity import Share, fair_share, in_line
from soboo_mta.spool.moves.claim import LEAVING_NOTHING, Leaving
from soboo_mta.store.unit import Statement
from tests.fakes.clock import FakeClock

OK = Delivered(reply=reply(250, "2.0.0", "queued"))
SOURCE = Source(
    name="one",
    address=None,
    public_address=ip_address("192.0.2.1"),
    ehlo_name=Domain("out.esp.example"),
)
OPERATOR = Operator(
    domain=Domain("esp.example"),
    bounce_domain=Domain("bounce.esp.example"),
    mx_hosts=(Domain("mx.esp.example"),),
    sources=(SOURCE,),
    keys=(),
)
CONTENT = (
    b"From: Ann <ann@customer.example>\r\nTo: bob@there.example\r\n"
    b"Subject: hello\r\nDate: Thu, 01 Jan 2026 00:00:00 +0000\r\n"
    b"Message-ID: <1@customer.example>\r\n\r\nHello.\r\n.dot\r\n"
)
Answer = Outcome | Callable[[Transaction], Outcome]


def a_message(
    number: int = 1,
    *,
    to: Sequence[str] = ("bob@there.example",),
    tenant: str = "acme",
    domain_id: int = 7,
    content: bytes = CONTENT,
    expires_at: int = 4_000_000_000_000,
) -> SpooledMessage:
    return SpooledMessage(
        message_id=MessageId(number),
        tenant=TenantId(tenant),
        domain_id=DomainId(domain_id),
        credential=None,
        reverse_path=ReversePath(None),
        author=parse_mailbox("ann@customer.example"),
        recipients=tuple(parse_mailbox(address) for address in to),
        header_message_id="<1@customer.example>",
        client="192.0.2.9",
        eight_bit=False,
        smtputf8=False,
        body_hash=body_hash(content.partition(b"\r\n\r\n")[2]),
        accepted_at=0,
        expires_at=expires_at,
        content=content,
    )


@dataclass
class FakeSession:
    """Answers each transaction by `answer`; breaks after `lasts` of them."""

    connector: "FakeConnector"
    hop: HopAddress
    lasts: int
    tls: str = ""
    is_usable: bool = True
    takes_eight_bit: bool = True

    @property
    def offers_dsn(self) -> bool:
        return self.connector.offers_dsn

    async def deliver(self, transaction: Transaction) -> tuple[Outcome, ...]:
        self.connector.transactions.append(transaction)
        self.connector.began.set()
        await self.connector.gate.wait()
        if not transaction.may_finish():
            self.is_usable = False
        answer = self.connector.answer
        outcome = answer(transaction) if callable(answer) else answer
        self.lasts -= 1
        self.is_usable = self.is_usable and self.lasts > 0
        return (outcome,) * len(transaction.recipients)

    def dialogue(self) -> str:
        return f"S: 220 {self.hop.host}"

    async def close(self) -> None:
        self.is_usable = False
        self.connector.closed += 1


@dataclass
class FakeConnector:
    """Implements ports.Connector. `failures` by address come first; `gate` holds back."""

    answer: Answer = OK
    failures: dict[str, Outcome] = field(default_factory=dict)
    lasts: int = 1_000
    dialled: list[HopAddress] = field(default_factory=list)
    transactions: list[Transaction] = field(default_factory=list)
    sessions: list[FakeSession] = field(default_factory=list)
    closed: int = 0
    offers_dsn: bool = False
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    began: asyncio.Event = field(default_factory=asyncio.Event)  # a transaction did

    def __post_init__(self) -> None:
        self.gate.set()

    async def connect(
        self,
        hop: HopAddress,
        *,
        ehlo: str,
        source_address: IpAddress | None,
        tls: TlsPolicy,
    ) -> FakeSession | ConnectFailure:
        self.dialled.append(hop)
        await asyncio.sleep(0)
        failure = self.failures.get(str(hop.address))
        if failure is not None:
            return ConnectFailure(failure, "S: 554 no")
        self.sessions.append(FakeSession(self, hop, self.lasts))
        return self.sessions[-1]


@dataclass(frozen=True)
class FakeTenant:
    suspended: bool = False
    weight: int = 1
    pool: str | None = None
    unsubscribe: frozenset[Stream] = frozenset()

    def offers_unsubscribing(self, stream: Stream) -> bool:
        return stream in self.unsubscribe


class FakeIdentities:
    """One good domain (id 7, customer.example) until `state` is changed."""

    def __init__(self, pair: KeyPair | None = None) -> None:
        pair = pair or generate_ed25519()
        self.pair = pair
        self.generation = 1
        self.tenants: dict[str, FakeTenant] = {}
        self.key: SigningKey = load_signing_key(pair.private, pair.algorithm)
        self.state: DomainState | None = good_state(pair)
        self.on_look: Callable[[], None] = lambda: None

    def change(self, **facts: object) -> None:
        """Change the facts, as a monitor does: the generation rises."""
        assert self.state is not None
        assert self.state.facts is not None
        self.state = replace(self.state, facts=replace(self.state.facts, **facts))
        self.generation += 1

    async def tenant(self, tenant_id: TenantId) -> FakeTenant | None:
        return self.tenants.get(tenant_id, FakeTenant())

    async def domain_by_id(self, domain_id: DomainId) -> DomainState | None:
        self.on_look()
        return self.state

    async def signing_key(self, key_id: KeyId) -> SigningKey:
        return self.key


def good_state(pair: KeyPair) -> DomainState:
    name = Domain("customer.example")
    view = DmarcView(
        has_record=True,
        policy="reject",
        dkim=Alignment.RELAXED,
        spf=Alignment.RELAXED,
        organizational=((name, name), (Domain("bounce.customer.example"), name)),
    )
    # RSA in name: a plan never stands on Ed25519 alone
    key = PublicKey(
        key_id=KeyId(1),
        selector=DnsName("sb1"),
        algorithm=Algorithm.RSA,
        state=KeyState.ACTIVE,
        p=pair.p,
    )
    return DomainState(
        settings=DomainSettings(
            domain_id=DomainId(7),
            tenant=TenantId("acme"),
            name=name,
            mode=Mode.CNAME,
            token="t0k3n",
            bounce_label="bounce",
            selectors=(DnsName("sb1"), DnsName("sb2"), DnsName("sb3")),
            on_broken=OnBroken.HOLD,
            sign_with_operator=False,
            assume_verified=False,
            keys=(key,),
        ),
        was_verified=True,
        facts=Facts(
            usable=(KeyId(1),),
            bounce_ready=True,
            spf_bounce=("one",),
            spf_author=(),
            walk=view,
            suffix_list=view,
            observed_at=FakeClock().unix_ms(),
        ),
    )


@dataclass
class FakeLease:
    epoch: int = 1
    may_start_attempt: bool = True
    is_given_up: bool = False

    def give_up(self) -> None:
        self.may_start_attempt = False
        self.is_given_up = True


@dataclass
class FakeCapacity:
    """Grants up to `free` connections over all sites."""

    free: int = 1_000
    taken: Counter[str] = field(default_factory=Counter)
    most: int = 0
    next_turn: float = 0.0
    lines: dict[str, float] = field(default_factory=dict)
    waiting: dict[tuple[str, str], dict[int, Share]] = field(default_factory=dict)

    async def take(
        self,
        site: str,
        source: str,
        wanted: int,
        limit: int,
        *,
        spare: int = 0,
        epoch: int,
    ) -> int:
        wanted += spare
        granted = max(0, min(wanted, self.free, limit - self.taken[site]))
        self.free -= granted
        self.taken[site] += granted
        self.most = max(self.most, self.taken[site])
        return granted

    async def give_back(
        self, site: str, source: str, connections: int, *, epoch: int
    ) -> None:
        self.free += connections
        self.taken[site] -= connections

    async def contested(self) -> dict[tuple[str, str], dict[int, Share]]:
        return dict(self.waiting)

    def surplus(self, shares: dict[int, Share], limit: int) -> int:
        return max(0, shares[0].held - fair_share(shares, 0, limit))

    async def turns_in_line(
        self,
        place: str,
        interval: timedelta,
        *,
        within: Sequence[timedelta],
        epoch: int,
    ) -> tuple[timedelta, ...] | None:
        now = asyncio.get_running_loop().time()
        first = max(now, self.lines.get(place, 0.0))
        *waits, following = in_line(timedelta(seconds=first - now), interval, within)
        self.lines[place] = now + following.total_seconds()
        return tuple(waits)

    async def turns(
        self, site: str, source: str, wanted: int, interval: timedelta, *, epoch: int
    ) -> float | None:
        now = asyncio.get_running_loop().time()
        first = max(now, self.next_turn)
        self.next_turn = first + wanted * interval.total_seconds()
        return first - now


@dataclass
class FakeSpool:
    """Statements become the list of what was settled, once the ledger commits them."""

    due: list[Claimed] = field(default_factory=list)
    passed_over: list[Leaving] = field(default_factory=list)
    settled: list[tuple[Claimed, Outcome, int | None]] = field(default_factory=list)
    returned: list[tuple[Claimed, Reason]] = field(default_factory=list)
    gates: list[tuple[str, str]] = field(default_factory=list)

    async def claim_due(
        self, limit: int, *, leaving: Leaving = LEAVING_NOTHING
    ) -> tuple[Claimed, ...]:
        self.passed_over.append(leaving)
        taken, self.due = self.due[:limit], self.due[limit:]
        return tuple(taken)

    def settlement(
        self,
        claimed: Claimed,
        outcome: Outcome,
        *,
        at: int,
        due_at: int | None,
        site: str = "",
    ) -> list[Statement]:
        return [_told(self.settled, (claimed, outcome, due_at))]

    def given_back(
        self, claimed: Claimed, *, reason: Reason, due_at: int
    ) -> list[Statement]:
        return [_told(self.returned, (claimed, reason))]

    def gate_closed(
        self, scope: str, subject: str, reason: Reason, explanation: str
    ) -> Statement:
        return _told(self.gates, (scope, subject))


class _Clause:
    """Stands for SQL: committing it appends `value` to `target`."""

    def __init__(self, target: list[object], value: object) -> None:
        self.target, self.value = target, value


def _told(target: list, value: object) -> Statement:
    return Statement(_Clause(target, value), ({},))


@dataclass
class FakeLedger:
    """Commits after a turn of the loop; `troubles` are raised first, one a commit."""

    troubles: list[Exception] = field(default_factory=list)
    commits: int = 0
    attempts: list[dict] = field(default_factory=list)
    events: list[dict] = field(default_factory=list)
    looks: list[dict] = field(default_factory=list)  # asked for, at a domain's DNS

    async def commit(self, unit: Sequence[Statement]) -> None:
        await asyncio.sleep(0)
        if self.troubles:
            raise self.troubles.pop(0)
        self.commits += 1
        for statement in unit:
            if isinstance(statement.clause, _Clause):
                statement.clause.target.append(statement.clause.value)
            elif "outcome" in statement.rows[0]:
                self.attempts.append(dict(statement.rows[0]))
            elif "kind" in statement.rows[0]:
                self.events.append(dict(statement.rows[0]))
            elif "stale" in statement.rows[0]:
                self.looks.append(dict(statement.rows[0]))


class Quiet:
    """A log's sink that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, object]]] = []

    def info(self, event: str, **facts: object) -> None:
        self.lines.append((event, facts))

    warning = info


def an_event_log() -> EventLog:
    return EventLog(Quiet())


def a_verp_signer() -> VerpSigner:
    return VerpSigner({1: b"k" * 32}, 1)


def a_signer() -> Signer:
    return Signer()
