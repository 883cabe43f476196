"""`soboo-mta trace`: one message from acceptance to its last word, in order of time."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from soboo_mta.cli.context import DEFAULT_CONFIG, ConfigPath, open_store, say, say_json
from soboo_mta.cli.queue.options import Json, MessageArgument
from soboo_mta.cli.queue.words import moment
from soboo_mta.events.trace import Trace, TracedAttempt, trace
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.ids import MessageId
from soboo_mta.store.writer import read_now


def trace_message(
    message: MessageArgument, config: ConfigPath = DEFAULT_CONFIG, as_json: Json = False
) -> None:
    """Tell what happened to a message: acceptance, each attempt with its plan, events."""
    message_id = MessageId.parse(message)
    engine = open_store(config).engine
    found = read_now(engine, lambda connection: trace(connection, message_id))
    if found is None:
        raise FormatError(f"no message {message_id}: never seen, or past its retention")
    if as_json:
        say_json(asdict(found))
        return
    for line in told(found):
        say(line)


def told(trace: Trace) -> Iterator[str]:
    """Return the story of a message as lines, in order of time."""
    yield (
        f"{moment(trace.accepted_at)}  accepted {trace.message_id} of {trace.tenant}"
        f" from {trace.author}, {trace.size} octets, by {trace.client}"
    )
    yield from (line for _, line in sorted(_happenings(trace), key=lambda one: one[0]))
    for address, state in trace.recipients:
        yield f"now: {address} is {state}"


def _happenings(trace: Trace) -> Iterator[tuple[int, str]]:
    for attempt in trace.attempts:
        lines = (_attempt_line(attempt), *_circumstances(attempt))
        yield attempt.at, f"{moment(attempt.at)}  " + "\n    ".join(lines)
    for event in trace.events:
        line = f"{moment(event.at)}  {event.kind} by {event.actor}"
        told = _words(event.detail)
        yield event.at, f"{line}: {told}" if told else line


def _attempt_line(attempt: TracedAttempt) -> str:
    line = f"{attempt.recipient}: {attempt.outcome} ({attempt.reason})"
    if attempt.host:
        line += f" at {attempt.host} from {attempt.source}"
    if attempt.tls or attempt.plan is not None:  # there was a mail transaction
        line += f", {attempt.tls or 'in clear'}, {attempt.duration_ms} ms"
    if attempt.reply:
        line += f": {attempt.reply}"
    return line


def _circumstances(attempt: TracedAttempt) -> Iterator[str]:
    if attempt.plan is not None:
        yield f"plan {plan_words(attempt.plan)}"
    yield from attempt.dialogue.splitlines()


# JSON, as it was stored: Any.
def plan_words(plan: Any) -> str:
    """Return how an attempt departed, in words."""
    signatures = ", ".join(
        f"d={one['d']} s={one['s']} ({one['a']})" for one in plan["signatures"]
    )
    bounce = plan["bounce_domain"] or "the author (bounces go to the customer)"
    verdict = str(plan["verdict"]).replace("_", " ")
    return (
        f"{plan['rung']}: reverse-path at {bounce}, signed {signatures or 'by nobody'},"
        f" EHLO {plan['ehlo']}, DMARC {verdict}"
    )


def _words(detail: Any) -> str:
    if not isinstance(detail, dict):
        return json.dumps(detail, ensure_ascii=False)
    return ", ".join(
        f"{name} {_text(value)}" for name, value in detail.items() if value
    )


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)
