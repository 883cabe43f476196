"""The queue in words and tables: the same ones in every command."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from rich.table import Table

from soboo_mta.formats.classes.attempts import class_of
from soboo_mta.formats.classes.rules import RuleSet
from soboo_mta.mail.bounce_class import BounceClass
from soboo_mta.spool.lifecycle import RecipientState
from soboo_mta.spool.operator.orders import Reroute
from soboo_mta.spool.operator.summary import Group
from soboo_mta.spool.view import Gate, QueuedMessage, QueueEntry

_STEPS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def moment(unix_ms: int) -> str:
    """Return a time of the store as a person writes it, in UTC."""
    at = datetime.fromtimestamp(unix_ms / 1000, UTC)
    return at.strftime("%Y-%m-%d %H:%M:%S UTC")


def span(ago: timedelta) -> str:
    """Return a length of time in its largest whole unit: "3 h"."""
    seconds = max(0, int(ago.total_seconds()))
    for unit, length in _STEPS:
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return "0 s"


_REFUSED = (RecipientState.DEFERRED, RecipientState.FAILED, RecipientState.EXPIRED)


def entry_class(entry: QueueEntry, rules: RuleSet, host: str) -> BounceClass | None:
    """Return why `host` did not take a recipient; None where nobody refused it."""
    if entry.state not in _REFUSED:
        return None
    return class_of(rules, entry.reason, entry.explanation, host)


def reason_line(entry: QueueEntry, bounce_class: BounceClass | None) -> str:
    """Return one recipient's state, reason, class and words in one line."""
    if entry.state is RecipientState.ACTIVE:
        tries = f", {entry.attempts} attempts before" if entry.attempts else ""
        return f"{entry.recipient}: active, being tried now{tries}"
    said = f" ({bounce_class})" if bounce_class else ""
    line = f"{entry.recipient}: {entry.state}, {entry.reason}{said}"
    if entry.explanation:
        line += f": {entry.explanation}"
    if entry.due_at is not None:
        line += f" (due {moment(entry.due_at)}, {entry.attempts} attempts)"
    return line


def gate_line(gate: Gate, names: Mapping[str, str]) -> str:
    """Return a closed gate in one line; `names` are sending domains by their id."""
    subject = gate.subject
    if gate.scope == "domain" and subject in names:
        subject = f"{names[subject]} ({subject})"
    return (
        f"gate: {gate.scope} {subject} held since {moment(gate.since)}:"
        f" {gate.reason}: {gate.explanation}"
    )


def reroute_line(order: Reroute, names: Mapping[str, str]) -> str:
    """Return a reroute in one line."""
    parts = [
        f"tenant {order.tenant}" if order.tenant else "",
        f"from {names.get(str(order.domain_id), order.domain_id)}"
        if order.domain_id is not None
        else "",
        f"to {order.destination}" if order.destination else "",
        f"message {order.message_id}" if order.message_id is not None else "",
    ]
    what = " ".join(part for part in parts if part) or "everything"
    if order.accepted_before is not None:
        what += f" accepted before {moment(order.accepted_before)}"
    return (
        f"reroute {order.number}: {what} goes to {', '.join(order.next_hops)}"
        f" since {moment(order.since)}: {order.explanation}"
    )


def envelope_lines(message: QueuedMessage) -> Iterable[str]:
    """Return a message's envelope as lines."""
    yield f"message       {message.message_id}"
    yield f"tenant        {message.tenant}"
    yield f"author        {message.author}"
    yield f"reverse-path  <{message.reverse_path}> (as submitted)"
    yield f"Message-ID    {message.header_message_id}"
    yield f"client        {message.client}"
    yield f"size          {message.size} octets"
    yield f"accepted      {moment(message.accepted_at)}"
    yield f"expires       {moment(message.expires_at)}"
    if message.settled_at is not None:
        yield f"settled       {moment(message.settled_at)}"


def entries_table(entries: Iterable[QueueEntry]) -> Table:
    """Return recipients as a table."""
    table = Table("message", "tenant", "recipient", "state", "reason", "due", "tries")
    for entry in entries:
        is_tried = entry.state is RecipientState.ACTIVE
        table.add_row(
            str(entry.message_id),
            entry.tenant,
            entry.recipient,
            entry.state,
            "being tried" if is_tried else entry.reason,
            "" if is_tried or entry.due_at is None else moment(entry.due_at),
            str(entry.attempts),
        )
    return table


def groups_table(groups: Iterable[Group], by: str, now: int) -> Table:
    """Return a summary of the queue as a table."""
    heads = ("waiting", "active", "queued", "deferred", "held", "oldest", "last reply")
    table = Table(by, *heads)
    for group in groups:
        table.add_row(
            group.key.replace("|", " "),
            *map(str, (group.waiting, group.active, group.queued)),
            *map(str, (group.deferred, group.held)),
            span(timedelta(milliseconds=now - group.oldest)),
            group.last_reply,
        )
    return table
