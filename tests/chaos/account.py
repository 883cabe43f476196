"""What was promised against what arrived, counted in the sinks' records.

The store is asked for one thing: when each recipient was settled as delivered. A copy
that came after that, or a second settlement, has no excuse; a copy before it has one
where a life ended between submission and settlement.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from sqlalchemy import Connection, and_, func, select, text

from soboo_mta.lab.record import MessageRecord
from soboo_mta.store.schema import attempt, message, recipient
from tests.chaos.ready_world import DOMAIN
from tests.chaos.sender import Mail

_UNDER_WAY = 1_000  # ms: a copy may be counted by the sink so long after it left
Place = tuple[str, str]  # name of the message, recipient


@dataclass(slots=True)
class Life:
    """A relay's, from `began` (unix ms) on. `cause` ended the life before: from `began`
    to `over` a copy may have left that was not noted."""

    began: int
    cause: str = ""
    over: int = 0

    def __post_init__(self) -> None:
        self.over = self.over or self.began


@dataclass(slots=True, kw_only=True)
class Account:
    """Every list but the counts must be empty."""

    acknowledged: int = 0  # messages × recipients
    unanswered: int = 0  # arrived without a 250: allowed
    duplicates: int = 0
    lost: list[Place] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)
    unaligned: list[str] = field(default_factory=list)
    duplicates_by: Counter[str] = field(default_factory=Counter)  # what caused them

    @property
    def wrong(self) -> dict[str, list[object]]:
        """What must not be, by kind; empty where all is well."""
        kinds = {
            "lost": self.lost,
            "never submitted": self.strangers,
            "unexplained duplicates": self.unexplained,
            "not DMARC pass": self.unaligned,
        }
        return {kind: list(found) for kind, found in kinds.items() if found}


def account(
    sent: Iterable[Mail],
    records: Sequence[MessageRecord],
    settled: Mapping[Place, Sequence[int]],
    lives: Sequence[Life],
) -> Account:
    """Compare. `settled`: when (unix ms) each recipient was settled as delivered;
    `lives`: each life of the relay, by its number."""
    by_name = {mail.name: mail for mail in sent}
    result = Account()
    copies: defaultdict[Place, list[int]] = defaultdict(list)
    for record in records:
        name = record.verdict.message_id.removesuffix(f"@{DOMAIN}>").removeprefix("<")
        if record.verdict.dmarc != "pass":
            result.unaligned.append(f"{name}: {record.verdict}")
        for to in record.rcpt_to:
            if name not in by_name or to not in by_name[name].recipients:
                result.strangers.append(f"{name} to {to}")
            copies[name, to].append(int(record.received_at.timestamp() * 1_000))
    for mail in by_name.values():
        for to in mail.recipients:
            came = copies.get((mail.name, to), [])
            result.acknowledged += mail.is_acknowledged
            result.unanswered += bool(came) and not mail.is_acknowledged
            result.duplicates += max(0, len(came) - 1)
            if mail.is_acknowledged and not came:
                result.lost.append((mail.name, to))
            trouble = _unexplained(mail, came, settled.get((mail.name, to), ()), lives)
            for one, next_one in pairwise(sorted(came)):
                result.duplicates_by[_cause(one, next_one, lives)] += 1
            if trouble:
                result.unexplained.append(f"{mail.name} to {to}: {trouble}")
    return result


def _unexplained(
    mail: Mail, came: Sequence[int], settled: Sequence[int], lives: Sequence[Life]
) -> str:
    """Why its copies can't all be of final dots sent by lives that ended badly."""
    if not came:
        return "settled, but nothing arrived" if settled else ""
    if len(settled) != 1:
        return f"{len(came)} copies, settled {len(settled)} times"
    if max(came) > settled[0]:
        return "a copy came after it was settled"
    last = sum(life.began <= settled[0] for life in lives) - 1
    if len(came) - 1 > last - mail.life:
        return f"{len(came)} copies in lives {mail.life} to {last}"
    for one, next_one in pairwise(sorted(came)):
        if not _cause(one, next_one, lives):
            return f"copies at {one} and {next_one}, and no life ended between them"
    return ""


def _cause(one: int, next_one: int, lives: Sequence[Life]) -> str:
    """What kept the delivery of a copy from being noted, so that the next one left; "":
    nothing that has a name."""
    for slack in (0, _UNDER_WAY):
        for life in lives:
            if life.began <= next_one and one - slack <= life.over:
                return life.cause
    return ""


def unsettled(connection: Connection) -> Counter[str]:
    """How many recipients are in each state that waits."""
    waits = text("state IN ('queued', 'active', 'deferred', 'held')")
    query = select(recipient.c.state, func.count()).where(waits)
    return Counter(dict(map(tuple, connection.execute(query.group_by("state")))))


def deliveries(connection: Connection) -> dict[Place, list[int]]:
    """When each recipient was settled as delivered: once, one would hope."""
    query = (
        select(message.c.header_message_id, recipient.c.address, attempt.c.at)
        .join(message, message.c.id == attempt.c.message_id)
        .join(
            recipient,
            and_(
                recipient.c.message_id == attempt.c.message_id,
                recipient.c.position == attempt.c.position,
            ),
        )
        .where(attempt.c.outcome == "delivered")
    )
    found: defaultdict[Place, list[int]] = defaultdict(list)
    for name, to, at in connection.execute(query):
        found[name.removesuffix(f"@{DOMAIN}>").removeprefix("<"), to].append(at)
    return found
