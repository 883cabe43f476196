"""One writer at a time over several processes on one SQLite file: an advisory lock.

SQLite's own busy wait sleeps and polls, which starves a process for a sixth of a second;
waiting on a lock file wakes at once. PostgreSQL needs no such lock.
"""

import fcntl
import os
from types import TracebackType

from sqlalchemy import Engine

from soboo_mta.store.execute import explained


class WriteLock:
    """The right to write, over all processes, while in the context; not re-entrant.

    Every write transaction on SQLite, migrations and the CLI's included, runs under it.
    A process that dies gives it up. Each user has an instance of its own. Raises
    StoreUnavailable where the file cannot be opened (no descriptors left, say).
    """

    def __init__(self, engine: Engine) -> None:
        self._path = (
            f"{engine.url.database}.lock" if engine.dialect.name == "sqlite" else None
        )
        self._handle = -1

    def __enter__(self) -> None:
        if self._path is not None:
            try:
                self._handle = os.open(
                    self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
                )
            except OSError as error:
                raise explained(error) from error
            fcntl.flock(self._handle, fcntl.LOCK_EX)

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if self._path is not None:
            os.close(self._handle)  # closing gives the lock up
