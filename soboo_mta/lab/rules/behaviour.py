"""What the sinks do instead of accepting, as rules say; the first that matches acts.

Rules come, in this order, from whoever added them while the lab runs (a test, the HTTP
API), from the TOML file, and from words in the recipient's address. Owns their order and
the memory that some need (greylisting, `times`). Decides and says so as a value;
`dialogue.py` acts on it. The file is read again when it changes; one that cannot be read
leaves the rules before it in force.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from soboo_mta.lab.dns.zones import Watched
from soboo_mta.lab.entries import read_entries
from soboo_mta.lab.rules.rule import (
    Action,
    Extension,
    Moment,
    Rule,
    TlsFault,
)
from soboo_mta.lab.rules.words import rule_of
from soboo_mta.ports import Clock

_GREYLISTED = "451 4.7.1 Greylisted, come back later"
_MAX_REMEMBERED = 100_000  # bounded memory; the oldest is forgotten and waits again
_MAX_ADDED = 1_000  # each moment looks at all of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do at a moment. `reply` may have several lines (CRLF between them)
    and is for REPLY alone; greylisting comes out as one. `delay` and `seconds` (of a hang,
    0: for ever) in seconds."""

    action: Action
    reply: str = ""
    keep: bool = False
    delay: float = 0.0
    seconds: float = 0.0
    octets_per_second: int = 0
    extensions: tuple[Extension, ...] = ()
    fault: TlsFault | None = None

    @property
    def is_plain(self) -> bool:
        """Whether all goes on as if no rule were there."""
        return self.action is Action.ACCEPT and not self.delay


_ACCEPT = Decision(action=Action.ACCEPT)


class Behaviour:
    """Decides each moment by the rules as they are now; without any it accepts all."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._file = Watched(path, lambda at: read_entries(at, "rule", Rule))
        self._clock = clock
        self._added: dict[int, Rule] = {}
        self._numbers = count(1)
        self._acted: dict[object, int] = {}  # which rule → how often
        self._first_seen: dict[tuple[str, str, str], float] = {}

    @property
    def problem(self) -> str:
        """Why the file's newest content is not in force, or ""."""
        self._refresh()
        return self._file.problem

    @property
    def added(self) -> dict[int, Rule]:
        """The rules added while running, by number, in the order of their turn."""
        return dict(self._added)

    @property
    def filed(self) -> tuple[Rule, ...]:
        """The rules of the file as it is now."""
        self._refresh()
        return self._file.content or ()

    def add(self, rule: Rule) -> int:
        """Put a rule above the file's, below those added before; return its number.

        Raises ValueError over a thousand of them.
        """
        if len(self._added) >= _MAX_ADDED:
            raise ValueError(f"{_MAX_ADDED} rules are added already: remove some first")
        number = next(self._numbers)
        self._added[number] = rule
        return number

    def remove(self, number: int) -> bool:
        """Take an added rule away; return whether it was there."""
        self._acted.pop(number, None)
        return self._added.pop(number, None) is not None

    def clear(self) -> None:
        """Take all added rules away, and forget how often rules and words have acted."""
        self._added.clear()
        self._acted.clear()
        self._first_seen.clear()

    def decide(self, moment: Moment) -> Decision:
        """Return what to do now; counts the act for rules with `times`."""
        self._refresh()
        for key, rule in self._turns(moment):
            if rule.matches(moment) and not 0 < rule.times <= self._acted.get(key, 0):
                return self._apply(key, rule, moment)
        return _ACCEPT

    def _refresh(self) -> None:
        if self._file.refresh():
            for key in [key for key in self._acted if isinstance(key, tuple)]:
                del self._acted[key]

    def _turns(self, moment: Moment) -> Iterator[tuple[object, Rule]]:
        """Every rule there is, with a key that stays its own."""
        yield from self._added.items()
        for index, rule in enumerate(self._file.content or ()):
            yield ("file", index), rule
        for recipient in moment.recipients:
            asked = rule_of(recipient)
            if asked is not None:
                yield recipient.lower(), asked

    def _apply(self, key: object, rule: Rule, moment: Moment) -> Decision:
        reply = "\r\n".join(rule.lines)
        if rule.action is Action.GREYLIST:
            if self._is_patient(rule, moment):
                return _ACCEPT
            return Decision(
                action=Action.REPLY, reply=reply or _GREYLISTED, delay=rule.delay
            )
        self._acted[key] = self._acted.get(key, 0) + 1
        if len(self._acted) > _MAX_REMEMBERED:
            del self._acted[next(iter(self._acted))]
        return Decision(
            action=rule.action,
            reply=reply,
            keep=rule.keep,
            delay=rule.delay,
            seconds=rule.seconds,
            octets_per_second=rule.octets_per_second,
            extensions=rule.extensions,
            fault=rule.fault,
        )

    def _is_patient(self, rule: Rule, moment: Moment) -> bool:
        sender = moment.reverse_path.rpartition("@")[2].lower()
        triple = (moment.client, sender, moment.recipients[0].lower())
        now = self._clock.monotonic()
        first = self._first_seen.setdefault(triple, now)
        if len(self._first_seen) > _MAX_REMEMBERED:
            del self._first_seen[next(iter(self._first_seen))]
        return first < now and now - first >= rule.seconds
