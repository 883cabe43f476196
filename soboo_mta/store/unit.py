"""A unit of work: statements that happen together or not at all, and how it can fail.

Rooms build statements; the writer commits lists of them. A statement's clause is built
once, at import, so that its compiled form is cached.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Executable


class StoreError(Exception):
    """The store did not do what was asked; nothing of the unit happened."""


class Fenced(StoreError):
    """A statement touched another number of rows than expected: the claim was lost."""


class StoreFull(StoreError):
    """No space: answer 452 (RFC 5321 §4.2.2)."""


class StoreUnavailable(StoreError):
    """Locked, gone or broken: answer 451 and try again later."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One clause with its parameter rows; `expected` rows touched, or the unit is Fenced
    (None: any number). Names of bound parameters are the keys of `rows`."""

    clause: Executable
    rows: tuple[Mapping[str, object], ...]
    expected: int | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """What takes more than statements can say: done in their transaction, after all of
    them, and again where the transaction is. `act` raises the store's errors alone: others
    share the transaction. Counts as `rows` for the writer's bounds."""

    act: Callable[[Connection], None]
    rows: int = 25


Unit = Sequence[Statement | Step]


def perform(connection: Connection, *statements: Statement) -> None:
    """Carry out statements in a transaction that is open already."""
    for one in statements:
        connection.execute(one.clause, [dict(row) for row in one.rows])
