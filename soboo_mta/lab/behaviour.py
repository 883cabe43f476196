"""What a sink does instead of accepting: rules from a TOML file, first match wins.

Owns the rules' shape, their matching and the memory that two of them need (greylisting,
`times`). Decides and says so as a value; `sink.py` acts on it. The file is read again
when it changes; one that cannot be read leaves the rules before it in force.
"""

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from soboo_mta.lab.zones import Watched
from soboo_mta.ports import Clock

_REPLY = re.compile(r"[245]\d\d [\x20-\x7e]+")
_GREYLISTED = "451 4.7.1 Greylisted, come back later"
_MAX_TRIPLES = 100_000  # bounded memory; the oldest is forgotten and waits again


class Stage(StrEnum):
    """Where in the dialogue a rule acts; DOT is the answer to the final dot."""

    BANNER = "banner"
    EHLO = "ehlo"
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


_NO_RECIPIENT_YET = (Stage.BANNER, Stage.EHLO, Stage.MAIL)


class Rule(BaseModel):
    """One `[[rule]]`: what it matches, where it acts, what it does.

    `recipient` (an address), `domain` (of the recipient) and `host` (the sink's own
    address) must all match where given. At DATA and the final dot one matching recipient
    is enough. `times` counts how often the rule acts before it rests, 0 for always.
    `seconds` is the greylisting time, per (client, domain of MAIL FROM, recipient).
    `keep` at the final dot: the message is received and recorded first, so that only the
    answer is lost.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    recipient: str | None = None
    domain: str | None = None
    host: str | None = None
    stage: Stage = Stage.RCPT
    action: Action = Action.REPLY
    reply: str = ""
    seconds: Annotated[float, Field(ge=0)] = 0.0
    times: Annotated[int, Field(ge=0)] = 0
    keep: bool = False

    @model_validator(mode="after")
    def _makes_sense(self) -> "Rule":
        named = self.recipient is not None or self.domain is not None
        if named and self.stage in _NO_RECIPIENT_YET:
            raise ValueError(f"no recipient is known at {self.stage}: match by host")
        if self.action is Action.REPLY and not _REPLY.fullmatch(self.reply):
            raise ValueError('a reply is a code and a text: "550 5.1.1 No such user"')
        if self.action is Action.GREYLIST and self.stage is not Stage.RCPT:
            raise ValueError("greylisting happens at rcpt")
        if self.keep and (self.stage is not Stage.DOT or not _is_silent(self.action)):
            raise ValueError("keep goes with hang or drop at the final dot")
        return self

    def matches(self, moment: "Moment") -> bool:
        """Say whether this rule is about `moment`."""
        if self.stage is not moment.stage:
            return False
        if self.host is not None and self.host != moment.host:
            return False
        if self.recipient is None and self.domain is None:
            return True
        return any(self._names(recipient) for recipient in moment.recipients)

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """`reply` is for REPLY alone; greylisting comes out as a REPLY."""

    action: Action
    reply: str = ""
    keep: bool = False


_ACCEPT = Decision(action=Action.ACCEPT)


class Behaviour:
    """Decides each moment by the rules as the file is now; no file accepts all."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._file = Watched(path, read_rules)
        self._clock = clock
        self._acted: dict[int, int] = {}  # index of the rule → how often
        self._first_seen: dict[tuple[str, str, str], float] = {}

    @property
    def problem(self) -> str:
        """Why the file's newest content is not in force, or ""."""
        return self._file.problem

    def decide(self, moment: Moment) -> Decision:
        """Return what to do now; counts the act for rules with `times`."""
        if self._file.refresh():
            self._acted.clear()
        for index, rule in enumerate(self._file.content or ()):
            if rule.matches(moment) and not self._rests(index, rule):
                return self._apply(index, rule, moment)
        return _ACCEPT

    def _rests(self, index: int, rule: Rule) -> bool:
        return 0 < rule.times <= self._acted.get(index, 0)

    def _apply(self, index: int, rule: Rule, moment: Moment) -> Decision:
        if rule.action is Action.GREYLIST:
            if self._is_patient(rule, moment):
                return _ACCEPT
            reply = rule.reply or _GREYLISTED
            return Decision(action=Action.REPLY, reply=reply)
        self._acted[index] = self._acted.get(index, 0) + 1
        return Decision(action=rule.action, reply=rule.reply, keep=rule.keep)

    def _is_patient(self, rule: Rule, moment: Moment) -> bool:
        sender = moment.reverse_path.rpartition("@")[2].lower()
        triple = (moment.client, sender, moment.recipients[0].lower())
        now = self._clock.monotonic()
        first = self._first_seen.setdefault(triple, now)
        if len(self._first_seen) > _MAX_TRIPLES:
            del self._first_seen[next(iter(self._first_seen))]
        return first < now and now - first >= rule.seconds


class _RulesFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    rule: tuple[Rule, ...] = ()


def read_rules(path: Path) -> Sequence[Rule]:
    """Parse a rules file; raises ValueError that names the rule and what is wrong."""
    try:
        return _RulesFile.model_validate(tomllib.loads(path.read_text())).rule
    except ValidationError as trouble:
        raise ValueError(f"{path.name}: {trouble}") from trouble


def _is_silent(action: Action) -> bool:
    return action in (Action.HANG, Action.DROP)
