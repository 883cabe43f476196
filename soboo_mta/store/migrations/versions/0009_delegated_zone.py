"""The zone that a domain's owner delegates to us."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("sending_domain", sa.Column("zone", sa.Text()))
