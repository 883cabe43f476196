"""What comes back for messages, as it came and as it was read."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "returned",
        sa.Column("id", serial, nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger()),
        sa.Column("settled_at", sa.BigInteger()),
        sa.Column("reads", sa.Integer(), nullable=False),
        sa.Column("door", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("message_id", sa.BigInteger()),
        sa.Column("position", sa.Integer()),
        sa.Column("tenant_id", sa.Text()),
        sa.Column("reverse_path", sa.Text(), nullable=False),
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("client_name", sa.Text(), nullable=False),
        sa.Column("protocol", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text()),
        sa.Column("bounce_class", sa.Text()),
        sa.Column("authentication", sa.Text()),
        sa.Column("detail", sa.Text()),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("pieces", sa.Integer(), nullable=False),
        sa.Column("content", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("id", name="pk_returned"),
    )
    unread = sa.text("due_at IS NOT NULL")
    op.create_index(
        "ix_returned_due_at",
        "returned",
        ["due_at"],
        sqlite_where=unread,
        postgresql_where=unread,
    )
    op.create_index("ix_returned_received_at", "returned", ["received_at"])
    about_one = sa.text("message_id IS NOT NULL")
    op.create_index(
        "ix_returned_message_id",
        "returned",
        ["message_id"],
        sqlite_where=about_one,
        postgresql_where=about_one,
    )
    op.create_table(
        "returned_piece",
        sa.Column("returned_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("octets", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("returned_id", "number", name="pk_returned_piece"),
    )
    op.create_index(
        "ix_message_header_message_id", "message", ["header_message_id"]
    )
