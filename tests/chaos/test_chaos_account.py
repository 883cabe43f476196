"""The account itself: what must not be is found, else the campaigns prove nothing."""

from dataclasses import replace
from datetime import UTC, datetime

from soboo_mta.lab.record import MessageRecord, Verdict
from tests.chaos.account import Life, account
from tests.chaos.ready_world import DOMAIN
from tests.chaos.sender import Mail, written

TO = "r@alpha.test"
PLACE = ("m", TO)
LIVES = (Life(0), Life(1_000, "a kill"), Life(2_000, "another"))


def mail(reply: str = "250 2.0.0 Accepted as 1", life: int = 0) -> Mail:
    made = written("m", (TO,), b"x", life=life)
    made.reply = reply
    return made


def copy(at: int, *, to: str = TO, name: str = "m", dmarc: str = "pass"):
    return MessageRecord(
        received_at=datetime.fromtimestamp(at / 1_000, UTC),
        peer="127.0.0.1",
        sink="127.0.0.2",
        helo="mta1.esp.example",
        tls=False,
        mail_from="",
        rcpt_to=(to,),
        size=1,
        verdict=Verdict(message_id=f"<{name}@{DOMAIN}>", dmarc=dmarc),
    )


def test_one_copy_settled_once_is_in_order() -> None:
    found = account([mail()], [copy(10)], {PLACE: [20]}, LIVES)
    assert found.wrong == {}
    assert (found.acknowledged, found.duplicates) == (1, 0)


def test_what_got_250_and_did_not_arrive_is_lost() -> None:
    assert account([mail()], [], {}, LIVES).lost == [PLACE]
    assert account([mail(reply="")], [], {}, LIVES).wrong == {}
    assert account([mail(reply="451 4.3.0 No")], [], {}, LIVES).wrong == {}


def test_a_copy_for_each_life_that_ended_before_the_settlement_is_explained() -> None:
    copies = [copy(10), copy(1_010)]
    found = account([mail()], copies, {PLACE: [1_020]}, LIVES)
    assert found.wrong == {}
    assert found.duplicates == 1
    assert found.duplicates_by == {"a kill": 1}


def test_more_copies_than_lives_are_unexplained() -> None:
    copies = [copy(10), copy(11)]
    assert account([mail()], copies, {PLACE: [20]}, LIVES).unexplained
    copies = [copy(1_010), copy(1_011)]
    assert account([mail(life=1)], copies, {PLACE: [1_020]}, LIVES).unexplained


def test_copies_within_one_life_are_unexplained() -> None:
    copies = [copy(3_100), copy(3_110)]
    found = account([mail()], copies, {PLACE: [3_120]}, LIVES)
    assert "no life ended between" in found.unexplained[0]


def test_a_copy_after_the_settlement_is_unexplained() -> None:
    copies = [copy(10), copy(1_010)]
    assert account([mail()], copies, {PLACE: [20]}, LIVES).unexplained


def test_a_second_settlement_is_unexplained() -> None:
    copies = [copy(10), copy(1_010)]
    assert account([mail()], copies, {PLACE: [20, 1_020]}, LIVES).unexplained
    assert account([mail()], [copy(10)], {}, LIVES).unexplained  # none at all


def test_what_was_never_submitted_is_found() -> None:
    assert account([], [copy(10)], {}, LIVES).strangers
    other = copy(10, to="x@alpha.test")
    assert account([mail(reply="")], [other], {}, LIVES).strangers


def test_what_is_not_aligned_is_found() -> None:
    bad = replace(copy(10), verdict=copy(10, dmarc="fail").verdict)
    assert account([mail()], [bad], {PLACE: [20]}, LIVES).unaligned
