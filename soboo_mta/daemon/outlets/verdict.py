"""What an answer to a delivery means for the event and for its webhook. Pure."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from soboo_mta.events.outbox.queue import Again, Done, Waiting
from soboo_mta.net.outlets.webhook import NotPosted, Posted

_GONE: Final = 410  # RFC 9110 §15.5.11: it will not come back
_LONGEST: Final = timedelta(hours=24)
_MS: Final = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """When an event is delivered again, and how long at all."""

    steps: tuple[timedelta, ...] = (
        timedelta(seconds=5),
        timedelta(seconds=30),
        timedelta(minutes=2),
        timedelta(minutes=10),
        timedelta(minutes=30),
        timedelta(hours=1),
        timedelta(hours=3),
        timedelta(hours=6),
        timedelta(hours=12),
        timedelta(hours=24),
    )
    """After the first, second, … attempt; the last repeats."""
    jitter: float = 0.2
    """Up to this share is added to each wait."""
    lifetime: timedelta = timedelta(days=3)
    """From being queued: then the event is given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`end` is the event's; the webhook itself rests for so long, or has said that it is
    gone for good."""

    end: Done | Again
    rest: timedelta = timedelta(0)
    is_gone: bool = False


def judge(
    answer: Posted | NotPosted,
    waiting: Waiting,
    retries: Retries,
    *,
    now: int,
    chance: float,
) -> Verdict:
    """Return what follows from an answer at `now` (unix ms); `chance` is in [0, 1).

    2xx alone is acceptance: a redirection is not followed, so it is none. What the
    webhook asks for by Retry-After is kept, up to a day, and holds for all its events.
    """
    if isinstance(answer, Posted) and answer.is_accepted:
        return Verdict(end=Done(waiting=waiting, is_dropped=False))
    rest = timedelta(0)
    if isinstance(answer, Posted):
        if answer.status == _GONE:
            return Verdict(end=Done(waiting=waiting, is_dropped=True), is_gone=True)
        rest = min(answer.retry_after or rest, _LONGEST)
    over = waiting.queued_at + retries.lifetime // _MS
    if now >= over:
        return Verdict(end=Done(waiting=waiting, is_dropped=True), rest=rest)
    step = retries.steps[min(waiting.attempts, len(retries.steps) - 1)]
    wait = max(step * (1 + retries.jitter * chance), rest)
    due_at = min(now + wait // _MS, over)  # one last attempt at its end
    return Verdict(end=Again(waiting=waiting, due_at=due_at), rest=rest)
