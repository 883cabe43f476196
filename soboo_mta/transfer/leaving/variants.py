"""The 7-bit form of an 8-bit message, for hops without 8BITMIME, with its own body hash.

Made before anything is signed, kept while other recipients of the message may want it,
bounded. Large messages are made in a thread, one at a time: others do not wait.
"""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Final

from soboo_mta.formats.canonical import body_hash
from soboo_mta.formats.header import HeaderBlock
from soboo_mta.formats.mime.seven_bit import NoVariant, seven_bit
from soboo_mta.mail.ids import MessageId
from soboo_mta.mail.outcome import Failed
from soboo_mta.mail.spooled import SpooledMessage
from soboo_mta.transfer.classify import unsupported

_MEBIBYTE: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantOptions:
    """Bounds in octets."""

    kept: int = 64 * _MEBIBYTE  # of all variants in memory; the oldest gives way
    thread_over: int = _MEBIBYTE // 4  # 1 MiB takes some 10 ms


class Variants:
    """The variants of one process."""

    def __init__(self, options: VariantOptions | None = None) -> None:
        self._options = options or VariantOptions()
        self._kept: OrderedDict[MessageId, SpooledMessage | Failed] = OrderedDict()
        self._octets = 0
        self._making = asyncio.Lock()

    async def seven_bit(self, message: SpooledMessage) -> SpooledMessage | Failed:
        """Return `message` as a hop without 8BITMIME takes it, or why there is no such
        form; never raises."""
        kept = self._kept.get(message.message_id)
        if kept is not None:
            return kept
        if message.size <= self._options.thread_over:
            return self._keep(message, _made(message))
        async with self._making:
            kept = self._kept.get(message.message_id)
            if kept is not None:
                return kept
            return self._keep(message, await asyncio.to_thread(_made, message))

    def _keep(
        self, message: SpooledMessage, made: SpooledMessage | Failed
    ) -> SpooledMessage | Failed:
        if len(message.recipients) == 1:
            return made
        self._kept[message.message_id] = made
        self._octets += _size(made)
        while self._octets > self._options.kept:
            _, oldest = self._kept.popitem(last=False)
            self._octets -= _size(oldest)
        return made


def _made(message: SpooledMessage) -> SpooledMessage | Failed:
    try:
        content = seven_bit(message.content)
    except NoVariant as why:
        return unsupported(
            why.status, f"the next hop takes no 8-bit content (8BITMIME), and {why}"
        )
    return replace(
        message,
        content=content,
        body_hash=body_hash(HeaderBlock.parse(content).body),
        eight_bit=False,
    )


def _size(made: SpooledMessage | Failed) -> int:
    return 1_024 if isinstance(made, Failed) else made.size
