"""What replies mean: case 145 and its neighbours."""

import pytest

from soboo_mta.formats.classes.rules import own_rules
from soboo_mta.mail.outcome import Deferred, Delivered, Failed, Reason, Scope
from soboo_mta.mail.reply import Reply
from soboo_mta.transfer.classify import Stage, broken, of_reply

RULES = own_rules()


def meaning(stage: Stage, code: int):
    return of_reply(stage, Reply.received(code, "because"), rules=RULES)


def test_case_145_only_a_2xx_after_the_final_dot_is_delivered():
    assert isinstance(meaning(Stage.DOT, 250), Delivered)
    assert isinstance(meaning(Stage.DOT, 251), Delivered)
    for stage in set(Stage) - {Stage.DOT}:
        assert not isinstance(meaning(stage, 250), Delivered)


@pytest.mark.parametrize("stage", list(Stage))
def test_case_145_a_421_defers_at_every_stage(stage):
    outcome = meaning(stage, 421)
    assert isinstance(outcome, Deferred)
    expected = Scope.MESSAGE if stage is Stage.DOT else Scope.HOST
    assert outcome.scope is expected


@pytest.mark.parametrize("stage", [Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.DOT])
def test_case_145_a_4xx_defers_and_5xx_fails(stage):
    assert isinstance(meaning(stage, 451), Deferred)
    assert isinstance(meaning(stage, 550), Failed)


@pytest.mark.parametrize("stage", [Stage.BANNER, Stage.EHLO, Stage.STARTTLS])
def test_case_117_a_refusal_of_us_is_no_refusal_of_the_message(stage):
    outcome = meaning(stage, 554)
    assert isinstance(outcome, Deferred)
    assert outcome.scope is Scope.HOST


def test_case_146_a_552_at_rcpt_means_too_many_recipients():
    assert isinstance(meaning(Stage.RCPT, 552), Deferred)
    assert isinstance(meaning(Stage.DOT, 552), Failed)


@pytest.mark.parametrize("code", [0, 100, 354, 600, 999])
def test_case_145_a_code_that_cannot_be_defers(code):
    outcome = meaning(Stage.DOT, code)
    assert isinstance(outcome, Deferred)
    assert outcome.reason is Reason.PROTOCOL


def test_case_147_what_broke_after_the_final_dot_does_not_try_another_host_at_once():
    lost = broken(Stage.DOT, Reason.CONNECTION, "lost")
    assert lost.scope is Scope.MESSAGE
    assert broken(Stage.DATA, Reason.CONNECTION, "lost").scope is Scope.HOST
