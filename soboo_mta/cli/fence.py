"""Waits until the relay works by a change that a command made: workers see it within 250 ms,
and acknowledge its identity generation once nothing under way was begun before it."""

import time

from sqlalchemy import Connection

from soboo_mta.cli.context import CliStore, warn
from soboo_mta.spool.lease import lease_time, live_workers
from soboo_mta.store.writer import read_now

_LOOK_AGAIN = 0.1  # seconds between looks at the workers


def acknowledged(store: CliStore, wanted: int, wait: float) -> bool:
    """Wait until no live worker still uses what was before generation `wanted`; False,
    and the late ones are named, after `wait` seconds."""
    until = store.clock.monotonic() + wait
    while late := read_now(
        store.engine, lambda connection: _late(connection, store, wanted)
    ):
        if store.clock.monotonic() >= until:
            for line in late:
                warn(f"not acknowledged: {line}")
            return False
        time.sleep(_LOOK_AGAIN)
    return True


def _late(connection: Connection, store: CliStore, wanted: int) -> tuple[str, ...]:
    now = lease_time(connection, store.clock)
    return tuple(
        f"worker {one.number}, process {one.process} on {one.host}"
        for one in live_workers(connection, now)
        if one.acknowledged < wanted
    )
