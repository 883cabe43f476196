"""What the figures of a From domain come to: the share that passes, and whether its DMARC
policy can be raised. Pure; nothing is ever raised by it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from soboo_mta.events.reports.dmarc import Whose
from soboo_mta.events.reports.dmarc_view import Reports, SourceTotal, Total
from soboo_mta.identity.dmarc_merge import stricter_policy
from soboo_mta.mail.domain import Domain

LOOKED_BACK: Final = 30  # days of figures that advice rests on
MIN_DAYS: Final = 14  # of them with reports
MIN_REPORTERS: Final = 2
MIN_MESSAGES: Final = 500
MIN_SHARE: Final = 0.99  # of all messages that pass aligned
QUIET_DAYS: Final = 14  # in which nothing of ours failed
_NAMED: Final = 5  # sources in the reasons


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """Messages of one From domain, all and those that pass DMARC, by whose they are."""

    messages: int = 0
    passed: int = 0
    ours: int = 0
    ours_passed: int = 0
    forwarded: int = 0
    other: int = 0
    rest: int = 0  # of rows that were summed

    @property
    def share(self) -> float | None:
        """Of all that pass, 0 to 1; None where there are none."""
        return self.passed / self.messages if self.messages else None

    @property
    def ours_share(self) -> float | None:
        return self.ours_passed / self.ours if self.ours else None

    @property
    def ours_failed(self) -> int:
        return self.ours - self.ours_passed


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What advice on one From domain rests on: of LOOKED_BACK days, proved reports alone.
    `policy` is in force for it by DNS, "" where no record is; `failed` are messages of
    ours that failed within QUIET_DAYS; `sources` the heaviest first."""

    author: Domain
    policy: str
    reports: Reports
    shares: Shares
    failed: int
    sources: tuple[SourceTotal, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyAdvice:
    """`raise_to` None: not now, or never; `reasons` are sentences for either."""

    policy: str
    raise_to: str | None
    reasons: tuple[str, ...]


def shares_of(totals: Iterable[Total]) -> Shares:
    """Return the sums of one From domain's totals."""
    found = tuple(totals)

    def count(*whose: Whose, passing: bool = False) -> int:
        return sum(
            one.messages
            for one in found
            if one.whose in whose and (one.passes or not passing)
        )

    return Shares(
        messages=count(*Whose),
        passed=count(*Whose, passing=True),
        ours=count(Whose.OURS),
        ours_passed=count(Whose.OURS, passing=True),
        forwarded=count(Whose.FORWARDED),
        other=count(Whose.OTHER),
        rest=count(Whose.REST),
    )


def policy_advice(seen: Evidence) -> PolicyAdvice:
    """Return whether the policy can be raised by one step, and why, or what stands in the
    way."""
    wanted = stricter_policy(seen.policy)
    if wanted is None:
        return PolicyAdvice(
            policy=seen.policy, raise_to=None, reasons=(_no_step(seen),)
        )
    obstacles = tuple(_obstacles(seen))
    return PolicyAdvice(
        policy=seen.policy,
        raise_to=None if obstacles else wanted,
        reasons=obstacles or tuple(_grounds(seen)),
    )


def percent(share: float | None) -> str:
    """Return a share as people read it, never rounded up: 98.97 % is not 99 %."""
    if share is None:
        return "-"
    tenths = int(share * 1_000 + 1e-9)
    return f"{tenths // 10}.{tenths % 10} %"


def is_suspect(one: SourceTotal) -> bool:
    """Whether a source is not ours and mail from it fails."""
    return one.whose in (Whose.OTHER, Whose.FORWARDED) and one.failed > 0


def _no_step(seen: Evidence) -> str:
    if seen.policy:
        return f"p={seen.policy} is in force: there is nothing above it"
    return (
        f"DNS shows no DMARC record in force for {seen.author}:"
        " `soboo-mta domain records` has the first one"
    )


def _obstacles(seen: Evidence) -> Iterator[str]:
    reports, shares = seen.reports, seen.shares
    if reports.days < MIN_DAYS:
        yield (
            f"there are reports of {reports.days} of the last {LOOKED_BACK} days:"
            f" {MIN_DAYS} are needed"
        )
    if len(reports.reporters) < MIN_REPORTERS:
        named = ", ".join(reports.reporters) or "none"
        yield f"too few report ({named}): {MIN_REPORTERS} are needed"
    if shares.messages < MIN_MESSAGES:
        yield f"{shares.messages} messages are reported: {MIN_MESSAGES} are needed"
    if shares.passed < MIN_SHARE * shares.messages:
        yield (
            f"{percent(shares.share)} of all messages pass aligned:"
            f" {percent(MIN_SHARE)} are needed"
        )
        yield from map(_of_source, tuple(filter(is_suspect, seen.sources))[:_NAMED])
    if seen.failed:
        yield (
            f"{seen.failed} messages from our own addresses failed within"
            f" {QUIET_DAYS} days"
        )


def _of_source(one: SourceTotal) -> str:
    names = [f"SPF of {name}" for name in one.spf_domains]
    names += [f"DKIM of {name}" for name in one.dkim_domains]
    proves = f" ({', '.join(names)} passes)" if names else ""
    return (
        f"{one.source} is not ours, and {one.failed} of its {one.messages} messages"
        f" fail{proves}"
    )


def _grounds(seen: Evidence) -> Iterator[str]:
    yield (
        f"{seen.shares.messages} messages in reports of {seen.reports.days} days by"
        f" {len(seen.reports.reporters)} reporters"
    )
    yield f"{percent(seen.shares.share)} of all messages pass aligned"
    yield f"nothing from our own addresses failed within {QUIET_DAYS} days"
