"""`soboo-mta domain list`, `set` and `release`."""

from typing import Annotated

import typer
from rich.table import Table
from sqlalchemy import Connection

from soboo_mta.cli.accounts.tenant import Json
from soboo_mta.cli.context import (
    DEFAULT_CONFIG,
    CliStore,
    ConfigPath,
    be_sure,
    open_store,
    say,
    say_json,
)
from soboo_mta.cli.domains.chosen import (
    DomainArgument,
    TenantOption,
    domain_event,
    view_of,
)
from soboo_mta.cli.domains.standing.released import released_table, released_values
from soboo_mta.cli.domains.standing.tables import state_word
from soboo_mta.cli.domains.tables import (
    checks_text,
    domain_values,
    verified_text,
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
)
from soboo_mta.events.event import EventKind
from soboo_mta.identity.state import OnBroken, RecordCheck
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.ids import TenantId
from soboo_mta.mail.way_out import WayParts
from soboo_mta.store.unit import perform
from soboo_mta.store.writer import read_now, write_now
from soboo_mta.tenancy.accounts import the_tenant
from soboo_mta.tenancy.domains import (
    DomainView,
    change_domain,
    checks_of,
    list_domains,
    release_domain,
    released_domains,
)
from soboo_mta.tenancy.domains.relays import put_way_out
from soboo_mta.tenancy.signing.rotation import set_schedule


def list_all(
    config: ConfigPath = DEFAULT_CONFIG,
    tenant: Annotated[
        str | None, typer.Option("--tenant", help="Those of this tenant alone.")
    ] = None,
    released: Annotated[
        bool,
        typer.Option("--released", help="Those given up, and what still leads to us."),
    ] = False,
    as_json: Json = False,
) -> None:
    """List sending domains: whether they are verified, how they stand, how their records
    are."""
    store = open_store(config)
    owner = None if tenant is None else TenantId(tenant)
    if owner is not None:
        read_now(store.engine, lambda at: the_tenant(at, owner))
    if released:
        _list_released(store, owner, as_json=as_json)
        return

    def seen(
        connection: Connection,
    ) -> list[tuple[DomainView, tuple[RecordCheck, ...]]]:
        return [
            (view, checks_of(connection, view.settings.domain_id))
            for view in list_domains(connection, tenant=owner)
        ]

    found = read_now(store.engine, seen)
    if as_json:
        say_json([domain_values(view, checks) for view, checks in found])
        return
    table = Table(
        "domain", "tenant", "mode", "verified", "state", "records", "if broken"
    )
    for view, checks in found:
        settings = view.settings
        table.add_row(
            settings.name,
            settings.tenant,
            settings.mode,
            verified_text(view),
            state_word(view),
            checks_text(checks),
            settings.on_broken,
        )
    say(
        table
        if found
        else "there are no domains: soboo-mta domain add DOMAIN --tenant T"
    )


def _list_released(store: CliStore, owner: TenantId | None, *, as_json: bool) -> None:
    found = read_now(store.engine, lambda at: released_domains(at, tenant=owner))
    if as_json:
        say_json([released_values(one) for one in found])
    else:
        say(released_table(found) if found else "no domain was released")


def change(
    domain: DomainArgument,
    config: ConfigPath = DEFAULT_CONFIG,
    tenant: TenantOption = None,
    on_broken: Annotated[
        OnBroken | None, typer.Option(help="While its DNS is broken.")
    ] = None,
    sign_with_operator: Annotated[
        bool | None, typer.Option(help="One more signature with the operator's d=.")
    ] = None,
    rotate_days: Annotated[
        int | None,
        typer.Option(
            min=0, max=3650, help="Days that a key signs; 0: until `key rotate`."
        ),
    ] = None,
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
    """Change what is done for a domain; what is not given stays."""
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
    is_idle = on_broken is None and sign_with_operator is None and rotate_days is None
    if is_idle and not typed.is_given:
        raise FormatError(
            "say what to change: --on-broken, --sign-with-operator, --rotate-days, or the"
            " customer's relay or mailbox"
        )
    store = open_store(config)
    settings = view_of(store, domain, tenant).settings
    way, secret = typed.way(settings.mode, settings.way_out), typed.secret()
    refuse_strange_port(store, way)
    master = store.master if typed.is_given else None
    extra = (
        settings.sign_with_operator
        if sign_with_operator is None
        else sign_with_operator
    )

    def write(connection: Connection) -> None:
        change_domain(
            connection,
            settings.domain_id,
            on_broken=on_broken or settings.on_broken,
            sign_with_operator=extra,
            assume_verified=settings.assume_verified,
        )
        if rotate_days is not None:
            set_schedule(connection, settings.domain_id, rotate_days)
        if master is not None and way is not None:
            put_way_out(connection, master, settings.domain_id, way, secret)

    write_now(store.engine, write)
    say(f"changed {settings.name}")


def release(
    domain: DomainArgument,
    config: ConfigPath = DEFAULT_CONFIG,
    tenant: TenantOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Give a domain up for good: its keys are destroyed, its targets never used again."""
    store = open_store(config)
    settings = view_of(store, domain, tenant).settings
    if not yes:
        be_sure(
            f"release {settings.name} of {settings.tenant}? its DNS records must be made "
            "anew if it comes back",
        )
    now = store.clock.unix_ms()

    def write(connection: Connection) -> None:
        release_domain(connection, settings, now=now)
        perform(connection, domain_event(EventKind.DOMAIN_RELEASED, settings, now))

    write_now(store.engine, write)
    say(
        f"released {settings.name}; its owner can take the records down:"
        " `soboo-mta domain list --released` shows which still lead to us"
    )
