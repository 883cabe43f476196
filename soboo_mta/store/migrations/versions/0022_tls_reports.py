"""Figures of TLS with our bounce hosts, as others report them."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "tls_report",
        sa.Column("id", serial, nullable=False),
        _number("returned_id"),
        _number("received_at"),
        _text("reporter"),
        _text("proved_by"),
        _text("report_id"),
        _text("domain"),
        _text("policy"),
        _number("begin_at"),
        _number("end_at"),
        _number("succeeded"),
        _number("failed"),
        sa.PrimaryKeyConstraint("id", name="pk_tls_report"),
        sa.UniqueConstraint(
            "reporter",
            "report_id",
            "domain",
            "policy",
            "proved_by",
            name="uq_tls_report_reporter_report_id_domain_policy_proved_by",
        ),
    )
    op.create_index("ix_tls_report_domain", "tls_report", ["domain", "received_at"])
    op.create_index("ix_tls_report_received_at", "tls_report", ["received_at"])
    op.create_table(
        "tls_failure",
        _number("tls_report_id"),
        sa.Column("number", sa.Integer(), nullable=False),
        _text("result"),
        _text("receiving_mx"),
        _text("sending_ip"),
        _text("reason"),
        _number("sessions"),
        sa.PrimaryKeyConstraint("tls_report_id", "number", name="pk_tls_failure"),
    )
    op.create_table(
        "tls_told",
        _text("domain"),
        _text("result"),
        _number("at"),
        sa.PrimaryKeyConstraint("domain", "result", name="pk_tls_told"),
    )


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False)
