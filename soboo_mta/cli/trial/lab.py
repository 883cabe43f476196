"""`soboo-mta lab`: run the local internet by itself, with a live table of what arrives.

Owns the options, the table and stopping on a signal; all else is `lab/`. Needs no
settings file and no store.
"""

import asyncio
import contextlib
import signal
from collections import deque
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from soboo_mta.cli.context import FAULT, warn
from soboo_mta.lab.lab import Lab, LabOptions
from soboo_mta.lab.record import MessageRecord
from soboo_mta.lab.sink import SinkOptions

_ROWS = 20  # what a screen holds
_REDRAW = 0.25  # seconds: also how often the files are looked at for problems
_COLOURS = {"pass": "green", "fail": "red"}

app = typer.Typer(
    help="A local internet on loopback: DNS, sinks and verdicts.", add_completion=False
)


@app.callback(invoke_without_command=True)
def lab(
    zones: Annotated[Path, typer.Option(help="Directory of *.zone files.")],
    dns: Annotated[
        str, typer.Option(help="Address and port of the name server.")
    ] = "127.0.0.1:5300",
    sink: Annotated[
        list[str] | None,
        typer.Option(
            help="Address and port of a sink; repeat for more addresses, one port."
            " [default: 127.0.0.1:2600]"
        ),
    ] = None,
    records: Annotated[
        Path | None,
        typer.Option(help="Where JSON lines go. [default: records.jsonl by ZONES]"),
    ] = None,
    rules: Annotated[
        Path | None,
        typer.Option(help="What sinks do instead of accepting (sinks.toml)."),
    ] = None,
    faults: Annotated[
        Path | None, typer.Option(help="What DNS fails to answer (faults.toml).")
    ] = None,
    raw: Annotated[
        Path | None, typer.Option(help="Keep every message in this Maildir.")
    ] = None,
    judges: Annotated[
        int, typer.Option(min=0, help="Processes for verdicts; 0: in this one.")
    ] = 0,
) -> None:
    """Run a name server and mail sinks until interrupted; judge every message."""
    dns_address, dns_port = _host_port(dns, "--dns")
    if not zones.is_dir():
        raise typer.BadParameter(
            f"there is no folder {zones}: make it, with a *.zone file for each zone",
            param_hint="--zones",
        )
    sinks = [_host_port(each, "--sink") for each in sink or ["127.0.0.1:2600"]]
    if len({port for _, port in sinks}) > 1:
        raise typer.BadParameter("all sinks listen at one port", param_hint="--sink")
    options = LabOptions(
        zones=zones,
        faults=faults,
        behaviour=rules,
        records=records,
        raw=raw,
        dns_address=dns_address,
        dns_port=dns_port,
        sinks=SinkOptions(
            addresses=tuple(address for address, _ in sinks), port=sinks[0][1]
        ),
        judges=judges,
    )
    try:
        asyncio.run(_run(zones.absolute().parent, options))
    except OSError as error:
        warn(f"the lab cannot start: {error.strerror or error}")
        raise typer.Exit(FAULT) from error


async def _run(directory: Path, options: LabOptions) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(each, stop.set)
    console = Console(highlight=False)
    shown: deque[MessageRecord] = deque(maxlen=_ROWS)
    async with Lab(directory, options, on_record=shown.append) as running:
        hosts = " ".join(options.sinks.addresses)
        console.print(f"dns {options.dns_address} port {running.dns_port}")
        console.print(f"sinks {hosts} port {running.sink_port}")
        console.print(f"records {running.records_file}")
        await _show(console, running, shown, stop)
    console.print(f"{running.received} messages, {len(running.refusals)} refusals")


async def _show(
    console: Console, running: Lab, shown: deque[MessageRecord], stop: asyncio.Event
) -> None:
    """Redraw the table until told to stop; off a terminal, say only what is wrong."""
    told: dict[Path, str] = {}
    with contextlib.ExitStack() as screen:
        live = None
        if console.is_terminal:
            live = screen.enter_context(Live(console=console, auto_refresh=False))
        while not stop.is_set():
            for path, problem in running.problems.items():
                if told.get(path) != problem:
                    console.print(f"{path}: {problem}; the content before it stands")
            told = running.problems
            if live is not None:
                live.update(table(shown, running.received), refresh=True)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _REDRAW)


def table(records: deque[MessageRecord], received: int) -> Table:
    """Return the last records as a table, newest last."""
    made = Table(title=f"{received} messages received", expand=True)
    for heading in ("at", "from", "to", "reverse-path", "SPF", "DKIM", "DMARC"):
        made.add_column(heading, overflow="ellipsis", no_wrap=True)
    for record in records:
        verdict = record.verdict
        made.add_row(
            record.received_at.strftime("%H:%M:%S"),
            _plain(verdict.author),
            _plain(", ".join(record.rcpt_to)),
            _plain(record.mail_from or "<>"),
            _coloured(verdict.spf.result),
            Text(" ").join(
                _plain(f"{each.d} ") + _coloured(each.result) for each in verdict.dkim
            ),
            _coloured(verdict.dmarc),
        )
    return made


def _plain(text: str) -> Text:
    """Text from a message: neither markup nor escape codes of it reach the terminal."""
    return Text("".join(each if each.isprintable() else "?" for each in text))


def _coloured(result: str) -> Text:
    return Text(result, style=_COLOURS.get(result, "yellow"))


def _host_port(text: str, option: str) -> tuple[str, int]:
    """Parse `127.0.0.1:5300` or `[::1]:5300`."""
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdecimal() or int(port) > 65_535:
        raise typer.BadParameter(f"{text}: write ADDRESS:PORT", param_hint=option)
    return host.strip("[]"), int(port)
