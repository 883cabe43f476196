"""Rules of a sink: which one matches, and what it decides."""

import pytest

from soboo_mta.lab.rules.behaviour import Behaviour
from soboo_mta.lab.rules.rule import Action, Moment, Stage


@pytest.fixture
def behaviour(world, clock) -> Behaviour:
    return Behaviour(world.directory / "sinks.toml", clock)


def moment(
    recipient: str = "bob@dest.test",
    *,
    stage: Stage = Stage.RCPT,
    host: str = "127.0.0.1",
    reverse_path: str = "b-1@bounce.customer.test",
) -> Moment:
    return Moment(
        stage=stage,
        host=host,
        client="127.0.0.9",
        reverse_path=reverse_path,
        recipients=(recipient,),
    )


def test_without_a_file_everything_is_accepted(behaviour):
    assert behaviour.decide(moment()).action is Action.ACCEPT


def test_a_rule_for_a_recipient_leaves_the_others_alone(behaviour, world):
    world.write_file(
        "sinks.toml", '[[rule]]\nrecipient = "no@dest.test"\nreply = "550 5.1.1 No"\n'
    )
    assert behaviour.decide(moment("NO@dest.test")).reply == "550 5.1.1 No"
    assert behaviour.decide(moment()).action is Action.ACCEPT


def test_a_rule_for_a_domain_is_not_for_its_subdomains(behaviour, world):
    world.write_file(
        "sinks.toml", '[[rule]]\ndomain = "dest.test"\nreply = "450 Later"\n'
    )
    assert behaviour.decide(moment()).action is Action.REPLY
    assert behaviour.decide(moment("bob@sub.dest.test")).action is Action.ACCEPT


def test_a_rule_for_a_host_holds_at_that_address_alone(behaviour, world):
    world.write_file(
        "sinks.toml",
        '[[rule]]\nhost = "127.0.0.3"\nstage = "banner"\nreply = "421 Busy"\n',
    )
    assert behaviour.decide(moment(stage=Stage.BANNER)).action is Action.ACCEPT
    at_host = moment(stage=Stage.BANNER, host="127.0.0.3")
    assert behaviour.decide(at_host).reply == "421 Busy"


def test_an_earlier_accept_exempts_from_a_wider_rule(behaviour, world):
    world.write_file(
        "sinks.toml",
        '[[rule]]\nrecipient = "ok@dest.test"\naction = "accept"\n'
        '[[rule]]\ndomain = "dest.test"\naction = "drop"\n',
    )
    assert behaviour.decide(moment("ok@dest.test")).action is Action.ACCEPT
    assert behaviour.decide(moment()).action is Action.DROP


def test_times_lets_the_rule_rest_afterwards(behaviour, world):
    world.write_file("sinks.toml", '[[rule]]\nreply = "451 Later"\ntimes = 2\n')
    actions = [behaviour.decide(moment()).action for _ in range(3)]
    assert actions == [Action.REPLY, Action.REPLY, Action.ACCEPT]


def test_greylisting_asks_to_wait_per_client_sender_domain_and_recipient(
    behaviour, world, clock
):
    world.write_file("sinks.toml", '[[rule]]\naction = "greylist"\nseconds = 60\n')
    assert behaviour.decide(moment()).reply.startswith("451 4.7.1")
    clock.advance(59)
    assert behaviour.decide(moment()).action is Action.REPLY
    assert behaviour.decide(moment("new@dest.test")).action is Action.REPLY
    clock.advance(1)
    again = moment(reverse_path="b-2@bounce.customer.test")
    assert behaviour.decide(again).action is Action.ACCEPT
    assert behaviour.decide(moment("new@dest.test")).action is Action.REPLY


def test_a_changed_file_is_obeyed_and_a_broken_one_is_not(behaviour, world):
    world.write_file("sinks.toml", '[[rule]]\nreply = "450 Later"\n')
    assert behaviour.decide(moment()).reply == "450 Later"
    world.write_file("sinks.toml", '[[rule]]\nreply = "later"\n')
    assert behaviour.decide(moment()).reply == "450 Later"
    assert "a reply is a code" in behaviour.problem
    world.write_file("sinks.toml", "")
    assert behaviour.decide(moment()).action is Action.ACCEPT
    assert behaviour.problem == ""


@pytest.mark.parametrize(
    ("rule", "complaint"),
    [
        ('recipient = "a@b.test"\nstage = "mail"\nreply = "550 No"', "match by host"),
        ('stage = "data"\naction = "greylist"', "greylisting happens at rcpt"),
        ('stage = "dot"\nreply = "550 No"\nkeep = true', "keep goes with"),
        ('action = "explode"', "action"),
        ('colour = "red"\nreply = "550 No"', "colour"),
        ('reply = "550 No\\r\\n250 Yes"', "a reply is a code"),
    ],
)
def test_a_rule_that_makes_no_sense_says_why(behaviour, world, rule, complaint):
    world.write_file("sinks.toml", f"[[rule]]\n{rule}\n")
    behaviour.decide(moment())
    assert complaint in behaviour.problem
