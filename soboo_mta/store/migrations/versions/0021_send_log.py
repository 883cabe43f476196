"""What was sent, by day, and how complaints stand."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sent_tally",
        sa.Column("day", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("domain_id", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("plan_id", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("delivered", sa.BigInteger(), nullable=False),
        sa.Column("complaints", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "day",
            "tenant_id",
            "domain_id",
            "source",
            "provider",
            "plan_id",
            name="pk_sent_tally",
        ),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_sent_tally_domain_id_day", "sent_tally", ["domain_id", "day"])
    op.create_table(
        "complaint_standing",
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text()),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("complaints", sa.BigInteger(), nullable=False),
        sa.Column("delivered", sa.BigInteger(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("spared_until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("scope", "subject", name="pk_complaint_standing"),
        sqlite_with_rowid=False,
    )
