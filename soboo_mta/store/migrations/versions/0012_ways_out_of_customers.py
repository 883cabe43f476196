"""Customers' own relays and mailboxes, with their sealed secrets."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "way_out",
        sa.Column("domain_id", serial, nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column("tls", sa.Text(), nullable=False),
        sa.Column("user_name", sa.Text()),
        sa.Column("provider", sa.Text()),
        sa.Column("auth", sa.Text()),
        sa.Column("oauth_client", sa.Text()),
        sa.Column("secret", sa.LargeBinary()),
        sa.ForeignKeyConstraint(
            ["domain_id"],
            ["sending_domain.id"],
            name=op.f("fk_way_out_domain_id"),
        ),
        sa.PrimaryKeyConstraint("domain_id", name=op.f("pk_way_out")),
    )
