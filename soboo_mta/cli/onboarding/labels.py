"""The labels that a new domain gets where none are typed: free ones, as DNS shows."""

import asyncio

from soboo_mta.cli.context import CliStore, say, warn
from soboo_mta.identity.dmarc import SuffixList
from soboo_mta.identity.state import Mode
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.net.dns.resolver import DnsResolver
from soboo_mta.onboarding.survey import (
    Survey,
    free_bounce_label,
    free_selectors,
    survey,
)
from soboo_mta.settings.options import resolver_options
from soboo_mta.tenancy.domains import DEFAULT_BOUNCE_LABEL, DEFAULT_SELECTORS
from soboo_mta.tenancy.secrets import generate_token


def surveyed(store: CliStore, name: Domain) -> Survey:
    """Look at what DNS holds of a domain, through the configured resolvers."""
    resolver = DnsResolver(options=resolver_options(store.settings), clock=store.clock)
    return asyncio.run(
        survey(
            name,
            resolver=resolver,
            operator=store.operator,
            suffixes=SuffixList(),
            probe=generate_token(),
        )
    )


def labels_for(
    store: CliStore,
    name: Domain,
    mode: Mode,
    *,
    bounce_label: str | None,
    selectors: tuple[DnsName, ...],
) -> tuple[str, tuple[DnsName, ...]]:
    """Return the bounce label and the selectors: those typed, else free ones.

    Where DNS does not say what exists, the usual ones, with a remark. Raises FormatError
    where none is free.
    """
    usual = bounce_label or DEFAULT_BOUNCE_LABEL, selectors or DEFAULT_SELECTORS
    if bounce_label and selectors:
        return usual
    found = surveyed(store, name)
    if found.zone is None:
        warn(
            f"DNS shows no zone that {name} is in: the usual labels are taken; see that"
            " nothing of others stands there before they are published"
        )
        return usual
    notes: list[str] = []
    if not bounce_label:
        bounce = free_bounce_label(found, mode)
        bounce_label = bounce.labels[0]
        notes += bounce.notes
    if not selectors:
        free = free_selectors(found)
        selectors = tuple(map(DnsName, free.labels))
        notes += free.notes
    for note in notes:
        say(f"mind: {note}")
    return bounce_label, selectors
