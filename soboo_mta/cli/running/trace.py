"""`soboo-mta trace`: one message from acceptance to its last word, in order of time."""

import json
from collections.abc import Iterator
from dataclasses import asdict

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
        yield attempt.at, f"{moment(attempt.at)}  {_attempt_line(attempt)}"
    for event in trace.events:
        detail = json.dumps(event.detail, ensure_ascii=False, sort_keys=True)
        yield event.at, f"{moment(event.at)}  {event.kind} by {event.actor}: {detail}"


def _attempt_line(attempt: TracedAttempt) -> str:
    line = f"{attempt.recipient}: {attempt.outcome} ({attempt.reason})"
    if attempt.host:
        tls = attempt.tls or "in clear"
        line += f" at {attempt.host} from {attempt.source}, {tls}"
        line += f", {attempt.duration_ms} ms"
    if attempt.reply:
        line += f": {attempt.reply}"
    if attempt.plan is not None:
        line += "\n    plan " + json.dumps(attempt.plan, sort_keys=True)
    return line
