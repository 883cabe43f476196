"""The command line: every command and group in one place, loaded when it is called."""

from typing import Annotated

import typer

from soboo_mta import __version__
from soboo_mta.cli.lazy import lazy_group

_PLACES = {
    "serve": "running.serve:serve",
    "check-config": "running.check_config:check_config",
    "onboard": "onboarding.onboard:onboard",
    "apply": "accounts.apply:apply",
    "trace": "running.trace:trace_message",
    "demo": "trial.demo:demo",
    "secret": "accounts.secret:app",
    "tenant": "accounts.tenant:app",
    "credential": "accounts.credential:app",
    "domain": "domains.commands:app",
    "key": "keys.commands:app",
    "zone": "dns.zone:app",
    "connect": "connect.commands:app",
    "suppression": "recipients.commands:app",
    "webhook": "webhooks.commands:app",
    "queue": "queue.commands:app",
    "returns": "returns.commands:app",
    "complaints": "complaints.commands:app",
    "reports": "reports.commands:app",
    "classify": "returns.classify:classify",
    "store": "running.store:app",
    "lab": "trial.lab:app",
}


app = typer.Typer(
    name="soboo-mta",
    cls=lazy_group(_PLACES),
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # a fault of ours shows its plain trace, no values
    add_completion=False,
    rich_markup_mode=None,
)


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        version()
        raise typer.Exit


_Version = Annotated[
    bool,
    typer.Option(
        "--version", callback=_print_version, is_eager=True, help="Print the version."
    ),
]


@app.callback()
def group(_: _Version = False) -> None:
    """An outbound mail relay that signs on behalf of your customers."""
