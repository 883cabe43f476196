"""The identity generation: how workers hear of what changed, and whom it concerns.

Whatever changes who may send raises it first of all: its row's lock puts changes in order.
"""

from collections.abc import Collection

from sqlalchemy import Connection, bindparam, select, update
from sqlalchemy.dialects.postgresql import insert

from soboo_mta.mail.ids import TenantId
from soboo_mta.store import schema

EVERYBODY = TenantId("")
_MAX_CONCERNED = 1_000  # for more, forgetting everything is quicker
_generation = schema.identity_generation.c
_change = schema.identity_change.c


def generation(connection: Connection) -> int:
    """Return the identity generation."""
    return int(connection.execute(_SHOWN).scalar_one())


def bump_generation(connection: Connection, *concerned: TenantId) -> int:
    """Raise the identity generation by one and return it. Workers forget what they know
    of these tenants; where none is named, everything."""
    raised = raise_generation(connection)
    tell_concerned(connection, raised, concerned)
    return raised


def raise_generation(connection: Connection) -> int:
    """Raise the generation alone, for those whom it concerns are not known yet: they are
    to be told in the same transaction."""
    return int(connection.execute(_RAISE).scalar_one())


def tell_concerned(
    connection: Connection, raised: int, concerned: Collection[TenantId]
) -> None:
    """Say whom the change of generation `raised` concerns; nobody named: everybody."""
    tenants = set(concerned) or {EVERYBODY}
    rows = [{"tenant_id": tenant, "generation": raised} for tenant in tenants]
    connection.execute(_TELL, rows)


def concerned_since(connection: Connection, seen: int) -> frozenset[TenantId] | None:
    """Return whom the changes after generation `seen` concern; None: everybody."""
    found = connection.scalars(_CONCERNED, {"seen": seen})
    tenants = frozenset(map(TenantId, found))
    if not tenants or EVERYBODY in tenants or len(tenants) > _MAX_CONCERNED:
        return None
    return tenants


_SHOWN = select(_generation.generation)
_RAISE = (
    update(schema.identity_generation)
    .values(generation=_generation.generation + 1)
    .returning(_generation.generation)
)
# PostgreSQL's form: SQLite's compiler writes the same.
_insert = insert(schema.identity_change)
_TELL = _insert.on_conflict_do_update(
    index_elements=["tenant_id"], set_={"generation": _insert.excluded.generation}
)
_CONCERNED = (
    select(_change.tenant_id)
    .where(_change.generation > bindparam("seen"))
    .limit(_MAX_CONCERNED + 1)
)
