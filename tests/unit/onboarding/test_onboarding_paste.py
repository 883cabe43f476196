"""Records that customers paste by hand: each way to get one wrong has its own words."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from soboo_mta.formats.keys import Algorithm
from soboo_mta.identity.dmarc import SuffixList
from soboo_mta.identity.records import key_text
from soboo_mta.identity.state import (
    DomainSettings,
    KeyState,
    Mode,
    Purpose,
    RecordCheck,
    RecordStatus,
)
from soboo_mta.identity.zones.zone_text import pieces
from soboo_mta.onboarding.check import CheckOptions, CheckResult, DomainCheck
from tests.fakes.clock import FakeClock
from tests.fakes.dns import FakeResolver
from tests.fakes.domains import OPERATOR, SETTINGS, key, published

_SUFFIXES = SuffixList()
MANUAL = replace(SETTINGS, mode=Mode.MANUAL)
SPF_ALONE = replace(MANUAL, keys=())
_SB1 = "sb1._domainkey.customer.com"
_KEY = key_text(MANUAL.keys[0])
_OTHER = key_text(MANUAL.keys[1])
_P = MANUAL.keys[0].p
_FIRST, _SECOND = pieces(_KEY)
_INCLUDE = "include:_spf.esp.example"


async def _look(settings: DomainSettings, dns: FakeResolver) -> CheckResult:
    check = DomainCheck(
        resolver=dns,
        operator=OPERATOR,
        suffixes=_SUFFIXES,
        clock=FakeClock(),
        options=CheckOptions(),
    )
    return await check.check(settings, None, ())


async def _key_check(
    texts: Sequence[str], settings: DomainSettings = MANUAL
) -> tuple[RecordCheck, bool]:
    """What is said of sb1 with these TXT records, and whether its key is used."""
    dns = published(settings)
    for text in texts:
        dns.add(_SB1, "TXT", text)
    result = await _look(settings, dns)
    seen = next(check for check in result.checks if check.record.owner == _SB1)
    return seen, 1 in result.facts.usable


async def _spf_check(*texts: str) -> tuple[RecordCheck, tuple[str, ...]]:
    """What is said of SPF with these TXT records, and the sources that it passes for."""
    dns = published(SPF_ALONE)
    for text in texts:
        dns.add("customer.com", "TXT", text)
    result = await _look(SPF_ALONE, dns)
    seen = next(c for c in result.checks if c.record.purpose is Purpose.SPF)
    return seen, result.facts.spf_author


# ---- keys

_PASTED = {
    "quoted": ([f'"{_KEY}"'], "quotation marks", "leave them out"),
    "quoted pieces in one string": (
        [f'"{_FIRST}" "{_SECOND}"'],
        "quotation marks",
        "leave them out",
    ),
    "typographic quotes": ([f"â\x80\x9c{_KEY}â\x80\x9d"], "typographic", "plain text"),
    "escaped": ([_KEY.replace(";", "\\;")], "backslashes", "leave the backslashes out"),
    "cut at 255": ([_FIRST], "was cut after", "enter the quoted pieces"),
    "only the second piece": ([f"v=DKIM1; k=rsa; p={_P[90:]}"], "first 90", "copy"),
    "lower case": ([_KEY.replace(_P, _P.lower())], "capitals", "what changes capitals"),
    "wrong order": ([_SECOND + _FIRST], "wrong order", "comes first"),
    "wrong order, with a blank": (
        [f"{_SECOND} {_FIRST}"],
        "wrong order",
        "comes first",
    ),
    "pieces as records": ([_FIRST, _SECOND], "TXT records of their own", "one record"),
    "a second record": (
        [_KEY, "v=DKIM1; p=AAAA"],
        "2 TXT records",
        "delete the others",
    ),
    "two foreign records": (["x=1", "y=1"], "2 TXT records", "delete them all"),
    "another selector's": ([_OTHER], "the key of selector sb2", "its own key"),
    "another key": (["v=DKIM1; k=rsa; p=AAAA"], "is another key", "replace it"),
    "the key alone": ([_P], "without the tags", "begins with v=DKIM1"),
    "p= missing": (["v=DKIM1; k=rsa"], "no p= tag", "replace it"),
    "v= late": ([f"k=rsa; v=DKIM1; p={_P}"], "must begin with v=DKIM1", "replace it"),
    "another k=": (
        [_KEY.replace("k=rsa", "k=ed25519")],
        "k= must be rsa",
        "replace it",
    ),
    "the name inside": ([f"{_SB1} TXT {_KEY}"], "name of the record", "fields"),
    "emptied": (["v=DKIM1; k=rsa; p="], "revokes", "replace it"),
}


@pytest.mark.parametrize("how", _PASTED)
async def test_a_key_pasted_wrongly_has_its_own_cause_and_mend(how: str) -> None:
    texts, cause, mend = _PASTED[how]

    seen, is_used = await _key_check(texts)

    assert seen.status is RecordStatus.WRONG
    assert cause in seen.cause, seen.cause
    assert mend in seen.mend, seen.mend
    assert seen.mend.endswith(f'publish {_SB1} TXT "{_KEY}"')
    assert not is_used


def test_no_two_mistakes_are_told_in_the_same_words() -> None:
    told = [(cause, mend) for _, cause, mend in _PASTED.values()]
    same = {one for one in told if told.count(one) > 1}
    assert same == {
        ("quotation marks", "leave them out"),
        ("wrong order", "comes first"),
    }


@pytest.mark.parametrize(
    ("text", "remark"),
    [
        (f"{_FIRST} {_SECOND}", "joined with a blank"),
        (_KEY[:60] + "\t" + _KEY[60:], "blanks are inside p="),
        (_KEY[:60] + "\r\n " + _KEY[60:], "line breaks are inside p="),
    ],
)
async def test_white_space_in_a_key_is_remarked_upon_and_the_key_is_used(
    text: str, remark: str
) -> None:
    seen, is_used = await _key_check([text])

    assert seen.status is RecordStatus.GOOD
    assert remark in seen.cause
    assert is_used


async def test_a_key_pasted_right_needs_no_words() -> None:
    seen, is_used = await _key_check([_KEY])

    assert (seen.status, seen.cause, seen.mend) == (RecordStatus.GOOD, "", "")
    assert is_used


async def test_an_ed25519_key_without_its_k_is_taken_for_rsa() -> None:
    ed25519 = key(1, "sb1", KeyState.ACTIVE, Algorithm.ED25519, p="A" * 43 + "=")
    settings = replace(MANUAL, keys=(ed25519,))

    seen, is_used = await _key_check([f"v=DKIM1; p={ed25519.p}"], settings)

    assert "k= must be ed25519" in seen.cause
    assert not is_used


# ---- SPF

_RECORDS = {
    "none": ([], "no SPF record", "publish customer.com TXT"),
    "two records": (
        [f"v=spf1 {_INCLUDE} ~all", "v=spf1 mx ~all"],
        "2 SPF records",
        "join them",
    ),
    "twice in one": (
        [f"v=spf1 mx ~all v=spf1 {_INCLUDE} ~all"],
        "pasted twice",
        "one v=spf1",
    ),
    "quoted": ([f'"v=spf1 {_INCLUDE} ~all"'], "quotation marks", "replace it"),
    "something before it": (
        [f"SPF v=spf1 {_INCLUDE} ~all"],
        "does not begin",
        "replace",
    ),
    "a blank after include:": (
        ["v=spf1 include: _spf.esp.example ~all"],
        "a blank stands after include:",
        "without a blank",
    ),
    "another name of ours": (
        ["v=spf1 include:esp.example ~all"],
        "is not the name to include",
        "write include:_spf.esp.example",
    ),
    "our name by a": (
        ["v=spf1 a:_spf.esp.example ~all"],
        "a:_spf.esp.example is not the name",
        f"write {_INCLUDE}",
    ),
    "our name with the zone's appended": (
        ["v=spf1 a:_spf.esp.example.customer.com ~all"],
        "is not the name to include",
        f"write {_INCLUDE}",
    ),
    "after all": ([f"v=spf1 mx ~all {_INCLUDE}"], "nobody reads it", "before its all"),
    "denied": ([f"v=spf1 -{_INCLUDE} ~all"], "a sign before it", "without -, ~ or ?"),
    "for everybody": ([f"v=spf1 {_INCLUDE} +all"], "every address", "never in +all"),
    "a misspelt term": (
        [f"v=spf1 {_INCLUDE} ipv4:192.0.2.1 ~all"],
        "ipv4:",
        "as a tree",
    ),
    "forgotten": (["v=spf1 mx ~all"], "does not pass for all", f"put {_INCLUDE}"),
    "dear": (
        ["v=spf1 " + "mx:mx1.esp.example " * 11 + f"{_INCLUDE} ~all"],
        "12 look-ups",
        "mend that first",
    ),
}


@pytest.mark.parametrize("how", _RECORDS)
async def test_an_spf_record_pasted_wrongly_says_how(how: str) -> None:
    texts, cause, mend = _RECORDS[how]

    seen, _ = await _spf_check(*texts)

    assert seen.status in (RecordStatus.WRONG, RecordStatus.MISSING)
    assert cause in seen.cause, seen.cause
    assert mend in seen.mend, seen.mend


async def test_a_record_pasted_twice_is_used_where_our_include_is_read() -> None:
    seen, passing = await _spf_check(f"v=spf1 {_INCLUDE} ~all v=spf1 mx ~all")

    assert seen.status is RecordStatus.GOOD
    assert "pasted twice" in seen.cause
    assert passing == ("out-1", "out-2")


async def test_a_record_that_passes_for_everybody_still_carries_mail() -> None:
    _, passing = await _spf_check("v=spf1 +all")

    assert passing == ("out-1", "out-2")


@pytest.mark.parametrize(
    "text",
    [
        f"v=spf1 {_INCLUDE} ~all",
        f"V=SPF1 mx +{_INCLUDE.upper()} -all",
        f"v=spf1 {_INCLUDE}",
    ],
)
async def test_an_spf_record_that_names_us_is_good(text: str) -> None:
    seen, passing = await _spf_check(text, "site-verification=1")

    assert (seen.status, seen.cause) == (RecordStatus.GOOD, "")
    assert passing == ("out-1", "out-2")


async def test_our_own_include_that_lacks_a_source_is_ours_to_mend() -> None:
    dns = published(SPF_ALONE)
    dns.add("customer.com", "TXT", f"v=spf1 {_INCLUDE} ~all")
    dns.replace("_spf.esp.example", "TXT", "v=spf1 ip4:192.0.2.1 -all")

    result = await _look(SPF_ALONE, dns)

    seen = next(c for c in result.checks if c.record.purpose is Purpose.SPF)
    assert seen.mend.startswith("the operator publishes _spf.esp.example")
    assert result.facts.spf_author == ("out-1",)
