"""Whether an outcome is to be reported to the message's sender (RFC 3461 §4.1, §5.2). Pure.

A null reverse-path is never answered (RFC 5321 §4.5.5). A report that fails is "due" too:
it ends as an event.
"""

from dataclasses import dataclass
from datetime import timedelta

from soboo_mta.mail.notify import Notify, wants_delays, wants_failures
from soboo_mta.mail.outcome import Deferred, Delivered, Failed, Outcome, Reason
from soboo_mta.mail.returned import Action
from soboo_mta.mail.spooled import Claimed

_MS = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportPolicy:
    """When senders that asked for nothing are told, and of what."""

    warn_of_delay: bool = False
    """Whether they are told of a delay; failures are always reported to them."""
    delay_after: timedelta = timedelta(hours=4)
    """How long a message waits, from acceptance or its release, before it is delayed."""


def action_due(
    claimed: Claimed,
    outcome: Outcome,
    *,
    asked_on: bool,
    waited: timedelta,
    policy: ReportPolicy,
) -> Action | None:
    """Return what is to be reported after an attempt, or None.

    `asked_on`: the next hop was told what reports the sender wants, so that success is
    its to report (RFC 3461 §5.2.2); `waited` counts from when the message could leave.
    """
    message = claimed.message
    if message.is_report or message.reverse_path.is_null:
        is_lost = message.is_report and isinstance(outcome, Failed)
        return Action.FAILED if is_lost else None
    notify = message.asked(claimed.position).notify
    match outcome:
        case Failed():
            return Action.FAILED if wants_failures(notify) else None
        case Delivered():
            wanted = Notify.SUCCESS in notify and not asked_on
            return Action.RELAYED if wanted else None
        case Deferred(reason=Reason.INTERRUPTED):
            return None  # by us, a moment ago: the next attempt will tell
        case Deferred():
            wanted = wants_delays(notify, by_default=policy.warn_of_delay)
            is_late = not claimed.is_warned and waited >= policy.delay_after
            return Action.DELAYED if wanted and is_late else None
        case _:
            return None  # held: who can mend it is told by the watch over domains
