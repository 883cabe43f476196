"""What the commands of Domain Connect share: the doors, and the offer to one domain."""

import asyncio
from typing import NoReturn

import typer

from soboo_mta.cli.context import FAULT, NO_ANSWER, CliStore, warn
from soboo_mta.identity.dmarc import SuffixList
from soboo_mta.identity.state import DomainSettings
from soboo_mta.mail.errors import FormatError
from soboo_mta.net.dns.resolver import DnsResolver
from soboo_mta.net.http_client import HttpClientOptions, HttpsClient
from soboo_mta.onboarding.connect.discovery import NoAnswer, NotOffered
from soboo_mta.onboarding.connect.keys import ConnectKeys
from soboo_mta.onboarding.connect.offer import Connect, Offer
from soboo_mta.ports import Clock
from soboo_mta.settings import Settings
from soboo_mta.settings.options import resolver_options


def doors(settings: Settings, clock: Clock) -> tuple[DnsResolver, HttpsClient]:
    """Return what asks DNS and what asks DNS hosts, for one event loop."""
    resolver = DnsResolver(options=resolver_options(settings), clock=clock)
    options = HttpClientOptions(
        private_destinations=settings.delivery.private_destinations
    )
    return resolver, HttpsClient(resolver=resolver, options=options)


def signing_keys(store: CliStore) -> ConnectKeys:
    """Return the installation's keys; raises SecretError."""
    return ConnectKeys(store.settings.server.data_directory, store.master)


def connect_offer(
    store: CliStore, settings: DomainSettings
) -> Offer | NotOffered | NoAnswer:
    """Return how a domain is set up by one click, or why it is not.

    Raises FormatError for a domain that no template can hold, and SecretError.
    """
    resolver, http = doors(store.settings, store.clock)
    connect = Connect(
        operator=store.operator,
        keys=signing_keys(store).all(),
        resolver=resolver,
        http=http,
        suffixes=SuffixList(),
    )
    return asyncio.run(connect.offer(settings))


def page_offer(store: CliStore, settings: DomainSettings) -> Offer | None:
    """Return the offer for a setup page, None where there is none: then it is said why,
    but nothing is said where Domain Connect is not in use at all. Raises SecretError."""
    if not signing_keys(store).all():
        return None
    try:
        found = connect_offer(store, settings)
    except FormatError as error:  # its mode or its labels
        found = NotOffered(str(error))
    if isinstance(found, Offer):
        return found
    warn(f"the page has no one-click button: {found.cause}")
    return None


def give_up(found: NotOffered | NoAnswer) -> NoReturn:
    """Say why, and end with the exit code for it."""
    warn(found.cause)
    raise typer.Exit(FAULT if isinstance(found, NotOffered) else NO_ANSWER)
