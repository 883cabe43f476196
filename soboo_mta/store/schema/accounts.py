"""Who may send: tenants, credentials, domains with their keys and records, quotas."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    true,
)

from soboo_mta.store.schema.base import Serial, metadata

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
    Column("suppression", Text, nullable=False, server_default="release"),
    Column("returns", Text, nullable=False, server_default="home"),  # or "events"
    Column("returns_to", Text),  # where they go home to that have no better address
    Column("unsubscribe", Text, nullable=False, server_default=""),  # streams, or "*"
)

credential = Table(
    "credential",
    metadata,
    Column("id", Serial, primary_key=True),
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
    Column("id", Serial, primary_key=True),
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
    Column("id", Serial, primary_key=True),
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
