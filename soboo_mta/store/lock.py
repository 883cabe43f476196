"""Advisory locks of an embedded store: one writer at a time, and one relay.

SQLite's own busy wait sleeps and polls, which starves a process for a sixth of a second;
waiting on a lock file wakes at once. PostgreSQL needs no such locks.
"""

import fcntl
import os
from collections.abc import Mapping
from types import TracebackType

from sqlalchemy import Engine

from soboo_mta.store.execute import explained
from soboo_mta.store.unit import StoreUnavailable


class WriteLock:
    """The right to write, over all processes, while in the context; not re-entrant.

    Every write transaction on SQLite, migrations and the CLI's included, runs under it.
    A process that dies gives it up. Each user has an instance of its own, which keeps the
    file open until `close`: without a free descriptor deliveries can still be noted.
    Raises StoreUnavailable where the file cannot be opened.
    """

    def __init__(self, engine: Engine) -> None:
        self._path = (
            f"{engine.url.database}.lock" if engine.dialect.name == "sqlite" else None
        )
        self._handle = -1

    def __enter__(self) -> None:
        if self._path is None:
            return
        if self._handle < 0:
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
        if self._handle >= 0:
            fcntl.flock(self._handle, fcntl.LOCK_UN)

    def close(self) -> None:
        """Give the file up."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


class RelayLock:
    """The right to run the relay on an embedded store, or to change the store under it.

    One relay a file: leases would keep two from harm, but two supervisors were never
    meant. A process that dies gives it up; one that was forked must `leave` it to its
    parent. PostgreSQL serves several hosts: nothing is locked there.
    """

    def __init__(self, engine: Engine) -> None:
        self._path = (
            f"{engine.url.database}.relay" if engine.dialect.name == "sqlite" else None
        )
        self._handle = -1

    @property
    def descriptors(self) -> dict[str, int]:
        """What a process that takes this one's place must be given to keep it held."""
        return {f"lock {self._path}": self._handle} if self._handle >= 0 else {}

    def take(self, kept: Mapping[str, int] | None = None) -> None:
        """Take it now; StoreUnavailable where another process has it. `kept`: the
        descriptors that the process before has given to this one."""
        if self._path is None:
            return
        if kept and f"lock {self._path}" in kept:
            self._handle = kept[f"lock {self._path}"]
            os.set_inheritable(self._handle, False)
            return
        try:
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise explained(error) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(handle, 20).decode("ascii", "replace").strip()
            os.close(handle)
            raise StoreUnavailable(
                f"a relay (process {holder or 'unknown'}) runs on this store: stop it first"
            ) from error
        os.ftruncate(handle, 0)
        os.write(handle, f"{os.getpid()}\n".encode())
        self._handle = handle

    def leave(self) -> None:
        """Hold it no more; nothing where it was not held."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def __enter__(self) -> None:
        self.take()

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.leave()
