"""What a worker sees of the lists: at any time what a plain model of them says."""

from datetime import timedelta
from random import Random

import pytest
from sqlalchemy import Engine

from soboo_mta.mail.address import Mailbox, parse_mailbox
from soboo_mta.mail.ids import NO_STREAM, Stream
from soboo_mta.store.writer import Writer, write_now
from soboo_mta.tenancy.suppression import (
    Evidence,
    SoftRule,
    Suppression,
    Suppressions,
    count_soft,
    forgive,
    remove_suppression,
    suppress,
)
from soboo_mta.tenancy.suppression.view import SuppressionOptions
from tests.examples import TIMES
from tests.fakes.clock import FakeClock
from tests.fakes.suppression import BOB, entry
from tests.fakes.tenancy import ACME, RIVAL, with_tenants

NEWS = Stream("news")
RULE = SoftRule(limit=3, within=timedelta(days=7))


@pytest.fixture
def store(engine: Engine) -> Engine:
    write_now(engine, with_tenants)
    return engine


def add(store: Engine, *entries: Suppression) -> None:
    write_now(store, lambda to: suppress(to, *entries, at=7))


def remove(store: Engine, address: Mailbox, stream: Stream | None = None) -> None:
    write_now(
        store,
        lambda at: remove_suppression(
            at,
            ACME,
            address,
            stream=stream,
            ignore_case=True,
            because="x",
            actor="test",
            at=9,
        ),
    )


async def test_case_164_a_list_is_its_tenants_alone(
    store: Engine, writer: Writer, clock: FakeClock
) -> None:
    add(store, entry())
    view = Suppressions(writer=writer, clock=clock)
    await view.refresh()
    assert await view.why(ACME, BOB) == "asked to"
    assert view.known(RIVAL, BOB) == ""


@pytest.mark.parametrize("short", [0, 100])
async def test_a_change_is_seen_after_the_next_refresh(
    store: Engine, writer: Writer, clock: FakeClock, short: int
) -> None:
    options = SuppressionOptions(short=short)
    view = Suppressions(writer=writer, clock=clock, options=options)
    await view.refresh()
    assert view.known(ACME, BOB) == ""
    add(store, entry())
    assert await view.why(ACME, BOB) == ""
    await view.refresh()
    assert await view.why(ACME, BOB) == "asked to"
    assert view.known(ACME, BOB) == "asked to"
    remove(store, BOB)
    await view.refresh()
    assert await view.why(ACME, BOB) == ""


@pytest.mark.parametrize("short", [0, 100])
async def test_a_change_costs_other_addresses_no_look_into_the_store(
    store: Engine, writer: Writer, clock: FakeClock, short: int
) -> None:
    ann, carl = parse_mailbox("ann@x.example"), parse_mailbox("carl@x.example")
    add(store, entry(), entry(ann))
    options = SuppressionOptions(short=short)
    view = Suppressions(writer=writer, clock=clock, options=options)
    await view.refresh()
    assert [await view.why(ACME, one) for one in (BOB, carl)] == ["asked to", ""]
    remove(store, ann)
    add(store, entry(carl, because="later"))
    await view.refresh()
    assert view.known(ACME, BOB) == "asked to"
    assert view.known(ACME, carl) == "later"


async def test_after_very_many_changes_the_list_is_read_again(
    store: Engine, writer: Writer, clock: FakeClock
) -> None:
    add(store, entry(), entry(tenant=RIVAL))
    options = SuppressionOptions(short=0)
    view = Suppressions(writer=writer, clock=clock, options=options)
    await view.refresh()
    assert [await view.why(whose, BOB) for whose in (ACME, RIVAL)] == ["asked to"] * 2
    remove(store, BOB)
    people = [parse_mailbox(f"u{n}@there.example") for n in range(2_100)]
    for start in range(0, 2_100, 700):
        add(store, *map(entry, people[start : start + 700]))
    await view.refresh()
    assert view.known(ACME, BOB) is None
    assert await view.why(ACME, BOB) == ""
    assert view.known(RIVAL, BOB) == "asked to"  # another's changes cost it nothing


@pytest.mark.parametrize("short", [0, 100])
async def test_an_entry_concerns_its_stream_or_all(
    store: Engine, writer: Writer, clock: FakeClock, short: int
) -> None:
    ann = parse_mailbox("ann@x.example")
    add(store, entry(stream=NEWS), entry(ann))
    options = SuppressionOptions(short=short)
    view = Suppressions(writer=writer, clock=clock, options=options)
    await view.refresh()
    streams = (NEWS, Stream("receipts"), NO_STREAM)
    assert [await view.why(ACME, BOB, one) for one in streams] == ["asked to", "", ""]
    assert [await view.why(ACME, ann, one) for one in streams] == ["asked to"] * 3


async def test_an_entry_that_is_over_suppresses_nothing(
    store: Engine, writer: Writer, clock: FakeClock
) -> None:
    add(store, entry(expires_at=clock.unix_ms() + 1_000))
    view = Suppressions(writer=writer, clock=clock)
    await view.refresh()
    assert await view.why(ACME, BOB) == "asked to"
    clock.advance(1)
    assert await view.why(ACME, BOB) == ""


