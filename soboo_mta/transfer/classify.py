"""What a next hop's reply, or its silence, means for a recipient and for its neighbours.

Pure. A failure has a scope: it says whether the next recipient, message, host or nobody
is to be tried. What is not clearly permanent is temporary (RFC 5321 §4.2.1).
"""

from enum import StrEnum
from typing import Final, TypeGuard

from soboo_mta.formats.classes.rules import RuleSet
from soboo_mta.mail.outcome import (
    Deferred,
    Delivered,
    Failed,
    Outcome,
    Reason,
    Scope,
)
from soboo_mta.mail.reply import Reply, reply
from soboo_mta.transfer.answers.blocks import Block, block_in


class Stage(StrEnum):
    """Where in a session a reply came, or did not."""

    CONNECT = "connect"
    BANNER = "banner"
    EHLO = "EHLO"
    STARTTLS = "STARTTLS"
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    DOT = "final dot"


SERVICE_CLOSING: Final = 421  # RFC 5321 §3.8: may answer any command
_TOO_MANY_RECIPIENTS: Final = 552  # RFC 5321 §4.5.3.1.10: at RCPT it means 452
START_INPUT: Final = 354
_OPENING = frozenset({Stage.CONNECT, Stage.BANNER, Stage.EHLO, Stage.STARTTLS})
_SCOPES = {
    Stage.MAIL: Scope.MESSAGE,
    Stage.RCPT: Scope.RECIPIENT,
    Stage.DATA: Scope.MESSAGE,
    Stage.DOT: Scope.MESSAGE,
}


def expected(stage: Stage, code: int) -> bool:
    """Whether `code` is the good answer at `stage`."""
    return code == START_INPUT if stage is Stage.DATA else 200 <= code < 300


def is_fit(stage: Stage, code: int) -> bool:
    """Whether a peer that speaks SMTP may answer `code` at `stage` (RFC 5321 §4.3.2)."""
    return expected(stage, code) or 400 <= code < 600


def of_reply(stage: Stage, answer: Reply, *, rules: RuleSet, host: str = "") -> Outcome:
    """Return what `answer` of `host` at `stage` means for whom it was given.

    Delivered for a 2xx after the final dot alone; a 2xx or 3xx that is out of place is
    the protocol broken, as is a code that does not exist.
    """
    if stage is Stage.DOT and 200 <= answer.code < 300:
        return Delivered(reply=answer)
    blocked = _of_block(stage, answer, block_in(answer, rules, host=host))
    if blocked is not None:
        return blocked
    if answer.code == SERVICE_CLOSING:
        # after the final dot another host at once could mean a duplicate
        scope = Scope.MESSAGE if stage is Stage.DOT else Scope.HOST
        return Deferred(reply=answer, reason=Reason.REPLY, scope=scope)
    if stage in _OPENING and (answer.is_transient or answer.is_permanent):
        # a refusal of us, not of the message: other hosts and later days may differ
        return Deferred(reply=answer, reason=Reason.REPLY, scope=Scope.HOST)
    if stage is Stage.RCPT and answer.code == _TOO_MANY_RECIPIENTS:
        return Deferred(reply=answer, reason=Reason.REPLY, scope=Scope.RECIPIENT)
    if answer.is_transient:
        return Deferred(reply=answer, reason=Reason.REPLY, scope=_SCOPES[stage])
    if answer.is_permanent:
        return Failed(reply=answer, reason=Reason.REPLY, scope=_SCOPES[stage])
    return broken(stage, Reason.PROTOCOL, f"{answer.code} is no answer here")


def _of_block(stage: Stage, answer: Reply, block: Block | None) -> Outcome | None:
    """A refusal of our address, or of the tenant's content: never the recipient's fault.

    Of the address every refusal is temporary: it can be taken off the list. While a
    session opens another host may be kinder; later the whole site has spoken.
    """
    match block:
        case Block.SOURCE:
            scope = Scope.HOST if stage in _OPENING else Scope.SITE
            return Deferred(reply=answer, reason=Reason.BLOCKED, scope=scope)
        case Block.CONTENT if stage not in _OPENING:
            kind = Failed if answer.is_permanent else Deferred
            return kind(reply=answer, reason=Reason.CONTENT_BLOCKED, scope=Scope.TENANT)
    return None


def broken(stage: Stage, reason: Reason, detail: str) -> Deferred:
    """Return the outcome of a session that broke at `stage`.

    Before the final dot another host may be tried at once (Scope.HOST). After it the
    message may have arrived: it waits for its next time (Scope.MESSAGE).
    """
    scope = Scope.MESSAGE if stage is Stage.DOT else Scope.HOST
    status = "4.4.1" if stage is Stage.CONNECT else _STATUS.get(reason, "4.4.2")
    text = f"{detail} ({'at' if stage in _OPENING else 'after'} {stage})"
    return Deferred(reply=reply(451, status, text), reason=reason, scope=scope)


def without_source(detail: str) -> Deferred:
    """Return the outcome of a source whose address could not be bound."""
    return Deferred(
        reply=reply(451, "4.4.1", f"our own address could not be used: {detail}"),
        reason=Reason.SOURCE,
        scope=Scope.SITE,
    )


def is_of_source(outcome: Outcome) -> TypeGuard[Deferred]:
    """Whether it is our own address that could not be used, whoever the peer is."""
    return isinstance(outcome, Deferred) and outcome.reason is Reason.SOURCE


_STATUS = {Reason.TLS: "4.7.5", Reason.PROTOCOL: "4.5.0", Reason.INTERNAL: "4.3.0"}


def unsupported(status: str, text: str) -> Failed:
    """Return the outcome of a message that needs what the next hop does not have."""
    return Failed(
        reply=reply(554, status, text),
        reason=Reason.UNSUPPORTED,
        scope=Scope.MESSAGE,
    )


INTERRUPTED: Final = Deferred(
    reply=reply(
        451,
        "4.3.2",
        "broken off by us: a stop, or keys or an account that changed; goes again",
    ),
    reason=Reason.INTERRUPTED,
    scope=Scope.MESSAGE,
)
INTERNAL: Final = Deferred(
    reply=reply(451, "4.3.0", "an error of ours; will be tried again"),
    reason=Reason.INTERNAL,
    scope=Scope.MESSAGE,
)
NO_TURN: Final = Deferred(
    reply=reply(451, "4.4.7", "its sender's mail leaves slowly: no turn came for it"),
    reason=Reason.SLOWED,
    scope=Scope.MESSAGE,
)
NO_CAPACITY: Final = Deferred(
    reply=reply(451, "4.4.5", "waiting for a free connection to this destination"),
    reason=Reason.CAPACITY,
    scope=Scope.SITE,
)
