"""`soboo-mta returns`: its commands in one place."""

import typer

from soboo_mta.cli.lazy import lazy_group

_PLACES = {
    "list": "returns.kept:list_all",
    "show": "returns.kept:show",
    "counts": "returns.kept:counts",
    "read": "returns.read:read",
    "reread": "returns.rereading:reread",
}

app = typer.Typer(
    cls=lazy_group(_PLACES),
    no_args_is_help=True,
    add_completion=False,
    help="Bounces, complaints, reports and answers.",
)
