"""What both kinds of process need to report to senders, put together from the settings."""

from soboo_mta.identity.dmarc import SuffixList
from soboo_mta.identity.state import Operator
from soboo_mta.mail.ids import MessageIds
from soboo_mta.net.dns.authority import AuthoritativeResolver
from soboo_mta.net.dns.resolver import DnsResolver
from soboo_mta.onboarding.check import DomainCheck, OwnDomainCheck
from soboo_mta.ports import Clock
from soboo_mta.settings import Settings
from soboo_mta.settings.options import (
    authoritative_options,
    check_options,
    report_options,
)
from soboo_mta.transfer.reporting.reports import Accounts, Reports


def reports(
    settings: Settings, accounts: Accounts, ids: MessageIds, clock: Clock
) -> Reports | None:
    """Return who makes reports; None where the settings want none."""
    if not settings.reports.send:
        return None
    return Reports(
        accounts=accounts, ids=ids, clock=clock, options=report_options(settings)
    )


def own_domain(
    settings: Settings, recursive: DnsResolver, clock: Clock
) -> OwnDomainCheck:
    """Return the operator's own domain, looked at when a report is to leave."""

    def check(operator: Operator) -> DomainCheck:
        return DomainCheck(
            resolver=AuthoritativeResolver(
                recursive=recursive, options=authoritative_options(settings)
            ),
            operator=operator,
            suffixes=SuffixList(),
            clock=clock,
            options=check_options(settings),
        )

    return OwnDomainCheck(
        check=check, clock=clock, is_assumed=settings.allows_assume_verified
    )
