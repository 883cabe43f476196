"""The sweep of the lists: what is over, in small transactions, one after another."""

from datetime import timedelta
from functools import partial

from soboo_mta.store.writer import Writer
from soboo_mta.tenancy.suppression.changes import forget_changes
from soboo_mta.tenancy.suppression.rows import expire_suppressions
from soboo_mta.tenancy.suppression.soft import forget_soft


async def sweep_suppressions(
    writer: Writer, *, now: int, soft_within: timedelta, keep_history: timedelta
) -> int:
    """Delete entries that are over, failures that count no more and the audit of long
    ago; return the rows. May raise StoreError."""
    before = now - keep_history // timedelta(milliseconds=1)
    total = 0
    for piece in (
        partial(expire_suppressions, now=now),
        partial(forget_soft, now=now, within=soft_within),
        partial(forget_changes, before=before),
    ):
        while gone := await writer.transact(piece):
            total += gone
    return total
