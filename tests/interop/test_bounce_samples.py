"""Other people's bounces, of thirty years and many systems: how many are recognised, and how
many have a class; against flufl.bounce alone. The samples are pinned, so the figures are."""

import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email import message_from_bytes
from pathlib import Path

import pytest
from flufl.bounce import all_failures

from soboo_mta.formats.classes.reported import class_of_report
from soboo_mta.formats.classes.rules import own_rules
from soboo_mta.formats.returned.recognise import Arrival, recognised
from soboo_mta.mail.bounce_class import BounceClass
from soboo_mta.mail.returned import Action, Dsn, Kind, Return

_SAMPLES = Path(__file__).parents[2] / ".venv" / "samples"
_RULES = own_rules()
_TROUBLES = (Action.FAILED, Action.DELAYED)
_RETURN_PATH = re.compile(rb"(?im)^return-path:[ \t]*<?([^>\r\n]*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What is to come of a set of samples. `others`: what is no bounce, by file."""

    pattern: str
    samples: int
    others: Mapping[str, Kind]
    recipients: int  # that failed or are late
    classed: int  # of them, with another class than unknown
    found_by_flufl: int  # bounces


SETS = {
    "flufl.bounce": Expected(
        pattern="flufl.bounce/tests/data/*.txt",
        samples=117,
        others={"groupwise_03": Kind.REPLY, "qmail_08": Kind.AUTO_REPLY},
        recipients=147,
        classed=133,  # the others say no reason, or say it in Chinese
        found_by_flufl=112,
    ),
    "bounceparser": Expected(
        pattern="bounceparser/t/corpus/*.msg",
        samples=126,
        others={
            "aol-vacation": Kind.AUTO_REPLY,
            "autoreply": Kind.AUTO_REPLY,
            "polish-autoreply": Kind.AUTO_REPLY,
            "warning-6": Kind.AUTO_REPLY,
            "bluebottle": Kind.CHALLENGE,
            "spam-bogus-email-in-report": Kind.UNRECOGNISED,  # spam
            "spam-with-image": Kind.REPLY,  # spam that says "Re:"
        },
        recipients=124,
        classed=123,
        found_by_flufl=112,
    ),
}


def _read(expected: Expected) -> Iterator[tuple[str, bytes]]:
    for path in sorted(_SAMPLES.glob(expected.pattern)):
        yield path.stem, path.read_bytes()


def _recognised(content: bytes) -> Return:
    """As it would have come: with the reverse-path that its receiver wrote down."""
    path = _RETURN_PATH.search(content[:8_192])
    return recognised(content, Arrival(is_from_null=path is None or not path[1]))


def _classes(found: Return) -> Iterator[BounceClass]:
    """Of each recipient that failed or is late."""
    for one in found.recipients if isinstance(found, Dsn) else ():
        if one.action in _TROUBLES:
            yield class_of_report(_RULES, found, one).bounce_class


def _is_found_by_flufl(content: bytes) -> bool:
    return any(all_failures(message_from_bytes(content)))


@pytest.mark.parametrize("name", SETS)
def test_samples_are_recognised_and_have_a_class(
    name: str, figures: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "flufl.bounce")
    expected = SETS[name]
    samples = dict(_read(expected))
    assert samples, f"no samples of {name} at {_SAMPLES}: run tests/interop/samples.sh"
    found = {stem: _recognised(content) for stem, content in samples.items()}
    right = {
        stem
        for stem, one in found.items()
        if one.kind is expected.others.get(stem, Kind.DSN)
    }
    classes = Counter(one for each in found.values() for one in _classes(each))
    recipients, unknown = classes.total(), classes[BounceClass.UNKNOWN]
    bounces = samples.keys() - expected.others.keys()
    by_flufl = {stem for stem in samples if _is_found_by_flufl(samples[stem])}
    figures.append(
        f"bounces of {name}: {len(right)} of {len(samples)} samples recognised"
        f" ({len(right) / len(samples):.1%}); {recipients - unknown} of {recipients}"
        f" recipients with a class ({1 - unknown / recipients:.1%}); of {len(bounces)}"
        f" bounces flufl.bounce alone finds {len(by_flufl & bounces)}"
    )
    assert samples.keys() - right == set()
    assert (
        len(samples),
        recipients,
        recipients - unknown,
        len(by_flufl & bounces),
    ) == (
        expected.samples,
        expected.recipients,
        expected.classed,
        expected.found_by_flufl,
    )
    assert not by_flufl - bounces


_NAMED = {  # what the names of bounceparser's files say, and how that is called here
    "quota": {BounceClass.MAILBOX_FULL},
    "message-too-large": {BounceClass.MESSAGE_TOO_LARGE},
    "spam-rejection": {
        BounceClass.SPAM_CONTENT,
        BounceClass.DOMAIN_REPUTATION,
        BounceClass.BLOCKED_SOURCE,
    },
    "relay": {BounceClass.RELAYING_DENIED},
    "rcpthosts": {BounceClass.RELAYING_DENIED},
    "host-unknown": {BounceClass.INVALID_DOMAIN},
    "no-such-domain": {BounceClass.INVALID_DOMAIN},
    "unknown": {BounceClass.INVALID_MAILBOX, BounceClass.INACTIVE_MAILBOX},
    "mailbox": {BounceClass.INVALID_MAILBOX, BounceClass.INACTIVE_MAILBOX},
    "exist": {BounceClass.INVALID_MAILBOX},
    "dne": {BounceClass.INVALID_MAILBOX},
}
_OTHERWISE = {
    "quota-4": BounceClass.MESSAGE_TOO_LARGE,  # "max message size exceeded"
}


def test_the_class_is_what_the_samples_owners_call_it(figures: list[str]) -> None:
    right, otherwise = 0, {}
    for stem, content in _read(SETS["bounceparser"]):
        named = next((one for part, one in _NAMED.items() if part in stem), None)
        if named is None:
            continue
        for one in _classes(_recognised(content)):
            if one in named:
                right += 1
            else:
                otherwise[stem] = one
    figures.append(
        f"bounces of bounceparser: {right} recipients have the class that their file's"
        f" name says, {len(otherwise)} another"
    )
    assert otherwise == _OTHERWISE
    assert right == 89
