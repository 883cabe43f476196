"""`soboo-mta domain`: sending domains, what to publish for them, and what is wrong there."""

import asyncio
from collections.abc import Iterable
from typing import Annotated

import typer
from rich.table import Table
from sqlalchemy import Connection

from soboo_mta.cli.accounts.domain_tables import (
    check_values,
    checks_table,
    checks_text,
    domain_values,
    records_table,
    verified_text,
)
from soboo_mta.cli.accounts.record_forms import Format, FormOptions, show_records
from soboo_mta.cli.accounts.tenant import Json
from soboo_mta.cli.context import (
    DEFAULT_CONFIG,
    FAULT,
    CliStore,
    ConfigPath,
    actor,
    open_store,
    say,
    say_json,
    warn,
)
from soboo_mta.events.event import EventKind, recorded
from soboo_mta.identity.dmarc import SuffixList
from soboo_mta.identity.forms.terraform import TerraformProvider
from soboo_mta.identity.records import operator_records, required_records
from soboo_mta.identity.state import DomainSettings, Mode, OnBroken, RecordCheck
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.ids import TenantId
from soboo_mta.net.authority import AuthoritativeResolver, DnsAuthority
from soboo_mta.net.resolver import DnsResolver
from soboo_mta.onboarding.check import CheckResult, DomainCheck
from soboo_mta.onboarding.monitor import changes
from soboo_mta.settings.options import (
    authoritative_options,
    check_options,
    resolver_options,
)
from soboo_mta.store.unit import Statement, perform
from soboo_mta.store.writer import read_now, write_now
from soboo_mta.tenancy.accounts import TenancyError
from soboo_mta.tenancy.domains import (
    DEFAULT_BOUNCE_LABEL,
    DEFAULT_SELECTORS,
    DomainView,
    NewDomain,
    change_domain,
    checks_of,
    default_zone,
    list_domains,
    owner_state,
    release_domain,
    store_check,
    the_domain,
)
from soboo_mta.tenancy.keys import add_domain, first_pairs
from soboo_mta.tenancy.rotation import set_schedule
from soboo_mta.tenancy.setup_link import SetupLinks

app = typer.Typer(
    no_args_is_help=True,
    help="Sending domains and their DNS records.",
    add_completion=False,
)
DomainArgument = Annotated[str, typer.Argument(metavar="DOMAIN")]
TenantOption = Annotated[
    str | None, typer.Option("--tenant", help="Whose, where several have it.")
]


@app.command()
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
        str, typer.Option(help="Its bounce host is LABEL.DOMAIN, or LABEL.ZONE.")
    ] = DEFAULT_BOUNCE_LABEL,
    selector: Annotated[
        list[str] | None, typer.Option(help="Three selectors; repeat.")
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
) -> None:
    """Set a sending domain up, and show what its owner has to publish."""
    store = open_store(config)
    name = Domain.parse(domain)
    new = NewDomain(
        tenant=TenantId(tenant),
        name=name,
        mode=mode,
        zone=Domain.parse(zone) if zone else default_zone(name, mode),
        bounce_label=bounce_label,
        selectors=tuple(map(DnsName.parse, selector or DEFAULT_SELECTORS)),
        ed25519=ed25519,
        on_broken=on_broken,
        sign_with_operator=sign_with_operator,
        assume_verified=assume_verified,
    )
    refuse_unfit(store, [new])
    settings = _add(store, new)
    owner = read_now(store.engine, lambda at: owner_state(at, new.name))
    if owner is not None and owner.settings.tenant != new.tenant:
        warn(
            f"{new.name} is verified for tenant {owner.settings.tenant}: until that one"
            f" gives it up (`domain release`), {tenant} cannot send from it"
        )
    say(f"added {settings.name} for {tenant}; its owner publishes:")
    say(records_table(required_records(settings, store.operator)))
    for drawback in DRAWBACKS.get(settings.mode, ()):
        say(f"mind: {drawback}")
    say("and we publish what `soboo-mta domain records --operator` shows; then:")
    say(f"soboo-mta domain verify {settings.name}")


