"""Who works on what: leases of workers, of duties, of shares of limits."""

from sqlalchemy import BigInteger, Column, Integer, Table, Text

from soboo_mta.store.schema.base import metadata

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
