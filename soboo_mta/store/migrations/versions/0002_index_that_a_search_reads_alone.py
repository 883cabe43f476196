"""The index of waiting recipients holds all that a search for due ones asks."""

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
