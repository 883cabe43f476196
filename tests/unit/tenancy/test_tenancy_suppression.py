"""Suppression lists on both stores: entries, their audit and their end."""

from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import Engine

from soboo_mta.mail.address import Mailbox, parse_mailbox
from soboo_mta.mail.bounce_class import BounceClass
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.ids import NO_STREAM, MessageId, Stream, TenantId, parse_stream
from soboo_mta.store.unit import StoreError
from soboo_mta.store.writer import Writer, read_now, write_now
from soboo_mta.tenancy.accounts import TenancyError
from soboo_mta.tenancy.suppression import (
    Evidence,
    PastChange,
    Suppression,
    SuppressionReason,
    count_suppressions,
    entries_of,
    folded,
    history,
    list_suppressions,
    parse_because,
    place_in_list,
    remove_suppression,
    suppress,
    sweep_suppressions,
)
from soboo_mta.tenancy.suppression.rows import BEGINNING
from tests.fakes.suppression import BOB, entry
from tests.fakes.tenancy import ACME, with_tenants

NEWS, RECEIPTS = Stream("news"), Stream("receipts")
INVALID, SOFT, MANUAL, UNSUBSCRIBE = (
    SuppressionReason.INVALID,
    SuppressionReason.SOFT_BOUNCES,
    SuppressionReason.MANUAL,
    SuppressionReason.UNSUBSCRIBE,
)


@pytest.fixture
def store(engine: Engine) -> Engine:
    write_now(engine, with_tenants)
    return engine


def add(store: Engine, *entries: Suppression, at: int = 7) -> int:
    return len(write_now(store, lambda to: suppress(to, *entries, at=at)))


def remove(
    store: Engine,
    address: Mailbox = BOB,
    *,
    stream: Stream | None = None,
    ignore_case: bool = True,
) -> int:
    gone = write_now(
        store,
        lambda at: remove_suppression(
            at,
            ACME,
            address,
            stream=stream,
            ignore_case=ignore_case,
            because="she wrote to us",
            actor="cli:ann",
            at=9,
        ),
    )
    return len(gone)


def standing(store: Engine, address: Mailbox = BOB) -> tuple[Suppression, ...]:
    return read_now(store, lambda at: entries_of(at, ACME, {folded(address)}))


def past(store: Engine, address: Mailbox = BOB) -> tuple[PastChange, ...]:
    return read_now(store, lambda at: history(at, ACME, address, limit=100))


def size(store: Engine) -> int:
    return read_now(store, lambda at: count_suppressions(at, ACME))


def test_an_entry_is_read_back_as_it_was_written(store: Engine) -> None:
    evidence = Evidence(
        message=MessageId(1 << 40),
        position=3,
        said="550 5.1.1 no such user",
        bounce_class=BounceClass.INVALID_MAILBOX,
        failures=(1, 2),
    )
    one = entry(reason=INVALID, stream=NEWS, evidence=evidence, expires_at=99)
    assert add(store, one) == 1
    assert standing(store) == (one,)


def test_an_address_is_listed_once_in_each_stream(store: Engine) -> None:
    assert add(store, entry(), entry(stream=NEWS), entry(), entry(stream=NEWS)) == 2
    assert add(store, entry()) == 0
    assert [one.stream for one in standing(store)] == [NO_STREAM, NEWS]
    assert size(store) == 2


@pytest.mark.parametrize(
    ("before", "after", "is_replaced"),
    [
        ((MANUAL, 50), (INVALID, None), True),  # lasts longer
        ((MANUAL, None), (SOFT, 50), False),
        ((SOFT, 50), (SOFT, 60), True),
        ((INVALID, None), (UNSUBSCRIBE, None), True),  # says more
        ((UNSUBSCRIBE, None), (INVALID, None), False),
        ((UNSUBSCRIBE, 8), (SOFT, 9), True),  # is over
        ((MANUAL, None), (MANUAL, None), False),
    ],
)
def test_of_two_entries_the_one_that_lasts_longer_or_says_more_stays(
    store: Engine,
    before: tuple[SuppressionReason, int | None],
    after: tuple[SuppressionReason, int | None],
    is_replaced: bool,
) -> None:
    first, second = (
        entry(reason=reason, expires_at=end) for reason, end in (before, after)
    )
    add(store, first)
    assert add(store, second, at=8) == is_replaced
    assert standing(store) == ((second if is_replaced else first),)
    assert size(store) == 1


