"""A store as the first release made it: built by its own migration, rows in every table."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, MetaData, create_engine, select

from soboo_mta.store import migrate

FIRST = "0001"
_FAR = 4_000_000_000_000
ROWS: dict[str, dict[str, object]] = {
    "tenant": {
        "id": "acme",
        "name": "Acme",
        "suspended": False,
        "weight": 2,
        "created_at": 1,
    },
    "credential": {
        "id": 1,
        "tenant_id": "acme",
        "user_name": "acme-app",
        "secret_hash": b"\1" * 32,
        "networks": "[]",
        "label": "",
        "created_at": 1,
    },
    "sending_domain": {
        "id": 7,
        "tenant_id": "acme",
        "name": "acme.example",
        "mode": "cname",
        "token": "t0k3n",
        "bounce_label": "bounce",
        "selectors": '["sb1"]',
        "on_broken": "hold",
        "sign_with_operator": False,
        "assume_verified": False,
        "next_check_at": 0,
        "created_at": 1,
    },
    "dkim_key": {
        "id": 3,
        "domain_id": 7,
        "selector": "sb1",
        "algorithm": "rsa",
        "state": "active",
        "public_key": "AAAA",
        "private_key": b"\2",
        "created_at": 1,
    },
    "record_check": {
        "domain_id": 7,
        "owner": "bounce.acme.example",
        "kind": "CNAME",
        "purpose": "bounce",
        "status": "good",
        "expected": "x",
        "found": "x",
        "cause": "",
        "mend": "",
        "ttl": 60,
        "checked_at": 1,
    },
    "identity_generation": {"id": 1, "generation": 5},
    "quota_use": {"tenant_id": "acme", "period": "hour", "starts_at": 0, "taken": 9},
    "worker": {
        "number": 0,
        "epoch": 4,
        "lease_until": 0,
        "started_at": 1,
        "host": "h",
        "process": 1,
        "acknowledged": 5,
    },
    "capacity": {
        "site": "mx",
        "source": "default",
        "worker": 0,
        "epoch": 4,
        "connections": 2,
    },
    "message": {
        "id": 11,
        "tenant_id": "acme",
        "domain_id": 7,
        "reverse_path": "",
        "author": "a@acme.example",
        "header_message_id": "<1@acme.example>",
        "client": "192.0.2.1",
        "eight_bit": False,
        "smtputf8": False,
        "size": 3,
        "pieces": 1,
        "recipients": 1,
        "accepted_at": 1,
        "expires_at": _FAR,
        "body_hash": b"\0" * 32,
        "checksum": 0,
    },
    "piece": {"message_id": 11, "number": 0, "staged_at": 1, "octets": b"abc"},
    "recipient": {
        "message_id": 11,
        "position": 0,
        "address": "b@x.example",
        "domain": "x.example",
        "tenant_id": "acme",
        "domain_id": 7,
        "state": "deferred",
        "reason": "reply",
        "due_at": _FAR,
        "attempts": 1,
        "last_reply": "451 busy",
    },
    "gate": {
        "scope": "domain",
        "subject": "7",
        "reason": "domain-broken",
        "explanation": "mend it",
        "since": 1,
    },
    "attempt": {
        "id": 1,
        "message_id": 11,
        "position": 0,
        "at": 1,
        "outcome": "deferred",
        "reason": "reply",
        "reply": "451 busy",
        "host": "mx[192.0.2.2]:25",
        "source": "default",
        "tls": "",
        "duration_ms": 5,
        "plan_id": 2,
    },
    "plan": {"id": 2, "detail": "{}"},
    "event": {"id": 1, "at": 1, "kind": "domain-added", "actor": "cli", "detail": "{}"},
}


def build(connection: Connection, revision: str = FIRST) -> MetaData:
    """Make the first release's tables in an empty database, or a later one's; return
    them."""
    config = Config()
    folder = Path(migrate.__file__).parent / "migrations"
    config.set_main_option("script_location", str(folder))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
    tables = MetaData()
    tables.reflect(connection)
    return tables


def fill(connection: Connection, tables: MetaData) -> None:
    """A row in each table, and none forgotten."""
    assert set(ROWS) == set(tables.tables) - {"alembic_version"}
    connection.execute(tables.tables["identity_generation"].delete())
    for name, row in ROWS.items():
        connection.execute(tables.tables[name].insert().values(row))


def taken_back(store: Engine, path: Path) -> None:
    """Write what `store` holds to a new file at `path`, in the first release's schema."""
    old = create_engine(f"sqlite:///{path}")
    with old.begin() as target, store.connect() as source:
        now = MetaData()
        now.reflect(source)
        for table in build(target).sorted_tables:
            if table.name == "alembic_version":
                continue
            columns = [now.tables[table.name].c[column.name] for column in table.c]
            rows = [dict(row._mapping) for row in source.execute(select(*columns))]
            target.execute(table.delete())
            if rows:
                target.execute(table.insert(), rows)
    old.dispose()
