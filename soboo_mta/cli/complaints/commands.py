"""`soboo-mta complaints`: its commands in one place."""

import typer

from soboo_mta.cli.lazy import lazy_group

_PLACES = {
    "rates": "complaints.rates:show_rates",
    "spare": "complaints.sparing:spare_one",
    "unspare": "complaints.sparing:unspare",
}

app = typer.Typer(
    cls=lazy_group(_PLACES),
    no_args_is_help=True,
    add_completion=False,
    help="How often tenants' mail is complained of, and what is done about it.",
)
