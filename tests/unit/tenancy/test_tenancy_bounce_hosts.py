"""Whose bounce host a name is: asked for whatever strangers write."""

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.event import listen

from soboo_mta.identity.state import Mode
from soboo_mta.mail.domain import Domain
from soboo_mta.store.writer import read_now, write_now
from soboo_mta.tenancy.domains.bounce_hosts import is_bounce_host, owners_of
from tests.fakes.tenancy import ACME, RIVAL, with_domain, with_tenants

ZONED, PLAIN = Domain("zoned.example"), Domain("plain.example")


@pytest.fixture
def filled(engine: Engine) -> Engine:
    def fill(at: Connection) -> None:
        with_tenants(at)
        with_domain(at, ACME, name=PLAIN)
        with_domain(at, RIVAL, name=PLAIN)
        zone = Domain("em.zoned.example")
        with_domain(at, ACME, name=ZONED, mode=Mode.ZONE, zone=zone)

    write_now(engine, fill)
    return engine


@pytest.mark.parametrize(
    ("label", "below", "owners"),
    [
        ("", "plain.example", {ACME, RIVAL}),
        ("", "em.zoned.example", {ACME}),
        ("", "zoned.example", set()),  # its zone is its home
        ("", "deep.plain.example", set()),
        ("x", "plain.example", set()),
        ("", "example", set()),
    ],
)
def test_a_bounce_host_is_that_of_its_home(
    filled: Engine, label: str, below: str, owners: set[str]
) -> None:
    chosen = read_now(
        filled,
        lambda at: at.scalar(text("SELECT bounce_label FROM sending_domain LIMIT 1")),
    )
    name = Domain(f"{label or chosen}.{below}")
    found = read_now(filled, lambda at: owners_of(at, name))
    assert {one.tenant for one in found} == owners
    assert read_now(filled, lambda at: is_bounce_host(at, name)) == bool(owners)


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
def test_a_bounce_host_is_found_by_an_index(filled: Engine) -> None:
    """A report names twenty, and anybody may post one: each was a look at all domains."""
    asked: list[tuple[str, object]] = []
    listen(
        filled,
        "before_cursor_execute",
        lambda *facts: asked.append((facts[2], facts[3])),
    )
    read_now(filled, lambda at: owners_of(at, Domain("bounce.plain.example")))
    statement, values = asked[-1]
    with filled.connect() as at:
        plan = at.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)  # type: ignore[arg-type]
        steps = [str(row.detail) for row in plan]
    assert any("ix_sending_domain_name" in step for step in steps), steps
