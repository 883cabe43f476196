"""How a relay starts on a long queue: case 138.

    .venv/bin/python bench/backlog.py [MESSAGES]      # 1,000,000 by default

Says how long until it is ready and until the first message has left, what a client waits
for 250 in the ten seconds after, and the memory of its processes.
"""

import sqlite3
import sys
import time
from pathlib import Path
from statistics import median

import matrix
from load import Load

_CASE = matrix.Case()
_COPY = """
WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < {count})
INSERT INTO {table} ({columns}) SELECT {values} FROM number, {table} WHERE {table}.{id} = {one}
"""


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with matrix.place() as home:
        matrix.prepare(_CASE, home, "")
        with matrix.relay(home) as relay:  # there is no next hop yet: it waits
            found = matrix.Rig(_CASE, home, relay, None).send(
                Load(
                    port=matrix.PORT,
                    sessions=1,
                    seconds=0.2,
                    rate=5,
                    octets=2_048,
                    result=str(home / "sent.json"),
                )
            )
            assert found["answered"], found
        _multiply(home / "data" / "soboo.db", count)
        with matrix.sink(_CASE, home) as sink:
            began = time.monotonic()
            with matrix.relay(home) as relay:
                ready = time.monotonic() - began
                rig = matrix.Rig(_CASE, home, relay, sink)
                matrix.until("the first message has left", rig.arrivals)
                first = time.monotonic() - began
                sent = rig.send(
                    Load(
                        port=matrix.PORT,
                        sessions=10,
                        seconds=10,
                        rate=50,
                        octets=2_048,
                        first=10_000_000,
                        result=str(home / "sent.json"),
                    )
                )
                memory = matrix.memory_mb(matrix.processes(relay))
    waits = [at - sent["began"][number] for number, at in sent["answered"].items()]
    print(
        f"{count} messages wait: ready after {ready:.1f} s, first left after {first:.1f} s"
    )
    print(
        f"a client's 250 after {1_000 * median(waits):.1f} ms, at worst {max(waits):.2f} s"
    )
    print(f"{memory:.0f} MB")


def _multiply(store: Path, count: int) -> None:
    """Let the one message that waits be so many, all due."""
    with sqlite3.connect(store) as connection:
        (one,) = connection.execute("SELECT min(id) FROM message").fetchone()
        for table, key in (("message", "id"), ("recipient", "message_id")):
            columns = [
                row[1] for row in connection.execute(f"PRAGMA table_info({table})")
            ]
            values = [f"{one} - n * 65536" if name == key else name for name in columns]
            connection.execute(
                _COPY.format(
                    table=table,
                    count=count,
                    columns=", ".join(columns),
                    values=", ".join(values),
                    id=key,
                    one=one,
                )
            )
        connection.execute("UPDATE recipient SET due_at = 0 WHERE state = 'deferred'")


if __name__ == "__main__":
    main()