@app.command("list")
def list_all(
    config: ConfigPath = DEFAULT_CONFIG,
    tenant: TenantOption = None,
    as_json: Json = False,
) -> None:
    """List sending domains, whether they are verified and how their records are."""
    owner = None if tenant is None else TenantId(tenant)

    def seen(
        connection: Connection,
    ) -> list[tuple[DomainView, tuple[RecordCheck, ...]]]:
        return [
            (view, checks_of(connection, view.settings.domain_id))
            for view in list_domains(connection, tenant=owner)
        ]

    found = read_now(open_store(config).engine, seen)
    if as_json:
        say_json([domain_values(view, checks) for view, checks in found])
        return
    table = Table("domain", "tenant", "mode", "verified", "records", "if broken")
    for view, checks in found:
        settings = view.settings
        table.add_row(
            settings.name,
            settings.tenant,
            settings.mode,
            verified_text(view),
            checks_text(checks),
            settings.on_broken,
        )
    say(
        table
        if found
        else "there are no domains: soboo-mta domain add DOMAIN --tenant T"
    )


@app.command()
def records(
    domain: Annotated[str | None, typer.Argument(metavar="[DOMAIN]")] = None,
    config: ConfigPath = DEFAULT_CONFIG,
    tenant: TenantOption = None,
    form: Annotated[
        Format, typer.Option("--format", help="How to write them.")
    ] = Format.TABLE,
    operator: Annotated[
        bool, typer.Option("--operator", help="What we publish, for one or all.")
    ] = False,
    every: Annotated[
        bool, typer.Option("--all", help="What each domain's owner publishes.")
    ] = False,
    provider: Annotated[
        TerraformProvider | None, typer.Option(help="Terraform: whose resources.")
    ] = None,
    zone_apex: Annotated[
        str | None,
        typer.Option(help="octoDNS: which zone; else the organisational domain."),
    ] = None,
    page: Annotated[
        str | None, typer.Option(help="E-mail: URL of a setup page to name.")
    ] = None,
) -> None:
    """Show what to publish in DNS."""
    store = open_store(config)
    if (domain is None) != (operator or every) and not (operator and domain):
        raise FormatError(
            "say which: a DOMAIN, --all for every domain, or --operator for what we publish"
        )
    chosen = [view.settings for view in _chosen(store, domain, tenant)]
    if operator:
        found = operator_records(store.operator, chosen)
    else:
        found = tuple(
            record for one in chosen for record in required_records(one, store.operator)
        )
    owner = chosen[0].name if domain and not operator else None
    options = FormOptions(
        provider=provider,
        zone_apex=zone_apex,
        page=page,
        owner=owner,
        within=store.operator.domain if operator else owner,
        operator=store.operator.domain,
    )
    show_records(found, form, options)


@app.command()
def verify(
    domain: DomainArgument,
    config: ConfigPath = DEFAULT_CONFIG,
    tenant: TenantOption = None,
    as_json: Json = False,
) -> None:
    """Look at a domain's records now: expected, found, why. Exit code 1 while one lacks."""
    store = open_store(config)
    view = view_of(store, domain, tenant)
    result = asyncio.run(look(store, view))
    verified = _keep(store, view, result)
    if as_json:
        say_json([check_values(check) for check in result.checks])
    else:
        say(checks_table(result.checks))
        _say_result(view, result, verified=verified)
    if not result.all_good:
        raise typer.Exit(FAULT)


@app.command("set")
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
) -> None:
    """Change what is done for a domain; what is not given stays."""
    if on_broken is None and sign_with_operator is None and rotate_days is None:
        raise FormatError(
            "say what to change: --on-broken, --sign-with-operator or --rotate-days"
        )
    store = open_store(config)
    settings = view_of(store, domain, tenant).settings
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

    write_now(store.engine, write)
    say(f"changed {settings.name}")


@app.command()
def link(
    domain: DomainArgument,
    config: ConfigPath = DEFAULT_CONFIG,
    tenant: TenantOption = None,
    days: Annotated[int, typer.Option(min=1, max=365, help="Until it ends.")] = 30,
) -> None:
    """Make a link to a page that shows what to publish and how it looks now: for whoever
    manages the domain's DNS, without an account."""
    store = open_store(config)
    site = store.settings.http.public_url
    if site is None:
        raise FormatError(
            "no link can be made: set [http] public_url to where the HTTP listeners are"
            " reached from outside"
        )
    settings = view_of(store, domain, tenant).settings
    until = store.clock.unix_ms() // 1_000 + days * 24 * 3_600
    links = SetupLinks(store.master.setup_key())
    say(f"{site}/setup/{links.token(settings.domain_id, until=until)}")


