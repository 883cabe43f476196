"""Suppression lists on both stores, and what a worker sees of them."""

from functools import partial

import pytest
from sqlalchemy import Engine

from soboo_mta.mail.address import Mailbox, parse_mailbox
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.ids import TenantId
from soboo_mta.store.writer import Writer, read_now, write_now
from soboo_mta.tenancy.accounts import TenancyError
from soboo_mta.tenancy.suppression import (
    Suppressions,
    add_suppressions,
    count_suppressions,
    list_suppressions,
    remove_suppression,
)
from soboo_mta.tenancy.suppression.view import SuppressionOptions
from tests.fakes.tenancy import ACME, RIVAL, with_tenants

BOB = parse_mailbox("Bob@There.Example")


@pytest.fixture
def store(engine: Engine) -> Engine:
    write_now(engine, with_tenants)
    return engine


def add(
    store: Engine,
    *addresses: Mailbox,
    tenant: TenantId = ACME,
    because: str = "asked to",
) -> int:
    return write_now(
        store,
        lambda at: add_suppressions(at, tenant, addresses, because=because, now=7),
    )


def remove(store: Engine, address: Mailbox, *, ignore_case: bool = True) -> int:
    return write_now(
        store,
        lambda at: remove_suppression(at, ACME, address, ignore_case=ignore_case),
    )


def test_an_address_is_listed_with_its_reason_once(store: Engine) -> None:
    assert add(store, BOB, because=" asked to ") == 1
    assert add(store, BOB, because="again") == 0
    (one,) = read_now(store, lambda at: list_suppressions(at, ACME))
    assert (one.address, one.because, one.since) == ("Bob@there.example", "asked to", 7)
    assert read_now(store, lambda at: count_suppressions(at, ACME)) == 1


def test_a_list_is_read_page_by_page(store: Engine) -> None:
    add(store, *(parse_mailbox(f"u{n:02}@there.example") for n in range(25)))
    seen: list[str] = []
    for _ in range(3):
        after = seen[-1] if seen else ""
        page = partial(list_suppressions, tenant=ACME, after=after, limit=10)
        seen += [one.address for one in read_now(store, page)]
    assert len(seen) == len(set(seen)) == 25


def test_what_is_removed_is_counted_and_gone(store: Engine) -> None:
    add(store, BOB)
    assert remove(store, parse_mailbox("BOB@there.example"), ignore_case=False) == 0
    assert remove(store, parse_mailbox("BOB@there.example")) == 1
    assert read_now(store, lambda at: count_suppressions(at, ACME)) == 0


def test_a_tenant_that_does_not_exist_has_no_list(store: Engine) -> None:
    with pytest.raises(TenancyError, match="no tenant nobody"):
        add(store, BOB, tenant=TenantId("nobody"))


@pytest.mark.parametrize("text", ["", " ", "x" * 201, "a\nb"])
def test_a_reason_is_a_line_and_not_empty(store: Engine, text: str) -> None:
    with pytest.raises(FormatError, match="reason"):
        add(store, BOB, because=text)


async def test_case_164_a_list_is_its_tenants_alone(
    store: Engine, writer: Writer
) -> None:
    add(store, BOB)
    view = Suppressions(writer=writer)
    await view.refresh()
    assert await view.why(ACME, BOB) == "asked to"
    assert view.known(RIVAL, BOB) == ""


@pytest.mark.parametrize("short", [0, 100])
async def test_a_change_is_seen_after_the_next_refresh(
    store: Engine, writer: Writer, short: int
) -> None:
    view = Suppressions(writer=writer, options=SuppressionOptions(short=short))
    await view.refresh()
    assert view.known(ACME, BOB) == ""
    add(store, BOB)
    assert await view.why(ACME, BOB) == ""
    await view.refresh()
    assert view.known(ACME, BOB) is None
    assert await view.why(ACME, BOB) == "asked to"
    assert view.known(ACME, BOB) == "asked to"
    remove(store, BOB)
    await view.refresh()
    assert await view.why(ACME, BOB) == ""


@pytest.mark.parametrize("short", [0, 100])
async def test_domains_ignore_case_and_local_parts_do_as_set(
    store: Engine, writer: Writer, short: int
) -> None:
    add(store, BOB)
    spelt = {
        text: parse_mailbox(text) for text in ("bob@THERE.example", "Bob@there.example")
    }
    for ignore_case, lower in ((True, "asked to"), (False, "")):
        options = SuppressionOptions(ignore_case=ignore_case, short=short)
        view = Suppressions(writer=writer, options=options)
        await view.refresh()
        assert await view.why(ACME, spelt["bob@THERE.example"]) == lower
        assert await view.why(ACME, spelt["Bob@there.example"]) == "asked to"


async def test_what_is_held_in_memory_is_bounded(store: Engine, writer: Writer) -> None:
    for tenant in (ACME, RIVAL):
        some = [parse_mailbox(f"u{n}@there.example") for n in range(8)]
        add(store, *some, tenant=tenant)
    view = Suppressions(writer=writer, options=SuppressionOptions(held=10))
    await view.refresh()
    for tenant in (ACME, RIVAL, ACME):
        assert await view.why(tenant, parse_mailbox("u7@there.example"))
        assert len(view._whole) == 1
    long = Suppressions(
        writer=writer, options=SuppressionOptions(short=0, remembered=3)
    )
    await long.refresh()
    for n in range(20):
        await long.why(ACME, parse_mailbox(f"u{n}@there.example"))
    assert len(long._asked) == 3
