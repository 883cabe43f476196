"""The DMARC record to show for one domain: made from the one that its DNS has."""

import asyncio
from dataclasses import dataclass, replace

from soboo_mta.cli.context import CliStore
from soboo_mta.identity.dmarc_merge import DmarcAdvice, plain_advice
from soboo_mta.identity.state import Purpose, RequiredRecord
from soboo_mta.mail.domain import Domain
from soboo_mta.net.dns.resolver import DnsResolver
from soboo_mta.onboarding.dmarc_advice import advised_dmarc
from soboo_mta.onboarding.judging.judge import printable
from soboo_mta.ports import Unanswered
from soboo_mta.settings.options import resolver_options


@dataclass(frozen=True, slots=True)
class DmarcAdvisor:
    """Advises one From domain of an installation."""

    store: CliStore
    author: Domain

    def into(
        self, records: tuple[RequiredRecord, ...], *, merge: bool
    ) -> tuple[RequiredRecord, ...]:
        """Return `records` with the DMARC record that is advised in place of the plain
        one; what DNS gave no answer to stays the plain one, and says so."""
        advised = self._record(merge=merge)
        return tuple(
            advised if record.purpose is Purpose.DMARC else record for record in records
        )

    def _record(self, *, merge: bool) -> RequiredRecord:
        found = asyncio.run(self._asked(merge=merge))
        if isinstance(found, Unanswered):
            return plain_advice(self.author, printable(found.cause))
        # What others have written is shown on terminals and in mail.
        note = printable(found.record.note)
        return replace(found.record, note=note)

    async def _asked(self, *, merge: bool) -> DmarcAdvice | Unanswered:
        store = self.store
        resolver = DnsResolver(
            options=resolver_options(store.settings), clock=store.clock
        )
        reports = store.operator.dmarc_reports
        return await advised_dmarc(self.author, resolver, reports, merge=merge)
