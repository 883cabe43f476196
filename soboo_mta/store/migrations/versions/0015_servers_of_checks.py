"""Which server of a zone was asked about a record, and whether mail needs it."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "record_check",
        sa.Column("server", sa.Text(), nullable=False, server_default=""),
    )
    op.add_column(
        "record_check",
        sa.Column(
            "is_required", sa.Boolean(), nullable=False, server_default=sa.true()
        ),
    )
