"""What customers keep in zones delegated to us: their own records, and their DMARC policy."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.add_column("sending_domain", sa.Column("dmarc", sa.Text()))
    op.create_table(
        "zone_record",
        sa.Column("domain_id", serial, nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("ttl", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["domain_id"], ["sending_domain.id"], name="fk_zone_record_domain_id"
        ),
        sa.PrimaryKeyConstraint(
            "domain_id", "owner", "kind", "value", name="pk_zone_record"
        ),
    )
