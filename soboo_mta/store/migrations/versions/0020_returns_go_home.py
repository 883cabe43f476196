"""Where a tenant's returns go, and those on their way."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "tenant", sa.Column("returns", sa.Text(), nullable=False, server_default="home")
    )
    op.add_column("tenant", sa.Column("returns_to", sa.Text()))
    op.create_table(
        "forward",
        sa.Column("returned_id", sa.BigInteger(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("message_id", sa.BigInteger()),
        sa.Column("position", sa.Integer()),
        sa.Column("address", sa.Text()),
        sa.Column("noted_at", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger()),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("forward_id", sa.BigInteger()),
        sa.PrimaryKeyConstraint("returned_id", name="pk_forward"),
        sa.UniqueConstraint("forward_id", name="uq_forward_forward_id"),
    )
    to_be_made = sa.text("due_at IS NOT NULL")
    op.create_index(
        "ix_forward_due_at",
        "forward",
        ["due_at"],
        sqlite_where=to_be_made,
        postgresql_where=to_be_made,
    )
    op.create_index("ix_forward_message_id", "forward", ["message_id", "position"])
    op.create_index("ix_forward_tenant_id", "forward", ["tenant_id", "noted_at"])
    op.create_index("ix_forward_noted_at", "forward", ["noted_at"])
