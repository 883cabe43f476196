"""`soboo-mta domain preflight`: would mail of a domain leave, pass and be taken?"""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Final

import typer
from rich.table import Table

from soboo_mta.cli.accounts.tenant import Json
from soboo_mta.cli.context import (
    DEFAULT_CONFIG,
    FAULT,
    NO_ANSWER,
    CliStore,
    ConfigPath,
    open_store,
    say,
    say_json,
)
from soboo_mta.cli.dns.trial import Trial
from soboo_mta.cli.domains.chosen import DomainArgument, TenantOption, view_of
from soboo_mta.cli.domains.look import look
from soboo_mta.cli.queue.words import gate_line
from soboo_mta.identity.dmarc import SuffixList
from soboo_mta.identity.preflight.checks import preflight as judged
from soboo_mta.identity.preflight.checks import would_pass
from soboo_mta.identity.preflight.rules import IN_THE_MESSAGE
from soboo_mta.identity.preflight.values import Check, Observed, Provider, Traffic
from soboo_mta.identity.state import DomainState, RecordStatus, Source
from soboo_mta.mail.address import parse_mailbox
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.outcome import ORDERED, Reason
from soboo_mta.net.dns.resolver import DnsResolver
from soboo_mta.onboarding.judging.judge import printable
from soboo_mta.onboarding.preflight import Intended, observe
from soboo_mta.onboarding.ways import see_way
from soboo_mta.settings.options import resolver_options
from soboo_mta.spool.view import gates
from soboo_mta.store.writer import read_now
from soboo_mta.tenancy.domains import DomainView


