"""The one schema, on SQLite and PostgreSQL. Times are unix milliseconds of the store.

A message row carries its content while any recipient waits; content over the piece size
lies in `piece`, staged before the accepting commit. A recipient row is the unit of the
lifecycle; `attempt` is the source of events about it.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
    true,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
# SQLite's rowid is what is declared INTEGER (64 bits there): a key without an index.
_Serial = BigInteger().with_variant(Integer, "sqlite")

# ---- who may send

tenant = Table(
    "tenant",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("suspended", Boolean, nullable=False, default=False),
    Column("weight", Integer, nullable=False, default=1),
    Column("pool", Text),  # of egress sources; NULL: the default one
    Column("hourly_quota", Integer),  # recipients an hour; NULL: no limit
    Column("daily_quota", Integer),
    Column("created_at", BigInteger, nullable=False),
    Column("reports", Boolean, nullable=False, server_default=true()),
    Column("report_address", Text),  # where reports go that have no better address
)

credential = Table(
    "credential",
    metadata,
    Column("id", _Serial, primary_key=True),
    Column("tenant_id", Text, ForeignKey("tenant.id")),  # NULL: the operator's
    Column("user_name", Text, nullable=False, unique=True),
    Column("secret_hash", LargeBinary, nullable=False),
    Column("networks", Text, nullable=False),  # JSON list of CIDR; [] allows any
    Column("label", Text, nullable=False, default=""),
    Column("created_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
    Column("last_used_at", BigInteger),
)

client_certificate = Table(
    "client_certificate",
    metadata,
    Column("name", Text, primary_key=True),  # sha256:…, or a name in the certificate
    Column("credential_id", ForeignKey("credential.id"), nullable=False),
)

sending_domain = Table(
    "sending_domain",
    metadata,
    Column("id", _Serial, primary_key=True),
    Column("tenant_id", Text, ForeignKey("tenant.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("mode", Text, nullable=False),
    Column("token", Text, nullable=False, unique=True),
    Column("bounce_label", Text, nullable=False),
    Column("selectors", Text, nullable=False),  # JSON list
    Column("on_broken", Text, nullable=False),
    Column("sign_with_operator", Boolean, nullable=False, default=False),
    Column("assume_verified", Boolean, nullable=False, default=False),
    Column("verified_at", BigInteger),  # first proof of ownership; NULL: never
    Column("released_at", BigInteger),  # given up; the token is never reissued
    Column("facts", Text),  # JSON of identity.state.Facts
    Column("facts_at", BigInteger),
    Column("next_check_at", BigInteger, nullable=False, default=0),
    Column("created_at", BigInteger, nullable=False),
    Column("zone", Text),  # delegated to us; NULL in mode zone: the name itself
    Column("rotate_days", Integer),  # NULL: as the settings say; 0: when asked for
    Column("rotation_wanted_at", BigInteger),  # asked for; done once the key is seen
    Column("standing", Text),  # the worst of what it needs; NULL: not looked at yet
    Column("clean_looks", Integer),  # since it was released, at names that led to us
    Column("dmarc", Text),  # of a zone that is the From domain; NULL: not read yet
    UniqueConstraint("tenant_id", "name"),
)
Index("ix_sending_domain_name", sending_domain.c.name)
Index("ix_sending_domain_next_check_at", sending_domain.c.next_check_at)

zone_record = Table(  # the customer's own, in the zone delegated for the domain
    "zone_record",
    metadata,
    Column("domain_id", ForeignKey("sending_domain.id"), primary_key=True),
    Column("owner", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("value", Text, primary_key=True),  # as in ports.ZoneRecord
    Column("ttl", Integer, nullable=False),  # seconds
)

dkim_key = Table(
    "dkim_key",
    metadata,
    Column("id", _Serial, primary_key=True),
    Column("domain_id", ForeignKey("sending_domain.id")),  # NULL: the operator's d=
    Column("selector", Text, nullable=False),
    Column("algorithm", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("public_key", Text, nullable=False),  # base64 of the p= tag
    Column("private_key", LargeBinary),  # encrypted; NULL once destroyed
    Column("created_at", BigInteger, nullable=False),
    Column("activated_at", BigInteger),
    Column("revoked_at", BigInteger),
)
Index("ix_dkim_key_domain_id", dkim_key.c.domain_id)

record_check = Table(
    "record_check",
    metadata,
    Column("domain_id", ForeignKey("sending_domain.id"), primary_key=True),
    Column("owner", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("purpose", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("expected", Text, nullable=False),
    Column("found", Text, nullable=False),
    Column("cause", Text, nullable=False),
    Column("mend", Text, nullable=False),
    Column("ttl", Integer, nullable=False),
    Column("checked_at", BigInteger, nullable=False),
    Column("good_at", BigInteger),
    Column("fault", Text, nullable=False, server_default=""),
    Column("since", BigInteger),  # status and fault are as they are
    Column("server", Text, nullable=False, server_default=""),
    Column("is_required", Boolean, nullable=False, server_default=true()),
)

way_out = Table(  # of modes relay and mailbox: the customer's own
    "way_out",
    metadata,
    Column("domain_id", ForeignKey("sending_domain.id"), primary_key=True),
    Column("host", Text, nullable=False),
    Column("port", Integer, nullable=False),
    Column("tls", Text, nullable=False),
    Column("user_name", Text),  # of the login; NULL: known by our address
    Column("provider", Text),  # of a mailbox; NULL: a relay
    Column("auth", Text),
    Column("oauth_client", Text),
    Column("secret", LargeBinary),  # sealed; bound to domain, server and user
)

domain_standing = Table(  # how each record and capability of a domain stands
    "domain_standing",
    metadata,
    Column("domain_id", ForeignKey("sending_domain.id"), primary_key=True),
    Column("subject", Text, primary_key=True),  # a capability, or "owner TYPE"
    Column("standing", Text, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("told", Text, nullable=False),  # the standing told of last
    Column("is_required", Boolean, nullable=False),
    Column("turns", Text, nullable=False),  # JSON list: when it turned good or bad
    Column("is_flapping", Boolean, nullable=False),
    Column("cause", Text, nullable=False),
    Column("fault", Text, nullable=False),
)

left_name = Table(  # of released domains: names that still lead to us
    "left_name",
    metadata,
    Column("domain_id", ForeignKey("sending_domain.id"), primary_key=True),
    Column("owner", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("target", Text, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
)

identity_generation = Table(  # one row; raised by whatever changes who may send or sign
    "identity_generation",
    metadata,
    Column("id", SmallInteger, primary_key=True),
    Column("generation", BigInteger, nullable=False),
)

identity_change = Table(  # the last change that concerns a tenant; "": everybody
    "identity_change",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("generation", BigInteger, nullable=False),
)
Index("ix_identity_change_generation", identity_change.c.generation)

quota_use = Table(
    "quota_use",
    metadata,
    Column("tenant_id", Text, ForeignKey("tenant.id"), primary_key=True),
    Column("period", Text, primary_key=True),  # "hour" | "day"
    Column("starts_at", BigInteger, primary_key=True),
    Column("taken", Integer, nullable=False),  # recipients leased to workers
)

suppression = Table(
    "suppression",
    metadata,
    Column("tenant_id", Text, ForeignKey("tenant.id"), primary_key=True),
    Column("key", Text, primary_key=True),  # the address in lower case
    Column("address", Text, primary_key=True),
    Column("because", Text, nullable=False),
    Column("since", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

suppression_list = Table(  # one line a tenant that has or had entries
    "suppression_list",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("generation", BigInteger, nullable=False),  # that changed it last
    Column("entries", Integer, nullable=False),
)
Index("ix_suppression_list_generation", suppression_list.c.generation)

suppression_generation = Table(  # one row; its lock puts changes of all lists in order
    "suppression_generation",
    metadata,
    Column("id", SmallInteger, primary_key=True),
    Column("generation", BigInteger, nullable=False),
)

# ---- who works

worker = Table(
    "worker",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, nullable=False),  # only ever rises; claims name it
    Column("lease_until", BigInteger, nullable=False),  # ms; 0: given up or buried
    Column("started_at", BigInteger, nullable=False),
    Column("host", Text, nullable=False),
    Column("process", Integer, nullable=False),
    Column("acknowledged", BigInteger, nullable=False, default=0),  # generation
)

duty = Table(  # what one process does for all hosts of the store
    "duty",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),  # a host and its process
    Column("lease_until", BigInteger, nullable=False),  # ms; 0: given up
)

capacity = Table(
    "capacity",
    metadata,
    Column("site", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("worker", Integer, primary_key=True),
    Column("epoch", BigInteger, nullable=False),
    Column("connections", Integer, nullable=False),
    Column("unmet", Integer, nullable=False, server_default="0"),  # waited for
)

pace = Table(  # where a rate is set: when the next transaction may begin
    "pace",
    metadata,
    Column("site", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("next_at", BigInteger, nullable=False),  # µs of the clock leases live by
)

# ---- what is on its way

message = Table(
    "message",
    metadata,
    Column("id", _Serial, primary_key=True, autoincrement=False),
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
)
Index(
    "ix_message_settled_at",
    message.c.settled_at,
    sqlite_where=message.c.settled_at.is_not(None),
    postgresql_where=message.c.settled_at.is_not(None),
)

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
    Column("id", _Serial, primary_key=True),
    Column("tenant_id", Text),  # NULL, here and below: any
    Column("domain_id", BigInteger),  # of the sending domain
    Column("destination", Text),  # the recipient's domain
    Column("message_id", BigInteger),
    Column("accepted_before", BigInteger),  # unix ms; NULL: what comes later too
    Column("next_hops", Text, nullable=False),  # tried in turn, spaces between them
    Column("explanation", Text, nullable=False),
    Column("since", BigInteger, nullable=False),
)

# ---- what happened

attempt = Table(
    "attempt",
    metadata,
    Column("id", _Serial, primary_key=True),
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
    Column("id", _Serial, primary_key=True, autoincrement=False),  # 63-bit digest
    Column("detail", Text, nullable=False),  # JSON of identity.state.Plan
)

event = Table(
    "event",
    metadata,
    Column("id", _Serial, primary_key=True),
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
