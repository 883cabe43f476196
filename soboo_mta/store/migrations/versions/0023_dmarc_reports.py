"""What DMARC aggregate reports count, and what was told of it."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "dmarc_report",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("returned_id", sa.BigInteger(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("domain", sa.Text(), nullable=False),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("reporter", sa.Text(), nullable=False),
        sa.Column("first_day", sa.Integer(), nullable=False),
        sa.Column("last_day", sa.Integer(), nullable=False),
        sa.Column("left_out", sa.Integer(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_dmarc_report"),
        sa.UniqueConstraint("key", name="uq_dmarc_report_key"),
    )
    op.create_index(
        "ix_dmarc_report_domain_received_at", "dmarc_report", ["domain", "received_at"]
    )
    op.create_index("ix_dmarc_report_received_at", "dmarc_report", ["received_at"])
    op.create_table(
        "dmarc_row",
        sa.Column("report", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("whose", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("dkim", sa.Boolean(), nullable=False),
        sa.Column("spf", sa.Boolean(), nullable=False),
        sa.Column("disposition", sa.Text(), nullable=False),
        sa.Column("signed", sa.Text(), nullable=False),
        sa.Column("dkim_domain", sa.Text(), nullable=False),
        sa.Column("spf_domain", sa.Text(), nullable=False),
        sa.Column("messages", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("report", "number", name="pk_dmarc_row"),
    )
    op.create_index("ix_dmarc_row_author_day", "dmarc_row", ["author", "day"])
    op.create_table(
        "dmarc_signed",
        sa.Column("report", sa.BigInteger(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("domain", sa.Text(), nullable=False),
        sa.Column("selector", sa.Text(), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("messages", sa.BigInteger(), nullable=False),
        sa.Column("elsewhere", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "report", "author", "domain", "selector", name="pk_dmarc_signed"
        ),
    )
    op.create_index("ix_dmarc_signed_author_day", "dmarc_signed", ["author", "day"])
    op.create_table(
        "dmarc_told",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("domain", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "kind", "domain", "subject", "day", name="pk_dmarc_told"
        ),
    )
