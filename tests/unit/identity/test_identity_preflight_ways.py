"""Preflight of a customer's own relay or mailbox: what is foretold, and what a trial says."""

from dataclasses import replace

import pytest

from soboo_mta.identity.plan import depart
from soboo_mta.identity.preflight.checks import preflight, would_pass
from soboo_mta.identity.preflight.values import Check, Code, Result, Traffic, WaySeen
from soboo_mta.identity.state import Mode
from soboo_mta.ports import Probed, ProbeStep
from tests.fakes.domains import FACTS, NO_RECORD, OPERATOR, OUT_1, state
from tests.fakes.tenancy import MAILBOX, RELAY
from tests.unit.identity.test_identity_preflight import _DMARC, _GOOD

_NOTHING = WaySeen(signs=None, spf=None, is_silent=False, ours=False)


def checks(
    mode: Mode = Mode.RELAY, way: WaySeen = _NOTHING, **seen: object
) -> dict[Code, Check]:
    one = state(FACTS, mode=mode, way_out=MAILBOX if mode is Mode.MAILBOX else RELAY)
    values: dict[str, object] = {
        "settings": one.settings,
        "departure": depart(one, OUT_1, OPERATOR),
        "way": way,
        **seen,
    }
    found = preflight(replace(_GOOD, **values), (), Traffic.BULK)  # type: ignore[arg-type]
    return {check.code: check for check in found}


def test_no_mail_leaves_and_nothing_of_our_own_hosts_is_judged() -> None:
    found = checks()
    assert found[Code.PLAN].result is Result.HOLD
    assert "is not in this release" in found[Code.PLAN].sentence
    assert would_pass(found.values()) is False
    assert not {Code.FCRDNS, Code.EHLO, Code.TLS, Code.SPF_PASS} & set(found)


@pytest.mark.parametrize(
    ("way", "result", "words"),
    [
        (replace(_NOTHING, ours=True), Result.PASS, "our signature would serve"),
        (_NOTHING, Result.WARN, "nothing of ours or of its provider's"),
    ],
)
def test_a_relay_is_foretold_by_our_own_signature_alone(
    way: WaySeen, result: Result, words: str
) -> None:
    found = checks(way=way)[Code.ALIGN]
    assert (found.result, words in found.sentence) == (result, True)


@pytest.mark.parametrize(
    ("signs", "spf", "result"),
    [
        (True, True, Result.PASS),
        (True, False, Result.PASS),
        (False, True, Result.PASS),
        (False, False, Result.WARN),
    ],
)
def test_a_mailbox_passes_by_its_providers_key_or_spf(
    signs: bool, spf: bool, result: Result
) -> None:
    way = replace(_NOTHING, signs=signs, spf=spf)
    assert checks(Mode.MAILBOX, way)[Code.ALIGN].result is result


def test_where_no_dmarc_record_applies_spf_alone_does_not_do() -> None:
    dmarc = replace(_DMARC, walk=NO_RECORD, suffix_list=NO_RECORD)
    only_spf = replace(_NOTHING, signs=False, spf=True)
    found = checks(Mode.MAILBOX, only_spf, dmarc=dmarc)
    assert found[Code.ALIGN].result is Result.WARN
    signed = replace(_NOTHING, signs=True, spf=False)
    assert checks(Mode.MAILBOX, signed, dmarc=dmarc)[Code.ALIGN].result is Result.PASS


def test_silence_is_not_taken_as_missing() -> None:
    silent = replace(_NOTHING, signs=False, spf=False, is_silent=True)
    assert checks(Mode.MAILBOX, silent)[Code.ALIGN].result is Result.UNKNOWN
    assert checks(dmarc=None)[Code.ALIGN].result is Result.UNKNOWN


@pytest.mark.parametrize("step", ProbeStep)
def test_each_failed_step_of_a_trial_has_its_sentence_and_what_to_do(
    step: ProbeStep,
) -> None:
    way = replace(_NOTHING, probed=Probed(done=(), failed=step, detail="why"))
    found = checks(way=way)[Code.WAY]
    assert found.result is Result.FIX
    assert found.sentence.startswith("smtp.customer.com:587: it")
    assert found.sentence.endswith(": why")
    assert found.mend


def test_a_server_whose_name_dns_is_silent_about_is_not_called_wrong() -> None:
    silent = Probed(
        done=(), failed=ProbeStep.ADDRESS, detail="no answer", is_silent=True
    )
    found = checks(way=replace(_NOTHING, probed=silent))[Code.WAY]
    assert (found.result, "could not be tried" in found.sentence) == (
        Result.UNKNOWN,
        True,
    )


def test_a_good_trial_says_how_it_logged_in() -> None:
    probed = Probed(done=tuple(ProbeStep), tls="TLSv1.3", offers=("DSN",), hop="h[1]:2")
    found = checks(way=replace(_NOTHING, probed=probed))[Code.WAY]
    assert found.result is Result.PASS
    assert found.sentence == (
        "h[1]:2: TLSv1.3, logged in as esp; it offers DSN; nothing was sent"
    )
