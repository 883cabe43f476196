"""What follows from a return: a pure function from what it is to what is done.

A report of failure is charged by its class (`formats.classes`): to the recipient, the
tenant's domain, the source, the content. A complaint is charged to the recipient's wish.
An answer changes nothing.
"""

from dataclasses import dataclass
from typing import Final, assert_never

from soboo_mta.events.event import EventKind
from soboo_mta.formats.classes.reported import class_of_report
from soboo_mta.formats.classes.rules import RuleSet
from soboo_mta.mail.bounce_class import Classified
from soboo_mta.mail.returned import (
    Action,
    AutoReply,
    Challenge,
    Complaint,
    DmarcReport,
    Dsn,
    FailureReport,
    HumanReply,
    Reported,
    Return,
    TlsReport,
    Unrecognised,
    Unsubscribe,
)
from soboo_mta.spool.returned.settling import About

_NOT_SPAM = "not-spam"  # RFC 6430: the opposite of a complaint


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`event` None: it is about no one message. `is_final`: the recipient did not get it.
    `text` is what was said, for people."""

    event: EventKind | None
    text: str = ""
    is_final: bool = False
    is_complaint: bool = False
    is_unsubscribe: bool = False
    classified: Classified | None = None
    action: Action | None = None
    status: str = ""


def verdict(found: Return, whom: About | None, rules: RuleSet) -> Verdict:
    """Return what follows from `found`, which is about `whom`."""
    match found:
        case Dsn():
            return _of_dsn(found, whom, rules)
        case Complaint():
            is_complaint = found.feedback_type.lower() != _NOT_SPAM
            kind = EventKind.COMPLAINED if is_complaint else EventKind.RETURN_TOLD
            return Verdict(
                event=kind, text=found.feedback_type, is_complaint=is_complaint
            )
        case Unsubscribe():
            return Verdict(event=EventKind.UNSUBSCRIBED, is_unsubscribe=True)
        case AutoReply():
            return Verdict(event=EventKind.AUTO_REPLIED, text=found.subject)
        case Challenge():
            return Verdict(event=EventKind.CHALLENGED, text=found.subject)
        case HumanReply():
            return Verdict(event=EventKind.REPLIED, text=found.subject)
        case Unrecognised():
            return Verdict(event=EventKind.RETURN_UNRECOGNISED, text=found.why)
        case FailureReport() | DmarcReport() | TlsReport():
            return Verdict(event=None)
        case _:
            assert_never(found)


def _of_dsn(found: Dsn, whom: About | None, rules: RuleSet) -> Verdict:
    told = the_worst(found, whom)
    text = told.diagnostic or found.text
    status = "" if told.status is None else str(told.status)
    if told.action in (Action.DELIVERED, Action.RELAYED, Action.EXPANDED):
        return Verdict(
            event=EventKind.RETURN_TOLD, text=text, action=told.action, status=status
        )
    next_hop = "" if whom is None else whom.host
    classified = class_of_report(rules, found, told, next_hop=next_hop)
    is_final = told.action is Action.FAILED
    return Verdict(
        event=EventKind.RETURNED if is_final else EventKind.RETURN_TOLD,
        text=text,
        is_final=is_final,
        classified=classified,
        action=told.action,
        status=status,
    )


def the_worst(found: Dsn, whom: About | None) -> Reported:
    """Of several recipients those that are ours, by name; a report that came to one
    recipient's own address speaks of that one under whatever name. The worst counts."""
    named = [
        one
        for one in found.recipients
        if whom is not None
        and str(whom.recipient).lower() in (one.recipient.lower(), one.original.lower())
    ]
    return min(named or found.recipients, key=lambda one: _ORDER.index(one.action))


_ORDER: Final = (
    Action.FAILED,
    Action.DELAYED,
    Action.DELIVERED,
    Action.RELAYED,
    Action.EXPANDED,
)
