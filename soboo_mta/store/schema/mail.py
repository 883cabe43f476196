"""What is on its way. A message row carries its content while any recipient waits; content
over the piece size lies in `piece`, staged before the accepting commit. A recipient row is
the unit of the lifecycle.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    text,
)

from soboo_mta.store.schema.base import Serial, metadata

message = Table(
    "message",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=False),
    Column("tenant_id", Text, nullable=False),
    Column("domain_id", BigInteger, nullable=False),
    Column("credential_id", BigInteger),
    Column("reverse_path", Text, nullable=False),  # as submitted; "" is null
    Column("author", Text, nullable=False),
    Column("header_message_id", Text, nullable=False),
    Column("client", Text, nullable=False),
    Column("eight_bit", Boolean, nullable=False),
    Column("smtputf8", Boolean, nullable=False),
    Column("size", Integer, nullable=False),
    Column("pieces", Integer, nullable=False),  # 0: content is in this row
    Column("recipients", Integer, nullable=False),
    Column("accepted_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("settled_at", BigInteger),
    Column("body_hash", LargeBinary, nullable=False),
    Column("checksum", BigInteger, nullable=False),  # CRC-32 of the whole content
    Column("content", LargeBinary),  # the columns before it are read without it
    Column("returned", Text),  # RET and ENVID (RFC 3461), where they were given
    Column("envelope_id", Text),
    Column("stream", Text, nullable=False, server_default=""),  # "": none named
)
Index(
    "ix_message_settled_at",
    message.c.settled_at,
    sqlite_where=message.c.settled_at.is_not(None),
    postgresql_where=message.c.settled_at.is_not(None),
)

Index("ix_message_header_message_id", message.c.header_message_id)

piece = Table(
    "piece",
    metadata,
    Column("message_id", BigInteger, primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("staged_at", BigInteger, nullable=False),
    Column("octets", LargeBinary, nullable=False),
)

idempotency = Table(  # a client's key, and the message it stands for
    "idempotency",
    metadata,
    Column("scope", Text, primary_key=True),  # the tenant's id; "": the operator's
    Column("key", Text, primary_key=True),
    Column("digest", LargeBinary, nullable=False),  # SHA-256 of what was submitted
    Column("message_id", BigInteger, nullable=False),
    Column("kept_at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
Index("ix_idempotency_kept_at", idempotency.c.kept_at)

recipient = Table(
    "recipient",
    metadata,
    Column("message_id", BigInteger, primary_key=True, autoincrement=False),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("address", Text, nullable=False),
    Column("domain", Text, nullable=False),
    Column("tenant_id", Text, nullable=False),
    Column("domain_id", BigInteger, nullable=False),  # of the sending domain
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("worker", Integer),
    Column("epoch", BigInteger),
    Column("last_reply", Text, nullable=False),
    Column("notify", Text),  # NOTIFY and ORCPT, where they were given
    Column("orcpt", Text),
    Column("warned_at", BigInteger),  # its sender was told of the delay
    Column("site", Text, nullable=False, server_default=""),  # that deferred it last
    Column("gate", Text),  # the operator's gate it waits behind: "scope subject"
    sqlite_with_rowid=False,
)
# Queries must use these very terms, literals included, for the partial indexes to serve.
WAITING = text("state IN ('queued', 'deferred', 'held')")
ACTIVE = text("state = 'active'")
# By sending domain first: a closed gate or another tenant's million costs no scan. The last
# two columns let SQLite pass over a backlog to one destination without reading its rows.
Index(
    "ix_recipient_waiting",
    recipient.c.domain_id,
    recipient.c.due_at,
    recipient.c.domain,
    recipient.c.state,
    sqlite_where=WAITING,
    postgresql_where=WAITING,
)
Index(
    "ix_recipient_active",
    recipient.c.worker,
    recipient.c.epoch,
    sqlite_where=ACTIVE,
    postgresql_where=ACTIVE,
)

Index(
    "ix_recipient_gate",
    recipient.c.gate,
    sqlite_where=text("gate IS NOT NULL"),
    postgresql_where=text("gate IS NOT NULL"),
)

gate = Table(  # closes a part of the mail; held rows wait behind it
    "gate",
    metadata,
    # "domain" | "tenant"; by an operator's hand also "destination" | "site" | "source"
    Column("scope", Text, primary_key=True),
    # sending_domain.id, tenant.id, a recipient's domain, a site's host, a source's name
    Column("subject", Text, primary_key=True),
    Column("reason", Text, primary_key=True),
    Column("explanation", Text, nullable=False),
    Column("since", BigInteger, nullable=False),
)

reroute = Table(  # an operator's order: matching mail goes to other next hops
    "reroute",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("tenant_id", Text),  # NULL, here and below: any
    Column("domain_id", BigInteger),  # of the sending domain
    Column("destination", Text),  # the recipient's domain
    Column("message_id", BigInteger),
    Column("accepted_before", BigInteger),  # unix ms; NULL: what comes later too
    Column("next_hops", Text, nullable=False),  # tried in turn, spaces between them
    Column("explanation", Text, nullable=False),
    Column("since", BigInteger, nullable=False),
)
