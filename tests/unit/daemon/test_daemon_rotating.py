"""The keys in the store go their whole way: rotated, revoked, withdrawn, each noted."""

from sqlalchemy import select

from soboo_mta.daemon.domains.rotating import StoredKeys
from soboo_mta.identity.records import operator_records
from soboo_mta.identity.state import DomainSettings, KeyState
from soboo_mta.store import schema
from soboo_mta.store.writer import Writer
from soboo_mta.tenancy.domains import domain_state, store_check
from tests.fakes.clock import FakeClock
from tests.fakes.domains import OPERATOR
from tests.fakes.tenancy import (
    DRAIN_MS,
    MASTER,
    facts,
    seen,
    with_domain,
    with_tenants,
)


async def prepared(writer: Writer) -> DomainSettings:
    """A verified domain whose two keys were seen."""
    await writer.transact(with_tenants)
    made = await writer.transact(with_domain)
    usable = facts(*(key.key_id for key in made.keys))
    await writer.transact(
        lambda at: store_check(
            at,
            made.domain_id,
            checks=[seen()],
            facts=usable,
            owned=True,
            next_check_at=0,
            changed=True,
            now=5,
        )
    )
    return made


async def now_of(writer: Writer, made: DomainSettings) -> DomainSettings:
    state = await writer.read(lambda at: domain_state(at, made.domain_id))
    assert state is not None
    return state.settings


async def events(writer: Writer) -> list[str]:
    column = schema.event.c
    query = select(column.kind).where(column.actor == "rotation").order_by(column.id)
    return list(await writer.read(lambda at: at.scalars(query).all()))


async def test_a_key_goes_its_whole_way_and_leaves_nothing_in_dns(
    writer: Writer,
) -> None:
    made = await prepared(writer)
    clock = FakeClock()
    keys = StoredKeys(
        writer=writer, master=MASTER, clock=clock, every_days=90, drain=DRAIN_MS
    )
    assert await keys.rotate(made)
    assert await keys.drained(limit=5) == ()
    clock.advance(DRAIN_MS / 1_000)
    (old,) = await keys.drained(limit=5)
    assert old == made.keys[0].key_id
    await keys.revoke(old)
    first = (await now_of(writer, made)).keys[0]
    assert (first.key_id, first.state) == (old, KeyState.REVOKED)
    texts = [
        record.value
        for record in operator_records(OPERATOR, [await now_of(writer, made)])
    ]
    assert "v=DKIM1; k=rsa; p=" in texts

    assert await keys.outlived(limit=5) == ()
    clock.advance(DRAIN_MS / 1_000)
    assert await keys.outlived(limit=5) == (old,)
    await keys.withdraw(old)
    await keys.withdraw(old)  # another process came first: nothing is noted twice
    settings = await now_of(writer, made)
    assert old not in [key.key_id for key in settings.keys]
    texts = [record.value for record in operator_records(OPERATOR, [settings])]
    assert "v=DKIM1; k=rsa; p=" not in texts
    assert await events(writer) == ["key-activated", "key-revoked", "key-withdrawn"]


async def test_without_a_free_slot_nothing_happens(writer: Writer) -> None:
    made = await prepared(writer)
    keys = StoredKeys(
        writer=writer, master=MASTER, clock=FakeClock(), every_days=90, drain=DRAIN_MS
    )
    assert await keys.rotate(made)
    before = await now_of(writer, made)
    assert not await keys.rotate(before)  # its next key was not seen yet
    assert await now_of(writer, made) == before
