"""What came back, as it came and as it was read, what of it goes home, and the figures of
reports on whole domains (RFC 8460, RFC 9990)."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from soboo_mta.store.schema.base import Serial, metadata

returned = Table(
    "returned",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("received_at", BigInteger, nullable=False),
    Column("due_at", BigInteger),  # to be read; NULL: settled, or still coming in
    Column("settled_at", BigInteger),
    Column("reads", Integer, nullable=False),  # times it was claimed: settling names it
    Column("door", Text, nullable=False),  # returns.reception.DoorKind
    Column("address", Text, nullable=False),  # that it came to
    Column("message_id", BigInteger),  # that it is about, with the recipient's position
    Column("position", Integer),
    Column("tenant_id", Text),
    Column("reverse_path", Text, nullable=False),  # that it came with; "" is null
    Column("client", Text, nullable=False),
    Column("client_name", Text, nullable=False),  # of EHLO
    Column("protocol", Text, nullable=False),
    Column("kind", Text),  # mail.returned.Kind; NULL: not read yet
    Column("bounce_class", Text),
    Column("authentication", Text),  # what of it was proved (RFC 8601)
    Column("detail", Text),  # JSON: what it says
    Column("size", Integer, nullable=False),
    Column("pieces", Integer, nullable=False),  # 0: content is in this row
    Column("content", LargeBinary),  # the columns before it are read without it
)
_UNREAD = text("due_at IS NOT NULL")
Index(
    "ix_returned_due_at",
    returned.c.due_at,
    sqlite_where=_UNREAD,
    postgresql_where=_UNREAD,
)
Index("ix_returned_received_at", returned.c.received_at)
_ABOUT_ONE = text("message_id IS NOT NULL")
Index(
    "ix_returned_message_id",
    returned.c.message_id,
    sqlite_where=_ABOUT_ONE,
    postgresql_where=_ABOUT_ONE,
)

returned_piece = Table(
    "returned_piece",
    metadata,
    Column("returned_id", BigInteger, primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("octets", LargeBinary, nullable=False),
)

forward = Table(  # a return on its way home
    "forward",
    metadata,
    Column("returned_id", BigInteger, primary_key=True, autoincrement=False),
    Column("tenant_id", Text, nullable=False),  # "": the operator's
    Column("message_id", BigInteger),  # that the return is about
    Column("position", Integer),
    Column("address", Text),  # it went to
    Column("noted_at", BigInteger, nullable=False),
    Column("due_at", BigInteger),  # to be made; NULL: it is in the queue, or stays
    Column("tries", Integer, nullable=False),
    Column("forward_id", BigInteger, unique=True),  # of the message, drawn at each try
)
Index(
    "ix_forward_due_at",
    forward.c.due_at,
    sqlite_where=_UNREAD,
    postgresql_where=_UNREAD,
)
Index("ix_forward_message_id", forward.c.message_id, forward.c.position)
Index("ix_forward_tenant_id", forward.c.tenant_id, forward.c.noted_at)
Index("ix_forward_noted_at", forward.c.noted_at)

# ---- reports on whole domains

tls_report = Table(  # of one reporter, about one bounce host under one policy
    "tls_report",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("returned_id", BigInteger, nullable=False),  # it may be gone
    Column("received_at", BigInteger, nullable=False),
    Column("reporter", Text, nullable=False),  # as the report names itself
    Column("proved_by", Text, nullable=False),  # the domain that signed it; "": nothing
    Column("report_id", Text, nullable=False),
    Column("domain", Text, nullable=False),  # the bounce host
    Column("policy", Text, nullable=False),  # "sts", "tlsa", "no-policy-found"
    Column("begin_at", BigInteger, nullable=False),
    Column("end_at", BigInteger, nullable=False),
    Column("succeeded", BigInteger, nullable=False),  # sessions
    Column("failed", BigInteger, nullable=False),
    UniqueConstraint("reporter", "report_id", "domain", "policy", "proved_by"),
)
Index("ix_tls_report_domain", tls_report.c.domain, tls_report.c.received_at)
Index("ix_tls_report_received_at", tls_report.c.received_at)

tls_failure = Table(
    "tls_failure",
    metadata,
    Column("tls_report_id", BigInteger, primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("result", Text, nullable=False),
    Column("receiving_mx", Text, nullable=False),
    Column("sending_ip", Text, nullable=False),
    Column("reason", Text, nullable=False),  # the first that was given
    Column("sessions", BigInteger, nullable=False),
)

tls_told = Table(  # when an event last said that a bounce host has this trouble
    "tls_told",
    metadata,
    Column("domain", Text, primary_key=True),
    Column("result", Text, primary_key=True),
    Column("at", BigInteger, nullable=False),
)

# ---- DMARC reports, counted

dmarc_report = Table(  # one aggregate report, counted once
    "dmarc_report",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("key", Text, nullable=False, unique=True),  # digest of what it is known by
    Column("returned_id", BigInteger, nullable=False),
    Column("received_at", BigInteger, nullable=False),
    Column("domain", Text, nullable=False),  # that it is about
    Column("sender", Text, nullable=False),  # proved to have sent it; "": nobody is
    Column("reporter", Text, nullable=False),  # as it names itself
    Column("first_day", Integer, nullable=False),  # unix days UTC that it touches
    Column("last_day", Integer, nullable=False),
    Column("left_out", Integer, nullable=False),  # rows that could not be read
    Column("size", Integer, nullable=False),  # rows of other tables that go with it
)
Index(
    "ix_dmarc_report_domain_received_at",
    dmarc_report.c.domain,
    dmarc_report.c.received_at,
)
Index("ix_dmarc_report_received_at", dmarc_report.c.received_at)

dmarc_row = Table(  # messages from one address with one result
    "dmarc_row",
    metadata,
    Column("report", BigInteger, primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("author", Text, nullable=False),  # the From domain
    Column("day", Integer, nullable=False),  # the report's first
    Column("whose", Text, nullable=False),  # events.reports.dmarc.Whose
    Column("source", Text, nullable=False),  # "": of several
    Column("dkim", Boolean, nullable=False),  # DMARC's verdicts
    Column("spf", Boolean, nullable=False),
    Column("disposition", Text, nullable=False),
    Column("signed", Text, nullable=False),  # "selector._domainkey.domain …" of ours
    Column("dkim_domain", Text, nullable=False),  # what passed, whosever
    Column("spf_domain", Text, nullable=False),
    Column("messages", BigInteger, nullable=False),
)
Index("ix_dmarc_row_author_day", dmarc_row.c.author, dmarc_row.c.day)

dmarc_signed = Table(  # messages on which one signature of ours passed
    "dmarc_signed",
    metadata,
    Column("report", BigInteger, primary_key=True, autoincrement=False),
    Column("author", Text, primary_key=True),
    Column("domain", Text, primary_key=True),  # d=
    Column("selector", Text, primary_key=True),
    Column("day", Integer, nullable=False),  # the report's first
    Column("messages", BigInteger, nullable=False),
    Column("elsewhere", BigInteger, nullable=False),  # of them not from our addresses
)
Index("ix_dmarc_signed_author_day", dmarc_signed.c.author, dmarc_signed.c.day)

dmarc_told = Table(  # events that were told, each once
    "dmarc_told",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("domain", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
)
