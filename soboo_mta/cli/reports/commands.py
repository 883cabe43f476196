"""`soboo-mta reports`: its commands in one place."""

import typer

from soboo_mta.cli.lazy import lazy_group

_PLACES = {
    "dmarc": "reports.dmarc:dmarc",
    "tls": "reports.tls:tls",
}

app = typer.Typer(
    cls=lazy_group(_PLACES),
    no_args_is_help=True,
    add_completion=False,
    help="What others report on whole domains.",
)
