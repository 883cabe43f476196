"""Recipients that tenants' mail does not go to, and what led there."""

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    SmallInteger,
    Table,
    Text,
)

from soboo_mta.store.schema.base import Serial, metadata

suppression = Table(
    "suppression",
    metadata,
    Column("tenant_id", Text, ForeignKey("tenant.id"), primary_key=True),
    Column("key", Text, primary_key=True),  # the address in lower case
    Column("stream", Text, primary_key=True),  # "": all of the tenant's
    Column("address", Text, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("because", Text, nullable=False),
    Column("evidence", Text, nullable=False),  # JSON
    Column("actor", Text, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("expires_at", BigInteger),  # NULL: never
    sqlite_with_rowid=False,
)
Index(
    "ix_suppression_expires_at",
    suppression.c.expires_at,
    sqlite_where=suppression.c.expires_at.is_not(None),
    postgresql_where=suppression.c.expires_at.is_not(None),
)

suppression_change = Table(  # the audit; workers read here what changed, too
    "suppression_change",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("generation", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("tenant_id", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("stream", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("change", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("because", Text, nullable=False),  # of a removal: why it was removed
    Column("evidence", Text, nullable=False),
    Column("actor", Text, nullable=False),
)
Index("ix_suppression_change_generation", suppression_change.c.generation)
Index(
    "ix_suppression_change_tenant_id_key",
    suppression_change.c.tenant_id,
    suppression_change.c.key,
)

soft_failure = (
    Table(  # failures of an address that are counted, until they are too many
        "soft_failure",
        metadata,
        Column("tenant_id", Text, primary_key=True),
        Column("key", Text, primary_key=True),
        Column("generation", BigInteger, nullable=False),
        Column("last_at", BigInteger, nullable=False),
        Column("failures", Text, nullable=False),  # JSON list of tenancy's SoftFailure
        sqlite_with_rowid=False,
    )
)
Index("ix_soft_failure_generation", soft_failure.c.generation)
Index("ix_soft_failure_last_at", soft_failure.c.last_at)

suppression_list = Table(  # one line a tenant that has or had entries
    "suppression_list",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("generation", BigInteger, nullable=False),  # that changed it last
    Column("entries", Integer, nullable=False),
)
Index("ix_suppression_list_generation", suppression_list.c.generation)

suppression_generation = Table(  # one row; its lock puts changes of all lists in order
    "suppression_generation",
    metadata,
    Column("id", SmallInteger, primary_key=True),
    Column("generation", BigInteger, nullable=False),
)
