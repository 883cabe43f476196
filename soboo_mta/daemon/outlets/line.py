"""One webhook while events wait for it: what is held of them, and how it does."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from soboo_mta.events.outbox.queue import Waiting
from soboo_mta.events.outbox.webhooks import Webhook
from soboo_mta.formats.webhooks import SigningSecret
from soboo_mta.net.outlets.webhook import WebhookDoor

HELD: Final = 200  # events read ahead for one webhook
_FAILING: Final = 5  # failures in a row: from then on one at a time, until one is taken


@dataclass(slots=True, eq=False)
class Line:
    """Events of one webhook in memory. `held` are all rows read and not settled; no two
    of them are of one lane."""

    webhook: Webhook
    secrets: tuple[SigningSecret, ...]
    door: WebhookDoor
    parallel: int
    waiting: deque[Waiting] = field(default_factory=deque)
    held: set[int] = field(default_factory=set)
    under_way: int = 0
    failures: int = 0  # since something was accepted
    rests_until: float = float("-inf")  # monotonic
    idle_since: float = 0.0  # monotonic

    @property
    def wants_more(self) -> bool:
        """Whether more is to be read: less than half waits of what may be held."""
        return len(self.waiting) < HELD // 2

    def take(self, rows: Iterable[Waiting]) -> None:
        """Hold what was read, but for what is held already."""
        for row in rows:
            if row.row_id not in self.held:
                self.held.add(row.row_id)
                self.waiting.append(row)

    def may_start(self, now: float) -> bool:
        """Whether an event waits that may be delivered now (monotonic seconds)."""
        most = self.parallel if self.failures < _FAILING else 1
        return bool(self.waiting) and self.under_way < most and now >= self.rests_until

    def start(self) -> Waiting:
        """Return the next event, which is under way from now on."""
        self.under_way += 1
        return self.waiting.popleft()

    def forget_waiting(self) -> None:
        """Let go of what is not under way: it is no longer to be told, or by others."""
        self.held -= {one.row_id for one in self.waiting}
        self.waiting.clear()
