"""What is wrong with a record, for programs, and since when it is as it is."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "record_check",
        sa.Column("fault", sa.Text(), nullable=False, server_default=""),
    )
    op.add_column("record_check", sa.Column("since", sa.BigInteger()))
