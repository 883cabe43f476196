"""What an operator orders: several gates on one subject, reroutes, a site to select by."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _gates_by_reason()
    op.add_column('recipient', sa.Column('site', sa.Text(), nullable=False, server_default=''))
    op.add_column('recipient', sa.Column('gate', sa.Text(), nullable=True))
    op.create_index('ix_recipient_gate', 'recipient', ['gate'], unique=False,
    sqlite_where=sa.text("gate IS NOT NULL"), postgresql_where=sa.text("gate IS NOT NULL"))
    op.add_column('attempt', sa.Column('dialogue', sa.Text(), nullable=True))
    op.create_table('reroute',
    sa.Column('id', serial, nullable=False),
    sa.Column('tenant_id', sa.Text(), nullable=True),
    sa.Column('domain_id', sa.BigInteger(), nullable=True),
    sa.Column('destination', sa.Text(), nullable=True),
    sa.Column('message_id', sa.BigInteger(), nullable=True),
    sa.Column('accepted_before', sa.BigInteger(), nullable=True),
    sa.Column('next_hops', sa.Text(), nullable=False),
    sa.Column('explanation', sa.Text(), nullable=False),
    sa.Column('since', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_reroute'))
    )


def _gates_by_reason() -> None:
    """A domain may be broken and held by hand at once: the reason joins the key."""
    op.execute("CREATE TABLE gate_kept AS SELECT scope, subject, reason, explanation, since FROM gate")
    op.drop_table('gate')
    op.create_table('gate',
    sa.Column('scope', sa.Text(), nullable=False),
    sa.Column('subject', sa.Text(), nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.Column('explanation', sa.Text(), nullable=False),
    sa.Column('since', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('scope', 'subject', 'reason', name=op.f('pk_gate'))
    )
    op.execute("INSERT INTO gate (scope, subject, reason, explanation, since) SELECT scope, subject, reason, explanation, since FROM gate_kept")
    op.drop_table('gate_kept')
