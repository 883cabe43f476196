"""Whom the changes of the identity generation concern: the others' memory stays."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "identity_change",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", name="pk_identity_change"),
    )
    op.create_index(
        "ix_identity_change_generation", "identity_change", ["generation"]
    )
