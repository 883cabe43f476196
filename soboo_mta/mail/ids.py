"""Identifiers: each kind its own type, text forms that sort by time where they can."""

import re
from collections.abc import Callable
from typing import Final, NewType, Self

from soboo_mta.mail.errors import FormatError

TenantId = NewType("TenantId", str)
"""The operator's name for a tenant: lower-case letters, digits, hyphens."""
CredentialId = NewType("CredentialId", int)
DomainId = NewType("DomainId", int)
"""A sending domain; negative, it stands for reports about that domain's mail, which the
operator's own domain sends: `report_lane`."""
KeyId = NewType("KeyId", int)
PlanId = NewType("PlanId", int)
Stream = NewType("Stream", str)
"""A tenant's own word for a kind of its mail: "news", "receipts"."""
NO_STREAM: Final = Stream("")  # of a suppression: every stream

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford: no i, l, o, u
_VALUE = {letter: value for value, letter in enumerate(_ALPHABET)}
_TEXT_LENGTH = 13  # 65 bits hold 63
_EPOCH_MS = 1_735_689_600_000  # 2025-01-01: 41 bits of milliseconds last until 2094
WORKER_BITS = 10
_COUNTER_BITS = 12
SWEEPER_NUMBER = (1 << WORKER_BITS) - 1  # whoever makes reports without a lease
FORWARDER_NUMBER = SWEEPER_NUMBER - 1  # who sends returns home
MAX_WORKER_NUMBER = FORWARDER_NUMBER - 1
OPERATOR = TenantId("")
"""Whose mail is no tenant's but the operator's: what came for postmaster and abuse."""
OPERATOR_LANE = DomainId(-(1 << 62))
"""The lane of that mail, which is about no domain's."""
_STREAM = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")


def parse_stream(text: str) -> Stream:
    """Return `text` as a stream: lower-case letters, digits, inner hyphens, up to 32."""
    if not _STREAM.fullmatch(text):
        raise FormatError(
            f"{text[:40]!r} is not a stream: use lower-case letters, digits and inner "
            "hyphens, at most 32"
        )
    return Stream(text)


def report_lane(domain_id: DomainId) -> DomainId:
    """Return the lane of the queue in which reports about a domain's mail wait.

    Each domain's reports have one of their own, so that its tenant's weight and gate hold
    for them and no other tenant's wait behind them.
    """
    return DomainId(-abs(domain_id))


class MessageId(int):
    """A spooled message: 41 bits of time, 10 of worker number, 12 of counter."""

    __slots__ = ()

    def __str__(self) -> str:
        value = int(self)
        return "".join(
            _ALPHABET[(value >> shift) & 31]
            for shift in range(5 * (_TEXT_LENGTH - 1), -1, -5)
        )

    __repr__ = __str__

    @property
    def unix_ms(self) -> int:
        """When it was made; never after it was accepted."""
        return (int(self) >> (WORKER_BITS + _COUNTER_BITS)) + _EPOCH_MS

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the id written as `text`; raise FormatError when it is none."""
        value = 0
        if len(text) != _TEXT_LENGTH:
            raise FormatError(f"{text[:40]!r} is not a message id: 13 characters")
        for letter in text.lower():
            if letter not in _VALUE:
                raise FormatError(f"{text!r} is not a message id")
            value = value << 5 | _VALUE[letter]
        if value >= 1 << 63:
            raise FormatError(f"{text!r} is not a message id")
        return cls(value)


class MessageIds:
    """Makes ids that no other live worker makes and that never repeat in one.

    `worker` is the number the worker's lease holds; `floor` the largest id in the store
    with that number, so that a clock set back between two lives does no harm.
    """

    def __init__(
        self, *, worker: int, unix_ms: Callable[[], int], floor: int = 0
    ) -> None:
        self._unix_ms = unix_ms
        self._last = (0, 0)
        self.take_number(worker, floor=floor)

    def take_number(self, worker: int, *, floor: int) -> None:
        """Go on under another worker number (a new lease); never goes back."""
        self._worker = worker << _COUNTER_BITS
        tick, counter = floor >> (WORKER_BITS + _COUNTER_BITS), floor & 0xFFF
        self._last = max(self._last, (tick, counter))

    def next(self) -> MessageId:
        """Return a fresh id, larger than every earlier one of this worker."""
        tick, counter = self._last
        now = self._unix_ms() - _EPOCH_MS
        if now > tick:
            tick, counter = now, 0
        else:
            counter += 1
            if counter >> _COUNTER_BITS:
                tick, counter = tick + 1, 0
        self._last = (tick, counter)
        return MessageId(tick << (WORKER_BITS + _COUNTER_BITS) | self._worker | counter)
