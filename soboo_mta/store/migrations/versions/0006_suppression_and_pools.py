"""Recipients that a tenant's mail does not go to; the pool of sources it leaves
from; when the next transaction to a site with a rate may begin."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tenant", sa.Column("pool", sa.Text()))
    op.create_table(
        "suppression",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("because", sa.Text(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenant.id"], name="fk_suppression_tenant_id"
        ),
        sa.PrimaryKeyConstraint(
            "tenant_id", "key", "address", name="pk_suppression"
        ),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "suppression_list",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("entries", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", name="pk_suppression_list"),
    )
    op.create_index(
        "ix_suppression_list_generation", "suppression_list", ["generation"]
    )
    op.create_table(
        "suppression_generation",
        sa.Column("id", sa.SmallInteger(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_suppression_generation"),
    )
    op.execute("INSERT INTO suppression_generation (id, generation) VALUES (1, 0)")
    op.create_table(
        "pace",
        sa.Column("site", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("next_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("site", "source", name="pk_pace"),
    )