@app.command()
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
        typer.confirm(
            f"release {settings.name} of {settings.tenant}? its DNS records must be made "
            "anew if it comes back",
            abort=True,
        )
    now = store.clock.unix_ms()

    def write(connection: Connection) -> None:
        release_domain(connection, settings, now=now)
        perform(connection, domain_event(EventKind.DOMAIN_RELEASED, settings, now))

    write_now(store.engine, write)
    say(f"released {settings.name}; its owner can take the records down")


# ---- steps


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
_SENDING_MODES = (Mode.CNAME, Mode.MANUAL)


def refuse_unfit(store: CliStore, domains: Iterable[NewDomain]) -> None:
    """Refuse modes that have no way out yet, and `assume_verified` wherever mail could
    reach the world."""
    for new in domains:
        if new.mode not in _SENDING_MODES:
            raise TenancyError(
                f"{new.name}: mode {new.mode} has no way out in this release: set it up "
                f"as {' or '.join(_SENDING_MODES)}"
            )
        if new.assume_verified and store.settings.assume_verified_refusal:
            raise TenancyError(f"{new.name}: {store.settings.assume_verified_refusal}")


def _add(store: CliStore, new: NewDomain) -> DomainSettings:
    pairs, master, now = first_pairs(new), store.master, store.clock.unix_ms()

    def write(connection: Connection) -> DomainSettings:
        settings = add_domain(connection, master, new, pairs, now=now)
        perform(connection, domain_event(EventKind.DOMAIN_ADDED, settings, now))
        return settings

    return write_now(store.engine, write)


async def look(store: CliStore, view: DomainView) -> CheckResult:
    """Look at a domain's records now; nothing is stored."""
    settings = store.settings
    recursive = DnsResolver(options=resolver_options(settings), clock=store.clock)
    check = DomainCheck(
        resolver=AuthoritativeResolver(
            recursive=recursive, options=authoritative_options(settings)
        ),
        operator=store.operator,
        suffixes=SuffixList(),
        clock=store.clock,
        options=check_options(settings),
        authority=DnsAuthority(recursive=recursive, options=resolver_options(settings)),
    )
    domain_id = view.settings.domain_id
    before = read_now(store.engine, lambda connection: checks_of(connection, domain_id))
    return await check.check(view.settings, view.state.facts, before)


def _keep(store: CliStore, view: DomainView, result: CheckResult) -> bool:
    now, settings = store.clock.unix_ms(), view.settings

    def write(connection: Connection) -> bool:
        verified = store_check(
            connection,
            settings.domain_id,
            checks=result.checks,
            facts=result.facts,
            owned=result.owned,
            next_check_at=result.next_check_at,
            changed=bool(changes(view.state.facts, result.facts)),
            now=now,
        )
        if verified:
            perform(connection, domain_event(EventKind.DOMAIN_VERIFIED, settings, now))
        return verified

    return write_now(store.engine, write)


def view_of(store: CliStore, text: str, tenant: str | None) -> DomainView:
    """Return the domain that was typed; raise FormatError or TenancyError."""
    name = Domain.parse(text)
    owner = None if tenant is None else TenantId(tenant)
    return read_now(
        store.engine, lambda connection: the_domain(connection, name, tenant=owner)
    )


def _chosen(
    store: CliStore, text: str | None, tenant: str | None
) -> tuple[DomainView, ...]:
    if text is not None:
        return (view_of(store, text, tenant),)
    owner = None if tenant is None else TenantId(tenant)
    return read_now(
        store.engine, lambda connection: list_domains(connection, tenant=owner)
    )


def _say_result(view: DomainView, result: CheckResult, *, verified: bool) -> None:
    name = view.settings.name
    if verified:
        say(f"{name} is verified: {view.settings.tenant} may send from it")
    elif view.verified_at is None and result.owned:
        warn(f"{name} belongs to another tenant whose records are still in place")
    elif not result.owned:
        warn(f"nothing proves yet that {name} is {view.settings.tenant}'s")
    if result.all_good:
        say(f"all required records of {name} are good")


def domain_event(kind: EventKind, settings: DomainSettings, now: int) -> Statement:
    """Return the statement that notes what a command did to a domain."""
    return recorded(
        kind, at=now, actor=actor(), tenant=settings.tenant, domain=settings.name
    )
