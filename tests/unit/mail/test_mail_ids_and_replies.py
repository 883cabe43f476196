import pytest
from hypothesis import given
from hypothesis import strategies as st

from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.ids import MessageId, MessageIds
from soboo_mta.mail.reply import EnhancedStatus, Reply, reply


@given(st.integers(min_value=0, max_value=(1 << 63) - 1))
def test_a_message_id_reads_back_from_its_text(value: int) -> None:
    assert MessageId.parse(str(MessageId(value))) == value


@given(st.lists(st.integers(min_value=0, max_value=(1 << 63) - 1), min_size=2))
def test_the_text_of_message_ids_sorts_as_the_ids_do(values: list[int]) -> None:
    ids = [MessageId(value) for value in values]
    assert sorted(ids) == sorted(ids, key=str)


@pytest.mark.parametrize("text", ["", "abc", "u" * 13, "z" * 13, "0" * 14])
def test_what_is_no_message_id_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        MessageId.parse(text)


@given(st.lists(st.integers(1_800_000_000_000, 1_800_000_000_010), min_size=1))
def test_ids_of_one_worker_only_grow_whatever_the_clock_does(ticks: list[int]) -> None:
    clock = iter(ticks)
    ids = MessageIds(worker=5, unix_ms=lambda: next(clock))
    made = [ids.next() for _ in ticks]
    assert made == sorted(set(made))


def test_ids_go_on_after_the_floor_when_the_clock_was_set_back() -> None:
    first = MessageIds(worker=5, unix_ms=lambda: 1_800_000_000_000).next()
    ids = MessageIds(worker=5, unix_ms=lambda: 1_700_000_000_000, floor=first)
    assert ids.next() > first


def test_a_millisecond_with_more_than_4096_messages_borrows_from_the_next() -> None:
    ids = MessageIds(worker=1023, unix_ms=lambda: 1_800_000_000_000)
    made = {ids.next() for _ in range(10_000)}
    assert len(made) == 10_000
    other = MessageIds(worker=1022, unix_ms=lambda: 1_800_000_000_000)
    assert made.isdisjoint({other.next() for _ in range(10_000)})


def test_case_145_160_a_received_reply_is_printable_and_bounded() -> None:
    seen = Reply.received(550, "5.1.1 no\r\nsuch\x00 \x1b[31muser" + "x" * 100_000)
    assert seen.status == EnhancedStatus(5, 1, 1)
    assert seen.text.startswith("no such [31muser")
    assert len(str(seen)) < 2_020


def test_a_status_of_another_family_than_the_code_stays_text() -> None:
    seen = Reply.received(450, "5.1.1 odd")
    assert seen.status is None
    assert str(seen) == "450 5.1.1 odd"


def test_a_reply_of_ours_must_have_a_well_formed_status() -> None:
    assert str(reply(250, "2.0.0", "queued")) == "250 2.0.0 queued"
    with pytest.raises(ValueError, match="nonsense"):
        reply(250, "nonsense", "queued")
