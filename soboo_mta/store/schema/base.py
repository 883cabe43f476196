"""What all tables have in common: how constraints are named, and keys that count."""

from sqlalchemy import BigInteger, Integer, MetaData

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
# SQLite's rowid is what is declared INTEGER (64 bits there): a key without an index.
Serial = BigInteger().with_variant(Integer, "sqlite")
