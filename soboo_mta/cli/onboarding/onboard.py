"""`soboo-mta onboard`: from "here is my customer's domain" to a first proven message.

Each step is a function of a lower room; this is their order and their words. The command
may be left and given again at any time: it goes on from what the store holds.
"""

import asyncio
import sys
from email.message import EmailMessage
from ipaddress import ip_address
from typing import Annotated

import typer

from soboo_mta.cli.context import (
    DEFAULT_CONFIG,
    FAULT,
    CliStore,
    ConfigPath,
    be_sure,
    open_store,
    say,
    warn,
)
from soboo_mta.cli.domains.adding import add_new
from soboo_mta.cli.domains.chosen import DomainArgument
from soboo_mta.cli.domains.tables import records_table
from soboo_mta.cli.onboarding.labels import surveyed
from soboo_mta.cli.onboarding.watching import watch_until_good
from soboo_mta.cli.running.trace import told
from soboo_mta.daemon.submitting import submit
from soboo_mta.events.trace import Trace, trace
from soboo_mta.identity.records import required_records
from soboo_mta.identity.state import Mode
from soboo_mta.mail.address import Mailbox, ReversePath, parse_mailbox
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.errors import FormatError, Reject
from soboo_mta.mail.ids import MessageId, TenantId
from soboo_mta.onboarding.survey import advise
from soboo_mta.spool.lease import lease_time, live_workers
from soboo_mta.spool.lifecycle import RecipientState
from soboo_mta.store.writer import read_now
from soboo_mta.submission.acceptance import Envelope, Login
from soboo_mta.tenancy.accounts import TenancyError, the_tenant
from soboo_mta.tenancy.domains import DomainView, NewDomain, list_domains

_LOOK_EVERY = 0.5  # seconds between looks at what became of the first message
_SETTLED = (
    RecipientState.DELIVERED,
    RecipientState.FAILED,
    RecipientState.EXPIRED,
    RecipientState.CANCELLED,
)


