"""Who is told what happened: webhooks, their secrets, outbox and log; how far was read."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "event_cursor",
        sa.Column("name", sa.Text(), nullable=False),
        _number("attempt_id"),
        _number("event_id"),
        _number("since"),
        _number("lost"),
        sa.PrimaryKeyConstraint("name", name="pk_event_cursor"),
    )
    op.create_table(
        "webhook",
        sa.Column("id", _serial(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("types", sa.Text(), nullable=False),
        _number("created_at"),
        _number("since"),
        sa.Column("disabled_at", sa.BigInteger()),
        sa.Column("disabled_because", sa.Text(), nullable=False),
        sa.Column("failing_since", sa.BigInteger()),
        _number("dropped"),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenant.id"], name="fk_webhook_tenant_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_webhook"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "webhook_secret",
        sa.Column("webhook_id", _serial(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.BigInteger()),
        sa.ForeignKeyConstraint(
            ["webhook_id"], ["webhook.id"], name="fk_webhook_secret_webhook_id"
        ),
        sa.PrimaryKeyConstraint("webhook_id", "number", name="pk_webhook_secret"),
    )
    _outbox()


def _outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", _serial(), nullable=False),
        _number("webhook_id"),
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        _number("queued_at"),
        _number("due_at"),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_outbox"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_outbox_due", "outbox", ["webhook_id", "due_at", "id"])
    op.create_index("ix_outbox_lane", "outbox", ["webhook_id", "lane", "id"])
    op.create_table(
        "webhook_log",
        sa.Column("id", _serial(), nullable=False),
        _number("webhook_id"),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        _number("at"),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("status", sa.Integer()),
        sa.Column("duration_ms", sa.Integer(), nullable=False),
        sa.Column("said", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_log"),
    )
    op.create_index("ix_webhook_log_webhook_id", "webhook_log", ["webhook_id", "id"])


def _serial() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False)
