"""What happened, and who is told of it; `attempt` is the source of events about a recipient."""

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
)

from soboo_mta.store.schema.base import Serial, metadata

attempt = Table(
    "attempt",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("message_id", BigInteger, nullable=False),
    Column("position", Integer, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("reply", Text, nullable=False),
    Column("host", Text, nullable=False),  # "name[address]:port" or ""
    Column("source", Text, nullable=False),
    Column("tls", Text, nullable=False),
    Column("duration_ms", Integer, nullable=False),
    Column("plan_id", BigInteger),
    Column(
        "dialogue", Text
    ),  # what was said, where it did not deliver or was asked for
)
Index("ix_attempt_message_id", attempt.c.message_id)

plan = Table(
    "plan",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=False),  # 63-bit digest
    Column("detail", Text, nullable=False),  # JSON of identity.state.Plan
)

event = Table(
    "event",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("tenant_id", Text),
    Column("domain", Text),
    Column("message_id", BigInteger),
    Column("actor", Text, nullable=False),
    Column("detail", Text, nullable=False),  # JSON
)
Index(
    "ix_event_message_id",
    event.c.message_id,
    sqlite_where=event.c.message_id.is_not(None),
    postgresql_where=event.c.message_id.is_not(None),
)
Index("ix_event_at", event.c.at)
Index(
    "ix_event_domain",
    event.c.domain,
    event.c.id,
    sqlite_where=event.c.domain.is_not(None),
    postgresql_where=event.c.domain.is_not(None),
)

# ---- who is told of it

event_cursor = Table(  # how far a sink has read `attempt` and `event`
    "event_cursor",
    metadata,
    Column("name", Text, primary_key=True),
    Column("attempt_id", BigInteger, nullable=False),
    Column("event_id", BigInteger, nullable=False),
    Column("since", BigInteger, nullable=False),  # what happened before is passed over
    Column("lost", BigInteger, nullable=False),  # rows that went before they were read
)

webhook = Table(
    "webhook",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("tenant_id", Text, ForeignKey("tenant.id"), nullable=False),
    Column("url", Text, nullable=False),
    Column("types", Text, nullable=False),  # JSON list; []: all
    Column("created_at", BigInteger, nullable=False),
    Column("since", BigInteger, nullable=False),  # what happened before is not told
    Column("disabled_at", BigInteger),
    Column("disabled_because", Text, nullable=False),
    Column("failing_since", BigInteger),  # first failure since something was accepted
    Column("dropped", BigInteger, nullable=False),  # events it was never told
    sqlite_autoincrement=True,  # a secret is bound to the number: none comes twice
)

webhook_secret = Table(
    "webhook_secret",
    metadata,
    Column("webhook_id", ForeignKey("webhook.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("sealed", LargeBinary, nullable=False),
    Column(
        "expires_at", BigInteger
    ),  # replaced; it signs beside the new one until then
)

outbox = Table(  # an event on its way to a webhook
    "outbox",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("webhook_id", BigInteger, nullable=False),
    Column("lane", Text, nullable=False),  # one after another within it; "": no order
    Column("event_id", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("body", Text, nullable=False),  # as it is sent
    Column("queued_at", BigInteger, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    sqlite_autoincrement=True,  # who delivers remembers the number
)
Index("ix_outbox_due", outbox.c.webhook_id, outbox.c.due_at, outbox.c.id)
Index("ix_outbox_lane", outbox.c.webhook_id, outbox.c.lane, outbox.c.id)

webhook_log = Table(  # the last deliveries, bounded
    "webhook_log",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("webhook_id", BigInteger, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("status", Integer),  # of HTTP; NULL: no answer
    Column("duration_ms", Integer, nullable=False),
    Column("said", Text, nullable=False),  # first of an answer that is no 2xx; a cause
)
Index("ix_webhook_log_webhook_id", webhook_log.c.webhook_id, webhook_log.c.id)

# ---- what was sent, added up

sent_tally = Table(
    "sent_tally",
    metadata,
    Column("day", Integer, primary_key=True, autoincrement=False),  # UTC, since 1970
    Column("tenant_id", Text, primary_key=True),
    Column("domain_id", BigInteger, primary_key=True, autoincrement=False),
    Column("source", Text, primary_key=True),
    Column("provider", Text, primary_key=True),  # of the rules; "": none they know
    Column("plan_id", BigInteger, primary_key=True, autoincrement=False),  # 0: none
    Column("delivered", BigInteger, nullable=False),  # recipients
    Column("complaints", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
Index("ix_sent_tally_domain_id_day", sent_tally.c.domain_id, sent_tally.c.day)

complaint_standing = Table(  # of who is complained of more than is good
    "complaint_standing",
    metadata,
    Column("scope", Text, primary_key=True),  # "tenant" | "domain" | "provider"
    Column("subject", Text, primary_key=True),  # tenant.id, sending_domain.id, a name
    Column("tenant_id", Text),  # NULL: a provider is nobody's
    Column("level", Text, nullable=False),
    Column("complaints", BigInteger, nullable=False),  # as last counted
    Column("delivered", BigInteger, nullable=False),
    Column("since", BigInteger, nullable=False),  # of the level
    Column("spared_until", BigInteger, nullable=False),  # by an operator; 0: never
    sqlite_with_rowid=False,
)
