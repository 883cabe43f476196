"""A domain's records watched in the terminal until they are good.

Each round is a look like `domain verify`'s, kept in the store. On a terminal one table is
kept up to date; elsewhere a line is printed for each record when it changes.
"""

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from soboo_mta.cli.context import CliStore, say
from soboo_mta.cli.domains.look import keep, look
from soboo_mta.identity.state import RecordCheck, RecordStatus
from soboo_mta.onboarding.check import CheckResult
from soboo_mta.store.writer import read_now
from soboo_mta.tenancy.domains import DomainView, view_of

_SHORTEST, _LONGEST = timedelta(seconds=3), timedelta(seconds=30)
"""Between looks: each waits half as long again as the one before it."""
_WORDS = {
    RecordStatus.GOOD: "good",
    RecordStatus.MISSING: "not there yet",
    RecordStatus.WRONG: "wrong",
    RecordStatus.UNKNOWN: "no answer",
}


async def watch_until_good(store: CliStore, view: DomainView, *, minutes: int) -> bool:
    """Look until every required record is good, at most so long; return whether it is.

    Ctrl-C ends the watch as time does.
    """
    screen = _Screen()
    ends = store.clock.monotonic() + minutes * 60
    pause = _SHORTEST.total_seconds()
    domain_id = view.settings.domain_id
    try:
        with screen:
            while True:
                result = await look(store, view)
                keep(store, view, result)
                left = ends - store.clock.monotonic()
                is_last = result.all_good or left <= 0
                screen.show(result, 0 if is_last else min(pause, left))
                if is_last:
                    return result.all_good
                await asyncio.sleep(min(pause, left))
                pause = min(pause * 1.5, _LONGEST.total_seconds())
                # The relay looks as well, and a look is told by what it changes.
                view = read_now(store.engine, lambda at: view_of(at, domain_id)) or view
    except asyncio.CancelledError:  # what Ctrl-C comes as
        return False


@dataclass(slots=True)
class _Screen:
    """Where looks are shown."""

    console: Console = field(
        default_factory=lambda: Console(highlight=False, markup=False)
    )
    live: Live | None = None
    before: list[tuple[str, str]] = field(default_factory=list)

    def __enter__(self) -> "_Screen":
        if self.console.is_terminal:
            self.live = Live(console=self.console, auto_refresh=False)
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live is not None:
            self.live.stop()

    def show(self, result: CheckResult, pause: float) -> None:
        """Show one look, and in how many seconds the next one is; 0: there is none."""
        footer = _footer(result, pause)
        if self.live is not None:
            self.live.update(Group(watch_table(result.checks), footer), refresh=True)
            return
        rows = [(check.record.value, _state(check)) for check in result.checks]
        for row, check in zip(rows, result.checks, strict=True):
            if row not in self.before:
                say("\n    ".join((f"{_place(check)}: {row[1]}", *_reasons(check))))
        if rows != self.before:
            say(footer)
        self.before = rows


def watch_table(checks: Iterable[RecordCheck]) -> Table:
    """Short, so that it fits a terminal: what to publish was shown before."""
    table = Table(box=None, pad_edge=False)
    for title in ("record", "now", "why"):
        table.add_column(title, overflow="fold")  # a name that is cut tells nothing
    for check in checks:
        why = "" if check.status is RecordStatus.GOOD else check.cause
        table.add_row(_place(check), _state(check), why)
    return table


def _place(check: RecordCheck) -> str:
    return f"{check.record.owner} {check.record.kind}"


def _state(check: RecordCheck) -> str:
    state = _WORDS[check.status]
    return state if check.record.is_required else f"{state} (recommended)"


def _reasons(check: RecordCheck) -> Iterator[str]:
    if check.found and check.status is RecordStatus.WRONG:
        yield f"found: {check.found}"
    yield from (part for part in (check.cause, check.mend) if part)


def _footer(result: CheckResult, pause: float) -> str:
    required = [check for check in result.checks if check.record.is_required]
    good = sum(check.status is RecordStatus.GOOD for check in required)
    count = f"{good} of {len(required)} required records are good"
    return f"{count}; next look in {pause:.0f} s" if pause else count