@pytest.mark.parametrize("short", [0, 100])
async def test_domains_ignore_case_and_local_parts_do_as_set(
    store: Engine, writer: Writer, clock: FakeClock, short: int
) -> None:
    add(store, entry())
    spelt = {
        text: parse_mailbox(text) for text in ("bob@THERE.example", "Bob@there.example")
    }
    for ignore_case, lower in ((True, "asked to"), (False, "")):
        options = SuppressionOptions(ignore_case=ignore_case, short=short)
        view = Suppressions(writer=writer, clock=clock, options=options)
        await view.refresh()
        assert await view.why(ACME, spelt["bob@THERE.example"]) == lower
        assert await view.why(ACME, spelt["Bob@there.example"]) == "asked to"


async def test_what_is_held_in_memory_is_bounded(
    store: Engine, writer: Writer, clock: FakeClock
) -> None:
    some = [parse_mailbox(f"u{n}@there.example") for n in range(8)]
    for tenant in (ACME, RIVAL):
        add(store, *(entry(one, tenant=tenant) for one in some))
    options = SuppressionOptions(held=10)
    view = Suppressions(writer=writer, clock=clock, options=options)
    await view.refresh()
    for tenant in (ACME, RIVAL, ACME):
        assert await view.why(tenant, parse_mailbox("u7@there.example"))
        assert len(view._whole) == 1
    options = SuppressionOptions(short=0, remembered=3, counted=5)
    long = Suppressions(writer=writer, clock=clock, options=options)
    await long.refresh()
    for n in range(20):
        await long.why(ACME, parse_mailbox(f"u{n}@there.example"))
    assert len(long._asked) == 3
    for one in some:
        write_now(store, lambda at, one=one: _failed(at, one))
    await long.refresh()
    assert [long.has_failures(ACME, one) for one in some] == [False] * 3 + [True] * 5


async def test_a_worker_knows_whose_failures_a_delivery_forgets(
    store: Engine, writer: Writer, clock: FakeClock
) -> None:
    view = Suppressions(writer=writer, clock=clock)
    await view.refresh()
    assert not view.has_failures(ACME, BOB)
    write_now(store, lambda at: _failed(at, BOB))
    await view.refresh()
    assert view.has_failures(ACME, parse_mailbox("bob@there.example"))
    assert not view.has_failures(RIVAL, BOB)
    write_now(store, lambda at: forgive(at, ACME, "bob@there.example"))
    view.forgiven(ACME, BOB)
    await view.refresh()
    assert not view.has_failures(ACME, BOB)


def _failed(connection: object, address: Mailbox) -> None:
    count_soft(connection, ACME, address, 1, Evidence(), RULE)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(4 * TIMES))
@pytest.mark.parametrize("short", [0, 4, 1_000])
async def test_the_view_is_what_a_plain_model_says(
    store: Engine, writer: Writer, clock: FakeClock, short: int, seed: int
) -> None:
    chance = Random(seed)
    people = [parse_mailbox(f"{name}@x.example") for name in ("a", "A", "b", "c", "d")]
    streams = (NO_STREAM, NEWS, Stream("receipts"))
    ignore_case = bool(seed % 2)
    options = SuppressionOptions(
        ignore_case=ignore_case, short=short, remembered=chance.choice((3, 50))
    )
    view = Suppressions(writer=writer, clock=clock, options=options)
    model: dict[tuple[Mailbox, Stream], int | None] = {}  # → when it is over

    def holds(address: Mailbox, stream: Stream) -> bool:
        for (given, of_stream), end in model.items():
            is_same = given == address or (
                ignore_case and str(given).lower() == str(address).lower()
            )
            lasts = end is None or end > clock.unix_ms()
            if is_same and lasts and of_stream in (NO_STREAM, stream):
                return True
        return False

    await view.refresh()
    for _ in range(60):
        address, stream = chance.choice(people), chance.choice(streams)
        now = clock.unix_ms()
        match chance.randrange(4):
            case 0 | 1:
                end = chance.choice([None, now + 1_000 * chance.randint(1, 9)])
                one = entry(address, stream=stream, since=now, expires_at=end)
                write_now(store, lambda to, one=one: suppress(to, one, at=one.since))
                before = model.get((address, stream), 0)
                if before is not None and (end is None or end > before):
                    model[address, stream] = end
            case 2:
                write_now(store, lambda to, who=address, which=stream: remove_suppression(
                    to, ACME, who, stream=which or None, ignore_case=False,
                    because="x", actor="test", at=7,
                ))  # fmt: skip
                for place in list(model):
                    if place[0] == address and (not stream or place[1] == stream):
                        del model[place]
            case 3:
                clock.advance(chance.randint(1, 4))
        if chance.random() < 0.5:
            await view.refresh()
            for who in people:
                for which in streams:
                    because = await view.why(ACME, who, which)
                    assert bool(because) == holds(who, which), (who, which)
