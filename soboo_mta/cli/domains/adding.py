"""`soboo-mta domain add`: a new sending domain, and what its owner publishes."""

import asyncio
from collections.abc import Iterable
from typing import Annotated

import typer
from sqlalchemy import Connection

from soboo_mta.cli.context import (
    DEFAULT_CONFIG,
    CliStore,
    ConfigPath,
    open_store,
    say,
    warn,
)
from soboo_mta.cli.domains.chosen import DomainArgument, domain_event
from soboo_mta.cli.domains.tables import (
    records_table,
)
from soboo_mta.cli.domains.ways import (
    AuthOption,
    MailboxOption,
    MailboxSecretFile,
    OAuthClient,
    ProviderOption,
    RelayHost,
    RelayPasswordFile,
    RelayTlsOption,
    RelayUser,
    TypedWay,
    refuse_strange_port,
    remarks,
)
from soboo_mta.cli.onboarding.labels import labels_for
from soboo_mta.daemon.domains.looking import doors
from soboo_mta.events.event import EventKind
from soboo_mta.identity.plan import no_way_out
from soboo_mta.identity.records import required_records
from soboo_mta.identity.state import Mode, OnBroken
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.mail.ids import TenantId
from soboo_mta.mail.way_out import WayParts
from soboo_mta.store.unit import perform
from soboo_mta.store.writer import read_now, write_now
from soboo_mta.tenancy.accounts import TenancyError
from soboo_mta.tenancy.domains import (
    DEFAULT_BOUNCE_LABEL,
    DEFAULT_SELECTORS,
    DomainView,
    NewDomain,
    default_zone,
    owner_state,
    the_domain,
)
from soboo_mta.tenancy.signing.keys import add_domain, first_pairs


def add(
    domain: DomainArgument,
    tenant: Annotated[str, typer.Option(help="Whose it is.")],
    config: ConfigPath = DEFAULT_CONFIG,
    mode: Annotated[Mode, typer.Option(help="How its DNS is set up.")] = Mode.CNAME,
    zone: Annotated[
        str | None,
        typer.Option(
            help="Mode zone: what is delegated to us, DOMAIN or below (em.DOMAIN)."
        ),
    ] = None,
    bounce_label: Annotated[
        str | None,
        typer.Option(help="Its bounce host is LABEL.DOMAIN, or LABEL.ZONE; else free."),
    ] = None,
    selector: Annotated[
        list[str] | None, typer.Option(help="Three selectors; repeat; else free ones.")
    ] = None,
    ed25519: Annotated[bool, typer.Option(help="An Ed25519 key beside RSA.")] = False,
    on_broken: Annotated[
        OnBroken, typer.Option(help="While its DNS is broken.")
    ] = OnBroken.HOLD,
    sign_with_operator: Annotated[
        bool, typer.Option(help="One more signature with the operator's d=.")
    ] = False,
    assume_verified: Annotated[
        bool, typer.Option("--assume-verified", help="Test harnesses alone.")
    ] = False,
    relay_host: RelayHost = None,
    relay_tls: RelayTlsOption = None,
    relay_user: RelayUser = None,
    relay_password_file: RelayPasswordFile = None,
    mailbox: MailboxOption = None,
    provider: ProviderOption = None,
    auth: AuthOption = None,
    oauth_client: OAuthClient = None,
    mailbox_secret_file: MailboxSecretFile = None,
) -> None:
    """Set a sending domain up, and show what its owner has to publish.

    Labels that are not given are chosen so that nothing of others has to give way.
    """
    store = open_store(config)
    name = Domain.parse(domain)
    typed = TypedWay(
        parts=WayParts(
            host=relay_host,
            tls=relay_tls,
            user=relay_user,
            mailbox=mailbox,
            provider=provider,
            auth=auth,
            oauth_client=oauth_client,
        ),
        relay_password_file=relay_password_file,
        mailbox_secret_file=mailbox_secret_file,
    )
    bounce, selectors = _labels(
        store, name, mode, bounce_label, selector, assume_verified
    )
    new = NewDomain(
        tenant=TenantId(tenant),
        name=name,
        mode=mode,
        zone=Domain.parse(zone) if zone else default_zone(name, mode),
        bounce_label=bounce,
        selectors=selectors,
        ed25519=ed25519,
        on_broken=on_broken,
        sign_with_operator=sign_with_operator,
        assume_verified=assume_verified,
        way_out=typed.way(mode),
        secret=typed.secret(),
    )
    settings = add_new(store, new).settings
    say(f"added {settings.name} for {tenant}; its owner publishes:")
    asking = asyncio.run(doors(store.settings, store.clock).opened(store.operator))
    say(records_table(required_records(settings, asking)))
    theirs = () if new.way_out is None else remarks(new.way_out)
    for drawback in (*DRAWBACKS.get(settings.mode, ()), *theirs):
        say(f"mind: {drawback}")
    if settings.mode is Mode.ZONE and settings.home == settings.name:
        say(
            f"mind: every other record of {settings.name} ends with the delegation; those"
            f" that are to go on: soboo-mta zone record add {settings.name} …"
        )
    if why := no_way_out(settings):
        say(f"mind: {why}; until it is, mail from it is refused when it is submitted")
    say("and we publish what `soboo-mta domain records --operator` shows; then:")
    say(f"soboo-mta domain verify {settings.name}")


