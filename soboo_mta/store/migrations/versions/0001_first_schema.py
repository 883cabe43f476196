"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table('attempt',
    sa.Column('id', serial, nullable=False),
    sa.Column('message_id', sa.BigInteger(), nullable=False),
    sa.Column('position', sa.Integer(), nullable=False),
    sa.Column('at', sa.BigInteger(), nullable=False),
    sa.Column('outcome', sa.Text(), nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.Column('reply', sa.Text(), nullable=False),
    sa.Column('host', sa.Text(), nullable=False),
    sa.Column('source', sa.Text(), nullable=False),
    sa.Column('tls', sa.Text(), nullable=False),
    sa.Column('duration_ms', sa.Integer(), nullable=False),
    sa.Column('plan_id', sa.BigInteger(), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_attempt'))
    )
    op.create_index('ix_attempt_message_id', 'attempt', ['message_id'], unique=False)
    op.create_table('capacity',
    sa.Column('site', sa.Text(), nullable=False),
    sa.Column('source', sa.Text(), nullable=False),
    sa.Column('worker', sa.Integer(), nullable=False),
    sa.Column('epoch', sa.BigInteger(), nullable=False),
    sa.Column('connections', sa.Integer(), nullable=False),
    sa.PrimaryKeyConstraint('site', 'source', 'worker', name=op.f('pk_capacity'))
    )
    op.create_table('event',
    sa.Column('id', serial, nullable=False),
    sa.Column('at', sa.BigInteger(), nullable=False),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.Column('tenant_id', sa.Text(), nullable=True),
    sa.Column('domain', sa.Text(), nullable=True),
    sa.Column('message_id', sa.BigInteger(), nullable=True),
    sa.Column('actor', sa.Text(), nullable=False),
    sa.Column('detail', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_event'))
    )
    op.create_index('ix_event_at', 'event', ['at'], unique=False)
    op.create_index('ix_event_message_id', 'event', ['message_id'], unique=False, sqlite_where=sa.text('message_id IS NOT NULL'), postgresql_where=sa.text('message_id IS NOT NULL'))
    op.create_table('gate',
    sa.Column('scope', sa.Text(), nullable=False),
    sa.Column('subject', sa.Text(), nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.Column('explanation', sa.Text(), nullable=False),
    sa.Column('since', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('scope', 'subject', name=op.f('pk_gate'))
    )
    op.create_table('identity_generation',
    sa.Column('id', sa.SmallInteger(), nullable=False),
    sa.Column('generation', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_identity_generation'))
    )
    op.create_table('message',
    sa.Column('id', serial, autoincrement=False, nullable=False),
    sa.Column('tenant_id', sa.Text(), nullable=False),
    sa.Column('domain_id', sa.BigInteger(), nullable=False),
    sa.Column('credential_id', sa.BigInteger(), nullable=True),
    sa.Column('reverse_path', sa.Text(), nullable=False),
    sa.Column('author', sa.Text(), nullable=False),
    sa.Column('header_message_id', sa.Text(), nullable=False),
    sa.Column('client', sa.Text(), nullable=False),
    sa.Column('eight_bit', sa.Boolean(), nullable=False),
    sa.Column('smtputf8', sa.Boolean(), nullable=False),
    sa.Column('size', sa.Integer(), nullable=False),
    sa.Column('pieces', sa.Integer(), nullable=False),
    sa.Column('recipients', sa.Integer(), nullable=False),
    sa.Column('accepted_at', sa.BigInteger(), nullable=False),
    sa.Column('expires_at', sa.BigInteger(), nullable=False),
    sa.Column('settled_at', sa.BigInteger(), nullable=True),
    sa.Column('body_hash', sa.LargeBinary(), nullable=False),
    sa.Column('checksum', sa.BigInteger(), nullable=False),
    sa.Column('content', sa.LargeBinary(), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_message'))
    )
    op.create_index('ix_message_settled_at', 'message', ['settled_at'], unique=False, sqlite_where=sa.text('settled_at IS NOT NULL'), postgresql_where=sa.text('settled_at IS NOT NULL'))
    op.create_table('piece',
    sa.Column('message_id', sa.BigInteger(), autoincrement=False, nullable=False),
    sa.Column('number', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('staged_at', sa.BigInteger(), nullable=False),
    sa.Column('octets', sa.LargeBinary(), nullable=False),
    sa.PrimaryKeyConstraint('message_id', 'number', name=op.f('pk_piece'))
    )
    op.create_table('plan',
    sa.Column('id', serial, autoincrement=False, nullable=False),
    sa.Column('detail', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_plan'))
    )
    op.create_table('recipient',
    sa.Column('message_id', sa.BigInteger(), autoincrement=False, nullable=False),
    sa.Column('position', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('address', sa.Text(), nullable=False),
    sa.Column('domain', sa.Text(), nullable=False),
    sa.Column('tenant_id', sa.Text(), nullable=False),
    sa.Column('domain_id', sa.BigInteger(), nullable=False),
    sa.Column('state', sa.Text(), nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.Column('due_at', sa.BigInteger(), nullable=False),
    sa.Column('attempts', sa.Integer(), nullable=False),
    sa.Column('worker', sa.Integer(), nullable=True),
    sa.Column('epoch', sa.BigInteger(), nullable=True),
    sa.Column('last_reply', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('message_id', 'position', name=op.f('pk_recipient')),
    sqlite_with_rowid=False
    )
    op.create_index('ix_recipient_active', 'recipient', ['worker', 'epoch'], unique=False, sqlite_where=sa.text("state = 'active'"), postgresql_where=sa.text("state = 'active'"))
    op.create_index('ix_recipient_waiting', 'recipient', ['domain_id', 'due_at'], unique=False, sqlite_where=sa.text("state IN ('queued', 'deferred', 'held')"), postgresql_where=sa.text("state IN ('queued', 'deferred', 'held')"))
    op.create_table('tenant',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('suspended', sa.Boolean(), nullable=False),
    sa.Column('weight', sa.Integer(), nullable=False),
    sa.Column('hourly_quota', sa.Integer(), nullable=True),
    sa.Column('daily_quota', sa.Integer(), nullable=True),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_tenant'))
    )
    op.create_table('worker',
    sa.Column('number', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('epoch', sa.BigInteger(), nullable=False),
    sa.Column('lease_until', sa.BigInteger(), nullable=False),
    sa.Column('started_at', sa.BigInteger(), nullable=False),
    sa.Column('host', sa.Text(), nullable=False),
    sa.Column('process', sa.Integer(), nullable=False),
    sa.Column('acknowledged', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('number', name=op.f('pk_worker'))
    )
    op.create_table('credential',
    sa.Column('id', serial, nullable=False),
    sa.Column('tenant_id', sa.Text(), nullable=True),
    sa.Column('user_name', sa.Text(), nullable=False),
    sa.Column('secret_hash', sa.LargeBinary(), nullable=False),
    sa.Column('networks', sa.Text(), nullable=False),
    sa.Column('label', sa.Text(), nullable=False),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.Column('revoked_at', sa.BigInteger(), nullable=True),
    sa.Column('last_used_at', sa.BigInteger(), nullable=True),
    sa.ForeignKeyConstraint(['tenant_id'], ['tenant.id'], name=op.f('fk_credential_tenant_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_credential')),
    sa.UniqueConstraint('user_name', name=op.f('uq_credential_user_name'))
    )
    op.create_table('quota_use',
    sa.Column('tenant_id', sa.Text(), nullable=False),
    sa.Column('period', sa.Text(), nullable=False),
    sa.Column('starts_at', sa.BigInteger(), nullable=False),
    sa.Column('taken', sa.Integer(), nullable=False),
    sa.ForeignKeyConstraint(['tenant_id'], ['tenant.id'], name=op.f('fk_quota_use_tenant_id')),
    sa.PrimaryKeyConstraint('tenant_id', 'period', 'starts_at', name=op.f('pk_quota_use'))
    )
    op.create_table('sending_domain',
    sa.Column('id', serial, nullable=False),
    sa.Column('tenant_id', sa.Text(), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('mode', sa.Text(), nullable=False),
    sa.Column('token', sa.Text(), nullable=False),
    sa.Column('bounce_label', sa.Text(), nullable=False),
    sa.Column('selectors', sa.Text(), nullable=False),
    sa.Column('on_broken', sa.Text(), nullable=False),
    sa.Column('sign_with_operator', sa.Boolean(), nullable=False),
    sa.Column('assume_verified', sa.Boolean(), nullable=False),
    sa.Column('verified_at', sa.BigInteger(), nullable=True),
    sa.Column('released_at', sa.BigInteger(), nullable=True),
    sa.Column('facts', sa.Text(), nullable=True),
    sa.Column('facts_at', sa.BigInteger(), nullable=True),
    sa.Column('next_check_at', sa.BigInteger(), nullable=False),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(['tenant_id'], ['tenant.id'], name=op.f('fk_sending_domain_tenant_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_sending_domain')),
    sa.UniqueConstraint('tenant_id', 'name', name=op.f('uq_sending_domain_tenant_id_name')),
    sa.UniqueConstraint('token', name=op.f('uq_sending_domain_token'))
    )
    op.create_index('ix_sending_domain_name', 'sending_domain', ['name'], unique=False)
    op.create_index('ix_sending_domain_next_check_at', 'sending_domain', ['next_check_at'], unique=False)
    op.create_table('dkim_key',
    sa.Column('id', serial, nullable=False),
    sa.Column('domain_id', serial, nullable=True),
    sa.Column('selector', sa.Text(), nullable=False),
    sa.Column('algorithm', sa.Text(), nullable=False),
    sa.Column('state', sa.Text(), nullable=False),
    sa.Column('public_key', sa.Text(), nullable=False),
    sa.Column('private_key', sa.LargeBinary(), nullable=True),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.Column('activated_at', sa.BigInteger(), nullable=True),
    sa.Column('revoked_at', sa.BigInteger(), nullable=True),
    sa.ForeignKeyConstraint(['domain_id'], ['sending_domain.id'], name=op.f('fk_dkim_key_domain_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_dkim_key'))
    )
    op.create_index('ix_dkim_key_domain_id', 'dkim_key', ['domain_id'], unique=False)
    op.create_table('record_check',
    sa.Column('domain_id', serial, nullable=False),
    sa.Column('owner', sa.Text(), nullable=False),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.Column('purpose', sa.Text(), nullable=False),
    sa.Column('status', sa.Text(), nullable=False),
    sa.Column('expected', sa.Text(), nullable=False),
    sa.Column('found', sa.Text(), nullable=False),
    sa.Column('cause', sa.Text(), nullable=False),
    sa.Column('mend', sa.Text(), nullable=False),
    sa.Column('ttl', sa.Integer(), nullable=False),
    sa.Column('checked_at', sa.BigInteger(), nullable=False),
    sa.Column('good_at', sa.BigInteger(), nullable=True),
    sa.ForeignKeyConstraint(['domain_id'], ['sending_domain.id'], name=op.f('fk_record_check_domain_id')),
    sa.PrimaryKeyConstraint('domain_id', 'owner', 'kind', name=op.f('pk_record_check'))
    )

    if op.get_context().dialect.name == "postgresql":
        # Message octets seldom shrink: compressing them costs more than writing them.
        op.execute("ALTER TABLE message ALTER COLUMN content SET STORAGE EXTERNAL")
        op.execute("ALTER TABLE piece ALTER COLUMN octets SET STORAGE EXTERNAL")
    op.execute("INSERT INTO identity_generation (id, generation) VALUES (1, 0)")
