"""The rule set: from its text (TOML) to values, and from what a receiver said to a class.

Rules of the receiver's provider are asked first, for the same enhanced status means one
thing at one and another elsewhere; then the general ones. In the order of the file, and the
first that matches decides. An operator's file is asked before ours, all of it. Pure.
"""

import re
import tomllib
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from importlib.resources import files

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from soboo_mta.mail.bounce_class import (
    BounceClass,
    Charged,
    ClassFacts,
    Classified,
    Consequence,
)
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.reply import EnhancedStatus, Reply

_READ = 2_000  # characters of what was said
KEPT = 500  # of a reply in a session: as many as its attempt keeps
_REMEMBERED = 2_000  # answers
_SHORTEST_SERIAL = 16  # characters of a word that differs with each reply
_SERIAL_DIGITS = 4
_NUMBER = re.compile(r"\b\d{5,}\b")
_LITERAL = re.compile(  # an IP address, as rules look for it
    r"[\[(]?(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9a-f]{0,4}(?::[0-9a-f.]{0,15}){2,7})[\])]?[.,;:]?",
    re.IGNORECASE,
)
_STATUS = re.compile(r"[245x]\.\d{1,3}\.(\d{1,3}|x)")
_CODE = re.compile(r"(?:^|[\s\"(:])([45]\d\d)(?=[ -])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a receiver said: in a session, or in a report. `hosts` are names it goes by
    (MX host, Remote-MTA, Reporting-MTA); code and status where they are known."""

    text: str
    code: int | None = None
    status: EnhancedStatus | None = None
    hosts: tuple[str, ...] = ()


def said_in(
    text: str, *, status: EnhancedStatus | None = None, hosts: tuple[str, ...] = ()
) -> Said:
    """Return what stands in a reply's or a report's text, its code and status found.

    `status` is what a report gives beside; one that says nothing (x.0.0) gives way to the
    text's.
    """
    code = _CODE.search(text[:_READ])
    if status is None or (status.subject, status.detail) == (0, 0):
        status = EnhancedStatus.failure_in(text[:_READ]) or status
    return Said(
        text=text, code=int(code[1]) if code else None, status=status, hosts=hosts
    )


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Class(_Model):
    says: str
    charged: Charged
    consequence: Consequence


class _Provider(_Model):
    hosts: tuple[str, ...] = Field(min_length=1)


class Rule(_Model):
    """One rule; what is given must all hold. `status` may have x for its class or detail
    ("x.1.1", "5.7.x"); `text` is a regular expression, case ignored."""

    name: str
    to: BounceClass
    provider: str = ""
    status: tuple[str, ...] = ()
    code: tuple[int, ...] = ()
    text: str = ""

    @field_validator("status")
    @classmethod
    def _are_statuses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for one in value:
            if not _STATUS.fullmatch(one):
                raise ValueError(f"{one!r} is no status: write 5.1.1, x.1.1 or 5.7.x")
        return value

    @field_validator("text")
    @classmethod
    def _is_expression(cls, value: str) -> str:
        try:
            re.compile(value, re.IGNORECASE)
        except re.error as error:
            raise ValueError(f"{value!r} is no regular expression: {error}") from error
        return value

    @cached_property
    def _pattern(self) -> "re.Pattern[str]":
        return re.compile(self.text, re.IGNORECASE)

    @cached_property
    def _statuses(self) -> tuple[tuple[int | None, ...], ...]:
        return tuple(
            tuple(None if part == "x" else int(part) for part in one.split("."))
            for one in self.status
        )

    def _is_about(self, status: EnhancedStatus) -> bool:
        family, subject, detail = status.family, status.subject, status.detail
        return any(
            one[0] in (None, family) and one[1] == subject and one[2] in (None, detail)
            for one in self._statuses
        )

    def matched(self, said: Said) -> str | None:
        """Return what of `said` this rule is about, None where it is about none of it."""
        found: list[str] = []
        if self.status:
            if said.status is None or not self._is_about(said.status):
                return None
            found.append(str(said.status))
        if self.code:
            if said.code not in self.code:
                return None
            found.append(str(said.code))
        if self.text:
            words = self._pattern.search(said.text)
            if words is None:
                return None
            found.append(words[0])
        return " ".join(found)


class _File(_Model):
    classes: dict[BounceClass, _Class] = Field(alias="class", default={})
    provider: dict[str, _Provider] = {}
    rule: tuple[Rule, ...] = ()


_Key = tuple[str, str, int | None, EnhancedStatus | None]


class RuleSet:
    """See the module. What it was asked it remembers, within bounds."""

    def __init__(
        self,
        classes: Mapping[BounceClass, ClassFacts],
        providers: Mapping[str, Sequence[str]],
        rules: Iterable[Iterable[Rule]],
    ) -> None:
        """`rules`: those of each file, in the order in which the files are asked."""
        self.classes = classes
        self._endings = {
            name: tuple(f".{host}" for host in hosts)
            for name, hosts in providers.items()
        }
        self._files: list[dict[str, list[Rule]]] = []
        for file in rules:
            of_provider: dict[str, list[Rule]] = {}
            for rule in file:
                of_provider.setdefault(rule.provider, []).append(rule)
            self._files.append(of_provider)
        self._heard: dict[Said, Classified] = {}  # word for word
        self._known: dict[_Key, Classified] = {}  # without serials

    def classify(self, said: Said) -> Classified:
        """Return the class of what was said; unknown where no rule is about it."""
        known = self._heard.get(said)
        if known is None:
            known = self._heard[said] = self._recognised(said)
            if len(self._heard) > _REMEMBERED:
                self._heard.clear()
        return known

    def of_reply(self, reply: Reply, *, host: str = "") -> Classified:
        """Return the class of a reply in a session with `host`."""
        text = str(reply)[:KEPT]
        return self.classify(said_in(text, status=reply.status, hosts=(host,)))

    def _recognised(self, said: Said) -> Classified:
        provider = self.provider_of(said.hosts)
        text = _without_serials(said.text[:_READ])
        key = (provider, text, said.code, said.status)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            known = self._found(replace(said, text=text), provider)
            self._known[key] = known
        return known

    def _found(self, said: Said, provider: str) -> Classified:
        for rule in self._asked(provider):
            matched = rule.matched(said)
            if matched is not None:
                return Classified(
                    bounce_class=rule.to,
                    facts=self.classes[rule.to],
                    rule=rule.name,
                    matched=matched,
                    provider=provider,
                )
        return self.of(BounceClass.UNKNOWN, provider=provider)

    def _asked(self, provider: str) -> Iterator[Rule]:
        for file in self._files:
            if provider:
                yield from file.get(provider, ())
            yield from file.get("", ())

    def of(self, bounce_class: BounceClass, *, provider: str = "") -> Classified:
        """Return a class that something other than a rule has found."""
        return Classified(
            bounce_class=bounce_class,
            facts=self.classes[bounce_class],
            provider=provider,
        )

    def provider_of(self, hosts: Iterable[str]) -> str:
        """Return whose hosts these are, "" for none that has rules."""
        for host in filter(None, hosts):
            name = host.partition("[")[0].partition(":")[0]
            name = f".{name.strip().rstrip('.').lower()}"
            for provider, endings in self._endings.items():
                if name.endswith(endings):
                    return provider
        return ""


def read_rules(*texts: str) -> RuleSet:
    """Return the rule set that the texts are together, the first asked first; raise
    FormatError that says what is wrong.

    Each class is described at least once: by the first text that does. A provider has
    the hosts of all of them.
    """
    parsed = [_parsed(text) for text in texts]
    classes: dict[BounceClass, ClassFacts] = {}
    providers: dict[str, tuple[str, ...]] = {}
    for file in parsed:
        for name, one in file.classes.items():
            facts = ClassFacts(
                says=one.says, charged=one.charged, consequence=one.consequence
            )
            classes.setdefault(name, facts)
        for provider, named in file.provider.items():
            providers[provider] = (*providers.get(provider, ()), *named.hosts)
    if missing := set(BounceClass) - set(classes):
        raise FormatError(f"the bounce rules: class {min(missing)} is not described")
    for file in parsed:
        _check(file.rule, providers)
    return RuleSet(classes, providers, [file.rule for file in parsed])


def _parsed(text: str) -> _File:
    try:
        return _File.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise FormatError(f"the bounce rules are no TOML: {error}") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise FormatError(f"the bounce rules: {where}: {message}") from error


def _check(rules: Iterable[Rule], providers: Container[str]) -> None:
    for rule in rules:
        if rule.provider and rule.provider not in providers:
            raise FormatError(
                f"the bounce rules: rule {rule.name!r} is for provider "
                f"{rule.provider!r}, which has no hosts: add [provider.{rule.provider}]"
            )
        if not (rule.status or rule.code or rule.text):
            raise FormatError(
                f"the bounce rules: rule {rule.name!r} asks for nothing: give it a "
                "status, a code or a text"
            )


@cache
def own_rules() -> RuleSet:
    """Return the rule set that comes with the relay."""
    return read_rules(own_rules_text())


def own_rules_text() -> str:
    """Return its text, for an operator to begin from."""
    return files(__package__).joinpath("rules.toml").read_text(encoding="utf-8")


def _without_serials(text: str) -> str:
    """`text` without what differs each time that a receiver repeats itself: addresses,
    long numbers, and long words full of digits, as ids of sessions and messages are."""
    words = [
        _shown(word) if len(word) >= _SHORTEST_SERIAL or "@" in word else word
        for word in text.split()
    ]
    return _NUMBER.sub("0", " ".join(words))


def _shown(word: str) -> str:
    if "@" in word:
        return f"<@>{word[-1]}" if word[-1] in ":,;." else "<@>"
    if "://" in word:
        return word
    digits = sum(map(word.count, "0123456789"))
    if digits < _SERIAL_DIGITS or _LITERAL.fullmatch(word):
        return word
    label, colon, _ = word.partition(":")
    return f"{label}:<id>" if colon and label.isalpha() else "<id>"
