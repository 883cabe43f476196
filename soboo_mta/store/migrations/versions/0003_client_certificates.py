"""Client certificates that log in as a credential."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "client_certificate",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("credential_id", serial, nullable=False),
        sa.ForeignKeyConstraint(
            ["credential_id"],
            ["credential.id"],
            name=op.f("fk_client_certificate_credential_id"),
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_client_certificate")),
    )
