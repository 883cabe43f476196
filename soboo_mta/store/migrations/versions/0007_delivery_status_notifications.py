"""What senders asked to be told, and where a tenant's reports go."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "tenant",
        sa.Column("reports", sa.Boolean(), nullable=False, server_default=sa.true()),
    )
    op.add_column("tenant", sa.Column("report_address", sa.Text()))
    op.add_column("message", sa.Column("returned", sa.Text()))
    op.add_column("message", sa.Column("envelope_id", sa.Text()))
    op.add_column("recipient", sa.Column("notify", sa.Text()))
    op.add_column("recipient", sa.Column("orcpt", sa.Text()))
    op.add_column("recipient", sa.Column("warned_at", sa.BigInteger()))
