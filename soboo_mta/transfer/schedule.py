"""When a deferred recipient is tried again, and when its life is over.

Pure. Expiry is decided after an attempt alone, so a clock that jumps ahead expires nothing
that was not tried once more (RFC 5321 §4.5.4.1).
"""

from dataclasses import dataclass
from datetime import timedelta

from soboo_mta.mail.outcome import Deferred, Reason
from soboo_mta.mail.reply import Reply
from soboo_mta.transfer.answers.hints import hint_in

_GREYLIST_CODES = (450, 451)
_GREYLIST_WORDS = ("greylist", "graylist", "grey list", "try again later")
_MS = timedelta(milliseconds=1)
# Only these say something of how long: what we say ourselves, of a refused connection, say,
# may read like it.
_WORDS_OF_A_PEER = (Reason.REPLY, Reason.BLOCKED, Reason.CONTENT_BLOCKED)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySchedule:
    """Waits between attempts. The defaults try four times in the first hour and every
    four hours at the end, as RFC 5321 §4.5.4.1 asks, for five days."""

    steps: tuple[timedelta, ...] = (
        timedelta(minutes=5),
        timedelta(minutes=15),
        timedelta(minutes=30),
        timedelta(hours=1),
        timedelta(hours=2),
        timedelta(hours=4),
    )  # after the first, second, … attempt; the last repeats
    greylisted: timedelta = timedelta(minutes=5)  # after a first greylisting reply
    blocked: timedelta = timedelta(minutes=30)  # at least, after a block
    lifetime: timedelta = timedelta(days=5)  # from acceptance; sets a message's expiry
    jitter: float = 0.2  # up to this share is added to each wait, never taken off


def next_due(
    schedule: RetrySchedule,
    *,
    attempts: int,
    now: int,
    expires_at: int,
    outcome: Deferred,
    chance: float,
) -> int | None:
    """Return when to try again (unix ms), or None when the lifetime is over.

    A wait that the peer's reply asks for is kept, within bounds. `attempts` counts the one
    just made (at least 1); `chance` is uniform in [0, 1). A wait that would end after
    `expires_at` is cut to it: one last attempt is made then.
    """
    if now >= expires_at:
        return None
    wait = _wait(schedule, attempts, outcome)
    due = now + int(wait / _MS * (1 + schedule.jitter * chance))
    return min(due, expires_at)


def soon(now: int, *, after: timedelta, chance: float) -> int:
    """Return `now` plus one to two times `after`: for what was not the message's fault."""
    return now + int(after / _MS * (1 + chance))


def _wait(schedule: RetrySchedule, attempts: int, outcome: Deferred) -> timedelta:
    step = schedule.steps[min(max(attempts, 1), len(schedule.steps)) - 1]
    if outcome.reason not in _WORDS_OF_A_PEER:
        return step
    hint = hint_in(outcome.reply)
    if hint is not None:
        return hint
    if attempts <= 1 and looks_greylisted(outcome.reply):
        return schedule.greylisted
    is_blocked = outcome.reason is Reason.BLOCKED
    return max(step, schedule.blocked) if is_blocked else step


def looks_greylisted(reply: Reply) -> bool:
    """Whether the reply reads like greylisting (RFC 6647 §2): come back in minutes."""
    if reply.code not in _GREYLIST_CODES:
        return False
    text = reply.text.lower()
    return any(word in text for word in _GREYLIST_WORDS)
