"""The index of waiting recipients holds all that a search for due ones asks; a share of
capacity says what its worker waits for."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

WAITING = sa.text("state IN ('queued', 'deferred', 'held')")


def upgrade() -> None:
    op.drop_index("ix_recipient_waiting", "recipient")
    op.create_index(
        "ix_recipient_waiting",
        "recipient",
        ["domain_id", "due_at", "domain", "state"],
        sqlite_where=WAITING,
        postgresql_where=WAITING,
    )
    op.add_column(
        "capacity",
        sa.Column("unmet", sa.Integer(), server_default="0", nullable=False),
    )
