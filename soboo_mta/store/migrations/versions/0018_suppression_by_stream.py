"""Suppression by stream, with reason, evidence and expiry; its audit; soft failures that
are counted; where a tenant's list is asked first; the stream of a message."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "tenant",
        sa.Column("suppression", sa.Text(), nullable=False, server_default="release"),
    )
    op.add_column(
        "message", sa.Column("stream", sa.Text(), nullable=False, server_default="")
    )
    _keep_entries_by_stream()
    op.create_table(
        "suppression_change",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=False,
        ),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("change", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("because", sa.Text(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_suppression_change"),
    )
    op.create_index(
        "ix_suppression_change_generation", "suppression_change", ["generation"]
    )
    op.create_index(
        "ix_suppression_change_tenant_id_key",
        "suppression_change",
        ["tenant_id", "key"],
    )
    op.create_table(
        "soft_failure",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "key", name="pk_soft_failure"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_soft_failure_generation", "soft_failure", ["generation"])
    op.create_index("ix_soft_failure_last_at", "soft_failure", ["last_at"])


def _keep_entries_by_stream() -> None:
    """Build the table anew: SQLite cannot change a primary key. What stood in it holds
    for all streams, and was entered by hand."""
    op.execute("CREATE TABLE suppression_before AS SELECT * FROM suppression")
    op.drop_table("suppression")
    op.create_table(
        "suppression",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("because", sa.Text(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger()),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenant.id"], name="fk_suppression_tenant_id"
        ),
        sa.PrimaryKeyConstraint(
            "tenant_id", "key", "stream", "address", name="pk_suppression"
        ),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_suppression_expires_at",
        "suppression",
        ["expires_at"],
        sqlite_where=sa.text("expires_at IS NOT NULL"),
        postgresql_where=sa.text("expires_at IS NOT NULL"),
    )
    op.execute(
        "INSERT INTO suppression (tenant_id, key, stream, address, reason, because,"
        " evidence, actor, since)"
        " SELECT tenant_id, key, '', address, 'manual', because, '{}', '', since"
        " FROM suppression_before"
    )
    op.drop_table("suppression_before")