def _labels(
    store: CliStore,
    name: Domain,
    mode: Mode,
    bounce_label: str | None,
    selector: list[str] | None,
    is_assumed: bool,
) -> tuple[str, tuple[DnsName, ...]]:
    typed = tuple(map(DnsName.parse, selector or ()))
    if is_assumed:  # nobody looks at its DNS
        return bounce_label or DEFAULT_BOUNCE_LABEL, typed or DEFAULT_SELECTORS
    return labels_for(store, name, mode, bounce_label=bounce_label, selectors=typed)


DRAWBACKS = {
    Mode.MANUAL: (
        "no key can change without the customer: a rotation waits until the new key is"
        " pasted, and in an emergency mail is held or leaves by SPF alone until then",
        "where SPF alone carries the mail, its reverse-path is the customer's own, and"
        " bounces go there and not to us",
        "keys are pasted by hand: `soboo-mta domain records DOMAIN --format panel` shows"
        " the exact strings, `soboo-mta domain verify` what went wrong",
        "mode cname has none of this, for one more record",
    )
}
"""What a mode costs its users, said where it is chosen."""


def refuse_unfit(store: CliStore, domains: Iterable[NewDomain]) -> None:
    """Refuse a delegation to no servers, a relay on a port of another service, and
    `assume_verified` wherever mail could reach the world."""
    for new in domains:
        refuse_strange_port(store, new.way_out)
        if new.mode is Mode.ZONE and not new.assume_verified:
            _refuse_without_servers(store, new)
        if new.assume_verified and store.settings.assume_verified_refusal:
            raise TenancyError(f"{new.name}: {store.settings.assume_verified_refusal}")


def _refuse_without_servers(store: CliStore, new: NewDomain) -> None:
    """A delegation leads to name servers that have addresses, or to nowhere."""
    if not store.settings.publish.name_servers:
        raise TenancyError(
            f"{new.name}: mode zone needs name servers: set [publish] name_servers to"
            " the public addresses of yours (docs/dns-publishing.md)"
        )


def add_new(store: CliStore, new: NewDomain) -> DomainView:
    """Add a domain and say what stands against it; raise TenancyError where it cannot be
    set up so."""
    refuse_unfit(store, [new])
    pairs, master, now = first_pairs(new), store.master, store.clock.unix_ms()

    def write(connection: Connection) -> DomainView:
        settings = add_domain(connection, master, new, pairs, now=now)
        perform(connection, domain_event(EventKind.DOMAIN_ADDED, settings, now))
        return the_domain(connection, new.name, tenant=new.tenant)

    added = write_now(store.engine, write)
    owner = read_now(store.engine, lambda at: owner_state(at, new.name))
    if owner is not None and owner.settings.tenant != new.tenant:
        warn(
            f"{new.name} is verified for tenant {owner.settings.tenant}: until that one"
            f" gives it up (`domain release`), {new.tenant} cannot send from it"
        )
    return added
