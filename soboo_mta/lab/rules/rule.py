"""A sink's rule: what it matches, at which stage, and what it does there.

Owns the shape, the checks that a rule makes sense, and matching. Decides nothing about
how often a rule has acted: that is `behaviour.py`. The text of replies is RFC 5321 §4.2's,
enhanced codes RFC 3463's, extensions by their EHLO keywords.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

_LINE = re.compile(r"[245]\d\d[ -][\x20-\x7e]+")
_ENHANCED = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")


class Stage(StrEnum):
    """Where in the dialogue a rule acts; DOT is the answer to the final dot."""

    CONNECT = "connect"
    BANNER = "banner"
    EHLO = "ehlo"
    STARTTLS = "starttls"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    DOT = "dot"


class Action(StrEnum):
    """What happens; ACCEPT exempts what it matches from the rules below it."""

    ACCEPT = "accept"
    REPLY = "reply"
    GREYLIST = "greylist"
    HANG = "hang"
    DROP = "drop"
    SLOW = "slow"
    HIDE = "hide"
    OFFER = "offer"
    TLS = "tls"


class Extension(StrEnum):
    """What EHLO can offer."""

    EIGHT_BIT = "8BITMIME"
    CHUNKING = "CHUNKING"
    DSN = "DSN"
    ENHANCED = "ENHANCEDSTATUSCODES"
    PIPELINING = "PIPELINING"
    SIZE = "SIZE"
    SMTPUTF8 = "SMTPUTF8"
    STARTTLS = "STARTTLS"


class TlsFault(StrEnum):
    """How STARTTLS goes wrong after its 220: no handshake, or a certificate at fault."""

    HANDSHAKE = "handshake"
    EXPIRED = "expired"
    SELF_SIGNED = "self-signed"
    WRONG_NAME = "wrong-name"


_STAGE_OF = {
    Action.GREYLIST: (Stage.RCPT, "greylisting happens at rcpt"),
    Action.SLOW: (Stage.DATA, "slow reading happens at data"),
    Action.HIDE: (Stage.EHLO, "extensions are hidden at ehlo"),
    Action.OFFER: (Stage.EHLO, "extensions are offered at ehlo"),
    Action.TLS: (Stage.STARTTLS, "TLS goes wrong at starttls"),
}
_NO_RECIPIENT_YET = frozenset(Stage) - {Stage.RCPT, Stage.DATA, Stage.DOT}
_NO_SENDER_YET = _NO_RECIPIENT_YET - {Stage.MAIL}


class Rule(BaseModel):
    """One `[[rule]]`; docs/lab.md has a row for each key.

    Everything given in `recipient` (an address), `domain` (of the recipient), `sender`
    (an address, `@domain`, or "" for the null one) and `host` (the sink's own address) has
    to match. At DATA and the final dot one matching recipient is enough. `times` counts how
    often the rule acts before it rests, 0 for always; `delay` are seconds of silence before
    the act. `stage` is where the action has its place when not given, else `rcpt`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    recipient: str | None = None
    domain: str | None = None
    sender: str | None = None
    host: str | None = None
    stage: Stage = Stage.RCPT
    action: Action = Action.REPLY
    reply: str | tuple[str, ...] = ""
    code: Annotated[int | None, Field(ge=200, le=599)] = None
    enhanced: str = ""
    text: str | tuple[str, ...] = ""
    seconds: Annotated[float, Field(ge=0, le=86_400)] = 0.0
    delay: Annotated[float, Field(ge=0, le=86_400)] = 0.0
    times: Annotated[int, Field(ge=0)] = 0
    keep: bool = False
    octets_per_second: Annotated[int, Field(ge=1)] = 1_024
    extensions: tuple[Extension, ...] = ()
    fault: TlsFault | None = None

    @model_validator(mode="before")
    @classmethod
    def _stage_of_the_action(cls, given: object) -> object:
        if isinstance(given, dict) and "stage" not in given:
            fixed = _STAGE_OF.get(given.get("action", ""))
            if fixed is not None:
                return given | {"stage": fixed[0]}
        return given

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        self._match_makes_sense()
        stage, why = _STAGE_OF.get(self.action, (self.stage, ""))
        if stage is not self.stage:
            raise ValueError(why)
        if self.action is Action.REPLY:
            self._reply_makes_sense()
        if self.keep and (self.stage is not Stage.DOT or not is_silent(self.action)):
            raise ValueError("keep goes with hang or drop at the final dot")
        if self.action in (Action.HIDE, Action.OFFER) and not self.extensions:
            raise ValueError('say which: extensions = ["STARTTLS"]')
        if (self.fault is None) == (self.action is Action.TLS):
            raise ValueError('action = "tls" goes with fault = "expired" or another')
        return self

    def _match_makes_sense(self) -> None:
        named = self.recipient is not None or self.domain is not None
        if named and self.stage in _NO_RECIPIENT_YET:
            raise ValueError(f"no recipient is known at {self.stage}: match by host")
        if self.sender is not None and self.stage in _NO_SENDER_YET:
            raise ValueError(f"no sender is known at {self.stage}: match by host")

    def _reply_makes_sense(self) -> None:
        if bool(self.reply) == (self.code is not None):
            raise ValueError(
                'a reply is a code and a text: reply = "550 5.1.1 No such user",'
                ' or code = 550, enhanced = "5.1.1", text = "No such user"'
            )
        if self.enhanced and not _ENHANCED.fullmatch(self.enhanced):
            raise ValueError('enhanced is a code like "4.2.2"')
        codes = {line[:3] for line in self.lines}
        if not all(map(_LINE.fullmatch, self._given)) or len(codes) > 1:
            raise ValueError(
                "a reply is a code and a text in ASCII, the same code on each line"
            )

    @property
    def _given(self) -> tuple[str, ...]:
        """The lines of the reply as they were written, each with its code."""
        if self.code is None:
            return (self.reply,) if isinstance(self.reply, str) else self.reply
        start = f"{self.code} {self.enhanced} " if self.enhanced else f"{self.code} "
        texts = (self.text,) if isinstance(self.text, str) else self.text
        return tuple(start + (text or "As the rule says") for text in texts)

    @property
    def lines(self) -> tuple[str, ...]:
        """The reply as it goes on the wire, a hyphen in every line but the last."""
        given = self._given
        if not any(given):
            return ()
        last = f"{given[-1][:3]} {given[-1][4:]}"
        return (*(f"{one[:3]}-{one[4:]}" for one in given[:-1]), last)

    def matches(self, moment: "Moment") -> bool:
        """Say whether this rule is about `moment`."""
        if self.stage is not moment.stage:
            return False
        if self.host is not None and self.host != moment.host:
            return False
        if self.sender is not None and not self._is_from(moment.reverse_path.lower()):
            return False
        if self.recipient is None and self.domain is None:
            return True
        return any(self._names(recipient) for recipient in moment.recipients)

    def _is_from(self, reverse_path: str) -> bool:
        assert self.sender is not None
        if self.sender.startswith("@"):
            return reverse_path.endswith(self.sender.lower())
        return reverse_path == self.sender.lower()

    def _names(self, recipient: str) -> bool:
        lowered = recipient.lower()
        if self.recipient is not None and lowered != self.recipient.lower():
            return False
        return self.domain is None or lowered.endswith("@" + self.domain.lower())


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One point of a dialogue: RCPT has its one recipient, later stages have all."""

    stage: Stage
    host: str
    client: str
    reverse_path: str = ""
    recipients: tuple[str, ...] = ()


def is_silent(action: Action) -> bool:
    """Whether the client hears nothing more."""
    return action in (Action.HANG, Action.DROP)
