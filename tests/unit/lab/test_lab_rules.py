"""A rule's shape: replies, where actions have their place, and what errors say."""

import pytest

from soboo_mta.lab.dns.zones import read_faults
from soboo_mta.lab.entries import parse_entries
from soboo_mta.lab.rules.behaviour import Behaviour
from soboo_mta.lab.rules.rule import Action, Moment, Rule, Stage
from soboo_mta.lab.rules.words import rule_of


def complaint(text: str) -> str:
    with pytest.raises(ValueError) as refused:  # noqa: PT011  # the text is what is tested
        parse_entries(text, "sinks.toml", "rule", Rule)
    return str(refused.value)


def test_a_reply_may_be_code_enhanced_code_and_lines_of_text():
    rule = Rule(code=550, enhanced="5.7.1", text=("Not here", "Ask ann"))
    assert rule.lines == ("550-5.7.1 Not here", "550 5.7.1 Ask ann")
    assert Rule(code=421).lines == ("421 As the rule says",)


def test_a_reply_of_several_lines_gets_its_hyphens():
    assert Rule(reply=("451 4.3.0 One", "451 4.3.0 Two")).lines == (
        "451-4.3.0 One",
        "451 4.3.0 Two",
    )
    assert Rule(reply="250-Taken").lines == ("250 Taken",)


def test_an_action_with_one_place_needs_no_stage():
    assert Rule(action="hide", extensions=("SIZE",)).stage is Stage.EHLO
    assert Rule(action="tls", fault="expired").stage is Stage.STARTTLS
    assert Rule(action="slow").stage is Stage.DATA


def test_an_error_names_the_line_and_the_nearest_key():
    said = complaint('[[rule]]\nreply = "550 No"\n\n[[rule]]\nrecipent = "a@b.test"\n')
    assert "sinks.toml line 5: there is no key 'recipent'" in said
    assert "did you mean 'recipient'?" in said


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('[[rule]]\naction = "dropp"', "line 2: action = 'dropp' is none of"),
        ('[[rule]]\naction = "dropp"', "did you mean 'drop'?"),
        (
            '[[rule]]\naction = "hide"\nextensions = ["8BITMINE"]',
            "did you mean '8BITMIME'?",
        ),
        ('[[rule]]\nstage = "recpt"\nreply = "550 No"', "did you mean 'rcpt'?"),
        ("[[rule]]\ncode = 999", "line 2: code"),
        ("[[rule]]\ncode = 350", "the same code on each line"),
        ('[[rule]]\ncode = 550\nreply = "550 No"', "a reply is a code and a text"),
        ('[[rule]]\nreply = ["550 No", "450 No"]', "the same code on each line"),
        ('[[rule]]\ncode = 550\nenhanced = "5.1"', 'a code like "4.2.2"'),
        ('[[rule]]\ncode = 550\ntext = "a\\nb"', "a code and a text in ASCII"),
        ('[[rule]]\naction = "tls"', "goes with fault"),
        ('[[rule]]\nsender = ""\nstage = "ehlo"\ncode = 550', "no sender is known"),
        ('[[rule]]\naction = "hide"', "say which"),
        ('[[rules]]\nreply = "550 No"', "line 1: there is no 'rules' (did you mean"),
        ("rule = 1", "with two brackets"),
        ("[[rule]\n", "is not TOML"),
    ],
)
def test_an_error_says_what_is_wrong_and_where(text, sentence):
    assert sentence in complaint(text)


def test_all_errors_of_a_file_are_told_at_once():
    assert (
        len(complaint('[[rule]]\nx = 1\n[[rule]]\ny = 1\nreply = "550 No"').split("\n"))
        == 2
    )


def test_a_fault_that_names_no_type_is_refused_with_its_line(tmp_path):
    (tmp_path / "faults.toml").write_text(
        '[[fault]]\nname = "a.test"\ntype = "TXXT"\nanswer = "servfail"\n'
    )
    with pytest.raises(
        ValueError, match=r"faults\.toml line 3: type: TXXT is no record"
    ):
        read_faults(tmp_path / "faults.toml")


def moment(recipient="bob@dest.test", stage=Stage.RCPT, reverse_path="a@shop.test"):
    return Moment(
        stage=stage,
        host="127.0.0.1",
        client="127.0.0.9",
        reverse_path=reverse_path,
        recipients=(recipient,),
    )


@pytest.mark.parametrize(
    ("sender", "is_meant"),
    [("A@shop.test", True), ("@shop.test", True), ("@other.test", False), ("", False)],
)
def test_a_rule_for_a_sender_takes_an_address_a_domain_or_the_null_one(
    sender, is_meant
):
    assert Rule(sender=sender, code=550).matches(moment()) is is_meant
    assert Rule(sender=sender, code=550).matches(moment(reverse_path="")) is (
        sender == ""
    )


def test_added_rules_stand_above_the_file_and_can_be_taken_away(world, clock):
    world.write_file("sinks.toml", '[[rule]]\nreply = "550 File"\n')
    behaviour = Behaviour(world.directory / "sinks.toml", clock)
    number = behaviour.add(Rule(reply="450 Added"))
    behaviour.add(Rule(reply="451 Later"))
    assert behaviour.decide(moment()).reply == "450 Added"
    assert behaviour.remove(number)
    assert not behaviour.remove(number)
    assert behaviour.decide(moment()).reply == "451 Later"
    behaviour.clear()
    assert behaviour.decide(moment()).reply == "550 File"


@pytest.mark.parametrize(
    ("address", "stage", "reply"),
    [
        ("bob+reply-550@a.test", Stage.RCPT, "550 5.0.0 As the address asks"),
        ("bob+reply-452-4.2.2@a.test", Stage.RCPT, "452 4.2.2 As the address asks"),
        ("Bob+Reply-554-at-dot@a.test", Stage.DOT, "554 5.0.0 As the address asks"),
    ],
)
def test_an_address_can_ask_for_a_reply(world, clock, address, stage, reply):
    behaviour = Behaviour(world.directory / "sinks.toml", clock)
    for each in (Stage.RCPT, Stage.DATA, Stage.DOT):
        decided = behaviour.decide(moment(address, stage=each))
        assert decided.reply == (reply if each is stage else "")


def test_an_address_can_ask_twice_and_then_be_accepted(world, clock):
    behaviour = Behaviour(world.directory / "sinks.toml", clock)
    asked = moment("bob+reply-450-x2@a.test")
    replies = [behaviour.decide(asked).reply[:3] for _ in range(3)]
    assert replies == ["450", "450", ""]
    assert behaviour.decide(moment("eve+reply-450-x2@a.test")).reply[:3] == "450"


def test_an_address_can_ask_for_delay_silence_or_greylisting():
    assert rule_of("a+delay-3s-at-dot@b.test").delay == 3
    assert rule_of("a+hang-at-data@b.test").action is Action.HANG
    assert rule_of("a+greylist@b.test").action is Action.GREYLIST
    assert rule_of("a+slow@b.test").stage is Stage.DATA


@pytest.mark.parametrize(
    "address",
    ["bob@a.test", "bob+550@a.test", "reply-550@a.test", "a+news@b.test", "+@b", "<>"],
)
def test_other_addresses_ask_for_nothing(address):
    assert rule_of(address) is None
