"""`soboo-mta demo`: the main job on this machine, end to end, in under half a minute.

Two tenants, three domains, real messages; one customer's DNS breaks and is mended. What
is told at the end is counted in the sinks' records, never asked of the relay.
"""

import asyncio
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from soboo_mta.cli.trial.mail import Mail, Tally, mails, tally
from soboo_mta.cli.trial.world import World, WorldError, free_ports, world
from soboo_mta.cli.trial.zones import without
from soboo_mta.mail.errors import FormatError

TENANTS = """\
[[tenant]]
id = "acme"
name = "Acme Ltd"
credential = [{ user_name = "acme-app" }]
domain = [{ name = "acme.example" }, { name = "verein.example", mode = "manual" }]

[[tenant]]
id = "nordwind"
name = "Nordwind GmbH"
credential = [{ user_name = "nordwind-app" }]
domain = [{ name = "nordwind.example", ed25519 = true }]

[[operator_credential]]
user_name = "esp-server"
"""
DOMAINS = ("acme.example", "verein.example", "nordwind.example")
BROKEN = "nordwind.example"
SINKS = {"alpha.test": "127.0.0.2", "beta.test": "127.0.0.3", "gamma.test": "127.0.0.4"}
RULES = """\
[[rule]]
recipient = "nobody@alpha.test"
action = "reply"
reply = "550 5.1.1 No such user here"

[[rule]]
domain = "gamma.test"
action = "greylist"
seconds = 1
"""
_PATIENCE = 20.0  # seconds for each thing waited for

Step = Callable[[World], Awaitable[None]]


def demo(
    keep: Annotated[
        Path | None, typer.Option(help="Keep all files in this new directory.")
    ] = None,
) -> None:
    """Run the main job on this machine, on loopback, and count what arrived."""
    console = Console(highlight=False, soft_wrap=True)
    if keep is not None:
        _make_new(keep)
    directory = keep or Path(tempfile.mkdtemp(prefix="soboo-demo-"))
    try:
        good = asyncio.run(run_demo(directory, console))
    except WorldError as error:
        console.print(f"[red]demo: failed:[/red] {error}")
        good = False
    finally:
        if keep is None:
            shutil.rmtree(directory, ignore_errors=True)
    raise typer.Exit(0 if good else 1)


async def run_demo(
    directory: Path,
    console: Console,
    *,
    patience: float = _PATIENCE,
    before_mail: Step | None = None,
) -> bool:
    """Return whether everything came about; `before_mail` lets a test do harm first."""
    began = time.monotonic()
    (port,) = free_ports(1)
    async with world(
        directory, port=port, sinks=tuple(SINKS.values()), rules=RULES
    ) as place:
        await _set_up(place, console)
        if before_mail is not None:
            await before_mail(place)
        await place.start_relay()
        sent = mails()
        await _submit(place, console, [mail for mail in sent if not mail.when_broken])
        await _break_and_mend(place, console, [m for m in sent if m.when_broken])
        total = await _all_arrived(place, sent, patience)
        _tell(console, place, sent)
        console.print(f"took {time.monotonic() - began:.1f} s")
        console.print(total.sentence())
        return total.is_complete


def _make_new(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        is_empty = not any(directory.iterdir())
    except OSError as error:
        raise FormatError(
            f"--keep: cannot make {directory}: {error.strerror}"
        ) from error
    if not is_empty:
        raise FormatError(f"--keep: {directory} is not empty: name a new directory")


async def _set_up(place: World, console: Console) -> None:
    """What an operator and its customers do once."""
    await place.command("secret", "generate")
    await place.apply(TENANTS)
    console.print(f"two tenants, domains {', '.join(DOMAINS)}; relay on {place.port}")
    for domain, address in SINKS.items():
        place.zones.write_destination(domain, address)
    await place.publish_operator()
    await asyncio.gather(*map(place.publish, DOMAINS))
    await asyncio.gather(
        *(place.command("domain", "verify", domain) for domain in DOMAINS)
    )
    console.print("every domain published its records and is verified")


async def _submit(place: World, console: Console, some: list[Mail]) -> None:
    for mail in some:
        answer = await place.submit(mail.user, mail.message, mail.recipients)
        console.print(f"  [dim]{mail.name}[/dim]: {answer}")


async def _break_and_mend(place: World, console: Console, some: list[Mail]) -> None:
    """One customer takes its CNAMEs away: its mail waits, and leaves once they are back."""
    records = await place.records(BROKEN)
    place.zones.write_customer(BROKEN, without(records, "bounce.", "sb"))
    await place.command("domain", "verify", BROKEN, codes=(1,))
    console.print(f"[yellow]{BROKEN} took its CNAMEs away[/yellow]")
    await _submit(place, console, some)
    await place.until("the mail is held", lambda: _is_held(place), _PATIENCE)
    console.print((await place.command("queue", "list")).rstrip())
    place.zones.write_customer(BROKEN, records)
    console.print(f"[green]{BROKEN} published them again[/green]")


async def _is_held(place: World) -> bool:
    return "domain-broken" in await place.command("queue", "list")


async def _all_arrived(place: World, sent: list[Mail], patience: float) -> Tally:
    """Wait for the sinks to have what they should; then count what they have."""
    lab = place.lab
    with suppress(TimeoutError):  # the count below says what is missing
        await lab.wait_for(
            lambda records: tally(sent, records, tuple(lab.refusals)).is_complete,
            patience,
        )
    await place.stop_relay()
    return tally(sent, tuple(lab.records), tuple(lab.refusals))


def _tell(console: Console, place: World, sent: list[Mail]) -> None:
    """What happened to each message, in the words of the sinks."""
    for mail in sent:
        console.print(f"\n[bold]{mail.name}[/bold] from {mail.message['From']}")
        for line in mail.told(tuple(place.lab.records), tuple(place.lab.refusals)):
            console.print(f"  {line}")
    console.print()
