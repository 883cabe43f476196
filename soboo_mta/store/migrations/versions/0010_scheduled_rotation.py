"""When a domain's key gives way to the next one."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("sending_domain", sa.Column("rotate_days", sa.Integer()))
    op.add_column("sending_domain", sa.Column("rotation_wanted_at", sa.BigInteger()))