def onboard(
    domain: DomainArgument,
    tenant: Annotated[str, typer.Option(help="Whose it is.")],
    config: ConfigPath = DEFAULT_CONFIG,
    mode: Annotated[
        Mode | None, typer.Option(help="How its DNS is set up; else the best for it.")
    ] = None,
    to: Annotated[
        str | None, typer.Option(help="Who gets the first message, once it is good.")
    ] = None,
    author: Annotated[
        str | None, typer.Option("--from", help="Its author; else postmaster@DOMAIN.")
    ] = None,
    wait: Annotated[
        int, typer.Option(min=0, help="Minutes to watch for; 0: one look.")
    ] = 60,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Set a domain up step by step: look at what is there, choose how, show what to
    publish, watch until all of it is good, send a first message and show its proof.

    Given again it goes on where it was. Exit code 1 while something lacks.
    """
    store = open_store(config)
    name = Domain.parse(domain)
    recipient = parse_mailbox(to) if to is not None else None
    sender = parse_mailbox(author or f"postmaster@{name}")
    if sender.domain != name:
        raise FormatError(f"--from: {sender} is not an address at {name}")
    read_now(store.engine, lambda at: the_tenant(at, TenantId(tenant)))
    view = _standing(store, name, TenantId(tenant))
    if view is None:
        view = _set_up(store, name, TenantId(tenant), mode, asks=not yes)
    elif mode is not None and view.settings.mode is not mode:
        raise TenancyError(
            f"{name} is set up in mode {view.settings.mode}: `domain release` it before"
            f" it can be set up in mode {mode}"
        )
    else:
        say(f"{name} is set up in mode {view.settings.mode}: going on from there")
    _show_records(store, view)
    if not asyncio.run(watch_until_good(store, view, minutes=wait)):
        say(
            "given again, this command goes on from here; the relay looks meanwhile too"
        )
        raise typer.Exit(FAULT)
    _prove(store, view, sender, recipient)


# ---- set up


def _standing(store: CliStore, name: Domain, tenant: TenantId) -> DomainView | None:
    found = read_now(
        store.engine, lambda at: list_domains(at, tenant=tenant, name=name)
    )
    return found[0] if found else None


def _set_up(
    store: CliStore, name: Domain, tenant: TenantId, mode: Mode | None, *, asks: bool
) -> DomainView:
    advice = advise(
        surveyed(store, name),
        serves_zones=bool(store.settings.publish.name_servers),
        wanted=mode,
    )
    say(f"what fits {name}:")
    for sentence in advice.because:
        say(f"  - {sentence}")
    if asks:
        be_sure(f"set {name} up for {tenant} so?", default=True)
    return add_new(
        store,
        NewDomain(
            tenant=tenant,
            name=name,
            mode=advice.mode,
            zone=advice.zone,
            bounce_label=advice.bounce_label,
            selectors=advice.selectors,
        ),
    )


def _show_records(store: CliStore, view: DomainView) -> None:
    name = view.settings.name
    say("its owner publishes:")
    say(records_table(required_records(view.settings, store.operator)))
    say(f"in other forms: soboo-mta domain records {name} --format email|zone|csv|…")
    if store.settings.http.public_url is not None:
        say(f"as a page for whoever manages its DNS: soboo-mta domain link {name}")
    if not store.settings.publishes:
        say(f"and we publish: soboo-mta domain records {name} --operator")


# ---- prove


def _prove(
    store: CliStore, view: DomainView, author: Mailbox, recipient: Mailbox | None
) -> None:
    """Send the first message and show what became of it."""
    name = view.settings.name
    if recipient is None and sys.stdin.isatty():
        typed = typer.prompt("who gets a first message (empty: nobody)", default="")
        recipient = parse_mailbox(typed) if typed else None
    if recipient is None:
        say(f"{name} is ready; a first message: soboo-mta onboard {name} --tenant"
            f" {view.settings.tenant} --to ADDRESS")  # fmt: skip
        return
    message_id = asyncio.run(_send(store, view, author, recipient))
    say(f"the first message is accepted as {message_id}")
    if not read_now(
        store.engine, lambda at: live_workers(at, lease_time(at, store.clock))
    ):
        warn("no relay is running on this store: it waits until `soboo-mta serve` does")
        raise typer.Exit(FAULT)
    found = asyncio.run(_fate(store, message_id))
    for line in told(found):
        say(line)
    if any(state != RecipientState.DELIVERED for _, state in found.recipients):
        raise typer.Exit(FAULT)
    say(
        f"{name} is proven: its receiver's Authentication-Results should say dmarc=pass"
    )


async def _send(
    store: CliStore, view: DomainView, author: Mailbox, recipient: Mailbox
) -> MessageId:
    name = view.settings.name
    message = EmailMessage()
    message["From"], message["To"] = str(author), str(recipient)
    message["Subject"] = f"The first message from {name}"
    message.set_content(
        f"Mail of {name} leaves with its own signature and under its own names.\n\n"
        "Look at this message's Authentication-Results: dmarc=pass is what to find.\n"
    )
    login = Login(
        tenant=view.settings.tenant, credential=None, client=ip_address("127.0.0.1")
    )
    envelope = Envelope(
        reverse_path=ReversePath(author),
        recipients=(recipient,),
        smtputf8=not message.as_bytes().isascii(),
        protocol="LOCAL",
    )
    octets = message.as_bytes().replace(b"\n", b"\r\n")
    try:
        return await submit(
            store.settings, store.operator, store.clock, login, envelope, octets
        )
    except Reject as refusal:
        raise TenancyError(
            f"the first message is refused: {refusal.reply.text}"
        ) from refusal


async def _fate(store: CliStore, message_id: MessageId) -> Trace:
    """Return the message's story once it has left, or has been tried and waits."""
    rules = store.settings.bounce_rules()
    while True:
        found = read_now(store.engine, lambda at: trace(at, message_id, rules))
        if found is None:
            raise TenancyError(f"message {message_id} is past its retention")
        is_settled = all(state in _SETTLED for _, state in found.recipients)
        if is_settled or found.attempts:
            return found
        await asyncio.sleep(_LOOK_EVERY)