def test_a_list_is_read_page_by_page(store: Engine) -> None:
    addresses = (parse_mailbox(f"u{n:02}@there.example") for n in range(12))
    add(store, *(entry(one, stream=s) for one in addresses for s in (NEWS, RECEIPTS)))
    seen: list[Suppression] = []
    for _ in range(4):
        after = place_in_list(seen[-1]) if seen else BEGINNING
        page = partial(list_suppressions, tenant=ACME, after=after, limit=7)
        seen += read_now(store, page)
    assert len(seen) == len({place_in_list(one) for one in seen}) == 24
    assert seen == sorted(seen, key=place_in_list)


def test_what_is_removed_is_gone_from_one_stream_or_from_all(store: Engine) -> None:
    add(store, entry(), entry(stream=NEWS), entry(stream=RECEIPTS))
    assert remove(store, parse_mailbox("BOB@there.example"), ignore_case=False) == 0
    assert remove(store, stream=NEWS) == 1
    assert remove(store, stream=NEWS) == 0
    assert [one.stream for one in standing(store)] == [NO_STREAM, RECEIPTS]
    assert remove(store, parse_mailbox("BOB@there.example")) == 2
    assert (standing(store), size(store)) == ((), 0)


def test_the_audit_says_who_did_what_and_why(store: Engine) -> None:
    add(store, entry(reason=SOFT, expires_at=50, actor="returns"))
    add(store, entry(reason=INVALID, actor="returns"))
    remove(store)
    told = [(one.change, one.reason, one.because, one.actor) for one in past(store)]
    assert told == [
        ("added", SOFT, "asked to", "returns"),
        ("replaced", INVALID, "asked to", "returns"),
        ("removed", INVALID, "she wrote to us", "cli:ann"),
    ]
    assert past(store, parse_mailbox("ann@there.example")) == ()


async def test_what_is_over_is_swept_with_its_audit_in_the_end(
    store: Engine, writer: Writer
) -> None:
    people = [parse_mailbox(f"u{n}@there.example") for n in range(2_100)]
    for start in range(0, 2_100, 700):
        some = people[start : start + 700]
        add(store, *(entry(one, expires_at=50) for one in some))
    add(store, entry(expires_at=51), entry(stream=NEWS))
    sweep = partial(
        sweep_suppressions,
        writer,
        soft_within=timedelta(days=1),
        keep_history=timedelta(milliseconds=50),
    )
    assert await sweep(now=50) == 2_100
    assert size(store) == 2
    assert past(store, people[0])[-1].change == "expired"
    assert await sweep(now=58) == 1 + 2_102  # and the audit of time 7
    assert [one.change for one in past(store)] == ["expired"]
    assert await sweep(now=58) == 0


def test_a_tenant_that_does_not_exist_has_no_list(store: Engine) -> None:
    nobody = TenantId("nobody")
    with pytest.raises(TenancyError, match="no tenant nobody"):
        read_now(store, lambda at: list_suppressions(at, nobody))
    with pytest.raises(StoreError):
        add(store, entry(tenant=nobody))


@pytest.mark.parametrize("text", ["", " ", "x" * 201, "a\nb"])
def test_a_reason_is_a_line_and_not_empty(text: str) -> None:
    with pytest.raises(FormatError, match="reason"):
        parse_because(text)


@pytest.mark.parametrize("text", ["", "News", "a b", "-a", "a-", "x" * 33, "ä"])
def test_a_stream_is_a_short_word(text: str) -> None:
    with pytest.raises(FormatError, match="stream"):
        parse_stream(text)
    assert parse_stream("news-2") == "news-2"
