"""The streams whose mail has an address of ours to leave them by."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "tenant", sa.Column("unsubscribe", sa.Text(), nullable=False, server_default="")
    )
