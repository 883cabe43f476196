"""`soboo-mta connect`: its commands in one place."""

import typer

from soboo_mta.cli.lazy import lazy_group

_PLACES = {
    "template": "connect.templates:show_template",
    "lint": "connect.templates:lint_file",
    "keys": "connect.requests:show_keys",
    "discover": "connect.requests:discover_host",
    "url": "connect.requests:show_url",
}

app = typer.Typer(
    cls=lazy_group(_PLACES),
    no_args_is_help=True,
    help="Domain Connect: our records by one click at the customer's DNS host.",
    add_completion=False,
)
