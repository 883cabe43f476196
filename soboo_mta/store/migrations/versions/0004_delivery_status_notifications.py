"""What senders asked to be told, and where a tenant's reports go."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for column in (
        sa.Column("reports", sa.Boolean(), nullable=False, server_default=sa.true()),
        sa.Column("report_address", sa.Text()),
    ):
        op.add_column("tenant", column)
    for column in (
        sa.Column("returned", sa.Text()),
        sa.Column("envelope_id", sa.Text()),
    ):
        op.add_column("message", column)
    for column in (
        sa.Column("notify", sa.Text()),
        sa.Column("orcpt", sa.Text()),
        sa.Column("warned_at", sa.BigInteger()),
    ):
        op.add_column("recipient", column)
