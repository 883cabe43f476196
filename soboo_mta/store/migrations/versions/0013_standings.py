"""How records and capabilities stand over time; names left behind by released domains."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("sending_domain", sa.Column("standing", sa.Text()))
    op.add_column("sending_domain", sa.Column("clean_looks", sa.Integer()))
    op.create_table(
        "domain_standing",
        _domain_id(),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("standing", sa.Text(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("told", sa.Text(), nullable=False),
        sa.Column("is_required", sa.Boolean(), nullable=False),
        sa.Column("turns", sa.Text(), nullable=False),
        sa.Column("is_flapping", sa.Boolean(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("fault", sa.Text(), nullable=False),
        _of_domain("domain_standing"),
        sa.PrimaryKeyConstraint("domain_id", "subject", name="pk_domain_standing"),
    )
    op.create_table(
        "left_name",
        _domain_id(),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        _of_domain("left_name"),
        sa.PrimaryKeyConstraint("domain_id", "owner", "kind", name="pk_left_name"),
    )
    op.create_index(
        "ix_event_domain",
        "event",
        ["domain", "id"],
        sqlite_where=sa.text("domain IS NOT NULL"),
        postgresql_where=sa.text("domain IS NOT NULL"),
    )


def _domain_id() -> sa.Column[int]:
    serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return sa.Column("domain_id", serial, nullable=False)


def _of_domain(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["domain_id"],
        ["sending_domain.id"],
        name=f"fk_{table}_domain_id",
    )
