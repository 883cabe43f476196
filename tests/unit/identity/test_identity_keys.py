"""How mail leaves without the key that signs now."""

from dataclasses import replace

from soboo_mta.identity.keys import ways_out_without
from soboo_mta.identity.state import KeyState, OnBroken
from tests.fakes.domains import FACTS, OPERATOR, SETTINGS, state

ACTIVE, READY = SETTINGS.keys


def test_a_next_key_that_was_seen_signs_on_every_source() -> None:
    facts = replace(FACTS, usable=(ACTIVE.key_id, READY.key_id))
    (way,) = ways_out_without(state(facts), OPERATOR)
    assert way == "mail leaves signed with s=sb2 d=customer.com (source out-1, out-2)"


def test_without_one_spf_carries_it_where_it_aligns() -> None:
    facts = replace(FACTS, usable=(ACTIVE.key_id,), spf_bounce=("out-1",))
    first, second = ways_out_without(state(facts), OPERATOR)
    assert first == "mail leaves unsigned, by SPF alone, which aligns (source out-1)"
    assert second.startswith("mail is held: ")
    assert second.endswith("(source out-2)")


def test_what_the_domain_says_of_mail_without_a_way_out_is_told() -> None:
    facts = replace(FACTS, usable=(ACTIVE.key_id,), bounce_ready=False)
    (refused,) = ways_out_without(state(facts, on_broken=OnBroken.REFUSE), OPERATOR)
    assert refused.startswith("mail is refused: ")
    sent = state(facts, on_broken=OnBroken.SEND_UNALIGNED)
    assert ways_out_without(sent, OPERATOR)[0].startswith("mail leaves unaligned")
    assert ACTIVE.state is KeyState.ACTIVE
