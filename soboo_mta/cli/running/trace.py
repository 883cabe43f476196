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
    store = open_store(config)
    rules = store.settings.bounce_rules()
    found = read_now(store.engine, lambda one: trace(one, message_id, rules))
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
    why = ", ".join(filter(None, (attempt.reason, attempt.bounce_class)))
    line = f"{attempt.recipient}: {attempt.outcome} ({why})"
    if attempt.host:
        line += f" at {attempt.host} from {attempt.source}"
    if attempt.tls or attempt.plan is not None:  # there was a mail transaction
        line += f", {attempt.tls or 'in clear'}, {attempt.duration_ms} ms"
    if attempt.reply:
        line += f": {attempt.reply}"
    return line


def _circumstances(attempt: TracedAttempt) -> Iterator[str]:
    if attempt.plan is not None:
        yield from plan_lines(attempt.plan, attempt.source)
    yield from attempt.dialogue.splitlines()


_RUNGS = {
    "full": "own bounce domain, own signature",
    "operator-bounce": "own signature, the operator's bounce domain",
    "spf-only": "no signature of the domain's own, SPF carries it",
    "unaligned": "unaligned, by the domain's own setting",
}
_VERDICTS = {
    "pass": "DMARC pass was foretold",
    "not_applicable": "no DMARC record applied, signed as the From domain itself",
    "fail": "DMARC fail was foretold",
}


# JSON, as it was stored: Any. A plan of an older release lacks what aligned.
def plan_lines(plan: Any, source: str) -> Iterator[str]:
    """Return how an attempt departed and what receivers were to make of it, a line each."""
    bounce = plan["bounce_domain"] or "the author (bounces go to the customer)"
    rung = str(plan["rung"])
    yield f"plan {rung}: {_RUNGS.get(rung, rung)}"
    yield f"  reverse-path at {bounce}, EHLO {plan['ehlo']}, source {source or 'unknown'}"
    signatures = ", ".join(
        f"d={one['d']} s={one['s']} ({one['a']}, key {one['key']})"
        for one in plan["signatures"]
    )
    yield f"  signed {signatures or 'by nobody'}"
    verdict = str(plan["verdict"])
    policy = f", policy {plan['policy']}" if plan.get("policy") else ""
    yield f"  {_VERDICTS.get(verdict, verdict)}{policy}"
    for name, words in _ALGORITHMS.items():
        if "aligned" in plan:
            found = " and ".join(plan["aligned"][name]) or "nothing"
            yield f"  {words}: {found} aligned"


_ALGORITHMS = {
    "walk": "receivers by the tree walk (RFC 9989)",
    "suffix_list": "receivers by the public suffix list",
}


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