def preflight(
    domain: DomainArgument,
    config: ConfigPath = DEFAULT_CONFIG,
    tenant: TenantOption = None,
    author: Annotated[
        str | None, typer.Option("--from", help="The Author address, at DOMAIN.")
    ] = None,
    source: Annotated[
        str | None, typer.Option(help="Through this source; the first one if not said.")
    ] = None,
    traffic: Annotated[
        Traffic, typer.Option("--class", help="What is sent.")
    ] = Traffic.BULK,
    provider: Annotated[
        list[Provider] | None, typer.Option(help="To whom; repeat. All if not said.")
    ] = None,
    probe: Annotated[
        bool,
        typer.Option(
            "--probe", help="Try the customer's relay or mailbox; nothing is sent."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Say whether mail of DOMAIN would leave now, pass and be taken, and what to mend.

    Looks at DNS as receivers do and changes nothing. With --probe it logs in to the
    customer's own relay or mailbox and says MAIL FROM, by --from where that is said.
    Exit code 0: it would pass; 1: it would be held or refused; 3: DNS gave no answer, so
    nobody can say.
    """
    store = open_store(config)
    view = view_of(store, domain, tenant)
    _refuse_foreign(author, view)
    ask = _asked_of(store, view, author) if probe else None
    seen = asyncio.run(_observe(store, view, _source(store, source), ask))
    checks = judged(seen, provider or tuple(Provider), traffic)
    passes = would_pass(checks)
    if as_json:
        say_json(preflight_values(seen, checks, traffic))
    else:
        _show(seen, checks, traffic)
    if passes is not True:
        raise typer.Exit(NO_ANSWER if passes is None else FAULT)


_AMID_SILENCE: Final = timedelta(seconds=1)  # for a question, once all were silent


def _refuse_foreign(author: str | None, view: DomainView) -> None:
    """An address at another domain needs a preflight, and an owner, of its own."""
    name = view.settings.name
    if author is not None and parse_mailbox(author).domain != name:
        raise FormatError(
            f"{author} is not at {name}: mail from it is another domain's, ask for"
            f" `soboo-mta domain preflight {parse_mailbox(author).domain}`"
        )


def _source(store: CliStore, name: str | None) -> Source:
    sources = {source.name: source for source in store.operator.sources}
    if name is None:
        return store.operator.sources[0]
    if name not in sources:
        raise FormatError(f"there is no source {name!r}: have {', '.join(sources)}")
    return sources[name]


async def _observe(
    store: CliStore, view: DomainView, source: Source, ask: Trial | None
) -> Observed:
    """Look at the domain as `domain verify` does, then as receivers of its mail do."""
    result = await look(store, view)
    state = DomainState(
        settings=view.settings,
        was_verified=view.state.was_verified or result.owned,
        facts=result.facts,
    )
    intended = Intended(
        state=state,
        source=source,
        operator=store.operator,
        tls=store.settings.delivery.tls,
        holds=_holds(store, view, source),
    )
    options = resolver_options(store.settings)
    if all(check.status is RecordStatus.UNKNOWN for check in result.checks):
        # Nobody answers: what is asked next need not wait as long again.
        options = replace(options, lifetime=min(options.lifetime, _AMID_SILENCE))
    resolver = DnsResolver(options=options, clock=store.clock)
    seen = await observe(intended, resolver, SuffixList())
    probed = await ask.probed(resolver, source) if ask else None
    way = await see_way(state, resolver, address=source.public_address, probed=probed)
    return replace(seen, way=way)


def _asked_of(store: CliStore, view: DomainView, author: str | None) -> Trial:
    settings = view.settings
    if settings.way_out is None:
        raise FormatError(
            f"{settings.name} is in mode {settings.mode}, which has no relay or mailbox"
            " of the customer's to try"
        )
    return Trial.of(store, settings, parse_mailbox(author) if author else None)


def _holds(store: CliStore, view: DomainView, source: Source) -> tuple[str, ...]:
    """The gates that somebody closed by hand before all mail of this kind."""
    settings = view.settings
    places = {
        ("tenant", str(settings.tenant)),
        ("domain", str(settings.domain_id)),
        ("source", source.name),
    }
    names = {str(settings.domain_id): str(settings.name)}
    return tuple(
        gate_line(gate, names)
        for gate in read_now(store.engine, gates)
        if gate.reason in _BY_HAND and (gate.scope, gate.subject) in places
    )


_BY_HAND = (*ORDERED, Reason.TENANT_SUSPENDED)


# ---- shown


_VERDICTS = {
    True: "would leave and pass",
    False: "would be held here or refused there: see hold and fix",
    None: "cannot be foretold: DNS gave no answer",
}


def _show(seen: Observed, checks: tuple[Check, ...], traffic: Traffic) -> None:
    say(checks_table(checks))
    for reminder in IN_THE_MESSAGE[traffic]:
        say(f"not seen in DNS: {reminder}")
    name, source = seen.settings.name, seen.source
    say(
        f"{traffic} mail of {name} from {source.name} ({source.public_address})"
        f" {_VERDICTS[would_pass(checks)]}"
    )


def checks_table(checks: tuple[Check, ...]) -> Table:
    """Return the checks as a table; long sentences go on in the next line."""
    table = Table(show_lines=True)
    for title in ("check", "result", "what", "do", "asked by"):
        table.add_column(title, overflow="fold")
    for check in checks:
        table.add_row(
            check.code,
            check.result,
            printable(check.sentence),
            check.mend,
            "\n".join(check.asked_by),
        )
    return table


def preflight_values(
    seen: Observed, checks: tuple[Check, ...], traffic: Traffic
) -> dict[str, object]:
    """Return a preflight as JSON shows it; `passes` null: DNS gave no answer."""
    return {
        "domain": seen.settings.name,
        "source": seen.source.name,
        "address": seen.source.public_address,
        "class": traffic,
        "passes": would_pass(checks),
        "checks": [
            {
                "code": check.code,
                "result": check.result,
                "sentence": check.sentence,
                "mend": check.mend,
                "asked_by": list(check.asked_by),
            }
            for check in checks
        ],
        "in_the_message": list(IN_THE_MESSAGE[traffic]),
    }
